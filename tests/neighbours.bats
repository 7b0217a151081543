#!/usr/bin/env bats
# The table beside rulesets of others: firewall3's iptables, other redirects of DNS,
# marks that are overwritten, packets that conntrack is not to see, and sockets that
# are bound to a device. Both sides are counted: what must arrive, and what must not.

bats_require_minimum_version 1.5.0
load lab/lab
load lab/redirect

setup() {
	redirect_up
	local device
	for device in br-wan bat0; do
		on node ip link add "$device" type veth peer name "far-$device"
		on node sysctl -qw net.ipv6.conf."$device".accept_dad=0 net.ipv6.conf.far-"$device".disable_ipv6=1
		on node ip link set "$device" up
		on node ip link set "far-$device" up
		# Whoever is asked at the far end takes it and says nothing.
		on node ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev "$device"
		on node ip neigh add fe80::9 lladdr 02:00:00:00:00:09 dev "$device"
	done
	on node ip address add 192.0.2.2/24 dev bat0
	on node ip address add 198.51.100.2/24 dev br-wan
	on node ip address add 2001:db8:111::2/64 dev bat0 nodad
	on node ip address add 2001:db8:77::2/64 dev br-wan nodad
	on node ip route add default via 192.0.2.9 dev bat0
	on node ip -6 route add default via fe80::9 dev bat0
	on node ip -6 route add default via fe80::9 dev br-wan proto static metric 4096
}

# count TITLE MATCH...: counts what leaves, behind all guards; seen TITLE: how many.
count() {
	on node nft "add table inet probe; add chain inet probe $1 { type filter hook postrouting priority 700; }"
	on node nft "add rule inet probe $1 ${*:2} counter"
}
seen() {
	on node nft list chain inet probe "$1" | sed -n 's/.*counter packets \([0-9]*\).*/\1/p'
}

# counted CHAIN: what the counters of a chain of ours have counted.
counted() {
	on node nft list chain inet gluon_wan "$1" |
		sed -n 's/.*counter packets \([0-9]*\).*/\1/p' | awk '{ all += $1 } END { print all }'
}

# sends [OPTION...] ADDRESS PORT: one datagram of root.
sends() {
	on node "$LAB_REPO/tests/helpers/datagram.py" "$@"
}

# Gluon's rule for firewall3, as gluon-mesh-vpn-core has it.
mesh_vpn_dns() {
	on node iptables-legacy -t nat -A OUTPUT -p udp -m owner --gid-owner 800 \
		--dport 53 -j REDIRECT --to-ports 54
}

# What `firewall restart` of firewall3 does to the tables of iptables.
firewall3_restart() {
	local program
	for program in iptables-legacy ip6tables-legacy; do
		on node "$program" -t nat -F
		on node "$program" -t filter -F
		on node "$program" -t filter -A OUTPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
	done
	mesh_vpn_dns
}

all_redirected() {
	local server
	for server in 127.0.0.1 ::1 203.0.113.1 2001:db8::53 2001:db8:9::9; do
		echo "server $server" >&2
		[ "$(asked 800 --server "$server")" = 444 ]
		[ "$(asked 801 --server "$server" --tcp)" = 444 ]
	done
	[ "$(asked 0)" = 333 ]
	[ "$(asked 802 --server ::1 --tcp)" = 333 ]
}

@test "firewall3 before us, after us, restarted, and without us" {
	count mesh oifname bat0 meta l4proto '{ tcp, udp }'
	mesh_vpn_dns
	gluon_wan sync
	all_redirected
	firewall3_restart
	all_redirected
	gluon_wan sync
	all_redirected
	[ "$(seen mesh)" -eq 0 ]
	[ "$(counted dns_redirect)" -gt 0 ]
	# It stands by itself where our daemon does not start, for what it is made for.
	gluon_wan clear
	[ "$(asked 800)" = 444 ]
	[ "$(asked 801)" = 333 ]
	# After us.
	on node iptables-legacy -t nat -F
	gluon_wan sync
	mesh_vpn_dns
	all_redirected
	[ "$(seen mesh)" -eq 0 ]
}

@test "firewall3, another redirect of all DNS: ours comes first" {
	on node iptables-legacy -t nat -A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 1053
	on node ip6tables-legacy -t nat -A OUTPUT -p udp --dport 53 -j REDIRECT --to-ports 1053
	gluon_wan sync
	[ "$(asked 800)" = 444 ]
	[ "$(asked 800 --server ::1)" = 444 ]
	# The proof that it is one.
	[ "$(asked 0 --timeout 0.2)" = --- ]
}

