//! What the screen shows.

use super::*;
use crate::status::judge::{judge, tests::healthy};

fn shown(facts: &Facts, colour: bool) -> String {
    show(facts, &judge(facts), colour)
}

#[test]
fn a_healthy_node_fits_a_screen() {
    let text = shown(&healthy(), false);
    let expected = format!(
        "\
{}: healthy
WAN devices
  br-wan         up, 192.0.2.9/24
redirect
  groups         gluon-fastd (800), to port 54
  table          inet gluon_wan, as wanted, packets redirected: 3, stopped: 0
  fw4 include    /run/redirect.nft, as wanted, loaded by fw4
routing
  IPv6           1 rules and routes, as wanted
    marked to    br-wan via fe80::77
    unmarked to  bat0 via fe80::111
  IPv4           not separated
watch
  sync --watch   watches (pid 8), looked 4 s ago, mended in the last hour: 0
resolver
  127.0.0.1:54   answers in 0.3 ms
  [::1]:54       answers in 0.3 ms
  mark           gluon-wan (pid 7) may set 0x1/0x1
servers
  address    state  for    usual   queries  failed
  192.0.2.1  up     1 min  1.3 ms  7        1
",
        own_version()
    );
    assert_eq!(text, expected);
}

#[test]
fn a_problem_is_one_line_with_what_to_do() {
    let mut facts = healthy();
    facts.table.as_mut().unwrap().state = Match::Absent;
    let text = shown(&facts, false);
    assert!(text.starts_with(&format!("{}: 1 problem\n", own_version())));
    assert!(text.contains("  ! redirect: table inet gluon_wan is missing"));
    assert!(text.ends_with(": `gluon-wan sync`\n"));
}

#[test]
fn what_was_not_seen_is_said() {
    let mut facts = healthy();
    facts.table = Err("needs root".into());
    facts.devices = Err("no memory".into());
    facts.routing = Err("no netlink".into());
    facts.include = None;
    let text = shown(&facts, false);
    assert!(text.contains("no problem seen, but not everything"));
    assert_eq!(text.matches("not seen\n").count(), 4);
    assert!(text.contains("  ? redirect: table inet gluon_wan: needs root\n"));
    assert!(text.contains("  fw4 include   not wanted\n"));
}

#[test]
fn colour_is_only_where_it_is_wanted() {
    let text = shown(&healthy(), true);
    assert!(text.contains("\x1b[32mhealthy\x1b[0m"));
    assert!(text.contains("\x1b[1mresolver\x1b[0m"));
    assert!(!shown(&healthy(), false).contains('\x1b'));
}
