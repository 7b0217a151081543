# `sync` and `clear` on rules and routes: not what is listed counts, but where
# packets go.

bats_require_minimum_version 1.5.0
load routing/wan

setup() {
	node_between
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	lab_down
}

# An advertised default route that stays as it is.
wan_default() {
	sh_node "ip addr replace $HOME_NET::2/64 dev br-wan
		ip -6 route replace default via $HOME_LL dev br-wan proto ra metric ${1-1024} expires 1800"
}

# What DHCP leaves behind.
wan_default4() {
	sh_node "ip addr replace 192.168.77.100/24 dev br-wan
		ip route replace default via 192.168.77.1 dev br-wan proto dhcp src 192.168.77.100"
}

# monitored CMD...: what it changed in rules and routes, according to the kernel.
monitored() {
	local log=$LAB_DIR/node/monitor.log status=0
	: >"$log"
	daemon node monitor ip monitor rule route
	wait_for 5 monitor_sees 4001
	"$@" || status=$?
	wait_for 5 monitor_sees 4002
	daemon_stop node monitor
	sh_node 'ip rule del pref 4001; ip rule del pref 4002'
	grep -v -e '^4001:' -e '^4002:' -e '^Terminated' "$log" || [ $? -eq 1 ] || return
	return $status
}

monitor_sees() {
	sh_node "ip rule show pref $1 | grep -q . || ip rule add pref $1 lookup main"
	grep -q "^$1:" "$LAB_DIR/node/monitor.log"
}

@test "marked packets take the WAN, all others the mesh, also when the WAN has the better route" {
	wan_default 1
	plain br-wan
	gluon_wan sync
	right br-wan
	traffic
	none_astray
}

@test "without a WAN, marked packets go nowhere" {
	gluon_wan sync
	nowhere
	# The table's unreachable route is enough for that, and so is the second rule.
	on node ip -6 rule del pref 2
	nowhere
	gluon_wan sync
	on node ip -6 route del unreachable default table 1
	nowhere
	run ! on node ping -m 1 -c 1 -W 1 "$FAR_MARKED"
	wait_for 5 on node ping -c 1 -W 1 "$FAR_PLAIN"
	on node ip link del br-wan
	gluon_wan sync
	nowhere
}

@test "with every rule and route of ours gone, marked packets are stopped, all others go on" {
	wan_default
	gluon_wan sync
	traffic
	sh_node 'ip -6 rule del pref 1; ip -6 rule del pref 2; ip -6 route flush table 1'
	marked bat0
	wait_for 5 stopped_more 50
	run ! on node ping -m 1 -c 1 -W 1 "$FAR_MARKED"
	wait_for 5 arrives mesh plain
	none_astray
	# IPv4 is not separated: it goes where it always went.
	wait_for 5 on node ping -m 1 -c 1 -W 1 "$FAR4_MARKED"
	# What stays on the node is none of the guard's.
	wait_for 5 on node ping -m 1 -c 1 -W 1 "$MESH_NET::2"
	wan_default
	gluon_wan sync
	wait_for 5 arrives home marked
	none_astray
}

@test "a default route in the table through a device that is not listed is named" {
	wan_default
	sh_node "ip -6 route add default via $MESH_LL dev bat0 metric 5 table 1"
	run -0 gluon_wan sync
	[[ $output == *'a default route of table 1 leads through bat0'*'list device'* ]]
	marked bat0
	run ! on node ping -m 1 -c 1 -W 1 "$FAR_MARKED"
	run -1 gluon_wan status --json
	jq -e '.redirect.table.stopped > 0 and ([.problems[] | select(.part == "routing")] | length == 1)' <<<"$output"
}

@test "IPv4 that is separated is guarded as well" {
	ipv4_too
	wan_default
	wan_default4
	gluon_wan sync
	wait_for 5 on node ping -m 1 -c 1 -W 1 "$FAR4_MARKED"
	sh_node 'ip rule del pref 1; ip rule del pref 2; ip route del default dev br-wan table 1'
	marked4 bat0
	run ! on node ping -m 1 -c 1 -W 1 "$FAR4_MARKED"
	stopped_more 0
	wait_for 5 on node ping -c 1 -W 1 "$FAR4_PLAIN"
}

