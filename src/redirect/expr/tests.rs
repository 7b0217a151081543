//! Expressions as bytes: what the kernel shows, what libnftnl writes.

use crate::netlink::put;
use nftnl::{MsgType, Table};

use super::super::set::{Elements, Numbers};
use super::read::attr;
use super::*;
use crate::netlink::Attrs;
use nftnl::Rule;

type Attr<'a> = (u16, &'a [u8]);

/// One expression as the kernel shows it.
fn shown(name: &str, data: &[Attr]) -> Vec<u8> {
    let mut nest = Vec::new();
    for (kind, value) in data {
        put(&mut nest, *kind, value);
    }
    let mut bytes = Vec::new();
    put(
        &mut bytes,
        attr::EXPR_NAME,
        &[name.as_bytes(), &[0]].concat(),
    );
    put(&mut bytes, attr::EXPR_DATA, &nest);
    bytes
}

fn protocols() -> Set {
    Set {
        of: Elements::Protocols,
        numbers: Numbers::from(&[6, 17][..]),
    }
}

fn read(name: &str, data: &[Attr]) -> Expr {
    let set = |name: &[u8]| (name == b"__set3").then(protocols);
    Expr::read(Attrs(&shown(name, data)), &set)
}

const REG: &[u8] = &[0, 0, 0, 1];
/// NFTA_DATA_VALUE with 0, 53, padded.
const PORT: &[u8] = if cfg!(target_endian = "little") {
    &[6, 0, 1, 0, 0, 53, 0, 0]
} else {
    &[0, 6, 0, 1, 0, 53, 0, 0]
};

const MASK: u32 = 0x0001_0203;
/// NFTA_DATA_VALUE with it, and with none of its bits.
const MASK_DATA: [u8; 8] = value(MASK.to_ne_bytes());
const NO_BITS: [u8; 8] = value([0; 4]);

const fn value([a, b, c, d]: [u8; 4]) -> [u8; 8] {
    let (len, kind) = (8_u16.to_ne_bytes(), 1_u16.to_ne_bytes());
    [len[0], len[1], kind[0], kind[1], a, b, c, d]
}

/// `bitwise` with [`MASK`] on register 1, with one attribute changed.
fn bitwise<'a>(changed: Attr<'a>) -> Vec<Attr<'a>> {
    let mut data: Vec<Attr> = vec![
        (1, REG),
        (2, REG),
        (3, &[0, 0, 0, 4]),
        (4, &MASK_DATA),
        (5, &NO_BITS),
        (6, &[0; 4]),
    ];
    data[usize::from(changed.0) - 1] = changed;
    data
}

/// NFTA_DATA_VERDICT.
fn verdict(code: u32) -> Vec<u8> {
    let (mut inner, mut bytes) = (Vec::new(), Vec::new());
    put(&mut inner, 1, &code.to_be_bytes());
    put(&mut bytes, 2, &inner);
    bytes
}

const DPORT: Expr = Expr::Payload {
    header: Header::Transport,
    offset: 2,
    length: 2,
};

