# shellcheck shell=bash
# Helpers of redirect.bats and fw4.bats: one network namespace with a primary
# resolver on port 53, a WAN resolver on port 54, and nothing else. Sourced by
# bats; everything runs inside of the namespace with `inside`.
#
# The two resolvers answer every query with their port as the last byte of the
# address, so that query-loop.py logs '3' for the primary and '4' for the WAN's.

ROOT=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
GLUON_WAN=${GLUON_WAN:-$ROOT/target/debug/gluon-wan}
# Every wait ends after this many tenths of a second.
PATIENCE=100

# Runs a command inside of the namespace.
inside() {
	ip netns exec "$NETNS" "$@"
}

# gluon-wan inside of the namespace with the test's configuration.
gluon_wan() {
	inside "$GLUON_WAN" -c "$CONFIG" "$@"
}

# Makes the namespace and the resolvers; call it in setup.
namespace_up() {
	NETNS="gwredir-$$-$BATS_TEST_NUMBER"
	CONFIG="$BATS_TEST_TMPDIR/config"
	INCLUDE="$BATS_TEST_TMPDIR/run/redirect.nft"
	PIDS=()
	mkdir "$CONFIG"
	configure 54 800 801
	ip netns add "$NETNS"
	inside ip link set lo up
	inside ip address add 198.51.100.1/32 dev lo
	inside ip address add 2001:db8::53/128 dev lo nodad
	resolver 53
	resolver 54
}

# Ends what namespace_up and the test started, whatever happened; call it in
# teardown.
namespace_down() {
	[ "${#PIDS[@]}" -eq 0 ] || kill "${PIDS[@]}" 2>/dev/null || true
	wait
	ip netns delete "$NETNS"
}

# configure PORT GROUP...: writes the configuration.
configure() {
	{
		printf "config redirect\n\toption include '%s'\n" "$INCLUDE"
		printf "\tlist group '%s'\n" "${@:2}"
		printf "config resolver\n\toption port '%s'\n" "$1"
	} >"$CONFIG/gluon-wan"
}

# resolver PORT: a resolver that answers with 192.0.2.PORT, once it is up.
resolver() {
	start dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= \
		--port="$1" --no-resolv --no-hosts --address="/who.test/192.0.2.$1"
	eventually inside dig +short +tries=1 +time=1 -p "$1" @127.0.0.1 who.test
}

# Starts a command inside of the namespace in the background. $! is its pid.
start() {
	ip netns exec "$NETNS" "$@" 3>&- &
	PIDS+=($!)
}

# Waits until a command succeeds.
eventually() {
	local tenths
	for ((tenths = 0; tenths < PATIENCE; tenths++)); do
		if "$@" >/dev/null 2>&1; then
			return 0
		fi
		sleep 0.1
	done
	echo "never: $*" >&2
	return 1
}

# asked GID [OPTION...]: three queries of that group and what answered, as 444.
asked() {
	inside "$ROOT/tests/helpers/query-loop.py" --gid "$1" --count 3 "${@:2}" \
		"$BATS_TEST_TMPDIR/asked"
	cat "$BATS_TEST_TMPDIR/asked"
}

# Starts a query loop of group 800 that goes on until loop_end.
loop_start() {
	LOG="$BATS_TEST_TMPDIR/loop"
	: >"$LOG"
	start "$ROOT/tests/helpers/query-loop.py" --gid 800 "$@" "$LOG"
	LOOP=$!
	loop_more 5
}

# loop_more N: waits until N more queries have ended.
loop_more() {
	local target=$(($(stat -c %s "$LOG") + $1)) hundredths
	for ((hundredths = 0; hundredths < PATIENCE * 10; hundredths++)); do
		[ "$(stat -c %s "$LOG")" -lt "$target" ] || return 0
		sleep 0.01
	done
	echo "the query loop stands still" >&2
	return 1
}

# Ends the loop; sets REDIRECTED, UNREDIRECTED and UNANSWERED.
loop_end() {
	kill "$LOOP"
	wait "$LOOP" || true
	REDIRECTED=$(tr -cd 4 <"$LOG" | wc -c)
	UNREDIRECTED=$(tr -cd 3 <"$LOG" | wc -c)
	UNANSWERED=$(tr -cd - <"$LOG" | wc -c)
	echo "# redirected $REDIRECTED, unredirected $UNREDIRECTED, unanswered $UNANSWERED" >&3
}

# The table without what its counters counted.
listed() {
	inside nft -s list table inet gluon_wan
}

# The handle of the table: another one after every replacement.
handle() {
	inside nft -a list table inet gluon_wan | sed -n '1s/.*handle //p'
}

# same FILE: the table is listed as that golden.
same() {
	diff -u "$1" <(listed) >&2
}
