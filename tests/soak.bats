# The fault suite (soak/), in short: each fault once. `make soak` does it for as
# long as wanted, by chance, and often two at a time.

bats_require_minimum_version 1.5.0
load lab/lab

SOAK=$BATS_TEST_DIRNAME/soak/run

@test "after each fault the node is whole again, and nothing went astray" {
	run -0 "$SOAK" once
	# The seed and the figures, also when all is well.
	grep -v '^step' <<<"$output" | sed 's/^/# /' >&3
}

# deaf CMD: a gluon-wan that mends nothing, and does CMD when it is asked how it is.
deaf() {
	cat >"$BATS_TEST_TMPDIR/gluon-wan" <<-END
		#!/bin/sh
		case "\$*" in
		"sync --watch") "$(gluon_wan_path)" sync && exec sleep infinity ;;
		*status*) $1 ;;
		esac
		exec "$(gluon_wan_path)" "\$@"
	END
	chmod 755 "$BATS_TEST_TMPDIR" "$BATS_TEST_TMPDIR/gluon-wan"
	export GLUON_WAN=$BATS_TEST_TMPDIR/gluon-wan
}

@test "the suite sees a node that does not come back" {
	deaf :
	SEED=1 PATIENCE=3 ONLY=rule_deleted run -1 "$SOAK" once
	[[ $output == *"seed 1"*"step 1, rule_deleted: "*"for 3 s: rules, table or include: "*"lookup 1 proto 54"* ]]
}

@test "the suite sees a query without the mark" {
	deaf "setpriv --reuid 65534 --clear-groups dig +time=1 +tries=1 @$MESH_IP4 $VPN_NAME >/dev/null"
	ONLY=clock_jumps run -1 "$SOAK" once
	[[ $output == *"step 1, clock_jumps: unmarked_query: "[1-9]* ]]
}
