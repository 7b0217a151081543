# The package's files on a router's root directory, under busybox ash: each
# script for itself. What they do together is in events.bats.

bats_require_minimum_version 1.5.0
load package/router

setup_file() {
	# The programs do not matter here.
	export BIN LIB TEMPLATE=$BATS_FILE_TMPDIR/template
	BIN=/bin/true LIB=/bin/true
	router_make "$TEMPLATE"
}

setup() {
	ROOT=$BATS_TEST_TMPDIR/root
	cp -a "$TEMPLATE" "$ROOT"
	RESOLV=$ROOT/var/gluon/wan-dnsmasq/resolv.conf
	DEVICES=$ROOT/var/gluon/wan-dnsmasq/devices
}

# Whoever a test left behind.
teardown() {
	[ -z "${HOLDER:-}" ] || kill "$HOLDER" 2>/dev/null || :
}

# router CMD...: on the router.
router() {
	timeout 20 chroot "$ROOT" /bin/env -i PATH=/bin:/sbin:/usr/bin:/usr/sbin "$@"
}

update() {
	router /lib/gluon/wan-dnsmasq/update
}

# --- what is installed ----------------------------------------------------------

@test "make install puts these files there, with these modes, owned by root" {
	cd "$REPO"
	(umask 077 && make -s install DESTDIR="$BATS_TEST_TMPDIR/install" BIN="$BIN" LIB="$LIB")
	find "$BATS_TEST_TMPDIR/install" -mindepth 1 ! -type d -printf '%M %U:%G /%P %l\n' |
		sed 's/ $//' | LC_ALL=C sort -k 3 >"$BATS_TEST_TMPDIR/files"
	diff tests/package/files "$BATS_TEST_TMPDIR/files"
	run -0 find "$BATS_TEST_TMPDIR/install" -type d ! -perm 755
	[ -z "$output" ]
}

@test "without a wrapper there is none, and a relative DESTDIR is one" {
	cd "$REPO"
	run -0 realpath --relative-to=. "$BATS_TEST_TMPDIR/install"
	make -s install DESTDIR="$output" WRAPPER= BIN="$BIN" LIB="$LIB"
	[ -x "$BATS_TEST_TMPDIR/install/etc/init.d/gluon-wan" ]
	[ -x "$BATS_TEST_TMPDIR/install/usr/sbin/gluon-wan" ]
	[ ! -L "$BATS_TEST_TMPDIR/install/usr/bin/gluon-wan-dns" ]
}

@test "an install without a program fails" {
	cd "$REPO"
	run ! make -s install DESTDIR="$BATS_TEST_TMPDIR/install" BIN=/nowhere LIB="$LIB"
}

