#!/usr/bin/env bats
# The files that name the resolver's servers: linked ones, directories that come
# later, and a system whose inotify is used up.

bats_require_minimum_version 1.5.0
load lab/lab
load resolver/pair

setup_file() {
	pair_up
	echo_up echo "$SERVER1" "$SERVER2" "$SERVER6"
}

setup() {
	daemons_keep
	probe_reset node
	var=$LAB_DIR/node/var
	rm -rf "$var/gluon" "$var/elsewhere"
	mkdir -p "$var/gluon/wan-dnsmasq" "$var/elsewhere/deep"
}

# names FILE ADDR: written beside it and renamed.
names() {
	echo "nameserver $2" >"$1.new"
	mv "$1.new" "$1"
}

# asks ADDR: this server, and no other, is in the list.
asks() {
	[[ $(on node dig +short +time=1 +tries=1 -p 54 @127.0.0.1 servers.bind CH TXT) = "\"$1#53 "* ]]
}

@test "a linked resolv file is followed to where it is, and so is its link" {
	names "$var/elsewhere/one" "$SERVER1"
	names "$var/elsewhere/two" "$SERVER2"
	ln -s ../../elsewhere/one "$var/gluon/wan-dnsmasq/resolv.conf"
	resolver_starts
	asks "$SERVER1"
	names "$var/elsewhere/one" "$SERVER6"
	wait_for 5 asks "$SERVER6"
	echo "nameserver $SERVER1" >"$var/elsewhere/one"
	wait_for 5 asks "$SERVER1"
	ln -sfn ../../elsewhere/two "$var/gluon/wan-dnsmasq/resolv.conf"
	wait_for 5 asks "$SERVER2"
	names "$var/elsewhere/two" "$SERVER6"
	wait_for 5 asks "$SERVER6"
}

@test "a linked directory is followed, also when it leads nowhere at first" {
	rmdir "$var/gluon/wan-dnsmasq"
	ln -s /var/elsewhere/later "$var/gluon/wan-dnsmasq"
	resolver_starts
	mkdir "$var/elsewhere/later"
	names "$var/elsewhere/later/resolv.conf" "$SERVER1"
	wait_for 5 asks "$SERVER1"
	names "$var/elsewhere/later/resolv.conf" "$SERVER2"
	wait_for 5 asks "$SERVER2"
	names "$var/elsewhere/deep/resolv.conf" "$SERVER6"
	ln -sfn /var/elsewhere/deep "$var/gluon/wan-dnsmasq"
	wait_for 5 asks "$SERVER6"
	# The directory above it is another one.
	mkdir -p "$var/elsewhere/new/wan-dnsmasq"
	names "$var/elsewhere/new/wan-dnsmasq/resolv.conf" "$SERVER1"
	mv "$var/gluon" "$var/elsewhere/old"
	mv "$var/elsewhere/new" "$var/gluon"
	wait_for 5 asks "$SERVER1"
}

@test "without an inotify instance it serves and looks every few seconds" {
	names "$var/gluon/wan-dnsmasq/resolv.conf" "$SERVER1"
	resolver_starts strace -D -qq -o /dev/null -e inject=inotify_init1:error=EMFILE
	asks "$SERVER1"
	on node dig +short +time=2 +tries=1 -p 54 @127.0.0.1 f0180.echo TXT | grep -q .
	names "$var/gluon/wan-dnsmasq/resolv.conf" "$SERVER2"
	wait_for 10 asks "$SERVER2"
	echo "nameserver $SERVER6" >"$var/gluon/wan-dnsmasq/resolv.conf"
	wait_for 10 asks "$SERVER6"
	[ "$(grep -c 'inotify does not tell of changes, looking every 3 s at .*/resolv.conf' "$LAB_DIR/node/resolver.log")" -eq 1 ]
}

@test "when an inotify instance is to be had again, it is used" {
	names "$var/gluon/wan-dnsmasq/resolv.conf" "$SERVER1"
	resolver_starts strace -D -qq -o /dev/null -e inject=inotify_init1:error=EMFILE:when=1..2
	wait_for 15 on node sh -c "ls -l /proc/$(daemon_pid node resolver)/fd | grep -q inotify"
	names "$var/gluon/wan-dnsmasq/resolv.conf" "$SERVER2"
	wait_for 2 asks "$SERVER2"
}
