# Orders of events on a router: the package's own scripts under busybox ash, the
# real program, the lab's network; procd, fw4 and netifd are stand-ins that do to
# us what the real ones do.

bats_require_minimum_version 1.5.0
load lab/lab
load package/router

setup_file() {
	lab_up
	export ROUTER=$LAB_DIR/node/router BIN LIB
	BIN=$(gluon_wan_path) LIB=${LIBPACKETMARK:-/bin/true}
	router_make "$LAB_DIR/template" "$(command -v nft)" "$(command -v ip)"
	mkdir "$ROUTER"
}

teardown_file() {
	lab_down
}

setup() {
	cp -a "$LAB_DIR/template/." "$ROUTER"
	on node mount --rbind /proc "$ROUTER/proc"
	on node mount --bind /dev "$ROUTER/dev"
	STATE=$(node_state)
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || { lab_tail; tail -n 30 "$ROUTER"/var/log/*; }
	daemon_stop node queries
	service stop
	wait_for 10 all_ended
	router /usr/sbin/gluon-wan -c /nowhere clear
	on node sh -c 'ip link set lo up; nft flush ruleset; umount -l "$1/proc" "$1/dev"' _ "$ROUTER"
	# The mounts are seen on the node only.
	rm -rf --one-file-system "${ROUTER:?}"/*
	on home ip -br link show lan | grep -q UP || wan_up
	node_has_wan
}

# router CMD...: on the router.
router() {
	on node chroot "$ROUTER" /bin/env -i PATH=/bin:/sbin:/usr/bin:/usr/sbin "$@"
}

service() {
	router /etc/init.d/gluon-wan "$@"
}

# all_ended, pid_of INSTANCE: as procd knows it.
all_ended() {
	! compgen -G "$ROUTER/var/run/procd/gluon-wan/*/supervisor" >/dev/null
}

pid_of() {
	cat "$ROUTER/var/run/procd/gluon-wan/$1/child"
}

# Kernel pids of both, to see who was started anew.
pids() {
	echo "$(pid_of resolver) $(pid_of watch)"
}

# netifd_event [INTERFACE]: netifd tells what the lab's WAN has now.
netifd_event() {
	local servers
	servers=$(sed 's/^nameserver //; s/%.*//' "$LAB_DIR/node/var/gluon/wan-dnsmasq/resolv.conf")
	netifd_says "$ROUTER" wan6 br-wan '' "$servers"
	router env ACTION=ifupdate INTERFACE="${1:-wan6}" sh -c '. /etc/hotplug.d/iface/50-gluon-wan'
}

# config_change PACKAGE [CMD...]: what procd does when a configuration is
# committed: it runs the commands that are to run then, in the order of their
# delays. CMD is what netifd's own reload, one of them, does; ours of the same delay
# come before it.
config_change() {
	local package=$1 at command
	shift
	grep -q "^[0-9]* $package " "$ROUTER/var/run/procd/gluon-wan.triggers" || return
	while read -r _ at command; do
		case $at:$command in
		"$package:netifd") "$@" || return ;;
		"$package:"*) router sh -c "$command" || return ;;
		esac
	done < <(cat "$ROUTER/var/run/procd/gluon-wan.triggers" <(echo 1000 network netifd) | sort -s -n -k 1,1)
}

# answer GID [DIG_ARG...]: "home", "mesh", or why not.
answer() {
	local gid=$1
	shift
	as_group node "$gid" dig +short +time=2 +tries=1 "$VPN_NAME" TXT "$@" 2>&1
}

# The VPN daemons' DNS is the WAN's, others' is the mesh's.
separated() {
	[ "$(answer "$FASTD_GID" "@$MESH_IP4")" = '"home"' ] &&
		[ "$(answer "$MESH_VPN_GID" @::1)" = '"home"' ] &&
		[ "$(answer 0 @127.0.0.1)" = '"mesh"' ]
}

has_table() {
	on node nft list table inet gluon_wan >/dev/null 2>&1
}

has_rule() {
	on node ip -6 rule show | grep -q 'fwmark 0x1/0x1 lookup 1 proto 54'
}

in_place() {
	has_table && has_rule && [ -s "$ROUTER/var/run/gluon-wan/redirect.nft" ]
}

# The kernel holds what it held before the test. The WAN's own routes may still
# be on their way.
as_at_first() {
	diff <(node_state) - <<<"$STATE"
}

