//! The order of the house: a module imports only from the floors below its own, and
//! what is pure does not ask the kernel.

// A check fails by a panic.
#![allow(clippy::panic, clippy::unwrap_used)]

#[path = "../src/scratch.rs"]
mod scratch;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use scratch::Scratch;

/// From the top down. Modules of one floor do not know each other.
const FLOORS: &[&[&str]] = &[
    &["cli"],
    &["exec", "trace", "watch"],
    &["status"],
    &["ruleset", "sync"],
    &["redirect", "resolver", "routing"],
    &["accounts", "ask", "follow", "output", "pulse", "wan"],
    &[
        "child",
        "config",
        "health",
        "netlink",
        "privilege",
        "ready",
        "signals",
    ],
    &["log"],
    &["input"],
];

/// Pure files, and what in their own folder does ask the kernel.
const PURE: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("redirect/chain.rs", &["kernel", "reading", "transaction"]),
    ("redirect/dns.rs", &["kernel", "reading", "transaction"]),
    ("redirect/mark.rs", &["kernel", "reading", "transaction"]),
    ("redirect/table.rs", &["kernel", "reading", "transaction"]),
    ("routing/obstacle.rs", &["kernel", "keeper", "events"]),
    ("routing/plan.rs", &["kernel", "keeper", "events"]),
    ("routing/wanted", &["kernel", "keeper", "events"]),
    ("status/facts.rs", &["look", "probe", "process"]),
    ("status/json.rs", &["look", "probe", "process"]),
    ("status/judge.rs", &["look", "probe", "process"]),
    ("status/words.rs", &["look", "probe", "process"]),
    ("wan/file.rs", &["kernel"]),
];

/// All Rust files below `path`, or it alone.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap();
    let mut found: Vec<PathBuf> = entries
        .flat_map(|entry| files(&entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|end| end == "rs"))
        .collect();
    found.sort();
    found
}

/// The modules that a file imports by `use ROOT::NAME` or `use ROOT::{NAME, ...}`.
fn imports(file: &Path, root: &str) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]").next().unwrap();
    let mut found = BTreeSet::new();
    for statement in text.split("use ").skip(1) {
        let Some(rest) = statement.strip_prefix(root) else {
            continue;
        };
        let rest = rest.split(';').next().unwrap();
        match rest.strip_prefix('{') {
            // Braces within braces belong to a name that is there already.
            Some(list) => {
                let mut depth = 0;
                for part in list.split_inclusive(['{', '}', ',']) {
                    let word =
                        part.trim_matches(|c: char| !c.is_alphanumeric() && c != '_' && c != ':');
                    if depth == 0 && !word.is_empty() {
                        found.insert(first(word));
                    }
                    depth += i32::from(part.ends_with('{')) - i32::from(part.ends_with('}'));
                }
            }
            None => {
                found.insert(first(rest));
            }
        }
    }
    found
}

fn first(path: &str) -> String {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_');
    path[..end.unwrap_or(path.len())].to_owned()
}

fn floor(module: &str) -> usize {
    let found = FLOORS.iter().position(|floor| floor.contains(&module));
    found.unwrap_or_else(|| panic!("{module} has no floor: put it where it belongs"))
}

#[test]
fn modules_import_only_downward() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = 0;
    for file in files(&source) {
        let inside = file.strip_prefix(&source).unwrap();
        let module = inside.iter().next().unwrap().to_str().unwrap();
        let module = module.trim_end_matches(".rs");
        if ["lib", "main", "build", "scratch", "unwinder", "packetmark"].contains(&module) {
            continue;
        }
        for imported in imports(&file, "crate::") {
            // Macros live at the root; `scratch` is for tests alone.
            if ["error", "warning", "notice", "info", "scratch"].contains(&imported.as_str()) {
                continue;
            }
            seen += 1;
            assert!(
                imported == module || floor(&imported) > floor(module),
                "{}: {module} imports {imported}, which is not below it",
                inside.display()
            );
        }
    }
    assert!(seen > 100, "only {seen} imports found");
}

#[test]
fn what_is_pure_does_not_ask_the_kernel() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (pure, kernel) in PURE {
        for file in files(&source.join(pure)) {
            let own = imports(&file, "super::");
            let all = imports(&file, "crate::");
            let asked = own.iter().filter(|name| kernel.contains(&name.as_str()));
            let asked: Vec<&String> = asked.chain(all.get("netlink")).collect();
            assert!(asked.is_empty(), "{} imports {asked:?}", file.display());
        }
    }
}

#[test]
fn the_architecture_page_shows_the_same_floors() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/architecture.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("| floor | |\n|---|---|\n").unwrap();
    let shown: Vec<&str> = table.lines().take_while(|line| !line.is_empty()).collect();
    assert_eq!(shown.len(), FLOORS.len());
    for (line, floor) in shown.into_iter().zip(FLOORS) {
        let names = format!("| `{}` | ", floor.join("`, `"));
        let does = line.strip_prefix(&names);
        let does = does.unwrap_or_else(|| panic!("expected {names:?}, found: {line}"));
        assert!(
            floor.len() == 1 || does.split(" · ").count() == floor.len(),
            "one of these is not explained: {line}"
        );
    }
}

#[test]
fn imports_are_found() {
    let scratch = Scratch::new();
    let file = scratch.join("file.rs");
    let text = "use crate::a;\npub use crate::b::{self, X};\nuse crate::{c, d::{Y, Z}, e::f};\n\
                use std::g;\n#[cfg(test)]\nuse crate::h;\n";
    fs::write(&file, text).unwrap();
    let found = imports(&file, "crate::");
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        ["a", "b", "c", "d", "e"]
    );
}
