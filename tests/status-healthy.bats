# Nodes on which all is well, each another one: `gluon-wan status` calls none of
# them unhealthy.

bats_require_minimum_version 1.5.0
load lab/lab

setup() {
	lab_init
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	lab_down
}

# pick WORD...: one of them.
pick() {
	shift $((RANDOM % $#))
	echo "$1"
}

# node NAME: a node with a WAN and a mesh, and whatever else routers have that is
# in nobody's way. All of it depends on RANDOM alone.
node() {
	local name=$1 wan net mark table priority family four i
	wan=$(pick br-wan eth0.2 pppoe-wan wwan0)
	net=$((RANDOM % 200 + 10))
	mark=$(pick 0x1/0x1 0x100/0x100 0x8000/0xf000 0x1)
	table=$(pick 1 7 200 1000)
	priority=$(pick 1 1 50 5000)
	four=$(pick '' "list family ipv4")
	machine_add "$name"
	printf 'gluon-fastd:x:800:\n' >"$LAB_DIR/$name/group"
	cat "$LAB_DIR/$name/etc/group" >>"$LAB_DIR/$name/group"
	mv "$LAB_DIR/$name/group" "$LAB_DIR/$name/etc/group"
	cat >"$LAB_DIR/$name/etc/config/gluon-wan" <<-END
		config redirect
			list group gluon-fastd
			option include '$(pick /var/run/gluon-wan/redirect.nft '')'

		config routing
			list device '$wan'
			list family ipv6
			$four
			option mark '$mark'
			option table '$table'
			option priority '$priority'
	END
	printf "config static\n\tlist server '%s'\n" "$(pick "192.168.$net.1" "fe80::1%$wan" "2001:db8:$net::1")" \
		>"$LAB_DIR/$name/etc/config/gluon-wan-dnsmasq"
	on "$name" sh -ec "
		for one in $wan bat0; do
			ip link add \$one type veth peer name far-\$one
			echo 0 >/proc/sys/net/ipv6/conf/\$one/accept_ra
			echo 0 >/proc/sys/net/ipv4/conf/\$one/rp_filter 2>/dev/null || true
			ip link set far-\$one up
			ip link set \$one up
		done 2>/dev/null
		echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
		ip -6 addr add 2001:db8:$net::2/64 dev $wan nodad
		ip addr add 192.168.$net.2/24 dev $wan
		ip -6 addr add fdca:$net::2/64 dev bat0 nodad
		ip addr add 10.$net.0.2/16 dev bat0
	"
	on "$name" ip -6 route add default via fe80::1 dev "$wan" proto static metric $((RANDOM % 5000 + 1)) \
		table "$(pick main "$table")"
	[ $((RANDOM % 2)) = 0 ] || on "$name" ip route add default via "192.168.$net.1" dev "$wan" proto static
	# The mesh has a gateway, in IPv6 always.
	on "$name" ip -6 route add default via fe80::99 dev bat0 metric $((RANDOM % 5000 + 1))
	[ -z "$four" ] || on "$name" ip route add default via "10.$net.0.1" dev bat0 metric 9000
	for i in 1 2 3; do
		family=$(pick -4 -6)
		case $((RANDOM % 8)) in
		0) on "$name" ip "$family" rule add pref 10000 iif bat0 lookup 52 || true ;;
		1) on "$name" ip "$family" rule add pref 9000 fwmark 0x20000/0xff0000 lookup 52 || true ;;
		2) on "$name" ip "$family" rule add pref 9001 uidrange 4000-5000 lookup 52 || true ;;
		3) on "$name" ip "$family" rule add pref 4200000001 iif lo unreachable || true ;;
		4) on "$name" nft "add table inet fw$i; add chain inet fw$i output { type filter hook output priority 0; }
			add chain inet fw$i mine; add rule inet fw$i output oifname lo accept
			add rule inet fw$i output ct state established,related accept
			add rule inet fw$i output ct state invalid drop; add rule inet fw$i output jump mine
			add rule inet fw$i mine meta l4proto tcp tcp dport { 25, 465 } drop" ;;
		5) on "$name" nft "add table inet qos$i; add chain inet qos$i o { type route hook output priority mangle; }
			add rule inet qos$i o udp dport 123 meta mark set meta mark or 0x40000" ;;
		6) on "$name" nft "add table inet nat$i; add chain inet nat$i o { type nat hook output priority -100; }
			add rule inet nat$i o ip daddr 203.0.113.7 tcp dport 80 redirect to :8080" ;;
		7) on "$name" nft "add table inet raw$i; add chain inet raw$i o { type filter hook output priority raw; }
			add rule inet raw$i o oifname lo udp dport 9999 notrack" ;;
		esac
	done 2>/dev/null
	return 0
}

@test "ten random nodes without a false alarm" {
	for seed in $(seq 10); do
		RANDOM=$seed
		node "n$seed"
		on "n$seed" "$(gluon_wan_path)" sync || { cat "$LAB_DIR/n$seed/etc/config/gluon-wan"; return 1; }
		daemon "n$seed" resolver "$(gluon_wan_path)" resolver
		wait_for 5 on "n$seed" sh -c 'grep -q :0036 /proc/net/udp'
		run on "n$seed" "$(gluon_wan_path)" status
		[ "$status" -eq 0 ] || {
			printf '%s\n' "seed $seed" "$output"
			cat "$LAB_DIR/n$seed/etc/config/gluon-wan"
			on "n$seed" sh -c 'ip -6 rule; ip -6 route show table all; ip route; nft list ruleset'
			return 1
		}
		daemon_stop "n$seed" resolver
	done
}
