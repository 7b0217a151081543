#!/usr/bin/env bats
# The redirect table: what it does to queries, how it lists, and that sync,
# sync --watch and clear keep it as it must be. Needs root and nft; everything
# happens in network namespaces that are removed again.

bats_require_minimum_version 1.5.0
load lab/lab
load lab/redirect

# The names that Gluon gives to 800 and 801.
gluon_groups() {
	groups gluon-fastd:x:800: gluon-mesh-vpn:x:801:
}

# groups LINE...: the node's group database.
groups() {
	printf '%s\n' root:x:0: "$@" >"$LAB_DIR/node/etc/group"
}

# `sync` makes what `print` prints, and takes what nft makes of that for its own.
made_or_printed() {
	local printed=$BATS_TEST_TMPDIR/printed before
	gluon_wan sync
	gluon_wan print >"$printed"
	same "$printed"
	on node nft flush ruleset
	on node nft -f "$printed"
	same "$printed"
	before=$(handle)
	gluon_wan sync
	[ "$(handle)" = "$before" ]
}

@test "redirects both protocols, families and any server, for the groups and nobody else" {
	gluon_wan sync
	local server
	for server in 127.0.0.1 ::1 198.51.100.1 2001:db8::53; do
		echo "server $server" >&2
		[ "$(asked 800 --server "$server")" = 444 ]
		[ "$(asked 801 --server "$server" --tcp)" = 444 ]
		[ "$(asked 802 --server "$server")" = 333 ]
		[ "$(asked 0 --server "$server" --tcp)" = 333 ]
	done
	gluon_wan clear
	[ "$(asked 800)" = 333 ]
}

@test "lists as the golden, made or printed: one group" {
	configure 54 800
	made_or_printed
	cmp "$BATS_TEST_TMPDIR/printed" "$LAB_REPO/nft/one-group.nft"
}

@test "lists as the golden, made or printed: two groups by name, another port" {
	local port
	gluon_groups
	for port in 54:two-groups 5454:other-port; do
		configure "${port%:*}" gluon-fastd gluon-mesh-vpn
		made_or_printed
		cmp "$BATS_TEST_TMPDIR/printed" "$LAB_REPO/nft/${port#*:}.nft"
	done
}

@test "lists as the golden, made or printed: two uplinks, both families, bits of the mark" {
	local golden="$LAB_REPO/nft/two-uplinks.nft"
	gluon_groups
	configure 54 gluon-fastd gluon-mesh-vpn
	cat >>"$CONFIG/gluon-wan" <<-'EOF'
		config routing
			list device 'br-wan'
			list device 'wwan0'
			list family 'ipv4'
			list family 'ipv6'
			option mark '0x10/0xf0'
	EOF
	made_or_printed
	cmp "$BATS_TEST_TMPDIR/printed" "$golden"
}

@test "a mark of which all bits count, and IPv4 alone: sync takes what nft makes of the print" {
	printf "config routing\n\tlist family 'ipv4'\n\toption mark '16'\n" >>"$CONFIG/gluon-wan"
	made_or_printed
	listed | grep -qF 'meta mark 0x00000010 meta nfproto ipv4 counter '
}

@test "lists as the golden, made or printed: no group" {
	configure 54 no-such-group
	run -1 gluon_wan print
	gluon_wan print >"$BATS_TEST_TMPDIR/printed" || true
	cmp "$BATS_TEST_TMPDIR/printed" "$LAB_REPO/nft/no-group.nft"
	on node nft -f "$BATS_TEST_TMPDIR/printed"
	same "$LAB_REPO/nft/no-group.nft"
	local before
	before=$(handle)
	run -1 gluon_wan sync
	[ "$(handle)" = "$before" ]
}

@test "as many devices and groups as a configuration may have" {
	# shellcheck disable=SC2046 # words
	configure 54 $(seq 1001 1050)
	{
		printf 'config routing\n'
		printf "\tlist device 'a-long-device%02d'\n" $(seq 50)
	} >>"$CONFIG/gluon-wan"
	made_or_printed
	grep -qF 'oifname != "a-long-device50" goto mark_guard' "$BATS_TEST_TMPDIR/printed"
}

