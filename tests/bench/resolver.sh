#!/usr/bin/env bash
# Measures the resolver beside its peers, in one run, and prints a table:
# dnsmasq as Gluon's gluon-wan-dnsmasq runs it (cache off, marked by
# libpacketmark), and two minimal C relays as the floor.
#
#   GLUON_WAN=target/release/gluon-wan LIBPACKETMARK=…/libpacketmark.so tests/bench/resolver.sh
#
# ROUNDS (5), SECONDS_BUSY (3) and SECONDS_PACED (5) make it shorter or longer.
# Peers take turns in every round, so that a noisy machine is noisy for all; the
# table has medians.
set -euo pipefail
here=$(dirname "$(readlink -f "$0")")
repo=$(readlink -f "$here/../..")

# All of it runs in namespaces of its own, and so nothing of it stays: not a
# process, an interface or a file, however it ends.
if [ "${1-}" != --inside ]; then
	exec unshare --mount --net --pid --fork --kill-child --mount-proc "$0" --inside
fi
trap 'exit 130' INT TERM

gluon_wan=${GLUON_WAN:-$repo/target/release/gluon-wan}
libpacketmark=${LIBPACKETMARK:-$repo/target/preload/libpacketmark.so}
rounds=${ROUNDS:-5}
seconds_busy=${SECONDS_BUSY:-3}
seconds_paced=${SECONDS_PACED:-5}

peers=(gluon-wan dnsmasq relay-shared relay-fresh)
port=54
server=192.0.2.53
# Answers as late as a name says.
late_server=192.0.2.54
delays=(20 200 600 900 2000)
names=1000
work=/run

say() { echo "$*" >&2; }
fail() {
	say "bench: $*"
	exit 1
}

for file in "$gluon_wan" "$libpacketmark" /usr/sbin/dnsmasq; do
	[ -e "$file" ] || fail "$file is missing (make bench builds and installs what is needed)"
done

# The upstream is in a namespace of its own behind a veth, and only table 1
# leads there: a query without the mark gets nowhere, so a peer that does not
# mark all of them shows as one that loses them.
set_up() {
	mount -t tmpfs tmpfs $work
	chmod 755 $work
	unshare --net sleep infinity &
	local upstream=$!
	until [ "$(readlink /proc/$upstream/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.01; done
	ip link set lo up
	ip link add wan type veth peer name node netns $upstream
	ip address add 192.0.2.1/32 dev wan
	ip link set wan up
	ip rule add fwmark 1/1 lookup 1
	ip route add $server/32 dev wan table 1
	ip route add $late_server/32 dev wan table 1
	echo 0 >/proc/sys/net/ipv4/conf/all/rp_filter
	echo 0 >/proc/sys/net/ipv4/conf/wan/rp_filter
	inside="nsenter --net=/proc/$upstream/ns/net"
	$inside ip link set lo up
	$inside ip address add $server/24 dev node
	$inside ip address add $late_server/32 dev node
	$inside ip link set node up

	local name
	{
		echo "example. 300 SOA ns.example. hostmaster.example. 1 3600 600 86400 300"
		echo "example. 300 NS ns.example."
		echo "ns.example. 300 A $server"
		for ((name = 0; name < names; name++)); do echo "vpn$name.example. 300 A 198.51.100.$((name % 250 + 1))"; done
	} >$work/zone
	for ((name = 0; name < names; name++)); do echo "vpn$name.example A"; done >$work/queries
	cat >$work/knot.conf <<-END
		server:
		    listen: $server@53
		    rundir: $work
		    udp-workers: 1
		    tcp-workers: 1
		    background-workers: 1
		database:
		    storage: $work
		zone:
		  - domain: example
		    file: $work/zone
	END
	$inside knotd -c $work/knot.conf >$work/knotd.log 2>&1 &
	PYTHONDONTWRITEBYTECODE=1 $inside "$repo/tests/resolver/scripted.py" $late_server >/dev/null &

	node_accounts
	# In directories of their own: both are watched.
	mkdir $work/config $work/servers
	printf "config routing\n\tlist device wan\nconfig resolver\n\toption resolv_file '%s'\n" $work/servers/resolv.conf >$work/config/gluon-wan
	echo "nameserver $server" >$work/servers/resolv.conf
	gcc -O2 -o $work/relay "$here/resolver/relay.c"
	gcc -O2 -o $work/first-answer "$here/resolver/first-answer.c"
	local try=0
	until is_upstream_up; do
		[ $((try++)) -lt 50 ] || fail "knotd does not answer: $(<$work/knotd.log)"
		sleep 0.1
	done
}

# Users and groups as on a node, looked up as there: in the files alone. For a name
# that is in none, glibc would load libnss_systemd, which takes longer than all of
# the start.
node_accounts() {
	cp /etc/passwd /etc/group $work
	echo 'gluon-wan:*:954:954:gluon-wan:/var:/bin/false' >>$work/passwd
	printf '%s\n' gluon-wan:x:954: gluon-fastd:x:955: >>$work/group
	printf '%s: files\n' passwd group >$work/nsswitch.conf
	local file
	for file in passwd group nsswitch.conf; do
		mount --bind $work/$file /etc/$file
	done
}

is_upstream_up() {
	$inside kdig +timeout=1 +retry=0 @$server vpn0.example A 2>/dev/null | grep -q NOERROR
}

# command PEER: sets `environment` and `command`.
command_of() {
	environment=()
	case $1 in
	gluon-wan) command=("$gluon_wan" -c "$work/config" resolver) ;;
	# As in /etc/init.d/gluon-wan-dnsmasq. There --enable-ubus makes it keep the
	# capability that marking needs; staying root does the same without ubus.
	dnsmasq)
		environment=("LD_PRELOAD=$libpacketmark" LIBPACKETMARK_MARK=1)
		command=(/usr/sbin/dnsmasq --conf-file=/dev/null --user=root --interface=lo "--port=$port"
			--no-hosts --keep-in-foreground "--pid-file=$work/dnsmasq.pid" --cache-size=0
			"--resolv-file=$work/servers/resolv.conf")
		;;
	relay-*) command=("$work/relay" "${1#relay-}" "$port" "$server" 1) ;;
	esac
}