@test "firewall4 and firewall3 restart 10 times under a loop of queries: none gets around" {
	local round
	gluon_wan sync
	count mesh oifname bat0 meta l4proto '{ tcp, udp }'
	loop_start --server 203.0.113.1
	for ((round = 0; round < 10; round++)); do
		firewall3_restart
		on node nft -f "$LAB_REPO/tests/fixtures/fw4-ruleset.nft"
		on node nft -f "$INCLUDE"
		loop_more 20
	done
	loop_end
	[ "$REDIRECTED" -gt 200 ]
	[ "$UNREDIRECTED" -eq 0 ]
	[ "$(seen mesh)" -eq 0 ]
}

@test "nft redirects of all DNS at any priority, before and after us: ours comes first" {
	local priority
	for priority in -198 -150 -105 -100 -1 100; do
		echo "priority $priority" >&2
		gluon_wan sync
		on node nft "table inet proxy { chain c { type nat hook output priority $priority; meta l4proto { tcp, udp } th dport 53 counter redirect to :1053; }; }"
		[ "$(asked 800)" = 444 ]
		[ "$(asked 800 --tcp --server ::1)" = 444 ]
		on node nft delete table inet gluon_wan
		gluon_wan sync
		[ "$(asked 800)" = 444 ]
		[ "$(asked 0 --timeout 0.2)" = --- ]
		on node nft delete table inet proxy
	done
}

@test "notrack, of nft and of iptables: UDP is redirected, TCP is stopped, none goes elsewhere" {
	count mesh oifname bat0 meta l4proto '{ tcp, udp }'
	on node nft 'table inet raw { chain c { type filter hook output priority raw; th dport 53 notrack; }; }'
	gluon_wan sync
	[ "$(asked 800 --server 203.0.113.1)" = 444 ]
	[ "$(asked 800 --server ::1)" = 444 ]
	[ "$(asked 800 --tcp --server 203.0.113.1 --timeout 0.2)" = --- ]
	[ "$(asked 800 --tcp --timeout 0.2)" = --- ]
	[ "$(counted dns_guard)" -ge 6 ]
	on node nft delete table inet raw
	on node iptables-legacy -t raw -A OUTPUT -p udp --dport 53 -j NOTRACK
	[ "$(asked 800 --server 203.0.113.1)" = 444 ]
	[ "$(seen mesh)" -eq 0 ]
	# Earlier than ours, it has no say either.
	on node nft 'table inet raw { chain c { type filter hook output priority -600; th dport 53 notrack; }; }'
	[ "$(asked 800 --server 203.0.113.1)" = 444 ]
	[ "$(asked 0)" = 333 ]
	[ "$(seen mesh)" -eq 0 ]
}

@test "a query that is bound to a device leaves through none, and the program hears of it" {
	local device server
	count out oifname != lo meta l4proto '{ tcp, udp }'
	gluon_wan sync
	for device in bat0 br-wan; do
		for server in 203.0.113.1 2001:db8:9::9 127.0.0.1; do
			echo "$device $server" >&2
			run -1 sends --gid 800 --device "$device" "$server" 53
			[ "$(asked 800 --device "$device" --tcp --server "$server" --timeout 0.2)" = --- ]
		done
	done
	[ "$(seen out)" -eq 0 ]
	[ "$(counted dns_guard)" -ge 10 ]
	# Others do as they like, and so does the group with what is no DNS.
	sends --device bat0 203.0.113.1 53
	sends --gid 800 --device bat0 203.0.113.1 123
	[ "$(seen out)" -eq 2 ]
}

@test "whoever overwrites the mark: what was marked goes into the WAN" {
	local how
	gluon_wan sync
	while read -r how; do
		echo "$how" >&2
		on node nft 'table inet qos { chain c { type route hook output priority mangle; }; }'
		on node nft "add rule inet qos c $how"
		count mesh oifname bat0 ip6 daddr 2001:db8:51::2
		count wan oifname br-wan ip6 daddr 2001:db8:51::2 meta mark and 1 == 1
		count tagged meta priority and ffff:0 == 6757:0
		count tos oifname br-wan meta priority 0:6
		sends --mark 1 2001:db8:51::2 9
		sends --mark 1 --priority 6 2001:db8:51::2 9
		[ "$(seen wan)" -eq 2 ]
		[ "$(seen mesh)" -eq 0 ]
		# What was written into it is out again.
		[ "$(seen tagged)" -eq 0 ]
		[ "$(seen tos)" -eq 1 ]
		# Without it, nothing goes there.
		sends 2001:db8:51::2 9
		[ "$(seen wan)" -eq 2 ]
		[ "$(seen mesh)" -eq 1 ]
		on node nft 'delete table inet qos; delete table inet probe'
	done <<-'EOF2'
		meta mark set 0x10
		meta mark set 0x10 ct mark set meta mark
		meta mark set ct mark
		meta mark set ct mark and 0x3f00
		meta mark set meta mark and 0xfffffffe
		counter
	EOF2
	on node ip6tables-legacy -t mangle -A OUTPUT -j MARK --set-mark 0x20
	count mesh oifname bat0 ip6 daddr 2001:db8:51::2
	count wan oifname br-wan ip6 daddr 2001:db8:51::2
	sends --mark 1 2001:db8:51::2 9
	[ "$(seen wan) $(seen mesh)" = "1 0" ]
	# And with all rules gone, it stays here.
	on node ip -6 rule delete pref 1
	on node ip -6 rule delete pref 2
	run -1 sends --mark 1 2001:db8:51::2 9
	[ "$(seen wan) $(seen mesh)" = "1 0" ]
	[ "$(counted mark_guard)" -eq 1 ]
}

