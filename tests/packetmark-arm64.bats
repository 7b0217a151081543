# libpacketmark.so for arm64, built with Debian's cross packages and started with
# qemu. Needs rustc-web, cargo-web, libstd-rust-web-dev:arm64, gcc-aarch64-linux-gnu
# and qemu-user-static.

# bats sets output and stderr.
# shellcheck disable=SC2030,SC2031,SC2154

bats_require_minimum_version 1.5.0
load packetmark/build

readonly TARGET=aarch64-unknown-linux-gnu

setup_file() {
	local need
	export MISSING=
	for need in aarch64-linux-gnu-gcc qemu-aarch64-static /usr/bin/cargo /usr/bin/rustc; do
		command -v "$need" >/dev/null || MISSING+="$need "
	done
	[ -n "$MISSING" ] || [ -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/$TARGET" ] ||
		MISSING=libstd-rust-web-dev:arm64
	# To skip from here is a failure to bats 1.8.
	[ -z "$MISSING" ] || return 0
	env -C "$BATS_TEST_DIRNAME/.." CARGO_TARGET_DIR="$BATS_FILE_TMPDIR" RUSTC=/usr/bin/rustc \
		CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
		CARGO_PROFILE_RELEASE_PANIC=unwind \
		/usr/bin/cargo build --quiet --locked --profile preload -p packetmark --target "$TARGET"
	aarch64-linux-gnu-gcc -O2 -pthread -o "$BATS_FILE_TMPDIR/sockets" \
		"$BATS_TEST_DIRNAME/packetmark/sockets.c"
	aarch64-linux-gnu-gcc -O2 -pthread -DNO_NEXT -rdynamic -o "$BATS_FILE_TMPDIR/no-next" \
		"$BATS_TEST_DIRNAME/packetmark/sockets.c"
}

setup() {
	[ -z "$MISSING" ] || skip "not installed: $MISSING"
	LIBRARY=$BATS_FILE_TMPDIR/$TARGET/preload/libpacketmark.so
}

# emulated [-strace] [-E NAME=VALUE] PROGRAM ARG...
emulated() {
	timeout 20 qemu-aarch64-static -L /usr/aarch64-linux-gnu -E LD_PRELOAD="$LIBRARY" \
		-E LIBPACKETMARK_MARK=7 "$@"
}

@test "the file is small, needs no other and exports one symbol" {
	[ "$(stat -c %s "$LIBRARY")" -le 6144 ]
	run -0 nm -D --defined-only "$LIBRARY"
	[ "${#lines[@]}" -eq 1 ]
	[[ ${lines[0]} == *" T socket" ]]
	run -0 readelf -dW "$LIBRARY"
	[[ $output != *NEEDED* ]]
}

# qemu 7.2 answers SO_MARK with ENOPROTOOPT (92): what is asked is seen all the
# same, and so is what follows a refusal.
@test "IPv4 and IPv6 sockets are given the mark, others are not" {
	for program in sockets no-next; do
		run -0 --separate-stderr emulated -strace "$BATS_FILE_TMPDIR/$program" all
		[ "$(grep -cE 'setsockopt\([0-9]+,1,36,[^,]+,4,' <<<"$stderr")" -eq 24 ]
		[ "$(grep -c '^inet' <<<"$output")" -eq 24 ]
		[ "$(grep -c '^[^i]' <<<"$output")" -eq 16 ]
		[ "$(grep -c "$program: libpacketmark: cannot set mark 7" <<<"$stderr")" -eq 1 ]
	done
}

@test "errno is kept; strict, socket() fails and leaks nothing" {
	local without
	without=$(timeout 20 qemu-aarch64-static -L /usr/aarch64-linux-gnu "$BATS_FILE_TMPDIR/sockets" errno)
	run -0 --separate-stderr emulated "$BATS_FILE_TMPDIR/sockets" errno
	[ "$output" = "$without" ]
	run -0 --separate-stderr emulated -E LIBPACKETMARK_STRICT=1 "$BATS_FILE_TMPDIR/sockets" leak
	[ "$output" = "failed 100 left 0" ]
	[ "${#stderr_lines[@]}" -eq 1 ]
}
