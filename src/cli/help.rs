//! What `--help` says.

/// The whole.
pub const HELP: &str = "\
Usage: gluon-wan [-c DIR] COMMAND

Keeps the WAN side of a Gluon node: DNS of the VPN daemons and what carries the
packet mark use the WAN, nothing else does.

Commands:
  resolver            serve DNS on port 54, over the WAN, in the foreground
  sync [--watch]      put redirect, rule and routes in place; --watch keeps them so
  clear               remove what sync made, and nothing else
  print               show the redirect table in nft language
  config [--fixed]    show the configuration in force, with all defaults
  status [--json]     say what is in place and what is wrong
  trace [--json] NAME follow one look-up step by step: why the VPN does not come up
  exec [--mark] CMD   run CMD with its DNS (--mark: all its traffic) over the WAN

Options:
  -c, --config DIR    where the UCI files are (default: $UCI_CONFIG_DIR or /etc/config)
      --syslog        write messages to syslog instead of standard error
  -h, --help          this text, or that of a command
  -V, --version       the version

Exit codes: 0 done, 1 failed or unhealthy, 2 wrong usage or configuration.
Example: gluon-wan sync && gluon-wan status
";

/// Of `resolver`.
pub const RESOLVER_HELP: &str = "\
Usage: gluon-wan [-c DIR] resolver

Serves DNS on port 54 of 127.0.0.1 and ::1. Every query goes on to a server of
the WAN through a socket that carries the packet mark; without the mark it
refuses to serve. SIGHUP reads the configuration and the server list again.

Example: gluon-wan resolver, and elsewhere dig -p 54 @127.0.0.1 vpn.example.org
";

/// Of `sync`.
pub const SYNC_HELP: &str = "\
Usage: gluon-wan [-c DIR] sync [--watch]

Puts the nftables table, the file for fw4, the fwmark rule and the routes of the
WAN's table in place. What is right already is not touched.

  --watch   stay, and mend whatever undoes it; SIGHUP reads the configuration again

Example: gluon-wan sync && nft list table inet gluon_wan
";

/// Of `clear`.
pub const CLEAR_HELP: &str = "\
Usage: gluon-wan [-c DIR] clear

Removes the table, the file for fw4, the rules and the routes that sync made,
and nothing of anybody else's.

Example: gluon-wan clear
";

/// Of `print`.
pub const PRINT_HELP: &str = "\
Usage: gluon-wan [-c DIR] print

Shows the redirect table in nft language, as sync makes it. Needs no root.

Example: gluon-wan print | nft -c -f -
";

/// Of `config`.
pub const CONFIG_HELP: &str = "\
Usage: gluon-wan [-c DIR] config [--fixed]

Shows the configuration that the files come to: each option with its value, its
default and what it is for. Where a file has a mistake, this is what a service
that starts now would use. Only what is committed counts. Needs no root.

  --fixed   one line of what a running resolver cannot change: when it is
            another one, the resolver has to be started anew; nothing where the
            file is refused

Exit codes: 0, or 2 where the configuration has a mistake.
Example: gluon-wan config | grep -B1 port
";

/// Of `status`.
pub const STATUS_HELP: &str = "\
Usage: gluon-wan [-c DIR] status [--json]

Says whether the WAN side of this node works, and if not, why and what to do.
Changes nothing. Without root it says what it cannot see, and calls no node
healthy.

  --json    one JSON object for programs: docs/status.schema.json

Exit codes: 0 healthy, 1 not healthy or not known.
Example: gluon-wan status --json | jq .healthy
";

/// Of `trace`.
pub const TRACE_HELP: &str = "\
Usage: gluon-wan [-c DIR] trace [--json] NAME

Looks NAME up once as the VPN daemon does, and shows step by step, with times: the
server that is asked, whether the redirect took the look-up, what each server of
the WAN says and by which way it is asked, where a packet to the answer would go,
and the first thing that is wrong. Needs root.

  --json    one JSON object for programs

Exit codes: 0 the way to NAME is the WAN's, 1 it is not.
Example: gluon-wan trace vpn.example.org
";

/// Of `exec`.
pub const EXEC_HELP: &str = "\
Usage: gluon-wan [-c DIR] exec [--mark] [--] COMMAND [ARG ...]
       gluon-wan-dns COMMAND [ARG ...]

Runs COMMAND with the redirected group as its primary group, so that its DNS
look-ups are answered over the WAN.

  --mark    preload libpacketmark as well, so that all its traffic takes the WAN

Refused are programs that cannot be kept on the WAN: with --mark those that take no
library (linked statically, as Go's are, or of another architecture) or gain a
privilege by being run (setuid, setgid, capabilities), always those that are setgid.
Of a script its interpreter counts. What cannot be known: programs that COMMAND
starts, and sockets that are made without libc.

Exit codes: the command's; 125 exec itself failed, 126 COMMAND cannot be run,
127 COMMAND was not found.
Example: gluon-wan exec --mark ping -c 1 vpn.example.org
";

/// Of the other name that `exec` has.
pub const WRAPPER_HELP: &str = "\
Usage: gluon-wan-dns COMMAND [ARG ...]

Runs COMMAND with its DNS look-ups over the WAN. The same as `gluon-wan exec`.
";
