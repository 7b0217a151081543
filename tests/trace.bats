# `gluon-wan trace`: on a node that works it shows the whole way; on broken ones it
# names the first thing that is wrong.

bats_require_minimum_version 1.5.0
load lab/lab

SCHEMA=$BATS_TEST_DIRNAME/../docs/trace.schema.json

setup_file() {
	lab_up
}

teardown_file() {
	lab_down
}

setup() {
	gluon_wan sync
	resolver_up
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	daemon_stop node resolver
	on node sh -c 'ip -6 rule del lookup 52; ip -6 route flush table 52' 2>/dev/null
	on home nft delete table inet x 2>/dev/null
	[ -s "$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf" ] || wan_renew
	gluon_wan clear
	node_has_wan
}

trace() {
	gluon_wan trace "$@"
}

# json NAME: trace --json; valid by the schema.
json() {
	local out status=0
	out=$(gluon_wan trace --json "$1") || status=$?
	# Debian's own Python, which the package of the module is for.
	PYTHONWARNINGS=ignore /usr/bin/python3 -m jsonschema -i <(cat <<<"$out") "$SCHEMA" || return 99
	cat <<<"$out"
	return $status
}

# fault TEXT [NAME]: trace fails, and the one fault has TEXT, in JSON too.
fault() {
	run -1 trace "${2-$VPN_NAME}"
	if [ "$(grep -c "^  ! .*$1" <<<"$output")" -ne 1 ]; then
		printf '%s\n' "expected: $1" "$output"
		return 1
	fi
	run -1 json "${2-$VPN_NAME}"
	jq -e --arg text "$1" '.works == false and (.fault | test($text))' <<<"$output"
}

@test "a node that works: every step, and the WAN at the end" {
	run -0 trace "$VPN_NAME"
	for fact in "^$VPN_NAME as gluon-fastd (800): found" \
		'^  asks  *127\.0\.0\.1:53 (first in /etc/resolv.conf)$' \
		"^  AAAA  *$VPN_IP6 after [0-9.]* ms (asked at [0-9.]* ms)$" \
		"^  A  *$VPN_IP4 after " \
		'^  redirected  *yes, [1-9]' \
		'^  answers there  *gluon-wan [0-9.]*$' \
		"^  $HOME_IP4  *br-wan, on-link .*, from 192\.168\.77\." \
		'^  fe80::77:1%br-wan  *br-wan, on-link (IPv6 rule fwmark 0x1/0x1 lookup 1 priority 1), from fe80::' \
		'^    resolver  *asked it [0-9a-z ]* meanwhile$' \
		"^  $VPN_IP6  *br-wan via $HOME_LL (IPv6 rule fwmark 0x1/0x1 lookup 1 priority 1)$"; do
		grep -q "$fact" <<<"$output" || { printf '%s\n' "$fact" "$output"; false; }
	done
	run ! grep '^  !' <<<"$output"
	run -0 json "$VPN_NAME."
	jq -e --arg addr "$VPN_IP6" '.works and .fault == null and .redirected > 0
		and any(.servers[]; .asked > 0 and .way.device == "br-wan" and (.replies | length) == 2)
		and any(.answers[]; .address == $addr and .way.device == "br-wan")' <<<"$output"
}

@test "it leaves nothing behind, and asks nobody in the mesh" {
	before=$(node_state)
	: >"$LAB_DIR/mesh/dnsmasq.log"
	run -0 trace "$VPN_NAME"
	diff <(node_state) - <<<"$before"
	run ! grep "$VPN_NAME" "$LAB_DIR/mesh/dnsmasq.log"
}

@test "without root, with a word that is no name, without a group" {
	run -1 on node setpriv --reuid 65534 --clear-groups --bounding-set=-all --inh-caps=-all -- "$(gluon_wan_path)" trace "$VPN_NAME"
	[[ $output == *"needs root"* ]]
	run -1 trace "a..b"
	[[ $output == *"'a..b' is no name"* ]]
	printf 'config redirect\n\tlist group nosuch\n' >"$LAB_DIR/node/etc/config/gluon-wan"
	run -1 trace "$VPN_NAME"
	rm "$LAB_DIR/node/etc/config/gluon-wan"
	[[ $output == *"none of the groups"* ]]
}

@test "no redirect" {
	on node nft delete table inet gluon_wan
	fault "was not redirected: dnsmasq-[0-9.]* answered at 127.0.0.1:53"
}

@test "no resolver" {
	daemon_stop node resolver
	fault "nobody listens on port 54"
}

@test "a home router that is silent" {
	on home nft 'add table inet x; add chain inet x i { type filter hook input priority 0; }; add rule inet x i udp dport 53 drop'
	fault "no server of the WAN helps: .*$HOME_IP4 is silent"
}

@test "no server" {
	: >"$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.new"
	mv "$LAB_DIR"/node/var/gluon/wan-dnsmasq/resolv.{new,conf}
	wait_for 5 fault "the resolver knows no server"
}

@test "a rule of others before ours" {
	on node ip -6 route add default via "$MESH_LL" dev br-client table 52
	on node ip -6 rule add pref 0 lookup 52
	fault "to $VPN_IP6 would leave through br-client via $MESH_LL, taken by IPv6 rule lookup 52 priority 0"
}

@test "a name that the WAN's servers do not know" {
	fault "no server of the WAN helps: .*$HOME_IP4 says REFUSED" nosuch.example.net
}
