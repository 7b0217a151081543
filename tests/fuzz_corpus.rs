//! Replays the corpus of the fuzz targets (tests/fuzz/corpus), without libFuzzer.

#[path = "fuzz/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

#[test]
fn the_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    for (target, check) in checks::TARGETS {
        let files: Vec<_> = fs::read_dir(corpus.join(target))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert!(!files.is_empty(), "{target} has no corpus");
        for file in files {
            // For the reader of a failed test, who sees this only then.
            println!("{}", file.display());
            let bytes = fs::read(&file).unwrap();
            check(&bytes);
            // And all that a cable, a disk or an enemy may have cut off.
            (0..bytes.len()).for_each(|end| check(&bytes[..end]));
        }
    }
}
