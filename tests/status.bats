# `gluon-wan status`: each thing that can be wrong is made wrong for real, and
# its line is seen then, and not before.

bats_require_minimum_version 1.5.0
load lab/lab

SCHEMA=$BATS_TEST_DIRNAME/../docs/status.schema.json

setup_file() {
	lab_up
}

teardown_file() {
	lab_down
}

setup() {
	ETC=$LAB_DIR/node/etc
	gluon_wan sync
	resolver_up
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	daemon_stop node resolver
	daemon_stop node other
	rm -rf "$ETC"/config/*
	printf 'nameserver 127.0.0.1\n' >"$ETC/resolv.conf"
	gluon_wan clear
	daemon_stop node watch
	rm -rf "$LAB_DIR"/node/run/gluon-wan/watch*
	on node nft delete table inet other 2>/dev/null || true
	on node sh -c 'iptables-nft -t mangle -F OUTPUT' 2>/dev/null || true
	on node sh -c '
		ip -6 rule del lookup 52
		ip -6 route flush table 52
		ip -6 route del default dev br-wan
		echo 0 >/proc/sys/net/ipv4/conf/br-wan/rp_filter
		ip link set br-wan up
	' 2>/dev/null
	# Whatever the test did to the cable or to the list of servers.
	on home ip -br link show lan | grep -q UP || wan_up
	[ -s "$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf" ] || wan_renew
	node_has_wan
}

config() {
	cat >"$ETC/config/gluon-wan"
}

# problem TEXT: status is unhealthy, and one of its problems has TEXT; as JSON,
# which the schema knows, the same.
problem() {
	run -1 gluon_wan status
	if [ "$(grep -c "^  ! .*$1" <<<"$output")" -ne 1 ]; then
		printf '%s\n' "expected a problem: $1" "$output"
		return 1
	fi
	run -1 json
	jq -e --arg text "$1" '.healthy == false and any(.problems[].what; test($text))' <<<"$output"
}

# problems NUMBER: so many, and no more.
problems() {
	run -1 gluon_wan status
	[ "$(grep -c '^  ! ' <<<"$output")" -eq "$1" ] || { echo "$output"; return 1; }
}

# json [COMMAND...]: status --json, run through COMMAND; valid by the schema.
# shellcheck disable=SC2120 # `run` calls it with arguments
json() {
	local out status=0
	out=$(on node "$@" "$(gluon_wan_path)" status --json) || status=$?
	# Debian's own Python, which the package of the module is for.
	PYTHONWARNINGS=ignore /usr/bin/python3 -m jsonschema -i <(cat <<<"$out") "$SCHEMA" || return 99
	cat <<<"$out"
	return $status
}

# On Debian nobody may look into other processes, as on OpenWrt.
as_nobody() {
	on node setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --inh-caps=-all -- "$@"
}

# note TEXT: status is healthy, and one of its notes has TEXT.
note() {
	run -0 gluon_wan status && grep -q "^  - .*$1" <<<"$output"
}

# after_asking CMD...: a query first. To be repeated: when routes change, the
# resolver forgets how its servers did.
after_asking() {
	on node dig +time=2 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" >/dev/null || true
	"$@"
}

state_of() {
	# shellcheck disable=SC2119
	json | jq -e --arg server "$1" --arg state "$2" \
		'.resolver.servers | any(.server == $server and .state == $state)'
}

@test "a healthy node: exit code 0, every part is shown, nothing is wrong" {
	wait_for 15 after_asking state_of "$HOME_IP4" up
	as_group node "$FASTD_GID" dig +short "$VPN_NAME" TXT
	run -0 gluon_wan status
	[[ ${lines[0]} == "gluon-wan "*": healthy" ]]
	for fact in '^  br-wan  *up, 192\.168\.77\.' \
		'^  groups  *gluon-fastd (800), gluon-mesh-vpn (801), to port 54$' \
		'^  table  *inet gluon_wan, as wanted, packets redirected: [1-9]' \
		'^  fw4 include  */var/run/gluon-wan/redirect.nft, as wanted' \
		'^  IPv6  *[1-9][0-9]* rules and routes, as wanted$' \
		'^  127\.0\.0\.1:54  *answers in [0-9.]* ms$' \
		'^  \[::1\]:54  *answers in [0-9.]* ms$' \
		'^  mark  *gluon-wan (pid [0-9]*) may set 0x1/0x1$' \
		'^    marked to  *br-wan via fe80::' '^    unmarked to  *br-client via fe80::' \
		"^  $HOME_IP4  *up  *[0-9]* [a-z]*  *[0-9.]* ms  *[1-9][0-9]*  *0$"; do
		grep -q "$fact" <<<"$output" || { printf '%s\n' "$fact" "$output"; false; }
	done
	run ! grep '^  [!?]' <<<"$output"
	run -0 json
	jq -e '.healthy and .problems == [] and .unseen == [] and .redirect.table.packets > 0
		and .resolver.pid > 1 and .resolver.may_mark' <<<"$output"
}

