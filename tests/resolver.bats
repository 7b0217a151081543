#!/usr/bin/env bats
# The resolver: its servers and where it has them from, its privileges, its mark, and
# what it does when it lacks something. failover.bats is about servers that fail.

bats_require_minimum_version 1.5.0
load lab/lab
load resolver/pair
load resolver/servers

@test "without a server the answer is SERVFAIL at once" {
	servers
	resolver_starts
	local result
	result=$(ask --count 20)
	jq -e '.errors == 20 and .lost == 0 and .slowest_ms < 1000' <<<"$result"
	run -0 on node dig +time=2 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME"
	[[ $output = *'status: SERVFAIL'* ]]
	run -0 on node dig +tcp +time=2 +tries=1 -p 54 @::1 "$VPN_NAME"
	[[ $output = *'status: SERVFAIL'* ]]
	[ "$(seen node marked)" -eq 0 ]
}

@test "a failure is passed on when no server has better" {
	server one "${SERVERS[0]}" servfail
	server two "${SERVERS[1]}" servfail
	servers "${SERVERS[0]}" "${SERVERS[1]}"
	resolver_starts
	run -0 on node dig +time=3 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME"
	[[ $output = *'status: SERVFAIL'* ]]
}

@test "a resolv file that comes late, goes and is replaced counts at once" {
	server one "${SERVERS[0]}" good
	server two "${SERVERS[1]}" good
	rm -r "$LAB_DIR/node/var/gluon"
	resolver_starts
	asked() { on node dig +short +time=2 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" TXT; }
	answers() { [ "$(asked)" = "$1" ]; }
	answers ''
	servers "${SERVERS[0]}"
	wait_for 5 answers '"one"'
	servers "${SERVERS[1]}"
	wait_for 5 answers '"two"'
	# Written in place, as an editor may.
	echo "nameserver ${SERVERS[0]}" >"$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf"
	wait_for 5 answers '"one"'
	rm -r "$LAB_DIR/node/var/gluon"
	wait_for 5 answers ''
	servers "${SERVERS[1]}"
	wait_for 5 answers '"two"'
}

@test "the static list wins, and without it the resolv file counts again" {
	server one "${SERVERS[0]}" good
	server two "${SERVERS[1]}" good
	servers "${SERVERS[0]}"
	local static=$LAB_DIR/node/etc/config/gluon-wan-dnsmasq
	printf "config 'static'\n\tlist server '%s'\n" "${SERVERS[1]}" >"$static"
	resolver_starts
	asked() { on node dig +short +time=2 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" TXT; }
	answers() { [ "$(asked)" = "$1" ]; }
	answers '"two"'
	printf "config 'static'\n" >"$static"
	daemon_kill node resolver HUP
	wait_for 5 answers '"one"'
	# A bad one is named and changes nothing.
	printf "config 'static'\n\tlist server 'dns.example.org'\n" >"$static"
	daemon_kill node resolver HUP
	wait_for 5 grep -q "gluon-wan-dnsmasq:2: option 'server', value 'dns.example.org'" \
		"$LAB_DIR/node/resolver.log"
	answers '"one"'
}

@test "a link-local server works, also after its device was made again" {
	machine_add far
	on node ip link add br-ll type bridge
	cable node port0 far lan
	ll_up() {
		on node ip link set port0 master br-ll
		on node ip link set br-ll up
	}
	ll_up
	on far ip addr add fe80::9:2/64 dev lan
	daemon far dns dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= \
		--no-resolv --no-hosts --interface=lan --bind-interfaces --txt-record="$VPN_NAME,far"
	servers fe80::9:2%br-ll
	resolver_starts
	asked() { on node dig +short +time=2 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" TXT; }
	answers() { [ "$(asked)" = "$1" ]; }
	wait_for 5 answers '"far"'
	local index
	index=$(on node cat /sys/class/net/br-ll/ifindex)
	on node ip link del br-ll
	run -9 asked
	# The kernel gives the next index.
	on node ip link add br-ll type bridge
	ll_up
	[ "$(on node cat /sys/class/net/br-ll/ifindex)" -ne "$index" ]
	wait_for 5 answers '"far"'
	on node ip link del br-ll
}

@test "a marked query over TCP, from one server to the next" {
	server one "${SERVERS[0]}" blackhole
	server two "${SERVERS[1]}" good
	servers "${SERVERS[0]}" "${SERVERS[1]}"
	resolver_starts
	run -0 on node dig +tcp +short +time=4 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" TXT
	[ "$output" = '"two"' ]
	[ "$(seen node marked)" -gt 0 ]
}

@test "it runs as a user of its own, with one capability, and cannot get more" {
	resolver_starts setpriv --groups 4,800
	local status
	status=$(on node cat "/proc/$(daemon_pid node resolver)/status")
	grep -qP '^Uid:\t454\t454\t454\t454$' <<<"$status"
	grep -qP '^Gid:\t454\t454\t454\t454$' <<<"$status"
	grep -qP '^Groups:\s*$' <<<"$status"
	grep -qP '^NoNewPrivs:\t1$' <<<"$status"
	grep -qP '^CapInh:\t0+$' <<<"$status"
	grep -qP '^CapBnd:\t0+$' <<<"$status"
	grep -qP '^CapAmb:\t0+$' <<<"$status"
	# CAP_NET_RAW, or CAP_NET_ADMIN on kernels before 5.17; never both.
	grep -qP '^CapEff:\t0{12}(2000|1000)$' <<<"$status"
	[ "$(sed -n 's/^CapEff:\t//p' <<<"$status")" = "$(sed -n 's/^CapPrm:\t//p' <<<"$status")" ]
	# Nor start anything.
	on node grep -qP '^Max processes +0 +0 ' "/proc/$(daemon_pid node resolver)/limits"
}

@test "another process of nobody cannot stop it" {
	resolver_starts
	run on node setpriv --reuid nobody --regid nogroup --clear-groups kill -9 "$(daemon_pid node resolver)"
	[[ $output = *'not permitted'* ]]
	resolver_serves
}

@test "nobody stands in where the package has made no user, and that is said" {
	local passwd=$LAB_DIR/node/etc/passwd
	cp "$passwd" "$LAB_DIR/passwd"
	sed -i /^gluon-wan:/d "$passwd"
	daemon node resolver "$(gluon_wan_path)" resolver
	wait_for 5 resolver_serves || true
	cp "$LAB_DIR/passwd" "$passwd"
	resolver_serves
	on node grep -qP '^Uid:\t65534\t65534\t65534\t65534$' "/proc/$(daemon_pid node resolver)/status"
	grep -q "there is no user 'gluon-wan', running as 'nobody'" "$LAB_DIR/node/resolver.log"
}

@test "a resolver whose own group is redirected would ask itself: it refuses to serve" {
	local config=$LAB_DIR/node/etc/config/gluon-wan
	printf 'config redirect\n\tlist group gluon-wan\n' >"$config"
	run -1 on node "$(gluon_wan_path)" resolver
	[[ $output = *"DNS of group 'gluon-wan' is redirected"*"nothing is served"*"option user"* ]]
	# By its number, and of another user.
	printf 'config redirect\n\tlist group gluon-fastd\n\tlist group 453\nconfig resolver\n\toption user dnsmasq\n' >"$config"
	run -1 on node "$(gluon_wan_path)" resolver
	[[ $output = *"DNS of group '453' is redirected"* ]]
	# Nor does it go on when its group becomes one.
	rm "$config"
	resolver_starts
	printf 'config redirect\n\tlist group gluon-wan\n' >"$config"
	wait_for 5 daemon_ended node resolver
	grep -q "DNS of group 'gluon-wan' is redirected" "$LAB_DIR/node/resolver.log"
}

@test "without the mark it refuses to serve, and nothing leaves" {
	server one "${SERVERS[0]}" good
	# All a resolver needs but the capabilities that let it mark.
	run -1 on node setpriv --bounding-set=-net_raw,-net_admin \
		timeout 5 "$(gluon_wan_path)" resolver
	[[ $output = *'cannot set the packet mark 0x1'*'nothing is served'*CAP_NET_ADMIN*CAP_NET_RAW* ]]
	run on node dig +time=1 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME"
	[ "$status" -ne 0 ]
	[ "$(seen node marked)" -eq 0 ]
}

# A resolver whose kernel does what a test says: strace's `inject`. With -D it is the parent.
injected() {
	on node timeout 5 strace -D -qq -o /dev/null -e inject="$1" "$(gluon_wan_path)" resolver
}

@test "a mark that the kernel takes and does not keep, or not from nobody, is none" {
	# The first option that is set is the mark that is tried out.
	run -1 injected setsockopt:retval=0:when=1
	[[ $output = *'cannot set the packet mark 0x1'*'nothing is served'*'holds 0x0 in its place'* ]]
	# The second mark that is read back is that of an unprivileged user.
	run -1 injected getsockopt:error=EPERM:when=2+
	[[ $output = *'cannot set the packet mark 0x1'*'nothing is served'*'not permitted'* ]]
	run -1 injected capset:error=EPERM
	[[ $output = *'cannot clear inheritable capabilities'* ]]
}

@test "a mark that fails while it serves: no query leaves without, and it goes on when it can" {
	server one "${SERVERS[0]}" good
	servers "${SERVERS[0]}"
	resolver_starts
	reply() { on node dig "$@" +time=8 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" TXT; }
	local pid
	pid=$(daemon_pid node resolver)
	traced() { on node grep -q '^TracerPid:[[:space:]]*[1-9]' "/proc/$pid/status"; }
	daemon node tracer strace -f -qq -o /dev/null -e inject=setsockopt:error=EPERM -p "$pid"
	wait_for 5 traced
	# The tracer takes hold a moment after it is there.
	fails() { [[ $(reply "$@") = *'status: SERVFAIL'* ]]; }
	wait_for 20 fails
	fails +tcp
	daemon_stop node tracer
	wait_for 5 one_answers
	[ "$(daemon_pid node resolver)" = "$pid" ]
}

@test "over TCP: a server that closes instead of answering, then the next" {
	daemon wan one "$RESOLVER_TESTS/hangs-up.py" "${SERVERS[0]}"
	wait_for 5 on wan sh -c 'ss -Hltn sport = :53 | grep -q .'
	server two "${SERVERS[1]}" good
	servers "${SERVERS[0]}" "${SERVERS[1]}"
	resolver_starts
	run -0 on node dig +tcp +short +time=4 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" TXT
	[ "$output" = '"two"' ]
	daemon_stop wan two
	run -0 on node dig +tcp +time=8 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" TXT
	[[ $output = *'status: SERVFAIL'* ]]
}

@test "more queries in flight than it opens sockets for: bounded, and it goes on" {
	server one "${SERVERS[0]}" good
	printf 'config resolver\n\toption max_inflight 2000\n' >"$LAB_DIR/node/etc/config/gluon-wan"
	resolver_starts
	local pid open most=0
	pid=$(daemon_pid node resolver)
	blackhole "{ ${SERVERS[0]}, ${SERVERS[1]}, ${SERVERS[2]} }"
	daemon node burst python3 "$RESOLVER_TESTS/burst.py" 1500 127.0.0.1#54
	while daemon_running node burst; do
		open=$(on node sh -c "ls /proc/$pid/fd | wc -l")
		[ "$open" -le "$most" ] || most=$open
	done
	echo "$most descriptors, $(cat "$LAB_DIR/node/burst.log")"
	# That the bound was reached, and held.
	[ "$most" -gt 350 ]
	[ "$most" -le 430 ]
	# A busy machine may lose datagrams on the way; no other answer is one.
	jq -e '.codes | keys == ["2"]' "$LAB_DIR/node/burst.log"
	on wan nft flush ruleset
	wait_for 15 one_answers
}

@test "fewer descriptors than clients want: it says so, and serves those that wait when others leave" {
	server one "${SERVERS[0]}" good
	servers "${SERVERS[0]}"
	resolver_starts prlimit --nofile=24
	daemon node idle python3 "$RESOLVER_TESTS/hold.py" idle 8 127.0.0.1#54
	wait_for 5 grep -q 'a TCP client could not be accepted: .*open files' "$LAB_DIR/node/resolver.log"
	daemon_stop node idle
	wait_for 5 one_answers
	wait_for 5 one_answers +tcp
}

@test "a kernel without IPv6: it serves on the other address, unless there is none" {
	local config=$LAB_DIR/node/etc/config/gluon-wan
	# Not socket(2): how many glibc opens to look users up differs.
	printf 'config resolver\n\tlist listen ::1\n\tlist listen 127.0.0.1\n' >"$config"
	daemon node resolver strace -D -qq -o /dev/null -e inject=bind:error=EAFNOSUPPORT:when=1 \
		"$(gluon_wan_path)" resolver
	wait_for 5 resolver_serves
	grep -q '\[::1\]:54: this kernel has no such address, serving without it' "$LAB_DIR/node/resolver.log"
	daemon_stop node resolver
	printf 'config resolver\n\tlist listen ::1\n' >"$config"
	run -1 injected bind:error=EAFNOSUPPORT:when=1
	[[ $output = *'cannot listen on [::1]:54'*'not supported'* ]]
}

@test "a query that comes before the servers are read gets an answer all the same" {
	server one "${SERVERS[0]}" good
	servers "${SERVERS[0]}"
	# The file takes a second to open.
	daemon node resolver strace -D -f -qq -o /dev/null -P /var/gluon/wan-dnsmasq/resolv.conf \
		-e trace=openat -e inject=openat:delay_enter=1000000 "$(gluon_wan_path)" resolver
	wait_for 5 grep -q 'serving DNS' "$LAB_DIR/node/resolver.log"
	run ! grep -q 'servers:' "$LAB_DIR/node/resolver.log"
	[ "$(on node dig +short +time=5 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" TXT)" = '"one"' ]
}

@test "a resolv file that nobody may read changes nothing, and says so once" {
	server one "${SERVERS[0]}" good
	server two "${SERVERS[1]}" good
	servers "${SERVERS[0]}"
	resolver_starts
	told() { [ "$(on node dig +short +time=2 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" TXT)" = "$1" ]; }
	wait_for 5 told '"one"'
	# As root writes it under another umask.
	(umask 077 && servers "${SERVERS[1]}")
	wait_for 5 grep -q 'resolv.conf: cannot be read, the servers stay as they are' "$LAB_DIR/node/resolver.log"
	told '"one"'
	servers "${SERVERS[1]}"
	wait_for 5 told '"two"'
	[ "$(grep -c 'cannot be read' "$LAB_DIR/node/resolver.log")" -eq 1 ]
}

@test "what is fixed at start stays until a restart, and that is said" {
	server one "${SERVERS[0]}" good
	servers "${SERVERS[0]}"
	resolver_starts
	printf 'config resolver\n\toption port 5454\n' >"$LAB_DIR/node/etc/config/gluon-wan"
	daemon_kill node resolver HUP
	wait_for 5 grep -q 'port, user, max_inflight and mark change with a restart' "$LAB_DIR/node/resolver.log"
	resolver_serves
	run on node ss -Hlun sport = :5454
	[ -z "$output" ]
}

@test "what keeps it from serving is said" {
	daemon node other dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= --port=54 --no-resolv
	wait_for 5 on node sh -c 'ss -lun | grep -q :54'
	run -1 on node "$(gluon_wan_path)" resolver
	[[ $output = *'cannot listen on 127.0.0.1:54 (is gluon-wan-dnsmasq'*'in use'* ]]
	daemon_stop node other
	run -1 on node setpriv --bounding-set=-net_bind_service "$(gluon_wan_path)" resolver
	[[ $output = *'cannot listen on 127.0.0.1:54 (start it as root'*'Permission denied'* ]]
	printf 'config resolver\n\toption user missing\n' >"$LAB_DIR/node/etc/config/gluon-wan"
	run -1 on node "$(gluon_wan_path)" resolver
	[[ $output = *"there is no user 'missing'"* ]]
	# A wrong value is said as well, and costs no more than itself.
	printf 'config resolver\n\toption port 0\n' >"$LAB_DIR/node/etc/config/gluon-wan"
	resolver_starts
	grep -F "gluon-wan:2: option 'port', value '0': expected a port from 1 to 65535" "$LAB_DIR/node/resolver.log"
	daemon_stop node resolver
}

@test "it tells version, servers and their health" {
	server one "${SERVERS[0]}" good
	resolver_starts
	ask --count 5
	run -0 on node dig +short -p 54 @127.0.0.1 servers.bind CH TXT
	[[ $output =~ "\"10.9.0.1#53 "[0-9]+" 0\"" ]]
	[[ $output = *'"10.9.0.2#53 '* ]]
	run -0 on node dig +short -p 54 @::1 health.gluon-wan CH TXT
	[[ $output = *'server=10.9.0.1 state=up since_s='*' usual_us='*' queries='*' failures=0'* ]]
	[[ $output = *'server=10.9.0.2 state=unreachable '* ]]
	# The good one falls silent; of those that are there now, one only fails.
	blackhole "${SERVERS[0]}"
	server two "${SERVERS[1]}" servfail
	servers "${SERVERS[0]}" "${SERVERS[1]}"
	wait_for 20 health_is 'server=10.9.0.1 state=silent .* failures=[1-9]' 'server=10.9.0.2 state=failing'
}

# health_is PATTERN...: after another query.
health_is() {
	on node dig +time=8 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" >"$LAB_DIR/asked"
	local pattern said
	said=$(on node dig +short -p 54 @::1 health.gluon-wan CH TXT)
	for pattern; do
		grep -q "$pattern" <<<"$said" || return
	done
}
