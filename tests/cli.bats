# The command line of the real binary: what it prints, where to, and how it ends.
# Nothing here touches the kernel.

bats_require_minimum_version 1.5.0
load lab/lab

setup() {
	BIN=$(gluon_wan_path)
	CONF=$BATS_TEST_TMPDIR/config
	mkdir -p "$CONF"
	unset UCI_CONFIG_DIR
}

# refused MESSAGE ARG...: exit code 2, MESSAGE on stderr, stdout empty.
refused() {
	local message=$1
	shift
	run -2 --separate-stderr "$BIN" "$@"
	[ -z "$output" ]
	# shellcheck disable=SC2154 # run sets it
	if [[ $stderr != "gluon-wan: "*"$message"* ]]; then
		printf '%s\n' "gluon-wan $*" "said:     $stderr" "expected: $message"
		return 1
	fi
}

@test "--help and --version go to stdout, also for each command" {
	run -0 --separate-stderr "$BIN" --help
	[[ $output == "Usage: gluon-wan "* ]]
	[ -z "$stderr" ]
	for command in resolver sync clear print config status exec; do
		[[ $output == *"  $command "* ]]
	done
	for command in resolver sync clear print config status exec; do
		run -0 --separate-stderr "$BIN" "$command" --help
		[[ ${lines[0]} == "Usage: gluon-wan [-c DIR] $command"* ]]
		[ -z "$stderr" ]
	done
	run -0 "$BIN" --version
	[[ $output =~ ^gluon-wan\ [0-9]+\.[0-9]+\.[0-9]+$ ]]
}

@test "wrong usage: exit code 2, what is wrong, where to look" {
	refused 'a command is missing'
	[[ $stderr == *'Try `gluon-wan --help`.' ]]
	refused "'restart' is not a command" restart
	# As the wrapper was called that Gluon had until 2023.
	refused 'to run ping over the WAN: `gluon-wan exec ping ...`' ping -c 1 vpn.example.org
	refused "--frobnicate" --frobnicate
	refused "now" clear now
	[[ $stderr == *'Try `gluon-wan clear --help`.' ]]
	refused "--watch" clear --watch
	refused "--json" sync --json
	refused "-c" -c
	refused "the command to run is missing" exec
}

@test "under the name gluon-wan-dns every word is the command's" {
	ln -s "$BIN" "$BATS_TEST_TMPDIR/gluon-wan-dns"
	run -2 "$BATS_TEST_TMPDIR/gluon-wan-dns"
	[[ $output == *"the command to run is missing"* ]]
	run -0 "$BATS_TEST_TMPDIR/gluon-wan-dns" --help
	[[ $output == "Usage: gluon-wan-dns "* ]]
}

@test "a stdout that cannot be written to is a failure" {
	run -1 sh -c '"$0" --help >/dev/full' "$BIN"
	[[ $output == "gluon-wan: "* ]]
}

@test "-c DIR, UCI_CONFIG_DIR and --config choose the configuration" {
	printf 'config redirect\n\tlist group 4711\n' >"$CONF/gluon-wan"
	run -0 "$BIN" -c "$CONF" print
	[[ $output == *"skgid 4711 "* ]]
	run -0 "$BIN" --config="$CONF" print
	[[ $output == *"skgid 4711 "* ]]
	UCI_CONFIG_DIR=$CONF run -0 "$BIN" print
	[[ $output == *"skgid 4711 "* ]]
	# What is on the command line wins.
	UCI_CONFIG_DIR=/nonexistent run -0 "$BIN" -c "$CONF" print
	[[ $output == *"skgid 4711 "* ]]
}

@test "print needs no root, and nft accepts what it prints" {
	# Others may not enter the directories of bats.
	open=$(mktemp -d /tmp/gluon-wan-cli.XXXXXX)
	cp "$BIN" "$open/gluon-wan-copy"
	printf 'config redirect\n\tlist group 4711\n\tlist group 0815\n' >"$open/gluon-wan"
	chmod 755 "$open"
	run setpriv --reuid 65534 --regid 65534 --clear-groups "$open/gluon-wan-copy" -c "$open" print
	rm -r "$open"
	[ "$status" -eq 0 ]
	printf '%s\n' "$output" | unshare --net nft -c -f -
}

@test "no group that exists: the guard alone, exit code 1 and the option to set" {
	printf "config redirect\n\tlist group 'no-such-group'\n" >"$CONF/gluon-wan"
	run -1 --separate-stderr "$BIN" -c "$CONF" print
	[[ $output == *"chain mark_guard "* ]]
	[[ $output != *redirect\ to* ]]
	[[ $stderr == *"no-such-group"* ]]
}

