# shellcheck shell=bash
# A node between a home network and the mesh, with the kernel itself as its
# network manager, and traffic that shows which way packets take.
#
#   home ---(br-wan)--- node ---(bat0)--- mesh
#   cell ---(wwan0)----- "                        second uplink, on demand
#
# Every machine on the far side has all of $FAR, so whoever gets a packet takes it.

load lab/lab

# Where marked and unmarked packets go, in IPv6 and IPv4.
readonly FAR_MARKED=2001:db8:51::2 FAR_PLAIN=2001:db8:51::3
readonly FAR4_MARKED=198.51.100.2 FAR4_PLAIN=198.51.100.3
# Routers (HOME_LL and MESH_LL are the lab's), and the prefixes they advertise.
readonly CELL_LL=fe80::88:1
readonly HOME_NET=2001:db8:77 CELL_NET=2001:db8:88 MESH_NET=2001:db8:111

# node_between [SYSCTL_VALUE]: home, mesh and node; the kernel takes router
# advertisements on the WAN in, unless the value of accept_ra says otherwise.
node_between() {
	lab_require ip nft radvd dnsmasq busybox ping || return
	lab_init || return
	local machine
	for machine in node home mesh cell; do
		machine_add "$machine" || return
	done
	far_side home lan "$HOME_LL" "$HOME_NET" 192.168.77.1/24
	far_side mesh lan "$MESH_LL" "$MESH_NET" 10.111.0.1/16
	far_side cell lan "$CELL_LL" "$CELL_NET" 192.168.88.1/24
	mkdir -p "$LAB_DIR/node/etc/config"
	printf 'gluon-fastd:x:%s:\ngluon-mesh-vpn:x:%s:\n' "$FASTD_GID" "$MESH_VPN_GID" >>"$LAB_DIR/node/etc/group"
	wan_plug && mesh_plug
}

# far_side MACHINE DEVICE ROUTER NET ADDR4: what a router there has; the device
# gets its addresses when it is plugged in.
far_side() {
	on "$1" sh -ec "
		for addr in $FAR_MARKED/128 $FAR_PLAIN/128 $FAR4_MARKED/32 $FAR4_PLAIN/32; do
			ip addr add \$addr dev lo
		done
		echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
		echo 1 >/proc/sys/net/ipv4/ip_forward
	"
	printf '%s\n' "$3/64" "$4::1/64" "$5" >"$LAB_DIR/$1/addresses"
}

# plug MACHINE DEVICE_OF_THE_NODE: a cable, with the router's addresses.
plug() {
	cable "$1" lan node "$2" || return
	on "$1" ip link set lan addrgenmode none
	on "$1" ip -6 addr flush dev lan
	local addr
	while read -r addr; do
		on "$1" ip addr add "$addr" dev lan || return
	done <"$LAB_DIR/$1/addresses"
	on node sh -c "echo 2 >/proc/sys/net/ipv6/conf/$2/accept_ra"
}

wan_plug() { plug home br-wan; }

# The mesh's side is plain and stays: an address and a default route.
mesh_plug() {
	plug mesh bat0 || return
	on node sh -ec "
		echo 0 >/proc/sys/net/ipv6/conf/bat0/accept_ra
		ip addr add $MESH_NET::2/64 dev bat0
		ip addr add 10.111.0.2/16 dev bat0
		ip -6 route add default via $MESH_LL dev bat0 metric 512
		ip route add default via 10.111.0.1 dev bat0 metric 100
	"
}

# advertise MACHINE [OPTION...]: radvd with the machine's prefix; options are
# lines of its interface block. Again with others: the old ones are replaced.
advertise() {
	local machine=$1 net=HOME_NET
	shift
	[ "$machine" != cell ] || net=CELL_NET
	local prefix="prefix ${PREFIX:-${!net}}::/64 { };"
	cat >"$LAB_DIR/$machine/radvd.conf" <<-END
		interface lan {
			AdvSendAdvert on;
			MinRtrAdvInterval 3; MaxRtrAdvInterval 4; MinDelayBetweenRAs 3;
			AdvDefaultLifetime 1800;
			$prefix
			$*
		};
	END
	if daemon_running "$machine" radvd; then
		daemon_kill "$machine" radvd HUP
	else
		daemon "$machine" radvd radvd -n -m stderr -C "$LAB_DIR/$machine/radvd.conf" -p /run/radvd.pid
	fi
}

