# shellcheck shell=bash
# Three servers that are good, or fail in one of the ways that servers do. To be loaded
# after resolver/pair, for resolver.bats and failover.bats.

SERVERS=("$SERVER1" "$SERVER2" 10.9.0.3)
ASK=$RESOLVER_TESTS/ask.py

setup_file() {
	lab_require dnsmasq
	pair_up
	on wan ip addr add "${SERVERS[2]}/24" dev lan
}

setup() {
	daemons_keep
	probe_reset node
	servers "${SERVERS[@]}"
}

# server TITLE ADDR good|servfail|refused|icmp|blackhole
server() {
	case $3 in
	good)
		daemon wan "$1" dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= \
			--log-facility=- --log-queries --no-resolv --no-hosts --listen-address="$2" \
			--bind-interfaces --host-record="$VPN_NAME,$VPN_IP4,$VPN_IP6" --txt-record="$VPN_NAME,$1"
		wait_for 5 on wan sh -c "dig +short +time=1 +tries=1 @$2 $VPN_NAME | grep -q ."
		;;
	servfail) daemon wan "$1" "$RESOLVER_TESTS/responder.py" "$2" 2 ;;
	refused) daemon wan "$1" "$RESOLVER_TESTS/responder.py" "$2" 5 ;;
	# Nobody has the port, so the kernel says ICMP port unreachable.
	icmp) ;;
	blackhole) blackhole "$2" ;;
	esac
}

blackhole() {
	on wan nft -f - <<-END
		add table inet blackhole
		add chain inet blackhole in { type filter hook input priority 0; }
		add rule inet blackhole in ip daddr $1 drop
	END
}

# one_answers [OPTION...]: the resolver has an answer, and it is that of server one.
one_answers() {
	[ "$(on node dig "$@" +short +time=2 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" TXT)" = '"one"' ]
}

# ask ARG...: 200 queries one after the other.
ask() {
	on node "$ASK" "$@" "$VPN_NAME"
}

# expect_no_loss JSON [SLOWEST]: shows it, and nothing failed or waited a second.
expect_no_loss() {
	echo "# $BATS_TEST_DESCRIPTION: $1" >&3
	jq -e '.lost == 0 and .errors == 0 and .slowest_ms < 1000' <<<"$1"
}
