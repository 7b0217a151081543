# shellcheck shell=bash
# A resolver among enemies, for hostile.bats and floods.bats: who attacks, what it may
# take, and that it is unharmed. To be loaded after resolver/pair.

# Of the generators; a failure with it is the same failure again.
# shellcheck disable=SC2034 # the tests use it
readonly SEED=20
# All it may ever take, in KiB.
readonly MAX_MEMORY=8192

setup_file() {
	lab_require gcc tcpdump
	pair_up
	mkdir -p "$LAB_DIR/node/var/lib"
	gcc -O2 -Wall -o "$LAB_DIR/node/var/lib/hostile" "$RESOLVER_TESTS/hostile.c"
	echo_up echo "$SERVER1" "$SERVER6"
}

teardown() {
	teardown_tcp
}

hostile() {
	LAB_TIMEOUT=300 on node /var/lib/hostile "$@"
}

# The servers get nothing, and nobody says so.
servers_vanish() {
	on wan nft -f - <<-END
		table inet lab_blackhole {
			chain in {
				type filter hook input priority 0
				th dport 53 drop
			}
		}
	END
}

servers_return() {
	on wan nft delete table inet lab_blackhole
}

# answers [dig's option]...: a server's answer comes through.
answers() {
	on node dig +time=5 +tries=1 -p 54 "${@:-@127.0.0.1}" f0180.echo TXT 2>/dev/null | grep -q 'status: NOERROR'
}

# memory FIELD: of the resolver, in KiB; VmHWM is the most that it ever had.
memory() {
	on node sed -n "s/^$1:[[:space:]]*\([0-9]*\) kB/\1/p" "/proc/$(daemon_pid node resolver)/status"
}

descriptors() {
	on node sh -c "ls /proc/$(daemon_pid node resolver)/fd | wc -l"
}

# Alive, small, and answering over everything.
unharmed() {
	echo "# $BATS_TEST_DESCRIPTION: peak $(memory VmHWM) KiB, anonymous $(memory RssAnon) KiB," \
		"$(descriptors) descriptors" >&3
	daemon_running node resolver
	[ "$(memory VmHWM)" -lt "$MAX_MEMORY" ]
	answers @127.0.0.1
	answers @::1
	answers +tcp @127.0.0.1
	answers +tcp @::1
	only_marked_left
}
