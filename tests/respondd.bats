# The provider for respondd, loaded as respondd loads it, with the real program on
# the lab's node.

bats_require_minimum_version 1.5.0
load lab/lab

PACKAGE=$BATS_TEST_DIRNAME/../package/gluon-wan-respondd

setup_file() {
	lab_up
	export BUILD=$BATS_FILE_TMPDIR
	cp "$PACKAGE"/src/* "$BUILD"
	make -s -C "$BUILD" CPPFLAGS="-I$BATS_TEST_DIRNAME/respondd" CFLAGS='-O2 -Werror'
	gcc -O2 -Wall -Wextra -Werror -o "$BUILD/ask" "$BATS_TEST_DIRNAME/respondd/ask.c" -ljson-c
	mkdir "$BUILD/bin"
	ln -s "$(gluon_wan_path)" "$BUILD/bin/gluon-wan"
}

teardown_file() {
	lab_down
}

teardown() {
	[ -n "$BATS_TEST_COMPLETED" ] || lab_tail
	daemon_stop node resolver
	gluon_wan clear
}

# answer: statistics.gluon_wan, valid by the schema.
answer() {
	local out
	out=$(on node env PATH="$BUILD/bin:$PATH" "$BUILD/ask" "$BUILD/respondd.so" statistics) || return
	jq -e 'keys == ["gluon_wan"]' <<<"$out" >/dev/null || { echo "$out"; return 1; }
	out=$(jq -c .gluon_wan <<<"$out")
	PYTHONWARNINGS=ignore /usr/bin/python3 -m jsonschema -i <(cat <<<"$out") "$PACKAGE/statistics.schema.json" || return
	echo "$out"
}

# answer_has FILTER: of jq.
answer_has() {
	run -0 answer
	jq -e "$1" <<<"$output" >/dev/null || { echo "expected $1: $output"; return 1; }
}

@test "how many servers there are, how many work and how fast; and nothing that tells whose" {
	gluon_wan sync
	resolver_up
	on node dig +time=2 +tries=2 -p 54 @127.0.0.1 "$VPN_NAME" >/dev/null
	answer_has '.dns.servers == 2 and .dns.up >= 1 and (.dns.ms | type == "number" and . < 5000)'
	run ! grep -F -e "$HOME_IP4" -e fe80 -e br-wan <<<"$output"
}

@test "a resolver that does not answer is a problem, named once, and has no servers" {
	gluon_wan sync
	answer_has '.healthy == false and .dns == null and (.problems | index("resolver")) != null'
}

@test "without the program, or with one that says nothing, there is no answer" {
	run -0 env PATH=/nowhere "$BUILD/ask" "$BUILD/respondd.so" statistics
	[ "$output" = nothing ]
	mkdir "$BATS_TEST_TMPDIR/bin"
	printf '#!/bin/sh\nhead -c 100000 /dev/zero | tr "\\0" "["\n' >"$BATS_TEST_TMPDIR/bin/gluon-wan"
	chmod 755 "$BATS_TEST_TMPDIR/bin/gluon-wan"
	run -0 env PATH="$BATS_TEST_TMPDIR/bin:$PATH" "$BUILD/ask" "$BUILD/respondd.so" statistics
	[ "$output" = nothing ]
}

@test "members that a later version has otherwise do no harm" {
	mkdir "$BATS_TEST_TMPDIR/bin"
	cat >"$BATS_TEST_TMPDIR/bin/gluon-wan" <<-'END'
		#!/bin/sh
		echo '{"healthy":true,"problems":[{"part":"a"},{"what":1},{"part":"a"}],
			"resolver":{"servers":[{"state":null},{"state":"up","usual_us":null},{"state":"up","usual_us":13600},{"state":"up"},7,{"state":"silent","usual_us":1}]}}'
	END
	chmod 755 "$BATS_TEST_TMPDIR/bin/gluon-wan"
	run -0 env PATH="$BATS_TEST_TMPDIR/bin:$PATH" "$BUILD/ask" "$BUILD/respondd.so" statistics
	jq -e '.gluon_wan == {healthy: true, problems: ["a"], dns: {servers: 6, up: 3, ms: 14}}' <<<"$output"
}
