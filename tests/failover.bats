#!/usr/bin/env bats
# The resolver on servers that die, refuse, vanish and return: no query is lost, and
# none waits for long.

bats_require_minimum_version 1.5.0
# bats file_tags=quiet
load lab/lab
load resolver/pair
load resolver/servers

first_is_bad() {
	server one "${SERVERS[0]}" "$1"
	server two "${SERVERS[1]}" good
	server three "${SERVERS[2]}" good
	resolver_starts
	expect_no_loss "$(ask)"
	[ "$(seen node marked)" -gt 200 ]
}

@test "first server is blackholed" { first_is_bad blackhole; }
@test "first server is refused by ICMP" { first_is_bad icmp; }
@test "first server answers SERVFAIL" { first_is_bad servfail; }
@test "first server answers REFUSED" { first_is_bad refused; }

two_are_bad() {
	server one "${SERVERS[0]}" "$1"
	server two "${SERVERS[1]}" "$2"
	server three "${SERVERS[2]}" good
	resolver_starts
	expect_no_loss "$(ask)"
}

@test "first two servers are blackholed" { two_are_bad blackhole blackhole; }
@test "one server is blackholed, one refused by ICMP" { two_are_bad blackhole icmp; }

# dies_in_mid_run COMMAND...: what happens to the preferred server.
dies_in_mid_run() {
	server one "${SERVERS[0]}" good
	server two "${SERVERS[1]}" good
	server three "${SERVERS[2]}" good
	resolver_starts
	rm -f "$LAB_DIR/node/var/half"
	daemon node ask "$ASK" --pause /var/half "$VPN_NAME"
	wait_for 20 test -e "$LAB_DIR/node/var/half"
	"$@"
	rm "$LAB_DIR/node/var/half"
	wait_for 30 daemon_ended node ask
	local result
	result=$(cat "$LAB_DIR/node/ask.log")
	rm "$LAB_DIR/node/ask.log"
	expect_no_loss "$result"
	jq -e '.over_150_ms <= 1' <<<"$result"
}

@test "the preferred server vanishes in mid-run" { dies_in_mid_run blackhole "${SERVERS[0]}"; }
@test "the preferred server ends in mid-run" { dies_in_mid_run daemon_stop wan one; }

# first_answer_after COMMAND...: milliseconds from the command to an answer, for
# a client that asks all the time.
first_answer_after() {
	local start
	daemon node ask "$ASK" --until-answer "$VPN_NAME"
	# Longer than a query lives, so that all that wait have seen no server.
	wait_for 5 test -e "$LAB_DIR/node/ask.pid"
	on node timeout 10 tail --pid="$(daemon_pid node ask)" -f /dev/null || true
	daemon_running node ask
	start=$(date +%s.%N)
	"$@"
	wait_for 10 daemon_ended node ask
	jq -r --argjson start "$start" '((.answered_at - $start) * 1000) | floor' "$LAB_DIR/node/ask.log"
	rm "$LAB_DIR/node/ask.log"
}

@test "all servers are dead for 10 s, then they return" {
	local took
	server one "${SERVERS[0]}" good
	server two "${SERVERS[1]}" good
	blackhole "{ ${SERVERS[0]}, ${SERVERS[1]} }"
	servers "${SERVERS[0]}" "${SERVERS[1]}"
	resolver_starts
	took=$(first_answer_after on wan nft flush ruleset)
	echo "# first answer after $took ms" >&3
	[ "$took" -lt 1000 ]
}

@test "the link is down for 10 s, then up" {
	local took
	server one "${SERVERS[0]}" good
	resolver_starts
	on node ip link set br-wan down
	took=$(first_answer_after on node ip link set br-wan up)
	echo "# first answer after $took ms" >&3
	[ "$took" -lt 1000 ]
	on node ip -6 addr replace 2001:db8:9::10/64 dev br-wan
}

@test "a server list that changes under load loses no query" {
	server one "${SERVERS[0]}" good
	server two "${SERVERS[1]}" good
	resolver_starts
	daemon node ask "$ASK" --count 2000 "$VPN_NAME"
	local i
	for i in $(seq 25); do
		servers "${SERVERS[0]}"
		servers "${SERVERS[1]}" "${SERVERS[0]}"
		servers 10.9.0.99 "${SERVERS[1]}"
		daemon_running node ask || break
		sleep 0.02
	done
	[ "$i" -gt 3 ]
	wait_for 30 daemon_ended node ask
	expect_no_loss "$(cat "$LAB_DIR/node/ask.log")"
	rm "$LAB_DIR/node/ask.log"
}

@test "idle, it does not wake up" {
	server one "${SERVERS[0]}" good
	resolver_starts
	local pid before after open
	pid=$(daemon_pid node resolver)
	descriptors() { on node sh -c "ls /proc/$pid/fd | wc -l"; }
	open=$(descriptors)
	ask --count 20
	# Its sockets wait for late replies for a while, and are closed without
	# another query; then nothing is due any more.
	[ "$(descriptors)" -gt "$open" ]
	are_closed() { [ "$(descriptors)" -le "$open" ]; }
	LAB_TIMEOUT=20 wait_for 15 are_closed
	before=$(on node grep ctxt /proc/"$pid"/status)
	sleep 5
	after=$(on node grep ctxt /proc/"$pid"/status)
	[ "$before" = "$after" ]
}