# sh_node LINE...: several commands on the node at once, the quickest way.
sh_node() {
	on node sh -ec "$*"
}

# goes ADDR DEVICE [mark 1]: whether the node would send it there.
goes() {
	local addr=$1 device=$2
	shift 2
	on node ip route get "$addr" "$@" 2>/dev/null | grep -q " dev $device "
}

# marked DEVICE, plain DEVICE: where packets of this kind go, `lo` for nowhere.
marked() { goes "$FAR_MARKED" "$1" mark 1; }
plain() { goes "$FAR_PLAIN" "$1"; }
marked4() { goes "$FAR4_MARKED" "$1" mark 1; }
plain4() { goes "$FAR4_PLAIN" "$1"; }

# nowhere: marked packets are refused, not sent.
nowhere() {
	local said
	said=$(on node ip -6 route get "$FAR_MARKED" mark 1 2>&1) && [[ $said != unreachable* ]] && return 1
	[[ $said == *nreachable* || $said == *"No route to host"* ]]
}

nowhere4() {
	local said
	said=$(on node ip route get "$FAR4_MARKED" mark 1 2>&1) && return 1
	[[ $said == *nreachable* || $said == *"No route to host"* ]]
}

# right DEVICE: marked packets there, all others into the mesh, and main without
# a default route of the WAN.
right() {
	marked "$1" && plain bat0 && ! wan_default_in_main
}

wan_default_in_main() {
	on node ip -6 route show default | grep -q -e 'dev br-wan' -e 'dev wwan0'
}

# ours: what of ours is on the node, without lifetimes and device numbers.
ours() {
	on node sh -c '
		for family in -6 -4; do
			ip $family rule show | grep "proto 54"
			for proto in 54 55; do
				ip $family route show table all proto $proto
			done | sed "s/ expires [0-9]*sec//; s/ pref medium//; s/ *$//"
		done
	'
}

config() {
	cat >"$LAB_DIR/node/etc/config/gluon-wan"
}

ipv4_too() {
	config <<<$'config routing\n\tlist family ipv6\n\tlist family ipv4'
}

both_uplinks() {
	config <<<$'config routing\n\tlist device br-wan\n\tlist device wwan0'
}

# --- traffic ------------------------------------------------------------------

# traffic: packets of both kinds once a millisecond, from now on, counted where
# they arrive and where they leave.
traffic() {
	local machine
	for machine in home cell mesh; do
		probe "$machine" marked in iifname lan ip6 daddr "$FAR_MARKED"
		probe "$machine" plain in iifname lan ip6 daddr "$FAR_PLAIN"
	done
	# Behind the routing decision, whether or not somebody is there to get it.
	probe node marked_astray out oifname '{ bat0, lo }' ip6 daddr "$FAR_MARKED"
	probe node plain_astray out oifname '{ br-wan, wwan0 }' ip6 daddr "$FAR_PLAIN"
	daemon node ping-marked ping -q -m 1 -i 0.001 "$FAR_MARKED"
	daemon node ping-plain ping -q -i 0.001 "$FAR_PLAIN"
	wait_for 5 arrives home marked
	wait_for 5 arrives mesh plain
}

# arrives MACHINE KIND: more than until now.
arrives() {
	local before now
	before=$(seen "$1" "$2")
	sleep 0.05
	now=$(seen "$1" "$2")
	[ "$now" -gt "$before" ]
}

# stopped_more COUNT: the guard has stopped more packets than that.
stopped_more() {
	[ "$(gluon_wan status --json | jq .redirect.table.stopped)" -gt "$1" ]
}

# none_astray: not one packet of either kind went the wrong way so far.
none_astray() {
	local astray=0 title
	for title in "mesh marked" "node marked_astray" "home plain" "cell plain" "node plain_astray"; do
		# shellcheck disable=SC2086 # two words
		if [ "$(seen $title)" -ne 0 ]; then
			echo "$title: $(seen $title) packets that should not be there"
			astray=1
		fi
	done
	return $astray
}

# --- the watch -----------------------------------------------------------------

watch_up() {
	daemon node watch "$(gluon_wan_path)" sync --watch
	wait_for 5 rule_there
}

rule_there() {
	on node ip -6 rule show | grep -q '^1:.* lookup 1 proto 54' &&
		on node ip -6 route show table 1 2>/dev/null | grep -q '^unreachable default'
}

watch_log() {
	cat "$LAB_DIR/node/watch.log"
}
