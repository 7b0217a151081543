#!/bin/sh
# with-syslog.sh LOG CMD...: runs CMD, in a mount namespace that is the caller's
# to make (unshare --mount), where /dev/log goes to the file LOG. Returns when a
# message of libpacketmark is there, or after 5 s.
set -e
log=$1
shift

within_5s() {
	tries=50
	until "$@" || [ $((tries -= 1)) -lt 0 ]; do
		sleep 0.1
	done
}

mount -t tmpfs dev /dev
mknod -m 666 /dev/null c 1 3
busybox syslogd -n -O "$log" 3>&- &
trap 'kill $!' EXIT
within_5s test -S /dev/log
"$@"
within_5s grep -q libpacketmark "$log"
