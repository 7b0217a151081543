# gluon-wan exec, and gluon-wan-dns: a command over the WAN from a node whose
# mesh has no way to the VPN server. Redirect, rule and resolver are made by hand.

# bats sets output and status.
# shellcheck disable=SC2030,SC2031

bats_require_minimum_version 1.5.0
load lab/lab
load packetmark/build

setup_file() {
	packetmark_built
	lab_up
	install_tree
	vpn_page
	redirect_up
	mesh_without_uplink
}

teardown_file() {
	lab_down
}

setup() {
	EXEC=$LAB_DIR/usr/sbin/gluon-wan
	DNS=$LAB_DIR/usr/bin/gluon-wan-dns
	CONFIG=$LAB_DIR/node/etc/config/gluon-wan
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	rm -f "$CONFIG"
	on node nft delete table inet lab_probe 2>/dev/null || true
}

# As `make install` lays it out.
install_tree() {
	mkdir -p "$LAB_DIR"/usr/{sbin,bin,lib}
	cp "$(gluon_wan_path)" "$LAB_DIR/usr/sbin/gluon-wan"
	cp "$LIBPACKETMARK" "$LAB_DIR/usr/lib/libpacketmark.so"
	ln -s ../sbin/gluon-wan "$LAB_DIR/usr/bin/gluon-wan-dns"
}

vpn_page() {
	mkdir "$LAB_DIR/www"
	echo "from the vpn" >"$LAB_DIR/www/index.html"
	daemon vpn httpd busybox httpd -f -p 80 -h "$LAB_DIR/www"
}

# What the rest of gluon-wan does.
redirect_up() {
	on node nft -f - <<-END
		table inet by_hand {
			chain by_hand {
				type nat hook output priority -100
				meta skgid { $FASTD_GID, $MESH_VPN_GID } meta l4proto { tcp, udp } th dport 53 redirect to :54
			}
		}
	END
	daemon node resolver env LD_PRELOAD="$LIBPACKETMARK" LIBPACKETMARK_MARK=1 LIBPACKETMARK_STRICT=1 \
		dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= --port=54 \
		--listen-address=127.0.0.1,::1 --bind-interfaces --no-hosts --cache-size=0 \
		--resolv-file=/var/gluon/wan-dnsmasq/resolv.conf
	wait_for 5 resolver_answers
}

# Both families separated: what has no mark goes to the mesh.
mesh_without_uplink() {
	on node sh -ec "
		ip -6 rule add pref 1 fwmark 0x1/0x1 lookup 1
		ip -4 rule add pref 1 fwmark 0x1/0x1 lookup 1
		ip -4 route add default via $HOME_IP4 dev br-wan table 1
		ip -4 route replace default via $MESH_IP4 dev br-client proto static
	"
}

# redirect_groups GROUP...: the node's configuration.
redirect_groups() {
	printf "config redirect 'redirect'\n" >"$CONFIG"
	printf "\tlist group '%s'\n" "$@" >>"$CONFIG"
}

# What a command sees of itself.
readonly WHO='sed -n "s/^[GU]id:\s*//p; s/^Groups:\s*//p" /proc/self/status | xargs'

@test "the first group that exists becomes the primary group, all of it" {
	run -0 on node "$EXEC" exec sh -c "$WHO"
	[[ $output == "0 0 0 0 $FASTD_GID $FASTD_GID $FASTD_GID $FASTD_GID"* ]]
	redirect_groups no-such-group gluon-mesh-vpn gluon-fastd
	run -0 --separate-stderr on node "$EXEC" exec sh -c "$WHO"
	[[ $output == "0 0 0 0 $MESH_VPN_GID $MESH_VPN_GID $MESH_VPN_GID $MESH_VPN_GID"* ]]
	redirect_groups no-such-group 4711
	run -0 --separate-stderr on node "$EXEC" exec sh -c "$WHO"
	[[ $output == "0 0 0 0 4711 4711 4711 4711"* ]]
}

@test "supplementary groups, environment, files and process stay" {
	run -0 on node setpriv --groups 0,7,9 -- "$EXEC" exec sh -c "$WHO"
	[ "$output" = "0 0 0 0 800 800 800 800 0 7 9" ]
	run -0 on node env -i A=1 'B=two words' LD_PRELOAD= "$EXEC" exec env
	[ "$output" = $'A=1\nB=two words\nLD_PRELOAD=' ]
	run -0 on node sh -c 'echo through | "$@"' sh "$EXEC" exec cat
	[ "$output" = through ]
	run -0 on node sh -c 'echo $$; exec "$@"' sh "$EXEC" exec sh -c 'echo $$'
	[ "${lines[0]}" = "${lines[1]}" ]
}

