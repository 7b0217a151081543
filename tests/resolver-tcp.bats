#!/usr/bin/env bats
# TCP: clients that crowd others out, servers that hang, lie or do not end, and
# nothing of it without the mark.

bats_require_minimum_version 1.5.0
# bats file_tags=quiet
load lab/lab
load resolver/pair

# It takes 0.3 s over UDP and TCP.
LATE=10.9.0.3

setup_file() {
	pair_up
	on wan ip addr add "$LATE/24" dev lan
	echo_up echo "$SERVER2"
	echo_up late --late 0.3 "$LATE"
	probe node tried out oifname br-wan ip daddr "$SERVER1" tcp flags '&' '(syn | ack)' == syn
}

teardown() {
	teardown_tcp
}

# odd ADDR HOW [SECONDS]: see slow-tcp.py.
odd() {
	daemon wan odd "$RESOLVER_TESTS/slow-tcp.py" "$@"
	wait_for 5 serves "$1"
}

# answers: over TCP; sets `took`, in milliseconds.
answers() {
	local start
	start=$(date +%s%3N)
	on node dig +tcp +time=8 +tries=1 -p 54 @127.0.0.1 f0180.echo TXT | grep -q 'status: NOERROR' || return
	took=$(($(date +%s%3N) - start))
}

# ticks: of the clock that the resolver has used, a hundred a second.
ticks() {
	on node awk '{ print $14 + $15 }' "/proc/$(daemon_pid node resolver)/stat"
}

@test "300 connections a second keep nobody's query from its answer" {
	odd "$SERVER1" late 0.3
	resolver_on "$SERVER1"
	daemon node crowd "$RESOLVER_TESTS/crowd.py" 127.0.0.1#54 300
	wait_for 5 grep -q crowding "$LAB_DIR/node/crowd.log"
	for _ in 1 2 3 4 5 6 7 8; do
		answers
		# As soon as somebody else's.
		[ "$took" -lt 4000 ]
	done
	daemon_running node crowd
	only_marked_left
}

@test "a server that answers late is heard" {
	odd "$SERVER1" late 3.5
	resolver_on "$SERVER1"
	answers
	[ "$took" -ge 3500 ]
	only_marked_left
}

@test "a server that hangs on TCP costs one look-up some time, and no other" {
	odd "$SERVER1" silent
	resolver_on "$SERVER1" "$LATE"
	# UDP says that the first one is good, and much better than the other.
	on node dig +time=2 +tries=1 -p 54 @127.0.0.1 f0180.echo TXT
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		answers
		on node dig +time=2 +tries=1 -p 54 @127.0.0.1 f0180.echo TXT >/dev/null
	done
	# Asked the first time, and then only to see whether it still hangs.
	echo "# $(seen node tried) connections to it" >&3
	[ "$(seen node tried)" -ge 1 ]
	[ "$(seen node tried)" -le 3 ]
	only_marked_left
}

@test "a server that sends what is no answer is left at the first message" {
	local before after
	odd "$SERVER1" garbage
	resolver_on "$SERVER1" "$SERVER2"
	answers
	[ "$took" -lt 2000 ]
	before=$(ticks)
	sleep 3
	after=$(ticks)
	echo "# $((after - before)) ticks in 3 s" >&3
	[ $((after - before)) -lt 30 ]
	only_marked_left
}

# nothing_unmarked ADDR HOW SECONDS WAIT: a look-up, and for so long afterwards
# nothing leaves without the mark.
nothing_unmarked() {
	odd "$1" "$2" "$3"
	resolver_on "$1"
	# Of several segments: the kernel answers the first one for the connection that
	# was, and knows nothing of it when the others come.
	on node dig +tcp +time=6 +tries=1 -p 54 @127.0.0.1 s20000.f0180.echo TXT
	sleep "$4"
	only_marked_left
}

@test "an answer that comes too late for anybody gets nothing without the mark" { nothing_unmarked "$SERVER1" late 7 4; }
@test "the same over IPv6" { nothing_unmarked "$SERVER6" late 7 4; }
@test "an answer that comes twice gets nothing without the mark" { nothing_unmarked "$SERVER1" twice 2 4; }
@test "a server that goes on after we have ended gets nothing without the mark" { nothing_unmarked "$SERVER1" stays 2 4; }

@test "connections to servers end, and are bounded" {
	local open
	odd "$SERVER1" stays 60
	resolver_on "$SERVER1"
	for _ in $(seq 40); do answers; done
	open=$(on node sh -c "ls /proc/$(daemon_pid node resolver)/fd | wc -l")
	echo "# $open descriptors" >&3
	[ "$open" -lt 70 ]
	only_marked_left
}
