# shellcheck shell=bash
# The whole node under test: both processes, kept as procd keeps them, the
# firewall, and traffic of all kinds that never rests.

# Sources that the checks read:
#   $LAB_DIR/node/asked.GID     a character per answer, see helpers/query-loop.py
#   table inet soak on node     packets that must not be there; belongs to its
#                               process, so that `nft flush ruleset` leaves it
#   tables lab_probe            what arrives at home and in the mesh

# Last digits of the VPN server's address, as home and as the mesh tell it.
# shellcheck disable=SC2034 # checks.bash reads them
readonly HOME_SAYS=${VPN_IP4: -1} MESH_SAYS=${FAKE_IP4: -1}
# procd waits 5 s; here too long a wait would only make the suite slower.
readonly RESPAWN=0.3
readonly INCLUDE=/var/run/gluon-wan/redirect.nft

soak_up() {
	lab_require gcc jq python3 && lab_up || lab_fail "the lab does not come up" || return
	# shellcheck disable=SC2034 # faults.bash reads it
	RESOLV=$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf
	mkdir "$LAB_DIR/node/run/soak"
	on vpn ip -6 route replace default via 2001:db8:51::1
	# Small enough to be filled.
	on node sh -ec 'mkdir /run/gluon-wan; mount -t tmpfs -o size=256k,mode=755 tmpfs /run/gluon-wan'
	# The mesh's side is fw4's LAN here.
	sed 's/br-lan/br-client/g' "$LAB_REPO/tests/fixtures/fw4-ruleset.nft" >"$LAB_DIR/node/fw4.nft"
	clock_make && liar_up && counters_up || return
	fw_load
	keep watch sync --watch
	keep resolver resolver
	traffic_up || return
	wait_for 15 snapshot || lab_fail "the node does not come up: $(wrong_now)"
}

# The clock of both programs, and of nobody else.
clock_make() {
	local here there
	gcc -shared -fPIC -O1 -o "$LAB_DIR/clock.so" "$LAB_REPO/tests/soak/clock.c" || return
	# Does it move one?
	clock_set -100000
	there=$(LD_PRELOAD=$LAB_DIR/clock.so SOAK_CLOCK=$LAB_DIR/node/run/soak/clock bash -c 'exec -a gluon-wan date +%s')
	here=$(date +%s)
	[ $((here - there)) -ge 90000 ] || lab_fail "the wall clock of a program cannot be moved" || return
	rm "$LAB_DIR/node/run/soak/clock"
	clock_set 0
	# The resolver may not be root.
	chmod 666 "$LAB_DIR/node/run/soak/clock"
}

# clock_set SECONDS: off by so many. The number of readings is left as it is.
clock_set() {
	python3 -c 'import struct, sys; sys.stdout.buffer.write(struct.pack("=q", int(sys.argv[1])))' "$1" |
		dd of="$LAB_DIR/node/run/soak/clock" conv=notrunc status=none
	truncate -s 16 "$LAB_DIR/node/run/soak/clock"
}

clock_readings() {
	od -A n -t d8 -j 8 -N 8 "$LAB_DIR/node/run/soak/clock" | tr -d ' '
}

# keep TITLE ARG...: gluon-wan ARG..., started again whenever it ends.
keep() {
	local title=$1
	shift
	CLOCK=$LAB_DIR/clock.so daemon node "$title" sh -c '
		file=$1 pause=$2
		shift 2
		while :; do
			env LD_PRELOAD="$CLOCK" SOAK_CLOCK=/run/soak/clock "$@" &
			echo $! >"$file"
			wait $!
			sleep "$pause"
		done
	' keep "/run/soak/$title.pid" "$RESPAWN" "$(gluon_wan_path)" "$@"
}

# signal SIGNAL TITLE...: to these of `resolver` and `watch`. One that was killed
# just now is not there.
signal() {
	local signal=$1 title
	shift
	for title; do
		on node kill "-$signal" "$(<"$LAB_DIR/node/run/soak/$title.pid")" 2>/dev/null
	done
	return 0
}

# The file is read whole, as fw4 does: its own tables, and ours with them.
fw_load() {
	on node sh -c '{ cat "$1"; [ ! -e "$2" ] || cat "$2"; } | nft -f -' fw "$LAB_DIR/node/fw4.nft" "$INCLUDE"
}

