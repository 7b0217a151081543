# shellcheck shell=bash
# A node for the redirect alone: a primary resolver on port 53, a WAN resolver on port
# 54, and nothing else. To be loaded after lab/lab.
#
# The two answer every query with their port as the last byte of the address, so that
# query-loop.py logs '3' for the primary and '4' for the WAN's.

# The machine is each test's own.
setup() {
	redirect_up
}

teardown() {
	redirect_down
}

redirect_up() {
	lab_require ip nft dnsmasq dig python3 || return
	lab_init || return
	machine_add node || return
	CONFIG=$LAB_DIR/node/etc/config
	INCLUDE=$BATS_TEST_TMPDIR/run/redirect.nft
	configure 54 800 801
	on node ip address add 198.51.100.1/32 dev lo
	on node ip address add 2001:db8::53/128 dev lo nodad
	resolver 53 && resolver 54
}

redirect_down() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	lab_down
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
	daemon node "resolver-$1" dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= \
		--port="$1" --no-resolv --no-hosts --address="/who.test/192.0.2.$1" &&
		wait_for 10 on node dig +short +tries=1 +time=1 -p "$1" @127.0.0.1 who.test
}

# The watch, as a daemon. said NUMBER TEXT: it has said so, so often.
watch_up() {
	daemon node watch "$(gluon_wan_path)" sync --watch
}

said() {
	[ "$(grep -cF "$2" "$LAB_DIR/node/watch.log")" -eq "$1" ]
}

# asked GID [OPTION...]: three queries of that group and what answered, as 444.
asked() {
	on node "$LAB_REPO/tests/helpers/query-loop.py" --gid "$1" --count 3 "${@:2}" "$BATS_TEST_TMPDIR/asked"
	cat "$BATS_TEST_TMPDIR/asked"
}

# Starts a query loop of group 800 that goes on until loop_end.
loop_start() {
	LOG=$BATS_TEST_TMPDIR/loop
	: >"$LOG"
	daemon node loop "$LAB_REPO/tests/helpers/query-loop.py" --gid 800 "$@" "$LOG"
	loop_more 5
}

# loop_more N: waits until N more queries have ended.
loop_more() {
	local target=$(($(stat -c %s "$LOG") + $1)) hundredths
	for ((hundredths = 0; hundredths < 1000; hundredths++)); do
		[ "$(stat -c %s "$LOG")" -lt "$target" ] || return 0
		sleep 0.01
	done
	echo "the query loop stands still" >&2
	return 1
}

# Ends the loop; sets REDIRECTED, UNREDIRECTED and UNANSWERED.
loop_end() {
	daemon_stop node loop
	REDIRECTED=$(tr -cd 4 <"$LOG" | wc -c)
	UNREDIRECTED=$(tr -cd 3 <"$LOG" | wc -c)
	UNANSWERED=$(tr -cd - <"$LOG" | wc -c)
	echo "# redirected $REDIRECTED, unredirected $UNREDIRECTED, unanswered $UNANSWERED" >&3
}

# The table without what its counters counted.
listed() {
	on node nft -s list table inet gluon_wan
}

# The handle of the table: another one after every replacement.
handle() {
	on node nft -a list table inet gluon_wan | sed -n '1s/.*handle //p'
}

# same FILE: the table is listed as that golden.
same() {
	diff -u "$1" <(listed) >&2
}
