# shellcheck shell=bash
# A router's root directory for the package's files: what `make install` puts
# there, busybox, and stand-ins for what OpenWrt has besides (stubs/).

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Applets that OpenWrt's busybox has by default; a script that needs another one
# would not run there. setsid is for the stand-ins.
APPLETS='sh ash [ awk basename cat chmod cmp cp cut dirname echo env false grep head kill ln ls mkdir
	mktemp mv printf pwd readlink rm rmdir sed sleep sort tail test touch tr true wc setsid'

# Real programs in place of the stand-ins, to compare the two: a prefix with
# bin/uci and bin/jsonfilter (not in the repository).
: "${OPENWRT_TOOLS:=}"

# router_make DIR [PROGRAM...]: the programs are copied with their libraries.
# BIN and LIB are what gets installed.
router_make() {
	local root=$1 applet program
	shift
	make -s -C "$REPO" install DESTDIR="$root" BIN="$BIN" LIB="$LIB" || return
	mkdir -p "$root"/{bin,sbin,dev,proc,sys,tmp,var/run,var/log,var/lock,etc/rc.d,usr/bin} || return
	cp -r "$REPO"/tests/package/stubs/. "$root" || return
	for program in "$(command -v busybox)" "$(command -v flock)" "$BIN" "$@"; do
		router_program "$root" "$program" || return
	done
	for applet in $APPLETS; do
		[ -e "$root/bin/$applet" ] || ln -s "$(command -v busybox)" "$root/bin/$applet" || return
	done
	: >"$root/dev/null"
	printf 'root:x:0:0:root:/root:/bin/ash\nnobody:x:65534:65534:nobody:/var:/bin/false\ngluon-wan:x:32768:32768::/var/run/gluon-wan:/bin/false\n' >"$root/etc/passwd"
	printf 'root:x:0:\ngluon-fastd:x:800:\ngluon-mesh-vpn:x:801:\ngluon-wan:x:32768:gluon-wan\n' >"$root/etc/group"
	[ -z "$OPENWRT_TOOLS" ] || router_real_tools "$root"
}

# router_program ROOT FILE: it and the libraries it needs, where they are here.
router_program() {
	local file
	for file in "$2" $(ldd "$2" 2>/dev/null | grep -o '/[^ ]*'); do
		[ -e "$1$file" ] || install -D -m 0755 "$file" "$1$file" || return
	done
}

router_real_tools() {
	local tool
	for tool in uci jsonfilter; do
		router_program "$1" "$OPENWRT_TOOLS/bin/$tool" || return
		rm -f "$1"/{bin,sbin}/$tool
		ln -s "$OPENWRT_TOOLS/bin/$tool" "$1/bin/$tool" || return
	done
}

# netifd_says ROOT INTERFACE DEVICE ACTIVE INACTIVE: the status of an interface
# as ubus prints it; the servers are words.
netifd_says() {
	mkdir -p "$1/var/run/netifd"
	cat >"$1/var/run/netifd/$2.json" <<-END
		{
			"up": true,
			"l3_device": "$3",
			"proto": "dhcp",
			"device": "$3",
			"dns-server": [
		$(json_words "$4")
			],
			"inactive": {
				"ipv4-address": [

				],
				"dns-server": [
		$(json_words "$5")
				]
			}
		}
	END
}

json_words() {
	# shellcheck disable=SC2086 # words
	printf '"%s"\n' $1 | sed '$!s/$/,/; /^""$/d'
}