@test "on-link and other routes of the WAN are mirrored, those of the mesh are not" {
	wan_default
	sh_node "ip -6 route add 2001:db8:99::/48 via $HOME_LL dev br-wan
		ip -6 route add 2001:db8:98::/48 via $MESH_LL dev bat0
		ip -6 route add default from $HOME_NET::/64 via $HOME_LL dev br-wan"
	gluon_wan sync
	run -0 on node ip -6 route get 2001:db8:99::1 mark 1
	[[ $output == *" dev br-wan "*" proto 54 "* ]]
	run -0 on node ip -6 route get "$HOME_NET::5" mark 1
	[[ $output == "$HOME_NET::5 "*" dev br-wan "*"table 1 "* && $output != *via* ]]
	run -0 on node ip -6 route get fe80::5 oif br-wan mark 1
	[[ $output == *" dev br-wan "*"table 1 "* ]]
	run -0 on node ip -6 route show table 1
	[[ $output != *2001:db8:98::* && $output != *bat0* ]]
	[[ $output == *"default from $HOME_NET::/64 via $HOME_LL dev br-wan"* ]]
	run -0 on node ip -6 route show default
	[[ $output != *br-wan* ]]
}

@test "the moved route keeps its lifetime, MTU and hop limit; on-link copies need none" {
	sh_node "ip -6 route add default via $HOME_LL dev br-wan proto ra metric 1024 expires 100 hoplimit 63 mtu 1400
		ip addr add $HOME_NET::2/64 dev br-wan noprefixroute
		ip -6 route add $HOME_NET::/64 dev br-wan proto kernel metric 256 expires 100"
	gluon_wan sync
	run -0 on node ip -6 route show table 1
	[[ $output =~ "default via $HOME_LL dev br-wan proto 54 metric 1024 expires "(9[0-9]|100)"sec" ]]
	[[ $output == *"mtu 1400 hoplimit 63"* ]]
	[[ $output == *"$HOME_NET::/64 dev br-wan proto 54 metric 256 pref medium"* ]]
}

@test "sync twice: the second writes nothing" {
	ipv4_too
	wan_default
	wan_default4
	run -0 monitored gluon_wan sync
	[[ $output == *"proto 54"* ]]
	state=$(ours)
	run -0 monitored gluon_wan sync
	[ -z "$output" ]
	diff <(ours) - <<<"$state"
}

@test "what netifd put into the table is left to it, and there again when netifd takes it away" {
	sh_node "ip -6 route add unreachable default metric 65535 table 1 proto static
		ip -6 route add fe80::/64 dev br-wan metric 512 table 1 proto static
		ip -6 route add default via $HOME_LL dev br-wan metric 512 table 1 proto static
		ip -6 rule add pref 1 fwmark 1/1 lookup 1"
	wan_default
	gluon_wan sync
	right br-wan
	run -0 on node ip -6 route show table 1 proto 54
	[ "$output" = "$HOME_NET::/64 dev br-wan metric 256 pref medium" ]
	run -0 on node ip -6 rule show
	[ "$(grep -c 'fwmark 0x1/0x1 lookup 1$' <<<"$output")" -eq 1 ]
	[ "$(grep -c 'fwmark 0x1/0x1 lookup 1 proto 54$' <<<"$output")" -eq 1 ]
	sh_node "ip -6 route flush table 1 proto static; ip -6 rule del pref 1 protocol unspec
		ip -6 route add default via $HOME_LL dev br-wan proto ra metric 1024"
	gluon_wan sync
	right br-wan
	[ "$(on node ip -6 route show table 1 proto 54 | wc -l)" -eq 4 ]
}

