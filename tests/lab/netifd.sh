#!/bin/sh
# Stands in for netifd, odhcp6c and the hotplug script on the lab's node: what
# DHCPv4 and router advertisements of the WAN say becomes addresses, routes and
# the list of DNS servers, and goes when the link goes.
#
#   netifd.sh run DEVICE TABLE   stays; TABLE is where IPv6 routes go (ip6table)
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

# forget PREFIX: that the router no longer advertises.
forget() {
	ip -6 addr del "$(own_address "$1")/64" dev "$device"
	ip -6 route del "$1" dev "$device" table "$table" proto static
}

router_discovery() {
	advertisement >"$state/ra"
	from='' lifetime=0 list='' old=$prefix
	while read -r key value; do
		case $key in
		prefix) prefix=$value
			ip -6 addr replace "$(own_address "$value")/64" dev "$device" noprefixroute
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
		route6 default via "$from" dev "$device" metric 512
	else
		ip -6 route del default via "$from" dev "$device" table "$table" proto static 2>/dev/null
	fi
	[ -z "$old" ] || [ "$old" = "$prefix" ] || forget "$old"
	# shellcheck disable=SC2086 # one word per server
	servers dns6 $list
}

link_up() {
	busybox udhcpc -f -t 5 -T 1 -A 1 -i "$device" -s "$0" &
	dhcp=$!
	want_ra=1
}

link_down() {
	kill "$dhcp"
	wait "$dhcp"
	want_ra=0 prefix=
	ip -4 addr flush dev "$device"
	ip -6 addr flush dev "$device" scope global
	ip -6 route flush dev "$device" table "$table" proto static
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
	device=$1 table=$2 link=down want_ra=0 dhcp='' prefix=
	mkdir -p "$state"
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
