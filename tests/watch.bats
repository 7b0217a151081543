# `sync --watch` through everything a WAN goes through. Packets with and without
# the mark run all the time and are counted on all sides.

bats_require_minimum_version 1.5.0
load routing/wan

setup() {
	node_between
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	lab_down
}

# running [CMD]: a WAN with a router, the watch (started by CMD), and traffic that
# goes where it must.
running() {
	advertise home
	wait_for 10 wan_default_in_main
	"${1-watch_up}"
	wait_for 5 right br-wan
	traffic
}

# The same with a router that was heard and is silent from now on, so that none of
# its advertisements makes the watch look by chance.
running_quietly() {
	running "$@"
	daemon_kill home radvd KILL
	wait_for 5 daemon_ended home radvd
}

# A watch that a test can stop: nsenter stops with a child that stops, and would
# outlive the lab.
watch_stoppable() {
	daemon node watch sh -c '"$0" sync --watch & echo $! >/run/watch.pid; wait' "$(gluon_wan_path)"
	wait_for 5 test -s "$LAB_DIR/node/run/watch.pid"
	cp "$LAB_DIR/node/run/watch.pid" "$LAB_DIR/node/watch.pid"
	wait_for 5 rule_there
}

# in_order SECONDS DEVICE: soon right for this uplink, traffic arrives, and no
# packet was seen where it must not be.
in_order() {
	wait_for "$1" right "$2"
	local far=home
	[ "$2" = br-wan ] || far=cell
	wait_for 5 arrives $far marked
	arrives mesh plain
	none_astray
}

@test "WAN link down and up" {
	running
	on node ip link set br-wan down
	wait_for 2 nowhere
	plain bat0
	none_astray
	# Until a router is heard, nobody knows whether it is the same network.
	daemon_kill home radvd KILL
	wait_for 5 daemon_ended home radvd
	on node ip link set br-wan up
	wait_for 5 on_table_1 '^fe80::/64 dev br-wan'
	sleep 0.3
	nowhere
	advertise home
	in_order 15 br-wan
}

@test "WAN link down and up faster than the watch can look" {
	running_quietly watch_stoppable
	daemon_kill node watch STOP
	sh_node 'ip link set br-wan down; ip link set br-wan up'
	daemon_kill node watch CONT
	wait_for 5 on_table_1 '^fe80::/64 dev br-wan'
	# Nobody knows whether it is the same network.
	nowhere
	sleep 0.3
	nowhere
	advertise home
	in_order 15 br-wan
}

@test "WAN cable pulled and plugged in" {
	running
	on home ip link set lan down
	sleep 1
	none_astray
	sh_node 'ip link show br-wan | grep -q NO-CARRIER'
	on home sh -ec "ip link set lan up; ip addr replace $HOME_LL/64 dev lan; ip addr replace $HOME_NET::1/64 dev lan"
	in_order 15 br-wan
}

@test "WAN device deleted and made again, with another index" {
	running
	local index
	index=$(on node cat /sys/class/net/br-wan/ifindex)
	on node ip link del br-wan
	wait_for 2 nowhere
	plain bat0
	daemon_stop home radvd
	wan_plug
	advertise home
	in_order 15 br-wan
	[ "$(on node cat /sys/class/net/br-wan/ifindex)" -ne "$index" ]
	run -0 on node ip -6 route show table 1
	[ "$(grep -c '^fe80::/64 dev br-wan' <<<"$output")" -eq 1 ]
}

@test "another device takes the WAN's name" {
	running
	sh_node 'ip link set br-wan down; ip link set br-wan name was-wan; ip link set was-wan up'
	wait_for 2 nowhere
	none_astray
	sh_node 'ip link set was-wan down; ip link set was-wan name br-wan; ip link set br-wan up'
	in_order 15 br-wan
}

