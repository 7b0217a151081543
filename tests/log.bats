# What arrives at the log daemon of a node, and with which level.

bats_require_minimum_version 1.5.0
load lab/lab

setup() {
	lab_require ip nft python3
	lab_init
	machine_add node
	RECEIVED=$LAB_DIR/node/logd.log CONFIG=$LAB_DIR/node/etc/config
	# Every Gluon of today: fastd is in the group of all VPNs, and has none of its own.
	echo "gluon-mesh-vpn:x:$MESH_VPN_GID:" >>"$LAB_DIR/node/etc/group"
	mkdir -p "$LAB_DIR/node/var/gluon/wan-dnsmasq"
	echo 'nameserver 192.0.2.1' >"$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf"
	on node sh -ec '
		ip link add br-wan type bridge
		ip link set br-wan up
		mkdir /run/dev
		mount -t tmpfs none /run/dev
		for file in null zero urandom; do
			: >/run/dev/$file
			mount --bind /dev/$file /run/dev/$file
		done
		mount --move /run/dev /dev
	'
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	lab_down
}

# In place of OpenWrt's logd: prints each datagram in a line of its own.
logd_up() {
	daemon node logd python3 -uc 'if True:
		import os, socket
		if os.path.exists("/dev/log"): os.unlink("/dev/log")
		log = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		log.bind("/dev/log")
		os.chmod("/dev/log", 0o666)
		print("listening")
		while True: print(log.recv(4096).decode())'
	wait_for 5 received listening
}

# received PATTERN: among what the log daemon got.
received() {
	grep -qE -- "$1" "$RECEIVED"
}

# both_up: the two services as the init script starts them.
both_up() {
	daemon node watch "$(gluon_wan_path)" --syslog sync --watch
	daemon node resolver "$(gluon_wan_path)" --syslog resolver
	wait_for 5 on node test -e /var/run/gluon-wan/redirect.nft
	wait_for 5 on node dig +time=1 +tries=1 -p 54 @127.0.0.1 version.bind chaos txt
}

@test "a boot without trouble writes nothing above notice, and nothing to stderr" {
	logd_up
	both_up
	wait_for 5 received '^<29>[A-Z][a-z]{2} [ 1-3][0-9] [0-9:]{8} gluon-wan\[[0-9]+\]: serving DNS on '
	received '^<29>.{15} gluon-wan\[[0-9]+\]: servers: 192.0.2.1$'
	received "^<30>.{15} gluon-wan\[[0-9]+\]: group 'gluon-fastd' does not exist"
	run ! received '^<2[0-8]>'
	[ ! -s "$LAB_DIR/node/watch.log" ]
	[ ! -s "$LAB_DIR/node/resolver.log" ]
}

@test "a group of the configuration that is missing is a warning, a refused configuration an error" {
	logd_up
	printf 'config redirect\n\tlist group gluon-mesh-vpn\n\tlist group nobodys\n' >"$CONFIG/gluon-wan"
	both_up
	wait_for 5 received "^<28>.{15} gluon-wan\[[0-9]+\]: group 'nobodys' does not exist"
	printf 'config redirect\n\tlist gruop gluon-mesh-vpn\n' >"$CONFIG/gluon-wan"
	daemon_kill node watch HUP
	wait_for 5 received "^<27>.{15} gluon-wan\[[0-9]+\]: /etc/config/gluon-wan:2: option 'gruop'"
}

@test "without a log daemon the lines go to stderr; one that comes late or comes again gets them" {
	both_up
	grep -q '^gluon-wan: serving DNS on ' "$LAB_DIR/node/resolver.log"
	for _ in 1 2; do
		logd_up
		daemon_kill node watch HUP
		wait_for 5 received '^<29>.* configuration read again'
		daemon_stop node logd
	done
	[ ! -s "$LAB_DIR/node/watch.log" ] || ! grep -q 'read again' "$LAB_DIR/node/watch.log"
}
