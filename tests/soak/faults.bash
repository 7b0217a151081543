# shellcheck shell=bash
# The faults: what happens to a node in years. Each is a pair of functions,
# do_NAME and undo_NAME. They take what is by chance from `pick`, so that a seed
# repeats it.
#
#   fault NAME SUBJECT STANDING TAKES
#     SUBJECT   two faults at once have different ones
#     STANDING  `serves`: with the fault in force, queries are answered, and rules,
#               table and include are as they must be; `-`: not before it is undone
#     TAKES     what it takes away with its own hands, so that packets may go
#               astray until the watch has seen it: `redirect` queries of the
#               groups, `rules` nothing, because nftables holds what is marked, and
#               `redirect` with `rules` marked packets as well; `-`: nothing

FAULTS=()
# shellcheck disable=SC2034 # run reads them
declare -A SUBJECT STANDING TAKES

fault() {
	FAULTS+=("$1")
	# shellcheck disable=SC2034 # run reads them
	SUBJECT[$1]=$2 STANDING[$1]=$3 TAKES[$1]=$4
}

# pick N: REPLY is one of 0..N-1. Never in a subshell, which has luck of its own.
pick() {
	REPLY=$((RANDOM % $1))
}

nothing_to_undo() {
	eval "undo_$1() { :; }"
}

# --- the WAN -----------------------------------------------------------------------

# The cable has a bad contact.
fault wan_flaps wan - -
do_wan_flaps() {
	pick 4
	on home sh -c '
		for time in $(seq "$1"); do ip link set lan down; sleep 0.0$time; ip link set lan up; sleep 0.0$time; done
		ip link set lan down
	' flaps $((REPLY + 1))
}
undo_wan_flaps() {
	wan_up
}

# ifdown wan, ifup wan.
fault wan_set_down wan - -
do_wan_set_down() {
	on node ip link set br-wan down && wait_for 5 node_lost_wan
}
undo_wan_set_down() {
	on node ip link set br-wan up && node_has_wan
}

# network restart: the device comes back under another index.
fault wan_replaced wan - -
do_wan_replaced() {
	on node ip link del br-wan && wait_for 5 node_lost_wan
}
undo_wan_replaced() {
	wan_bridge_add && node_has_wan
}

# The provider gives another prefix, and another router has it.
fault wan_renumbered wan serves -
do_wan_renumbered() {
	home_is 2001:db8:78::1 fe80::77:2
}
undo_wan_renumbered() {
	home_is "$HOME_IP6" "$HOME_LL"
}

# home_is ADDR6 LINK_LOCAL: the home router has these, and says so.
home_is() {
	daemon_stop home dnsmasq
	on home sh -ec 'ip -6 addr flush dev lan; ip addr add "$1/64" dev lan; ip addr add "$2/64" dev lan' home "$1" "$2"
	home_dns_up && wan_renew && wait_for 10 grep -q "^nameserver $2%" "$RESOLV"
}

# The home router has no IPv6 uplink for a while.
fault wan_no_router wan serves -
do_wan_no_router() {
	daemon_stop home dnsmasq
	RA_LIFETIME=0 home_dns_up && wan_renew && wait_for 5 wan_has_no_router
}
undo_wan_no_router() {
	daemon_stop home dnsmasq
	home_dns_up && wan_renew && wait_for 5 goes "$VPN_IP6" br-wan mark 1
}
wan_has_no_router() {
	! goes "$VPN_IP6" br-wan mark 1
}

# DHCP names other servers: one that is, one that is not.
fault wan_other_servers wan serves -
do_wan_other_servers() {
	daemon_stop home dnsmasq
	on home ip addr add 192.168.77.53/24 dev lan
	home_dns_up --dhcp-option=option:dns-server,192.168.77.54,192.168.77.53 && wan_renew &&
		wait_for 10 grep -qx 'nameserver 192.168.77.53' "$RESOLV"
}
undo_wan_other_servers() {
	daemon_stop home dnsmasq
	on home ip addr del 192.168.77.53/24 dev lan
	home_dns_up && wan_renew && wait_for 10 grep -qx "nameserver $HOME_IP4" "$RESOLV"
}

# netifd without `ip6table`: the WAN's default route comes to main.
fault wan_in_main wan serves -
do_wan_in_main() {
	netifd_table main
}
undo_wan_in_main() {
	daemon_stop node netifd
	on node sh -c 'ip link set br-wan down; ip link set br-wan up'
	netifd_up 1 && node_has_wan
}

# Whoever writes the resolv file does it badly.
resolv_put_back() {
	rm -rf "$RESOLV"
	cp "$LAB_DIR/resolv" "$RESOLV.new" && mv "$RESOLV.new" "$RESOLV"
}

