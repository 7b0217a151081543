#!/bin/sh
# Stands in for netifd, odhcp6c and the hotplug script on the lab's node: what
# DHCPv4 and router advertisements of the WAN say becomes addresses, routes and
# the list of DNS servers, and goes when the link goes.
#
#   netifd.sh run DEVICE TABLE [SOURCEFILTER [RULE6]]
#                                stays; TABLE is where IPv6 routes go (ip6table);
#                                SOURCEFILTER 1 as netifd has it, 0 as Gluon's
#                                wan6; RULE6 1 with Gluon's rule and unreachable route
#   netifd.sh EVENT              called by udhcpc, with its variables
#
# SIGUSR1 asks DHCP server and router again.

state=/run/netifd
resolv=/var/gluon/wan-dnsmasq/resolv.conf

# servers FILE [ADDRESS...]: the servers one protocol has; writes what all have,
# whole or not at all, and only when it is new. udhcpc's events come while router
# discovery is at work, so one waits for the other.
servers() (
	exec 9>"$state/lock"
	flock 9
	file=$state/$1
	shift
	: >"$file"
	for address; do
		echo "nameserver $address" >>"$file"
	done
	cat "$state"/dns4 "$state"/dns6 >"$resolv.new" 2>/dev/null
	if cmp -s "$resolv.new" "$resolv"; then
		rm "$resolv.new"
	else
		mv "$resolv.new" "$resolv"
	fi
)

# shellcheck disable=SC2154 # the variables are udhcpc's
dhcp_event() {
	case $1 in
	bound | renew)
		ip -4 addr replace "$ip/$mask" dev "$interface"
		for gateway in $router; do
			ip -4 route replace default via "$gateway" dev "$interface" proto static src "$ip"
			break
		done
		# One word per server.
		# shellcheck disable=SC2086
		servers dns4 $dns
		;;
	esac
}

# The address a host makes from PREFIX::/64: the link-local one's lower half.
own_address() {
	ip -6 -o addr show dev "$device" scope link |
		sed -n "s|.* fe80::\([0-9a-f:]*\)/64 .*|${1%/64}\1|p" | head -n 1
}

# The first advertisement of the WAN's router, as `key value` lines.
advertisement() {
	rdisc6 -1 -r 1 -w 1000 "$device" | sed -n \
		-e 's/^ *Prefix *: *\([0-9a-f:]*\/64\).*/prefix \1/p' \
		-e 's/^ *Recursive DNS server *: *\([0-9a-f:]*\).*/server \1/p' \
		-e 's/^ *Router lifetime *: *\([0-9]*\).*/lifetime \1/p' \
		-e 's/^ *from \([0-9a-f:]*\).*/from \1/p'
}

# route6 ROUTE...: in the WAN's table, as netifd would.
route6() {
	ip -6 route replace "$@" table "$table" proto static
}

# policies add|del PREFIX: the rules that netifd makes by itself for an address of
# an interface with a table of its own (`ip6table`), see interface-ip.c: for
# packets from it, and to its network.
policies() {
	policy_of "$1" 10000 from "$(own_address "$2")"
	policy_of "$1" 20000 to "$2"
}

# policy_of add|del PRIORITY ARG...
policy_of() {
	[ "$table" = main ] || {
		op=$1 pref=$2
		shift 2
		ip -6 rule "$op" pref "$pref" "$@" lookup "$table" 2>/dev/null
	}
}

# flush_rules: what netifd does first: nobody's rules stay, in either family, and
# no unreachable routes (system_flush_rules and system_init of system-linux.c).
flush_rules() {
	for family in -4 -6; do
		ip "$family" rule flush
		ip "$family" rule add pref 0 lookup local 2>/dev/null
		ip "$family" rule add pref 32766 lookup main
		ip "$family" route flush table all type unreachable
	done
	ip -4 rule add pref 32767 lookup default
}

# gluons: the rule6 and route6 of Gluon's network configuration, where they are
# wanted: they would hide from most tests what gluon-wan does by itself.
gluons() {
	ip -6 rule add pref 1 fwmark 0x1/0x1 lookup "$table"
	ip -6 route add unreachable default metric 65535 table "$table" proto static
}

# default_route add|del ROUTER PREFIX: for packets from the prefix only, unless
# `sourcefilter` is off, as Gluon has it for wan6.
default_route() {
	route="default via $2 dev $device metric 512"
	[ "$sourcefilter" = 0 ] || route="default from $3 via $2 dev $device metric 512"
	# shellcheck disable=SC2086 # words
	if [ "$1" = add ]; then
		route6 $route
	else
		ip -6 route del $route table "$table" proto static 2>/dev/null
	fi
}

# forget PREFIX: that the router no longer advertises.
forget() {
	ip -6 route del "$1" dev "$device" table "$table" proto static
	[ "$sourcefilter" = 0 ] || default_route del "$router6" "$1"
	policies del "$1"
	ip -6 addr del "$(own_address "$1")/64" dev "$device"
}

router_discovery() {
	advertisement >"$state/ra"
	from='' lifetime=0 list='' old=$prefix
	while read -r key value; do
		case $key in
		prefix) prefix=$value
			ip -6 addr replace "$(own_address "$value")/64" dev "$device" noprefixroute
			policies add "$value"
			route6 "$value" dev "$device" metric 256 ;;
		from) from=$value ;;
		lifetime) lifetime=$value ;;
		server) case $value in
			fe80:*) list="$list $value%$device" ;;
			*) list="$list $value" ;;
			esac ;;
		esac
	done <"$state/ra"
	[ -n "$from" ] || return 1
	if [ "$lifetime" -gt 0 ]; then
		default_route add "$from" "$prefix"
	else
		default_route del "$from" "$prefix"
	fi
	router6=$from
	[ -z "$old" ] || [ "$old" = "$prefix" ] || forget "$old"
	# shellcheck disable=SC2086 # one word per server
	servers dns6 $list
}

link_up() {
	busybox udhcpc -f -t 5 -T 1 -A 1 -i "$device" -s "$0" &
	dhcp=$!
	want_ra=1
	index=$(cat "/sys/class/net/$device/ifindex")
	policy_of add $((90000 + index)) iif lo
}

link_down() {
	kill "$dhcp"
	wait "$dhcp"
	want_ra=0
	ip -4 route flush dev "$device" proto static
	ip -6 route flush dev "$device" table "$table" proto static
	[ -z "$prefix" ] || policies del "$prefix"
	policy_of del $((90000 + index)) iif lo
	ip -4 addr flush dev "$device"
	ip -6 addr flush dev "$device" scope global
	prefix=
	servers dns4
	servers dns6
}

renew() {
	kill -USR1 "$dhcp"
	want_ra=1
}

carrier() {
	# A device that is down or gone has none to read.
	{ read -r value <"/sys/class/net/$device/carrier"; } 2>/dev/null && [ "$value" = 1 ]
}

run() {
	device=$1 table=$2 sourcefilter=${3-0} rule6=${4-0} link=down want_ra=0 dhcp='' prefix='' index=0 router6=
	mkdir -p "$state"
	flush_rules
	[ "$rule6" = 0 ] || gluons
	trap 'renew' USR1
	trap '[ "$link" = down ] || link_down; exit 0' TERM
	while :; do
		if carrier; then now=up; else now=down; fi
		if [ "$now" != "$link" ]; then
			link=$now
			"link_$link"
		fi
		if [ "$want_ra" = 1 ] && router_discovery; then
			want_ra=0
		fi
		sleep 0.1
	done
}

case $1 in
run)
	shift
	run "$@"
	;;
*) dhcp_event "$@" ;;
esac
