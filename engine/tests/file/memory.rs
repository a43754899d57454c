//! What scanning, refusing and reading a file costs in memory.
#![allow(clippy::unwrap_used)] // Helpers of tests may fail as tests do.

use crate::support::{Raw, array, string};
use siskin::gguf::{Gguf, GgufError, MAX_ENTRIES, Problem, ValueType, scan};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with an account for each thread, since tests run beside each other.
struct Counting;

#[derive(Clone, Copy)]
struct Account {
    calls: usize,
    live: isize,
    peak: isize,
}

thread_local! {
    static ACCOUNT: Cell<Account> = const { Cell::new(Account { calls: 0, live: 0, peak: 0 }) };
}

fn book(bytes: isize) {
    let account = ACCOUNT.get();
    let live = account.live + bytes;
    ACCOUNT.set(Account { calls: account.calls + 1, live, peak: account.peak.max(live) });
}

// SAFETY: every call goes to the system's allocator as it came. The account is a thread-local without a destructor or
// lazy initialization, so keeping it neither allocates nor fails.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        book(layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        book(-layout.size().cast_signed());
        // SAFETY: the caller keeps the contract of `dealloc`, and all memory came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` returns, how often it called the allocator, and how many bytes it held at most.
fn measured<T>(work: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = Account { peak: ACCOUNT.get().live, ..ACCOUNT.get() };
    ACCOUNT.set(before);
    let result = work();
    let after = ACCOUNT.get();
    (result, after.calls - before.calls, (after.peak - before.live).try_into().unwrap())
}

fn allocations(work: impl FnOnce()) -> usize {
    measured(work).1
}

/// A vocabulary, keys of other types, and tensors.
fn model() -> Raw {
    let tokens: Vec<u8> = (0..5000).flat_map(|i| string(format!("token{i}").as_bytes())).collect();
    let mut file = Raw::new()
        .key("general.architecture", ValueType::Str, &string(b"llama"))
        .key("tokenizer.ggml.tokens", ValueType::Array, &array(ValueType::Str, 5000, &tokens))
        .key("tokenizer.ggml.scores", ValueType::Array, &array(ValueType::F32, 5000, &[0; 20000]));
    for i in 0..100 {
        file = file.tensor(&format!("blk.{i}.attn_q.weight"), &[8, 2], 0, i * 64);
    }
    file.data(6400)
}

#[test]
fn the_account_counts() {
    let ((), calls, peak) = measured(|| drop(std::hint::black_box(vec![0u8; 1000])));
    assert_eq!((calls, peak), (2, 1000));
}

#[test]
fn scanning_allocates_nothing() {
    let bytes = model().bytes();
    assert_eq!(allocations(|| assert_eq!(scan(&bytes).unwrap().tensors, 100)), 0);
}

#[test]
fn finding_a_fault_allocates_nothing() {
    let bytes = Raw::new()
        .key("a", ValueType::Array, &array(ValueType::Array, 1, &array(ValueType::Bool, 2, &[0, 1])))
        .key("general.alignment", ValueType::U32, &[64, 0, 0, 0])
        .tensor("t", &[32, 3], 2, 0)
        .bytes();
    let found = allocations(|| {
        for len in 0..=bytes.len() {
            assert!(scan(&bytes[..len]).is_err());
        }
    });
    assert_eq!(found, 0);

    let mut changed = bytes.clone();
    for (at, byte) in (0..bytes.len()).flat_map(|at| [0u8, 1, 13, 0x80, 0xff].map(|byte| (at, byte))) {
        changed[at] = byte;
        let (_, calls, _) = measured(|| scan(&changed).is_ok());
        assert_eq!(calls, 0);
        changed[at] = bytes[at];
    }
}

#[test]
fn looking_at_a_file_allocates_nothing() {
    let file = Gguf::from_bytes("test.gguf", model().bytes()).unwrap();
    let found = allocations(|| {
        let tokens = file.require_array("tokenizer.ggml.tokens").unwrap();
        assert_eq!(tokens.iter().filter_map(|token| token.as_bytes()).map(<[u8]>::len).sum::<usize>(), 43890);
        let tensor = file.tensor("blk.99.attn_q.weight").unwrap();
        assert_eq!(file.data(tensor).len(), 64);
        assert_eq!(file.metadata().count(), 3);
    });
    assert_eq!(found, 0);
}

/// How many bytes a refusal holds at most, beside the file's own.
fn cost_of_refusal(bytes: Vec<u8>) -> (GgufError, usize) {
    let (answer, _, peak) = measured(|| Gguf::from_bytes("test.gguf", bytes));
    (answer.unwrap_err(), peak)
}

const MOST: usize = 16 << 20;

#[test]
fn small_files_cannot_ask_for_much() {
    let huge = [ValueType::U8, ValueType::Str, ValueType::Array]
        .map(|kind| Raw::new().key("k", ValueType::Array, &array(kind, 1 << 30, &[0; 40])));
    let counts = [u64::MAX, 1 << 32, MAX_ENTRIES].map(|count| Raw {
        key_count: Some(count),
        tensor_count: Some(count),
        ..Raw::new()
    });
    let tensor = Raw::new().tensor("t", &[1 << 40], 0, 0);
    for file in huge.into_iter().chain(counts).chain([tensor]) {
        let (error, peak) = cost_of_refusal(file.bytes());
        assert!(peak < 4096, "{peak} bytes for {error}");
    }
}

#[test]
fn the_largest_refusals_stay_within_16_mib() {
    let keys = |name: &dyn Fn(u64) -> String| {
        (0..MAX_ENTRIES).fold(Raw::new(), |file, i| file.key(&name(i), ValueType::U8, &[0]))
    };
    let tensors = |name: &dyn Fn(u64) -> String, offset: &dyn Fn(u64) -> u64| {
        let keys = keys(&|i| i.to_string());
        (0..MAX_ENTRIES).fold(keys, |file, i| file.tensor(&name(i), &[1, 1, 1, 1], 0, offset(i)))
    };
    let last = MAX_ENTRIES - 1;
    let twin = |i: u64| if i == last { "7".to_owned() } else { i.to_string() };

    let (error, peak) = cost_of_refusal(keys(&twin).bytes());
    assert!(matches!(error, GgufError::Malformed { problem: Problem::Duplicate(_), .. }), "{error}");
    assert!(peak < MOST, "{peak}");

    let data = MAX_ENTRIES as usize * 32;
    let (error, peak) = cost_of_refusal(tensors(&twin, &|i| i * 32).data(data).bytes());
    assert!(matches!(error, GgufError::Malformed { problem: Problem::Duplicate(_), .. }), "{error}");
    assert!(peak < MOST, "{peak}");

    let overlap = |i| if i == last { 0 } else { i * 32 };
    let (error, peak) = cost_of_refusal(tensors(&|i| i.to_string(), &overlap).data(data).bytes());
    assert!(matches!(error, GgufError::Overlap { .. }), "{error}");
    assert!(peak < MOST, "{peak}");
}