#[test]
fn the_kernels_bytes_are_understood() {
    let n = |number: u8| [0, 0, 0, number];
    let masked = Expr::Bitwise { mask: MASK, xor: 0 };
    for (expr, name, data) in [
        (
            Expr::Meta(Meta::SkGid),
            "meta",
            &[(2, &n(11)[..]), (1, REG)][..],
        ),
        (Expr::Meta(Meta::L4Proto), "meta", &[(2, &n(16)), (1, REG)]),
        (Expr::Meta(Meta::Mark), "meta", &[(2, &n(3)), (1, REG)]),
        (Expr::Meta(Meta::NfProto), "meta", &[(2, &n(15)), (1, REG)]),
        (Expr::Meta(Meta::OifName), "meta", &[(2, &n(7)), (1, REG)]),
        (Expr::Meta(Meta::Priority), "meta", &[(2, &n(2)), (1, REG)]),
        (Expr::SetMeta(Meta::Mark), "meta", &[(2, &n(3)), (3, REG)]),
        (
            DPORT,
            "payload",
            &[(1, REG), (2, &n(2)), (3, &n(2)), (4, &n(2))],
        ),
        (
            Expr::Equals([0, 53].into()),
            "cmp",
            &[(1, REG), (2, &n(0)), (3, PORT)],
        ),
        (
            Expr::Differs([0, 53].into()),
            "cmp",
            &[(1, REG), (2, &n(1)), (3, PORT)],
        ),
        (masked.clone(), "bitwise", &bitwise((1, REG))),
        (masked, "bitwise", &bitwise((1, REG))[..5]),
        (
            Expr::Bitwise {
                mask: MASK,
                xor: MASK,
            },
            "bitwise",
            &bitwise((5, &MASK_DATA)),
        ),
        (Expr::Drop, "immediate", &[(1, &n(0)), (2, &verdict(0))]),
        (Expr::Accept, "immediate", &[(1, &n(0)), (2, &verdict(1))]),
        (
            Expr::In(protocols()),
            "lookup",
            &[(1, b"__set3\0"), (2, REG), (5, &n(0))],
        ),
        (Expr::Counter, "counter", &[(1, &[0; 8]), (2, &[0; 8])]),
        (
            Expr::Load([0, 53].into()),
            "immediate",
            &[(1, REG), (2, PORT)],
        ),
        (
            Expr::SetOriginalZone,
            "ct",
            &[(2, &n(17)), (3, &[0]), (4, REG)],
        ),
        (Expr::Ct(Ct::State), "ct", &[(2, &n(0)), (1, REG)]),
        (Expr::Ct(Ct::Direction), "ct", &[(2, &n(1)), (1, REG)]),
        (Expr::Nexthop6, "rt", &[(2, &n(2)), (1, REG)]),
        (Expr::Redirect, "redir", &[(1, REG), (2, REG), (3, &n(2))]),
        (Expr::Redirect, "redir", &[(1, REG), (3, &n(2))]),
    ] {
        assert_eq!(read(name, data), expr);
    }
}

#[test]
fn another_form_is_another_expression() {
    let n = |number: u8| [0, 0, 0, number];
    for (name, data) in [
        // The device's index; another register; loaded and set at once.
        ("meta", &[(2, &n(4)[..]), (1, REG)][..]),
        ("meta", &[(2, &n(11)), (1, &n(2))]),
        ("meta", &[(2, &n(3)), (3, &n(2))]),
        ("meta", &[(2, &n(3)), (1, REG), (3, REG)]),
        // The link's header; another register; no length.
        ("payload", &[(1, REG), (2, &n(0)), (3, &n(2)), (4, &n(2))]),
        ("payload", &[(1, &n(2)), (2, &n(2)), (3, &n(2)), (4, &n(2))]),
        ("payload", &[(1, REG), (2, &n(2)), (3, &n(2))]),
        // Less than; another register; no value.
        ("cmp", &[(1, REG), (2, &n(2)), (3, PORT)]),
        ("cmp", &[(1, &n(2)), (2, &n(1)), (3, PORT)]),
        ("cmp", &[(1, REG), (2, &n(0))]),
        // Not in the set; a set of another kind.
        ("lookup", &[(1, b"__set3\0"), (2, REG), (5, &n(1))]),
        ("lookup", &[(1, b"foreign\0"), (2, REG)]),
        // From and to another register; two bytes; a shift.
        ("bitwise", &bitwise((1, &n(2)))),
        ("bitwise", &bitwise((2, &n(2)))),
        ("bitwise", &bitwise((4, PORT))),
        ("bitwise", &bitwise((6, &n(1)))),
        // Another verdict; a value for the verdict; another register.
        ("immediate", &[(1, &n(0)), (2, &verdict(3))]),
        ("immediate", &[(1, &n(0)), (2, PORT)]),
        ("immediate", &[(1, &n(2)), (2, PORT)]),
        // The zone of both directions, and of the reply; a mark; loaded.
        ("ct", &[(2, &n(17)), (4, REG)]),
        ("ct", &[(2, &n(17)), (3, &[1]), (4, REG)]),
        ("ct", &[(2, &n(3)), (3, &[0]), (4, REG)]),
        ("ct", &[(2, &n(17)), (3, &[0]), (1, REG)]),
        // The nexthop of IPv4; another register.
        ("rt", &[(2, &n(1)), (1, REG)]),
        ("rt", &[(2, &n(2)), (1, &n(2))]),
        // A range; at random; without a port.
        ("redir", &[(1, REG), (2, &n(2)), (3, &n(2))]),
        ("redir", &[(1, REG), (2, REG), (3, &n(6))]),
        ("redir", &[]),
        ("masq", &[]),
    ] {
        assert_eq!(read(name, data), Expr::Other(name.into()), "{data:?}");
    }
    // Other bytes and other values are other values.
    let source = &[(1, REG), (2, &n(2)[..]), (3, &n(0)[..]), (4, &n(2)[..])];
    assert_ne!(read("payload", source), DPORT);
    let short = &[(1, REG), (2, &[5, 0, 1, 0, 53, 0, 0, 0][..])];
    assert_ne!(read("immediate", short), Expr::Load([0, 53].into()));
}