@test "IPv4: alone when it is not asked for, separated the same way when it is" {
	wan_default4
	gluon_wan sync
	plain4 br-wan
	[ -z "$(on node ip route show table 1 2>/dev/null)" ]
	ipv4_too
	gluon_wan sync
	marked4 br-wan
	plain4 bat0
	run -0 on node ip route show table 1
	[[ $output == *"default via 192.168.77.1 dev br-wan proto 54 src 192.168.77.100"* ]]
	[[ $output == *"192.168.77.0/24 dev br-wan proto 54 scope link src 192.168.77.100"* ]]
	wait_for 5 on node ping -m 1 -c 1 -W 1 "$FAR4_MARKED"
	# No longer asked for: nothing of it is left.
	rm "$LAB_DIR/node/etc/config/gluon-wan"
	gluon_wan sync
	run -0 ours
	[[ $output != *192.168* && $output != *"0.0.0.0"* ]]
	run ! on node sh -c 'ip -4 rule show | grep "proto 54"'
	plain4 br-wan
}

@test "IPv4: a reverse path filter that drops the answers is named, one that does not is not" {
	ipv4_too
	wan_default4
	run -0 gluon_wan sync
	[ -z "$output" ]
	wait_for 5 on node ping -m 1 -c 1 -W 1 "$FAR4_MARKED"
	filter() { on node sh -c "echo $2 >/proc/sys/net/ipv4/conf/$1/rp_filter"; }
	filter all 1
	run ! on node ping -m 1 -c 1 -W 1 "$FAR4_MARKED"
	run -0 gluon_wan sync
	[[ $output == *"reverse path filter of br-wan is strict (rp_filter=1)"*"net.ipv4.conf.br-wan.rp_filter"* ]]
	# The larger one counts: loose is fine until the mesh goes.
	filter br-wan 2
	wait_for 5 on node ping -m 1 -c 1 -W 1 "$FAR4_MARKED"
	run -0 gluon_wan sync
	[[ $output == *"br-wan is loose (rp_filter=2)"*"while main has no default route"* ]]
	sh_node 'ip route del default dev bat0'
	run ! on node ping -m 1 -c 1 -W 1 "$FAR4_MARKED"
}

@test "other values: mark, mask, table beyond 255, priority" {
	config <<<$'config routing\n\toption mark 0x30/0xf0\n\toption table 4711\n\toption priority 7'
	wan_default
	gluon_wan sync
	goes "$FAR_MARKED" br-wan mark 0x3f
	goes "$FAR_MARKED" bat0 mark 0x1f
	run -0 on node ip -6 rule show
	[[ $output == *"7:"*"fwmark 0x30/0xf0 lookup 4711 proto 54"* ]]
	# Back to the defaults: the old ones are gone.
	rm "$LAB_DIR/node/etc/config/gluon-wan"
	gluon_wan sync
	right br-wan
	run -0 ours
	[[ $output != *4711* && $output != *0x30* ]]
}

@test "two uplinks with the same metric: the first of the list is used, never both" {
	both_uplinks
	plug cell wwan0
	wan_default
	sh_node "ip -6 route append default via $CELL_LL dev wwan0 proto ra metric 1024 expires 1800"
	gluon_wan sync
	right br-wan
	run -0 on node ip -6 route show table 1
	[[ $output != *nexthop* ]]
	on node ip link set br-wan down
	right wwan0
}

@test "clear takes all of ours, duplicates and strays too, and nothing else" {
	ipv4_too
	wan_default
	wan_default4
	sh_node "ip -6 rule add pref 1 fwmark 1/1 lookup 1
		ip -6 rule add pref 9 fwmark 2 lookup 9 protocol 4
		ip -6 route add 2001:db8:9::/64 dev br-wan table 1 proto static
		ip -6 route add unreachable default table 9 proto 56"
	others() {
		on node sh -c 'for f in -4 -6; do ip $f rule; ip $f route show table all; done' |
			grep -v 'proto 54' | sed 's/ expires [0-9]*sec//; s/^\(default .*br-wan proto\) [a-z]* /\1 X /'
	}
	before=$(others)
	gluon_wan sync
	sh_node "ip -6 rule add pref 77 from 2001:db8::/32 iif br-wan lookup 1 protocol 54
		ip -6 rule add not fwmark 1 pref 1 lookup 1 protocol 54
		ip -6 rule add pref 78 unreachable protocol 54
		ip rule add pref 79 dport 53 ipproto udp lookup 5 protocol 54
		ip -6 route append fe80::/64 dev br-wan table 1 proto 54 metric 999
		ip -6 route add 2001:db8:a::/64 dev bat0 table 300 proto 54
		ip -6 route add blackhole 2001:db8:b::/64 proto 54
		ip route add 10.5.0.0/16 proto 54 nexthop via 10.111.0.1 dev bat0 nexthop via 192.168.77.1 dev br-wan
		ip -6 route add 2001:db8:c::/64 proto 54 nexthop via $HOME_LL dev br-wan nexthop via $MESH_LL dev bat0
		ip route append unreachable default metric 9 table 1 proto 54
		ip route append default via 192.168.77.9 dev br-wan table 1 proto 54"
	gluon_wan clear
	[ -z "$(ours)" ]
	diff <(others) - <<<"$before"
	run -0 monitored gluon_wan clear
	[ -z "$output" ]
}