@test "router advertisements: each one refreshes the route, which then leaves main again" {
	running
	# As if nothing had been heard for a long time. To the kernel it is the route
	# that it has already, with another lifetime.
	sh_node "ip -6 route append default via $HOME_LL dev br-wan table 1 proto 54 metric 1024 expires 90 || true"
	on_table_1 'expires \(90\|8.\)sec'
	wait_for 15 on_table_1 'expires \(1800\|17..\)sec'
	in_order 2 br-wan
	run -0 on node ip -6 route show default table 1
	[[ $output =~ "via $HOME_LL dev br-wan proto 54 metric 1024 expires 1"[78] ]]
	[ "$(grep -c via <<<"$output")" -eq 1 ]
	# Nothing to tell anybody about.
	[ "$(watch_log | grep -c 'moved IPv6 route default')" -le 1 ]
}

@test "router advertisement with a new prefix" {
	running
	PREFIX=2001:db8:78 advertise home
	wait_for 15 goes 2001:db8:78::5 br-wan mark 1
	run -0 on node ip -6 route get 2001:db8:78::5 mark 1
	[[ $output == *" dev br-wan "*"table 1 "* && $output != *via* ]]
	in_order 2 br-wan
}

@test "another router in place of the first" {
	running
	# It has another address, and the first one says goodbye.
	daemon_stop home radvd
	wait_for 5 nowhere
	on home sh -ec "ip addr add fe80::77:2/64 dev lan; ip addr del $HOME_LL/64 dev lan"
	advertise home
	wait_for 15 router_is fe80::77:2
	in_order 2 br-wan
}

router_is() {
	on node ip -6 route get "$FAR_MARKED" mark 1 2>/dev/null | grep -q "via $1 dev br-wan"
}

@test "lifetime 0: a router that says goodbye is gone at once" {
	running
	daemon_stop home radvd
	wait_for 5 nowhere
	plain bat0
	none_astray
	advertise home
	in_order 15 br-wan
}

@test "a router that falls silent is gone with its lifetime" {
	advertise home
	wait_for 10 wan_default_in_main
	watch_up
	wait_for 5 right br-wan
	daemon_kill home radvd KILL
	# As if the last advertisement had been for three seconds.
	sh_node "ip -6 route replace default via $HOME_LL dev br-wan proto ra metric 1024 expires 3"
	wait_for 2 right br-wan
	wait_for 10 nowhere
	plain bat0
}

# netifds_route [PREFIX]: what netifd puts into main from an advertisement that it
# keeps the lifetime of: an address, its network, and a default route without end.
netifds_route() {
	sh_node "ip addr replace ${1:-$HOME_NET}::2/64 dev br-wan
		ip -6 route replace default ${1:+from $1::/64} via $HOME_LL dev br-wan proto static metric 600"
}

# netifd takes away what it made, and finds nothing in main.
netifd_withdraws() {
	on node ip -6 route del default via "$HOME_LL" dev br-wan proto static metric 600 2>/dev/null
	on node ip addr del "$HOME_NET::2/64" dev br-wan
}

@test "netifd takes its route away together with the address: so does the copy" {
	watch_up
	netifds_route
	wait_for 5 right br-wan
	traffic
	netifd_withdraws || :
	wait_for 2 nowhere
	plain bat0
	none_astray
	netifds_route
	in_order 5 br-wan
}

@test "netifd's route goes with its router: when that says goodbye, and when it falls silent" {
	echo 0 | on node tee /proc/sys/net/ipv6/conf/br-wan/accept_ra
	watch_up
	netifds_route
	wait_for 5 right br-wan
	# Nobody has heard this router yet: whoever made the route knows why.
	traffic
	advertise home 'AdvDefaultLifetime 0;'
	sleep 4
	right br-wan
	advertise home
	daemon node hear sh -c 'rdisc6 -1 -w 10000 br-wan && touch /run/heard'
	wait_for 10 test -e "$LAB_DIR/node/run/heard"
	daemon_stop home radvd
	wait_for 5 nowhere
	plain bat0
	none_astray
	# And again, with a short lifetime that nobody takes back.
	netifds_route
	wait_for 2 right br-wan
	advertise home 'AdvDefaultLifetime 5;'
	sleep 4
	right br-wan
	daemon_kill home radvd KILL
	wait_for 10 nowhere
	plain bat0
}

