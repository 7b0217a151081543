# shellcheck shell=bash
# OpenWrt's firewall as the redirect meets it: its ruleset loaded and flushed. To be
# loaded after lab/redirect. fixtures/fw4-ruleset.nft is what `fw4 print` says for a LAN
# and a WAN zone.

# Loads fw4's ruleset as fw4 does: its own tables first, then, in the same
# transaction, the files of ruleset-post, those left out that are not there.
fw4_load() {
	{
		cat "$LAB_REPO/tests/fixtures/fw4-ruleset.nft"
		[ ! -e "$INCLUDE" ] || echo "include \"$INCLUDE\""
	} >"$BATS_TEST_TMPDIR/loaded.nft"
	on node nft -f "$BATS_TEST_TMPDIR/loaded.nft"
}

# Deletes every table, as `fw4 flush` and so `/etc/init.d/firewall stop` does.
fw4_flush() {
	on node nft flush ruleset
}

# Asserts one redirect, as it is printed.
one_redirect() {
	[ "$(listed | grep -c 'redirect to')" -eq 1 ]
	same <(gluon_wan print)
}
