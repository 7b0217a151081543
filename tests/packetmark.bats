# libpacketmark.so by itself: what a program gets from socket() under it, with
# glibc and with musl, which load the very same file.

# bats sets output, status and stderr; one_message takes a pattern.
# shellcheck disable=SC2030,SC2031,SC2053,SC2154

bats_require_minimum_version 1.5.0
load packetmark/build

setup_file() {
	packetmark_built
	build_programs "$BATS_FILE_TMPDIR"
}

# under MARK CMD...: CMD with the library.
under() {
	local mark=$1
	shift
	env LD_PRELOAD="$LIBPACKETMARK" LIBPACKETMARK_MARK="$mark" "$@"
}

# The same where the kernel refuses every mark.
refused() {
	"${REFUSED[@]}" "$@"
}

# library FILE: the one that all this is about.
library() {
	LIBPACKETMARK=$1
	REFUSED=(setpriv --bounding-set "-net_admin,-net_raw" --
		env LD_PRELOAD="$LIBPACKETMARK" LIBPACKETMARK_MARK=7)
}
library "$LIBPACKETMARK"

# Runs the rest of the line once for each libc, which is in $libc and, with its
# programs, in $dir.
each_libc() {
	for libc in glibc musl; do
		dir=$BATS_FILE_TMPDIR/$libc
		echo "with $libc"
		"$@"
	done
}

# The one message, and not a second.
one_message() {
	[ "${#stderr_lines[@]}" -eq 1 ]
	[[ ${stderr_lines[0]} == $1 ]]
}

@test "the file is small, needs no other and exports one symbol" {
	[ "$(stat -c %s "$LIBPACKETMARK")" -le 6144 ]
	run -0 nm -D --defined-only "$LIBPACKETMARK"
	[ "${#lines[@]}" -eq 1 ]
	[[ ${lines[0]} == *" T socket" ]]
	run -0 readelf -dVW "$LIBPACKETMARK"
	[[ $output == *INIT_ARRAY* ]]
	[[ $output != *NEEDED* ]]
	[[ $output != *"Version needs"* ]]
	run -0 readelf -SW "$LIBPACKETMARK"
	[[ $output != *.symtab* ]]
}

@test "IPv4 and IPv6 sockets of every type are marked, flags kept, others left alone" {
	each_libc families
}
families() {
	run -0 under 7 "$dir/sockets" all
	marked=$output
	run -0 "$dir/sockets" all
	[[ $output != *" marked"* ]]
	# What the library changes is the mark of inet and inet6, nothing else.
	[ "$marked" = "$(sed '/^inet/s/unmarked$/marked/' <<<"$output")" ]
	[ "$(grep -c '^inet.* marked$' <<<"$marked")" -eq 24 ]
	[ "$(grep -c '^[^i].* unmarked$' <<<"$marked")" -eq 16 ]
}

@test "marks are decimal or hexadecimal; 0, empty and unset are none, silently" {
	each_libc values
}
values() {
	local pair
	for pair in 1=1 010=10 0x1=1 0X1f=31 0xffffffff=4294967295 4294967295=4294967295 0=0 =0; do
		run -0 --separate-stderr under "${pair%%=*}" "$dir/sockets" one
		[ "$output" = "inet mark ${pair#*=}" ]
		[ -z "$stderr" ]
	done
	run -0 --separate-stderr env LD_PRELOAD="$LIBPACKETMARK" LIBPACKETMARK_STRICT=1 "$dir/sockets" one
	[ "$output" = "inet mark 0" ]
	[ -z "$stderr" ]
}

@test "what is not a mark is said once and marks nothing" {
	each_libc malformed
}
malformed() {
	local value
	for value in x 1x 0x ' 1' -1 +1 1/1 0x1g 4294967296 0x100000000; do
		run -0 --separate-stderr under "$value" "$dir/sockets" three
		[ "$output" = $'inet mark 0\ninet mark 0\ninet mark 0' ]
		one_message "sockets: libpacketmark: LIBPACKETMARK_MARK='$value' is not a mark, expected *"
	done
	# A program without such sockets has nothing to be told.
	run -0 --separate-stderr under x true
	[ -z "$stderr" ]
	run -0 --separate-stderr env LIBPACKETMARK_STRICT=1 LD_PRELOAD="$LIBPACKETMARK" \
		LIBPACKETMARK_MARK=x "$dir/sockets" leak
	[ "$output" = "failed 100 left 0" ]
	one_message "*; socket() fails"
}

