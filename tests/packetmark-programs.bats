# libpacketmark.so under real programs: everything they send carries the mark.
# Each is run twice on the lab's node, with the library and without, so that what
# counts marked and unmarked packets is known to tell them apart.

bats_require_minimum_version 1.5.0
load lab/lab
load packetmark/build

setup_file() {
	packetmark_built
	lab_up
	build_programs "$LAB_DIR"
	mkdir "$LAB_DIR/www"
	echo "from the vpn" >"$LAB_DIR/www/index.html"
	daemon vpn httpd busybox httpd -f -p 80 -h "$LAB_DIR/www"
	on node ip -6 rule add pref 1 fwmark 0x1/0x1 lookup 1
	syslog_up
}

# A system log of the node's own, /run/messages. The computer's /dev/log is not
# touched, nor read. The new /dev is whole when it appears, or else somebody's
# 2>/dev/null makes a file there.
syslog_up() {
	on node sh -ec "
		mkdir /run/dev
		mount -t tmpfs dev /run/dev
		mkdir /run/dev/net
		mknod -m 666 /run/dev/null c 1 3
		mknod -m 666 /run/dev/urandom c 1 9
		mknod /run/dev/net/tun c 10 200
		mount --bind /run/dev /dev
	"
	daemon node syslogd busybox syslogd -n -O /run/messages
	wait_for 5 test -S "/proc/$(<"$LAB_DIR/node/holder")/root/dev/log"
}

teardown_file() {
	lab_down
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	daemon_stop node fastd
	daemon_stop node forwarder
	on node nft delete table inet lab_probe 2>/dev/null || true
}

# watch MATCH: counts what matches from now on.
watch() {
	probe node marked out "$1" meta mark 1
	probe node unmarked out "$1" meta mark != 1
	probe node leaked out "$1" meta mark 1 oifname br-client
}

with_library() {
	on node env LD_PRELOAD="$LIBPACKETMARK" LIBPACKETMARK_MARK=1 "$@"
}

all_marked() {
	[ "$(seen node marked)" -gt 0 ]
	[ "$(seen node unmarked)" -eq 0 ]
	[ "$(seen node leaked)" -eq 0 ]
	probe_reset node
}

# For those that send when they please.
sent() {
	[ $(($(seen node marked) + $(seen node unmarked))) -gt 0 ]
}

none_marked() {
	[ "$(seen node marked)" -eq 0 ]
	[ "$(seen node unmarked)" -gt 0 ]
	probe_reset node
}

# marks MATCH EXPECTED CMD...: CMD prints EXPECTED and sends what matches.
marks() {
	local match=$1 expected=$2
	shift 2
	watch "$match"
	run -0 with_library "$@"
	[[ $output == *"$expected"* ]]
	[[ $output != *libpacketmark* ]]
	all_marked
	# It may find nothing without the mark: the mesh has no way to the VPN server.
	run on node "$@"
	none_marked
	on node nft delete table inet lab_probe
}

readonly TO_VPN4="ip daddr $VPN_IP4" TO_VPN6="ip6 daddr $VPN_IP6"

@test "dig, UDP and TCP" {
	marks "ip daddr $HOME_IP4 udp dport 53" '"home"' dig +short "@$HOME_IP4" "$VPN_NAME" TXT
	marks "ip daddr $HOME_IP4 tcp dport 53" '"home"' dig +tcp +short "@$HOME_IP4" "$VPN_NAME" TXT
	marks "ip6 daddr $HOME_LL udp dport 53" '"home"' dig +short "@$HOME_LL%br-wan" "$VPN_NAME" TXT
}

@test "curl" {
	marks "$TO_VPN4 tcp dport 80" "from the vpn" curl -sS --max-time 5 "http://$VPN_IP4/"
	marks "$TO_VPN6 tcp dport 80" "from the vpn" curl -sS --max-time 5 "http://[$VPN_IP6]/"
}

@test "busybox wget" {
	marks "$TO_VPN4 tcp dport 80" "from the vpn" busybox wget -q -O - "http://$VPN_IP4/"
	marks "$TO_VPN6 tcp dport 80" "from the vpn" busybox wget -q -O - "http://[$VPN_IP6]/"
}

@test "busybox nslookup" {
	marks "ip daddr $HOME_IP4 udp dport 53" "$VPN_IP4" busybox nslookup "$VPN_NAME" "$HOME_IP4"
}

@test "ping, of iputils and of busybox" {
	marks "$TO_VPN4 icmp type echo-request" "1 received" ping -c 1 -W 5 "$VPN_IP4"
	marks "$TO_VPN6 icmpv6 type echo-request" "1 received" ping -c 1 -W 5 "$VPN_IP6"
	marks "$TO_VPN4 icmp type echo-request" "1 packets received" busybox ping -c 1 -W 5 "$VPN_IP4"
}

