#!/bin/bash
# What tests/broken.bats runs on the node, in one go: an own process of the lab
# for every step would take longer than the steps.
#
#   node.bash sync PROGRAM DIR            every configuration of DIR, with `sync`
#   node.bash watch PROGRAM DIR PID LOG   the same, with SIGHUP for a watch
#   node.bash resolv DIR                  every resolv file of DIR, for a resolver
#
# Says what was tried, in one line; ends with the first one that is not as it
# must be.
set -u

conf=/etc/config
resolv=/var/gluon/wan-dnsmasq/resolv.conf

state() {
	nft -s list ruleset
	for family in -4 -6; do
		ip $family rule show
		ip $family route show table all
	done
	# Not what the watch says of itself.
	stat -c '%n %i %s %y' /var/run/gluon-wan/redirect.nft
	cat /var/run/gluon-wan/redirect.nft
}

fail() {
	echo "$1: ${*:2}"
	exit 1
}

use() {
	cp "$1/gluon-wan" "$1/gluon-wan-dnsmasq" $conf/
}

# unchanged CASE
unchanged() {
	local now
	now=$(state)
	[ "$now" = "$before" ] || fail "$1" "changed: $(diff <(echo "$before") <(echo "$now"))"
}

# In numeric order, so that a seed means the same run.
cases() {
	find "$1" -mindepth 1 -maxdepth 1 | sort -V
}

sync_all() {
	local program=$1 case outcome said code refused=0 accepted=0
	"$program" sync || fail "good configuration" "exit code $?"
	before=$(state)
	for case in $(cases "$2"); do
		outcome=$(<"$case/outcome")
		use "$case"
		case $outcome in
		"accepted elsewhere") continue ;;
		accepted)
			said=$(timeout 20 "$program" sync 2>&1)
			code=$?
			# No group of the configuration, or no such device: not its spelling.
			[ $code -le 1 ] || fail "$case" "exit code $code: $said"
			timeout 20 "$program" clear || fail "$case" "clear: exit code $?"
			rm -f $conf/*
			timeout 20 "$program" sync || fail "$case" "afterwards: exit code $?"
			# The include is another file now.
			diff <(state | grep -v ^/var) <(echo "$before" | grep -v ^/var) || fail "$case" "not harmless"
			before=$(state)
			accepted=$((accepted + 1))
			;;
		*)
			said=$(timeout 20 "$program" sync 2>&1)
			code=$?
			[ $code -eq 2 ] || fail "$case" "exit code $code: $said"
			[ "$said" = "gluon-wan: $conf/$outcome" ] || fail "$case" "$said"
			unchanged "$case"
			refused=$((refused + 1))
			;;
		esac
	done
	echo "$refused refused, $accepted accepted"
	[ $refused -gt 0 ] && [ $accepted -gt 0 ]
}

# line NUMBER LOG: as soon as it is there.
line() {
	for _ in $(seq 500); do
		sed -n "$1{p;q}" "$2" | grep . && return
		sleep 0.02
	done
	return 1
}

watch_all() {
	local watch=$3 log=$4 case outcome said lines refused=0
	before=$(state)
	for case in $(cases "$2"); do
		outcome=$(<"$case/outcome")
		[[ $outcome != accepted* ]] || continue
		use "$case"
		lines=$(wc -l <"$log")
		kill -HUP "$watch"
		said=$(line $((lines + 1)) "$log") || fail "$case" "the watch says nothing"
		[ "$said" = "gluon-wan: $conf/$outcome; the old configuration stays in force" ] ||
			fail "$case" "$said"
		unchanged "$case"
		refused=$((refused + 1))
	done
	echo "$refused refused"
	[ $refused -gt 0 ]
}

# The servers that the resolver has, as ADDRESS#PORT.
servers() {
	dig +short +tcp +time=2 +tries=1 -p 54 @127.0.0.1 servers.bind CH TXT |
		sed -E 's/" "/\n/g; s/"//g' |
		sed -E 's/^([0-9a-f.:]*)(%.*)?#([0-9]+) [0-9]+ [0-9]+$/\1#\3/' | grep .
}

# written SERVER...: these may be asked, no others; `astray` counts.
written() {
	local four six
	four=$(printf '%s\n' "$@" | sed -n 's/^\([0-9.]*\)#.*/\1/p' | sort -u | paste -sd ,)
	six=$(printf '%s\n' "$@" | sed -n 's/^\([0-9a-f]*:[0-9a-f:.]*\)#.*/\1/p' | sort -u | paste -sd ,)
	nft -f - <<-END
		table ip broken {
			set written { type ipv4_addr; }
			counter astray { }
		}
		table ip6 broken {
			set written { type ipv6_addr; }
			counter astray { }
		}
		flush set ip broken written
		flush set ip6 broken written
		${four:+add element ip broken written { $four \}}
		${six:+add element ip6 broken written { $six \}}
	END
}

astray() {
	nft list counters | awk '/packets/ { n += $2 } END { print n + 0 }'
}

resolv_all() {
	local case asked=0 files=0
	local -a old=() new
	written
	for family in ip ip6; do
		nft add chain $family broken out "{ type filter hook output priority 0; }"
		# Of a link-local server the port is its own as well.
		nft add rule $family broken out oifname br-wan meta l4proto "{ tcp, udp }" \
			$family daddr != @written counter name astray
	done
	for case in $(cases "$1"); do
		mapfile -t new <"$case/servers"
		written ${old[@]+"${old[@]}"} ${new[@]+"${new[@]}"}
		cp "$case/resolv.conf" $resolv.new
		mv $resolv.new $resolv
		for _ in $(seq 250); do
			[ "$(servers)" != "$(<"$case/servers")" ] || break
			sleep 0.02
		done
		diff <(servers) "$case/servers" || fail "$case" "not its servers"
		# What is in flight has gone to the old ones.
		dig +short +time=1 +tries=1 -p 54 @127.0.0.1 vpn.example.org TXT >/dev/null && asked=$((asked + 1))
		old=(${new[@]+"${new[@]}"})
		[ "$(astray)" -eq 0 ] || fail "$case" "asked a server that is not written there"
		files=$((files + 1))
	done
	echo "$files files, $asked answers"
	[ $asked -gt 0 ]
}

command=$1
shift
case $command in
sync) sync_all "$@" ;;
watch) watch_all "$@" ;;
resolv) resolv_all "$@" ;;
esac