@test "status changes nothing" {
	on node ip -6 rule del pref 1
	on node nft delete table inet gluon_wan
	state=$(node_state)
	run -1 gluon_wan status
	diff <(node_state) - <<<"$state"
}

@test "colour on a terminal only, and not against NO_COLOR" {
	gluon=$(gluon_wan_path)
	run ! grep -q $'\e' <(gluon_wan status)
	run -0 on node env TERM=xterm NO_COLOR= script -qec "$gluon status" /dev/null
	[[ $output == *$'\e[32mhealthy\e[0m'* ]]
	run -0 on node env TERM=xterm NO_COLOR=1 script -qec "$gluon status" /dev/null
	[[ $output == *healthy* && $output != *$'\e'* ]]
	run -0 on node env TERM=dumb NO_COLOR= script -qec "$gluon status" /dev/null
	[[ $output == *healthy* && $output != *$'\e'* ]]
}

@test "without root: what can be seen is shown, what cannot is said, and it is not called healthy" {
	watch_up
	run -1 as_nobody "$(gluon_wan_path)" status
	[[ ${lines[0]} == *"no problem seen, but not everything could be seen" ]]
	grep -q '^  ? watch: the watch: only root can see it$' <<<"$output"
	grep -q '^  ? redirect: table inet gluon_wan: .*root' <<<"$output"
	grep -q '^  ? resolver: whether it may set the mark: .*root' <<<"$output"
	grep -q '^  IPv6 .*as wanted$' <<<"$output"
	grep -q '^  127.0.0.1:54 .*answers' <<<"$output"
	run ! grep '^  !' <<<"$output"
	run -1 json setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set=-all --inh-caps=-all --
	jq -e '.healthy == false and .problems == [] and .redirect.table == null
		and (.unseen | length) == 4' <<<"$output"
}

# --- redirect and include ----------------------------------------------------

@test "a missing or foreign table" {
	on node nft delete table inet gluon_wan
	problem "table inet gluon_wan is missing"
	on node nft add table inet gluon_wan
	problem "table inet gluon_wan is not as it must be"
	problems 1
	gluon_wan sync
	run -0 gluon_wan status
}

@test "no group is a problem, one of two missing is a note" {
	config <<<$'config redirect\n\tlist group nosuch\n\tlist group gluon-fastd'
	gluon_wan sync
	run -0 gluon_wan status
	grep -q '^  - redirect: there is no group nosuch' <<<"$output"
	config <<<$'config redirect\n\tlist group nosuch'
	problem "there is no group nosuch, nothing is redirected"
}