@test "exit code and signals are the command's" {
	run -7 on node "$EXEC" exec sh -c 'exit 7'
	run -143 on node "$EXEC" exec sh -c 'kill -TERM $$'
	daemon node sleeper "$EXEC" exec sleep 1000
	run -0 on node ps -o comm= -p "$(daemon_pid node sleeper)"
	[ "$output" = sleep ]
	daemon_kill node sleeper
	wait_for 5 daemon_ended node sleeper
}

@test "125, 126 and 127 as env" {
	for command in "" /nonexistent/program no-such-program; do
		run -127 on node env "$command"
		run -127 on node "$EXEC" exec "$command"
		[[ $output == "gluon-wan: cannot run '$command': No such file"* ]]
	done
	for command in /etc/passwd /etc; do
		run -126 on node env "$command"
		run -126 on node "$EXEC" exec "$command"
		[[ $output == "gluon-wan: cannot run '$command': Permission denied"* ]]
	done
	run -125 on node "$EXEC" -c /etc/passwd exec true
	redirect_groups no-such-group neither-this
	run -125 on node "$EXEC" exec true
	[[ $output == *"none of the groups 'no-such-group', 'neither-this' exists"* ]]
	printf 'config redirect\n\toption colour red\n' >"$CONFIG"
	run -125 on node "$EXEC" exec true
	[[ $output == *"/etc/config/gluon-wan:2: "*colour* ]]
}

@test "without the privilege, a message, 125, and the command does not run" {
	run -125 on node setpriv --reuid 65534 --clear-groups -- "$EXEC" exec echo ran
	[[ $output == *"cannot take group 'gluon-fastd'"*"CAP_SETGID"* ]]
	[[ $output != *ran* ]]
	run -125 on node setpriv --bounding-set '-net_admin,-net_raw' -- "$EXEC" exec --mark echo ran
	[[ $output == *"cannot set mark 0x1"*"CAP_NET_ADMIN (or CAP_NET_RAW since Linux 5.17)"* ]]
	[[ $output != *ran* ]]
	# What needs no mark needs no such privilege.
	run -0 on node setpriv --bounding-set '-net_admin,-net_raw' -- "$EXEC" exec echo ran
	[ "$output" = ran ]
}

@test "--mark goes before the libraries that are preloaded already" {
	run -0 on node "$EXEC" exec --mark env
	[[ $output == *"LD_PRELOAD=$LAB_DIR/usr/lib/libpacketmark.so"* ]]
	[[ $output == *"LIBPACKETMARK_MARK=1"* ]]
	[[ $output == *"LIBPACKETMARK_STRICT=1"* ]]
	build_programs "$BATS_TEST_TMPDIR"
	# gluon-wan itself has the other library, too: standard error is not looked at.
	other=$BATS_TEST_TMPDIR/glibc/other.so
	run -0 --separate-stderr on node env LD_PRELOAD="$other" "$EXEC" exec --mark printenv LD_PRELOAD
	[ "$output" = "$LAB_DIR/usr/lib/libpacketmark.so:$other" ]
	run -0 --separate-stderr on node env LD_PRELOAD="$other" \
		"$EXEC" exec --mark -- "$BATS_TEST_TMPDIR/glibc/sockets" one
	[ "$output" = "inet mark 1" ]
	# This command loads the same library for a program of another libc.
	run -0 on node "$EXEC" exec --mark "$BATS_TEST_TMPDIR/musl/sockets" one
	[ "$output" = "inet mark 1" ]
	printf "config routing 'routing'\n\toption mark '0x20/0xf0'\n" >"$CONFIG"
	run -0 on node env LIBPACKETMARK_STRICT=0 "$EXEC" exec --mark env
	[[ $output == *"LIBPACKETMARK_MARK=32"* ]]
	[[ $output == *"LIBPACKETMARK_STRICT=0"* ]]
}