@test "errno is what the real call left" {
	each_libc errno_kept
}
errno_kept() {
	local without
	without=$("$dir/sockets" errno)
	[[ $without == worked*$'\n'failed* ]]
	[ "$(under 7 "$dir/sockets" errno)" = "$without" ]
	[ "$(refused "$dir/sockets" errno 2>/dev/null)" = "$without" ]
	[ "$(under x "$dir/sockets" errno 2>/dev/null)" = "$without" ]
	[ "$(under 7 "$dir/no-next" errno)" = "$without" ]
}

@test "a refused mark is said once, with program, reason and what is missing" {
	each_libc refused_once
}
refused_once() {
	local what
	for what in three threads closed-env; do
		run -0 --separate-stderr refused "$dir/sockets" "${what/closed-env/cleared}" 7
		one_message "sockets: libpacketmark: cannot set mark 7 on a socket: not permitted, needs CAP_NET_ADMIN (or CAP_NET_RAW since Linux 5.17); *unmarked"
		[[ $output == *"mark 0" || $output == "wrong 3200" ]]
	done
}

@test "a capability that is laid down is taken up for the mark, and laid down again" {
	each_libc laid_down
}
laid_down() {
	local errno
	errno=$("$dir/sockets" errno | sed -n 's/^worked //p')
	run -0 --separate-stderr under 7 LIBPACKETMARK_STRICT=1 "$dir/sockets" laid-down
	[ "$output" = "$errno mark 7"$'\nin effect 0' ]
	[ -z "$stderr" ]
	run -0 --separate-stderr refused "$dir/sockets" laid-down
	[ "$output" = "$errno mark 0"$'\nin effect 0' ]
	one_message "*not permitted*"
}

@test "strict: socket() fails with the kernel's errno and leaks nothing, others work" {
	each_libc strict
}
strict() {
	run -0 --separate-stderr refused LIBPACKETMARK_STRICT=1 "$dir/sockets" leak
	[ "$output" = "failed 100 left 0" ]
	one_message "*; socket() fails"
	run -0 --separate-stderr refused LIBPACKETMARK_STRICT=1 "$dir/sockets" all
	[ "$(grep -c '^inet.* Operation not permitted$' <<<"$output")" -eq 24 ]
	[ "$(grep -c '^unix.* unmarked$' <<<"$output")" -eq 8 ]
	run -0 --separate-stderr refused LIBPACKETMARK_STRICT=0 "$dir/sockets" leak
	[ "$output" = "failed 0 left 100" ]
	run -0 under 7 LIBPACKETMARK_STRICT=1 "$dir/sockets" leak
	[ "$output" = "failed 0 left 100" ]
}

@test "where standard error is closed or /dev/null, the system log has the message" {
	each_libc no_stderr
}
no_stderr() {
	local what log=$BATS_TEST_TMPDIR/log
	for what in closed-stderr null-stderr; do
		run -0 unshare --mount sh "$BATS_TEST_DIRNAME/packetmark/with-syslog.sh" "$log" \
			"${REFUSED[@]}" "$dir/sockets" "$what"
		[ "$output" = $'inet mark 0\ninet mark 0' ]
		[ "$(grep -c 'sockets: libpacketmark: cannot set mark 7' "$log")" -eq 1 ]
		rm "$log"
	done
}

@test "with standard error closed, nothing is written to what took its place" {
	each_libc closed
}
closed() {
	run -0 strace -f -qq -e trace=write,sendto -o "$BATS_TEST_TMPDIR/writes" \
		"${REFUSED[@]}" "$dir/sockets" closed-stderr
	[ "$output" = $'inet mark 0\ninet mark 0' ]
	run -1 grep -E '(write|sendto)\(2' "$BATS_TEST_TMPDIR/writes"
}