@test "a missing or changed file for fw4" {
	include=$LAB_DIR/node/run/gluon-wan/redirect.nft
	echo '# x' >>"$include"
	problem "redirect.nft is not as it must be"
	rm "$include"
	problem "redirect.nft is missing"
	problems 1
	config <<<$'config redirect\n\toption include ""'
	run -0 gluon_wan status
	grep -q '^  fw4 include  *not wanted$' <<<"$output"
}

# with_fw4 LINK_TARGET CMD...: CMD where there is an fw4 that loads a link to
# LINK_TARGET. The rest of these directories is not needed.
with_fw4() {
	# shellcheck disable=SC2016 # the inner shell's
	on node unshare --mount --propagation private sh -ec '
		target=$1; shift
		mount -t tmpfs none /usr/share
		mkdir -p /usr/share/nftables.d/ruleset-post
		ln -s "$target" /usr/share/nftables.d/ruleset-post/30-gluon-wan.nft
		mount -t tmpfs none /usr/sbin
		: >/usr/sbin/fw4
		exec "$@"
	' with_fw4 "$@"
}

@test "a file that fw4 does not load" {
	run -0 with_fw4 /var/run/gluon-wan/redirect.nft "$(gluon_wan_path)" status
	grep -q '^  fw4 include .*, as wanted, loaded by fw4$' <<<"$output"
	run -1 with_fw4 /var/run/elsewhere.nft "$(gluon_wan_path)" status
	[ "$(grep -c '^  ! ' <<<"$output")" -eq 1 ]
	grep -q '^  ! include: fw4 does not load /var/run/gluon-wan/redirect.nft: `ln -sf ' <<<"$output"
}

# --- routing -------------------------------------------------------------------

@test "a missing rule, a missing route" {
	on node ip -6 rule del pref 1
	problem "due: add IPv6 rule fwmark 0x1/0x1 lookup 1 priority 1"
	gluon_wan sync
	on node ip -6 route del unreachable default metric 65535 table 1
	problem "due: add IPv6 route unreachable default table 1"
	problems 1
}

@test "a default route of the WAN in main is a leak" {
	on node ip -6 route add default via "$HOME_LL" dev br-wan metric 2048
	problem "IPv6 route default via $HOME_LL dev br-wan table main metric 2048: what has no mark"
	problems 1
	run -1 json
	jq -e '.leaks.routes | length == 1' <<<"$output"
	gluon_wan sync
	run -0 gluon_wan status
}

@test "a rule of others that takes what has the mark" {
	config <<<$'config routing\n\toption priority 30000'
	gluon_wan sync
	run -0 gluon_wan status
	on node ip -6 route add default via "$MESH_LL" dev br-client table 52
	on node ip -6 rule add pref 5270 lookup 52
	problem "IPv6 packets with mark 0x1/0x1 to .* they leave through br-client via $MESH_LL; taken by IPv6 rule lookup 52 priority 5270, IPv6 route default via $MESH_LL dev br-client table 52"
	grep -q 'set `option priority` in section routing below 5270' <<<"$(gluon_wan status)"
	rm "$ETC/config/gluon-wan"
	gluon_wan sync
	run -0 gluon_wan status
}

@test "a rule of others that takes what has no mark into the WAN" {
	on node ip -6 route add default via "$HOME_LL" dev br-wan table 52
	on node ip -6 rule add pref 5270 lookup 52
	problem "IPv6 packets without the mark to .* they leave through br-wan via $HOME_LL; taken by IPv6 rule lookup 52 priority 5270"
	run -1 json
	jq -e '.problems | all(.part == "leaks")' <<<"$output"
	jq -e '.ways | any(.goes == "out" and .marked == false and .device == "br-wan" and (.rule | test("5270")))' <<<"$output"
}

@test "the rule for table local behind ours: packets to this node leave it" {
	# There may be two: netifd makes one of its own.
	on node sh -c 'ip -6 rule add pref 100 lookup local; while ip -6 rule del pref 0; do :; done' 2>/dev/null
	problem "with mark 0x1/0x1 to this node's own ::1: they do not stay here but"
	on node sh -c 'ip -6 rule add pref 0 lookup local && ip -6 rule del pref 100'
	run -0 gluon_wan status
}