# On the home router, beside its DNS, until it is asked.
liar_up() {
	daemon home liar "$LAB_REPO/tests/soak/lies.py" 5300
}

# home_dns_deaf_on nothing|ipv4|ipv6: on what home's DNS is deaf: then the node has one
# server, of the other family. Not for TCP: dnsmasq's children hold on to connections
# that fall silent, and to its port as well.
home_dns_deaf_on() {
	[ "$1" != "${DEAF_ON:-nothing}" ] || return 0
	DEAF_ON=$1
	on home nft -f - <<-END
		table inet soak_deaf {
			chain dns { type filter hook prerouting priority -400; }
		}
		flush chain inet soak_deaf dns
		$([ "$1" = nothing ] || echo "add rule inet soak_deaf dns iifname lan meta nfproto $1 udp dport 53 drop")
	END
}

# home_dns_now: whether home's DNS answers home itself, to know whose fault it is.
home_dns_now() {
	local server transport
	for server in "$HOME_IP4" "$HOME_LL%lan"; do
		for transport in +notcp +tcp; do
			printf 'home asks %s %s: %s\n' "$server" $transport \
				"$(on home dig +short +time=1 +tries=1 $transport "@$server" "$VPN_NAME" A 2>&1 | tr '\n' ' ')"
		done
	done
	on home ss -Htan
}

counters_up() {
	# Behind all other chains. Of TCP the first packet counts: later ones, as
	# those of a connection that is reset, may belong to no socket.
	cat >"$LAB_DIR/node/counters.nft" <<-END
		add table inet soak { flags owner; }
		add counter inet soak marked_astray
		add counter inet soak unmarked_query
		add counter inet soak unredirected
		add chain inet soak out { type filter hook postrouting priority 2000000000; }
		add rule inet soak out oifname != { "br-wan", "lo" } meta mark and 1 == 1 counter name marked_astray
		add rule inet soak out meta skuid 65534 udp dport 53 meta mark and 1 == 0 counter name unmarked_query
		add rule inet soak out meta skuid 65534 tcp dport 53 tcp flags & (syn | ack) == syn meta mark and 1 == 0 counter name unmarked_query
		add rule inet soak out oifname "br-wan" udp dport 53 meta mark and 1 == 0 counter name unmarked_query
		add rule inet soak out meta skgid { $FASTD_GID, $MESH_VPN_GID } udp dport 53 counter name unredirected
		add rule inet soak out meta skgid { $FASTD_GID, $MESH_VPN_GID } tcp dport 53 tcp flags & (syn | ack) == syn counter name unredirected
	END
	daemon node counters sh -c '{ cat "$1"; exec sleep infinity; } | exec nft -i' counters "$LAB_DIR/node/counters.nft" || return
	wait_for 5 on node nft list chain inet soak out >/dev/null || return
	probe mesh marked in iifname lan ip6 daddr "$VPN_IP6"
	probe mesh unredirected in iifname lan ip daddr "$MESH_IP4" meta l4proto '{ tcp, udp }' th dport 53
	probe mesh plain in iifname lan ip6 daddr "$FAKE_IP6"
	probe home marked in iifname lan ip6 daddr "$VPN_IP6"
	probe home plain in iifname lan ip6 daddr "$FAKE_IP6"
}

# Marked and unmarked packets, and queries of both groups and of root.
traffic_up() {
	daemon node ping-marked ping -q -m 1 -i 0.002 "$VPN_IP6"
	daemon node ping-plain ping -q -i 0.02 "$FAKE_IP6"
	# Without the redirect the mesh itself and the primary resolver were asked.
	ask "$FASTD_GID" --server "$MESH_IP4" &&
		ask "$MESH_VPN_GID" --server ::1 --tcp &&
		ask 0 --server 127.0.0.1
}

# ask GID OPTION...: all the time.
ask() {
	local gid=$1
	shift
	daemon node "ask-$gid" "$LAB_REPO/tests/helpers/query-loop.py" --gid "$gid" --name "$VPN_NAME" \
		--pause 0.02 --timeout 0.5 "$@" "$LAB_DIR/node/asked.$gid" &&
		wait_for 5 test -e "$LAB_DIR/node/asked.$gid"
}