# start PEER [WRAPPER...]: starts it, waits for its first answer; sets `pid` and
# `start_ms`.
start() {
	local environment command peer=$1
	shift
	command_of "$peer"
	: >$work/started
	$work/first-answer $port vpn0 "${environment[@]}" "$@" "${command[@]}" \
		>$work/started 2>$work/stderr &
	starter=$!
	until [ -s $work/started ]; do
		kill -0 $starter 2>/dev/null || fail "$peer: $(<$work/stderr)"
		sleep 0.02
	done
	read -r pid start_ms <$work/started
}

stop() {
	kill "$pid"
	wait $starter
}

# load ARGUMENT...: runs dnsperf; sets `answered` and `rate`.
load() {
	dnsperf -s 127.0.0.1 -p $port -d $work/queries "$@" >$work/dnsperf 2>&1 ||
		fail "dnsperf: $(<$work/dnsperf)"
	answered=$(awk '/Queries completed:/ { print $3 }' $work/dnsperf)
	rate=$(awk '/Queries per second:/ { printf "%d", $4 }' $work/dnsperf)
	local lost
	lost=$(awk '/Queries lost:/ { print $3 }' $work/dnsperf)
	[ "$lost" -eq 0 ] || say "$lost queries lost"
	# An error is cheaper than an answer.
	grep -q 'Response codes: *NOERROR [0-9]* (100.00%)' $work/dnsperf ||
		fail "not all answers are good: $(<$work/dnsperf)"
}
busy() { load -q 64 "$@"; }
paced() { load -q 64 -Q 1000 "$@"; }

# CPU time of a process so far, in ns: all threads. (mawk's %d ends at 2^31.)
cpu_ns() { cat "/proc/$pid/task"/*/schedstat | awk '{ sum += $1 } END { printf "%.0f", sum }'; }
switches() { cat "/proc/$pid/task"/*/status | awk '/ctxt_switches/ { sum += $2 } END { print sum }'; }
status_kb() { awk -v key="$1:" '$1 == key { print $2 }' "/proc/$pid/status"; }

# record PEER METRIC VALUE: one line for the table.
record() { echo "$*" >>$work/figures; }
quotient() { awk -v a="$1" -v b="$2" -v scale="${3:-1}" 'BEGIN { printf "%.3f", a / b / scale }'; }

