//! Netlink attributes: type, length and value, nested at will (linux/netlink.h).

/// The attributes behind a header of this length.
#[must_use]
pub fn attributes(body: &[u8], header: usize) -> Attrs<'_> {
    Attrs(body.get(header..).unwrap_or_default())
}

/// Appends one attribute, padded.
pub fn put(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // Values are names and numbers, far below 64 KiB.
    bytes.extend((4 + value.len() as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The attributes of a message or of a nest: type and value.
///
/// What is cut off or malformed ends the sequence.
#[derive(Debug, Clone, Copy)]
pub struct Attrs<'a>(pub &'a [u8]);

impl<'a> Attrs<'a> {
    /// The value of the first attribute of that type.
    #[must_use]
    pub fn get(mut self, kind: u16) -> Option<&'a [u8]> {
        self.find(|attr| attr.0 == kind).map(|attr| attr.1)
    }

    /// A number, in network order as nf_tables has all of them.
    #[must_use]
    pub fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A 64-bit number in network order.
    #[must_use]
    pub fn u64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A name, without the NUL that ends it.
    #[must_use]
    pub fn name(self, kind: u16) -> Option<&'a [u8]> {
        self.get(kind)?.strip_suffix(&[0])
    }

    /// The attributes inside of another one, none when it is not there.
    #[must_use]
    pub fn nest(self, kind: u16) -> Attrs<'a> {
        Attrs(self.get(kind).unwrap_or_default())
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let header = self.0.get(..4)?;
        let len = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & libc::NLA_TYPE_MASK as u16;
        let value = self.0.get(4..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_read_as_they_are_put() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, b"name\0");
        put(&mut bytes, 2 | 0x8000, &[]);
        put(&mut bytes, 3, &[0, 0, 1, 2]);
        put(&mut bytes, 4, &7_u64.to_be_bytes());
        assert_eq!(bytes.len(), 12 + 4 + 8 + 12);
        let attrs = Attrs(&bytes);
        assert_eq!(attrs.count(), 4);
        assert_eq!(attrs.name(1), Some(&b"name"[..]));
        assert_eq!(attrs.nest(2).count(), 0);
        assert_eq!(attrs.u32(3), Some(0x0102));
        assert_eq!(attrs.u64(4), Some(7));
        assert_eq!(attrs.u32(4), None);
        assert_eq!(attrs.name(3), None);
        assert_eq!(attrs.get(5), None);
    }

    #[test]
    fn what_is_cut_off_or_malformed_ends_the_attributes() {
        let mut bytes = Vec::new();
        put(&mut bytes, 1, &[1; 5]);
        put(&mut bytes, 2, &[2; 8]);
        for len in 0..bytes.len() {
            let seen: Vec<u16> = Attrs(&bytes[..len]).map(|attr| attr.0).collect();
            let whole: &[u16] = if len < 9 { &[] } else { &[1] };
            assert_eq!(seen, whole, "{len}");
        }
        assert_eq!(Attrs(&[3, 0, 1, 0, 0, 0, 0, 0]).count(), 0);
        assert_eq!(Attrs(&[0; 16]).count(), 0);
        assert_eq!(Attrs(&[0xff; 16]).count(), 0);
    }
}