@test "lists many groups in order, and takes what nft made of its own print for its own" {
	# Numbers whose order depends on reading them in host order, up to the last.
	configure 54 801 256 1 65536 4294967294 800
	made_or_printed
}

@test "what is right is not written: same handle, counters keep counting" {
	gluon_wan sync
	asked 800
	local before
	before=$(handle)
	daemon node monitor nft monitor
	gluon_wan sync
	gluon_wan sync
	[ "$(handle)" = "$before" ]
	[ "$(asked 800)" = 444 ]
	on node nft list table inet gluon_wan | grep -q 'counter packets 6 '
}

@test "whatever is wrong is replaced" {
	local golden="$BATS_TEST_TMPDIR/golden" wrong before
	gluon_wan print >"$golden"
	# One per line: what somebody else does to our table.
	while read -r wrong; do
		echo "wrong: $wrong" >&2
		gluon_wan sync
		same "$golden"
		printf '%b' "$wrong" | on node nft -f -
		run same "$golden"
		[ "$status" -ne 0 ]
		before=$(handle)
		gluon_wan sync
		same "$golden"
		[ "$(handle)" != "$before" ]
	done <<-'EOF'
		flush ruleset
		delete table inet gluon_wan
		flush chain inet gluon_wan dns_redirect
		flush chain inet gluon_wan wan_guard
		delete chain inet gluon_wan wan_guard
		insert rule inet gluon_wan wan_guard accept
		chain inet gluon_wan wan_guard { policy drop; }
		add rule inet gluon_wan dns_redirect counter
		insert rule inet gluon_wan dns_redirect meta skgid 800 accept
		add rule inet gluon_wan dns_redirect meta skgid { 800, 801 } meta l4proto { tcp, udp } th dport 53 counter redirect to :54
		add chain inet gluon_wan other
		add chain inet gluon_wan drops { type filter hook output priority 0; policy drop; }
		chain inet gluon_wan dns_redirect { policy drop; }
		add set inet gluon_wan foreign { type ipv4_addr; }
		add counter inet gluon_wan foreign
		add table inet gluon_wan { flags dormant; }
	EOF
}

