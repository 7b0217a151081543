# shellcheck shell=bash
# Machines of the lab: a network, mount and pid namespace each, with /etc, /run
# and /var of their own. Nothing of a machine outlives its holder process, and
# no holder outlives the lab's owner.

# Everything of one lab is below $LAB_DIR:
#   log              what was done, with times
#   NAME/holder      pid of the process that keeps machine NAME
#   NAME/{etc,run,var}  what NAME sees as /etc, /run and /var
#   NAME/*.log, NAME/*.pid  its daemons
: "${LAB_DIR:=}"

# How long a command on a machine may take, in seconds.
: "${LAB_TIMEOUT:=20}"

LAB_REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

lab_log() {
	[ -z "$LAB_DIR" ] || printf '%(%T)T %s\n' -1 "$*" >>"$LAB_DIR/log"
}

# Says on stderr what went wrong; for `... || return`.
lab_fail() {
	lab_log "failed: $*"
	echo "lab: $*" >&2
	return 1
}

# lab_require CMD...: are we root, and is everything there?
lab_require() {
	local cmd missing=()
	for cmd in "$@"; do
		command -v "$cmd" >/dev/null || missing+=("$cmd")
	done
	[ ${#missing[@]} -eq 0 ] ||
		lab_fail "not installed: ${missing[*]} (make deps installs what is needed)" || return
	[ "$(id -u)" -eq 0 ] || lab_fail "namespaces need root"
}

# Makes an empty lab. It ends with the process that calls this, however that
# ends; LAB_OWNER= (empty) lets it stay until lab_down.
lab_init() {
	local owner=${LAB_OWNER-$$}
	LAB_DIR=$(mktemp -d /tmp/gluon-wan-lab.XXXXXX) || return
	export LAB_DIR
	# Daemons of the lab that dropped root read their files here.
	chmod 755 "$LAB_DIR"
	[ -z "$owner" ] || lab_watch "$owner"
}

# A process of its own, so that it survives a kill of the owner's process group.
lab_watch() {
	setsid bash -c '
		. "$1/tests/lab/namespace.bash"
		tail --pid="$2" -f /dev/null
		rm -f "$LAB_DIR/watch"
		lab_down
	' lab-watch "$LAB_REPO" "$1" </dev/null >/dev/null 2>&1 3>&- &
	echo $! >"$LAB_DIR/watch"
	disown
}

# Ends and removes everything; harmless when there is nothing.
lab_down() {
	local holder
	case $LAB_DIR in /tmp/gluon-wan-lab.*) ;; *) return 0 ;; esac
	[ -d "$LAB_DIR" ] || return 0
	[ ! -f "$LAB_DIR/watch" ] || kill "$(<"$LAB_DIR/watch")" 2>/dev/null
	for holder in "$LAB_DIR"/*/holder; do
		# The kernel kills all of a pid namespace with its first process.
		[ ! -f "$holder" ] || kill -KILL "$(<"$holder")" 2>/dev/null
	done
	for holder in "$LAB_DIR"/*/holder; do
		[ ! -f "$holder" ] || wait_for 5 lab_gone "$(<"$holder")"
	done
	rm -rf --one-file-system "$LAB_DIR"
}

# A killed process whose parent has not asked for it yet counts as gone.
lab_gone() {
	[ ! -e "/proc/$1/ns/net" ]
}

# machine_add NAME: a machine with nothing but loopback.
machine_add() {
	local name=$1 dir=$LAB_DIR/$1 holder
	mkdir -p "$dir"/{etc,run,var}
	machine_files "$dir" || return
	unshare --wd=/ --net --mount --propagation private --pid --fork --kill-child \
		sh "$LAB_REPO/tests/lab/machine.sh" "$dir" "$LAB_REPO" </dev/null >>"$dir/init.log" 2>&1 3>&- &
	holder=$!
	disown
	echo "$holder" >"$dir/holder"
	wait_for 5 test -e "$dir/run/ready" || lab_fail "$name: $(cat "$dir/init.log")" || return
	lab_log "$name: holder $holder"
}

# What programs expect in /etc and /var, independent of this computer.
machine_files() {
	local dir=$1 file
	for file in alternatives ld.so.cache ld.so.conf ld.so.conf.d iproute2 protocols services; do
		[ ! -e "/etc/$file" ] || cp -a "/etc/$file" "$dir/etc/" || return
	done
	mkdir -p "$dir"/etc/config "$dir"/var/lib/misc "$dir"/var/{log,tmp,empty}
	ln -s /run "$dir/var/run"
	cat >"$dir/etc/passwd" <<-END
		root:x:0:0:root:/root:/bin/sh
		nobody:x:65534:65534:nobody:/nonexistent:/bin/false
		gluon-wan:x:454:454:gluon-wan:/nonexistent:/bin/false
		dnsmasq:x:453:453:dnsmasq:/nonexistent:/bin/false
	END
	cat >"$dir/etc/group" <<-END
		root:x:0:
		nogroup:x:65534:
		gluon-wan:x:454:
		dnsmasq:x:453:
	END
	printf 'passwd: files\ngroup: files\nhosts: files dns\n' >"$dir/etc/nsswitch.conf"
	printf '127.0.0.1 localhost\n::1 localhost\n' >"$dir/etc/hosts"
	: >"$dir/etc/resolv.conf"
}

