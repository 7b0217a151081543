# What a client gets through the resolver is what the server sent: the same bytes
# asked directly and through it, against knotd, nsd and a server that echoes, and
# clients of all kinds. Only the id may differ, which is the client's own.

bats_require_minimum_version 1.5.0
load lab/lab
load resolver/pair

ZONE=example.org

setup_file() {
	lab_require knotd nsd kdig musl-gcc
	pair_up
	zone >"$LAB_DIR/wan/var/lib/$ZONE.zone"
	knotd_up
	nsd_up
	echo_up echo "$SERVER6"
}

teardown() {
	pair_rest
	only_marked_left
}

# Everything that compare.py asks for.
zone() {
	local i
	cat <<-END
		\$ORIGIN $ZONE.
		\$TTL 300
		@ SOA ns hostmaster 1 3600 600 86400 60
		@ NS ns
		@ MX 10 vpn
		@ CAA 0 issue "ca.example"
		ns A $SERVER1
		vpn A $VPN_IP4
		vpn AAAA $VPN_IP6
		vpn TXT "home"
		chain1 CNAME chain2
		chain2 CNAME Chain3
		chain3 CNAME vpn
		loop1 CNAME loop2
		loop2 CNAME loop1
		outside CNAME host.elsewhere.example.
		_vpn._udp SRV 10 5 10000 vpn
		_vpn._udp SRV 20 0 10001 VPN
		short TXT "one" "two" "" "with \"quotes\" and \\\\ and \\000\\255"
		empty TXT ""
		_dns SVCB 1 vpn alpn=dot,h2 port=853 ipv6hint=$VPN_IP6 key65400="x"
		web HTTPS 1 . alpn=h3,h2 ipv4hint=$VPN_IP4
		alias HTTPS 0 web
		naptr NAPTR 100 10 "u" "E2U+sip" "!^.*\$!sip:info@example.org!" .
		private TYPE65400 \\# 5 0001fe00ff
		*.wild A $VPN_IP4
		*.wild TXT "wild"
		dname DNAME wild
		child NS host.child
		host.child A 192.0.2.53
		sshfp SSHFP 4 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
		_443._tcp.web TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
		1 PTR vpn
		sub.ent A $VPN_IP4
	END
	# 5,000 bytes of text; AAAA that fit 1,232 bytes but not 512; A that fit nothing but TCP.
	printf 'text TXT'
	for i in {1..20}; do printf ' "%0249d"' "$i"; done
	printf '\n'
	for i in {1..30}; do printf 'many AAAA 2001:db8:51::%x\n' "$i"; done
	for i in {1..250}; do printf 'hundreds A 192.0.2.%d\n' "$i"; done
}

# Signs the zone, and writes it back with its signatures.
knotd_up() {
	local dir=$LAB_DIR/wan/var/lib
	cat >"$LAB_DIR/wan/etc/knot.conf" <<-END
		server:
		  listen: $SERVER1@53
		  rundir: /run
		  nsid: knot
		  udp-max-payload: 4096
		  tcp-reuseport: off
		log:
		  - target: stderr
		    any: info
		database:
		  storage: /var/lib
		policy:
		  - id: lab
		    algorithm: ecdsap256sha256
		    nsec3: off
		zone:
		  - domain: $ZONE
		    file: /var/lib/$ZONE.zone
		    zonefile-sync: 0
		    dnssec-signing: on
		    dnssec-policy: lab
	END
	daemon wan knotd knotd -c /etc/knot.conf
	wait_for 15 grep -qs RRSIG "$dir/$ZONE.zone"
	wait_for 5 on wan sh -c "dig +dnssec +time=1 +tries=1 @$SERVER1 vpn.$ZONE | grep -q RRSIG"
}