# Asks without a pause as a VPN daemon does; the log has an answer per line.
ask_all_the_time() {
	daemon node queries setpriv --regid "$FASTD_GID" --clear-groups -- sh -c "
		while :; do dig +short +time=1 +tries=1 @$MESH_IP4 $VPN_NAME TXT; done"
	wait_for 5 grep -q home "$LAB_DIR/node/queries.log"
}

never_the_mesh() {
	daemon_stop node queries
	grep -q home "$LAB_DIR/node/queries.log"
	run ! grep mesh "$LAB_DIR/node/queries.log"
}

# --- boot --------------------------------------------------------------------

@test "boot with the WAN late: nothing is asked in the mesh, and it works once the WAN is there" {
	wan_down
	service start
	router /etc/init.d/firewall start
	router /etc/init.d/network start
	netifd_event
	wait_for 10 in_place
	wait_for 10 resolver_answers
	[ "$(answer "$FASTD_GID" "@$MESH_IP4")" = '' ]
	[ "$(answer 0 @127.0.0.1)" = '"mesh"' ]
	wan_up
	netifd_event
	wait_for 10 separated
}

@test "boot with the WAN first: the list is there before the service" {
	netifd_event
	[ -s "$ROUTER/var/gluon/wan-dnsmasq/resolv.conf" ]
	service start
	wait_for 10 separated
	in_place
}

@test "boot with the WAN first, and nobody saw it come: the start looks" {
	netifd_event lan
	[ ! -e "$ROUTER/var/gluon" ]
	service start
	wait_for 10 separated
}

@test "boot before the loopback device is up" {
	on node ip link set lo down
	service start
	wait_for 10 in_place
	before=$(pid_of resolver)
	wait_for 10 grep -q 'serving DNS on 127.0.0.1:54 and \[::1\]:54' "$ROUTER/var/log/messages"
	on node ip link set lo up
	netifd_event
	wait_for 10 separated
	[ "$(pid_of resolver)" = "$before" ]
}

@test "the firewall starts before us, after us, and again: one table, the same" {
	service start
	wait_for 10 in_place
	alone=$(on node nft -s list table inet gluon_wan)
	for action in start reload restart; do
		router /etc/init.d/firewall $action
		wait_for 10 in_place
		diff <(on node nft -s list table inet gluon_wan) - <<<"$alone"
	done
	service clear
	run ! has_table
	router /etc/init.d/firewall restart
	run ! has_table
	service start
	wait_for 10 in_place
	diff <(on node nft -s list table inet gluon_wan) - <<<"$alone"
	netifd_event
	wait_for 10 separated
}

# --- gluon-reload ---------------------------------------------------------------

@test "gluon-reload: what firewall and network take away comes back at once, nobody is started anew" {
	netifd_event
	service start
	wait_for 10 separated
	before=$(pids)
	# Between the stop of the others and their start.
	cat >"$ROUTER/lib/gluon/reload.d/500-look" <<-'END'
		#!/bin/sh
		for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			if nft list table inet gluon_wan && ip -6 rule show | grep 'fwmark 0x1/0x1 lookup 1'; then
				echo in place >/var/log/between
				exit
			fi
			sleep 0.25
		done >/dev/null 2>&1
	END
	chmod 755 "$ROUTER/lib/gluon/reload.d/500-look"
	router gluon-reload
	grep -qx 'in place' "$ROUTER/var/log/between"
	wait_for 10 in_place
	wait_for 10 separated
	[ "$(pids)" = "$before" ]
	on node nft list table inet fw4
}

@test "gluon-reload starts a service that was stopped" {
	netifd_event
	service start
	wait_for 10 separated
	service stop
	wait_for 10 all_ended
	router gluon-reload
	wait_for 10 separated
}

# --- stop, upgrade, removal --------------------------------------------------------

@test "stop leaves redirect and rule: a VPN daemon gets no answer rather than the mesh's" {
	netifd_event
	service start
	wait_for 10 separated
	service stop
	wait_for 10 all_ended
	in_place
	[[ $(answer "$FASTD_GID" "@$MESH_IP4") != *mesh* ]]
	service start
	wait_for 10 separated
}

