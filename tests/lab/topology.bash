# shellcheck shell=bash
# The network of the lab: who is connected to whom, and who serves what.
#
#   vpn ---(internet)--- home ---(WAN)--- node ---(mesh)--- mesh
#
# home  home router: DHCPv4, router advertisements with RDNSS, a DNS that knows
#       the VPN server's name and nothing else, the way to the internet
# vpn   VPN server: a real fastd, UDP port 10000, IPv4 and IPv6
# mesh  mesh gateway: router advertisements with a default route, and a DNS that
#       answers the VPN server's name with another address
# node  the Gluon node: see node.bash

# The addresses are from the ranges for documentation and for private use.
readonly VPN_NAME=vpn.example.org
readonly VPN_IP4=198.51.100.2 VPN_IP6=2001:db8:51::2 VPN_PORT=10000
readonly HOME_IP4=192.168.77.1 HOME_IP6=2001:db8:77::1 HOME_LL=fe80::77:1
readonly MESH_IP4=10.111.0.1 MESH_IP6=fdca:ffee:111::1 MESH_LL=fe80::111:1
# What the mesh's DNS says instead, and an address behind the mesh that exists.
readonly FAKE_IP4=203.0.113.66 FAKE_IP6=2001:db8:bad::66
# Inside the tunnel.
# shellcheck disable=SC2034 # node.bash uses it
readonly TUNNEL_VPN=fd00:7::1 TUNNEL_NODE=fd00:7::2

# All of it, with the WAN plugged in; returns once the node has its WAN servers.
# WAN_TABLE=1 makes the node's netifd put IPv6 routes of the WAN in table 1
# (`ip6table`, Gluon's default), WAN_TABLE=main in main.
lab_up() {
	lab_require unshare nsenter setpriv timeout ip nft dnsmasq fastd busybox rdisc6 dig ping || return
	lab_init || return
	local name
	for name in home vpn mesh node; do
		machine_add "$name" || return
	done
	cable vpn internet home internet &&
		cable home lan node wan0 &&
		cable mesh lan node br-client || return
	vpn_up && home_up && mesh_up && node_up "${WAN_TABLE:-1}" || return
	node_has_wan
}

home_up() {
	on home sh -ec "
		ip addr add 198.51.100.1/24 dev internet
		ip addr add 2001:db8:51::1/64 dev internet
		ip link set lan addrgenmode none
		ip -6 addr flush dev lan
		ip addr add $HOME_IP4/24 dev lan
		ip addr add $HOME_IP6/64 dev lan
		ip addr add $HOME_LL/64 dev lan
		echo 1 >/proc/sys/net/ipv4/ip_forward
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
	" || return
	# shellcheck disable=SC2119 # it may have options, and has none
	home_dns_up
}

# home_dns_up [OPTION...]: one dnsmasq, as in many home routers, with more of its
# options; RA_LIFETIME is what it advertises as a router. RDNSS is the link-local
# address, which only works together with the device: the harder case.
# shellcheck disable=SC2120
home_dns_up() {
	daemon home dnsmasq dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= \
		--log-facility=- --log-queries=extra --log-dhcp \
		--interface=lan --except-interface=lo --bind-dynamic \
		--no-resolv --no-hosts --local-ttl=5 \
		--host-record="$VPN_NAME,$VPN_IP4,$VPN_IP6" --txt-record="$VPN_NAME,home" \
		--dhcp-leasefile=/var/lib/misc/leases --dhcp-range=192.168.77.100,192.168.77.199,1h \
		--dhcp-range=::,constructor:lan,ra-only,1h --enable-ra --ra-param=lan,60,"${RA_LIFETIME:-1800}" \
		--no-ping \
		--dhcp-option='option6:dns-server,[fe80::]' "$@" || return
	wait_for 5 dns_answers home "$HOME_IP4"
}

# fastd on IPv4 and IPv6, at the port that Gluon's sites use first.
vpn_up() {
	on vpn sh -ec "
		ip addr add $VPN_IP4/24 dev internet
		ip addr add $VPN_IP6/64 dev internet
		ip route add 192.168.77.0/24 via 198.51.100.1
		ip -6 route add 2001:db8:77::/64 via 2001:db8:51::1
	" || return
	fastd_keys vpn && fastd_keys node || return
	fastd_config vpn <<-END
		bind any:$VPN_PORT;
		on up "ip addr add $TUNNEL_VPN/64 dev \$INTERFACE; ip link set up dev \$INTERFACE";
		peer "node" { key "$(<"$LAB_DIR/node/fastd.public")"; }
	END
	vpn_fastd
}

# vpn_fastd: starts the server's fastd, or starts it anew: one that still has a
# session with the node takes a new handshake only after a while.
vpn_fastd() {
	daemon_stop vpn fastd
	daemon vpn fastd fastd --config "$LAB_DIR/vpn/fastd.conf"
}

# Its default route is for all of the mesh; what the node sends to the internet
# by mistake ends here.
mesh_up() {
	on mesh sh -ec "
		ip link set lan addrgenmode none
		ip -6 addr flush dev lan
		ip addr add $MESH_IP4/16 dev lan
		ip addr add $MESH_IP6/64 dev lan
		ip addr add $MESH_LL/64 dev lan
		ip addr add $FAKE_IP4/32 dev lo
		ip addr add $FAKE_IP6/128 dev lo
		# A router says so in its neighbour advertisements; otherwise the node
		# forgets the default route as soon as it checks whether it is there.
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
	" || return
	daemon mesh dnsmasq dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= \
		--log-facility=- --log-queries=extra \
		--interface=lan --except-interface=lo --bind-dynamic \
		--no-resolv --no-hosts --local-ttl=5 \
		--host-record="$VPN_NAME,$FAKE_IP4,$FAKE_IP6" --txt-record="$VPN_NAME,mesh" \
		--dhcp-range=::,constructor:lan,ra-only,1h --enable-ra --ra-param=lan,60,1800 || return
	wait_for 5 dns_answers mesh "$MESH_IP4"
}

# dns_answers NAME SERVER: as seen from machine NAME itself.
dns_answers() {
	on "$1" dig +time=1 +tries=1 +short "@$2" "$VPN_NAME" 2>/dev/null | grep '^[0-9]' >/dev/null
}

fastd_keys() {
	local base=$LAB_DIR/$1/fastd
	fastd --generate-key --machine-readable >"$base.secret" || return
	printf 'secret "%s";\n' "$(<"$base.secret")" >"$base.conf"
	fastd --config "$base.conf" --show-key --machine-readable >"$base.public"
}

# fastd_config NAME <LINES: what both ends share, and LINES.
fastd_config() {
	{
		cat <<-END
			log level debug;
			mode tap;
			interface "mesh-vpn";
			mtu 1312;
			method "salsa2012+umac";
			secure handshakes yes;
			secret "$(<"$LAB_DIR/$1/fastd.secret")";
		END
		cat
	} >"$LAB_DIR/$1/fastd.conf"
}

# wan_down, wan_up: the cable to the home router is pulled and plugged in again;
# netifd has seen it when they return.
wan_down() {
	on home ip link set lan down
	wait_for 5 node_lost_wan
}

wan_up() {
	on home sh -ec "
		ip link set lan up
		ip addr replace $HOME_IP6/64 dev lan
		ip addr replace $HOME_LL/64 dev lan
	"
	node_has_wan
}
