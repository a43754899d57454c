//! Text that is not in UTF-8.

/// Which byte of a character of UTF-16 is first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ByteOrder {
    Little,
    Big,
}

impl ByteOrder {
    /// That of a text in UTF-16, whose byte order mark says so.
    pub(crate) fn of(bytes: &[u8]) -> Option<ByteOrder> {
        match bytes {
            [0xff, 0xfe, ..] => Some(ByteOrder::Little),
            [0xfe, 0xff, ..] => Some(ByteOrder::Big),
            _ => None,
        }
    }

    /// That of XML in UTF-16, which may have its first `<` instead of a mark.
    #[cfg(feature = "docx")]
    pub(crate) fn of_xml(bytes: &[u8]) -> Option<ByteOrder> {
        match bytes {
            [b'<', 0, ..] => Some(ByteOrder::Little),
            [0, b'<', ..] => Some(ByteOrder::Big),
            _ => ByteOrder::of(bytes),
        }
    }

    fn unit(self, bytes: [u8; 2]) -> u16 {
        match self {
            ByteOrder::Little => u16::from_le_bytes(bytes),
            ByteOrder::Big => u16::from_be_bytes(bytes),
        }
    }
}

/// The text in UTF-16; None where bytes are none.
#[cfg(feature = "docx")]
pub(crate) fn utf16(bytes: &[u8], order: ByteOrder) -> Option<String> {
    let (units, rest) = bytes.as_chunks();
    let text = char::decode_utf16(units.iter().map(|&unit| order.unit(unit))).collect::<Result<_, _>>();
    text.ok().filter(|_| rest.is_empty())
}