@test "the packages have the program's version, and keeps both configuration files" {
	cd "$REPO"
	version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
	for makefile in package/*/Makefile; do
		grep -qx "PKG_VERSION:=$version" "$makefile"
	done
	run -0 sed -n '/^define .*conffiles/,/^endef/p' package/gluon-wan/Makefile
	[ "$output" = $'define Package/gluon-wan/conffiles\n/etc/config/gluon-wan\n/etc/config/gluon-wan-dnsmasq\nendef' ]
	[ -f "$TEMPLATE/etc/config/gluon-wan" ]
	[ -f "$TEMPLATE/etc/config/gluon-wan-dnsmasq" ]
}

@test "nothing but a POSIX shell reads the scripts" {
	cd "$REPO/package/gluon-wan/files"
	run -0 grep -rlI '^#!' .
	while read -r file; do
		read -r first <"$file"
		[[ $first == '#!/bin/sh' || $first == '#!/bin/sh /etc/rc.common' ]] || { echo "$file: $first"; false; }
		router sh -n "${file#.}" </dev/null
	done <<<"$output"
}

# --- servers and devices -------------------------------------------------------------

# netifd_is_silent INTERFACE: it does not answer; 7 is UBUS_STATUS_TIMEOUT.
netifd_is_silent() {
	mv "$ROOT/bin/ubus" "$ROOT/bin/ubus.quick"
	printf '#!/bin/sh\ncase $2 in network.interface.%s) exit 7 ;; esac\nubus.quick "$@"\n' "$1" >"$ROOT/bin/ubus"
	chmod 755 "$ROOT/bin/ubus"
}

@test "update: the devices are those that netifd names, each once: bridge, VLAN, PPPoE, modem" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	netifd_says "$ROOT" wan6 br-wan '' fe80::1
	update
	diff "$DEVICES" - <<<br-wan
	[ "$(stat -c %a "$DEVICES")" = 644 ]
	netifd_says "$ROOT" wan eth0.7 '' 192.0.2.1
	netifd_says "$ROOT" wan6 eth0.7 '' fe80::1
	update
	diff "$DEVICES" - <<<eth0.7
	# Of a PPPoE connection, `device` is the Ethernet below.
	netifd_says "$ROOT" wan pppoe-wan '' 192.0.2.1
	sed -i 's/"device": .*/"device": "eth1",/' "$ROOT/var/run/netifd/wan.json"
	netifd_says "$ROOT" wan_6 pppoe-wan '' fe80::1
	netifd_says "$ROOT" cellular wwan0 '' ''
	netifd_says "$ROOT" cellular_4 wwan0 '' 192.0.2.2
	netifd_says "$ROOT" cellular_6 wwan0 '' fe80::2
	netifd_says "$ROOT" lan br-lan '' ''
	update
	diff "$DEVICES" - <<<$'pppoe-wan\neth0.7\nwwan0'
	diff "$RESOLV" - <<<$'nameserver 192.0.2.1\nnameserver fe80::1%eth0.7\nnameserver fe80::1%pppoe-wan\nnameserver 192.0.2.2\nnameserver fe80::2%wwan0'
	rm "$ROOT"/var/run/netifd/*
	netifd_says "$ROOT" wan eth1 '' 192.0.2.1
	update
	diff "$DEVICES" - <<<eth1
}

@test "update: an interface that is down has its lower device, and the alias of a modem's child is none" {
	netifd_says "$ROOT" wan br-wan '' ''
	netifd_says "$ROOT" cellular_4 '' '' fe80::1
	sed -i '/l3_device/d' "$ROOT"/var/run/netifd/*
	sed -i 's/"device": .*/"device": "@cellular",/' "$ROOT/var/run/netifd/cellular_4.json"
	update
	diff "$DEVICES" - <<<br-wan
	[ ! -s "$RESOLV" ]
}

@test "update: the servers that netifd calls inactive, link-local ones with their device" {
	netifd_says "$ROOT" wan br-wan '' '192.0.2.1 192.0.2.2'
	netifd_says "$ROOT" wan6 br-wan '' 'fe80::77:1 2001:db8::1'
	netifd_says "$ROOT" lan br-client '' 203.0.113.66
	update
	diff "$RESOLV" - <<-END
		nameserver 192.0.2.1
		nameserver 192.0.2.2
		nameserver fe80::77:1%br-wan
		nameserver 2001:db8::1
	END
	[ "$(stat -c %a "$RESOLV")" = 644 ]
}

@test "update: servers that the user gave an interface are active, and come first" {
	netifd_says "$ROOT" wan br-wan 198.51.100.53 192.0.2.1
	netifd_says "$ROOT" wan6 br-wan FEBF::1 ''
	update
	diff "$RESOLV" - <<<$'nameserver 198.51.100.53\nnameserver 192.0.2.1\nnameserver FEBF::1%br-wan'
}

@test "update: a link-local server without a device is of no use, an interface that is down has its lower device" {
	netifd_says "$ROOT" wan '' '' 'fe80::1 192.0.2.1'
	netifd_says "$ROOT" wan6 br-wan '' fe80::2
	sed -i '/l3_device/d' "$ROOT/var/run/netifd/wan6.json"
	sed -i '/device/d' "$ROOT/var/run/netifd/wan.json"
	update
	diff "$RESOLV" - <<<$'nameserver 192.0.2.1\nnameserver fe80::2%br-wan'
}

