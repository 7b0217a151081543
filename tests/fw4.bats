#!/usr/bin/env bats
# The redirect as a part of OpenWrt's firewall: the include file, and fw4's ruleset
# loaded over and over. fw4-restarts.bats asks how much gets around meanwhile.

bats_require_minimum_version 1.5.0
load lab/lab
load lab/redirect
load lab/fw4

@test "the link ships where fw4 looks, and leads to where the file is by default" {
	local link="$LAB_REPO/fw4/usr/share/nftables.d/ruleset-post/30-gluon-wan.nft"
	[ -L "$link" ]
	[ "$(readlink "$link")" = /var/run/gluon-wan/redirect.nft ]
}

@test "fw4's ruleset loads without the file, and with it any number of times" {
	fw4_load
	run -1 listed
	gluon_wan sync
	for _ in 1 2 3; do
		fw4_load
		one_redirect
		[ "$(asked 800)" = 444 ]
		[ "$(asked 0)" = 333 ]
	done
	fw4_flush
	fw4_load
	one_redirect
}

@test "a changed configuration loads cleanly over the old one" {
	gluon_wan sync
	fw4_load
	configure 5454 800 803
	gluon_wan sync
	one_redirect
	fw4_load
	one_redirect
	listed | grep -qF '{ 800, 803 }'
	listed | grep -qF 'redirect to :5454'
	# A file from before the change over a table from after it, and back.
	cp "$INCLUDE" "$BATS_TEST_TMPDIR/old"
	configure 54 801
	gluon_wan sync
	on node nft -f "$BATS_TEST_TMPDIR/old"
	listed | grep -qF 'redirect to :5454'
	fw4_load
	one_redirect
}

@test "what fw4 loaded is right, so sync does not write it again" {
	gluon_wan sync
	fw4_load
	local before
	before=$(handle)
	gluon_wan sync
	[ "$(handle)" = "$before" ]
}

@test "the file is made whole, readable, in a directory that is made too" {
	(umask 077 && gluon_wan sync)
	[ "$(stat -c '%a %U %F' "$INCLUDE")" = "644 root regular file" ]
	[ "$(ls "$(dirname "$INCLUDE")")" = redirect.nft ]
	grep -qx "table inet gluon_wan" "$INCLUDE"
	grep -qx "delete table inet gluon_wan" "$INCLUDE"
	diff <(sed '1,/^delete/d' "$INCLUDE") <(gluon_wan print)
}

@test "the file is not written when it is right, and is when it is not" {
	gluon_wan sync
	local inode other
	inode=$(stat -c %i "$INCLUDE")
	gluon_wan sync
	[ "$(stat -c %i "$INCLUDE")" = "$inode" ]
	cp "$INCLUDE" "$BATS_TEST_TMPDIR/right"
	for other in "echo >>$INCLUDE" "chmod 666 $INCLUDE" "chown 65534 $INCLUDE" \
		"ln -sf $BATS_TEST_TMPDIR/right $INCLUDE" "rm $INCLUDE; mkfifo $INCLUDE"; do
		echo "$other" >&2
		eval "$other"
		gluon_wan sync
		[ "$(stat -c '%a %u %F' "$INCLUDE")" = "644 0 regular file" ]
		cmp "$INCLUDE" "$BATS_TEST_TMPDIR/right"
	done
}

@test "no link that somebody planted is followed" {
	local dir victim="$BATS_TEST_TMPDIR/victim"
	dir=$(dirname "$INCLUDE")
	echo precious >"$victim"
	mkdir -p "$dir"
	ln -s "$victim" "$INCLUDE"
	# The name it is written under first ends in the process's number, which
	# exec keeps.
	# shellcheck disable=SC2016 # expanded by the inner shell
	on node sh -c 'ln -s "$1" "$2.gluon-wan-$$" && exec "$3" -c "$4" sync' \
		sh "$victim" "$INCLUDE" "$(gluon_wan_path)" "$CONFIG"
	[ "$(cat "$victim")" = precious ]
	[ "$(stat -c %F "$INCLUDE")" = "regular file" ]
	[ "$(ls "$dir")" = redirect.nft ]
}

