# Prints the table of the resolver's benchmark from lines "PEER METRIC VALUE":
# medians, and what the targets say about them.

function median(key,    count, list, at, other, swap) {
	count = split(values[key], list, " ")
	for (at = 2; at <= count; at++)
		for (other = at; other > 1 && list[other] + 0 < list[other - 1] + 0; other--) {
			swap = list[other]; list[other] = list[other - 1]; list[other - 1] = swap
		}
	return count % 2 ? list[(count + 1) / 2] : (list[count / 2] + list[count / 2 + 1]) / 2
}

function row(label, metric, format, verdict,    at, line, key) {
	line = sprintf("%-34s", label)
	for (at = 1; at <= peers; at++) {
		key = peer[at] SUBSEP metric
		line = line sprintf(" %12s", key in values ? sprintf(format, median(key)) : "-")
	}
	print line "  " verdict
}

# At most so much of dnsmasq's.
function share(metric, limit,    part) {
	part = median("gluon-wan" SUBSEP metric) / median("dnsmasq" SUBSEP metric)
	return sprintf("%.2f of dnsmasq's, at most %.2f: %s", part, limit, part <= limit ? "met" : "MISSED")
}

# As late as dnsmasq's, and a little: the machine and the server have their part.
function as_late(metric,    value, limit) {
	value = median("gluon-wan" SUBSEP metric)
	limit = median("dnsmasq" SUBSEP metric) + 10
	return sprintf("at most %d: %s", limit, value <= limit ? "met" : "MISSED")
}

function at_most(metric, limit,    value) {
	value = median("gluon-wan" SUBSEP metric)
	return sprintf("at most %d: %s", limit, value <= limit ? "met" : "MISSED")
}

{
	if (!($1 in known)) { known[$1] = 1; peer[++peers] = $1 }
	values[$1, $2] = values[$1, $2] " " $3
}

END {
	line = sprintf("%-34s", "")
	for (at = 1; at <= peers; at++) line = line sprintf(" %12s", peer[at])
	print line "  target for gluon-wan"
	row("CPU a query, 64 in flight (us)", "cpu-busy", "%.1f", share("cpu-busy", 0.55))
	row("CPU a query, 1,000/s (us)", "cpu-paced", "%.1f", share("cpu-paced", 0.55))
	row("instructions a query", "instructions", "%d", at_most("instructions", 5000))
	row("system calls a query", "syscalls", "%.1f", "")
	row("memory, peak (kB)", "peak", "%d", share("peak", 1))
	row("memory, anonymous (kB)", "anonymous", "%d", share("anonymous", 1))
	row("exec to first answer (ms)", "start", "%.1f", share("start", 0.6))
	row("binary (bytes)", "bytes", "%d", at_most("bytes", 830000))
	row("binary, xz -9e (bytes)", "bytes-xz", "%d", at_most("bytes-xz", 345000))
	row("wake-ups in 10 idle seconds", "wake-ups", "%d", at_most("wake-ups", 0))
	row("answers a second, 64 in flight", "rate", "%d", "")
	count = split("20 200 600 900 2000", delays, " ")
	for (at = 1; at <= count; at++)
		row("a server " delays[at] " ms away (ms)", "late-" delays[at], "%.0f", as_late("late-" delays[at]))
}