@test "a library that the loader would not find is an error, not an unmarked command" {
	mkdir "$BATS_TEST_TMPDIR/alone" "$BATS_TEST_TMPDIR/two words"
	cp "$EXEC" "$BATS_TEST_TMPDIR/alone/gluon-wan"
	if [ ! -e /usr/lib/libpacketmark.so ]; then
		run -125 on node "$BATS_TEST_TMPDIR/alone/gluon-wan" exec --mark echo ran
		[[ $output == *"libpacketmark.so is missing: looked in $BATS_TEST_TMPDIR/alone, $BATS_TEST_TMPDIR/lib, /usr/lib" ]]
	fi
	cp "$EXEC" "$LIBPACKETMARK" "$BATS_TEST_TMPDIR/two words/"
	run -125 on node "$BATS_TEST_TMPDIR/two words/gluon-wan" exec --mark echo ran
	[[ $output == *"LD_PRELOAD cannot hold"* ]]
}

@test "as gluon-wan-dns every word is the command's" {
	run -0 on node "$DNS" sh -c "$WHO"
	[[ $output == "0 0 0 0 $FASTD_GID $FASTD_GID "* ]]
	run -0 on node "$DNS" echo --mark -- -c x
	[ "$output" = "--mark -- -c x" ]
	run -127 on node "$DNS" --mark echo
	run -3 on node "$DNS" sh -c 'exit 3'
}

@test "its DNS goes over the WAN, and only its own" {
	probe node asked out "oifname br-client meta skgid $FASTD_GID udp dport 53"
	probe node wan out 'oifname br-wan udp dport 53 meta mark 1'
	for wrapper in "$EXEC exec" "$DNS"; do
		# Two words.
		# shellcheck disable=SC2086
		run -0 on node $wrapper dig +short "$VPN_NAME" TXT
		[ "$output" = '"home"' ]
		# shellcheck disable=SC2086
		run -0 on node $wrapper getent ahostsv4 "$VPN_NAME"
		[[ $output == "$VPN_IP4 "* ]]
	done
	[ "$(seen node asked)" -eq 0 ]
	[ "$(seen node wan)" -gt 0 ]
	run -0 on node dig +short "$VPN_NAME" TXT
	[ "$output" = '"mesh"' ]
}

# over_wan EXPECTED MATCH CMD...: CMD prints EXPECTED with --mark and not without;
# all of the packets that match leave over the WAN.
over_wan() {
	local expected=$1 match=$2
	shift 2
	probe node wan out "$match oifname br-wan meta mark 1"
	probe node other out "$match oifname != br-wan"
	run -0 on node "$EXEC" exec --mark "$@"
	[[ $output == *"$expected"* ]]
	[ "$(seen node wan)" -gt 0 ]
	[ "$(seen node other)" -eq 0 ]
	run on node "$EXEC" exec "$@"
	[ "$status" -ne 0 ]
	[[ $output != *"$expected"* ]]
	[ "$(seen node other)" -gt 0 ]
	on node nft delete table inet lab_probe
}

@test "ping and curl reach the VPN server over the WAN while the mesh has no uplink" {
	over_wan "1 received" "ip6 daddr $VPN_IP6 icmpv6 type echo-request" ping -6 -c 1 -W 3 "$VPN_NAME"
	over_wan "1 received" "ip daddr $VPN_IP4 icmp type echo-request" ping -4 -c 1 -W 3 "$VPN_NAME"
	over_wan "from the vpn" "ip6 daddr $VPN_IP6 tcp dport 80" curl -6 -sS --max-time 5 "http://$VPN_NAME/"
	over_wan "from the vpn" "ip daddr $VPN_IP4 tcp dport 80" curl -4 -sS --max-time 5 "http://$VPN_NAME/"
}

@test "without the WAN, nothing goes by another way" {
	wan_down
	on node ip -6 route add unreachable default metric 65535 table 1
	on node ip -4 route replace unreachable default metric 65535 table 1
	probe node leak out "oifname br-client meta mark 1"
	run on node "$EXEC" exec --mark ping -6 -c 1 -W 1 "$VPN_IP6"
	[ "$status" -ne 0 ]
	run on node "$EXEC" exec --mark curl -sS --max-time 2 "http://$VPN_IP4/"
	[ "$status" -ne 0 ]
	[ "$(seen node leak)" -eq 0 ]
	wan_up
}

# --- what the mark cannot reach ----------------------------------------------