@test "advertisements with lifetime 0 on other devices do not wake the watch" {
	running_quietly
	daemon_stop node ping-marked
	daemon_stop node ping-plain
	wait_for 5 quiet
	before=$(switches)
	advertise mesh 'AdvDefaultLifetime 0;'
	daemon node hear sh -c 'rdisc6 -1 -w 10000 bat0 && rdisc6 -1 -w 10000 bat0; touch /run/heard'
	wait_for 20 test -e "$LAB_DIR/node/run/heard"
	echo "wake-ups: $before, $(switches)"
	[ "$(switches)" -eq "$before" ]
}

@test "renumbering 30 times leaves nothing behind" {
	on node ip -6 addr flush dev br-wan scope global
	watch_up
	local round last
	for round in $(seq 30); do
		netifds_route "2001:db8:77$round"
		wait_for 2 goes "$FAR_MARKED" br-wan mark 1 from "2001:db8:77$round::2"
		[ -z "$last" ] || on node ip addr del "$last" dev br-wan
		last=2001:db8:77$round::2/64
	done
	only_the_last() {
		[ "$(on node ip -6 route show table 1 default proto 54 | grep -c ' via ')" -eq 1 ] &&
			[ "$(on node ip -6 route show table 1 default proto 55 | grep -c ' via ')" -eq 1 ]
	}
	wait_for 2 only_the_last
	# A socket that is not bound gets an address of the WAN.
	run -0 on node ip -6 route get "$FAR_MARKED" mark 1
	[[ $output == *" dev br-wan "*" src 2001:db8:7730::2 "* ]]
	right br-wan
}

@test "IPv4: DHCP, renumbering, and a lease that ends" {
	ipv4_too
	dhcp_server 192.168.77
	watch_up
	daemon node dhcp busybox udhcpc -f -t 10 -T 1 -A 1 -i br-wan -s "$(dhcp_script)"
	wait_for 10 marked4 br-wan
	wait_for 2 plain4 bat0
	probe mesh marked4 in iifname lan ip daddr "$FAR4_MARKED"
	probe home marked4 in iifname lan ip daddr "$FAR4_MARKED"
	probe home plain4 in iifname lan ip daddr "$FAR4_PLAIN"
	daemon node ping-marked4 ping -q -m 1 -i 0.001 "$FAR4_MARKED"
	daemon node ping-plain4 ping -q -i 0.001 "$FAR4_PLAIN"
	wait_for 5 arrives home marked4
	# Another network: the client finds out when it asks for its address again.
	dhcp_server 192.168.79
	daemon_kill node dhcp USR2
	wait_for 2 nowhere4
	daemon_kill node dhcp USR1
	wait_for 10 router4_is 192.168.79.1
	wait_for 2 plain4 bat0
	wait_for 5 arrives home marked4
	[ "$(seen mesh marked4)" -eq 0 ]
	# The new lease's route is in main until the watch has seen it: 50 ms are the
	# requirement, and a packet leaves each millisecond.
	[ "$(seen home plain4)" -le 50 ]
	run -0 on node ip route show table 1
	[[ $output != *192.168.77* ]]
	# The same network, another router: the client replaces the route.
	sh_node 'ip route replace default via 192.168.79.2 dev br-wan proto dhcp'
	wait_for 2 router4_is 192.168.79.2
	wait_for 2 forgotten4 192.168.79.1
	wait_for 2 plain4 bat0
}

forgotten4() {
	! on node ip route show table 1 | grep -q "via $1 "
}

router4_is() {
	on node ip route get "$FAR4_MARKED" mark 1 2>/dev/null | grep -q "via $1 dev br-wan"
}

