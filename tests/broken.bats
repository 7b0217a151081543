# Broken configuration and resolv files by the hundred, on the real program: what
# is refused changes nothing, and a resolv file keeps its good servers. The files
# and what must come of each are those of tests/broken_config.rs.
#
# BROKEN_SEED (9) and BROKEN_COUNT (300) say which and how many.

bats_require_minimum_version 1.5.0
load lab/lab

SERVERS=(10.9.0.1 10.9.0.2 10.9.0.3 2001:db8:9::1 2001:db8:9::2)

setup_file() {
	lab_require ip nft dig "${CARGO:-cargo}"
	lab_init
	export BROKEN_FILES=$LAB_DIR/broken BROKEN_COUNT=${BROKEN_COUNT:-300}
	(cd "$LAB_REPO" && "${CARGO:-cargo}" test --quiet --locked --test broken_config) >&2
	machine_add node
	machine_add wan
	cable node br-wan wan lan
	printf 'gluon-fastd:x:%s:\n' "$FASTD_GID" >>"$LAB_DIR/node/etc/group"
	mkdir -p "$LAB_DIR"/node/{etc/config,var/gluon/wan-dnsmasq}
	on wan ip -6 addr add fe80::9:1/64 dev lan
	local server
	for server in "${SERVERS[@]}"; do
		on wan ip addr add "$server/$([[ $server == *:* ]] && echo 64 || echo 24)" dev lan
	done
	on node ip addr add 10.9.0.10/24 dev br-wan
	on node ip -6 addr add 2001:db8:9::10/64 dev br-wan
	on node ip -6 route add default via fe80::9:1 dev br-wan metric 512
	daemon wan dns dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= \
		--no-resolv --no-hosts --txt-record=vpn.example.org,home
}

