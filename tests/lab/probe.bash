# shellcheck shell=bash
# Evidence: packets counted where they pass, in a table of the lab's own.

# probe MACHINE TITLE out|in MATCH...: counts from now on what matches, in nft
# language. `out` is behind routing and NAT (postrouting), `in` before both.
#   probe node leak out oifname br-client meta mark and 1 == 1
probe() {
	local machine=$1 title=$2 hook=$3
	shift 3
	on "$machine" nft -f - <<-END
		add table inet lab_probe
		add chain inet lab_probe out { type filter hook postrouting priority 300; }
		add chain inet lab_probe in { type filter hook prerouting priority -500; }
		add counter inet lab_probe $title
		add rule inet lab_probe $hook $* counter name "$title"
	END
}

# seen MACHINE TITLE: how many packets so far.
seen() {
	on "$1" nft list counter inet lab_probe "$2" | sed -n 's/.*packets \([0-9]*\) .*/\1/p'
}

probe_reset() {
	on "$1" nft reset counters table inet lab_probe >/dev/null
}

# probes MACHINE: all of them, for a person.
probes() {
	on "$1" nft list counters table inet lab_probe
}