# dhcp_server NET: home's addresses and its DHCP server from now on.
dhcp_server() {
	daemon_stop home dhcpd
	on home sh -ec "ip -4 addr flush dev lan; ip addr add $1.1/24 dev lan"
	daemon home dhcpd dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= \
		--log-facility=- --log-dhcp --port=0 --interface=lan --bind-interfaces --no-ping --dhcp-authoritative \
		--dhcp-leasefile=/var/lib/misc/leases --dhcp-range="$1.100,$1.150,2m"
}

# What udhcpc calls: address and default route in main, as without `ip4table`.
dhcp_script() {
	local script=$LAB_DIR/node/dhcp.sh
	cat >"$script" <<-'END'
		#!/bin/sh
		case $1 in
		deconfig) ip -4 addr flush dev "$interface" ;;
		bound | renew)
			ip addr replace "$ip/$mask" dev "$interface"
			ip route replace default via "$router" dev "$interface" proto dhcp src "$ip"
			;;
		esac
	END
	chmod +x "$script"
	echo "$script"
}

@test "deletion of any one of ours" {
	running_quietly
	for what in "rule del pref 1" "rule del pref 2" "route del unreachable default table 1" \
		"route del fe80::/64 dev br-wan table 1" "route del $HOME_NET::/64 dev br-wan table 1" \
		"route del default via $HOME_LL dev br-wan table 1"; do
		state=$(ours)
		# shellcheck disable=SC2086 # words
		on node ip -6 $what
		wait_for 2 same_as "$state"
		in_order 2 br-wan
	done
	on node ip -6 route flush table 1
	wait_for 2 same_as "$state"
	in_order 2 br-wan
}

same_as() {
	[ "$(ours)" = "$1" ]
}

@test "the watch has the capabilities that it needs, and cannot get more" {
	watch_up
	local status
	status=$(on node cat "/proc/$(daemon_pid node watch)/status")
	# CAP_NET_ADMIN and CAP_NET_RAW.
	for set in Eff Prm Bnd; do
		grep -qP "^Cap$set:\t0{12}3000$" <<<"$status"
	done
	grep -qP '^CapInh:\t0+$' <<<"$status"
	grep -qP '^NoNewPrivs:\t1$' <<<"$status"
	run ! grep 'more privileges' <(watch_log)
}

@test "ip -6 rule flush" {
	running_quietly
	state=$(ours)
	on node ip -6 rule flush
	wait_for 2 same_as "$state"
	# It takes the rule for main too, which is nobody's but the operator's.
	on node ip -6 rule add pref 32766 lookup main
	in_order 2 br-wan
}

@test "netifd's restart: foreign rules and unreachable routes deleted, its own made" {
	ipv4_too
	running_quietly
	state=$(ours)
	sh_node '
		for family in -6 -4; do
			ip $family rule show | sed "s/:.*//" | while read -r priority; do
				ip $family rule del pref "$priority"
			done
			ip $family route del unreachable default table 1
			ip $family rule add pref 0 lookup local
			ip $family rule add pref 32766 lookup main
		done
		ip -4 rule add pref 32767 lookup default
		ip -6 rule add pref 1 fwmark 1/1 lookup 1
		ip -6 route add unreachable default metric 65535 table 1 proto static || true
	'
	wait_for 2 same_but_for_netifd "$state"
	in_order 2 br-wan
}

@test "all rules gone for as long as the watch is not scheduled: marked packets are stopped" {
	running_quietly watch_stoppable
	state=$(ours)
	daemon_kill node watch STOP
	sh_node 'ip -6 rule flush; ip -6 rule add pref 32766 lookup main'
	marked bat0
	wait_for 5 stopped_more 0
	none_astray
	daemon_kill node watch CONT
	wait_for 2 same_as "$state"
	in_order 2 br-wan
}