teardown_file() {
	lab_down
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	local title
	for title in watch resolver; do
		daemon_stop node $title
	done
	rm -rf "$LAB_DIR"/node/etc/config/* "$LAB_DIR"/node/var/gluon/wan-dnsmasq/*
	gluon_wan clear
	on node nft flush ruleset
}

# all KIND ARG...: the cases of this kind, on the node.
all() {
	LAB_TIMEOUT=300 run -0 on node "$LAB_REPO/tests/broken/node.bash" "$@"
	echo "# $BATS_TEST_DESCRIPTION: ${lines[-1]}" >&3
}

watch_up() {
	gluon_wan sync
	daemon node watch "$(gluon_wan_path)" sync --watch
	wait_for 5 watch_is_up
}

# It hears SIGHUP only from then on.
watch_is_up() {
	local pid
	pid=$(daemon_pid node watch)
	# SIGHUP is the lowest bit.
	on node sh -c "grep -qE '^Sig(Cgt|Blk):.*[13579bdf]\$' /proc/$pid/status"
}

@test "sync refuses broken configurations and changes nothing, or does no harm" {
	all sync "$(gluon_wan_path)" "$BROKEN_FILES/config"
}

@test "the watch refuses them and keeps what is in force" {
	watch_up
	all watch "$(gluon_wan_path)" "$BROKEN_FILES/config" "$(daemon_pid node watch)" "$LAB_DIR/node/watch.log"
	# It still does its work.
	on node nft delete table inet gluon_wan
	wait_for 5 on node nft list table inet gluon_wan
}

@test "a broken resolv file: its good servers are asked, and nobody else" {
	daemon node resolver "$(gluon_wan_path)" resolver
	wait_for 5 on node dig +time=1 +tries=1 -p 54 @127.0.0.1 version.bind CH TXT
	all resolv "$BROKEN_FILES/resolv"
}

# What could stand in a file's place and never end.
in_place_of() {
	rm -rf "$2"
	case $1 in
	directory) mkdir "$2" ;;
	fifo) mkfifo -m 644 "$2" ;;
	device) ln -s /dev/zero "$2" ;;
	loop) ln -sf loop "${2%/*}/loop" && ln -s loop "$2" ;;
	socket) python3 -c 'import socket, sys; socket.socket(socket.AF_UNIX).bind(sys.argv[1])' "$2" ;;
	esac
}

THINGS="directory fifo device loop socket"

@test "what is no file in place of the configuration is refused, and nothing waits" {
	local thing before command refused=0 file=$LAB_DIR/node/etc/config/gluon-wan
	watch_up
	before=$(node_state)
	for thing in $THINGS; do
		in_place_of "$thing" "$file"
		for command in print sync clear "config --fixed"; do
			# shellcheck disable=SC2086 # words
			LAB_TIMEOUT=5 run -2 gluon_wan $command
			[[ $output == "gluon-wan: /etc/config/gluon-wan: cannot be read: "* ]]
		done
		daemon_kill node watch HUP
		refused=$((refused + 1))
		wait_for 5 watch_refused $refused
		[ "$(node_state)" = "$before" ]
	done
	rm -rf "$file"
}

@test "what is no file in place of Gluon's configuration: without static servers" {
	local thing file=$LAB_DIR/node/etc/config/gluon-wan-dnsmasq
	echo "nameserver ${SERVERS[0]}" >"$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf"
	for thing in $THINGS; do
		in_place_of "$thing" "$file"
		LAB_TIMEOUT=5 run -0 gluon_wan sync
		daemon node resolver "$(gluon_wan_path)" resolver
		wait_for 5 resolver_asks "${SERVERS[0]}"
		grep -q '^gluon-wan: /etc/config/gluon-wan-dnsmasq: cannot be read: .*; it does not count$' "$LAB_DIR/node/resolver.log"
		daemon_stop node resolver
	done
	rm -rf "$file"
}

# protected PORT: table, guard, rules and resolver are there.
protected() {
	local table
	table=$(on node nft list table inet gluon_wan)
	grep -q "skgid $FASTD_GID .*redirect to :$1 " <<<"$table" && grep -q ' drop ' <<<"$table" &&
		on node ip -6 rule | grep -q 'fwmark 0x1/0x1 lookup 1' &&
		on node dig +time=1 +tries=1 -p "$1" @127.0.0.1 version.bind CH TXT | grep -q gluon-wan
}

# services_up: as the init script starts them at boot.
services_up() {
	daemon node watch "$(gluon_wan_path)" sync --watch
	daemon node resolver "$(gluon_wan_path)" resolver
}

services_down() {
	daemon_stop node watch
	daemon_stop node resolver
	gluon_wan -c /etc/none clear
}

@test "a node that boots with a refused file is protected, and says which line" {
	local file=$LAB_DIR/node/etc/config/gluon-wan port line content state log
	while IFS='|' read -ru 9 port line content; do
		case $content in
		is*) in_place_of "${content#is }" "$file" ;;
		*) printf '%b' "$content" >"$file" ;;
		esac
		services_up
		wait_for 5 protected "$port"
		for log in watch resolver; do
			grep -q "^gluon-wan: /etc/config/gluon-wan$line.*; it does not count" "$LAB_DIR/node/$log.log"
		done
		run -1 gluon_wan status
		[[ $output == *"/etc/config/gluon-wan$line"* ]]
		# By hand it is refused, and nothing changes.
		state=$(node_state)
		run -2 gluon_wan sync
		[ "$(node_state)" = "$state" ]
		services_down
		rm -rf "$file"
	done 9<<-'END'
		54|:2: |config resolver\n\toption port 54x\n
		54|:1: |hello\n
		54|:2: |config redirect\n\tlist gruop 5\n
		54|:3: |config resolver\n\n\toption user 'nobody\n
		5454|:3: |config resolver\n\toption port 5454\n\toption prot 5\n
		54|: |is directory
		54|: |is fifo
	END
}

@test "a refused file at reload: both services keep what they have, and a good one counts again" {
	local file=$LAB_DIR/node/etc/config/gluon-wan state
	printf 'config resolver\n\toption port 5454\nconfig routing\n\toption table 7\n' >"$file"
	services_up
	wait_for 5 on node ip -6 route show table 7
	wait_for 5 on node dig +time=1 +tries=1 -p 5454 @127.0.0.1 version.bind CH TXT
	wait_for 5 on node test -e /var/run/gluon-wan/redirect.nft
	state=$(node_state)
	printf 'config resolver\n\toption port 5454\nconfig routing\n\toption table 0\n' >"$file"
	daemon_kill node watch HUP
	daemon_kill node resolver HUP
	wait_for 5 grep -q ":4: option 'table', value '0'.*stays in force" "$LAB_DIR/node/watch.log"
	wait_for 5 grep -q ":4: option 'table', value '0'.*stays as it was" "$LAB_DIR/node/resolver.log"
	[ "$(node_state)" = "$state" ]
	on node dig +time=1 +tries=1 -p 5454 @127.0.0.1 version.bind CH TXT
	printf 'config resolver\n\toption port 5454\nconfig routing\n\toption table 8\n' >"$file"
	daemon_kill node watch HUP
	wait_for 5 on node sh -c "ip -6 rule | grep 'lookup 8'"
}

# watch_refused TIMES
watch_refused() {
	[ "$(grep -c 'cannot be read: .*stays in force' "$LAB_DIR/node/watch.log")" -eq "$1" ]
}

@test "what is no file in place of the resolv file costs no server" {
	local thing file=$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf
	echo "nameserver ${SERVERS[0]}" >"$file"
	daemon node resolver "$(gluon_wan_path)" resolver
	wait_for 5 resolver_asks "${SERVERS[0]}"
	# A directory cannot take a file's place without a moment of neither.
	for thing in ${THINGS#directory }; do
		in_place_of "$thing" "$file.new"
		mv -T "$file.new" "$file"
		wait_for 5 resolver_complained "$thing"
		resolver_asks "${SERVERS[0]}"
		LAB_TIMEOUT=5 run -1 gluon_wan status
		echo "nameserver ${SERVERS[1]}" >"$file.new"
		mv -T "$file.new" "$file"
		wait_for 5 resolver_asks "${SERVERS[1]}"
		echo "nameserver ${SERVERS[0]}" >"$file"
		wait_for 5 resolver_asks "${SERVERS[0]}"
	done
}

# resolver_complained THING: once more than the time before.
resolver_complained() {
	local times=1 thing
	for thing in ${THINGS#directory }; do
		[ "$thing" != "$1" ] || break
		times=$((times + 1))
	done
	[ "$(grep -c 'cannot be read, the servers stay' "$LAB_DIR/node/resolver.log")" -ge $times ]
}

# resolver_asks ADDR: it has this server, and answers.
resolver_asks() {
	on node dig +short +time=1 +tries=1 -p 54 @127.0.0.1 servers.bind CH TXT | grep -q "^\"$1" &&
		on node dig +short +time=1 +tries=1 -p 54 @127.0.0.1 vpn.example.org TXT | grep -q home
}
