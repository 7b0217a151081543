#!/usr/bin/env bash
# What libpacketmark costs a program: instructions (callgrind), system calls and
# time per socket()+close(), beside no library and what Gluon's C library does.
# Usage: tests/bench/packetmark.sh [ROUNDS]; LIBPACKETMARK=FILE measures another build.
set -eu
cd "$(dirname "$(readlink -f "$0")")/../.."
rounds=${1:-15}
ours=${LIBPACKETMARK:-$PWD/target/preload/libpacketmark.so}
[ -f "$ours" ] || {
	echo "$ours is not built: cargo build --profile preload -p packetmark" >&2
	exit 1
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cc -O2 -o "$dir/loop" tests/bench/packetmark/loop.c
cc -Os -s -shared -fPIC -o "$dir/original.so" tests/bench/packetmark/original.c -ldl
unset LIBPACKETMARK_STRICT
export LIBPACKETMARK_MARK=1

# per_socket MEASURE LIBRARY DOMAIN: what a thousand sockets more cost, per socket.
# Start and libraries, which cost the same each time, drop out.
per_socket() {
	awk -v few="$("$1" "$2" "$3" 1000)" -v many="$("$1" "$2" "$3" 2000)" \
		'BEGIN { print (many - few) / 1000 }'
}

instructions() {
	LD_PRELOAD=$1 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$dir/loop" "$2" "$3" 2>&1 |
		sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

system_calls() {
	strace -f -o "$dir/calls" env LD_PRELOAD="$1" "$dir/loop" "$2" "$3" >/dev/null
	wc -l <"$dir/calls"
}

median() {
	sort -n "$1" | sed -n "$((rounds / 2 + 1))p"
}

# One after the other in every round, so that all of them meet the same noise.
for ((round = 0; round < rounds; round++)); do
	for domain in inet unix; do
		"$dir/loop" $domain 20000 >>"$dir/none.$domain"
		LD_PRELOAD=$dir/original.so "$dir/loop" $domain 20000 >>"$dir/original.$domain"
		LD_PRELOAD=$ours "$dir/loop" $domain 20000 >>"$dir/ours.$domain"
	done
done

row() {
	local title=$1 library=$2 file=$3 domain
	for domain in inet unix; do
		local time none
		time=$(median "$dir/$file.$domain") none=$(median "$dir/none.$domain")
		printf '%-24s %-8s %12s %12s %9s %+9d %7s\n' "$title" "AF_${domain^^}" \
			"$(per_socket instructions "$library" $domain)" \
			"$(per_socket system_calls "$library" $domain)" \
			"$time" $((time - none)) "$(awk "BEGIN { printf \"%.2f\", $time / $none }")"
	done
}

printf '%-24s %-8s %12s %12s %9s %9s %7s\n' 'per socket()+close()' '' instructions 'sys. calls' ns 'ns more' ratio
row 'no library' '' none
row 'as the C original' "$dir/original.so" original
row 'libpacketmark.so' "$ours" ours
printf '\nbytes: %s; the C original, gcc -Os -s: %s\n' "$(stat -c %s "$ours")" "$(stat -c %s "$dir/original.so")"