# Whoever was first has the unreachable route of IPv6; one is enough.
same_but_for_netifd() {
	diff <(ours | grep -v '^unreachable default dev lo') <(grep -v '^unreachable default dev lo' <<<"$1") &&
		[ "$(on node ip -6 route show table 1 | grep -c '^unreachable default')" -eq 1 ]
}

@test "the mesh's default route goes, comes and changes its metric" {
	sh_node "echo 0 >/proc/sys/net/ipv6/conf/br-wan/accept_ra
		ip -6 addr add $HOME_NET::2/64 dev br-wan noprefixroute
		ip -6 route add $HOME_NET::/64 dev br-wan table 1 proto static metric 256
		ip -6 route add default via $HOME_LL dev br-wan table 1 proto static metric 512"
	watch_up
	right br-wan
	traffic
	on node ip -6 route del default dev bat0
	run ! plain bat0
	run ! plain br-wan
	wait_for 5 arrives home marked
	none_astray
	on node ip -6 route add default via "$MESH_LL" dev bat0 metric 100
	in_order 2 br-wan
	sh_node "ip -6 route add default via $MESH_LL dev bat0 metric 1000; ip -6 route del default via $MESH_LL dev bat0 metric 100"
	in_order 2 br-wan
}

@test "the kernel puts an advertised route into main first: never for longer than 50 ms" {
	running
	# The mesh's is worse than that, so that one packet shows each millisecond.
	sh_node "ip -6 route add default via $MESH_LL dev bat0 metric 2000; ip -6 route del default via $MESH_LL dev bat0 metric 512"
	wait_for 2 plain bat0
	probe node advertised in iifname br-wan icmpv6 type nd-router-advert
	wait_for 15 advertised 2
	# This time is the requirement, and a packet leaves once a millisecond.
	echo "$(seen node plain_astray) ms on the WAN in $(seen node advertised) advertisements"
	[ "$(seen node plain_astray)" -le $((50 * $(seen node advertised))) ]
	[ "$(seen mesh marked)" -eq 0 ]
	[ "$(seen node marked_astray)" -eq 0 ]
}

# advertised N: so many router advertisements arrived.
advertised() {
	[ "$(seen node advertised)" -ge "$1" ]
}

@test "a second uplink takes over, and hands back" {
	both_uplinks
	plug cell wwan0
	running
	advertise cell
	wait_for 10 on_table_1 "via $CELL_LL dev wwan0"
	in_order 2 br-wan
	on node ip link set br-wan down
	in_order 2 wwan0
	on node ip link set br-wan up
	on home ip -6 addr replace "$HOME_LL/64" dev lan
	in_order 15 br-wan
}

on_table_1() {
	on node ip -6 route show table 1 | grep -q "$1"
}

# --- the watch itself ------------------------------------------------------------

@test "SIGHUP: a changed configuration counts, a bad one does not" {
	running
	config <<<$'config routing\n\toption table 7'
	daemon_kill node watch HUP
	wait_for 2 on_rule 'lookup 7 proto 54'
	in_order 2 br-wan
	[ -z "$(on node ip -6 route show table 1 2>/dev/null)" ]
	state=$(ours)
	config <<<$'config routing\n\toption table 254'
	daemon_kill node watch HUP
	wait_for 2 grep -q "/etc/config/gluon-wan:2: option 'table', value '254'.*old configuration" "$LAB_DIR/node/watch.log"
	same_as "$state"
	in_order 2 br-wan
	on node ip -6 rule del pref 1
	wait_for 2 same_as "$state"
	# IPv6 is no longer looked after: nothing of it is left.
	config <<<$'config routing\n\tlist family ipv4'
	daemon_kill node watch HUP
	wait_for 2 no_ipv6
	[ -z "$(on node ip -6 route show table all proto 54)" ]
}

no_ipv6() {
	! on node ip -6 rule show | grep -q 'proto 54'
}

on_rule() {
	on node ip -6 rule show | grep -q "$1"
}