# cpu_per_query PEER METRIC LOAD...
cpu_per_query() {
	local peer=$1 metric=$2 before
	shift 2
	before=$(cpu_ns)
	"$@"
	record "$peer" "$metric" "$(quotient $(($(cpu_ns) - before)) "$answered" 1000)"
}

one_round() {
	local peer
	for peer in "${peers[@]}"; do
		start "$peer"
		record "$peer" start "$start_ms"
		busy -n 1 # wakes everything up
		cpu_per_query "$peer" cpu-busy busy -l "$seconds_busy"
		record "$peer" rate "$rate"
		cpu_per_query "$peer" cpu-paced paced -l "$seconds_paced"
		record "$peer" peak "$(status_kb VmHWM)"
		record "$peer" anonymous "$(status_kb RssAnon)"
		stop
	done
}

starts() {
	local peer
	for peer in "${peers[@]}"; do
		start "$peer"
		record "$peer" start "$start_ms"
		stop
	done
}

# Between two counts of queries, so that start and end of the process cancel out.
instructions() {
	local peer=$1 runs count=()
	for runs in 3 13; do
		start "$peer" valgrind --vgdb=no --tool=callgrind --callgrind-out-file=/dev/null
		busy -n $runs
		stop
		count+=("$(awk '/Collected/ { print $NF }' $work/stderr)")
	done
	record "$peer" instructions "$(quotient $((count[1] - count[0])) $((10 * names)))"
}

system_calls() {
	local peer=$1 tracer
	start "$peer"
	busy -n 1
	rm -f $work/strace.log
	strace -f -c -o $work/strace -p "$pid" 2>$work/strace.log &
	tracer=$!
	until grep -qs attached $work/strace.log; do sleep 0.02; done
	busy -n 10
	kill -INT $tracer
	wait $tracer || true
	record "$peer" syscalls "$(quotient "$(awk '$NF == "total" { print $4 }' $work/strace)" "$answered")"
	stop
}

# Times that the process was woken up in ten idle seconds, once all that its
# last queries left has run out.
idle() {
	local peer=$1 before now tries
	start "$peer"
	busy -n 1
	# Sockets that wait for late replies are closed after 10 s.
	sleep 11
	before=$(switches)
	for ((tries = 0; tries < 10; tries++)); do
		sleep 1
		now=$(switches)
		[ "$now" -ne "$before" ] || break
		before=$now
	done
	sleep 10
	record "$peer" wake-ups $(($(switches) - before))
	stop
}

# How long a client waits for a server that is so far away; the first look-up of
# each does not count.
late() {
	local peer=$1 ms try
	echo "nameserver $late_server" >$work/servers/resolv.conf
	start "$peer"
	for ms in "${delays[@]}"; do
		for try in warm 1 2 3; do
			kdig +timeout=6 +retry=0 -p $port @127.0.0.1 "d$ms-$try.example" A >$work/late ||
				fail "$peer: no answer from $ms ms away"
			[ "$try" = warm ] || record "$peer" "late-$ms" "$(sed -n 's/^;; From .* in \([0-9.]*\) ms$/\1/p' $work/late)"
		done
	done
	stop
	echo "nameserver $server" >$work/servers/resolv.conf
}

sizes() {
	record gluon-wan bytes "$(stat -c %s "$gluon_wan")"
	record gluon-wan bytes-xz "$(xz -9e -c "$gluon_wan" | wc -c)"
	record dnsmasq bytes "$(cat /usr/sbin/dnsmasq "$libpacketmark" | wc -c)"
	record dnsmasq bytes-xz "$(($(xz -9e -c /usr/sbin/dnsmasq | wc -c) + $(xz -9e -c "$libpacketmark" | wc -c)))"
}

set_up
say "the upstream alone, 64 in flight: $($inside dnsperf -s $server -d $work/queries -q 64 -l 2 2>/dev/null |
	awk '/Queries per second/ { printf "%d", $4 }') answers a second"
for ((round = 1; round <= rounds; round++)); do
	say "round $round of $rounds"
	one_round
done
say "starts"
for ((round = 0; round < 3 * rounds; round++)); do starts; done
say "instructions, system calls, wake-ups"
for peer in "${peers[@]}"; do
	instructions "$peer"
	system_calls "$peer"
	idle "$peer"
done
say "servers that are far away"
for peer in gluon-wan dnsmasq; do late "$peer"; done
sizes
awk -f "$here/resolver/table.awk" $work/figures