nsd_up() {
	cp "$LAB_DIR/wan/var/lib/$ZONE.zone" "$LAB_DIR/wan/var/lib/nsd.zone"
	cat >"$LAB_DIR/wan/etc/nsd.conf" <<-END
		server:
		  ip-address: $SERVER2
		  username: ""
		  zonesdir: /var/lib
		  pidfile: ""
		  xfrdfile: ""
		  xfrdir: /var/lib
		  database: ""
		  zonelistfile: /var/lib/nsd.list
		  server-count: 1
		  ipv4-edns-size: 4096
		  nsid: "ascii_nsd"
		remote-control:
		  control-enable: no
		zone:
		  name: $ZONE
		  zonefile: nsd.zone
	END
	daemon wan nsd nsd -d -c /etc/nsd.conf
	wait_for 5 on wan sh -c "dig +dnssec +time=1 +tries=1 @$SERVER2 vpn.$ZONE | grep -q RRSIG"
}

# compare SERVER CORPUS HOW LISTENER: prints the differences, then the summary,
# which is left in $summary.
compare() {
	LAB_TIMEOUT=120 run -0 on node "$RESOLVER_TESTS/compare.py" --direct "$1" --corpus "$2" --how "$3" --through "$4#54"
	summary=${lines[-1]}
	echo "# $BATS_TEST_DESCRIPTION ($4): $summary" >&3
	jq -e '.differences == 0 and (."no reply" // 0) < .queries / 10' <<<"$summary"
	only_marked_left
}

# shows WORD...: the replies had these, so the comparison was about something.
shows() {
	local word
	for word; do
		jq -e --arg word "$word" '.[$word] > 0' <<<"$summary" || return
	done
}

# A test for every server and every way to ask, over both listeners in turn.
zone_over() {
	resolver_on "$1"
	compare "$1" zone "$2" 127.0.0.1
	shows 'rcode 0' 'rcode 3' 'rcode 5' AA RRSIG
	case $2 in
	udp) shows TC ;;
	*) shows 'over 5000 bytes' ;;
	esac
}

echo_over() {
	resolver_on "$SERVER6"
	compare "$SERVER6" echo "$1" ::1
	shows 'rcode 1' 'rcode 2' 'rcode 4' 'rcode 9' 'rcode 15' AA TC RA AD CD
}

@test "knotd, UDP" { zone_over "$SERVER1" udp; }
@test "knotd, TCP, a connection for each query" { zone_over "$SERVER1" tcp; }
@test "knotd, TCP, one query after the other" { zone_over "$SERVER1" session; }
@test "knotd, TCP, pipelined" { zone_over "$SERVER1" pipelined; }
@test "nsd, UDP" { zone_over "$SERVER2" udp; }
@test "nsd, TCP, one query after the other" { zone_over "$SERVER2" session; }
@test "nsd, TCP, pipelined" { zone_over "$SERVER2" pipelined; }
@test "a server that echoes, UDP" { echo_over udp; }
@test "a server that echoes, TCP, pipelined" { echo_over pipelined; }
@test "a server that echoes, TCP, the client half closes" { echo_over halfclosed; }
@test "a server that echoes, TCP, byte by byte" { echo_over trickle; }

# DNS of group fastd goes to the resolver, as the redirect part does it.
redirect_by_hand() {
	on node nft -f - <<-END
		table inet lab_redirect {
			chain output {
				type nat hook output priority -100
				meta skgid $FASTD_GID meta l4proto { tcp, udp } th dport 53 redirect to :54
			}
		}
	END
	printf 'nameserver 127.0.0.1\nnameserver ::1\n' >"$LAB_DIR/node/etc/resolv.conf"
}

# What a client prints, without what is different in every run.
steady() {
	sed -E '/^$|^; <<>> |^;; (Query time|Time|WHEN|SERVER|From|Received|MSG SIZE)/d; s/id: [0-9]+/id: ./; s/reply from [^,]*/reply/' <<<"$output"
}

# same_text CLIENT ARG...: kdig or dig, asked from the server's machine directly
# and from the node through the resolver, print the same.
same_text() {
	local wanted listener
	run -0 on wan "$1" "@$SERVER1" "${@:2}"
	wanted=$(steady)
	[[ $wanted == *HEADER* ]]
	for listener in 127.0.0.1 ::1; do
		run -0 on node "$1" -p 54 "@$listener" "${@:2}"
		diff <(echo "$wanted") <(steady)
	done
}

