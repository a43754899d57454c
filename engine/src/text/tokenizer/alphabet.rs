//! The printable alphabet in which byte-level vocabularies spell their tokens: one character for each byte
//! (GPT-2's `bytes_to_unicode`). A byte that prints in Latin-1 stands for itself; the others take U+0100 upwards.

/// Bytes that are their own character.
const fn prints(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E | 0xA1..=0xAC | 0xAE..=0xFF)
}

const FIRST_BORROWED: u16 = 0x100;
const BORROWED: usize = 68;

/// The bytes that do not print, in order: byte `i` of this list is spelled U+0100 + i.
const HIDDEN: [u8; BORROWED] = {
    let mut hidden = [0; BORROWED];
    let (mut byte, mut count) = (0_u16, 0);
    while byte < 256 {
        if !prints(byte as u8) {
            hidden[count] = byte as u8;
            count += 1;
        }
        byte += 1;
    }
    hidden
};

const SPELLED: [u16; 256] = {
    let mut spelled = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        spelled[byte] = byte as u16;
        byte += 1;
    }
    let mut hidden = 0;
    while hidden < BORROWED {
        spelled[HIDDEN[hidden] as usize] = FIRST_BORROWED + hidden as u16;
        hidden += 1;
    }
    spelled
};

/// The character that spells a byte.
pub(super) fn spell(byte: u8) -> char {
    char::from_u32(SPELLED[byte as usize].into()).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The byte a character spells.
pub(super) fn unspell(character: char) -> Option<u8> {
    let code = u16::try_from(u32::from(character)).ok()?;
    match u8::try_from(code) {
        Ok(byte) => prints(byte).then_some(byte),
        Err(_) => HIDDEN.get(usize::from(code - FIRST_BORROWED)).copied(),
    }
}

/// Appends the spelling of these bytes.
pub(super) fn spell_into(bytes: &[u8], spelled: &mut Vec<u8>) {
    for &byte in bytes {
        let mut utf8 = [0; 4];
        spelled.extend_from_slice(spell(byte).encode_utf8(&mut utf8).as_bytes());
    }
}

/// Appends the bytes this text spells; false, and nothing appended, if a character is not of the alphabet.
pub(super) fn unspell_into(text: &[u8], bytes: &mut Vec<u8>) -> bool {
    let before = bytes.len();
    let Ok(text) = std::str::from_utf8(text) else { return false };
    for character in text.chars() {
        let Some(byte) = unspell(character) else {
            bytes.truncate(before);
            return false;
        };
        bytes.push(byte);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character_of_its_own() {
        for byte in 0..=255 {
            assert_eq!(unspell(spell(byte)), Some(byte));
        }
        assert_eq!((spell(b' '), spell(b'\n'), spell(b'A'), spell(0xAD)), ('Ġ', 'Ċ', 'A', 'Ń'));
    }

    #[test]
    fn other_characters_spell_nothing() {
        for character in [' ', '\u{7F}', '\u{AD}', '\u{144}', '漢', '😀'] {
            assert_eq!(unspell(character), None, "{character:?}");
        }
        let mut bytes = vec![1];
        assert!(!unspell_into("ab漢".as_bytes(), &mut bytes));
        assert!(!unspell_into(b"\xFF", &mut bytes));
        assert_eq!(bytes, [1]);
    }
}
