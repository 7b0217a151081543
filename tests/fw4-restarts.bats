#!/usr/bin/env bats
# How many queries get around the redirect while OpenWrt's firewall reloads, stops and
# starts.

bats_require_minimum_version 1.5.0
# bats file_tags=quiet
load lab/lab
load lab/redirect
load lab/fw4

# Twenty rounds of stop and start with a query loop; for a third of each round
# there is no fw4. A query takes 10 ms, as one over a WAN does.
twenty_rounds() {
	local round
	loop_start --pause 0.01
	for ((round = 0; round < 20; round++)); do
		fw4_flush
		loop_more 58
		fw4_load
		loop_more 116
	done
	loop_end
}

@test "twenty times stop and start, watched: 1 query in 100 gets around at most" {
	gluon_wan sync
	fw4_load
	watch_up
	twenty_rounds
	[ "$REDIRECTED" -gt 1000 ]
	[ $((UNREDIRECTED * 100)) -le $((REDIRECTED + UNREDIRECTED)) ]
	one_redirect
}

@test "twenty times stop and start with the file alone: as many get around as there is no fw4" {
	# What the watch is for, and the proof that the test above could fail.
	gluon_wan sync
	fw4_load
	twenty_rounds
	[ $((UNREDIRECTED * 100)) -ge $((25 * (REDIRECTED + UNREDIRECTED))) ]
	one_redirect
}

@test "twenty reloads with the file alone let no query around" {
	local round
	gluon_wan sync
	fw4_load
	loop_start
	for ((round = 0; round < 20; round++)); do
		fw4_load
		loop_more 20
	done
	loop_end
	[ "$REDIRECTED" -gt 400 ]
	[ "$UNREDIRECTED" -eq 0 ]
	one_redirect
}