@test "dig and kdig show the same" {
	local client
	resolver_on "$SERVER1"
	for client in dig kdig; do
		same_text "$client" "vpn.$ZONE" AAAA
		same_text "$client" "chain1.$ZONE" A
		same_text "$client" +dnssec "nothing.$ZONE" A
		same_text "$client" +tcp +dnssec "text.$ZONE" TXT
		same_text "$client" +bufsize=512 "many.$ZONE" AAAA
		same_text "$client" +dnssec +cdflag +nsid "web.$ZONE" HTTPS
		same_text "$client" +ignore +bufsize=512 "hundreds.$ZONE" A
	done
	same_text dig +edns=1 +noednsnegotiation "vpn.$ZONE" A
	same_text kdig +edns=1 "vpn.$ZONE" A
	same_text kdig +tcp +keepopen "vpn.$ZONE" A "chain1.$ZONE" A "text.$ZONE" TXT "nothing.$ZONE" A
	same_text dig +tcp +keepopen "vpn.$ZONE" A "chain1.$ZONE" A "text.$ZONE" TXT "nothing.$ZONE" A
}

@test "a truncated reply is asked for again over TCP by the client" {
	resolver_on "$SERVER1"
	run -0 on node dig -p 54 @127.0.0.1 "text.$ZONE" TXT
	[[ $output == *';; Truncated, retrying in TCP mode.'* ]]
	[[ $output == *'(TCP)'* ]]
	[ "$(grep -c '^text.*TXT' <<<"$output")" -eq 1 ]
	[ "$(tr -cd 0-9 <<<"$(grep '^text' <<<"$output")" | wc -c)" -ge 4980 ]
}

# addresses: of getent's or lookup's output, one a line, sorted.
addresses() {
	awk '{ print $1 }' <<<"$output" | sort -u
}

@test "glibc: both families, a chain, a big answer, over UDP and TCP" {
	resolver_on "$SERVER1"
	redirect_by_hand
	local options
	for options in '' edns0 use-vc 'use-vc edns0' single-request; do
		RES_OPTIONS=$options run -0 as_group node "$FASTD_GID" getent ahosts "chain1.$ZONE"
		[ "$(addresses)" = "$VPN_IP4"$'\n'"$VPN_IP6" ]
		RES_OPTIONS=$options run -0 as_group node "$FASTD_GID" getent ahosts "hundreds.$ZONE"
		[ "$(addresses | wc -l)" -eq 250 ]
		RES_OPTIONS=$options run -2 as_group node "$FASTD_GID" getent ahosts "nothing.$ZONE"
	done
}

@test "musl: A and AAAA at once from one socket" {
	resolver_on "$SERVER1"
	redirect_by_hand
	local name wanted
	# Where both machines see it.
	musl-gcc -static -Os -Wall -Werror -o "$LAB_DIR/node/var/lookup" "$RESOLVER_TESTS/lookup.c"
	cp "$LAB_DIR/node/var/lookup" "$LAB_DIR/wan/var/lookup"
	echo "nameserver $SERVER1" >"$LAB_DIR/wan/etc/resolv.conf"
	run -0 as_group node "$FASTD_GID" /var/lookup "chain1.$ZONE"
	[ "$(addresses)" = "$VPN_IP4"$'\n'"$VPN_IP6" ]
	# Whatever this musl makes of a truncated reply (before 1.2.4: nothing).
	for name in vpn chain1 x.dname any.wild many hundreds nothing private loop1; do
		run on wan /var/lookup "$name.$ZONE"
		wanted="$status $(addresses)"
		run as_group node "$FASTD_GID" /var/lookup "$name.$ZONE"
		[ "$status $(addresses)" = "$wanted" ]
	done
	# Both questions leave before the first answer comes.
	run -0 on node setpriv --regid "$FASTD_GID" --clear-groups -- \
		strace -e trace=sendto,recvfrom,recvmsg /var/lookup "vpn.$ZONE"
	[[ $(grep -oE '^(send|recv)' <<<"$output" | tr '\n' ' ') == 'send send '* ]]
}