@test "no directory on the way to the file may be a link or somebody else's: nothing is written, the table is in place" {
	local way=$BATS_TEST_TMPDIR/run victim=$BATS_TEST_TMPDIR/victim planted
	for planted in "ln -s $victim $way" "ln -s $victim $way/below" "install -d -m 777 $way/below" \
		"install -d -m 1777 $way/below" "install -d -o 65534 $way/below" "touch $way/below"; do
		echo "$planted" >&2
		rm -rf "$way"
		install -d -m 755 "$victim" "$way"
		[ "${planted##*/}" != run ] || rmdir "$way"
		eval "$planted"
		INCLUDE=$way/below/redirect.nft
		configure 54 800
		run -1 gluon_wan sync
		[[ "$output" == *"include: $way"*": must be a directory, and no link, that belongs to root"* ]]
		listed
		[ -z "$(ls "$victim")" ]
		run ls "$way/below/"
		[ "${#lines[@]}" -eq 0 ] || [ "$status" -ne 0 ]
		run -1 gluon_wan clear
		run -1 listed
	done
	# A directory like /tmp above one of root's will do.
	rm -rf "$way"
	install -d -m 1777 "$way"
	gluon_wan sync
	[ -s "$INCLUDE" ]
}

# killed_while_writing: leaves what a killed process does. Its number is free again.
killed_while_writing() {
	mkdir -p "$(dirname "$INCLUDE")"
	# shellcheck disable=SC2016 # expanded by the inner shell
	on node sh -c 'echo half >"$1.gluon-wan-$$"' sh "$INCLUDE"
}

@test "what a killed process left beside the file goes, and nothing else" {
	killed_while_writing
	touch "$INCLUDE".{old,20240101,gluon-wan-1}
	gluon_wan sync
	[ "$(ls "$(dirname "$INCLUDE")")" = "$(printf 'redirect.nft%s\n' '' .20240101 .gluon-wan-1 .old)" ]
	killed_while_writing
	gluon_wan clear
	[ "$(ls "$(dirname "$INCLUDE")")" = "$(printf 'redirect.nft%s\n' .20240101 .gluon-wan-1 .old)" ]
}

# A directory with an `nft` that does what standard input says.
fake_nft() {
	mkdir -p "$BATS_TEST_TMPDIR/bin"
	cat >"$BATS_TEST_TMPDIR/bin/nft"
	chmod +x "$BATS_TEST_TMPDIR/bin/nft"
}

@test "a file that would not load is not put in place, and sync says why" {
	gluon_wan sync
	cp "$INCLUDE" "$BATS_TEST_TMPDIR/old"
	configure 5454 800
	fake_nft <<-'EOF'
		#!/bin/sh
		echo "$3:5:3-6: Error: syntax error, unexpected meta" >&2
		exit 1
	EOF
	PATH="$BATS_TEST_TMPDIR/bin:$PATH" run -1 gluon_wan sync
	[[ "$output" == *"$INCLUDE: not replaced, nft refuses the new one"* ]]
	[[ "$output" == *"Error: syntax error, unexpected meta"* ]]
	cmp "$INCLUDE" "$BATS_TEST_TMPDIR/old"
	[ "$(ls "$(dirname "$INCLUDE")")" = redirect.nft ]
	# The table itself was written all the same.
	listed | grep -qF 'redirect to :5454'
	gluon_wan sync
	grep -qF 'redirect to :5454' "$INCLUDE"
}