@test "killed at every step, 200 times in all: the next sync leads to the same state" {
	ipv4_too
	wan_default
	wan_default4
	sh_node "for i in 1 2 3 4 5 6 7 8 9; do ip -6 route add 2001:db8:9\$i::/48 via $HOME_LL dev br-wan; done"
	gluon_wan sync
	clean=$(ours)
	cat >"$LAB_DIR/node/crash.sh" <<-'END'
		# crash.sh PROGRAM REQUEST HOME: from a fresh start, a sync that is killed
		# when it sends its netlink request of that number, then one that ends.
		"$1" clear
		ip -6 route replace default via "$3" dev br-wan proto ra metric 1024 expires 1800
		ip route replace default via 192.168.77.1 dev br-wan proto dhcp src 192.168.77.100
		if [ "$2" = count ]; then
			strace -qq -o '|grep -c sendto' -e trace=sendto "$1" sync
			exit
		fi
		strace -qq -o /dev/null -e trace=sendto -e "inject=sendto:signal=KILL:when=$2" "$1" sync
		[ $? -eq 137 ] || echo "not killed"
		"$1" sync || echo failed
		for family in -6 -4; do
			ip $family rule show | grep "proto 54"
			ip $family route show table all proto 54 | sed "s/ expires [0-9]*sec//; s/ pref medium//; s/ *$//"
		done
	END
	local round requests
	crash() { on node sh "$LAB_DIR/node/crash.sh" "$(gluon_wan_path)" "$1" "$HOME_LL" 2>&1; }
	run -0 crash count
	requests=$output
	echo "$requests requests"
	[ "$requests" -ge 30 ]
	for round in $(seq 200); do
		run -0 crash $((round % requests + 1))
		diff <(grep -v '^Killed' <<<"$output") - <<<"$clean"
		run ! wan_default_in_main
	done
}

@test "a gateway of the other family, one that is on no network, a nexthop object, a tunnel's route" {
	ipv4_too
	wan_default
	sh_node "ip addr add 192.168.77.100/24 dev br-wan
		ip route add 10.21.0.0/16 via inet6 $HOME_LL dev br-wan
		ip route add 10.22.0.0/16 via 10.99.0.1 dev br-wan onlink
		ip nexthop add id 7 via 192.168.77.1 dev br-wan
		ip route add 10.23.0.0/16 nhid 7
		ip route add 10.24.0.0/16 encap ip id 1 dst 10.9.0.9 dev br-wan"
	run -0 gluon_wan sync
	run -0 on node ip route show table 1
	[[ $output == *"10.21.0.0/16 via inet6 $HOME_LL dev br-wan proto 54"* ]]
	[[ $output == *"10.22.0.0/16 via 10.99.0.1 dev br-wan proto 54"*onlink* ]]
	[[ $output == *"10.23.0.0/16 via 192.168.77.1 dev br-wan proto 54"* ]]
	[[ $output == *"10.24.0.0/16 "*"encap ip id 1 "*" dst 10.9.0.9 "*" dev br-wan proto 55"* ]]
	run -0 on node ip route show table main dev br-wan
	[[ $output == '192.168.77.0/24 proto kernel scope link src 192.168.77.100'?(' ') ]]
	run -0 monitored gluon_wan sync
	[ -z "$output" ]
	run -0 gluon_wan clear
	[[ $(on node ip route show table all) != *"proto 54"* ]]
}

