//! Constant anonymous sets by what is in them, and the bytes that nf_tables compares.

use std::fmt;

/// Numbers in their order, each once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Numbers(Vec<u32>);

impl Numbers {
    /// Adds one; false when it is there already.
    pub fn insert(&mut self, number: u32) -> bool {
        match self.0.binary_search(&number) {
            Ok(_) => false,
            Err(at) => {
                self.0.insert(at, number);
                true
            }
        }
    }

    /// All of them.
    pub fn as_slice(&self) -> &[u32] {
        &self.0
    }
}

impl From<&[u32]> for Numbers {
    fn from(numbers: &[u32]) -> Self {
        let mut all = Self::default();
        for number in numbers {
            all.insert(*number);
        }
        all
    }
}

/// As nft lists them: one needs no braces.
impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            all => {
                for (at, number) in all.iter().enumerate() {
                    let before = if at == 0 { "{ " } else { ", " };
                    write!(f, "{before}{number}")?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// A set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// What the numbers are.
    pub of: Elements,
    /// What is in it.
    pub numbers: Numbers,
}

/// What a set is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elements {
    /// Groups, in host order.
    Gids,
    /// Transport protocols, IPPROTO_*.
    Protocols,
    /// Ports, in network order.
    Ports,
}

/// In which order the bytes of an element are: nft's enum byteorder.
const HOST: u32 = 1;
const NETWORK: u32 = 2;

impl Elements {
    /// All kinds.
    const ALL: [Self; 3] = [Self::Gids, Self::Protocols, Self::Ports];

    /// nft's datatype, how long an element is, and in which order its bytes are.
    pub fn layout(self) -> (u32, u32, u32) {
        match self {
            Self::Gids => (25, 4, HOST),
            Self::Protocols => (12, 1, HOST),
            Self::Ports => (13, 2, NETWORK),
        }
    }

    /// Those of nft's datatype; none for what we never make.
    pub fn of_type(datatype: u32) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|elements| elements.layout().0 == datatype)
    }

    /// An element as nf_tables has it.
    pub fn data(self, number: u32) -> Data {
        match self {
            Self::Gids => number.to_ne_bytes().into(),
            Self::Protocols => [number as u8].into(),
            Self::Ports => (number as u16).to_be_bytes().into(),
        }
    }

    /// The number of an element; none where it has another size.
    pub fn number(self, data: &[u8]) -> Option<u32> {
        match (self, data) {
            (Self::Gids, data) => Some(u32::from_ne_bytes(data.try_into().ok()?)),
            (Self::Protocols, [number]) => Some(u32::from(*number)),
            (Self::Ports, [high, low]) => Some(u32::from(*high) << 8 | u32::from(*low)),
            _ => None,
        }
    }
}

/// What fits into a register of nf_tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// What is behind `length` is 0.
    bytes: [u8; Self::MOST],
    length: u8,
}

impl Data {
    /// NFT_REG_SIZE.
    pub const MOST: usize = 16;

    /// None where there are too many bytes.
    pub fn new(from: &[u8]) -> Option<Self> {
        let mut bytes = [0; Self::MOST];
        bytes.get_mut(..from.len())?.copy_from_slice(from);
        Some(Self {
            bytes,
            length: from.len() as u8,
        })
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl<const N: usize> From<[u8; N]> for Data {
    fn from(from: [u8; N]) -> Self {
        const { assert!(N <= Self::MOST) };
        let mut bytes = [0; Self::MOST];
        bytes[..N].copy_from_slice(&from);
        Self {
            bytes,
            length: N as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_in_order_and_each_once() {
        let mut numbers = Numbers::from(&[801, 1, 801, 256][..]);
        assert_eq!(numbers.as_slice(), [1, 256, 801]);
        assert!(!numbers.insert(256));
        assert!(numbers.insert(0));
        assert_eq!(numbers.to_string(), "{ 0, 1, 256, 801 }");
        assert_eq!(Numbers::from(&[7][..]).to_string(), "7");
    }

    #[test]
    fn elements_are_read_as_they_are_laid_out() {
        for (elements, number) in [
            (Elements::Gids, 0x0102_0304),
            (Elements::Protocols, 17),
            (Elements::Ports, 0x1234),
        ] {
            let (datatype, length, _) = elements.layout();
            let data = elements.data(number);
            assert_eq!(Elements::of_type(datatype), Some(elements));
            assert_eq!(data.as_slice().len(), length as usize);
            assert_eq!(elements.number(data.as_slice()), Some(number));
            assert_eq!(elements.number(&[0; 3]), None);
        }
        assert_eq!(Elements::Ports.data(0x1234), [0x12, 0x34].into());
        assert_eq!(Elements::of_type(7), None);
    }

    #[test]
    fn a_register_holds_sixteen_bytes() {
        assert_eq!(Data::new(&[7; 16]).unwrap(), [7; 16].into());
        assert_eq!(Data::new(&[7; 17]), None);
        assert_ne!(Data::from([7, 0]), Data::from([7]));
    }
}