# program NAME [CC-OPTION...]: says which mark its socket has, and its group.
program() {
	local to=$LAB_DIR/node/var/tmp/$1
	cat >"$LAB_DIR/program.c" <<-'END'
		#include <stdio.h>
		#include <unistd.h>
		#include <sys/socket.h>
		int main(void) {
			unsigned mark = 0;
			socklen_t size = sizeof mark;
			int s = socket(AF_INET, SOCK_DGRAM, 0);
			if (s < 0) return 3;
			getsockopt(s, SOL_SOCKET, SO_MARK, &mark, &size);
			printf("mark %u gid %d\n", mark, getegid());
			return 0;
		}
	END
	gcc -o "$to" "$LAB_DIR/program.c" "${@:2}"
}

# refuses REASON CMD...: not run, with the reason; without --mark it runs.
refuses() {
	local reason=$1
	shift
	run -125 on node "$EXEC" exec --mark "$@"
	[[ $output == *"$reason"* ]]
	[[ $output != *"mark 0"* ]]
}

@test "--mark refuses what the library cannot get into, and says why" {
	local tmp=/var/tmp
	program dynamic
	run -0 on node "$EXEC" exec --mark $tmp/dynamic
	[ "$output" = "mark 1 gid $FASTD_GID" ]

	program static -static
	refuses 'is linked statically; without --mark, its DNS' $tmp/static
	run -0 on node "$EXEC" exec $tmp/static
	[ "$output" = "mark 0 gid $FASTD_GID" ]
	program static-pie -static-pie
	refuses 'is linked statically' $tmp/static-pie
	# Found in the path, behind a link, as interpreter of an interpreter.
	ln -s static "$LAB_DIR/node/var/tmp/linked"
	run -125 on node env PATH="$tmp:$PATH" "$EXEC" exec --mark linked
	[[ $output == *"$tmp/linked is linked statically"* ]]
	printf '#!%s/static\n' $tmp >"$LAB_DIR/node/var/tmp/script"
	printf '#! %s/script -x\n' $tmp >"$LAB_DIR/node/var/tmp/script2"
	chmod 755 "$LAB_DIR"/node/var/tmp/script*
	refuses "$tmp/static is linked statically" $tmp/script
	refuses "$tmp/static is linked statically" $tmp/script2
	printf 'exec %s/dynamic\n' $tmp >"$LAB_DIR/node/var/tmp/no-shebang"
	chmod 755 "$LAB_DIR/node/var/tmp/no-shebang"
	run -0 on node "$EXEC" exec --mark $tmp/no-shebang
	[ "$output" = "mark 1 gid $FASTD_GID" ]
}

@test "--mark refuses what gains a privilege by being run; setgid is refused without it, too" {
	local tmp=/var/tmp file=$LAB_DIR/node/var/tmp/dynamic
	program dynamic
	chgrp 65534 "$file"
	chmod 2755 "$file"
	refuses 'is setgid' $tmp/dynamic
	run -125 on node "$EXEC" exec $tmp/dynamic
	[[ $output == *"is setgid, and would leave the redirected group"* ]]
	# Setgid to the very group it gets, or without the permission that makes it count.
	chgrp "$FASTD_GID" "$file"
	chmod 2755 "$file"
	run -0 on node "$EXEC" exec --mark $tmp/dynamic
	[ "$output" = "mark 1 gid $FASTD_GID" ]

	chown 65534:65534 "$file"
	chmod 4755 "$file"
	refuses 'is setuid' $tmp/dynamic
	# Setuid root gives root nothing.
	chown 0:0 "$file"
	chmod 4755 "$file"
	run -0 on node "$EXEC" exec --mark $tmp/dynamic
	[ "$output" = "mark 1 gid $FASTD_GID" ]

	# Nor do capabilities; others get them.
	chmod 755 "$file"
	setcap cap_net_raw+ep "$file"
	run -0 on node "$EXEC" exec --mark $tmp/dynamic
	[ "$output" = "mark 1 gid $FASTD_GID" ]
	chmod 755 "$LAB_DIR" "$LAB_DIR/usr" "$LAB_DIR/usr/sbin"
	run -125 on node setpriv --reuid 65534 --regid 65534 --clear-groups \
		--inh-caps=+net_admin,+net_raw,+setgid --ambient-caps=+net_admin,+net_raw,+setgid \
		"$EXEC" exec --mark $tmp/dynamic
	[[ $output == *"has capabilities of its own"* ]]
}

@test "--mark refuses a program whose loader is missing" {
	program dynamic -Wl,--dynamic-linker=/lib/ld-nowhere.so.1
	refuses 'needs the loader /lib/ld-nowhere.so.1, which is missing' /var/tmp/dynamic
}