# --- nftables rules of others ------------------------------------------------------

# other CHAIN RULE: a base chain of somebody else's, and its rule.
other() {
	on node nft "add table inet other; add chain inet other out { $1; }; add rule inet other out $2"
}

@test "another redirect of DNS, before ours and behind it" {
	other 'type nat hook output priority -105' 'meta l4proto { tcp, udp } th dport { 53, 853 } redirect to :1053'
	problem "table inet other, chain out .rule [0-9]*. sends to port 1053 what the resolver asks"
	problems 1
	on node nft delete table inet other
	# Gluon's own words for what our table does.
	other 'type nat hook output priority -105' 'udp dport 53 redirect to :54'
	run -0 gluon_wan status
	on node nft delete table inet other
	other 'type nat hook output priority -105' 'meta mark != 1 udp dport 53 redirect to :1053'
	run -0 gluon_wan status
}

@test "DNS that conntrack does not see" {
	other 'type filter hook output priority raw' 'oifname lo tcp dport 53 notrack'
	problem "table inet other, chain out .rule [0-9]*. hides DNS of the VPN daemons from conntrack"
	problems 1
	on node nft delete table inet other
	other 'type filter hook output priority raw' 'udp dport 123 notrack'
	run -0 gluon_wan status
	run ! grep 'inet other' <<<"$output"
}

@test "marks that others take and give" {
	other 'type route hook output priority mangle' 'meta mark set meta mark and 0xfffffff0'
	note "redirect: table inet other, chain out (rule [0-9]*) takes the mark from packets; gluon-wan gives it back"
	on node nft delete table inet other
	other 'type route hook output priority mangle' 'meta skuid 0 meta mark set meta mark or 0x1'
	problem "table inet other, chain out .rule [0-9]*. gives mark 0x1 to what everybody sends"
	on node nft delete table inet other
	other 'type route hook output priority mangle' 'meta mark set meta mark or 0x100'
	run -0 gluon_wan status
	run ! grep 'inet other' <<<"$output"
}

@test "a firewall of others that drops what the resolver asks" {
	other 'type filter hook output priority filter' 'ip daddr 203.0.113.1 drop'
	run -0 gluon_wan status
	on node nft add chain inet other mine
	on node nft add rule inet other mine oifname br-wan udp dport 53 reject
	on node nft add rule inet other out jump mine
	problem "table inet other, chain mine .rule [0-9]*. drops what the resolver asks the WAN's servers"
}

@test "rules of iptables-nft" {
	on node ip6tables-nft -t mangle -A OUTPUT -m comment --comment x -j MARK --set-xmark 0x1/0x1
	problem "table ip6 mangle, chain OUTPUT .rule [0-9]*. gives mark 0x1 to what everybody sends"
	on node ip6tables-nft -t mangle -F OUTPUT
	on node ip6tables-nft -t mangle -A OUTPUT -m mark --mark 0x1/0x1 -j MARK --set-xmark 0x10/0xffffffff
	note "table ip6 mangle, chain OUTPUT (rule [0-9]*) takes the mark"
	on node nft delete table ip6 mangle
	# Gluon's own rules for the same, and one that leads elsewhere.
	for tables in iptables-nft ip6tables-nft; do
		on node $tables -t nat -A OUTPUT -p udp --dport 53 -m owner --gid-owner 800 -j REDIRECT --to-ports 54
	done
	on node iptables-nft -t nat -A OUTPUT -d 127.0.0.1 -p udp --dport 53 -j DNAT --to-destination :54
	run -0 gluon_wan status
	run ! grep 'chain OUTPUT' <<<"$output"
	on node iptables-nft -t nat -A OUTPUT -p udp --dport 53 -m owner --gid-owner 800 -j REDIRECT --to-ports 1053
	note "table ip nat, chain OUTPUT (rule [0-9]*) may send to port 1053 what the resolver asks"
	on node nft 'delete table ip nat; delete table ip6 nat'
}

