# shellcheck shell=bash
# What a run has to say at its end.

# How much anonymous memory of a process may grow after its first sample, in kB:
# a burst of events or a storm of queries leaves the allocator some pages more, and
# all that is kept per query, route or event has a bound. A leak knows none.
readonly GROWTH_KB=1024
# Descriptors that may still be there at the time of a sample. Sockets towards servers
# stay open for 10 s after their last query, for what comes late; of those that nobody
# waits on, 400 at most (src/resolver/pool.rs). Beside them 32 connections to servers
# and 16 of clients.
readonly GROWTH_FDS=450

# Both tables; fails when an invariant broke or something grew.
report() {
	local status=0
	faults_table "$LAB_DIR/results" || status=1
	echo
	processes_table "$LAB_DIR/samples" || status=1
	return $status
}

faults_table() {
	awk '
		!($1 in tries) { order[++n] = $1 }
		{
			tries[$1]++; broken[$1] += $2; exposed[$1] += $3; all += $2
			if ($4 > slowest[$1]) slowest[$1] = $4
		}
		END {
			format = "%-24s %5s %6s %7s %10s\n"
			printf format, "fault", "tried", "broken", "exposed", "slowest ms"
			for (i = 1; i <= n; i++) { f = order[i]; printf format, f, tries[f], broken[f], exposed[f], slowest[f] }
			exit all > 0 || n == 0
		}' "$1"
}

# A process that is started anew has a first sample of its own.
processes_table() {
	awk -v growth_kb=$GROWTH_KB -v growth_fds=$GROWTH_FDS '
		{
			title = $1; pid = title " " $2
			if (!(title in processes)) order[++n] = title
			if (!(pid in samples)) { processes[title]++; first_kb[pid] = $4; first_fds[pid] = $5 }
			samples[pid]++; count[title]++; zombies[title] += $6
			values[1] = $3; values[2] = $4; values[3] = $5
			for (v = 1; v <= 3; v++) {
				key = title v
				if (!(key in first)) first[key] = values[v]
				last[key] = values[v]
				if (values[v] > max[key]) max[key] = values[v]
			}
			if ($4 - first_kb[pid] > growth_kb || $5 - first_fds[pid] > growth_fds) grown[title]++
		}
		END {
			what[1] = "RSS kB"; what[2] = "anonymous kB"; what[3] = "descriptors"
			format = "%-10s %-14s %6s %6s %6s\n"
			printf format, "process", "first/last/max", "", "", ""
			for (i = 1; i <= n; i++) {
				for (v = 1; v <= 3; v++) {
					key = order[i] v
					printf format, order[i], what[v], first[key], last[key], max[key]
				}
				printf "%-10s %d samples of %d processes, %d zombies, %d beyond the bound\n",
					order[i], count[order[i]], processes[order[i]], zombies[order[i]], grown[order[i]]
				bad += zombies[order[i]] + grown[order[i]]
			}
			exit bad > 0
		}' "$1"
}
