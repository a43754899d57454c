//! What loading holds, in processes of their own: peaks of a process never fall again.

use crate::again::run_again;
use crate::packed::packed;
use crate::parts::Parts;
use siskin::Model;
use siskin::machine::Memory;
use std::path::Path;

const MODEL: &str = "SISKIN_TEST_LOADING";
const MIB: u64 = 1 << 20;

/// A model most of which is one matrix, so that whoever holds a whole one twice holds nearly all twice.
fn large() -> Parts {
    Parts::of("tied").tensor("token_embd.weight", |tensor| {
        let row = tensor.data.len() as u64 / tensor.shape[1];
        tensor.shape[1] = 128 * MIB / row;
        tensor.data = tensor.data.repeat((128 * MIB).div_ceil(tensor.data.len() as u64) as usize);
        tensor.data.truncate((tensor.shape[1] * row) as usize);
    })
}

/// Bytes that another process holds at most, beside what it has, while it opens a file with these bytes.
fn held(test: &str, bytes: &[u8]) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.gguf");
    std::fs::write(&path, bytes).unwrap();
    let child = run_again(test, MODEL, &path);
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    said.lines().find_map(|line| line.strip_prefix("held ")?.parse().ok()).unwrap()
}

/// The other process: opens the model and says what that took.
fn opened_here() -> bool {
    let Some(path) = std::env::var_os(MODEL) else { return false };
    let before = Memory::here().resident.unwrap();
    let model = Model::open(Path::new(&path)).unwrap();
    println!("\nheld {}", Memory::here().peak.unwrap() - before);
    drop(model);
    true
}

#[test]
fn loading_never_holds_much_more_than_the_model() {
    if opened_here() {
        return;
    }
    let bytes = large().bytes();
    let (len, held) =
        (bytes.len() as u64, held("memory::loading_never_holds_much_more_than_the_model", &bytes));
    assert!(held >= len && held < len + len / 20 + 64 * MIB, "{held} bytes held for a file of {len}");
}

#[test]
fn a_packed_file_is_not_held_beside_its_pages() {
    if opened_here() {
        return;
    }
    let (bytes, _) = packed(&large());
    let held = held("memory::a_packed_file_is_not_held_beside_its_pages", &bytes);
    assert!(held < 64 * MIB, "{held} bytes held for a file of {}", bytes.len());
}