# both_ways: packets of both kinds in both families, counted on all sides.
both_ways() {
	traffic
	probe home plain4 in iifname lan ip daddr "$FAR4_PLAIN"
	probe mesh marked4 in iifname lan ip daddr "$FAR4_MARKED"
	probe home marked4 in iifname lan ip daddr "$FAR4_MARKED"
	probe mesh plain4 in iifname lan ip daddr "$FAR4_PLAIN"
	daemon node ping-marked4 ping -q -m 1 -i 0.001 "$FAR4_MARKED"
	daemon node ping-plain4 ping -q -i 0.001 "$FAR4_PLAIN"
	wait_for 5 arrives home marked4
}

@test "routes that together are a default route: what has no mark takes none of them" {
	ipv4_too
	wan_default
	wan_default4
	sh_node "ip -6 route add 2000::/3 via $HOME_LL dev br-wan proto static metric 100
		ip -6 route add $FAR_PLAIN/128 via $HOME_LL dev br-wan proto ra metric 100 expires 1000
		ip -6 route add 8000::/1 dev br-wan proto kernel metric 90 expires 1000
		ip route add 0.0.0.0/1 via 192.168.77.1 dev br-wan proto static
		ip route add 128.0.0.0/1 via 192.168.77.1 dev br-wan proto static
		ip route add $FAR4_PLAIN/32 via 192.168.77.1 dev br-wan proto static
		ip route add 203.0.113.0/24 dev br-wan proto static"
	plain br-wan
	plain4 br-wan
	gluon_wan sync
	right br-wan
	both_ways
	wait_for 5 arrives mesh plain4
	none_astray
	[ "$(seen home plain4)" -eq 0 ]
	[ "$(seen mesh marked4)" -eq 0 ]
	run -0 on node ip -6 route show table main dev br-wan
	[[ $output != *via* && $output != *8000::/1* ]]
	run -0 on node ip route show table main dev br-wan
	[[ $output != *via* && $output != *203.0.113* ]]
	run -0 monitored gluon_wan sync
	[ -z "$output" ]
	# They stand where they stood.
	gluon_wan clear
	[ -z "$(ours)" ]
	for route in 2000::/3 "$FAR_PLAIN" 8000::/1 default; do
		on node ip -6 route show "$route" dev br-wan | grep .
	done
	for route in 0.0.0.0/1 128.0.0.0/1 "$FAR4_PLAIN" 203.0.113.0/24 default; do
		on node ip route show "$route" dev br-wan | grep .
	done
}

@test "netifd's rules, and a mesh without a gateway: nothing without a mark begins on the WAN" {
	ipv4_too
	sh_node "ip addr add 192.168.77.100/24 dev br-wan
		ip addr add $HOME_NET::2/64 dev br-wan nodad
		for family in -6 -4; do
			net=$HOME_NET::/64 addr=$HOME_NET::2 router=$HOME_LL
			[ \$family = -6 ] || net=192.168.77.0/24 addr=192.168.77.100 router=192.168.77.1
			ip \$family rule add pref 10000 from \$addr lookup 1
			ip \$family rule add pref 20000 to \$net lookup 1
			ip \$family rule add pref 90005 iif lo lookup 1
			ip \$family rule add pref 40000 lookup 42
			ip \$family route add \$net dev br-wan proto static metric 256 table 1
			ip \$family route add default via \$router dev br-wan proto static metric 512 table 1
		done
		ip -6 route add 2001:db8:42::/48 via $MESH_LL dev bat0 table 42"
	others=$(on node sh -c 'ip -6 rule; ip rule' | grep -v 'proto 54')
	gluon_wan sync
	right br-wan
	both_ways
	wait_for 5 arrives mesh plain4
	# As at each boot.
	sh_node 'ip -6 route del default dev bat0; ip route del default dev bat0'
	wait_for 5 arrives home marked
	wait_for 5 arrives home marked4
	run ! on node ping -c 3 -i 0.1 -W 1 "$FAR_PLAIN"
	run ! on node ping -c 3 -i 0.1 -W 1 "$FAR4_PLAIN"
	none_astray
	[ "$(seen home plain4)" -eq 0 ]
	[ "$(seen mesh marked4)" -eq 0 ]
	# What netifd needs: the WAN's own network, and replies from its address.
	wait_for 5 on node ping -c 1 -W 1 "$HOME_NET::1"
	wait_for 5 on node ping -c 1 -W 1 192.168.77.1
	on home ping -c 1 -W 1 -I "$FAR_PLAIN" "$HOME_NET::2"
	on home ping -c 1 -W 1 -I "$FAR4_PLAIN" 192.168.77.100
	# A table of others keeps its place, before ours.
	goes 2001:db8:42::1 bat0
	[ "$(on node sh -c 'ip -6 rule; ip rule' | grep -v 'proto 54')" = "$others" ]
	# Where nobody leads there, there is nothing to end.
	sh_node 'ip -6 rule del pref 90005; ip rule del pref 90005'
	gluon_wan sync
	[ "$(ours | grep -c 'not from all fwmark')" -eq 0 ]
}