# Every command that is given by hand refuses it in the same words. (What services
# do is for broken.bats: they start, and change the kernel.)
# bad 'FILE CONTENT' LINE WORD...: each WORD is in the message.
bad() {
	local content=$1 line=$2 command word file=gluon-wan
	shift 2
	# shellcheck disable=SC2059 # the content is a format
	printf "$content" >"$CONF/$file"
	for command in print sync clear "config --fixed"; do
		# shellcheck disable=SC2086 # words
		refused "$CONF/$file:$line: " -c "$CONF" $command
		for word; do
			if [[ $stderr != *"$word"* ]]; then
				echo "'$word' is not in: $stderr"
				return 1
			fi
		done
	done
	run -125 "$BIN" -c "$CONF" exec true
	[[ $output == "gluon-wan: $CONF/$file:$line: "* ]]
	# It shows what would hold all the same.
	run -2 --separate-stderr "$BIN" -c "$CONF" config
	[[ $output == *"option port '54'"* ]]
	[[ $stderr == *"$CONF/$file:$line: "*"it does not count"* ]]
	run -1 "$BIN" -c "$CONF" status
	[[ $output == *"$CONF/$file:$line: "* ]]
	rm "$CONF/$file"
}

@test "bad configuration: exit code 2 with file, line, option, value and what was expected" {
	bad "config resolver\n\toption port 'dns'\n" 2 "'port'" "'dns'" expected
	bad "config resolver\n\n\toption port 0\n" 3 "'port'" "'0'" expected
	bad "config resolver\n\toption port 54\n\toption port 55\n" 3 "'port'" "'55'" expected
	bad "config resolver\n\tlist listen 192.0.2.1\n" 2 "'listen'" "'192.0.2.1'" expected
	bad "config resolver\n\toption nosuch 1\n" 2 "'nosuch'" "'1'" expected
	bad "config nosuch\n" 1 "'nosuch'" expected
	bad "config routing\n\toption mark 0x1/\n" 2 "'mark'" "'0x1/'" expected
	bad "config routing\n\tlist family ipv5\n" 2 "'family'" "'ipv5'" expected
	bad "config redirect\n\tlist group -1\n" 2 "'group'" "'-1'" expected
	bad "config redirect\n\toption include relative\n" 2 "'include'" "'relative'" expected
	bad "config redirect 'redirect\n" 1
}

@test "a mistake in Gluon's file is named and costs its line" {
	printf 'config static\n\tlist server 1.2.3\n' >"$CONF/gluon-wan-dnsmasq"
	run -0 --separate-stderr "$BIN" -c "$CONF" config
	[[ $stderr == "gluon-wan: $CONF/gluon-wan-dnsmasq:2: option 'server', value '1.2.3': expected "*"; it does not count" ]]
}

@test "config shows every option with its default and what it is for, and is a file that means the same" {
	printf 'config resolver\n\toption port 5454\nconfig routing\n\tlist family ipv4\n' >"$CONF/gluon-wan"
	"$BIN" -c "$CONF" config >"$BATS_TEST_TMPDIR/shown"
	grep -A1 "^	# .*port.* Default: '54'$" "$BATS_TEST_TMPDIR/shown" | grep -x "	option port '5454'"
	grep -A1 "Default: 'ipv6'$" "$BATS_TEST_TMPDIR/shown" | grep -x "	list family 'ipv4'"
	[ "$(grep -c 'Default: ' "$BATS_TEST_TMPDIR/shown")" -eq 12 ]
	cp "$BATS_TEST_TMPDIR/shown" "$CONF/gluon-wan"
	diff "$BATS_TEST_TMPDIR/shown" <("$BIN" -c "$CONF" config)
}

@test "config --fixed is another line when the resolver has to be started anew, and only then" {
	local before
	before=$("$BIN" -c "$CONF" config --fixed)
	[ "$(wc -l <<<"$before")" -eq 1 ]
	printf 'config routing\n\toption table 7\nconfig redirect\n\tlist group 5\n' >"$CONF/gluon-wan"
	[ "$("$BIN" -c "$CONF" config --fixed)" = "$before" ]
	for option in 'resolver\n\tlist listen ::1' 'resolver\n\toption port 55' 'resolver\n\toption user me' \
		'resolver\n\toption max_inflight 9' 'routing\n\toption mark 2/2'; do
		printf 'config %b\n' "$option" >"$CONF/gluon-wan"
		[ "$("$BIN" -c "$CONF" config --fixed)" != "$before" ]
	done
}

@test "a configuration file that cannot be read is refused" {
	mkdir "$CONF/gluon-wan"
	refused "$CONF/gluon-wan" -c "$CONF" print
}