#[test]
fn what_libnftnl_writes_reads_as_it_was_meant() {
    let table = Table::new(c"t", nftnl::ProtoFamily::Inet);
    let chain = nftnl::Chain::new(c"c", &table);
    let mut rule = Rule::new(&chain);
    let exprs = [
        Expr::Meta(Meta::SkGid),
        Expr::Equals([1, 2, 3, 4].into()),
        Expr::Meta(Meta::L4Proto),
        DPORT,
        Expr::Ct(Ct::State),
        Expr::Ct(Ct::Direction),
        Expr::Nexthop6,
        Expr::Meta(Meta::SkUid),
        Expr::Payload {
            header: Header::Network,
            offset: 48,
            length: 1,
        },
        Expr::Counter,
        Expr::Load([0x12, 0x34].into()),
        Expr::Redirect,
        Expr::SetOriginalZone,
        Expr::Meta(Meta::Mark),
        Expr::Bitwise {
            mask: MASK,
            xor: 0x0400_0000,
        },
        Expr::SetMeta(Meta::Mark),
        Expr::Load([1, 2, 3, 4].into()),
        Expr::SetMeta(Meta::Priority),
        Expr::Meta(Meta::NfProto),
        Expr::Differs([10].into()),
        Expr::Meta(Meta::OifName),
        Expr::Differs([b'x'; 16].into()),
        Expr::Accept,
        Expr::Drop,
        Expr::Goto("mark_guard".into()),
    ];
    for expr in &exprs {
        expr.add_to(&mut rule, 0);
    }
    let mut batch = nftnl::Batch::new();
    batch.add(&rule, MsgType::Add);
    let batch = batch.finalize();
    let bytes: Vec<u8> = batch.iter().flatten().copied().collect();
    // The batch's begin is a header and nfgenmsg; so is what comes before
    // the rule's attributes.
    let expressions = Attrs(&bytes[40..]).nest(4);
    let read: Vec<Expr> = expressions
        .map(|(_, expr)| Expr::read(Attrs(expr), &|_| None))
        .collect();
    assert_eq!(read, exprs);
}

#[test]
fn the_comment_among_the_user_data() {
    assert_eq!(comment(b"\0\x03ab\0"), Some("ab".into()));
    assert_eq!(comment(b"\x01\x02xy\0\x03ab\0"), Some("ab".into()));
    assert_eq!(comment(b"\x01\x02xy"), None);
    assert_eq!(comment(b""), None);
    for cut in 1..5 {
        assert_eq!(comment(&b"\0\x03ab\0"[..cut]), None);
    }
}

#[test]
fn what_was_counted() {
    let bytes = shown(
        "counter",
        &[(1, &300_u64.to_be_bytes()), (2, &5_u64.to_be_bytes())],
    );
    let mut rule = Vec::new();
    put(&mut rule, 1, &shown("meta", &[(1, &[0; 8])]));
    assert_eq!(counted(Attrs(&rule)), Counted::default());
    put(&mut rule, 1, &bytes);
    put(&mut rule, 1, &bytes);
    let both = Counted {
        packets: 10,
        bytes: 600,
    };
    assert_eq!(counted(Attrs(&rule)), both);
}