@test "SIGTERM and SIGINT: it leaves, and leaves everything in place" {
	running
	for signal in TERM INT; do
		state=$(ours)
		daemon_kill node watch $signal
		wait_for 2 daemon_ended node watch
		same_as "$state"
		watch_up
	done
}

@test "what fails is told once, tried again without an event, and told when it is right" {
	ipv4_too
	sh_node 'ip addr add 192.168.77.100/24 dev br-wan
		ip addr add 10.9.0.2/24 dev br-wan
		ip route add 10.10.0.0/16 via 10.9.0.1 dev br-wan
		ip addr del 10.9.0.2/24 dev br-wan
		ip route add 10.9.0.0/24 dev br-wan tos 0x10
		ip rule add pref 5 lookup 55'
	watch_up
	for i in 1 2 3; do
		on node ip -6 rule del pref 1
		wait_for 2 rule_there
	done
	wait_for 2 grep -q 'cannot move IPv4 route 10.10.0.0/16 via 10.9.0.1' "$LAB_DIR/node/watch.log"
	# Now the kernel would take it; a route in this table is no event for us.
	on node ip route add 10.9.0.0/24 dev br-wan table 55
	wait_for 15 grep -q 'routing: in place again' "$LAB_DIR/node/watch.log"
	goes 10.10.0.1 br-wan mark 1
	[ "$(watch_log | grep -c 'cannot move IPv4 route 10.10.0.0/16 via 10.9.0.1')" -eq 1 ]
	# And then it sleeps again.
	wait_for 5 quiet
}

@test "events that were lost: it looks at everything again" {
	running_quietly watch_stoppable
	daemon_kill node watch STOP
	for i in $(seq 4000); do
		printf 'route add 2001:db8:b:%x::/64 via %s dev bat0\n' "$i" "$MESH_LL"
	done >"$LAB_DIR/node/many"
	on node ip -6 -batch "$LAB_DIR/node/many"
	sed 's/ add / del /' "$LAB_DIR/node/many" | on node ip -6 -batch -
	on node ip -6 rule del pref 1
	# The kernel threw events away: drops are the last but one column.
	run -0 on node awk '$9 > 0' /proc/net/netlink
	[ -n "$output" ]
	nowhere
	daemon_kill node watch CONT
	in_order 5 br-wan
}

# How often the watch went to sleep so far.
switches() {
	on node awk '/^voluntary_ctxt_switches/ { print $2 }' "/proc/$(daemon_pid node watch)/status"
}

@test "idle: not one wake-up, whatever the mesh does" {
	watch_up
	wait_for 5 quiet
	before=$(switches)
	for i in $(seq 50); do
		echo "route add 2001:db8:a:$i::/64 via $MESH_LL dev bat0"
		echo "route del 2001:db8:a:$i::/64 via $MESH_LL dev bat0"
	done | on node ip -6 -batch -
	sleep 3
	# It has to see what an event is about, and no more.
	after_mesh=$(switches)
	sleep 3
	[ "$(switches)" -eq "$after_mesh" ]
	echo "$((after_mesh - before)) wake-ups in 100 changes of the mesh's routes"
	[ "$after_mesh" -le $((before + 100)) ]
}

quiet() {
	local before
	before=$(switches)
	sleep 0.5
	[ "$(switches)" -eq "$before" ]
}

