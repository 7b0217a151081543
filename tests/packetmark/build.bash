# shellcheck shell=bash
# For tests of libpacketmark.so: where it is, and programs that use it.

_repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${LIBPACKETMARK:=$_repo/target/preload/libpacketmark.so}"
export LIBPACKETMARK
unset LD_PRELOAD LIBPACKETMARK_MARK LIBPACKETMARK_STRICT

packetmark_built() {
	[ -f "$LIBPACKETMARK" ] || {
		echo "$LIBPACKETMARK is not built: cargo build --profile preload -p packetmark" >&2
		return 1
	}
}

# build_programs DIR: DIR/{glibc,musl}/{sockets,no-next} and
# DIR/{glibc,musl}/{early,other,original}.so.
build_programs() {
	local dir libc name
	for libc in glibc musl; do
		dir=$1/$libc
		mkdir -p "$dir"
		compile "$libc" -pthread -o "$dir/sockets" "$_repo/tests/packetmark/sockets.c" || return
		compile "$libc" -pthread -DNO_NEXT -rdynamic -o "$dir/no-next" \
			"$_repo/tests/packetmark/sockets.c" || return
		for name in packetmark/early packetmark/other bench/packetmark/original; do
			compile "$libc" -shared -fPIC -o "$dir/${name##*/}.so" "$_repo/tests/$name.c" || return
		done
	done
}

compile() {
	local compiler=cc
	[ "$1" = glibc ] || compiler=musl-gcc
	shift
	"$compiler" -O2 -Wall -Wextra -Werror "$@" -ldl
}