@test "a refused change is named, the others are made, exit code 1" {
	ipv4_too
	wan_default
	wan_default4
	# A route by a router that is on-link for some packets only, which the kernel
	# does not take as enough for another route.
	sh_node 'ip addr add 10.9.0.2/24 dev br-wan
		ip route add 10.10.0.0/16 via 10.9.0.1 dev br-wan
		ip addr del 10.9.0.2/24 dev br-wan
		ip route add 10.9.0.0/24 dev br-wan tos 0x10'
	run -1 gluon_wan sync
	[[ $output == "gluon-wan: routing: cannot move IPv4 route 10.10.0.0/16 via 10.9.0.1 dev br-wan table main to table 1: Network is unreachable"*"invalid gateway"* ]]
	right br-wan
	marked4 br-wan
	plain4 bat0
	# Exactly that one is missing.
	sh_node 'ip route del 10.10.0.0/16'
	run -0 monitored gluon_wan sync
	[ -z "$output" ]
}

@test "a route whose router went with an address leaves main" {
	ipv4_too
	wan_default4
	# What a careless DHCP client leaves behind. It would still take packets into
	# the WAN.
	sh_node 'ip addr add 10.9.0.2/24 dev br-wan
		ip route add 10.10.0.0/16 via 10.9.0.1 dev br-wan
		ip addr del 10.9.0.2/24 dev br-wan'
	goes 10.10.0.1 br-wan
	run -0 gluon_wan sync
	[ -z "$(on node ip route show table all 10.10.0.0/16)" ]
	marked4 br-wan
	plain4 bat0
}

@test "30,000 routes of the WAN: none stays in main, as many as are said are kept, with little memory" {
	wan_default
	flood() {
		on node sh -c "
			for i in \$(seq 30000); do
				printf 'route add 2001:db8:%x:%x::/64 via $HOME_LL dev br-wan\n' \$((4096 + i / 100)) \$((i % 100))
			done | ip -6 -batch -
		"
	}
	none_in_main() {
		[ -z "$(on node ip -6 route show table main dev br-wan via "$HOME_LL")" ]
	}
	flood
	start=${EPOCHREALTIME/./}
	gluon_wan sync
	echo "first: $(((${EPOCHREALTIME/./} - start) / 1000)) ms"
	[ $((${EPOCHREALTIME/./} - start)) -le 20000000 ]
	none_in_main
	[ "$(on node ip -6 route show table 1 via "$HOME_LL" | wc -l)" -eq 4096 ]
	right br-wan
	gluon_wan status >"$BATS_TEST_TMPDIR/status" || :
	grep -F 'more than 4096 IPv6 routes' "$BATS_TEST_TMPDIR/status"
	run -0 monitored gluon_wan sync
	[[ $output != *proto* ]]
	watch_up
	flood
	wait_for 20 none_in_main
	peak=$(on node awk '/^VmHWM:/ { print $2 }' "/proc/$(daemon_pid node watch)/status")
	echo "peak: $peak kB"
	[ "$peak" -le 16384 ]
	daemon_stop node watch
	gluon_wan clear
	[ -z "$(ours)" ]
}
