# Who may answer, and what is said of late answers: blind forgers, the mesh, ports
# and ids, and ICMP errors, which must not tell the mesh of a look-up. Three
# machines: the node between the WAN, where its servers are, and the mesh, where
# everything else goes.

bats_require_minimum_version 1.5.0
load lab/lab
load resolver/pair

# Behind the WAN's router: only table 1 leads there.
FAR4=198.51.100.53 FAR6=2001:db8:51::53
: "${FORGED:=500000}"

setup_file() {
	lab_require gcc tcpdump
	pair_up
	machine_add mesh
	cable node br-client mesh lan
	on node sh -ec "
		ip addr add 10.8.0.10/24 dev br-client
		ip -6 addr add 2001:db8:8::10/64 dev br-client nodad
		ip route add default via 10.8.0.1
		ip -6 route add default via 2001:db8:8::1
		for family in -4 -6; do
			ip \$family rule add fwmark 1/1 lookup 1 priority 1
			ip \$family rule add fwmark 1/1 unreachable priority 2
		done
		ip route add 10.9.0.0/24 dev br-wan table 1
		ip route add default via $SERVER1 table 1
		ip -6 route add 2001:db8:9::/64 dev br-wan table 1
		ip -6 route add default via $SERVER6 table 1
		sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.br-client.rp_filter=0 net.ipv4.conf.br-wan.rp_filter=0
	"
	on wan sh -ec "
		ip addr add $FAR4/32 dev lo
		ip -6 addr add $FAR6/128 dev lo nodad
	"
	on mesh sh -ec "
		ip addr add 10.8.0.1/24 dev lan
		ip -6 addr add 2001:db8:8::1/64 dev lan nodad
	"
	probe node errors4 out ip protocol icmp icmp type destination-unreachable oifname != lo
	probe node errors6 out icmpv6 type destination-unreachable oifname != lo
	probe mesh heard in iifname lan meta l4proto '{ icmp, ipv6-icmp }' @th,0,8 '{ 1, 3 }'
	mkdir -p "$LAB_DIR/wan/var/lib"
	gcc -O2 -Wall -o "$LAB_DIR/wan/var/lib/forger" "$RESOLVER_TESTS/forger.c"
}

setup() {
	daemons_keep
	probe_reset node
	probe_reset mesh
}

# flooded CLIENTS NAME...: so many clients ask, all the time, while a blind forger
# floods the node; none of them has an answer.
flooded() {
	local codes=
	resolver_on "$SERVER1"
	daemon wan forger /var/lib/forger "$SERVER1" "$NODE4" "$FORGED" "$1"
	while daemon_running wan forger; do
		LAB_TIMEOUT=30 run -0 on node python3 "$RESOLVER_TESTS/burst.py" 150 127.0.0.1#54 "${@:2}"
		jq -e '.codes | keys - ["2"] == []' <<<"$output"
		codes+=" $output"
	done
	echo "# $FORGED forged replies in $(<"$LAB_DIR/wan/forger.log") s:$codes" >&3
	daemon_running node resolver
}

@test "a blind flood against clients that ask the same" { flooded 1 n0.example.org; }
@test "a blind flood against clients that ask different names" { flooded 151; }