@test "the package is upgraded while it runs: the table is not touched, no query goes astray" {
	netifd_event
	service start
	wait_for 10 separated
	table=$(on node nft -a list table inet gluon_wan | grep -v counter)
	before=$(pids)
	ask_all_the_time
	# As default_prerm and default_postinst do it.
	service stop
	rm "$ROUTER/usr/sbin/gluon-wan" "$ROUTER/etc/init.d/gluon-wan"
	run ! service start
	make -s -C "$REPO" install DESTDIR="$ROUTER" BIN="$BIN" LIB="$LIB"
	service start
	wait_for 10 separated
	never_the_mesh
	diff <(on node nft -a list table inet gluon_wan | grep -v counter) - <<<"$table"
	[ "$(pids)" != "$before" ]
}

# everything: all files of the router but logs and what the stand-ins keep.
everything() {
	(cd "$ROUTER" && find . -path ./proc -prune -o -path ./dev -prune -o -path ./var/run/procd\* -prune -o \
		-path ./var/log -prune -o -path ./var/run/netifd -prune -o ! -type d -print | LC_ALL=C sort)
}

@test "removal leaves nothing behind, in the kernel or in files" {
	service enable
	netifd_event
	service start
	wait_for 10 separated
	# Also with a configuration that nobody can read.
	echo 'nonsense' >"$ROUTER/etc/config/gluon-wan"
	sed -n '/^define Package\/gluon-wan\/prerm/,/^endef/{//d; s/\$\$/$/g; p}' "$REPO/package/gluon-wan/Makefile" >"$ROUTER/tmp/prerm"
	# As default_prerm does it.
	router sh /tmp/prerm
	service disable
	run -0 service stop
	[ "$output" = '' ]
	all_ended
	rm "$ROUTER/tmp/prerm"
	wait_for 5 as_at_first
	[ ! -e "$ROUTER/var/gluon" ]
	# What the package manager removes is what it installed.
	while read -r _ _ file _; do rm "$ROUTER$file"; done <"$REPO/tests/package/files"
	diff <(everything) <(cd "$LAB_DIR/template" && find . ! -type d | LC_ALL=C sort |
		grep -vxFf <(while read -r _ _ file _; do echo ".$file"; done <"$REPO/tests/package/files") |
		grep -vx ./dev/null)
	run ! on node pgrep -x gluon-wan
}

@test "removal waits for the watch, which would mend what is cleared" {
	service start
	wait_for 10 in_place
	watch=$(pid_of watch)
	on node kill -STOP "$watch"
	# What is somebody else's stays.
	touch "$ROUTER/var/gluon/other"
	service clear &
	clear=$!
	# The other one has ended long ago.
	wait_for 10 test ! -e "$ROUTER/var/run/procd/gluon-wan/resolver"
	sleep 1
	has_table
	on node kill -CONT "$watch"
	wait $clear
	run ! has_table
	[ "$(ls "$ROUTER/var/gluon")" = other ]
	rm "$ROUTER/var/gluon/other"
	wait_for 5 as_at_first
}

# --- configuration --------------------------------------------------------------------

@test "static servers from the web interface count at once, and nobody is started anew" {
	# What the WAN announces does not answer.
	netifd_says "$ROUTER" wan br-wan '' 192.0.2.1
	service start
	wait_for 10 in_place
	wait_for 10 grep -q 'servers: 192.0.2.1' "$ROUTER/var/log/messages"
	wait_for 10 resolver_answers_anything
	[[ $(answer "$FASTD_GID" "@$MESH_IP4") != *home* ]]
	before=$(pids)
	printf "\nconfig static\n\tlist server '%s'\n" "$HOME_IP4" >"$ROUTER/etc/config/gluon-wan-dnsmasq"
	config_change gluon-wan-dnsmasq
	wait_for 10 separated
	[ "$(cat "$ROUTER/var/gluon/wan-dnsmasq/resolv.conf")" = "nameserver $HOME_IP4" ]
	# And taken away again.
	printf "\nconfig static\n" >"$ROUTER/etc/config/gluon-wan-dnsmasq"
	config_change gluon-wan-dnsmasq
	wait_for 10 announced_servers_twice
	[ "$(cat "$ROUTER/var/gluon/wan-dnsmasq/resolv.conf")" = 'nameserver 192.0.2.1' ]
	[ "$(pids)" = "$before" ]
}