@test "an nft that hangs is given up, and without nft there is no check" {
	gluon_wan sync
	cp "$INCLUDE" "$BATS_TEST_TMPDIR/old"
	configure 5454 800
	fake_nft <<-'EOF'
		#!/bin/sh
		exec sleep 600
	EOF
	LAB_TIMEOUT=60 PATH="$BATS_TEST_TMPDIR/bin:$PATH" run -1 gluon_wan sync
	[[ "$output" == *"cannot be checked with nft: no answer within"* ]]
	cmp "$INCLUDE" "$BATS_TEST_TMPDIR/old"
	on node env PATH=/nonexistent "$(gluon_wan_path)" sync
	grep -qF 'redirect to :5454' "$INCLUDE"
}

@test "an nft that cannot be run, or dies: the old file stays, and the message says it" {
	gluon_wan sync
	cp "$INCLUDE" "$BATS_TEST_TMPDIR/old"
	configure 5454 800
	fake_nft </dev/null
	chmod -x "$BATS_TEST_TMPDIR/bin/nft"
	run -1 on node env PATH="$BATS_TEST_TMPDIR/bin" "$(gluon_wan_path)" sync
	[[ "$output" == *"$INCLUDE"*"cannot be checked with nft: Permission denied"* ]]
	cmp "$INCLUDE" "$BATS_TEST_TMPDIR/old"
	fake_nft <<-'EOF'
		#!/bin/sh
		kill -KILL $$
	EOF
	PATH="$BATS_TEST_TMPDIR/bin:$PATH" run -1 gluon_wan sync
	[[ "$output" == *"$INCLUDE: not replaced, nft refuses the new one: signal: 9"* ]]
	cmp "$INCLUDE" "$BATS_TEST_TMPDIR/old"
	[ "$(ls "$(dirname "$INCLUDE")")" = redirect.nft ]
}

@test "a full /var/run, and one that cannot be written: the old file stays, the table is in place" {
	gluon_wan sync
	cp "$INCLUDE" "$BATS_TEST_TMPDIR/old"
	configure 5454 800
	local program
	program=$(gluon_wan_path)
	export INCLUDE program
	# The mount is seen in there only.
	on node bash -e <<-'EOF'
		dir=$(dirname "$INCLUDE")
		mount -t tmpfs -o size=8k,mode=755 tmpfs "$dir"
		cp "$BATS_TEST_TMPDIR/old" "$INCLUDE"
		head -c 8192 /dev/zero >"$dir/full" 2>/dev/null || true
		if "$program" sync 2>"$BATS_TEST_TMPDIR/full"; then exit 1; fi
		cmp "$INCLUDE" "$BATS_TEST_TMPDIR/old"
		[ "$(ls "$dir")" = $'full\nredirect.nft' ]
		mount -o remount,ro "$dir"
		if "$program" sync 2>"$BATS_TEST_TMPDIR/read-only"; then exit 1; fi
	EOF
	grep -q "include: $INCLUDE.*: cannot be written: No space left" "$BATS_TEST_TMPDIR/full"
	grep -q "include: $INCLUDE.*: cannot be removed: Read-only file system" "$BATS_TEST_TMPDIR/read-only"
	listed | grep -qF 'redirect to :5454'
}

@test "what stands in the way of the file is named, by sync and by clear" {
	mkdir -p "$INCLUDE"
	run -1 gluon_wan sync
	[ "$output" = "gluon-wan: include: $INCLUDE: cannot be replaced: Is a directory (os error 21)" ]
	listed
	run -1 gluon_wan clear
	[ "$output" = "gluon-wan: include: $INCLUDE: cannot be removed: Is a directory (os error 21)" ]
	[ -z "$(on node nft list tables)" ]
}

@test "no file where none is wanted" {
	sed -i "s/option include .*/option include ''/" "$CONFIG/gluon-wan"
	gluon_wan sync
	[ ! -e "$INCLUDE" ]
	gluon_wan clear
}

@test "a flow from while the table was away is redirected again when fw4 has put it back" {
	gluon_wan sync
	fw4_load
	on node nft delete table inet gluon_wan
	[ "$(asked 800 --source-port 4003)" = 333 ]
	fw4_load
	[ "$(asked 800 --source-port 4003)" = 444 ]
}
