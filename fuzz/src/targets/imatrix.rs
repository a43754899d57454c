//! An importance matrix, in GGUF or in llama.cpp's older format: it is refused, or all in it are numbers.

use crate::repository;
use siskin_convert::imatrix::Imatrix;
use std::fs;
use tempfile::NamedTempFile;

thread_local! {
    static FILE: NamedTempFile =
        NamedTempFile::new_in("/dev/shm").or_else(|_| NamedTempFile::new()).expect("a file");
}

/// One of each format.
pub fn seeds() -> Vec<Vec<u8>> {
    let path = repository("tools/cli/tests/goldens/imatrix/expected.gguf");
    vec![fs::read(path).expect("a golden"), older()]
}

/// Two entries, the last call, the name of a text.
fn older() -> Vec<u8> {
    let mut bytes = 2i32.to_le_bytes().to_vec();
    for name in ["blk.0.attn_q.weight", "blk.0.ffn_up.weight"] {
        bytes.extend((name.len() as i32).to_le_bytes());
        bytes.extend(name.bytes());
        bytes.extend(7i32.to_le_bytes());
        bytes.extend(32i32.to_le_bytes());
        bytes.extend((0..32).flat_map(|column| (column as f32 * 0.5).to_le_bytes()));
    }
    bytes.extend(7i32.to_le_bytes());
    bytes.extend(8i32.to_le_bytes());
    bytes.extend(b"text.txt");
    bytes
}

/// Reads the bytes as a file.
pub fn run(data: &[u8]) {
    FILE.with(|file| {
        fs::write(file.path(), data).expect("room");
        let Ok(imatrix) = Imatrix::open(file.path()) else { return };
        for entry in imatrix.entries.values() {
            assert_eq!(entry.importance().len(), entry.sums.len());
            assert!(entry.importance().iter().all(|value| value.is_finite() && *value >= 0.0));
        }
    });
}
