//! What people take for a GGUF file, called by its name.

/// Bytes of a file that [`foreign`] looks at.
const LOOKED_AT: usize = 1 << 12;

/// What a file that begins with `bytes` is, where that is known, and what to do about it. It is no GGUF file.
pub fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let bytes = bytes.get(..LOOKED_AT).unwrap_or(bytes);
    let known = KNOWN.iter().find(|(start, _)| bytes.starts_with(start)).map(|(_, name)| *name);
    known.or_else(|| page(bytes)).or_else(|| safetensors(bytes)).or_else(|| importance_matrix(bytes))
}

/// Beginnings of files.
const KNOWN: [(&[u8], &str); 14] = [
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer, which stands for the file: fetch that with git lfs pull",
    ),
    (b"PK\x03\x04", "a zip archive, as PyTorch's weights are: convert a folder with safetensors"),
    (b"\x80\x02", "a Python pickle, as PyTorch's weights are: convert a folder with safetensors"),
    (b"\x1f\x8b", "a file compressed with gzip: unpack it"),
    (b"\x28\xb5\x2f\xfd", "a file compressed with zstd: unpack it"),
    (b"\xfd7zXZ\0", "a file compressed with xz: unpack it"),
    (b"BZh", "a file compressed with bzip2: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive: unpack it"),
    (b"lmgg", OLD),
    (b"tjgg", OLD),
    (b"fmgg", OLD),
    (b"algg", "an adapter of llama.cpp from before GGUF: convert the original"),
    (b"%PDF-", "a PDF file"),
    (b"\x7fELF", "a program"),
];
const OLD: &str = "a model of llama.cpp from before GGUF: convert the original";

/// What a server has sent in place of a file.
fn page(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    let begins = |with: &[u8]| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    if begins(b"<!doctype html") || begins(b"<html") {
        return Some("a page of the web: fetch the file that it leads to");
    }
    (begins(b"{") || begins(b"[")).then_some("a JSON file")
}

/// The length of a JSON object, and the object.
fn safetensors(bytes: &[u8]) -> Option<&'static str> {
    const LONGEST: u64 = 100_000_000;
    let (len, rest) = bytes.split_first_chunk()?;
    let is_one = u64::from_le_bytes(*len) <= LONGEST && rest.starts_with(b"{\"");
    is_one.then_some("a safetensors file: siskin quantize converts the folder that it is in")
}

/// llama.cpp's older format: a number of entries, and the first one's name.
fn importance_matrix(bytes: &[u8]) -> Option<&'static str> {
    let (entries, rest) = bytes.split_first_chunk()?;
    let (len, rest) = rest.split_first_chunk()?;
    let [entries, len] = [*entries, *len].map(u32::from_le_bytes);
    let name = rest.get(..usize::try_from(len).ok()?)?;
    ((1..=1 << 20).contains(&entries) && name.ends_with(b".weight")).then_some(IMPORTANCE_MATRIX)
}

/// What to do about an importance matrix, in either format.
pub(super) const IMPORTANCE_MATRIX: &str = "an importance matrix: siskin quantize takes it as --imatrix";

/// What a GGUF file is that says of itself that it is `kind`, and no model.
pub(super) fn other_kind(kind: &str) -> &'static str {
    match kind {
        "imatrix" => IMPORTANCE_MATRIX,
        "adapter" => "an adapter: --adapter takes it, beside its model",
        "mmproj" | "clip" | "clip-vision" => {
            "the projector of a vision model: name the language model beside it"
        }
        "controlvector" => "a control vector, which is not supported",
        _ => "a file of another kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_how_they_begin() {
        let safetensors = [&64u64.to_le_bytes()[..], b"{\"a\":"].concat();
        let imatrix = [&2u32.to_le_bytes()[..], &8u32.to_le_bytes(), b"a.weight"].concat();
        for (bytes, expected) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:"[..], "a Git LFS pointer"),
            (b"\xef\xbb\xbf\n <!DOCTYPE HTML><html>", "a page of the web"),
            (b"<HTML>", "a page of the web"),
            (b"PK\x03\x04rest", "a zip archive"),
            (b"\x80\x02}q", "a Python pickle"),
            (b"tjgg\x03\0\0\0", "from before GGUF"),
            (b"{\"model_type\": 1}", "a JSON file"),
            (&safetensors, "a safetensors file"),
            (&imatrix, "an importance matrix"),
        ] {
            assert!(foreign(bytes).is_some_and(|name| name.contains(expected)), "{expected}");
        }
        for bytes in [&b"GGUF"[..], b"\0\0\0\0\0\0\0\0{\"", b"once upon a time", &[255; 64], b"x"] {
            let found = foreign(bytes).filter(|name| !name.contains("safetensors"));
            assert_eq!(found, None, "{bytes:?}");
        }
    }
}