@test "update: an answer that does not come changes nothing" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	netifd_says "$ROOT" wan6 br-wan '' 2001:db8::1
	update
	netifd_is_silent wan
	netifd_says "$ROOT" wan6 br-wan '' 2001:db8::2
	run -1 update
	diff "$DEVICES" - <<<br-wan
	diff "$RESOLV" - <<<$'nameserver 192.0.2.1\nnameserver 2001:db8::1'
	grep -q 'netifd does not say what it knows of wan:' "$ROOT/var/log/messages"
}

@test "update: interfaces come from all drop-ins, also without a last newline, and odd names do no harm" {
	printf 'wwan' >"$ROOT/lib/gluon/wan-dnsmasq/interface.d/100-own"
	printf '\n# a remark\nx;>/tmp/x\nno-such\n*\ntether' >"$ROOT/lib/gluon/wan-dnsmasq/interface.d/110-own"
	netifd_says "$ROOT" wwan wwan0 '' 192.0.2.3
	netifd_says "$ROOT" tether usb0 '' fe80::2
	update
	diff "$RESOLV" - <<<$'nameserver 192.0.2.3\nnameserver fe80::2%usb0'
	grep -q 'network.interface.cellular_4 ' "$ROOT/var/log/calls"
	[ ! -e "$ROOT/tmp/x" ]
}

@test "update: static servers win, and the devices are netifd's all the same" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	printf "config static\n\tlist server '198.51.100.1'\n\tlist server \"2001:db8::53\"\n" >"$ROOT/etc/config/gluon-wan-dnsmasq"
	update
	diff "$RESOLV" - <<<$'nameserver 198.51.100.1\nnameserver 2001:db8::53'
	diff "$DEVICES" - <<<br-wan
	# Gluon's own file has none.
	cp "$TEMPLATE/etc/config/gluon-wan-dnsmasq" "$ROOT/etc/config/"
	update
	diff "$RESOLV" - <<<'nameserver 192.0.2.1'
}

@test "update: static servers count while netifd is silent or not there" {
	printf "config static\n\tlist server '198.51.100.1'\n" >"$ROOT/etc/config/gluon-wan-dnsmasq"
	update
	diff "$RESOLV" - <<<'nameserver 198.51.100.1'
	[ ! -e "$DEVICES" ]
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	update
	netifd_is_silent wan
	printf "config static\n\tlist server '198.51.100.2'\n" >"$ROOT/etc/config/gluon-wan-dnsmasq"
	run -1 update
	diff "$RESOLV" - <<<'nameserver 198.51.100.2'
	diff "$DEVICES" - <<<br-wan
}

@test "update: what nobody has committed does not count" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	printf "config resolver 'resolver'\n" >"$ROOT/etc/config/gluon-wan"
	printf "config static 'static'\n" >"$ROOT/etc/config/gluon-wan-dnsmasq"
	router uci set gluon-wan-dnsmasq.static.server=198.51.100.1
	router uci set gluon-wan.resolver.resolv_file=/var/run/servers/list
	[ "$(router uci get gluon-wan-dnsmasq.static.server)" = 198.51.100.1 ]
	update
	diff "$RESOLV" - <<<'nameserver 192.0.2.1'
	[ ! -e "$ROOT/var/run/servers" ]
}

@test "update: no servers are an empty file; without netifd what was known stays" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	update
	mv "$ROOT/var/run/netifd" "$ROOT/var/run/netifd.gone"
	update
	diff "$RESOLV" - <<<'nameserver 192.0.2.1'
	mkdir "$ROOT/var/run/netifd"
	update
	[ -f "$RESOLV" ]
	[ ! -s "$RESOLV" ]
}

