#!/usr/bin/env bats
# The model of the kernel that the simulation runs on (tests/simulation/kernel),
# beside the kernel of this machine. All else of the simulation is in `cargo test`.

setup() {
	cd "$BATS_TEST_DIRNAME/.." || return
}

@test "the model routes as the kernel does, on thousands of random states" {
	run env KERNEL_SEED=1 KERNEL_HISTORIES=200 timeout 300 unshare --net \
		"${CARGO:-cargo}" test --locked --offline --test simulation -- \
		--ignored --exact kernel::agrees::the_model_is_the_kernel --nocapture
	echo "$output"
	[ "$status" -eq 0 ]
	states=$(sed -n 's/^\([0-9]*\) states, .* no difference$/\1/p' <<<"$output")
	[ "$states" -ge 2000 ]
}