# Not renamed, written in place, and the power fails in the middle.
fault resolv_half_written wan - -
do_resolv_half_written() {
	cp "$RESOLV" "$LAB_DIR/resolv"
	pick "$(stat -c %s "$RESOLV")"
	head -c "$REPLY" "$LAB_DIR/resolv" >"$RESOLV"
}
undo_resolv_half_written() { resolv_put_back; }

fault resolv_unreadable wan - -
do_resolv_unreadable() {
	cp "$RESOLV" "$LAB_DIR/resolv"
	pick 4
	case $REPLY in
	0) chmod 000 "$RESOLV" ;;
	1) rm "$RESOLV" && mkdir "$RESOLV" ;;
	2) ln -sfn resolv.conf "$RESOLV" ;;
	3) rm "$RESOLV" ;;
	esac
}
undo_resolv_unreadable() { resolv_put_back; }

fault resolv_garbage wan - -
do_resolv_garbage() {
	cp "$RESOLV" "$LAB_DIR/resolv"
	yes $'nameserver 127.0.0.1\001\377\nnameserver fe80::1%\nnameserver 127.0.0.1#54' | head -c 300000 >"$RESOLV"
}
undo_resolv_garbage() { resolv_put_back; }

# --- the WAN's DNS servers -------------------------------------------------------------

# home_dns_does RULE...: to what comes for its DNS, in a chain made by the first line.
home_dns_does() {
	on home nft -f - <<-END
		table inet soak_dns {
			chain dns {
				type $1
				iifname "lan" $2
			}
		}
	END
}
home_dns_serves() {
	on home nft delete table inet soak_dns
}

fault dns_silent dns - -
do_dns_silent() {
	# Of TCP the first packet, see home_dns_deaf_on.
	home_dns_does 'filter hook prerouting priority -300;' 'udp dport 53 drop
		iifname "lan" tcp dport 53 tcp flags & (syn | ack) == syn drop'
}
undo_dns_silent() { home_dns_serves; }

fault dns_refuses dns - -
do_dns_refuses() {
	home_dns_does 'filter hook input priority 0;' 'meta l4proto { tcp, udp } th dport 53 reject'
}
undo_dns_refuses() { home_dns_serves; }

# Wrong id, wrong question, SERVFAIL, garbage.
fault dns_lies dns - -
do_dns_lies() {
	home_dns_does 'nat hook prerouting priority -100;' 'udp dport 53 redirect to :5300'
}
undo_dns_lies() { home_dns_serves; }

# --- the firewall -------------------------------------------------------------------------

# /etc/init.d/firewall stop and start.
fault firewall_stops firewall serves redirect
do_firewall_stops() {
	on node nft flush ruleset
}
undo_firewall_stops() { fw_load; }

fault firewall_reloads firewall serves -
do_firewall_reloads() {
	pick 5
	while fw_load && [ "$REPLY" -gt 0 ]; do
		REPLY=$((REPLY - 1))
	done
}
nothing_to_undo firewall_reloads

# A user's script that flushes again and again.
fault ruleset_flushed firewall serves redirect
do_ruleset_flushed() {
	pick 3
	on node sh -c 'for time in $(seq "$1"); do nft flush ruleset; sleep 0.0$time; done' flush $((REPLY + 2))
}
undo_ruleset_flushed() { fw_load; }

# Somebody has a hand in our table.
fault table_touched firewall serves redirect
do_table_touched() {
	pick 4
	case $REPLY in
	0) on node nft delete table inet gluon_wan ;;
	1) on node nft flush chain inet gluon_wan dns_redirect ;;
	2) on node nft insert rule inet gluon_wan dns_redirect accept ;;
	3) on node nft add table inet gluon_wan '{ flags dormant; }' ;;
	esac
}
nothing_to_undo table_touched

# More news of nftables than the watch's socket holds, ours among it.
fault nft_burst firewall serves -
do_nft_burst() {
	overflow on node sh -c '
		{
			echo "add table ip burst; add chain ip burst c"
			for n in $(seq 4000); do echo "add rule ip burst c ip saddr 198.51.100.$((n % 250)) counter"; done
		} | nft -f -
		nft delete table ip burst
		nft add rule inet gluon_wan dns_redirect counter
	'
}
nothing_to_undo nft_burst

# --- rules and routes -------------------------------------------------------------------

# ip -6 rule flush, and a script that knows of main alone.
fault rules_flushed routing serves rules
do_rules_flushed() {
	# A flush gives up at a rule that the watch has taken away meanwhile.
	on node sh -c 'for i in 1 2 3 4 5; do ip -6 rule flush && break; done 2>/dev/null
		ip -6 rule add pref 32766 lookup main'
}
nothing_to_undo rules_flushed

# A start of netifd deletes all rules and unreachable routes that are not its own.
fault netifd_starts routing serves rules
do_netifd_starts() {
	on node sh -c 'printf "%s\n" "rule del pref 1" "rule del pref 2" "route del default table 1 metric 65535" |
		ip -6 -force -batch -' 2>/dev/null
	return 0
}
nothing_to_undo netifd_starts