# --- the watch -----------------------------------------------------------------

watch_up() {
	daemon node watch "$(gluon_wan_path)" sync --watch && wait_for 5 watch_looked
}

watch_looked() {
	gluon_wan status --json | jq -e '.watch.looked_s != null' >/dev/null
}

watch_mended() {
	gluon_wan status --json | jq -e '.watch.mended > 0' >/dev/null
}

@test "the watch: there, at work, stopped, killed, and ended in order" {
	note "watch: there is no watch"
	watch_up
	run -0 gluon_wan status
	grep -q "^  sync --watch  *watches (pid $(daemon_pid node watch)), looked [0-9]* s ago, mended in the last hour: 0" <<<"$output"
	run ! grep '^  - watch' <<<"$output"
	on node ip -6 rule del pref 1
	wait_for 5 watch_mended
	run -0 gluon_wan status
	grep -q 'mended in the last hour: [1-9].* ago: routing: added IPv6 rule fwmark' <<<"$output"
	daemon_kill node watch STOP
	wait_for 5 problem "the watch .pid [0-9]*. is stopped and mends nothing"
	daemon_kill node watch CONT
	wait_for 5 gluon_wan status
	daemon_kill node watch KILL
	wait_for 5 problem "the watch was killed or broke off"
	watch_up
	run -0 gluon_wan status
	daemon_stop node watch
	note "watch: there is no watch"
}

@test "what somebody else puts where the watch says how it does is not believed" {
	watch_up
	run ! as_nobody sh -c 'exec 9</var/run/gluon-wan/watch.lock'
	daemon_stop node watch
	: >"$LAB_DIR/node/run/gluon-wan/watch"
	chown 65534 "$LAB_DIR/node/run/gluon-wan/watch"
	note "watch: there is no watch"
}

@test "a reverse path filter that drops the answers to marked packets" {
	config <<<$'config routing\n\tlist family ipv4\n\tlist family ipv6'
	on node sh -c 'echo 1 >/proc/sys/net/ipv4/conf/br-wan/rp_filter'
	gluon_wan sync
	problem "reverse path filter of br-wan is strict"
	wan_renew
}

# --- WAN devices ---------------------------------------------------------------

@test "a WAN device that is missing, down, without a carrier or without an address" {
	config <<<$'config routing\n\tlist device nosuch0'
	problem "there is no device nosuch0"
	config <<<$'config routing\n\tlist device nosuch0\n\tlist device br-wan'
	gluon_wan sync
	run -0 gluon_wan status
	grep -q '^  - devices: there is no device nosuch0' <<<"$output"
	rm "$ETC/config/gluon-wan"
	wan_down
	problem "br-wan has no carrier"
	on node ip link set br-wan down
	problem "br-wan is down"
}

@test "a WAN device without an address" {
	on node ip link add br-bare type bridge
	on node sh -ec '
		ip link add br-bare0 type veth peer name br-bare1
		ip link set br-bare0 master br-bare up
		ip link set br-bare1 up
		ip link set br-bare up
	'
	# The kernel takes its time to pass the carrier on to the bridge.
	wait_for 5 on node grep -q 1 /sys/class/net/br-bare/carrier
	config <<<$'config routing\n\tlist device br-bare'
	# A bridge takes its time to find its carrier.
	wait_for 10 problem "br-bare has no address but link-local ones"
	on node sh -c 'ip link del br-bare0; ip link del br-bare'
}

# --- resolver ------------------------------------------------------------------

@test "no resolver" {
	daemon_stop node resolver
	problem "nobody listens on 127.0.0.1:54 and \[::1\]:54"
	problems 1
}

