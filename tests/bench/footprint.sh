#!/usr/bin/env bash
# What the program takes of a router, each build of it: flash and memory, beside Gluon's
# second dnsmasq in the same run.
#
#   GLUON_WAN=target/release/gluon-wan SMALL=… LIBPACKETMARK=… tests/bench/footprint.sh
#   tests/bench/footprint.sh flash PROGRAM...    flash alone, of programs for any processor
#
# The image is what OpenWrt's flash holds: squashfs of blocks of 256 kB under xz. It has
# a C library, busybox, dnsmasq, nft and the libraries that these need, libnftnl and
# libmnl among them; what counts is by how much all of the package makes it grow.
# Memory is what is a process's alone and written (private dirty), after some queries.
set -euo pipefail
repo=$(readlink -f "$(dirname "$(readlink -f "$0")")/../..")
# shellcheck source=tests/lab/lab.bash
. "$repo/tests/lab/lab.bash"
library=$(readlink -f "${LIBPACKETMARK:-$repo/target/preload/libpacketmark.so}")

finish() {
	local status=$?
	trap - EXIT
	lab_down
	exit $status
}
trap finish EXIT

under_xz() {
	xz -9e -c "$1" | wc -c
}

# image TREE: how large its image is.
image() {
	rm -f "$LAB_DIR/image"
	mksquashfs "$1" "$LAB_DIR/image" -comp xz -b 256k -noappend -nopad -no-progress -all-root -no-xattrs >/dev/null
	stat -c %s "$LAB_DIR/image"
}

# router: a tree that has all but the package.
router() {
	local file
	mkdir -p "$LAB_DIR/router"
	for file in /bin/busybox /usr/sbin/dnsmasq /usr/sbin/nft; do
		echo "$file"
		ldd "$file" | grep -o '/[^ ]*'
	done | sort -u | while read -r file; do
		install -D "$(readlink -f "$file")" "$LAB_DIR/router$file"
	done
}

# image_growth PROGRAM
image_growth() {
	[ -d "$LAB_DIR/router" ] || router
	local with=$LAB_DIR/with
	rm -rf "$with"
	cp -a "$LAB_DIR/router" "$with"
	make -s -C "$repo" install DESTDIR="$with" BIN="$(readlink -f "$1")" LIB="$library"
	echo $(($(image "$with") - $(image "$LAB_DIR/router")))
}

flash_header() {
	printf '%-34s %10s %10s %10s\n' flash bytes 'xz -9e' image
}

# flash TITLE PROGRAM
flash() {
	printf '%-34s %10d %10d %+10d\n' "$1" "$(stat -c %s "$2")" "$(under_xz "$2")" "$(image_growth "$2")"
}

if [ "${1-}" = flash ]; then
	lab_init
	flash_header
	for program in "${@:2}"; do flash "${program#"$repo"/target/}" "$program"; done
	exit
fi

own=$(readlink -f "${GLUON_WAN:-$repo/target/release/gluon-wan}")
for file in "$own" "$library"; do
	[ -e "$file" ] || lab_fail "$file is missing: make build"
done

# The node with its primary dnsmasq, and a server on the WAN.
two_machines() {
	machine_add node
	machine_add wan
	cable node br-wan wan lan
	on node ip addr add 10.9.0.10/24 dev br-wan
	on node ip route add default via 10.9.0.1
	on wan ip addr add 10.9.0.1/24 dev lan
	printf 'gluon-fastd:x:800:\n' >>"$LAB_DIR/node/etc/group"
	printf "config static\n\tlist server 10.9.0.1\n" >"$LAB_DIR/node/etc/config/gluon-wan-dnsmasq"
	dnsmasq wan 53 10.9.0.1 --address=/example/198.51.100.2
	dnsmasq node 53 127.0.0.1 --server=10.9.0.1
}

# dnsmasq MACHINE PORT ADDR OPTION...
dnsmasq() {
	daemon "$1" "dnsmasq-$2" dnsmasq --conf-file=/dev/null --keep-in-foreground --user=root --pid-file= --no-resolv --no-hosts \
		--cache-size=0 --bind-interfaces "--port=$2" "--listen-address=$3" "${@:4}"
}

answers() {
	on node dig +short +time=1 +tries=1 -p "$1" @127.0.0.1 "$2.example" | grep . >/dev/null
}

# asked PORT: twenty queries later.
asked() {
	local count
	wait_for 5 answers "$1" first
	for count in {1..20}; do answers "$1" "name$count"; done
}

# private DAEMON: kB of the node's daemon.
private() {
	on node awk '/^Private_Dirty/ { print $2 }' "/proc/$(daemon_pid node "$1")/smaps_rollup"
}

# memory TITLE PROGRAM: sets `both`.
memory() {
	local watch resolver
	daemon node watch "$2" sync --watch
	wait_for 5 on node nft list table inet gluon_wan >/dev/null 2>&1
	daemon node resolver "$2" resolver
	asked 54
	sleep 1
	watch=$(private watch) resolver=$(private resolver) both=$((watch + resolver))
	printf '%-34s %10d %10d %10d\n' "$1" "$watch" "$resolver" $both
	daemon_stop node watch
	daemon_stop node resolver
}

lab_require dnsmasq dig nft mksquashfs xz
lab_init
flash_header
flash 'make build' "$own"
[ -z "${SMALL-}" ] || flash 'make small, as the package is' "$SMALL"
printf '%-34s %10d %10d\n' libpacketmark.so "$(stat -c %s "$library")" "$(under_xz "$library")" \
	"dnsmasq of Debian" "$(stat -c %s /usr/sbin/dnsmasq)" "$(under_xz /usr/sbin/dnsmasq)"

two_machines
printf '\n%-34s %10s %10s %10s\n' 'memory, private dirty (kB)' watch resolver both
memory 'make build' "$own"
[ -z "${SMALL-}" ] || memory 'make small, as the package is' "$(readlink -f "$SMALL")"
dnsmasq node 54 127.0.0.1 --server=10.9.0.1
asked 54
limit=$(private dnsmasq-54)
printf '%-34s %10s %10s %10d  at most as much: %s\n' 'a second dnsmasq' '' '' "$limit" \
	"$([ "$both" -le "$limit" ] && echo met || echo MISSED)"