@test "a storm of 5,000 changes a second for 10 s: followed at the end, memory bounded" {
	running
	storm=$LAB_DIR/node/storm
	for i in $(seq 500); do
		printf 'route add 2001:db8:b:%x::/64 via %s dev br-wan\n' "$i" "$HOME_LL"
	done >"$storm.add"
	sed 's/ add / del /' "$storm.add" >"$storm.del"
	# 50 rounds of 1000 changes, one every 200 ms.
	on node bash -c '
		for round in {1..50}; do
			next=$((${EPOCHREALTIME/./} + 200000))
			ip -6 -batch '"$storm"'.add && ip -6 -batch '"$storm"'.del
			left=$((next - ${EPOCHREALTIME/./}))
			[ $left -le 0 ] || sleep "0.$(printf %06d $left)"
		done
		ip -6 -batch '"$storm"'.add
	'
	wait_for 2 storm_followed
	in_order 2 br-wan
	peak=$(on node awk '/^VmHWM:/ { print $2 }' "/proc/$(daemon_pid node watch)/status")
	echo "peak: $peak kB"
	[ "$peak" -le 16384 ]
	# It may have been hard to follow; that is not worth a line for each.
	[ "$(watch_log | wc -l)" -le 60 ]
	wait_for 5 quiet
}

storm_followed() {
	[ "$(on node ip -6 route show table 1 | grep -c '^2001:db8:b:')" -eq 500 ]
}

# --- which devices the WAN has ------------------------------------------------

# named TEXT: what netifd is said to have named, put in place as the update script does.
named() {
	local file=$LAB_DIR/node/var/gluon/wan-dnsmasq/devices
	mkdir -p "${file%/*}"
	printf '%b' "$1" >"$file.new"
	chmod "${MODE-644}" "$file.new"
	mv "$file.new" "$file"
}

# ways_out DEVICE...: the guard lets marked packets out through these and no others.
ways_out() {
	local now
	now=$(on node nft list chain inet gluon_wan wan_guard | grep ' goto ')
	now=$(grep -o '"[^" ]*"' <<<"$now" | grep -v '"lo"' | tr -d '"' | sort | xargs)
	[ "$now" = "$(printf '%s\n' "$@" | sort | xargs)" ]
}

@test "the WAN's devices: the file is followed, and what comes, goes and is renamed" {
	running
	ways_out br-wan
	plug cell wwan0
	named 'br-wan\nwwan0\n'
	wait_for 5 ways_out br-wan wwan0
	# A bad line costs itself, and is said once.
	named '# of netifd\nwwan0\nbr wan\n'
	wait_for 5 ways_out wwan0
	[ "$(grep -c "devices:3: 'br wan' is no name of a device" "$LAB_DIR/node/watch.log")" -eq 1 ]
	# An alternative name that is there later, a device that is renamed, one made anew.
	named 'uplink\n'
	wait_for 5 ways_out uplink
	on node ip link property add dev br-wan altname uplink
	wait_for 5 ways_out br-wan
	wait_for 10 right br-wan
	sh_node 'ip link set br-wan down; ip link set br-wan name wan7; ip link set wan7 up'
	wait_for 5 ways_out wan7
	on node ip link del wwan0
	sh_node 'ip link set wan7 down; ip link property del dev wan7 altname uplink; ip link set wan7 name br-wan; ip link set br-wan up'
	wait_for 5 ways_out uplink
	# Without the file, or with one that is not root's alone, as before.
	MODE=666 named 'wwan0\n'
	wait_for 5 ways_out br-wan
	named 'wwan0\n'
	wait_for 5 ways_out wwan0
	rm "$LAB_DIR/node/var/gluon/wan-dnsmasq/devices"
	wait_for 5 ways_out br-wan
	wait_for 15 right br-wan
	none_astray
}

@test "a modem that only netifd's routes show" {
	running
	plug cell wwan0
	sh_node "ip -6 route add default via $CELL_LL dev wwan0 proto static metric 512 table 1"
	wait_for 5 ways_out br-wan wwan0
	sh_node "ip -6 route del default via $CELL_LL dev wwan0 proto static metric 512 table 1"
	wait_for 5 ways_out br-wan
}

@test "devices that are configured count alone" {
	named 'wwan0\n'
	config <<<$'config routing\n\tlist device br-wan'
	running
	ways_out br-wan
	named 'wwan1\n'
	config <<<''
	daemon_kill node watch HUP
	wait_for 5 ways_out wwan1
}