@test "what is not marked uses no router of the WAN, though a rule leads there; answers do" {
	gluon_wan sync
	on node ip -6 route delete default dev bat0
	on node ip -6 rule add pref 10000 from 2001:db8:77::2 lookup 1
	count wan oifname br-wan ip6 daddr 2001:db8:51::2
	run -1 sends --bind 2001:db8:77::2 2001:db8:51::2 9
	[ "$(seen wan)" -eq 0 ]
	[ "$(counted wan_guard)" -eq 1 ]
	# Marked, and to the WAN's own network.
	sends --mark 1 2001:db8:51::2 9
	[ "$(seen wan)" -eq 1 ]
	count link oifname br-wan ip6 daddr 2001:db8:77::9
	on node ip neigh add 2001:db8:77::9 lladdr 02:00:00:00:00:09 dev br-wan
	sends --bind 2001:db8:77::2 2001:db8:77::9 9
	[ "$(seen link)" -eq 1 ]
	# Somebody out there asks: the answer goes back the same way.
	daemon node echo "$LAB_REPO/tests/helpers/datagram.py" --echo 2001:db8:77::2 4242
	wait_for 10 listens 4242
	on node "$LAB_REPO/tests/helpers/datagram.py" --frame far-br-wan \
		"$(on node cat /sys/class/net/br-wan/address)" 2001:db8:51::2 2001:db8:77::2 4242
	wait_for 10 seen_at_least wan 2
	[ "$(counted wan_guard)" -eq 1 ]
}

listens() {
	on node ss -Hlun "sport = :$1" | grep -q .
}
seen_at_least() {
	[ "$(seen "$1")" -ge "$2" ]
}

@test "an answer that comes too late says nothing of itself into the mesh" {
	count mesh oifname bat0 meta l4proto '{ icmp, icmpv6 }' @th,0,16 '{ 0x0303, 0x0104 }'
	gluon_wan sync
	# The sockets are closed by now; the sources are routed through the mesh.
	local mac family
	mac=$(on node cat /sys/class/net/br-wan/address)
	for family in "192.0.2.77 198.51.100.2" "2001:db8:51::2 2001:db8:77::2"; do
		# shellcheck disable=SC2086 # source and destination
		on node "$LAB_REPO/tests/helpers/datagram.py" --frame far-br-wan --source-port 53 "$mac" $family 4444
	done
	wait_for 10 counted_at_least error_guard 2
	[ "$(seen mesh)" -eq 0 ]
	# What is about something else goes on.
	for family in "192.0.2.77 198.51.100.2" "2001:db8:51::2 2001:db8:77::2"; do
		# shellcheck disable=SC2086 # source and destination
		on node "$LAB_REPO/tests/helpers/datagram.py" --frame far-br-wan --source-port 123 "$mac" $family 4444
	done
	wait_for 10 seen_at_least mesh 2
	[ "$(counted error_guard)" -eq 2 ]
}

@test "a connection that is forgotten resets nothing through the mesh; the mesh's own do" {
	# What is sent to the WAN's far side comes back through the WAN; without a mark it
	# is answered through the mesh.
	on node ip route add default via 192.0.2.9 dev br-wan onlink table 1
	count mesh oifname bat0 tcp dport 53 tcp flags rst
	gluon_wan sync
	# IPv4 is not separated here: nothing of ours sends what is marked to the WAN.
	on node ip rule add pref 3 fwmark 1 lookup 1
	local address
	for address in 203.0.113.53 2001:db8:51::53; do
		on node "$LAB_REPO/tests/helpers/forgotten.py" --mark 1 far-br-wan "$address"
	done
	wait_for 10 counted_at_least error_guard 2
	[ "$(seen mesh)" -eq 0 ]
	for address in 203.0.113.53 2001:db8:51::53; do
		on node "$LAB_REPO/tests/helpers/forgotten.py" far-bat0 "$address"
	done
	wait_for 10 seen_at_least mesh 2
	[ "$(counted error_guard)" -eq 2 ]
}

counted_at_least() {
	[ "$(counted "$1")" -ge "$2" ]
}
