use super::{Entry, Imatrix};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

/// Reads the format that llama.cpp wrote before GGUF: a number of entries, each its name, the number of chunks, the
/// number of columns and a mean square times the number of chunks for each; at the end, or not, the number of chunks
/// again and the name of the text. Numbers are little-endian, of 32 bits.
pub(super) fn parse(bytes: &[u8]) -> Result<Imatrix> {
    read(&mut { bytes }).context("expected an importance matrix, in GGUF or in llama.cpp's older format")
}

fn read(rest: &mut &[u8]) -> Result<Imatrix> {
    let mut entries = BTreeMap::new();
    for _ in 0..number(rest)? {
        let name = string(rest)?;
        let (count, columns) = (number(rest)?, number(rest)?);
        let sums = take(rest, columns.checked_mul(4).context("a number of columns beyond all bounds")?)?;
        let sums = sums.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        entries.insert(name, Entry { sums, counts: vec![count as f32] });
    }
    let chunks = if rest.is_empty() { 0 } else { number(rest)? };
    let datasets = if rest.is_empty() { Vec::new() } else { vec![string(rest)?] };
    ensure!(rest.is_empty(), "{} bytes too many", rest.len());
    Ok(Imatrix { entries, datasets, chunks: u32::try_from(chunks)?, chunk_size: 0 })
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(len).context("the file ends too early")?;
    *rest = left;
    Ok(taken)
}

/// A number that counts something.
fn number(rest: &mut &[u8]) -> Result<usize> {
    let bytes = take(rest, 4)?.first_chunk().copied().unwrap_or_default();
    usize::try_from(i32::from_le_bytes(bytes)).context("a negative number")
}

fn string(rest: &mut &[u8]) -> Result<String> {
    let len = number(rest)?;
    Ok(str::from_utf8(take(rest, len)?).context("a name that is not UTF-8")?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(1i32.to_le_bytes());
        bytes.extend(8i32.to_le_bytes());
        bytes.extend(b"a.weight");
        bytes.extend([4i32, 2].map(i32::to_le_bytes).concat());
        bytes.extend([8.0f32, 2.0].map(f32::to_le_bytes).concat());
        bytes.extend([4i32, 3].map(i32::to_le_bytes).concat());
        bytes.extend(b"txt");
        bytes
    }

    #[test]
    fn sums_are_means_times_chunks() {
        let imatrix = parse(&file()).unwrap();
        assert_eq!(imatrix.entries["a.weight"].importance(), [2.0, 0.5]);
        assert_eq!((imatrix.chunks, imatrix.datasets), (4, vec!["txt".to_owned()]));
    }

    #[test]
    fn what_follows_the_entries_may_be_missing() {
        let bytes = file();
        assert_eq!(parse(&bytes[..bytes.len() - 11]).unwrap().chunks, 0);
    }

    #[test]
    fn no_other_end_is_taken() {
        let bytes = file();
        let whole = [bytes.len() - 11, bytes.len() - 7];
        for len in (0..bytes.len()).filter(|len| !whole.contains(len)) {
            let result = parse(&bytes[..len]);
            assert!(result.is_err(), "{len}: {result:?}");
        }
        assert!(parse(&[&bytes[..], b"x"].concat()).is_err());
        assert!(parse(&[0xff; 64]).is_err());
        assert!(parse(b"\xff\xff\xff\x7f").is_err());
    }
}