fault rule_deleted routing serves -
do_rule_deleted() {
	pick 2
	on node ip -6 rule del pref $((REPLY + 1))
}
nothing_to_undo rule_deleted

fault route_deleted routing serves -
do_route_deleted() {
	pick 2
	case $REPLY in
	0) on node ip -6 route del default table 1 metric 65535 ;;
	# Not there while the WAN is not.
	1) on node ip -6 route del fe80::/64 dev br-wan table 1 proto 54 2>/dev/null || : ;;
	esac
}
nothing_to_undo route_deleted

# The mesh's routes come and go, more than the watch's socket holds.
fault route_burst routing serves -
do_route_burst() {
	overflow on node sh -c '
		for verb in replace del; do
			for n in $(seq 4000); do echo "route $verb 2001:db8:b:$(printf %x "$n")::/64 dev br-client table 77"; done
		done | ip -6 -force -batch -
		ip -6 rule del pref 2
	'
}
nothing_to_undo route_burst

# overflow CMD...: CMD while the watch does not listen, as on a router that is too
# busy for it; fails when that was not too much for its sockets. What concerns us
# comes last in CMD, when nothing is taken in any longer.
overflow() {
	local before
	before=$(dropped)
	signal STOP watch
	"$@"
	signal CONT watch
	[ "$(dropped)" -gt "$before" ] || lab_fail "no netlink socket has overflowed"
}

# dropped: by all netlink sockets of the node.
dropped() {
	on node awk 'NR > 1 { n += $9 } END { print n }' /proc/net/netlink
}

# --- the processes --------------------------------------------------------------------------

# Out of memory.
fault resolver_killed process - -
do_resolver_killed() {
	signal KILL resolver
}
nothing_to_undo resolver_killed

# In the middle of its work, if it hits.
fault watch_killed process - -
do_watch_killed() {
	pick 30
	on node rm -f "$INCLUDE"
	signal HUP watch
	sleep "0.0$(printf %02d "$REPLY")"
	signal KILL watch
}
nothing_to_undo watch_killed

# A script that reloads in a loop.
fault hangup_storm process serves -
do_hangup_storm() {
	on node sh -c '
		for time in $(seq 10); do
			for time in $(seq 30); do kill -HUP $(cat /run/soak/*.pid); done
			sleep 0.01
		done
	' 2>/dev/null
	return 0
}
nothing_to_undo hangup_storm

# Asleep, or starved: every time of theirs is over at once.
fault frozen process - -
do_frozen() {
	signal STOP resolver watch
	pick 10
	sleep "0.$REPLY"
}
undo_frozen() {
	signal CONT resolver watch
}

# NTP has found the time: years, in either direction.
fault clock_jumps process serves -
do_clock_jumps() {
	pick 20
	clock_set $(((REPLY - 10) * 40000000))
}
undo_clock_jumps() {
	clock_set 0
}

# --- files --------------------------------------------------------------------------------------

# /var/run is memory, and has none left when the include must be written.
fault run_full files - -
do_run_full() {
	local told
	told=$(no_space_told)
	on node sh -c 'rm -f "$1"; dd if=/dev/zero of="${1%/*}/full" bs=1k' full "$INCLUDE" 2>/dev/null
	signal HUP watch
	wait_for 5 no_space_since "$told"
}
undo_run_full() {
	on node rm -f /run/gluon-wan/full
}
no_space_told() {
	grep -c 'No space left' "$LAB_DIR/node/watch.log"
}
# The room of what a killed process left is enough for the new file.
no_space_since() {
	[ "$(no_space_told)" -gt "$1" ] || on node test -e "$INCLUDE"
}

# A configuration that is not one must not change anything.
fault config_half_written files serves -
do_config_half_written() {
	local whole=$'config redirect\n\tlist group 1234\nconfig routing\n\toption table \'7\'\n\toption mark \'0x2/0x2\'\n\toption prio'
	pick 30
	head -c $((${#whole} - REPLY)) <<<"$whole" >"$LAB_DIR/node/etc/config/gluon-wan"
	printf "\n\toption 'table" >>"$LAB_DIR/node/etc/config/gluon-wan"
	signal HUP watch resolver
}
undo_config_half_written() { config_put_back; }

fault config_unreadable files serves -
do_config_unreadable() {
	pick 3
	case $REPLY in
	0) mkdir "$LAB_DIR/node/etc/config/gluon-wan" ;;
	1) ln -s gluon-wan "$LAB_DIR/node/etc/config/gluon-wan" ;;
	2) yes $'\377\001 config' | head -c 100000 >"$LAB_DIR/node/etc/config/gluon-wan" ;;
	esac
	signal HUP watch resolver
}
undo_config_unreadable() { config_put_back; }

config_put_back() {
	rm -rf "$LAB_DIR/node/etc/config/gluon-wan"
	signal HUP watch resolver
}