# machine_door NAME: sets `door` to the words that make a command run there, from /.
machine_door() {
	local holder
	holder=$(<"$LAB_DIR/$1/holder") || return
	door=(nsenter -t "$holder" --net --mount --root --wd --pid="/proc/$holder/ns/pid_for_children" --)
}

# on NAME CMD...: CMD on machine NAME, as root, for $LAB_TIMEOUT seconds at most.
on() {
	local door
	machine_door "$1" || return
	lab_log "on $*"
	timeout -k 2 "$LAB_TIMEOUT" "${door[@]}" "${@:2}"
}

# as_group NAME GID CMD...: the same with GID as the only group.
as_group() {
	local name=$1 gid=$2
	shift 2
	on "$name" setpriv --regid "$gid" --clear-groups -- "$@"
}

# cable NAME DEV NAME DEV: a veth pair between two machines, both ends up.
cable() {
	local holder
	holder=$(<"$LAB_DIR/$1/holder") || return
	nsenter -t "$holder" --net ip link add "$2" type veth \
		peer name "$4" netns "$(<"$LAB_DIR/$3/holder")" || return
	on "$1" ip link set "$2" up && on "$3" ip link set "$4" up
}

# daemon NAME TITLE CMD...: starts CMD, which must stay in the foreground.
# Output goes to $LAB_DIR/NAME/TITLE.log, without what was there.
daemon() {
	local door base=$LAB_DIR/$1/$2
	machine_door "$1" || return
	lab_log "daemon $*"
	shift 2
	rm -f "$base.pid"
	"${door[@]}" sh -c 'echo $$ >"$0.new" && mv "$0.new" "$0" && exec "$@"' \
		"$base.pid" "$@" </dev/null >"$base.log" 2>&1 3>&- &
	disown
	wait_for 5 test -e "$base.pid"
}

# Its pid as the machine sees it.
daemon_pid() {
	cat "$LAB_DIR/$1/$2.pid"
}

daemon_running() {
	local pid
	pid=$(daemon_pid "$1" "$2" 2>/dev/null) && on "$1" kill -0 "$pid" 2>/dev/null
}

daemon_ended() {
	! daemon_running "$@"
}

# daemon_kill NAME TITLE [SIGNAL]: sends it and returns.
daemon_kill() {
	on "$1" kill "-${3:-TERM}" "$(daemon_pid "$1" "$2")"
}

# Ends it and waits for that; one that is not running is fine.
daemon_stop() {
	[ -f "$LAB_DIR/$1/$2.pid" ] || return 0
	if daemon_kill "$1" "$2" 2>/dev/null; then
		wait_for 5 daemon_ended "$1" "$2" || {
			lab_log "$1: $2 did not end, killing it"
			daemon_kill "$1" "$2" KILL
			wait_for 5 daemon_ended "$1" "$2" || return
		}
	fi
	# Its number may soon be another's.
	rm "$LAB_DIR/$1/$2.pid"
}

# daemons_keep, daemons_stop: what was started since the former is ended by the latter,
# whatever its name: what a test started, and what all tests of a file share stays.
daemons_keep() {
	: >"$LAB_DIR/kept"
}

daemons_stop() {
	local file
	find "$LAB_DIR" -mindepth 2 -maxdepth 2 -name '*.pid' -newer "$LAB_DIR/kept" | sort | while IFS=/ read -ra file; do
		daemon_stop "${file[-2]}" "$(basename "${file[-1]}" .pid)"
	done
}

# wait_for SECONDS CMD...: until CMD succeeds, looking ten times a second.
wait_for() {
	local seconds=$1 end=$((SECONDS + $1 + 1))
	shift
	until "$@"; do
		if [ "$SECONDS" -ge "$end" ]; then
			lab_log "waited $seconds s in vain: $*"
			return 1
		fi
		sleep 0.1
	done
}

# The ends of all logs, for the reader of a failed test:
#   teardown() { [ -n "$BATS_TEST_COMPLETED" ] || lab_tail; }
lab_tail() {
	find "$LAB_DIR" -maxdepth 2 -name '*log' -size +0 -exec tail -n "${1:-15}" {} +
}