@test "a table that differs in one detail is replaced" {
	local golden="$BATS_TEST_TMPDIR/golden" edit before
	gluon_wan print >"$golden"
	while read -r edit; do
		echo "edit: $edit" >&2
		on node nft flush ruleset
		sed "$edit" "$golden" >"$BATS_TEST_TMPDIR/edited"
		run -1 cmp -s "$BATS_TEST_TMPDIR/edited" "$golden"
		on node nft -f "$BATS_TEST_TMPDIR/edited"
		before=$(handle)
		gluon_wan sync
		same "$golden"
		[ "$(handle)" != "$before" ]
	done <<-'EOF'
		s/800, 801 } meta/800, 802 } meta/
		s/{ 800, 801 } meta/{ 800 } meta/
		s/{ 800, 801 } meta/800 meta/
		s/{ 800, 801 } meta/@named meta/;s/chain dns/set named { type gid; elements = { 800, 801 }; }\n\tchain dns/
		s/{ 800, 801 } meta/{ 800, 801, 802 } meta/
		s/skgid {/skgid != {/
		s/skgid {/skuid {/
		s/800, 801 } meta/800-801 } meta/
		s/{ tcp, udp }/udp/
		s/{ tcp, udp }/{ sctp, udp }/
		s/dport 53/dport 54/
		s/dport 53/dport != 53/
		s/th dport/th sport/
		s/redirect to :54/redirect to :55/
		s/redirect to :54/redirect to :54-55/
		s/redirect to :54/redirect to :54 random/
		s/ redirect to :54/ accept/
		s/ counter//
		s/priority -199/priority -198/
		s/policy accept/policy drop/
		s/type nat/type filter/;s/ redirect to :54//
		/type nat/s/hook output/hook prerouting/
		s/dns_redirect/another/
		s/comment "gluon-wan: 800/comment "800/
		s/comment "gluon-wan: DNS/comment "DNS/
		s/\(.*type nat.*\)/\1 comment "foreign";/
		s/mark & 0x00000001 ==/mark \& 0x00000003 ==/
		s/== 0x00000001/!= 0x00000001/
		s/ == 0x00000001/ == 0x00000000/
		s/nfproto ipv6/nfproto ipv4/
		s/ meta nfproto ipv6//
		s/"br-wan"/"br-wa"/
		s/"br-wan"/"br-wan*"/
		s/ oifname != "br-wan"//
		s/oifname != "br-wan"/oifname "br-wan"/
		s/oifname "lo" accept/oifname != "lo" accept/
		s/goto mark_guard/jump mark_guard/
		s/goto mark_guard/accept/
		s/oifname != "br/iifname != "br/
		s/counter drop/drop/
		s/counter drop/counter accept/
		s/hook postrouting/hook output/
		s/postrouting priority -500/postrouting priority -499/
		s/mark_guard/another/
		s/zone set 54054/zone set 54055/
		s/ct original zone/ct reply zone/
		s/ct original zone/ct zone/
		s/udp dport 53/tcp dport 53/
		s/priority set meta priority | 6757:0/priority set 6757:0/
		s/priority set meta priority | 6757:0/priority set meta priority | 6758:0/
		s/priority & ffff:0 == none/priority \& ffff:0 == 1:0/
		s/mark set meta mark | 0x00000001/mark set meta mark | 0x00000003/
		s/mark set meta mark | 0x00000001/mark set 0x00000001/
		s/priority \& 0:ffff/priority \& 0:fff/
		s/type route/type filter/
		s/output priority 500/output priority 501/
		s/icmp code port-unreachable/icmp code host-unreachable/
		s/@th,224,16 0x35/@th,224,16 0x36/
		s/@th,136,8/@th,128,8/
		s/icmpv6 type destination-unreachable icmpv6 code port-unreachable/icmpv6 type destination-unreachable/
		s/oifname "lo" th/oifname != "lo" th/
		s/dport 54 accept/dport 54 drop/
		s/dport { 53, 54 }/dport { 53, 55 }/
		s/dport { 53, 54 }/dport 53/
		s/dns_guard/another/
	EOF
}

@test "1,000 replacements let no query around" {
	local one="$CONFIG" two="$BATS_TEST_TMPDIR/two" before after
	cp -r "$one" "$two"
	printf "\tlist group '802'\n" >"$BATS_TEST_TMPDIR/more"
	sed -i "1r $BATS_TEST_TMPDIR/more" "$two/gluon-wan"
	# Without the include, whose check would take most of the time.
	sed -i "s/option include .*/option include ''/" "$one/gluon-wan" "$two/gluon-wan"
	gluon_wan sync
	loop_start
	before=$(handle)
	# shellcheck disable=SC2016 # expanded by the inner shell
	LAB_TIMEOUT=120 on node bash -ec 'for ((i = 0; i < 500; i++)); do "$0" -c "$1" sync; "$0" -c "$2" sync; done' \
		"$(gluon_wan_path)" "$two" "$one"
	after=$(handle)
	loop_end
	[ "$after" -eq $((before + 1000)) ]
	[ "$REDIRECTED" -gt 1000 ]
	[ "$UNREDIRECTED" -eq 0 ]
}

@test "clear removes the table and the file, nothing else, and can be repeated" {
	on node nft add table inet other
	gluon_wan sync
	[ -e "$INCLUDE" ]
	gluon_wan clear
	[ "$(on node nft list tables)" = "table inet other" ]
	[ ! -e "$INCLUDE" ]
	gluon_wan clear
	[ "$(on node nft list tables)" = "table inet other" ]
}

@test "clear removes a table that is not as it must be" {
	gluon_wan sync
	on node nft add chain inet gluon_wan drops '{ type filter hook output priority 0; }'
	gluon_wan clear
	[ -z "$(on node nft list tables)" ]
}

@test "groups: missing ones are skipped with a warning and picked up when they come" {
	configure 54 gluon-fastd gluon-mesh-vpn 803
	groups gluon-mesh-vpn:x:801:
	run --separate-stderr gluon_wan sync
	[ "$status" -eq 0 ]
	[ "$stderr" = "gluon-wan: group 'gluon-fastd' does not exist, its DNS is not redirected" ]
	listed | grep -qF 'skgid { 801, 803 }'
	gluon_groups
	run --separate-stderr gluon_wan sync
	[ "$status" -eq 0 ]
	[ -z "$stderr" ]
	listed | grep -qF 'skgid { 800, 801, 803 }'
	listed | grep -qF 'comment "gluon-wan: gluon-fastd, gluon-mesh-vpn, 803"'
}

@test "groups: one number under two names counts once" {
	configure 54 vpn gluon-fastd 800
	groups vpn:x:800: gluon-fastd:x:800:
	gluon_wan sync
	listed | grep -qF 'meta skgid 800 meta'
}

@test "groups: none left is an error; what is marked is guarded all the same" {
	local golden="$LAB_REPO/nft/no-group.nft"
	gluon_wan sync
	configure 54 no-such-group nor-this
	run -1 gluon_wan sync
	[[ "$output" == *"none of the groups no-such-group, nor-this exists"* ]]
	same "$golden"
	diff <(sed '1,/^delete/d' "$INCLUDE") "$golden"
	[ "$(asked 800)" = 333 ]
	# Once it is there, the redirect is; and the watch looks from time to time.
	watch_up
	wait_for 10 said 1 "none of the groups no-such-group, nor-this exists"
	configure 54 800 801
	daemon_kill node watch HUP
	wait_for 10 redirects
	[ "$(asked 800)" = 444 ]
}

redirects() {
	listed | grep -q 'redirect to'
}

@test "a flow from before the table is redirected from its next packet on, and back" {
	# Conntrack has to be on, as it is on every router.
	on node nft -f "$LAB_REPO/tests/fixtures/fw4-ruleset.nft"
	local server
	for server in 127.0.0.1 ::1 198.51.100.1; do
		echo "server $server" >&2
		gluon_wan clear
		[ "$(asked 800 --server "$server" --source-port 4000)" = 333 ]
		# Whoever loads the table.
		gluon_wan print | on node nft -f -
		[ "$(asked 800 --server "$server" --source-port 4000)" = 444 ]
		gluon_wan clear
		[ "$(asked 800 --server "$server" --source-port 4000)" = 333 ]
		gluon_wan sync
		[ "$(asked 800 --server "$server" --source-port 4000)" = 444 ]
	done
}

@test "a flow goes to the new port from its next packet on" {
	resolver 55
	gluon_wan sync
	[ "$(asked 800 --source-port 4001)" = 444 ]
	configure 55 800
	gluon_wan sync
	[ "$(asked 800 --source-port 4001)" = 555 ]
}

@test "a group's query and another's from the same port to the same server: each its own way" {
	on node nft -f "$LAB_REPO/tests/fixtures/fw4-ruleset.nft"
	gluon_wan sync
	local server
	for server in 127.0.0.1 ::1 198.51.100.1 2001:db8::53; do
		echo "server $server" >&2
		for _ in 1 2 3; do
			[ "$(asked 800 --server "$server" --source-port 4010)" = 444 ]
			[ "$(asked 0 --server "$server" --source-port 4010)" = 333 ]
			[ "$(asked 801 --server "$server" --source-port 4010)" = 444 ]
		done
		for _ in 1 2 3; do
			[ "$(asked 802 --server "$server" --source-port 4011)" = 333 ]
			[ "$(asked 800 --server "$server" --source-port 4011)" = 444 ]
		done
		# Linux may refuse a port that a connection had a moment ago; where one comes
		# about, it goes its own way.
		[[ "$(asked 0 --tcp --server "$server" --source-port 4012)" =~ ^[3-]{3}$ ]]
		[[ "$(asked 800 --tcp --server "$server" --source-port 4012)" =~ ^[4-]{3}$ ]]
		[[ "$(asked 0 --tcp --server "$server" --source-port 4012)" =~ ^[3-]{3}$ ]]
	done
}

@test "without permission it says what is needed" {
	run -1 on node unshare -U "$(gluon_wan_path)" sync
	[[ "$output" == *"needs root (CAP_NET_ADMIN)"* ]]
	gluon_wan sync
	run -1 on node setpriv --bounding-set -net_admin "$(gluon_wan_path)" clear
	[[ "$output" == *"needs root (CAP_NET_ADMIN)"* ]]
	listed
}

@test "a kernel without netfilter's netlink: what is missing, and the kmod" {
	run -1 on node strace -qq -o /dev/null -e inject=socket:error=EPROTONOSUPPORT \
		"$(gluon_wan_path)" sync
	[[ "$output" == *"this kernel has no"*"install kmod-nft-core"* ]]
	[ "${#lines[@]}" -eq 1 ]
}

@test "the watch mends what others do, and then rests" {
	local golden="$BATS_TEST_TMPDIR/golden" wrong
	gluon_wan print >"$golden"
	watch_up
	wait_for 10 same "$golden"
	while read -r wrong; do
		echo "wrong: $wrong" >&2
		printf '%b' "$wrong" | on node nft -f -
		wait_for 10 same "$golden"
	done <<-'EOF'
		flush ruleset
		delete table inet gluon_wan
		flush chain inet gluon_wan dns_redirect
		add rule inet gluon_wan dns_redirect counter
	EOF
	# Its own writes are no reason to write again.
	local before
	before=$(handle)
	on node nft add table inet other
	[ "$(asked 800)" = 444 ]
	[ "$(handle)" = "$before" ]
}

@test "what the watch writes itself is no news to it" {
	local calls=$BATS_TEST_TMPDIR/calls watch
	watch_up
	watch=$(daemon_pid node watch)
	wait_for 10 listed
	daemon node strace strace -qq -f -e trace=sendto,sendmsg -o "$calls" -p "$watch"
	wait_for 10 on node grep -q "TracerPid:.[1-9]" "/proc/$watch/status"
	on node nft delete table inet gluon_wan
	wait_for 10 listed
	# An event of others that does not concern us ends the wait for a look too many.
	on node nft add table inet other
	sleep 0.5
	# One look finds it missing, one finds it right.
	[ "$(grep -c NFT_MSG_GETTABLE "$calls")" -eq 2 ]
	[ "$(grep -c NFT_MSG_NEWTABLE "$calls")" -ge 1 ]
}

@test "the watch survives more events than its socket holds" {
	local golden="$BATS_TEST_TMPDIR/golden" rule
	gluon_wan print >"$golden"
	watch_up
	wait_for 10 same "$golden"
	daemon_kill node watch STOP
	{
		echo "add table inet storm; add chain inet storm c"
		for ((rule = 0; rule < 5000; rule++)); do
			echo "add rule inet storm c counter comment \"rule $rule of the storm\""
		done
	} >"$BATS_TEST_TMPDIR/storm"
	on node nft -f "$BATS_TEST_TMPDIR/storm"
	on node nft delete table inet storm
	on node nft -f "$BATS_TEST_TMPDIR/storm"
	# The event that counts is among those that were lost.
	on node nft flush chain inet gluon_wan dns_redirect
	daemon_kill node watch CONT
	wait_for 10 same "$golden"
	daemon_running node watch
	on node nft delete table inet gluon_wan
	wait_for 10 same "$golden"
}

@test "the watch out of descriptors: the table is mended, the file said once and right again without an event" {
	gluon_wan print >"$BATS_TEST_TMPDIR/golden"
	watch_up
	wait_for 10 test -f "$INCLUDE"
	on node prlimit --pid "$(daemon_pid node watch)" --nofile=3:
	on node nft delete table inet gluon_wan
	wait_for 10 same "$BATS_TEST_TMPDIR/golden"
	wait_for 10 said 1 "cannot be made: Too many open files"
	on node prlimit --pid "$(daemon_pid node watch)" --nofile=64:
	wait_for 10 said 1 "redirect: in place again"
	# It was tried in between, too.
	said 1 "cannot be made: Too many open files"
}

@test "the watch and a file that cannot be replaced: said once, right when it can" {
	mkdir -p "$INCLUDE"
	watch_up
	wait_for 10 said 1 "$INCLUDE: cannot be replaced"
	listed
	rmdir "$INCLUDE"
	wait_for 10 test -f "$INCLUDE"
	wait_for 10 said 1 "redirect: in place again"
	# Another place for it, and the old one cannot be cleaned up.
	rm "$INCLUDE"
	mkdir "$INCLUDE"
	local old=$INCLUDE
	INCLUDE="$BATS_TEST_TMPDIR/run/new.nft"
	configure 54 800 801
	daemon_kill node watch HUP
	wait_for 10 test -f "$INCLUDE"
	said 1 "$old: cannot be removed"
	daemon_running node watch
}