@test "ports and ids of 10,000 queries are all over their range" {
	daemon wan scripted "$RESOLVER_TESTS/scripted.py" "$SERVER1"
	resolver_on "$SERVER1"
	daemon wan tcpdump tcpdump -Z root -B 16384 -i lan -n --immediate-mode -l "udp and dst port 53 and dst host $SERVER1"
	wait_for 5 grep -q 'listening on' "$LAB_DIR/wan/tcpdump.log"
	LAB_TIMEOUT=120 on node "$RESOLVER_TESTS/sequence.py" 10000 127.0.0.1#54
	daemon_stop wan tcpdump
	# 11:22:33.4 IP 10.9.0.10.41234 > 10.9.0.1.53: 4711+ A? …
	run -0 awk '/ > / { asked++; split($3, from, "."); port = from[5]; id = $6 + 0
			if (!ports[port]++) { places++; low += port < 32768; high += port > 60999; reserved += port < 1024
				part[int((port - 1024) / 4032)]++ }
			if (!ids[id]++) known++
			idpart[int(id / 4096)]++ }
		END { for (n = 0; n < 16; n++) {
				if (part[n] < least || n == 0) least = part[n]
				if (idpart[n] < fewest || n == 0) fewest = idpart[n] }
			print asked, places, low, high, reserved, least + 0, known, fewest + 0 }' "$LAB_DIR/wan/tcpdump.log"
	echo "# queries, ports, of these below 32768, above 60999, below 1024, in the emptiest 16th; ids, in their emptiest 16th: $output" >&3
	read -r asked places low high reserved least known fewest <<<"$output"
	[ "$asked" -ge 9900 ]
	# Fresh ones as long as there is room, then replaced as others may be closed.
	[ "$places" -ge 380 ]
	[ "$reserved" -eq 0 ]
	[ "$low" -gt $((places * 40 / 100)) ] && [ "$low" -lt $((places * 58 / 100)) ]
	[ "$high" -gt 0 ]
	[ "$least" -gt 0 ]
	# Of 10,000 numbers of 16 bits 9,275 are different, give or take 30.
	[ "$known" -gt 9000 ]
	[ "$fewest" -gt 500 ]
}

# answered_from MACHINE: what a reply that is right in all, but for where it comes
# from, is worth: a client asks, `wan` tells what it heard, and MACHINE answers.
answered_from() {
	daemon wan sniffer "$RESOLVER_TESTS/in-place-of.py" hear "$SERVER1" 53
	resolver_on "$SERVER1"
	daemon node client dig +time=3 +tries=1 -p 54 @127.0.0.1 n0.example.org
	wait_for 5 grep -q . "$LAB_DIR/wan/sniffer.log"
	daemon_stop wan sniffer
	# shellcheck disable=SC2046 # two words
	on "$1" "$RESOLVER_TESTS/in-place-of.py" answer "$SERVER1" "$NODE4" $(<"$LAB_DIR/wan/sniffer.log")
	wait_for 10 daemon_ended node client
	cat "$LAB_DIR/node/client.log"
}

@test "a reply counts when it comes through the WAN, and not through the mesh" {
	on mesh sh -ec "
		ip addr replace $SERVER1/32 dev lo
		ip route replace $NODE4/32 via 10.8.0.10
	"
	probe node came in iifname br-client ip saddr "$SERVER1" udp sport 53
	run -0 answered_from mesh
	[[ $output != *203.0.113.66* ]]
	[ "$(seen node came)" -eq 1 ]
	daemon_stop node resolver
	run -0 answered_from wan
	[[ $output == *203.0.113.66* ]]
}

# Late, twice, after the query is over, under load: not one error leaves, and the
# mesh hears nothing.
says_nothing() {
	daemon wan scripted "$RESOLVER_TESTS/scripted.py" "$1"
	resolver_on "$1"
	local name round
	for name in w10 d150 d150w900 w3000 d5500; do
		daemon node "$name" python3 "$RESOLVER_TESTS/burst.py" 20 127.0.0.1#54 "$name-%.example.org"
	done
	for name in w10 d150 d150w900 w3000; do
		wait_for 20 daemon_ended node "$name"
		jq -e '.codes == { "0": 20 }' "$LAB_DIR/node/$name.log"
	done
	# Answered when nobody waits any more.
	wait_for 20 daemon_ended node d5500
	jq -e '.codes == { "2": 20 }' "$LAB_DIR/node/d5500.log"
	# More than there are sockets, within the time that they stay open.
	for round in {1..6}; do
		run -0 on node python3 "$RESOLVER_TESTS/burst.py" 140 127.0.0.1#54 "w200d20-$round-%.example.org"
		jq -e '.codes == { "0": 140 }' <<<"$output"
	done
	sleep 1
	[ "$(seen node errors4)" -eq 0 ]
	[ "$(seen node errors6)" -eq 0 ]
	[ "$(seen mesh heard)" -eq 0 ]
	only_marked_left
}

@test "late and double answers make no ICMP errors, IPv4" { says_nothing "$FAR4"; }
@test "late and double answers make no ICMP errors, IPv6" { says_nothing "$FAR6"; }