@test "Python" {
	local fetch='import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read())'
	marks "$TO_VPN4 tcp dport 80" "from the vpn" python3 -c "$fetch" "http://$VPN_IP4/"
	marks "$TO_VPN6 tcp dport 80" "from the vpn" python3 -c "$fetch" "http://[$VPN_IP6]/"
}

@test "a program of musl" {
	marks "$TO_VPN4 tcp dport 80" "from the vpn" "$LAB_DIR/musl/sockets" fetch "$VPN_IP4"
	marks "$TO_VPN6 tcp dport 80" "from the vpn" "$LAB_DIR/musl/sockets" fetch "$VPN_IP6"
}

# fastd_to ADDRESS [LINE]: a fastd without `packet mark`, and what else it is told.
fastd_to() {
	fastd_config node <<-END
		${2-}
		on up "ip addr add $TUNNEL_NODE/64 dev \$INTERFACE; ip link set up dev \$INTERFACE";
		peer "vpn" {
			key "$(<"$LAB_DIR/vpn/fastd.public")";
			remote "$1" port $VPN_PORT;
		}
	END
	: >"$LAB_DIR/node/fastd.log"
}

marked_fastd() {
	daemon node fastd env LD_PRELOAD="$LIBPACKETMARK" LIBPACKETMARK_MARK=1 \
		fastd --config "$LAB_DIR/node/fastd.conf"
}

@test "fastd" {
	watch "udp dport $VPN_PORT"
	fastd_to "$VPN_IP6" 'drop capabilities no;'
	marked_fastd
	wait_for 15 tunnel_works
	all_marked
	daemon_stop node fastd
	fastd_to "$VPN_IP4"
	probe_reset node
	daemon node fastd fastd --config "$LAB_DIR/node/fastd.conf"
	wait_for 10 sent
	none_marked
}

@test "fastd that drops its capabilities says that its mark is lost, once" {
	watch "udp dport $VPN_PORT"
	fastd_to "$VPN_IP4"
	marked_fastd
	wait_for 10 sent
	none_marked
	[ "$(grep -c 'fastd: libpacketmark: cannot set mark 1' "$LAB_DIR/node/fastd.log")" -eq 1 ]
}

# forwarder ENV... -- ARG...: dnsmasq as Gluon's init script starts it. Debian's
# knows no --enable-ubus, which Gluon gives it so that it keeps CAP_NET_ADMIN.
forwarder() {
	local environment=()
	while [ "$1" != -- ]; do
		environment+=("$1")
		shift
	done
	shift
	daemon node forwarder env "${environment[@]}" dnsmasq --conf-file=/dev/null \
		--user=dnsmasq --group=dnsmasq --interface=lo --port=54 --no-hosts --keep-in-foreground \
		--pid-file=/run/forwarder.pid --cache-size=0 \
		--resolv-file=/var/gluon/wan-dnsmasq/resolv.conf "$@"
	wait_for 5 forwarder_up
}

# A question that dnsmasq answers by itself.
forwarder_up() {
	on node dig +time=1 +tries=1 +short -p 54 @127.0.0.1 version.bind CH TXT | grep -q dnsmasq
}

asked() {
	on node dig +time=1 +tries=1 +short -p 54 @127.0.0.1 "$VPN_NAME" TXT
}

@test "dnsmasq as Gluon runs it" {
	watch 'oifname br-wan udp dport 53'
	forwarder LD_PRELOAD="$LIBPACKETMARK" LIBPACKETMARK_MARK=1 -- --nftset=/keeps.cap.net.admin/4#ip#none#none
	run -0 asked
	[ "$output" = '"home"' ]
	all_marked
	[ "$(complaints)" -eq 0 ]
	daemon_stop node forwarder
	forwarder -- --nftset=/keeps.cap.net.admin/4#ip#none#none
	run -0 asked
	[ "$output" = '"home"' ]
	none_marked
}

# How often dnsmasq was said to have lost its mark. It has /dev/null as standard
# error, so the system log is where it is said.
complaints() {
	cat "$LAB_DIR"/node/forwarder.log "$LAB_DIR"/node/run/messages |
		grep -c 'dnsmasq: libpacketmark: cannot set mark 1'
}

@test "dnsmasq that drops its capabilities: said once; strict, nothing leaves" {
	watch 'oifname br-wan udp dport 53'
	forwarder LD_PRELOAD="$LIBPACKETMARK" LIBPACKETMARK_MARK=1 --
	for _ in 1 2 3; do
		run -0 asked
		[ "$output" = '"home"' ]
	done
	none_marked
	[ "$(complaints)" -eq 1 ]
	daemon_stop node forwarder
	forwarder LD_PRELOAD="$LIBPACKETMARK" LIBPACKETMARK_MARK=1 LIBPACKETMARK_STRICT=1 --
	for _ in 1 2 3; do
		run asked
		[[ $output != *home* ]]
	done
	[ "$(seen node marked)" -eq 0 ]
	[ "$(seen node unmarked)" -eq 0 ]
	[ "$(complaints)" -eq 2 ]
}