announced_servers_twice() {
	[ "$(grep -c 'servers: 192.0.2.1' "$ROUTER/var/log/messages")" -eq 2 ]
}

resolver_answers_anything() {
	on node dig +time=8 +tries=1 -p 54 @127.0.0.1 version.bind CH TXT 2>/dev/null | grep -q 'status: NOERROR'
}

@test "servers that the user gives the WAN's interface count, though netifd takes them up after our own reload and tells nobody" {
	netifd_says "$ROUTER" wan br-wan '' 192.0.2.1
	service start
	wait_for 10 grep -q 192.0.2.1 "$ROUTER/var/gluon/wan-dnsmasq/resolv.conf"
	before=$(pids)
	config_change network netifd_says "$ROUTER" wan br-wan "$HOME_IP4" 192.0.2.1
	[ "$(head -n 1 "$ROUTER/var/gluon/wan-dnsmasq/resolv.conf")" = "nameserver $HOME_IP4" ]
	wait_for 10 separated
	[ "$(pids)" = "$before" ]
}

@test "a port that is only saved reaches nobody, a committed one both" {
	netifd_event
	printf "config resolver 'resolver'\n" >"$ROUTER/etc/config/gluon-wan"
	service start
	wait_for 10 separated
	before=$(pids)
	router uci set gluon-wan.resolver.port=5454
	[ "$(router uci get gluon-wan.resolver.port)" = 5454 ]
	service reload
	wait_for 10 separated
	[ "$(pids)" = "$before" ]
	on node nft list table inet gluon_wan | grep -q 'redirect to :54 '
	# As `uci commit` does it.
	printf "config resolver 'resolver'\n\toption port '5454'\n" >"$ROUTER/etc/config/gluon-wan"
	rm "$ROUTER/tmp/.uci/gluon-wan"
	config_change gluon-wan
	wait_for 10 grep -q 'serving DNS on 127.0.0.1:5454' "$ROUTER/var/log/messages"
	wait_for 10 separated
	on node nft list table inet gluon_wan | grep -q 'redirect to :5454 '
	[ "$(pid_of watch)" = "${before#* }" ]
}

@test "a start does not wait for netifd" {
	netifd_says "$ROUTER" wan br-wan '' "$HOME_IP4"
	mv "$ROUTER/bin/ubus" "$ROUTER/bin/ubus.quick"
	printf '#!/bin/sh\n[ "$2" != network.interface.wan ] || while [ ! -e /var/run/go ]; do sleep 1; done\nubus.quick "$@"\n' >"$ROUTER/bin/ubus"
	chmod 755 "$ROUTER/bin/ubus"
	service start
	wait_for 10 in_place
	wait_for 10 resolver_answers_anything
	service reload
	: >"$ROUTER/var/run/go"
	wait_for 10 separated
}

