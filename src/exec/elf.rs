//! The little of an ELF file that tells how it is loaded (elf(5)).

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;

use crate::input;

const MAGIC: &[u8] = b"\x7fELF";
/// Segments that are looked at; a program has some ten.
const MAX_SEGMENTS: u16 = 128;
/// The kernel takes no longer name of a loader (PATH_MAX of linux/limits.h).
const MAX_NAME: u64 = 4096;
/// The segment that names the loader.
const PT_INTERP: u64 = 3;

/// How a file is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    /// Class (32 or 64 bits), order of bytes, architecture.
    pub machine: (u8, u8, u64),
    /// The loader's path; none for what is linked statically, and for libraries.
    pub loader: Option<Vec<u8>>,
}

/// Where the fields of a class are: ELFCLASS32 and ELFCLASS64.
struct Layout {
    word: usize,
    segments_at: usize,
    segment_size: usize,
    /// Within a segment's header.
    offset: usize,
    size: usize,
}

const ELF32: Layout = Layout {
    word: 4,
    segments_at: 28,
    segment_size: 42,
    offset: 4,
    size: 16,
};
const ELF64: Layout = Layout {
    word: 8,
    segments_at: 32,
    segment_size: 54,
    offset: 8,
    size: 32,
};

/// Whether a file that starts so is one.
pub fn is_elf(start: &[u8]) -> bool {
    start.starts_with(MAGIC)
}

/// Reads a file, none where it is no ELF file or a broken one.
///
/// # Errors
/// The kernel's.
pub fn read(path: &Path) -> io::Result<Option<Elf>> {
    let mut file = input::open(path)?;
    let head = bytes(&mut file, 0, 64)?;
    let (Some(&class), Some(&order), true) = (head.get(4), head.get(5), is_elf(&head)) else {
        return Ok(None);
    };
    let layout = if class == 1 { ELF32 } else { ELF64 };
    let field = |bytes: &[u8], at: usize, length: usize| number(bytes, at, length, order);
    let (Some(machine), Some(at), Some(size), Some(count)) = (
        field(&head, 18, 2),
        field(&head, layout.segments_at, layout.word),
        field(&head, layout.segment_size, 2),
        field(&head, layout.segment_size + 2, 2),
    ) else {
        return Ok(None);
    };
    let mut loader = None;
    for number in 0..count.min(MAX_SEGMENTS.into()) {
        let start = at.saturating_add(number * size);
        let segment = bytes(&mut file, start, size)?;
        if field(&segment, 0, 4) == Some(PT_INTERP)
            && let Some(offset) = field(&segment, layout.offset, layout.word)
            && let Some(length) = field(&segment, layout.size, layout.word)
        {
            let mut name = bytes(&mut file, offset, length.min(MAX_NAME))?;
            while name.last() == Some(&0) {
                name.pop();
            }
            loader = Some(name);
            break;
        }
    }
    Ok(Some(Elf {
        machine: (class, order, machine),
        loader,
    }))
}

/// `length` bytes from `at` on, fewer at the end of the file.
fn bytes(file: &mut File, at: u64, length: u64) -> io::Result<Vec<u8>> {
    if i64::try_from(at).is_err() {
        return Ok(Vec::new());
    }
    file.seek(SeekFrom::Start(at))?;
    input::read_piece(file, length)
}

/// A number in the file's order: 2 for the highest byte first.
fn number(bytes: &[u8], at: usize, length: usize, order: u8) -> Option<u64> {
    let bytes = bytes.get(at..at + length)?;
    let digit = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
    Some(match order {
        2 => bytes.iter().fold(0, digit),
        _ => bytes.iter().rev().fold(0, digit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn our_own_program_has_a_loader_or_is_static_and_a_script_is_no_elf() {
        let own = read(&std::env::current_exe().unwrap()).unwrap().unwrap();
        let bits = if size_of::<usize>() == 8 { 2 } else { 1 };
        assert_eq!(own.machine.0, bits);
        assert_eq!(own.machine.1 == 2, cfg!(target_endian = "big"));
        if let Some(loader) = own.loader {
            assert!(loader.starts_with(b"/"));
        }
        assert_eq!(read(Path::new("/proc/self/status")).unwrap(), None);
    }

    #[test]
    fn numbers_in_both_orders() {
        assert_eq!(number(&[0, 1, 2], 1, 2, 1), Some(0x0201));
        assert_eq!(number(&[0, 1, 2], 1, 2, 2), Some(0x0102));
        assert_eq!(number(&[0, 1], 1, 2, 2), None);
    }

    #[test]
    fn a_broken_file_is_none() {
        let scratch = Scratch::new();
        let path = scratch.join("program");
        for length in [4, 6, 20, 63] {
            let mut start = MAGIC.to_vec();
            start.resize(length, 0xff);
            std::fs::write(&path, start).unwrap();
            let _ = read(&path).unwrap();
        }
        let mut whole = MAGIC.to_vec();
        whole.resize(64, 0xff);
        std::fs::write(&path, whole).unwrap();
        // A file that ends where its segments should begin.
        assert_eq!(read(&path).unwrap().unwrap().loader, None);
    }
}
