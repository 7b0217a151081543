# shellcheck shell=bash
# The Gluon node of the lab: what a real one has before gluon-wan starts, and
# the daemons that run on it.

# The groups of Gluon, in the node's own /etc/group.
readonly FASTD_GID=800 MESH_VPN_GID=801

# node_up TABLE: WAN bridge and mesh device, the primary resolver asking the
# mesh, netifd (its stand-in) on the WAN.
node_up() {
	printf 'gluon-fastd:x:%s:\ngluon-mesh-vpn:x:%s:\n' $FASTD_GID $MESH_VPN_GID >>"$LAB_DIR/node/etc/group"
	printf 'nameserver 127.0.0.1\n' >"$LAB_DIR/node/etc/resolv.conf"
	mkdir -p "$LAB_DIR"/node/var/gluon/wan-dnsmasq
	on node sh -ec "
		ip addr add 10.111.0.2/16 dev br-client
		echo 2 >/proc/sys/net/ipv6/conf/br-client/accept_ra
		echo 1 >/proc/sys/net/ipv6/conf/wan0/disable_ipv6
	" || return
	wan_bridge_add || return
	primary_up || return
	netifd_up "$1"
	wait_for 15 node_has_mesh
}

# netifd_up TABLE [SOURCEFILTER [RULE6]]: the WAN's addresses, routes, rules and
# servers are kept from now on.
netifd_up() {
	daemon node netifd "$LAB_REPO/tests/lab/netifd.sh" run br-wan "$@"
}

# netifd_table TABLE [SOURCEFILTER [RULE6]]: netifd starts anew, with its IPv6
# routes in TABLE. As it does so, it takes everybody's rules away.
netifd_table() {
	daemon_stop node netifd
	netifd_up "$@" && node_has_wan
}

wan_bridge_add() {
	on node sh -ec "
		ip link add br-wan type bridge
		# As under OpenWrt, where odhcp6c reads them in place of the kernel.
		echo 0 >/proc/sys/net/ipv6/conf/br-wan/accept_ra
		ip link set wan0 master br-wan
		ip link set br-wan up
	"
}

# The WAN bridge goes, and comes back under another interface index.
wan_bridge_replace() {
	on node ip link del br-wan && wait_for 5 node_lost_wan && wan_bridge_add && node_has_wan
}

# Makes netifd ask DHCP server and router again.
wan_renew() {
	daemon_kill node netifd USR1
}

primary_up() {
	daemon node dnsmasq dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= \
		--log-facility=- --log-queries=extra --listen-address=127.0.0.1,::1 --bind-interfaces \
		--no-resolv --no-hosts --cache-size=0 --server="$MESH_IP6"
}

# Default route and DNS of the mesh work.
node_has_mesh() {
	on node ip -6 route show default dev br-client | grep . >/dev/null && dns_answers node 127.0.0.1
}

# The WAN's servers of both kinds have arrived, DHCPv4's and RDNSS.
node_has_wan() {
	wait_for 15 grep -qs "^nameserver $HOME_IP4" "$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf" &&
		wait_for 15 grep -qs '^nameserver fe80::.*%br-wan' "$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf"
}

node_lost_wan() {
	[ ! -s "$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf" ]
}

# node_fastd [ipv4|ipv6]: the node's fastd as Gluon configures it: group, mark, a
# peer known by name, with addresses of one family or of both.
# It is in the group from its first instruction on: fastd 22 looks the peer up in
# a thread that it starts before it changes its group, and when the thread is
# faster, the first answer is the primary resolver's and counts for 15 s.
node_fastd() {
	fastd_config node <<-END
		group "gluon-fastd";
		packet mark 1;
		on up "ip addr add $TUNNEL_NODE/64 dev \$INTERFACE; ip link set up dev \$INTERFACE";
		peer "vpn" {
			key "$(<"$LAB_DIR/vpn/fastd.public")";
			remote ${1-} "$VPN_NAME" port $VPN_PORT;
		}
	END
	daemon node fastd setpriv --regid "$FASTD_GID" --clear-groups -- fastd --config "$LAB_DIR/node/fastd.conf"
}

# tunnel_works: something that only went through fastd came back.
tunnel_works() {
	on node ping -c 1 -W 1 "$TUNNEL_VPN" >/dev/null 2>&1
}

# The program under test: GLUON_WAN, or what was built last.
gluon_wan_path() {
	local newest
	if [ -n "${GLUON_WAN-}" ]; then
		echo "$GLUON_WAN"
		return
	fi
	# shellcheck disable=SC2012 # the names are ours
	newest=$(ls -t "$LAB_REPO"/target/{debug,release}/gluon-wan 2>/dev/null | head -n 1)
	[ -n "$newest" ] || lab_fail "gluon-wan is not built: make build" || return
	echo "$newest"
}

# node_state: all that gluon-wan could have changed in the node's kernel, in an
# order and a form that can be compared. Counters and lifetimes are left out.
node_state() {
	on node sh -c '
		nft -s list ruleset
		for family in -4 -6; do
			ip $family rule show
			ip $family route show table all | sed "s/ expires [0-9]*sec//; s/ *$//" | sort
		done
	'
}

# gluon_wan ARG...: runs it on the node.
gluon_wan() {
	on node "$(gluon_wan_path)" "$@"
}

# The resolver as a daemon, serving when this returns.
resolver_up() {
	daemon node resolver "$(gluon_wan_path)" resolver &&
		wait_for 5 resolver_answers
}

resolver_answers() {
	on node dig +time=1 +tries=1 -p 54 @127.0.0.1 "$VPN_NAME" 2>/dev/null | grep 'HEADER' >/dev/null
}
