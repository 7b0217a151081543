//! What is read, what of it counts, and what is said of the rest.

use super::in_force::{leave_out, unfit};
use super::resolv_file::MAX_FILE;
use super::*;
use crate::resolver::local::Local;
use crate::resolver::local::tests::local;
use crate::resolver::upstream::MAX_SERVERS;
use crate::scratch::Scratch;

fn shown(text: &str) -> Vec<String> {
    parse(text).0.iter().map(ToString::to_string).collect()
}

#[test]
fn nameserver_lines_are_read() {
    let text = "# WAN\n; old\nsearch lan\noptions edns0\n\
        nameserver 192.0.2.1\n  nameserver\tfe80::1%br-wan\r\n\
        nameserver 2001:db8::1#5353 # trailing\nnameserver 192.0.2.1\n\
        #nameserver 192.0.2.9";
    assert_eq!(
        shown(text),
        ["192.0.2.1", "fe80::1%br-wan", "2001:db8::1#5353"]
    );
    assert_eq!(shown(""), Vec::<String>::new());
}

#[test]
fn a_bad_line_is_named_and_the_others_count() {
    let (servers, mistakes) = parse("nameserver\nnameserver fe80::1\nnameserver 192.0.2.1\n");
    assert_eq!(servers.len(), 1);
    assert_eq!(mistakes[0], (1, "expected nameserver ADDRESS".into()));
    assert_eq!(mistakes[1].0, 2);
    assert!(mistakes[1].1.contains("fe80::1%br-wan"), "{mistakes:?}");
}

#[test]
fn what_is_not_text_names_no_server() {
    let cut_off = "nameserver fe80::1%br\u{fffd}wan\nnameserver 192.0.2.1\u{fffd}\n";
    let (servers, mistakes) = parse(cut_off);
    assert_eq!(servers, []);
    assert_eq!(mistakes.len(), 2);
    assert_eq!(shown("\u{feff}nameserver 192.0.2.1\n"), ["192.0.2.1"]);
}

fn read_text(text: &str) -> (Vec<Server>, Vec<String>) {
    let scratch = Scratch::new();
    let path = scratch.join("resolv.conf");
    std::fs::write(&path, text).unwrap();
    read(&path).unwrap()
}

#[test]
fn a_file_is_cut_between_lines_and_its_mistakes_are_counted() {
    // Cut where MAX_FILE ends, the last line would name 192.0.2.1.
    let last = "nameserver 192.0.2.1";
    let mut text = String::from("nameserver 192.0.2.7\n");
    text += &"#".repeat(MAX_FILE - text.len() - last.len() - 1);
    text += &format!("\n{last}0\n");
    let (servers, remarks) = read_text(&text);
    assert_eq!(servers, ["192.0.2.7".parse().unwrap()]);
    assert_eq!(remarks.len(), 1, "nothing of the last line: {remarks:?}");
    assert!(remarks[0].ends_with("longer than 65536 bytes: the rest is left out"));

    let (servers, remarks) = read_text(&"nameserver x\n".repeat(7));
    assert_eq!((servers.len(), remarks.len()), (0, 6));
    assert!(remarks[4].contains(":5: 'x': expected the address"));
    assert!(remarks[5].ends_with(": and 2 lines more are left out"));
}

fn with_static(servers: impl IntoIterator<Item = String>) -> Config {
    let static_servers = servers
        .into_iter()
        .map(|text| text.parse().unwrap())
        .collect();
    Config {
        static_servers,
        ..Config::default()
    }
}

#[test]
fn static_servers_stay_while_no_line_of_their_file_is_good() {
    let dir = Scratch::new();
    let mut supply = Supply::new(&dir, with_static(["192.0.2.1".into()]));
    let mut after = |text: &str| {
        std::fs::write(dir.join(STATIC_FILE), text).unwrap();
        supply.reload();
        let servers = supply.config.static_servers.iter();
        servers.map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        after("config static\n list server nonsense\n"),
        ["192.0.2.1"]
    );
    let mixed = "config static\n list server nonsense\n list server 192.0.2.2\n";
    assert_eq!(after(mixed), ["192.0.2.2"]);
    // What the form leaves where the only one is taken out.
    assert_eq!(after("config static\n list server ''\n"), [""; 0]);
    assert_eq!(after(mixed), ["192.0.2.2"]);
    assert_eq!(
        after("config static\n list server ''\n list server nonsense\n"),
        ["192.0.2.2"]
    );
    assert_eq!(after("config static\n"), [""; 0]);
    assert_eq!(after("config static\n list server nonsense\n"), [""; 0]);
}

#[test]
fn the_resolver_never_asks_itself() {
    let fixed = ["127.0.0.1#54", "127.0.0.1", "::ffff:127.0.0.1#54", "::1#54"];
    let config = with_static(fixed.map(String::from));
    let (left, remarks) = in_force(&config).unwrap();
    assert_eq!(left, ["127.0.0.1".parse().unwrap()]);
    assert_eq!(remarks.len(), 3);
    assert_eq!(
        remarks[0],
        "the server 127.0.0.1#54 is this resolver itself: left out"
    );
}

#[test]
fn an_announced_server_is_another_machine() {
    let local = local(
        &["10.9.0.10/32", "2001:db8::1/128", "fe80::1/128"],
        &["10.9.0.255/32"],
    );
    let index = |name: &str| (name == "br-wan").then_some(7);
    let mut servers: Vec<Server> = [
        "127.0.0.53",
        "10.9.0.1",
        "::1",
        "10.9.0.10#5353",
        "10.9.0.255",
        "::ffff:10.9.0.10",
        "2001:db8::1",
        "2001:db8::2",
        "fe80::1%br-wan",
        "fe80::1%gone",
        "fe80::2%br-wan",
    ]
    .map(|text| text.parse().unwrap())
    .into();
    let mut remarks = Vec::new();
    leave_out(&mut servers, &mut remarks, &|server| {
        unfit(server, &local, index)
    });
    let left: Vec<String> = servers.iter().map(ToString::to_string).collect();
    assert_eq!(
        left,
        ["10.9.0.1", "2001:db8::2", "fe80::1%gone", "fe80::2%br-wan"]
    );
    assert_eq!(
        remarks[..2],
        [
            "the server 127.0.0.53 is this node itself: left out",
            "the server ::1 is this node itself: left out"
        ]
    );
    assert_eq!(
        remarks[3],
        "the server 10.9.0.255 is a broadcast address: left out"
    );
    assert_eq!(remarks.len(), 7);
    // Without any network, no mesh can be asked.
    let alone = crate::resolver::local::tests::local(&["127.0.0.0/8", "::1/128"], &[]);
    let loopback = "127.0.0.53".parse().unwrap();
    assert_eq!(unfit(&loopback, &alone, index), None);
    assert!(unfit(&loopback, &Local::default(), index).is_some());
}

#[test]
fn a_long_list_is_cut() {
    let cut = |count| {
        let config = with_static((1..=count).map(|n| format!("192.0.2.{n}")));
        let (servers, remarks) = in_force(&config).unwrap();
        (servers.len(), remarks.len())
    };
    assert_eq!(cut(MAX_SERVERS), (MAX_SERVERS, 0));
    assert_eq!(cut(MAX_SERVERS + 3), (MAX_SERVERS, 1));
}

#[test]
fn no_file_means_no_server_and_a_directory_is_an_error() {
    let read = |path: &str| read(Path::new(path));
    assert_eq!(
        read("/nonexistent/resolv.conf").unwrap(),
        Default::default()
    );
    assert!(read("/").is_err());
}