@test "a configuration that UCI made readable for root only is still read" {
	netifd_event
	printf 'config resolver\n\toption max_inflight 200\n' >"$ROUTER/etc/config/gluon-wan"
	chmod 600 "$ROUTER"/etc/config/*
	service start
	wait_for 10 separated
	[ "$(stat -c %a "$ROUTER/etc/config/gluon-wan-dnsmasq")" = 644 ]
	# Again, without a start: as after a commit.
	chmod 600 "$ROUTER"/etc/config/*
	printf "config static\n\tlist server '192.0.2.1'\n" >"$ROUTER/etc/config/gluon-wan-dnsmasq"
	config_change gluon-wan-dnsmasq
	wait_for 10 grep -q 'servers: 192.0.2.1' "$ROUTER/var/log/messages"
}

@test "a new group: the watch takes it, nobody is started anew" {
	netifd_event
	service start
	wait_for 10 separated
	before=$(pids)
	printf 'config redirect\n\tlist group 1234\n' >"$ROUTER/etc/config/gluon-wan"
	config_change gluon-wan
	wait_for 10 of_group 1234
	[ "$(answer "$FASTD_GID" @127.0.0.1)" = '"mesh"' ]
	[ "$(pids)" = "$before" ]
	grep -qx 'signal gluon-wan::watch 1' "$ROUTER/var/log/calls"
	# The same again is no news.
	config_change gluon-wan
	[ "$(grep -c '^signal' "$ROUTER/var/log/calls")" -eq 1 ]
}

of_group() {
	[ "$(answer "$1" @127.0.0.1)" = '"home"' ]
}

@test "a new port: only the resolver is started anew, and both parts agree on it" {
	netifd_event
	service start
	wait_for 10 separated
	read -r resolver watch <<<"$(pids)"
	printf 'config resolver\n\toption port 5454\n' >"$ROUTER/etc/config/gluon-wan"
	config_change gluon-wan
	wait_for 10 grep -q 'serving DNS on 127.0.0.1:5454' "$ROUTER/var/log/messages"
	wait_for 10 separated
	on node nft list table inet gluon_wan | grep -q 'redirect to :5454'
	[ "$(pid_of watch)" = "$watch" ]
	[ "$(pid_of resolver)" != "$resolver" ]
}

@test "a bad configuration is named in the log, takes no protection away, and mended it counts at once" {
	netifd_event
	printf 'config resolver\n\toption port 0\n' >"$ROUTER/etc/config/gluon-wan"
	service start
	wait_for 10 grep -q "gluon-wan: /etc/config/gluon-wan:2: option 'port'" "$ROUTER/var/log/messages"
	# The default stands in.
	wait_for 10 separated
	on node nft list table inet gluon_wan | grep -q 'redirect to :54 '
	printf 'config resolver\n\toption port 5454\n' >"$ROUTER/etc/config/gluon-wan"
	config_change gluon-wan
	wait_for 10 grep -q 'serving DNS on 127.0.0.1:5454' "$ROUTER/var/log/messages"
	wait_for 5 separated
}

@test "a configuration that is refused at a reload starts nobody anew" {
	netifd_event
	service start
	wait_for 10 separated
	before=$(pids)
	printf 'config resolver\n\toption port 5454\n\toption max_inflight 0\n' >"$ROUTER/etc/config/gluon-wan"
	config_change gluon-wan
	wait_for 10 grep -q "gluon-wan:3: option 'max_inflight'" "$ROUTER/var/log/messages"
	wait_for 10 separated
	[ "$(pids)" = "$before" ]
}

# --- accidents ------------------------------------------------------------------------------

@test "whoever is killed is started again, and until then nothing goes astray" {
	netifd_event
	service start
	wait_for 10 separated
	ask_all_the_time
	# The second time they end too soon, and wait.
	for _ in once twice; do
		read -r resolver watch <<<"$(pids)"
		on node kill -KILL "$resolver" "$watch"
		wait_for 3 is_another resolver "$resolver"
		wait_for 3 is_another watch "$watch"
	done
	# Nobody is there who would mend it now.
	waits resolver
	waits watch
	on node ip -6 rule del fwmark 0x1/0x1 lookup 1 proto 54
	wait_for 20 both_up
	wait_for 10 in_place
	wait_for 10 separated
	never_the_mesh
}

# is_another INSTANCE PID: it runs again.
is_another() {
	local pid
	pid=$(pid_of "$1" 2>/dev/null) && [ "$pid" != "$2" ]
}

# waits INSTANCE: it is the shell that waits.
waits() {
	on node cat "/proc/$(pid_of "$1")/comm" | grep -qx gluon-wan-insta
}

@test "a resolver that is killed is there again at once; in a loop of crashes it waits" {
	netifd_event
	service start
	wait_for 10 separated
	# As if it had run for a while.
	echo 0 >"$ROUTER/var/run/gluon-wan/resolver.began"
	resolver=$(pid_of resolver)
	on node kill -KILL "$resolver"
	wait_for 3 is_another resolver "$resolver"
	wait_for 3 resolver_answers_anything
	resolver=$(pid_of resolver)
	on node kill -KILL "$resolver"
	wait_for 3 is_another resolver "$resolver"
	waits resolver
	wait_for 10 separated
	# A reload is no crash.
	printf 'config resolver\n\toption port 5454\n' >"$ROUTER/etc/config/gluon-wan"
	config_change gluon-wan
	wait_for 4 grep -q 'serving DNS on 127.0.0.1:5454' "$ROUTER/var/log/messages"
}

both_up() {
	pids >/dev/null 2>&1 && pid_of resolver 2>/dev/null && pid_of watch 2>/dev/null
}

@test "the WAN goes and comes under another index" {
	netifd_event
	service start
	wait_for 10 separated
	before=$(pids)
	wan_bridge_replace
	netifd_event
	wait_for 10 separated
	[ "$(pids)" = "$before" ]
}
