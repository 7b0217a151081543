# The resolver among enemies: garbage, connections that are only held, other machines
# that ask, servers that lie. It stays small, keeps answering, and nothing leaves
# without the mark. floods.bats has the floods.
#
# GARBAGE (1000000) says how much.

bats_require_minimum_version 1.5.0
load lab/lab
load resolver/pair
load resolver/hostile

: "${GARBAGE:=1000000}"

@test "malformed and random datagrams" {
	local before
	resolver_on "$SERVER1"
	hostile datagrams 127.0.0.1 54 $((GARBAGE / 10)) "$SEED" >&3
	before=$(memory RssAnon)
	hostile datagrams ::1 54 "$GARBAGE" $((SEED + 1)) >&3
	unharmed
	# The same as before, but for what an allocator rounds up.
	[ "$(memory RssAnon)" -le $((before + 256)) ]
}

@test "malformed and random TCP streams" {
	local before
	resolver_on "$SERVER1"
	hostile streams 127.0.0.1 54 $((GARBAGE / 200)) "$SEED" >&3
	before=$(memory RssAnon)
	hostile streams ::1 54 $((GARBAGE / 50)) $((SEED + 1)) >&3
	unharmed
	[ "$(memory RssAnon)" -le $((before + 512)) ]
}

@test "messages of ten thousand questions" {
	resolver_on "$SERVER1"
	hostile questions 127.0.0.1 54 300 >&3
	unharmed
}

@test "queries of 60,000 bytes that nobody answers" {
	resolver_on "$SERVER1"
	answers
	servers_vanish
	hostile big 127.0.0.1 54 300 >&3
	servers_return
	unharmed
}

# held WHAT COUNT ADDR: so many TCP connections of this kind, and others are
# served beside them.
held() {
	daemon node hold "$RESOLVER_TESTS/hold.py" "$1" "$2" "$3#54"
	wait_for 15 grep -q holding "$LAB_DIR/node/hold.log"
	[ "$(descriptors)" -lt 100 ]
	unharmed
	rm "$LAB_DIR/node/hold.log"
}

@test "idle TCP connections are bounded" {
	resolver_on "$SERVER1"
	local before
	before=$(descriptors)
	held idle 100 127.0.0.1
	[ "$(descriptors)" -le $((before + 40)) ]
	# And end after a while.
	wait_for 15 eval '[ "$(descriptors)" -le '"$((before + 2))"' ]'
}

@test "slow TCP connections are bounded" {
	resolver_on "$SERVER1"
	local before
	before=$(descriptors)
	held slow 100 ::1
	[ "$(descriptors)" -le $((before + 40)) ]
	# Bytes that trickle in do not keep one open.
	wait_for 20 eval '[ "$(descriptors)" -le '"$((before + 2))"' ]'
}

@test "TCP messages that are announced and do not come" {
	resolver_on "$SERVER1"
	held half 100 127.0.0.1
}

@test "TCP clients that never read" {
	resolver_on "$SERVER1"
	held deaf 100 127.0.0.1
}

@test "TCP connections full of large queries, while no server answers" {
	# A connection that makes room may be answered yet: the table stops the reset.
	gluon_wan print 2>/dev/null | on node nft -f -
	resolver_on "$SERVER1" "$SERVER2" "$SERVER6" 10.9.0.3 10.9.0.4 10.9.0.5 10.9.0.6 10.9.0.7
	servers_vanish
	daemon node hold "$RESOLVER_TESTS/hold.py" flood 100 127.0.0.1#54
	wait_for 30 grep -q holding "$LAB_DIR/node/hold.log"
	# Servers are asked one after the other, so look for as long as that takes.
	local end=$((SECONDS + 3)) now most=0
	while [ "$SECONDS" -lt "$end" ]; do
		now=$(descriptors)
		[ "$now" -le "$most" ] || most=$now
	done
	echo "# at most $most descriptors" >&3
	[ "$most" -lt 100 ]
	servers_return
	unharmed
}

@test "200 queries leave from 190 ports with 200 ids, all over their range" {
	local asked ports ids spread
	resolver_on "$SERVER1"
	daemon wan tcpdump tcpdump -Z root -i lan -n --immediate-mode -l "udp and dst port 53 and dst host $SERVER1"
	wait_for 5 grep -q 'listening on' "$LAB_DIR/wan/tcpdump.log"
	on node "$RESOLVER_TESTS/sequence.py" 200 127.0.0.1#54
	daemon_stop wan tcpdump
	# 11:22:33.4 IP 10.9.0.10.41234 > 10.9.0.1.53: 4711+ A? …
	run -0 awk '/ > / { split($3, from, "."); ports[from[5]]; id = $6 + 0; ids[id]
			if (!asked++) least = most = id
			if (id < least) least = id
			if (id > most) most = id }
		END { print asked, length(ports), length(ids), most - least }' "$LAB_DIR/wan/tcpdump.log"
	echo "# queries, ports, ids, spread of ids: $output" >&3
	read -r asked ports ids spread <<<"$output"
	[ "$asked" -ge 200 ]
	[ "$ports" -ge 190 ]
	[ "$ids" -ge 200 ]
	# Less than one in 10^20 for 200 numbers of 16 bits.
	[ "$spread" -gt 50000 ]
	only_marked_left
}