@test "update: what has not changed is not written, what has is renamed into place" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	update
	before=$(stat -c '%i %z' "$RESOLV" "$DEVICES")
	update
	[ "$(stat -c '%i %z' "$RESOLV" "$DEVICES")" = "$before" ]
	exec {old}<"$RESOLV"
	netifd_says "$ROOT" wan br-wan '' 192.0.2.2
	update
	# Who has the old file open reads the old file, whole.
	[ "$(cat <&"$old")" = 'nameserver 192.0.2.1' ]
	[ "$(cat "$RESOLV")" = 'nameserver 192.0.2.2' ]
	[ "$(ls "${RESOLV%/*}")" = $'devices\nresolv.conf' ]
}

@test "update: the file is the one that is configured" {
	printf 'config resolver\n\toption resolv_file /var/run/servers/list\n' >"$ROOT/etc/config/gluon-wan"
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	update
	[ "$(cat "$ROOT/var/run/servers/list")" = 'nameserver 192.0.2.1' ]
	[ "$(cat "$ROOT/var/run/servers/devices")" = br-wan ]
	[ ! -e "$RESOLV" ]
}

@test "update: a file that cannot be written stays whole, and the log says so" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	update
	mkdir "$RESOLV.new"
	netifd_says "$ROOT" wan br-wan '' 192.0.2.2
	run -1 update
	[ "$(cat "$RESOLV")" = 'nameserver 192.0.2.1' ]
	grep -q 'resolv.conf.new: cannot be written' "$ROOT/var/log/messages"
}

@test "update: links where a file belongs are replaced, not followed" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	mkdir -p "${RESOLV%/*}"
	echo untouched >"$ROOT/etc/victim"
	for file in "$RESOLV" "$RESOLV.new" "$DEVICES" "$DEVICES.new"; do
		ln -s /etc/victim "$file"
	done
	update
	[ "$(cat "$ROOT/etc/victim")" = untouched ]
	[ ! -L "$RESOLV" ]
	[ ! -L "$DEVICES" ]
	diff "$RESOLV" - <<<'nameserver 192.0.2.1'
	diff "$DEVICES" - <<<br-wan
}

# refuses_directory DIR: and neither writes nor truncates anything.
refuses_directory() {
	run -1 update
	grep -q "${1#"$ROOT"}: must be a directory (no link) that belongs to root" "$ROOT/var/log/messages"
	: >"$ROOT/var/log/messages"
	[ "$(cat "$ROOT/etc/victim/lock")" = untouched ]
	[ "$(ls "$ROOT/etc/victim")" = lock ]
}

@test "update: no part of the path is a link, and nobody but root can write there" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	mkdir "$ROOT/etc/victim"
	echo untouched >"$ROOT/etc/victim/lock"
	for directory in "$ROOT/var/gluon" "$ROOT/var/gluon/wan-dnsmasq" "$ROOT/var/run/gluon-wan"; do
		mkdir -p "${directory%/*}"
		rm -rf "$directory"
		ln -s /etc/victim "$directory"
		refuses_directory "$directory"
		rm "$directory"
		install -d -o 65534 "$directory"
		refuses_directory "$directory"
		chown 0 "$directory"
		for mode in 775 757; do
			chmod $mode "$directory"
			refuses_directory "$directory"
		done
		chmod 755 "$directory"
	done
	: >"$directory.file"
	printf 'config resolver\n\toption resolv_file /var/run/gluon-wan.file/list\n' >"$ROOT/etc/config/gluon-wan"
	refuses_directory "$directory.file"
	rm "$ROOT/etc/config/gluon-wan"
	update
	diff "$RESOLV" - <<<'nameserver 192.0.2.1'
}

@test "update: /var may be a link of the firmware's to /tmp, where everybody writes; /tmp itself is no place" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	rm -r "$ROOT/tmp"
	mv "$ROOT/var" "$ROOT/tmp"
	ln -s tmp "$ROOT/var"
	chmod 1777 "$ROOT/tmp"
	update
	diff "$ROOT/tmp/gluon/wan-dnsmasq/resolv.conf" - <<<'nameserver 192.0.2.1'
	chmod 777 "$ROOT/tmp"
	mkdir "$ROOT/etc/victim"
	echo untouched >"$ROOT/etc/victim/lock"
	run -1 update
	grep -q '/tmp: must be a directory' "$ROOT/tmp/log/messages"
	chmod 1777 "$ROOT/tmp"
	printf 'config resolver\n\toption resolv_file /tmp/list\n' >"$ROOT/etc/config/gluon-wan"
	run -1 update
	[ ! -e "$ROOT/tmp/list" ]
}

@test "update: nobody but root can hold its lock, and root not for long" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	update
	lock=$ROOT/var/run/gluon-wan/lock
	[ "$(stat -c '%u %a' "$lock")" = '0 600' ]
	run ! setpriv --reuid 65534 --regid 65534 --clear-groups flock -n "$lock" true
	flock "$lock" sleep 60 &
	HOLDER=$!
	until ! flock -n "$lock" true; do sleep 0.1; done
	netifd_says "$ROOT" wan br-wan '' 192.0.2.2
	run -1 timeout 18 chroot "$ROOT" /lib/gluon/wan-dnsmasq/update
	grep -q '/lock: held by another process for 10 s' "$ROOT/var/log/messages"
	diff "$RESOLV" - <<<'nameserver 192.0.2.1'
}

@test "update: a netifd that is slow to answer holds up nobody else, and its old answer does not count" {
	# The first one hears the old answer, late.
	mv "$ROOT/bin/ubus" "$ROOT/bin/ubus.quick"
	cat >"$ROOT/bin/ubus" <<-'END'
		#!/bin/sh
		ubus.quick "$@" || exit
		[ "$2" = network.interface.wan ] && [ ! -e /var/run/slow ] || exit 0
		: >/var/run/slow
		tries=150
		while [ ! -e /var/run/go ] && [ $((tries -= 1)) -gt 0 ]; do sleep 0.1; done
	END
	chmod 755 "$ROOT/bin/ubus"
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	update &
	first=$!
	for _ in $(seq 100); do
		[ ! -e "$ROOT/var/run/slow" ] || break
		sleep 0.1
	done
	[ -e "$ROOT/var/run/slow" ]
	netifd_says "$ROOT" wan eth1 '' 192.0.2.2
	update
	kill -0 $first
	[ "$(cat "$RESOLV")" = 'nameserver 192.0.2.2' ]
	: >"$ROOT/var/run/go"
	wait $first
	[ "$(cat "$RESOLV")" = 'nameserver 192.0.2.2' ]
	[ "$(cat "$DEVICES")" = eth1 ]
}

@test "the path of Gluon's script still works" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	router /lib/gluon/wan-dnsmasq/update.lua
	[ "$(cat "$RESOLV")" = 'nameserver 192.0.2.1' ]
}

# --- hotplug ----------------------------------------------------------------------------

# hotplug INTERFACE: sourced, as hotplug-call does.
hotplug() {
	router env ACTION=ifup INTERFACE="$1" sh -c '. /etc/hotplug.d/iface/50-gluon-wan'
}

@test "hotplug: an interface of the list counts, another one does not" {
	netifd_says "$ROOT" wan br-wan '' 192.0.2.1
	for interface in lan wa wan7 '' . 'w.n'; do
		run -0 hotplug "$interface"
		[ ! -e "$RESOLV" ] || { echo "'$interface' counted"; false; }
	done
	hotplug wan6
	[ "$(cat "$RESOLV")" = 'nameserver 192.0.2.1' ]
	printf tether >"$ROOT/lib/gluon/wan-dnsmasq/interface.d/100-own"
	netifd_says "$ROOT" tether usb0 '' 192.0.2.3
	hotplug tether
	grep -q 192.0.2.3 "$RESOLV"
}

# --- upgrade -------------------------------------------------------------------------------

# gluon_configured: as 110-network and 500-mesh-vpn leave it.
gluon_configured() {
	cat >"$ROOT/etc/config/network" <<-'END'

		config interface 'wan6'
			option ip6table '1'
			option peerdns '0'

		config rule6 'wan6_lookup'
			option mark '0x01/0x01'
			option lookup '1'

		config route6 'wan6_unreachable'
			option type 'unreachable'
			option table '1'

		config rule6 'own'
			option mark '0x2'

	END
	cat >"$ROOT/etc/config/firewall" <<-'END'

		config zone 'wan'
			option name 'wan'

		config include 'mesh_vpn_dns'
			option type 'restore'
			option path '/lib/gluon/mesh-vpn/iptables.rules'

	END
}

upgraded() {
	run -0 router /lib/gluon/upgrade/510-gluon-wan
	[ -z "$output" ]
	router uci commit network
	router uci commit firewall
}

@test "upgrade: leaves what Gluon puts in place for the same purpose, and takes out dead links; twice is once" {
	gluon_configured
	cp -r "$ROOT/etc/config" "$ROOT/etc/before"
	mkdir -p "$ROOT/etc/rc.d"
	ln -s ../init.d/gluon-wan-dnsmasq "$ROOT/etc/rc.d/S60gluon-wan-dnsmasq"
	ln -s ../init.d/gluon-wan "$ROOT/etc/rc.d/S18gluon-wan"
	for _ in once twice; do
		upgraded
		diff -r "$ROOT/etc/before" "$ROOT/etc/config"
		[ ! -L "$ROOT/etc/rc.d/S60gluon-wan-dnsmasq" ]
		[ -L "$ROOT/etc/rc.d/S18gluon-wan" ]
	done
}

@test "upgrade: without the files, and with a service of the old name still there" {
	rm -f "$ROOT"/etc/config/{network,firewall}
	: >"$ROOT/etc/init.d/gluon-wan-dnsmasq"
	ln -s ../init.d/gluon-wan-dnsmasq "$ROOT/etc/rc.d/S60gluon-wan-dnsmasq"
	run -0 router /lib/gluon/upgrade/510-gluon-wan
	[ -z "$output" ]
	[ -L "$ROOT/etc/rc.d/S60gluon-wan-dnsmasq" ]
}

# --- removal ------------------------------------------------------------------------------------

# prerm: the script of the package's Makefile, as make would write it.
prerm() {
	sed -n '/^define Package\/gluon-wan\/prerm/,/^endef/{//d; s/\$\$/$/g; p}' "$REPO/package/gluon-wan/Makefile" >"$ROOT/tmp/prerm"
	printf '#!/bin/sh\necho "$@" >>/var/log/calls\n' >"$ROOT/etc/init.d/gluon-wan"
	router env "$@" sh /tmp/prerm
}

@test "prerm: clears at a removal, not at an upgrade and not in an image, and says what is unguarded then" {
	prerm PKG_UPGRADE=1
	prerm IPKG_INSTROOT=/x
	[ ! -e "$ROOT/var/log/calls" ]
	gluon_configured
	printf '#!/bin/sh\n' >"$ROOT/usr/bin/gluon-reconfigure"
	chmod 755 "$ROOT/usr/bin/gluon-reconfigure"
	run -0 prerm PKG_UPGRADE=0
	[ "$(head -n 1 "$ROOT/var/log/calls")" = clear ]
	[[ $output == *'no longer sent over the WAN'* ]]
	[[ $output != *'marked packets'* ]]
	# As earlier versions left it.
	: >"$ROOT/etc/config/network"
	run -0 prerm PKG_UPGRADE=0
	[[ $output == *'Until gluon-reconfigure and gluon-reload nothing keeps marked packets off the mesh'* ]]
}
