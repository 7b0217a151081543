# Servers that take their time, lose what they get, or were away: every answer
# reaches its client as soon as it comes, and few packets are sent for it. With
# dnsmasq beside it, asked the same in the same run.

bats_require_minimum_version 1.5.0
# bats file_tags=quiet
load lab/lab
load resolver/pair

ASK=$RESOLVER_TESTS/ask.py
# Of dnsmasq, as Gluon runs it, but for the mark.
PEER=5400

setup_file() {
	lab_require dnsmasq
	pair_up
	daemon wan scripted "$RESOLVER_TESTS/scripted.py" "$SERVER1" "$SERVER2" "$SERVER6"
	daemon node peer dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= "--port=$PEER" \
		--listen-address=127.0.0.1 --bind-interfaces --no-hosts --cache-size=0 --no-resolv "--server=$SERVER1"
	# So that its packets are not taken for the resolver's, which is not root's.
	on node nft -f - <<-END
		table inet lab_peer {
			chain out { type filter hook output priority 0; meta skuid 0 udp dport 53 meta mark set 2; }
		}
	END
	wait_for 5 on node dig +short +time=1 +tries=1 -p "$PEER" @127.0.0.1 ready.example.org
}

# ask NAME [OPTION...]: look-ups one after the other, as JSON in $result. Where it has a
# %, each is of another name: a late answer is one to whoever asks the same again.
ask() {
	LAB_TIMEOUT=60 run -0 on node "$ASK" "${@:2}" "$1.example.org"
	result=$output
}

# sends NAME: how many queries for it have reached the server.
sends() {
	grep -cE "^$1[0-9]* " "$LAB_DIR/wan/scripted.log"
}

# within LEAST MOST: no look-up failed, and the times are between these (ms).
within() {
	jq -e --argjson least "$1" --argjson most "$2" \
		'.errors == 0 and .lost == 0 and .median_ms >= $least and .slowest_ms <= $most' <<<"$result"
}

# The server and a generous part of a second for a busy machine.
is_as_slow_as_its_server() {
	local ms=$1 own
	resolver_on "$SERVER1"
	ask "d${ms}-ours%" --count 3
	own=$result
	echo "# $ms ms away: $(jq -c '[.median_ms, .slowest_ms]' <<<"$own"), $(sends "d${ms}-ours") packets" >&3
	within "$ms" $((ms + 400))
	# At the first look-up it is not known how slow it is.
	[ "$(sends "d${ms}-ours")" -le 6 ]
	ask "d${ms}-peer%" --count 3 --port "$PEER"
	echo "# dnsmasq: $(jq -c '[.median_ms, .slowest_ms]' <<<"$result"), $(sends "d${ms}-peer") packets" >&3
	within "$ms" $((ms + 400))
	jq -e --argjson peer "$(jq .median_ms <<<"$result")" '.median_ms < $peer + 100' <<<"$own"
}

@test "a server 200 ms away" { is_as_slow_as_its_server 200; }
@test "a server 600 ms away" { is_as_slow_as_its_server 600; }
@test "a server 900 ms away" { is_as_slow_as_its_server 900; }
@test "a server 2,000 ms away" { is_as_slow_as_its_server 2000; }

@test "a server that is far away once it was near" {
	resolver_on "$SERVER1"
	ask d5-near --count 20
	ask d1500-far% --count 2
	within 1500 1900
	[ "$(sends d1500-far)" -le 6 ]
}

@test "transmissions that are lost cost a time-out each" {
	resolver_on "$SERVER1"
	ask d20-warm --count 10
	ask l1d20-one --count 1
	within 20 400
	ask l2d20-two --count 1
	within 20 1400
}

# The server is away for one look-up, and nothing else tells that it returns.
comes_back() {
	local before=$1 after=$2
	resolver_on "$SERVER1"
	[ -z "$before" ] || ask "d${before}-before" --count 5
	on wan nft -f - <<-END
		table inet lab_outage {
			chain in { type filter hook input priority 0; udp dport 53 drop; }
		}
	END
	ask "d${after}-lost" --count 1
	jq -e '.errors == 1' <<<"$result"
	on wan nft delete table inet lab_outage
	ask "d${after}-after$before" --count 3
	echo "# $result, $(sends "d${after}-after$before") packets" >&3
	within "$after" $((after + 400))
	[ "$(sends "d${after}-after$before")" -le 8 ]
}

@test "after an outage, a server 150 ms away that was never heard" { comes_back '' 150; }
@test "after an outage, a server 300 ms away that was never heard" { comes_back '' 300; }
@test "after an outage, a server 150 ms away that was near" { comes_back 10 150; }
@test "after an outage, a server 900 ms away" { comes_back 900 900; }

@test "servers that are silent get twelve packets at most for one look-up" {
	resolver_on "$SERVER1" "$SERVER2" "$SERVER6"
	local name
	for name in l99-one l99-two; do
		ask "$name" --count 1
		jq -e '.errors == 1' <<<"$result"
		echo "# $(sends "$name") packets" >&3
		[ "$(sends "$name")" -ge 6 ]
		[ "$(sends "$name")" -le 12 ]
	done
}

@test "a network that changes all the time is worth one packet" {
	resolver_on "$SERVER1"
	daemon node changes sh -c 'while :; do
		ip route add 198.18.0.0/24 dev br-wan table 1; sleep 0.03; ip route del 198.18.0.0/24 dev br-wan table 1; sleep 0.03
	done'
	ask l99-change --count 1
	daemon_stop node changes
	echo "# $(sends l99-change) packets" >&3
	[ "$(sends l99-change)" -le 5 ]
}

@test "clients that ask the same wait for one query, each with an id of its own" {
	resolver_on "$SERVER1"
	ask d300-warm --count 3
	LAB_TIMEOUT=30 run -0 on node python3 "$RESOLVER_TESTS/burst.py" 100 127.0.0.1#54 d300-same.example.org
	jq -e '.codes == { "0": 100 } and .lost == 0' <<<"$output"
	[ "$(sends d300-same)" -eq 1 ]
	# Nobody waits for it any more.
	ask d300-same --count 1
	[ "$(sends d300-same)" -eq 2 ]
}

@test "a server that has nothing to say, and another one" {
	resolver_on "$SERVER1"
	local name rcode
	for name in n1-lame r1-formerr r4-notimp; do
		# Alone, it is heard at once.
		ask "$name" --count 3
		jq -e '.errors == 3 and .slowest_ms < 1000' <<<"$result"
	done
	daemon_stop node resolver
	on wan ip addr replace 10.9.0.4/24 dev lan
	daemon wan good "$RESOLVER_TESTS/echo.py" 10.9.0.4
	resolver_on "$SERVER1" 10.9.0.4
	for name in n1f0180 r1f0180 r4f0180 r2f0180 r5f0180; do
		rcode=$(on node dig +time=4 +tries=1 -p 54 @127.0.0.1 "$name.echo" TXT | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')
		[ "$rcode" = NOERROR ]
	done
	daemon_stop wan good
}