@test "other machines get no answer, whatever route_localnet says" {
	local tcp
	resolver_on "$SERVER1"
	daemon node echo "$RESOLVER_TESTS/echo.py" 127.0.0.1
	wait_for 5 on node dig +time=1 +tries=1 @127.0.0.1 f0180.echo TXT
	on node sysctl -qw net.ipv4.conf.all.route_localnet=1 net.ipv4.conf.br-wan.route_localnet=1
	# Port 54 of the node's own address is the resolver; 55 is something that
	# listens on the same address, but on all devices: the way is open.
	on node nft -f - <<-END
		table inet lab_dnat {
			chain in {
				type nat hook prerouting priority -100
				iifname br-wan meta l4proto { tcp, udp } th dport 54 dnat ip to 127.0.0.1:54
				iifname br-wan meta l4proto { tcp, udp } th dport 55 dnat ip to 127.0.0.1:53
			}
		}
	END
	for tcp in +notcp +tcp; do
		run -0 on wan dig "$tcp" +time=2 +tries=1 -p 55 "@$NODE4" f0180.echo TXT
		run -9 on wan dig "$tcp" +time=1 +tries=1 -p 54 "@$NODE4" f0180.echo TXT
		run -9 on wan dig "$tcp" +time=1 +tries=1 -p 54 "@$NODE4" version.bind CH TXT
		# For IPv6 there is no such way: the kernel lets nothing in for ::1.
		run -9 on wan dig "$tcp" +time=1 +tries=1 -p 54 "@$NODE6" version.bind CH TXT
	done
	daemon_stop node echo
	[ "$(seen node marked)" -eq 0 ]
	answers
}

@test "redirected clients are served whatever address they have" {
	local tcp
	resolver_on "$SERVER1"
	on node nft -f - <<-END
		table inet lab_redirect {
			chain output {
				type nat hook output priority -100
				meta skgid $FASTD_GID meta l4proto { tcp, udp } th dport 53 redirect to :54
			}
		}
	END
	# Nobody has these servers' addresses.
	for tcp in +notcp +tcp; do
		as_group node "$FASTD_GID" dig "$tcp" +time=2 +tries=1 -b "$NODE4" @10.9.0.200 f0180.echo TXT
		as_group node "$FASTD_GID" dig "$tcp" +time=2 +tries=1 -b "$NODE6" @2001:db8:9::200 f0180.echo TXT
	done
	only_marked_left
}

@test "forged, late and duplicate replies change nothing" {
	local result
	daemon wan liar "$RESOLVER_TESTS/liar.py" "$SERVER2" 10.9.0.9
	on wan ip addr replace 10.9.0.9/24 dev lan
	daemon_running wan liar || daemon wan liar "$RESOLVER_TESTS/liar.py" "$SERVER2" 10.9.0.9
	resolver_on "$SERVER2"
	result=$(on node "$RESOLVER_TESTS/sequence.py" 200 127.0.0.1#54)
	echo "# $result" >&3
	[ "$result" = "200 198.51.100.2" ]
	run -0 on node dig +short -p 54 @127.0.0.1 servers.bind CH TXT
	[[ $output =~ \"$SERVER2#53\ [0-9]+\ 0\" ]]
	only_marked_left
}

@test "a server that takes a connection too late gets nothing without the mark" {
	resolver_on "$SERVER1" "$SERVER2"
	echo_up other "$SERVER2"
	# What server 1 says to a connection is lost until others have answered.
	on wan nft -f - <<-END
		table inet lab_late {
			chain out {
				type filter hook output priority 0
				ip saddr $SERVER1 tcp sport 53 drop
			}
		}
	END
	probe node late in iifname br-wan ip saddr "$SERVER1" tcp sport 53 tcp flags '&' '(syn | ack)' == '(syn | ack)'
	answers +tcp @127.0.0.1
	[ "$(seen node late)" -eq 0 ]
	on wan nft delete table inet lab_late
	arrived() { [ "$(seen node late)" -gt 0 ]; }
	wait_for 10 arrived
	daemon_stop wan other
	only_marked_left
}
