#!/usr/bin/env bats
# The resolver and the network around it: announced servers that are the node
# itself, and what happens on the mesh, which is none of its business. Three
# machines: node, and wan and mesh at its two devices.

bats_require_minimum_version 1.5.0
load lab/lab
load resolver/pair

MESH4=10.8.0.10 MESH6=2001:db8:8::10
# A server that takes as long as it is told to.
SLOW=10.9.0.4

setup_file() {
	pair_up
	machine_add mesh
	cable node br-client mesh lan
	on node sh -ec "
		ip addr add $MESH4/24 dev br-client
		ip addr add $MESH6/64 dev br-client
	"
	on wan ip addr add "$SLOW/24" dev lan
	echo_up echo "$SERVER1" "$SERVER2" "$SERVER6"
	# The primary resolver has port 53 of all addresses of the node.
	daemon node primary dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= \
		--no-resolv --no-hosts --txt-record=f0180.echo,primary
	wait_for 5 on node dig +time=1 +tries=1 "@127.0.0.53" f0180.echo TXT
	probe node itself out oifname lo meta mark and 1 == 1 th dport 53
}

teardown() {
	pair_rest
	on node ip addr del "$SERVER2/32" dev br-client 2>/dev/null || true
	[ "$(seen node unmarked)" -eq 0 ]
}

# asks ADDR...: these servers, and no others, are in the list.
asks() {
	local listed
	listed=$(on node dig +short +time=1 +tries=1 -p 54 @127.0.0.1 servers.bind CH TXT | grep -o '[^"]*#53' | sed 's/#53//')
	[ "$listed" = "$(printf '%s\n' "$@")" ]
}

answer() {
	on node dig +short +time=5 +tries=1 -p 54 "$@" @127.0.0.1 f0180.echo TXT
}

@test "announced servers that are the node itself, or nobody's, are left out, and that is said once" {
	local addr link
	link=$(on node ip -6 -br addr show dev br-wan scope link | grep -o 'fe80::[^/]*')
	local own=(127.0.0.1 127.0.0.53 ::1 ::ffff:127.0.0.1 "$NODE4" "$NODE6" "$MESH4" "$MESH6" "::ffff:$MESH4" "$link%br-wan")
	resolver_on "${own[@]}" 0.0.0.0 :: ::ffff:0.0.0.0 224.0.0.1 255.255.255.255 10.9.0.255 ff02::1 "$SERVER1"
	asks "$SERVER1"
	answer
	answer +tcp
	[ "$(seen node itself)" -eq 0 ]
	for addr in 127.0.0.1 127.0.0.53 ::1 "$NODE4" "$NODE6" "$MESH4" "$MESH6" "$link%br-wan"; do
		[ "$(grep -c "the server $addr is this node itself: left out" "$LAB_DIR/node/resolver.log")" -eq 1 ]
	done
	[ "$(grep -c "the server 10.9.0.255 is a broadcast address: left out" "$LAB_DIR/node/resolver.log")" -eq 1 ]
	[ "$(grep -c 'expected a unicast address' "$LAB_DIR/node/resolver.log")" -ge 5 ]
}

@test "a server is left out while its address is the node's, and only then" {
	resolver_on "$SERVER1" "$SERVER2"
	asks "$SERVER1" "$SERVER2"
	on node ip addr add "$SERVER2/32" dev br-client
	wait_for 5 asks "$SERVER1"
	on node ip addr del "$SERVER2/32" dev br-client
	wait_for 5 asks "$SERVER1" "$SERVER2"
	# As anycast addresses are routed to the node.
	on node ip route add local "$SERVER2/32" dev lo
	wait_for 5 asks "$SERVER1"
	on node ip route del local "$SERVER2/32" dev lo table local
	wait_for 5 asks "$SERVER1" "$SERVER2"
}

@test "a configured server may be the node itself, though not the resolver" {
	printf "config 'static'\n\tlist server '127.0.0.53'\n\tlist server '127.0.0.1#54'\n" \
		>"$LAB_DIR/node/etc/config/gluon-wan-dnsmasq"
	resolver_on
	asks 127.0.0.53
	[ "$(answer)" = '"primary"' ]
}

fails() {
	[[ $(on node dig +time=8 +tries=1 -p 54 @127.0.0.1 f0180.echo TXT) = *'status: SERVFAIL'* ]]
}

# ask NAME COUNT: look-ups one after the other, all of them answered.
ask() {
	LAB_TIMEOUT=30 run -0 on node "$RESOLVER_TESTS/ask.py" --count "$2" "$1.example.org"
	jq -e '.errors == 0 and .lost == 0' <<<"$output"
}

@test "a storm on the mesh is no change of the network" {
	daemon wan slow "$RESOLVER_TESTS/scripted.py" "$SLOW"
	resolver_on "$SLOW"
	# From now on it is known how slow it is, and nothing is sent twice.
	ask d800-before 6
	daemon mesh router "$RESOLVER_TESTS/advertise.py" lan 1200 100
	# Devices and routes of the mesh come and go as well.
	on node sh -ec 'for i in 1 2 3 4 5 6 7 8 9 10; do
		ip link add mesh$i type bridge; ip link set mesh$i up; ip addr add 10.8.$i.1/24 dev mesh$i
		ip route add 10.8.1$i.0/24 dev mesh$i; sleep 0.3; ip link del mesh$i; done' &
	ask d800-meanwhile 5
	daemon_running mesh router
	wait $!
	# It was one: each prefix has made an address.
	wait_for 5 eval '[ "$(on node ip -6 addr show dev br-client | grep -c fdca:ffee)" -ge 4 ]'
	[ "$(grep -c '^d800-meanwhile' "$LAB_DIR/wan/slow.log")" -eq 5 ]
	# And without a query, nothing at all.
	probe_reset node
	sleep 1
	daemon_running mesh router
	[ "$(seen node marked)" -eq 0 ]
}

@test "a change of the WAN is one" {
	resolver_on "$SERVER1"
	answer
	on node ip route add unreachable "$SERVER1/32"
	answer || true
	on node ip route del unreachable "$SERVER1/32"
	wait_for 5 answer
	on node ip link set br-wan down
	fails
	on node ip link set br-wan up
	on node ip -6 addr replace "$NODE6/64" dev br-wan
	wait_for 5 answer
}