@test "a constructor that runs before the library's own gets a marked socket" {
	each_libc constructor
}
constructor() {
	local order crashes=0
	for order in "$LIBPACKETMARK:$dir/early.so" "$dir/early.so:$LIBPACKETMARK"; do
		run -0 --separate-stderr env LD_PRELOAD="$order" LIBPACKETMARK_MARK=7 "$dir/sockets" one
		[ "$output" = "inet mark 7" ]
		[ "$stderr" = "early mark 7" ]
	done
	# One of these orders is the one that matters: there the C original crashes.
	for order in "$dir/original.so:$dir/early.so" "$dir/early.so:$dir/original.so"; do
		run env LD_PRELOAD="$order" LIBPACKETMARK_MARK=7 "$dir/sockets" one
		[ "$status" -ne 139 ] || crashes=$((crashes + 1))
	done
	[ "$crashes" -eq 1 ]
}

@test "threads, fork, exec and a cleared environment lose no mark" {
	each_libc lives
}
lives() {
	run -0 --separate-stderr under 7 "$dir/sockets" threads 7
	[ "$output" = "wrong 0" ]
	[ -z "$stderr" ]
	run -0 under 7 "$dir/sockets" fork
	[ "$output" = $'parent mark 7\nchild mark 7\ninet mark 7' ]
	run -0 under 7 "$dir/sockets" cleared
	[ "$output" = "inet mark 7" ]
}

@test "another library that stands before socket() is used as well, on either side" {
	each_libc beside
}
beside() {
	local order
	for order in "$LIBPACKETMARK:$dir/other.so" "$dir/other.so:$LIBPACKETMARK"; do
		run -0 --separate-stderr env LD_PRELOAD="$order" LIBPACKETMARK_MARK=7 "$dir/sockets" one
		[ "$output" = "inet mark 7" ]
		[ "$stderr" = "other socket" ]
	done
}

@test "where dlsym finds no next socket(), the system call is used" {
	each_libc no_next
}
no_next() {
	run -0 under 7 "$dir/no-next" all
	[ "$output" = "$(under 7 "$dir/sockets" all)" ]
	run -0 env LIBPACKETMARK_MARK=7 "$dir/sockets" load "$LIBPACKETMARK"
	[ "$output" = $'inet mark 7\nnone failed Protocol not supported' ]
	# The original calls a null pointer here.
	run -139 env LD_PRELOAD="$dir/original.so" LIBPACKETMARK_MARK=7 "$dir/no-next" one
}

# build ARG...: libpacketmark.so anew, in a directory of this test's own.
build() {
	command -v cargo >/dev/null || skip "no cargo here"
	run -0 env -C "$BATS_TEST_DIRNAME/.." CARGO_TARGET_DIR="$BATS_TEST_TMPDIR" "$@"
	library "$BATS_TEST_TMPDIR/preload/libpacketmark.so"
}

@test "it is the same with what OpenWrt has in cargo's environment" {
	build CARGO_PROFILE_RELEASE_PANIC=unwind CARGO_PROFILE_RELEASE_OPT_LEVEL=z \
		CARGO_PROFILE_RELEASE_LTO=true CARGO_PROFILE_RELEASE_DEBUG=false \
		cargo build --quiet --locked --profile preload -p packetmark
	[ "$(stat -c %s "$LIBPACKETMARK")" -le 6144 ]
	each_libc families
	each_libc strict
}

@test "it is the same where Rust has no inline assembly" {
	build cargo build --quiet --locked --profile preload -p packetmark --features portable
	[ "$(stat -c %s "$LIBPACKETMARK")" -le 6144 ]
	run -0 nm -D "$LIBPACKETMARK"
	[[ $output == *" U setsockopt"* ]]
	each_libc families
	each_libc errno_kept
	each_libc refused_once
	each_libc strict
}
