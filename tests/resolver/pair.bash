# shellcheck shell=bash
# Two machines for tests of the resolver: `node`, where it runs, and `wan`, where
# its servers are. To be loaded after lab/lab.

# The servers' addresses, all on `wan`, and the node's.
readonly SERVER1=10.9.0.1 SERVER2=10.9.0.2 SERVER6=2001:db8:9::1
readonly NODE4=10.9.0.10 NODE6=2001:db8:9::10
# shellcheck disable=SC2034 # the tests use it
RESOLVER_TESTS=$LAB_REPO/tests/resolver

# The machines, and counters for what leaves the node towards port 53: `marked`
# is the resolver's, `unmarked` must stay 0. (Mark 2: compare.py, asking directly.)
pair_up() {
	lab_require unshare nsenter ip nft dig python3 jq || return
	lab_init || return
	machine_add node && machine_add wan && cable node br-wan wan lan || return
	on node sh -ec "
		ip addr add $NODE4/24 dev br-wan
		ip addr add $NODE6/64 dev br-wan
	" || return
	on wan sh -ec "
		ip addr add $SERVER1/24 dev lan
		ip addr add $SERVER2/24 dev lan
		ip addr add $SERVER6/64 dev lan
	" || return
	probe node marked out oifname br-wan meta l4proto '{ tcp, udp }' th dport 53 meta mark and 1 == 1
	probe node unmarked out oifname != lo meta l4proto '{ tcp, udp }' th dport 53 meta mark and 3 == 0
}

# What all files on a pair do. Who has more to do says so after loading this.
teardown_file() {
	lab_down
}

setup() {
	daemons_keep
	probe_reset node
}

teardown() {
	pair_rest
	# Whatever a test was about.
	[ "$(seen node unmarked)" -eq 0 ]
}

# teardown where TCP is spoken: the kernel resets what a resolver leaves open when it
# ends, and that is unmarked.
teardown_tcp() {
	local unmarked
	unmarked=$(seen node unmarked)
	pair_rest
	[ "$unmarked" -eq 0 ]
}

# Ends what the test started, and takes away what it put in the way.
pair_rest() {
	[ -n "${BATS_TEST_COMPLETED:-}" ] || lab_tail
	daemons_stop
	local title
	for title in lab_redirect lab_dnat gluon_wan; do
		on node nft delete table inet "$title" 2>/dev/null || true
	done
	on wan nft flush ruleset
	rm -f "$LAB_DIR"/node/etc/config/*
}

# Queries have left, and every one of them with the mark.
only_marked_left() {
	local marked unmarked
	marked=$(seen node marked) unmarked=$(seen node unmarked)
	echo "to port 53: $marked with the mark, $unmarked without"
	[ "$marked" -gt 0 ] && [ "$unmarked" -eq 0 ]
}

# echo_up TITLE [OPTION...] ADDR...: a server that echoes, there when this returns.
echo_up() {
	daemon wan "$1" "$RESOLVER_TESTS/echo.py" "${@:2}" && wait_for 5 serves "${!#}"
}

# serves ADDR: whatever it says.
serves() {
	on wan dig +time=1 +tries=1 "@$1" f0180.echo TXT
}

# servers ADDR...: what the node's resolv file names, replaced as the hotplug
# script does.
servers() {
	local dir=$LAB_DIR/node/var/gluon/wan-dnsmasq
	mkdir -p "$dir"
	{ [ $# -eq 0 ] || printf 'nameserver %s\n' "$@"; } >"$dir/resolv.conf.tmp"
	mv "$dir/resolv.conf.tmp" "$dir/resolv.conf"
}

# resolver_on ADDR...: the resolver, serving, with these servers.
resolver_on() {
	servers "$@" || return
	# shellcheck disable=SC2119 # through no command
	resolver_starts
}

# resolver_starts [COMMAND...]: with the servers that there are; through COMMAND.
# shellcheck disable=SC2120
resolver_starts() {
	daemon node resolver "$@" "$(gluon_wan_path)" resolver && wait_for 5 resolver_serves
}

resolver_serves() {
	on node dig +short +time=1 +tries=1 -p 54 @127.0.0.1 version.bind CH TXT 2>/dev/null | grep -q gluon-wan
}