@test "a resolver that hangs: status ends within a second, and says so" {
	pid=$(daemon_pid node resolver)
	on node kill -STOP "$pid"
	start=$(date +%s%N)
	run -1 gluon_wan status
	took=$((($(date +%s%N) - start) / 1000000))
	problem "no answer from 127.0.0.1:54 and \[::1\]:54 in time"
	problems 1
	on node kill -CONT "$pid"
	# Much slack for a busy machine; without a bound it would be more.
	echo "$took ms"
	[ "$took" -le 1500 ]
}

@test "another program on port 54, which cannot mark" {
	daemon_stop node resolver
	daemon node other setpriv --bounding-set=-net_admin,-net_raw -- \
		dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= --port=54 \
		--listen-address=127.0.0.1,::1 --bind-interfaces --no-resolv --no-hosts --server="$HOME_IP4"
	wait_for 5 on node dig +short +time=1 +tries=1 -p 54 @::1 version.bind CH TXT
	problem "127.0.0.1:54 is not gluon-wan but dnsmasq"
	problem "has no capability to set mark 0x1/0x1"
	grep -q "dnsmasq" <<<"$output"
}

@test "another program on port 54 that does not say which it is" {
	daemon_stop node resolver
	daemon node other dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= --port=54 \
		--listen-address=127.0.0.1,::1 --bind-interfaces --no-resolv --no-hosts --no-ident
	wait_for 5 on node sh -c 'ss -Hlun sport = :54 | grep -q ::1'
	problem "127.0.0.1:54 is not gluon-wan but another program"
	run -1 gluon_wan status
	grep -q '127.0.0.1:54 *answers, but is another program$' <<<"$output"
}

@test "netifd's configuration in another language, and one that cannot be read: not judged, not healthy" {
	echo 'nonsense' >"$ETC/config/network"
	unseen "/etc/config/network: line 1: "
	rm "$ETC/config/network"
	mkdir "$ETC/config/network"
	unseen "/etc/config/network: not a regular file"
}

# unseen TEXT: this, and this alone, could not be seen.
unseen() {
	run -1 gluon_wan status
	[ "$(grep -c '^  ? ' <<<"$output")" -eq 1 ]
	grep -q "^  ? .*$1" <<<"$output"
	run ! grep '^  !' <<<"$output"
}

@test "servers: none known, none that works, one of two that does not" {
	static=$ETC/config/gluon-wan-dnsmasq
	printf "config static\n\tlist server '%s#5333'\n" "$HOME_IP4" >"$static"
	on node kill -HUP "$(daemon_pid node resolver)"
	wait_for 5 state_of "$HOME_IP4#5333" unknown
	note "resolver: no server was asked since"
	wait_for 15 after_asking problem "no server works: $HOME_IP4#5333 is unreachable"
	printf "\tlist server '%s'\n" "$HOME_IP4" >>"$static"
	wait_for 15 after_asking note "resolver: $HOME_IP4#5333 is unreachable"
}

@test "no server known" {
	: >"$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.new"
	mv "$LAB_DIR"/node/var/gluon/wan-dnsmasq/resolv.{new,conf}
	wait_for 5 problem "no server is known"
	problems 1
}

# --- leaks -----------------------------------------------------------------------

@test "a server of the WAN in the primary resolver's list" {
	printf 'nameserver 127.0.0.1\nnameserver %s\n' "$MESH_IP6" >"$ETC/resolv.conf"
	run -0 gluon_wan status
	printf 'nameserver %s\n' "$HOME_IP4" >>"$ETC/resolv.conf"
	problem "$HOME_IP4 of the WAN is in /etc/resolv.conf"
	problems 1
}

