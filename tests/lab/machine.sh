#!/bin/sh
# machine.sh DIR REPO: first process of a machine of the lab. Gives it its own
# files, etc, run and var of DIR, then waits. REPO stays visible.
set -e
dir=$1
repo=$2
mount -t proc proc /proc
mount -t sysfs sysfs /sys
# A checkout below a directory that is about to be covered.
case $repo in
/etc/* | /run/* | /var/*)
	mkdir -p "$dir$repo"
	mount --bind "$repo" "$dir$repo"
	;;
esac
for part in etc run var; do
	mount --rbind "$dir/$part" "/$part"
done
ip link set lo up
# Duplicate address detection takes a second per address, and nobody here has
# the same one.
for conf in all default; do
	echo 0 >"/proc/sys/net/ipv6/conf/$conf/accept_dad"
done
: >/run/ready
# Takes in the children of those who died before them.
set +e
while :; do
	sleep 600 &
	wait
done
