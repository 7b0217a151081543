# The resolver in a flood of queries, for FLOOD_SECONDS (5): small, and soon there for
# others. It takes all processors, so nothing runs beside it.

bats_require_minimum_version 1.5.0
# bats file_tags=alone
load lab/lab
load resolver/pair
load resolver/hostile

: "${FLOOD_SECONDS:=5}"

@test "a flood while no server answers: small, refuses, and recovers" {
	local start took asked
	resolver_on "$SERVER1" "$SERVER2" "$SERVER6"
	answers
	servers_vanish
	daemon node flood /var/lib/hostile flood 127.0.0.1 54 50000 "$FLOOD_SECONDS"
	# Others are told at once, most of them: the kernel's queue may be full.
	asked=$(on node "$RESOLVER_TESTS/refused.py" 40 127.0.0.1#54)
	echo "# others in the flood: $asked" >&3
	LAB_TIMEOUT=$((FLOOD_SECONDS + 10)) wait_for $((FLOOD_SECONDS + 5)) daemon_ended node flood
	echo "# flood: $(<"$LAB_DIR/node/flood.log")" >&3
	start=$(date +%s%3N)
	servers_return
	# What waits goes first: until then it is still too much.
	wait_for 10 answers
	took=$(($(date +%s%3N) - start))
	echo "# first answer $took ms after the servers' return" >&3
	jq -e '.refused > .sent / 10 and .noerror == 0' "$LAB_DIR/node/flood.log"
	jq -e '.refused >= 20 and .slowest_ms < 500' <<<"$asked"
	[ "$took" -lt 1000 ]
	unharmed
}

@test "a flood while the servers answer: small, and others are served again at once" {
	resolver_on "$SERVER1" "$SERVER6"
	hostile flood ::1 54 50000 "$FLOOD_SECONDS" >&3
	unharmed
}
