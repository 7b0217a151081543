# The lab itself is right: what it promises is there, and a node without
# gluon-wan shows the faults that the other tests look for.

bats_require_minimum_version 1.5.0
load lab/lab

setup_file() {
	lab_up
}

teardown_file() {
	lab_down
}

teardown() {
	on node nft flush ruleset
	on node sh -c 'ip -6 rule del pref 1; ip rule del pref 1' 2>/dev/null || true
	daemon_stop node fastd
	daemon_stop node resolver
}

@test "the WAN's servers arrive by DHCPv4 and router advertisement" {
	run -0 cat "$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf"
	[ "$output" = "nameserver $HOME_IP4
nameserver $HOME_LL%br-wan" ]
	run -0 on node ip -6 route show table 1 default
	[[ $output == "default via $HOME_LL dev br-wan proto static"* ]]
	run -0 on node ip -6 route show default
	[[ $output == "default via $MESH_LL dev br-client proto ra"* ]]
}

@test "home and mesh answer the same name differently, root asks the mesh" {
	run -0 on node dig +short "@$HOME_IP4" "$VPN_NAME" A "$VPN_NAME" AAAA "$VPN_NAME" TXT
	[ "$output" = "$VPN_IP4
$VPN_IP6
\"home\"" ]
	run -0 on node dig +short "@$HOME_LL%br-wan" "$VPN_NAME" TXT
	[ "$output" = '"home"' ]
	run -0 on node dig +short "$VPN_NAME" A "$VPN_NAME" AAAA "$VPN_NAME" TXT
	[ "$output" = "$FAKE_IP4
$FAKE_IP6
\"mesh\"" ]
	run -0 on node getent ahostsv6 "$VPN_NAME"
	[[ $output == "$FAKE_IP6 "* ]]
}

@test "without a rule, marked packets leak into the mesh, and a probe sees it" {
	probe node leak out oifname br-client meta mark and 1 == 1
	probe mesh arrived in iifname lan ip6 daddr "$VPN_IP6"
	run -1 on node ping -m 1 -c 2 -i 0.2 -W 1 "$VPN_IP6"
	[ "$(seen node leak)" -eq 2 ]
	[ "$(seen mesh arrived)" -eq 2 ]
	probe_reset node
	[ "$(seen node leak)" -eq 0 ]
}

@test "without a redirect, fastd asks the mesh and finds nobody" {
	probe node asked out oifname br-client udp dport 53
	node_fastd
	wait_for 10 grep -q 'resolved host' "$LAB_DIR/node/fastd.log"
	[ "$(seen node asked)" -gt 0 ]
	run -1 tunnel_works
}

@test "with a rule, a redirect and a resolver made by hand, the tunnel comes up" {
	on node ip -6 rule add pref 1 fwmark 0x1/0x1 lookup 1
	on node nft -f - <<-END
		table inet by_hand {
			chain by_hand {
				type nat hook output priority -100
				meta skgid $FASTD_GID meta l4proto { tcp, udp } th dport 53 redirect to :54
			}
		}
	END
	daemon node resolver dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= \
		--port=54 --listen-address=127.0.0.1,::1 --bind-interfaces --no-hosts --cache-size=0 \
		--resolv-file=/var/gluon/wan-dnsmasq/resolv.conf
	run -0 as_group node "$FASTD_GID" dig +short "$VPN_NAME" TXT
	[ "$output" = '"home"' ]
	run -0 as_group node "$MESH_VPN_GID" dig +short "$VPN_NAME" TXT
	[ "$output" = '"mesh"' ]
	probe node leak out oifname br-client udp dport "$VPN_PORT"
	probe node tunnel out oifname br-wan udp dport "$VPN_PORT" meta mark and 1 == 1
	node_fastd
	wait_for 20 tunnel_works
	[ "$(seen node tunnel)" -gt 0 ]
	[ "$(seen node leak)" -eq 0 ]
}

@test "pulling the cable takes servers and routes, plugging it in brings them back" {
	wan_down
	run -0 on node ip -6 route show table 1
	[ -z "$output" ]
	run -0 on node ip -4 route show default
	[ -z "$output" ]
	wan_up
	run -0 on node ip -6 route show table 1 default
	[[ $output == "default via $HOME_LL dev br-wan"* ]]
	wait_for 5 on node ping -c 1 -W 1 "$VPN_IP4"
}

@test "a replaced bridge has another index and works" {
	before=$(on node cat /sys/class/net/br-wan/ifindex)
	wan_bridge_replace
	[ "$(on node cat /sys/class/net/br-wan/ifindex)" -ne "$before" ]
	wait_for 5 on node ping -c 1 -W 1 "$HOME_IP4"
}

@test "a lab whose owner is killed goes away by itself" {
	bash -c '. "$1/tests/lab/lab.bash"; lab_init; machine_add x
		daemon x sleep sleep 1000; echo "$LAB_DIR"; kill -9 $$' sh "$LAB_REPO" \
		>"$BATS_TEST_TMPDIR/dir" 3>&- || true
	orphan=$(<"$BATS_TEST_TMPDIR/dir")
	[ -n "$orphan" ]
	wait_for 10 test ! -e "$orphan"
}

@test "nothing of the node's files is the computer's own" {
	run -0 on node cat /etc/resolv.conf
	[ "$output" = "nameserver 127.0.0.1" ]
	on node touch /etc/config/here /var/gluon/here /run/here
	[ -e "$LAB_DIR/node/etc/config/here" ]
	[ ! -e /etc/config/here ] && [ ! -e /var/gluon/here ] && [ ! -e /run/here ]
}