@test "an interface of the WAN that gives its servers away" {
	cat >"$ETC/config/network" <<-END
		config interface 'wan'
			option device 'br-wan'
			option proto 'dhcp'
			option peerdns '0'

		config interface 'wan6'
			option device 'br-wan'
			option proto 'dhcpv6'
			option peerdns '0'

		config interface 'client'
			option device 'br-client'
			option proto 'dhcpv6'
	END
	run -0 gluon_wan status
	sed -i "0,/peerdns '0'/s//peerdns '1'/" "$ETC/config/network"
	problem "interface wan gives its DNS servers to the primary resolver"
	problems 1
	sed -i '/peerdns/d' "$ETC/config/network"
	problem "interface wan6 gives its DNS servers"
	problems 2
}

# netifd_says JSON CMD...: CMD where ubus has this to say of netifd's interfaces.
netifd_says() {
	mkdir -p "$LAB_DIR/node/var/bin"
	printf '#!/bin/sh\ncat <<"END"\n%s\nEND\n' "$1" >"$LAB_DIR/node/var/bin/ubus"
	chmod +x "$LAB_DIR/node/var/bin/ubus"
	on node env PATH="/var/bin:$PATH" "${@:2}"
	rm "$LAB_DIR/node/var/bin/ubus"
}

@test "interfaces as netifd has them: the one that leaks is found whatever its configuration is called" {
	interfaces='{"interface":[{"interface":"uplink","l3_device":"br-wan","device":"eth0","dns-server":[%s],"inactive":{"dns-server":["192.0.2.9"]}},
		{"interface":"client","l3_device":"br-client","dns-server":["fdca::1"]}]}'
	# shellcheck disable=SC2059 # a format on purpose
	run -0 netifd_says "$(printf "$interfaces" '')" "$(gluon_wan_path)" status
	# shellcheck disable=SC2059
	run netifd_says "$(printf "$interfaces" '"192.0.2.9"')" "$(gluon_wan_path)" status
	grep -q '^  ! leaks: interface uplink gives its DNS servers to the primary resolver' <<<"$output"
	[ "$(grep -c '^  ! ' <<<"$output")" -eq 1 ]
}

@test "a netifd that does not answer delays status by a second at most, and the files count" {
	mkdir -p "$LAB_DIR/node/var/bin"
	printf '#!/bin/sh\nexec sleep 30\n' >"$LAB_DIR/node/var/bin/ubus"
	chmod +x "$LAB_DIR/node/var/bin/ubus"
	printf "config interface 'wan'\n\toption type bridge\n\toption ifname eth0\n\toption proto dhcp\n" >"$ETC/config/network"
	start=$(date +%s%N)
	run -1 on node env PATH="/var/bin:$PATH" "$(gluon_wan_path)" status
	took=$((($(date +%s%N) - start) / 1000000))
	rm "$LAB_DIR/node/var/bin/ubus"
	grep -q '^  ! leaks: interface wan gives its DNS servers' <<<"$output"
	echo "$took ms"
	[ "$took" -le 1800 ]
}

