//! Files as people write them, and as they spoil them.

use super::*;

fn values(text: &str) -> Vec<(usize, String, String)> {
    parse(text)
        .unwrap()
        .into_iter()
        .flat_map(|s| s.options)
        .map(|o| (o.line, o.name, o.value))
        .collect()
}

fn value(written: &str) -> String {
    values(&format!("config a\n option v {written}\n"))[0]
        .2
        .clone()
}

#[test]
fn sections_named_and_anonymous() {
    let sections =
        parse("package x\n\nconfig 'static'\nconfig redirect \"r\" # c\n list g 'a'\n").unwrap();
    assert_eq!(sections[0].kind, "static");
    assert_eq!((sections[0].name.as_deref(), sections[0].line), (None, 3));
    assert_eq!(
        (sections[1].name.as_deref(), sections[1].line),
        (Some("r"), 4)
    );
    assert!(sections[1].options[0].is_list);
    assert_eq!(parse("").unwrap(), []);
    assert_eq!(parse("# nothing\n\n").unwrap(), []);
}

#[test]
fn words() {
    assert_eq!(value("plain"), "plain");
    assert_eq!(value("'single \\ \"x\"'"), r#"single \ "x""#);
    assert_eq!(value(r#""double \" \\ 'x'""#), r#"double " \ 'x'"#);
    assert_eq!(value("'a'\"b\"c"), "abc");
    assert_eq!(value("''"), "");
    assert_eq!(value(r"a\ b"), "a b");
    assert_eq!(value("192.0.2.1#53"), "192.0.2.1");
    assert_eq!(value("'192.0.2.1#53'"), "192.0.2.1#53");
    assert_eq!(value("one\\\ntwo"), "onetwo");
    assert_eq!(value("\"one\\\ntwo\""), "onetwo");
    assert_eq!(value("'one\ntwo'"), "one\ntwo");
}

#[test]
fn lines_are_counted_through_quotes_and_continuations() {
    let text = "config a\n option x 'one\n two' \\\n\n option y 1; option z 2\r\n";
    assert_eq!(
        values(text),
        [
            (2, "x".into(), "one\n two".into()),
            (5, "y".into(), "1".into()),
            (5, "z".into(), "2".into()),
        ]
    );
}

#[test]
fn what_is_not_uci_is_refused_with_its_line() {
    for (text, line, part) in [
        ("option a b\n", 1, "before any `config`"),
        ("config a\n\noption b\n", 3, "expected `option NAME VALUE`"),
        ("config a\nlist b c d\n", 2, "expected `list NAME VALUE`"),
        ("config\n", 1, "expected `config TYPE [NAME]`"),
        ("config a b c\n", 1, "expected `config TYPE [NAME]`"),
        ("package\n", 1, "expected `package NAME`"),
        ("config a\n option b 'c\n\n", 2, "not closed"),
        ("config a\n option b \"c\\", 2, "not closed"),
        ("config 'a'\n option b 'c\n", 2, "a quote (') is not closed"),
        // The quote that is missing, not the one that is left over.
        (
            "config a\n option b 'c\n option d 'e'\n",
            2,
            "this one, or the one (') in line 3",
        ),
        (
            "config a 'b\n list c d\n# don't\n",
            1,
            r"section name 'b\n list c d\n# dont'",
        ),
        ("\u{feff}config a\n", 1, r"'\u{feff}config' is not"),
        ("\n\nhello\n", 3, "'hello' is not a UCI command"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.line, line, "{text:?}");
        assert!(error.what.contains(part), "{text:?}: {error}");
    }
}

#[test]
fn a_mistake_costs_its_line() {
    let text =
        b"list early 1\nconfig a\n list x 1\n list x '2\n list x 3 4\n list y \\\n 5; list z 6\n \
        list x \xff\noption\nlist x \"7\nconfig b-c 'd-e'\n list x 8\nconfig 'f\n list x 9";
    let (sections, mistakes) = salvage(text);
    let lines: Vec<usize> = mistakes.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [4, 5, 8, 9, 10, 11, 13]);
    let kept: Vec<(&str, Vec<(usize, &str)>)> = sections
        .iter()
        .map(|section| {
            let options = section.options.iter();
            let values = options.map(|option| (option.line, option.value.as_str()));
            (section.kind.as_str(), values.collect())
        })
        .collect();
    assert_eq!(
        kept,
        [
            ("", vec![(1, "1")]),
            ("a", vec![(3, "1"), (6, "5"), (7, "6")]),
            ("", vec![(12, "8")]),
            ("", vec![(14, "9")]),
        ]
    );
}

#[test]
fn of_a_file_without_a_mistake_all_is_saved() {
    for text in [
        "",
        "config a b\n\n option x \"y\"\\\n # c\n",
        "package p; config a; list b c",
    ] {
        assert_eq!(salvage(text.as_bytes()), (parse(text).unwrap(), Vec::new()));
    }
}
