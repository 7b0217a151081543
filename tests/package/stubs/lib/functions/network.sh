# shellcheck shell=sh
# Stands in for OpenWrt's network.sh: an answer is exported into the variable,
# or the variable is emptied and the status is 1.

# network_stub_get VARIABLE INTERFACE KEY [inactive]: from what ubus says.
network_stub_get() {
	network_stub_value=$(ubus call "network.interface.$2" status 2>/dev/null | awk -v key="\"$3\":" -v want="${4:-0}" '
		/"inactive":/ { inactive = 1 }
		in_list && /]/ { in_list = 0 }
		in_list { gsub("[\", \t]", ""); found = found sep $0; sep = " " }
		$1 == key && inactive == want {
			if (/\[/) in_list = 1
			else { gsub("[\",]", ""); found = $2 }
		}
		END { print found }
	')
	export "$1=$network_stub_value"
	[ -n "$network_stub_value" ]
}

network_get_dnsserver() {
	if [ "${3:-0}" = 1 ] || [ "${3:-0}" = true ]; then
		network_stub_get "$1" "$2" dns-server 1 && return
	fi
	network_stub_get "$1" "$2" dns-server
}

network_get_device() { network_stub_get "$1" "$2" l3_device; }

network_get_physdev() { network_stub_get "$1" "$2" device; }