@test "what anybody may put into /tmp makes no node unhealthy; what root put there does" {
	dir=$(dirname "$(readlink -f "$(gluon_wan_path)")")
	case $dir in /tmp/*) skip "the program is in /tmp" ;; esac
	tmp() {
		# shellcheck disable=SC2016 # the inner shell's
		on node unshare --mount --propagation private sh -ec '
			mount -t tmpfs -o mode=1777 none /tmp
			eval "$1"
			exec "$2" status
		' tmp "$1" "$(gluon_wan_path)"
	}
	leak="echo 'nameserver $HOME_IP4' >/tmp/resolv.conf.auto"
	run -1 tmp "$leak"
	grep -q "^  ! leaks: $HOME_IP4 of the WAN is in /tmp/resolv.conf.auto" <<<"$output"
	run -0 tmp "$leak; chown 65534 /tmp/resolv.conf.auto"
	run -0 tmp "$leak; chmod 666 /tmp/resolv.conf.auto"
	run -0 tmp 'mkdir -p /tmp/resolv.conf.auto; chown 65534 /tmp/resolv.conf.auto'
	run -0 tmp "mkdir /tmp/resolv.conf.d; echo 'nameserver $HOME_IP4' >/tmp/resolv.conf.d/resolv.conf.auto; chown 65534 /tmp/resolv.conf.d"
	run -0 tmp 'mkfifo /tmp/resolv.conf.auto; chown 65534 /tmp/resolv.conf.auto'
}

# --- words of others ---------------------------------------------------------------

@test "names of devices and programs reach no terminal as they are" {
	evil=$(printf 'm\033[7m\302\233')
	on node ip link add name "$evil" type bridge
	on node ip link set "$evil" up
	on node ip -6 route add default dev "$evil" table 52
	on node ip -6 rule add pref 0 lookup 52
	for how in status 'status --json' "trace $VPN_NAME"; do
		# shellcheck disable=SC2086 # words
		run gluon_wan $how
		[ -n "$output" ]
		run ! grep -P '[^ -~\t]' <<<"$output"
	done
	run gluon_wan status
	grep -q 'leave through m\\u{1b}\[7m' <<<"$output"
	on node ip link del "$evil"
	on node ip -6 rule del lookup 52
}

# --- configuration -------------------------------------------------------------------

@test "a refused line: status shows the rest, and what is wrong" {
	config <<<$'config routing\n\toption table "main"'
	problem "gluon-wan:2: .*a default stands in for it"
	run -1 json
	jq -e '.problems | any(.part == "config")' <<<"$output"
}

@test "what was stopped since the last look" {
	run -0 gluon_wan status
	# Marked, and through none of the WAN's devices.
	on node ip -6 route add "$FAKE_IP6" via "$MESH_LL" dev br-client table 52
	on node ip -6 rule add pref 0 lookup 52
	on node ping -m 1 -c 1 -W 1 "$FAKE_IP6" || true
	on node ip -6 rule del lookup 52
	note "routing: [1-9][0-9]* packets with the mark were stopped before they left .* since the last look"
	run -0 gluon_wan status
	run ! grep 'since the last look' <<<"$output"
}

# --- metrics ---------------------------------------------------------------------

@test "docs/metrics/textfile writes what node exporter's textfile collector takes" {
	dir=$LAB_DIR/node/var/prometheus
	mkdir -p "$dir" "$LAB_DIR/node/var/bin"
	ln -sf "$(readlink -f "$(gluon_wan_path)")" "$LAB_DIR/node/var/bin/gluon-wan"
	textfile=$(readlink -f "$BATS_TEST_DIRNAME/../docs/metrics/textfile")
	wait_for 15 after_asking state_of "$HOME_IP4" up
	run -0 on node env PATH="/var/bin:$PATH" "$textfile" /var/prometheus
	[ -z "$output" ]
	grep -qx 'gluon_wan_healthy 1' "$dir/gluon-wan.prom"
	grep -qx "gluon_wan_server_up{server=\"$HOME_IP4\"} 1" "$dir/gluon-wan.prom"
	# Every line is a comment or a sample of the exposition format.
	run ! grep -vE '^# (HELP|TYPE) gluon_wan_[a-z_]+ .+$|^gluon_wan_[a-z_]+(\{[a-z]+="[^"\\]*"\})? [0-9.e-]+$' \
		"$dir/gluon-wan.prom"
	on node nft delete table inet gluon_wan
	daemon_stop node resolver
	on node env PATH="/var/bin:$PATH" "$textfile" /var/prometheus
	grep -qx 'gluon_wan_healthy 0' "$dir/gluon-wan.prom"
	grep -qx 'gluon_wan_problems{part="redirect"} 1' "$dir/gluon-wan.prom"
	run ! grep 'gluon_wan_server_up{' "$dir/gluon-wan.prom"
	run -0 ls "$dir"
	[ "$output" = gluon-wan.prom ]
}
