# shellcheck shell=bash
# What must hold, looked at from outside of the programs under test.

# How long the log of each loop of queries was when the look began.
declare -A ASKED

# --- what must be in place -------------------------------------------------------

# kept: rules, table and include, and whatever lies beside that. Whatever the WAN
# does, they stay as they are. But netifd's rules follow the WAN, its addresses and
# the index of its device, and so does ours that stands against them; and what the last look of `status` left is there once
# somebody has looked.
kept() {
	on node sh -c '
		ip -6 rule show | grep -vE "^(10000|20000|900[0-9]+):|^32767:.not from all fwmark"
		nft -s list table inet gluon_wan
		cd "${1%/*}" && stat -c "%n %a %U %F" -- * | grep -vx "status 600 root regular file" && cat "$1"
	' kept "$INCLUDE" 2>&1
}

# routed: the WAN's table, and what of the WAN is in main.
routed() {
	on node sh -c '
		ip -6 route show table 1 | sed "s/ expires [0-9]*sec//; s/ pref medium//; s/ *$//" | sort
		ip -6 route show default dev br-wan
	' 2>&1
}

# snapshot: what the node has now, once it is right, is what it must have again.
# The first time there is nothing to compare with, so this looks for itself.
snapshot() {
	KEPT=$(kept) ROUTED=$(routed)
	[[ $KEPT == *"fwmark 0x1/0x1 lookup 1 proto 54"*"fwmark 0x1/0x1 unreachable proto 54"* ]] &&
		[[ $KEPT == *"skgid { $FASTD_GID, $MESH_VPN_GID }"*"th dport 53"*"redirect to :54"*"redirect.nft 644 root regular file"* ]] &&
		[[ $ROUTED == *"default via $HOME_LL dev br-wan"*"unreachable default dev lo proto 54 metric 65535"* ]] &&
		[ "$(grep -c 'redirect to :54' <<<"$KEPT")" -eq 2 ] &&
		look_from_now && wait_for 3 is_whole
}

is_whole() {
	[ -z "$(wrong_now)" ]
}

# look_from_now: answers and packets count from here on.
look_from_now() {
	local gid
	for gid in $FASTD_GID $MESH_VPN_GID 0; do
		ASKED["$gid"]=$(stat -c %s "$LAB_DIR/node/asked.$gid")
	done
	ARRIVED=$(seen home marked) STAYED=$(seen mesh plain)
}

# answered GID DIGIT: the last three answers, all of them new.
answered() {
	local log=$LAB_DIR/node/asked.$1
	[ "$(stat -c %s "$log")" -ge $((ASKED[$1] + 3)) ] && [ "$(tail -c 3 "$log")" = "$2$2$2" ]
}

# wrong_now [serving]: what is not as it must be; nothing when the node is whole.
# `serving` leaves out what the WAN may do with the routes.
wrong_now() {
	local now wrong=()
	answered "$FASTD_GID" "$HOME_SAYS" || wrong+=("group $FASTD_GID is not answered by home")
	answered "$MESH_VPN_GID" "$HOME_SAYS" || wrong+=("group $MESH_VPN_GID is not answered by home")
	answered 0 "$MESH_SAYS" || wrong+=("root is not answered by the mesh")
	now=$(kept)
	[ "$now" = "$KEPT" ] || wrong+=("rules, table or include: $(diff <(echo "$KEPT") <(echo "$now"))")
	if [ "${1-}" != serving ]; then
		now=$(routed)
		[ "$now" = "$ROUTED" ] || wrong+=("routes: $(diff <(echo "$ROUTED") <(echo "$now"))")
		goes "$VPN_IP6" br-wan mark 1 || wrong+=("marked packets do not go to the WAN")
		[ "$(seen home marked)" -gt "$ARRIVED" ] || wrong+=("no marked packet arrives at home")
	fi
	goes "$FAKE_IP6" br-client || wrong+=("unmarked packets do not go into the mesh")
	[ "$(seen mesh plain)" -gt "$STAYED" ] || wrong+=("no unmarked packet arrives in the mesh")
	# What the product itself says comes last. The configuration in force is the
	# default one, whatever the file has become.
	if [ ${#wrong[@]} -eq 0 ]; then
		now=$(gluon_wan -c /nowhere status --json 2>&1)
		[ "$(jq -r .healthy <<<"$now" 2>&1)" = true ] || wrong+=("status: $(jq -c .problems,.unseen <<<"$now" 2>&1)")
	fi
	[ ${#wrong[@]} -eq 0 ] || printf '%s\n' "${wrong[@]}"
}

# goes ADDR DEVICE [mark 1]
goes() {
	local addr=$1 device=$2
	shift 2
	on node ip route get "$addr" "$@" 2>/dev/null | grep -q " dev $device "
}

# becomes_whole SECONDS [serving]: until then it must be. TOOK is how long it was
# not, in ms; WRONG what is wrong at the end of the time.
becomes_whole() {
	local start=${EPOCHREALTIME/./}
	look_from_now
	while WRONG=$(wrong_now "${2-}") && [ -n "$WRONG" ]; do
		TOOK=$(((${EPOCHREALTIME/./} - start) / 1000))
		[ $TOOK -lt $(($1 * 1000)) ] || return
		sleep 0.05
	done
	TOOK=$(((${EPOCHREALTIME/./} - start) / 1000))
}

# --- what must never be ----------------------------------------------------------------

# astray_now: `TITLE COUNT` for all that must not be there, since the start.
astray_now() {
	{
		on node nft list counters table inet soak
		on mesh nft list counters table inet lab_probe | sed 's/counter /counter mesh_/'
	} | awk '$1 == "counter" { title = $2 } $1 == "packets" { print title, $2 }' |
		grep -v -e mesh_plain
	printf 'mesh_answered %s\n' "$(cat "$LAB_DIR"/node/asked.{"$FASTD_GID","$MESH_VPN_GID"} | tr -cd "$MESH_SAYS" | wc -c)"
	printf 'home_answered_root %s\n' "$(tr -cd "$HOME_SAYS" <"$LAB_DIR/node/asked.0" | wc -c)"
}

# astray_since_last: the same since the last call, those that are none left out.
astray_since_last() {
	local title count
	astray_now >"$LAB_DIR/astray.new"
	# A source that cannot be read is not a source that saw nothing.
	[ "$(grep -c ' [0-9]' "$LAB_DIR/astray.new")" -eq 7 ] || echo "unread $(wc -l <"$LAB_DIR/astray.new")"
	while read -r title count; do
		count=$((count - $(sed -n "s/^$title //p" "$LAB_DIR/astray" 2>/dev/null || echo 0)))
		[ "$count" -eq 0 ] || echo "$title $count"
	done <"$LAB_DIR/astray.new"
	mv "$LAB_DIR/astray.new" "$LAB_DIR/astray"
}

# --- memory and descriptors ---------------------------------------------------------------

# sample: `TITLE PID RSS ANONYMOUS DESCRIPTORS ZOMBIES` of both, in kB and numbers.
sample() {
	local title
	for title in resolver watch; do
		on node sh -c '
			pid=$(cat "/run/soak/$1.pid") && cd "/proc/$pid" || exit
			field() { sed -n "s/^$1:[^0-9]*\([0-9]*\).*/\1/p" status; }
			echo "$1 $pid $(field VmRSS) $(field RssAnon) $(ls fd | wc -l) $(ps -o stat= --ppid "$pid" | grep -c Z)"
		' sample "$title" >>"$LAB_DIR/samples"
	done
}
