# The whole node with everything in place: what the design promises, on real
# daemons, seen from both sides.

bats_require_minimum_version 1.5.0
load lab/lab

setup_file() {
	lab_up
}

teardown_file() {
	lab_down
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	local title
	for title in fastd resolver watch queries nft-monitor ip-monitor; do
		daemon_stop node $title
	done
	rm -f "$LAB_DIR"/node/etc/config/*
	gluon_wan clear
	on home nft flush ruleset
	on mesh nft flush ruleset
	on node sh -c '
		nft flush ruleset
		ip -6 rule flush; ip -4 rule flush
		ip -6 rule add pref 32766 lookup main
		ip -4 rule add pref 32766 lookup main; ip -4 rule add pref 32767 lookup default
	'
	# Whatever the test did to the cable or to netifd.
	on home ip -br link show lan | grep UP >/dev/null || wan_up
	node_has_wan
}

node_up_with_wan() {
	gluon_wan sync && resolver_up
}

# config <TEXT: the node's /etc/config/gluon-wan.
config() {
	cat >"$LAB_DIR/node/etc/config/gluon-wan"
}

# txt NAME_OR_GID DIG_ARG...: which side answered, "home" or "mesh".
txt() {
	local gid=$1
	shift
	as_group node "$gid" dig +short +time=2 +tries=1 "$VPN_NAME" TXT "$@"
}

# seen_none TITLE...: none of these probes of the node saw a packet.
seen_none() {
	local title
	for title; do
		if [ "$(seen node "$title")" -ne 0 ]; then
			echo "$title: $(seen node "$title") packets, expected none"
			return 1
		fi
	done
}

# seen_some TITLE...
seen_some() {
	local title
	for title; do
		if [ "$(seen node "$title")" -eq 0 ]; then
			echo "$title: no packet, expected some"
			return 1
		fi
	done
}

# --- who asks whom -----------------------------------------------------------

@test "DNS of the VPN groups is answered by the WAN alone, whatever server is asked" {
	node_up_with_wan
	probe node to_mesh out oifname br-client meta l4proto '{ tcp, udp }' th dport 53
	probe node to_primary out oifname lo meta l4proto '{ tcp, udp }' th dport 53
	for gid in $FASTD_GID $MESH_VPN_GID; do
		for server in 127.0.0.1 ::1 "$MESH_IP4" "$MESH_IP6" "$FAKE_IP6"; do
			for transport in +notcp +tcp; do
				run -0 txt "$gid" "@$server" $transport
				[ "$output" = '"home"' ] || { echo "gid $gid @$server $transport: $output"; false; }
			done
		done
		# Through libc and the node's own resolv.conf too.
		run -0 as_group node "$gid" getent ahostsv6 "$VPN_NAME"
		[[ $output == "$VPN_IP6 "* ]]
	done
	seen_none to_mesh to_primary
}

@test "DNS of everybody else is answered by the mesh and never reaches port 54" {
	node_up_with_wan
	probe node to_54 out oifname lo meta l4proto '{ tcp, udp }' th dport 54
	probe node to_mesh out oifname br-client udp dport 53
	for gid in 0 802 65534; do
		for transport in +notcp +tcp; do
			run -0 txt $gid @127.0.0.1 $transport
			[ "$output" = '"mesh"' ] || { echo "gid $gid $transport: $output"; false; }
		done
	done
	# A supplementary group is not the one that counts.
	run -0 on node setpriv --groups "$FASTD_GID" -- dig +short "$VPN_NAME" TXT @::1
	[ "$output" = '"mesh"' ]
	seen_none to_54
	seen_some to_mesh
	run ! grep -q 'counter packets [1-9]' <(on node nft list table inet gluon_wan)
}

@test "exec: a command's DNS goes over the WAN, that of the same command without it does not" {
	node_up_with_wan
	run -0 gluon_wan exec -- dig +short "$VPN_NAME" TXT
	[ "$output" = '"home"' ]
	run -0 on node dig +short "$VPN_NAME" TXT
	[ "$output" = '"mesh"' ]
}

# --- where marked packets go --------------------------------------------------

@test "every query of the resolver carries the mark and leaves through the WAN" {
	node_up_with_wan
	probe node marked out oifname br-wan meta l4proto '{ tcp, udp }' th dport 53 meta mark and 1 == 1
	probe node unmarked out meta l4proto '{ tcp, udp }' th dport 53 meta mark and 1 == 0
	probe node elsewhere out oifname != br-wan meta l4proto '{ tcp, udp }' th dport 53
	probe home over_udp in iifname lan udp dport 53
	probe home over_tcp in iifname lan tcp dport 53
	for transport in +notcp +tcp; do
		run -0 on node dig +short -p 54 @127.0.0.1 "$VPN_NAME" TXT $transport
		[ "$output" = '"home"' ]
		run -0 on node dig +short -p 54 @::1 "$VPN_NAME" TXT $transport
		[ "$output" = '"home"' ]
	done
	seen_some marked
	seen_none unmarked elsewhere
	[ "$(seen home over_udp)" -gt 0 ]
	[ "$(seen home over_tcp)" -gt 0 ]
}

@test "a marked packet uses the WAN, and nothing when the WAN has no route" {
	gluon_wan sync
	probe node leak out oifname != br-wan meta mark and 1 == 1
	probe node wan out oifname br-wan meta mark and 1 == 1
	probe mesh arrived in iifname lan ip6 daddr "$VPN_IP6"
	wait_for 5 on node ping -m 1 -c 1 -W 1 "$VPN_IP6"
	seen_some wan
	seen_none leak
	wan_down
	probe_reset node
	run ! on node ping -m 1 -c 1 -W 1 "$VPN_IP6"
	[[ $output == *"No route to host"* || $output == *nreachable* ]]
	# The same packet without the mark has a way: the mesh's.
	run ! on node ping -c 1 -W 1 "$VPN_IP6"
	[ "$(seen mesh arrived)" -eq 1 ]
	seen_none leak wan
}

@test "with IPv4 in the WAN's table, the same holds for IPv4" {
	config <<<$'config routing\n\tlist family ipv4\n\tlist family ipv6'
	# A mesh with a way out for IPv4, which Gluon's is not by default.
	on node ip route add default via "$MESH_IP4" dev br-client metric 1000
	gluon_wan sync
	run -0 on node ip -4 route show default
	[[ $output != *br-wan* ]]
	probe node leak out oifname != br-wan ip daddr "$VPN_IP4" meta mark and 1 == 1
	probe node unmarked out oifname br-wan ip daddr "$VPN_IP4" meta mark and 1 == 0
	probe node wan out oifname br-wan ip daddr "$VPN_IP4" meta mark and 1 == 1
	wait_for 5 on node ping -m 1 -c 1 -W 1 "$VPN_IP4"
	run ! on node ping -c 1 -W 1 "$VPN_IP4"
	seen_some wan
	seen_none leak unmarked
	wan_down
	probe_reset node
	run ! on node ping -m 1 -c 1 -W 1 "$VPN_IP4"
	[[ $output == *"No route to host"* || $output == *nreachable* ]]
	seen_none leak unmarked wan
	on node ip route del default via "$MESH_IP4" dev br-client metric 1000
}

@test "a resolver without a WAN answers SERVFAIL and asks nobody through the mesh" {
	# Its only server could be reached through the mesh's default route as well.
	printf "config static\n\tlist server '%s'\n" "$FAKE_IP6" >"$LAB_DIR/node/etc/config/gluon-wan-dnsmasq"
	gluon_wan sync
	wan_down
	daemon node resolver "$(gluon_wan_path)" resolver
	probe node to_mesh out oifname br-client meta l4proto '{ tcp, udp }' th dport 53
	probe mesh arrived in iifname lan ip6 daddr "$FAKE_IP6" meta l4proto '{ tcp, udp }' th dport 53
	wait_for 10 servfail
	run -0 on node dig +tcp -p 54 @::1 "$VPN_NAME"
	[[ $output == *SERVFAIL* ]]
	seen_none to_mesh
	[ "$(seen mesh arrived)" -eq 0 ]
}

servfail() {
	on node dig +tries=1 +time=10 -p 54 @127.0.0.1 "$VPN_NAME" 2>/dev/null | grep SERVFAIL >/dev/null
}

@test "a resolver that may not mark its sockets refuses to serve and says why" {
	gluon_wan sync
	run -1 on node setpriv --bounding-set=-net_admin,-net_raw -- "$(gluon_wan_path)" resolver
	# Which of its needs fails first depends on the kernel.
	[[ $output == "gluon-wan: "*mark* || $output == "gluon-wan: "*root* ]]
	run ! on node dig +tries=1 +time=1 -p 54 @127.0.0.1 "$VPN_NAME"
}

# --- transactions -----------------------------------------------------------

# Two configurations whose tables differ.
alternate() {
	if [ $(($1 % 2)) -eq 0 ]; then
		config <<<$'config redirect\n\tlist group 800'
	else
		config <<<$'config redirect\n\tlist group 800\n\tlist group 801'
	fi
}

answers() {
	wc -l <"$LAB_DIR/node/queries.log"
}

more_answers_than() {
	[ "$(answers)" -gt "$1" ]
}

@test "the table is replaced in one transaction, and no query slips through meanwhile" {
	node_up_with_wan
	probe node to_mesh out oifname br-client udp dport 53
	probe node to_primary out oifname lo meta l4proto udp th dport 53
	daemon node queries setpriv --regid "$FASTD_GID" --clear-groups -- sh -c "
		while :; do dig +short +time=2 +tries=1 @$MESH_IP4 $VPN_NAME TXT; done"
	daemon node nft-monitor nft monitor
	wait_for 5 monitor_sees nft-monitor nft add table inet lab_started
	generations=$(grep -c '^# new generation' "$LAB_DIR/node/nft-monitor.log")
	for round in $(seq 20); do
		alternate "$round"
		before=$(answers)
		gluon_wan sync
		wait_for 5 more_answers_than "$before"
	done
	wait_for 5 monitor_sees nft-monitor nft add table inet lab_ended
	daemon_stop node queries
	run ! grep -v home "$LAB_DIR/node/queries.log"
	seen_none to_mesh to_primary
	# One more is lab_ended's.
	[ $(($(grep -c '^# new generation' "$LAB_DIR/node/nft-monitor.log") - generations)) -eq 21 ]
}

# monitor_sees TITLE nft add table inet NAME | ip link add NAME type dummy: makes
# something on the node and looks whether the monitor has seen it.
monitor_sees() {
	local log=$LAB_DIR/node/$1.log name=$6
	shift
	[ "$1" != ip ] || name=$4
	on node "$@" 2>/dev/null || true
	grep -q "$name" "$log"
}

@test "sync twice: the second writes nothing" {
	gluon_wan sync
	include=$LAB_DIR/node/run/gluon-wan/redirect.nft
	[ -s "$include" ]
	state=$(node_state)
	file=$(stat -c '%i %y %z' "$include")
	daemon node nft-monitor nft monitor
	daemon node ip-monitor ip monitor rule route
	wait_for 5 monitor_sees nft-monitor nft add table inet lab_before
	wait_for 5 ip_monitor_sees 4001
	nft_lines=$(wc -l <"$LAB_DIR/node/nft-monitor.log") ip_lines=$(wc -l <"$LAB_DIR/node/ip-monitor.log")
	gluon_wan sync
	gluon_wan sync
	wait_for 5 monitor_sees nft-monitor nft add table inet lab_after
	wait_for 5 ip_monitor_sees 4002
	run -0 tail -n +$((nft_lines + 1)) "$LAB_DIR/node/nft-monitor.log"
	[ "$(grep -vc 'lab_after\|^# new generation' <<<"$output")" -eq 0 ]
	[ "$(grep -c '^# new generation' <<<"$output")" -eq 1 ]
	run -0 tail -n +$((ip_lines + 1)) "$LAB_DIR/node/ip-monitor.log"
	[ "$(grep -vc '4002' <<<"$output")" -eq 0 ]
	[ "$(stat -c '%i %y %z' "$include")" = "$file" ]
	on node sh -c 'nft delete table inet lab_before; nft delete table inet lab_after
		ip rule del pref 4001; ip rule del pref 4002'
	diff <(node_state) - <<<"$state"
}

# A rule at this priority is made once and must turn up in the monitor.
ip_monitor_sees() {
	on node sh -c "ip rule show pref $1 | grep . >/dev/null || ip rule add pref $1 lookup main"
	grep -q "^$1:" "$LAB_DIR/node/ip-monitor.log"
}

# --- watch ------------------------------------------------------------------

in_place() {
	on node nft list table inet gluon_wan >/dev/null 2>&1 &&
		on node ip -6 rule show | grep 'fwmark 0x1/0x1 lookup 1 proto 54' >/dev/null &&
		on node ip -6 route show table 1 | grep '^unreachable default' >/dev/null &&
		on node ip -6 route show table 1 | grep '^default via .* dev br-wan' >/dev/null &&
		! on node ip -6 route show default | grep br-wan >/dev/null
}

@test "sync --watch mends what others undo, and what a flapping WAN leaves in main" {
	netifd_table main
	daemon node watch "$(gluon_wan_path)" sync --watch
	wait_for 10 in_place
	on node nft flush ruleset
	wait_for 10 in_place
	on node ip -6 rule del pref 1
	on node ip -6 route del unreachable default metric 65535 table 1
	wait_for 10 in_place
	for _ in 1 2 3; do
		on home ip link set lan down
		on home ip link set lan up
	done
	wan_down
	wan_up
	wait_for 10 in_place
	wan_bridge_replace
	wait_for 10 in_place
	resolver_up
	run -0 txt "$FASTD_GID"
	[ "$output" = '"home"' ]
	daemon_stop node watch
	gluon_wan clear
	netifd_table 1
}

# --- clear ------------------------------------------------------------------

# What others on a router have, as like ours as can be.
plant() {
	on node sh -ec '
		nft -f - <<-END
			table inet fw4 { chain output { type filter hook output priority 0; meta skgid 800 accept; }; }
			table ip gluon_wan { chain c { type nat hook output priority -100; udp dport 5353 redirect to :54; }; }
			table inet gluon_wan_too { set s { type inet_service; elements = { 53, 54 }; }; }
		END
		for family in -4 -6; do
			ip $family rule add pref 1 fwmark 0x1/0x1 lookup 1 protocol static
			ip $family rule add pref 1 fwmark 0x1/0x3 lookup 1
			ip $family rule add pref 2 fwmark 0x1/0x1 lookup 2
			ip $family route add unreachable default metric 65535 table 1 proto static
			ip $family route add unreachable default metric 65535 table 2
		done
		ip -6 route add 2001:db8:9::/64 dev br-wan table 1 proto static
		ip -6 route add 2001:db8:a::/64 dev br-client
	'
}

uproot() {
	on node sh -c '
		for family in -4 -6; do
			ip $family route flush table 2
			ip $family route del unreachable default metric 65535 table 1
		done
		ip -6 route del 2001:db8:9::/64 dev br-wan table 1
		ip -6 route del 2001:db8:a::/64 dev br-client
	'
}

@test "clear takes away what sync made, and nothing of others" {
	config <<<$'config routing\n\tlist family ipv4\n\tlist family ipv6'
	plant
	state=$(node_state)
	gluon_wan sync
	run -0 node_state
	[[ $output == *"table inet gluon_wan {"* ]]
	[ "$(grep -c 'fwmark 0x1/0x1 lookup 1 proto 54' <<<"$output")" -eq 2 ]
	[ -e "$LAB_DIR/node/run/gluon-wan/redirect.nft" ]
	gluon_wan clear
	node_state >"$BATS_TEST_TMPDIR/after"
	uproot
	# With IPv4 in the WAN's table, its default route leaves main and netifd
	# brings it back.
	diff <(grep -v '^default via .* dev br-wan' <<<"$state") \
		<(grep -v '^default via .* dev br-wan' "$BATS_TEST_TMPDIR/after")
	[ ! -e "$LAB_DIR/node/run/gluon-wan/redirect.nft" ]
	wan_renew
}

@test "clear twice, and clear of nothing, are fine" {
	state=$(node_state)
	gluon_wan clear
	gluon_wan sync
	gluon_wan clear
	gluon_wan clear
	diff <(node_state) - <<<"$state"
}

# --- nothing half done ------------------------------------------------------

# unchanged STATE: neither the kernel nor the file for fw4.
unchanged() {
	diff <(node_state) - <<<"$1"
	[ ! -e "$LAB_DIR/node/run/gluon-wan/redirect.nft" ]
}

@test "bad configuration changes nothing in the kernel: exit code 2" {
	state=$(node_state)
	config <<<$'config routing\n\toption table 1\n\toption priority 0'
	for command in sync clear print "config --fixed"; do
		# shellcheck disable=SC2086 # words
		run -2 gluon_wan $command
		[[ $output == "gluon-wan: /etc/config/gluon-wan:3: option 'priority', value '0': "*expected* ]]
		unchanged "$state"
	done
	rm "$LAB_DIR/node/etc/config/gluon-wan"
	# The same with everything in place.
	gluon_wan sync
	state=$(node_state)
	config <<<$'config redirect\n\tlist group 0\n\tlist groop 1'
	for command in sync clear; do
		run -2 gluon_wan $command
		diff <(node_state) - <<<"$state"
	done
	[ -s "$LAB_DIR/node/run/gluon-wan/redirect.nft" ]
}

@test "without root: a clear message, exit code 1, nothing half done" {
	# The checkout may be where only root can look.
	install -m 755 "$(gluon_wan_path)" "$LAB_DIR/node/var/tmp/gluon-wan"
	state=$(node_state)
	for command in sync clear "sync --watch" resolver; do
		# shellcheck disable=SC2086 # words
		run -1 on node setpriv --reuid 65534 --regid 65534 --clear-groups -- /var/tmp/gluon-wan $command
		[[ $output == "gluon-wan: "* ]]
		[[ $output == *root* || $output == *CAP_NET_ADMIN* ]]
		unchanged "$state"
	done
	# In place, and still there after an attempt to clear it.
	gluon_wan sync
	state=$(node_state)
	run -1 on node setpriv --reuid 65534 --regid 65534 --clear-groups -- /var/tmp/gluon-wan clear
	diff <(node_state) - <<<"$state"
	[ -s "$LAB_DIR/node/run/gluon-wan/redirect.nft" ]
}

# refused_by_kernel COMMAND...: gluon-wan, run through COMMAND.
refused_by_kernel() {
	local state
	state=$(node_state)
	run -1 on node "$@" "$(gluon_wan_path)" sync
	[[ $output == "gluon-wan: "* ]]
	[[ $output == *CAP_NET_ADMIN* || $output == *root* ]]
	unchanged "$state"
}

@test "where the kernel refuses nf_tables, to root without the capability: the same" {
	refused_by_kernel setpriv --bounding-set=-net_admin --
}

@test "where the kernel refuses nf_tables, to root of another user namespace: the same" {
	# Which does not own the network namespace. None can be made in a chroot.
	on node unshare --user --map-root-user true || skip "no user namespace to be had here"
	refused_by_kernel unshare --user --map-root-user
}

# --- the way to the VPN server ------------------------------------------------

@test "fastd finds its server by name, over IPv4 and over IPv6" {
	node_up_with_wan
	for family in ipv4 ipv6; do
		probe node "leak_$family" out oifname br-client udp dport "$VPN_PORT"
		probe node "tunnel_$family" out oifname br-wan udp dport "$VPN_PORT" meta mark and 1 == 1
		vpn_fastd
		node_fastd $family
		wait_for 30 tunnel_works
		seen_some "tunnel_$family"
		seen_none "leak_$family"
		daemon_stop node fastd
	done
}

@test "the tunnel comes back with the WAN" {
	node_up_with_wan
	probe node leak out oifname br-client meta mark and 1 == 1
	probe node dns_leak out oifname br-client udp dport 53
	vpn_fastd
	node_fastd ipv6
	wait_for 30 tunnel_works
	wan_down
	run -1 tunnel_works
	wan_up
	wait_for 60 tunnel_works
	seen_none leak dns_leak
}

@test "fastd that started before the WAN was there connects once it is" {
	wan_down
	gluon_wan sync
	daemon node resolver "$(gluon_wan_path)" resolver
	probe node dns_leak out oifname br-client udp dport 53
	vpn_fastd
	node_fastd ipv6
	wait_for 15 grep -q 'resolving host' "$LAB_DIR/node/fastd.log"
	wan_up
	wait_for 90 tunnel_works
	seen_none dns_leak
}

@test "routes that netifd left in main are mirrored, and normal traffic keeps to the mesh" {
	netifd_table main
	on node ip -6 route show default | grep 'dev br-wan' >/dev/null
	gluon_wan sync
	run -0 on node ip -6 route show default
	[[ $output != *br-wan* ]]
	[[ $output == *br-client* ]]
	probe node unmarked out oifname br-wan ip6 daddr "$VPN_IP6" meta mark and 1 == 0
	probe node marked out oifname br-wan ip6 daddr "$VPN_IP6" meta mark and 1 == 1
	wait_for 5 on node ping -m 1 -c 1 -W 1 "$VPN_IP6"
	run ! on node ping -c 1 -W 1 "$VPN_IP6"
	seen_none unmarked
	seen_some marked
	gluon_wan clear
	netifd_table 1
}
