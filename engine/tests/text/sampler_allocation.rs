//! Proves that choosing a token allocates nothing once the sampler is made.
#![expect(
    unsafe_code,
    reason = "a counting allocator can only be told to the runtime through an unsafe trait"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use siskin::sampler::{Breakers, Mirostat, Sampler, SamplerKind, SamplerOptions};

thread_local! {
    /// Allocations of this thread. Constant-initialized and without a destructor, so that reading it never allocates.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

// SAFETY: every call is passed on unchanged to the system's allocator, which upholds the contract; counting touches
// nothing but a thread-local integer and does not unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as above; `block` came from `alloc`, so from the system.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const VOCABULARY: usize = 128_256;
const CONTEXT: usize = 512;

/// Logits that differ from token to token and from step to step, by a hash of both.
fn logits(step: usize, logits: &mut [f32]) {
    for (id, logit) in logits.iter_mut().enumerate() {
        let hash =
            (id as u32).wrapping_mul(2_654_435_761).wrapping_add(step as u32).wrapping_mul(2_246_822_519);
        *logit = (hash >> 8) as f32 / (1 << 20) as f32;
    }
}

fn everything() -> SamplerOptions {
    SamplerOptions::default()
        .seed(1)
        .repeat_penalty(1.1)
        .frequency_penalty(0.1)
        .presence_penalty(0.1)
        .penalty_last_n(-1)
        .dry_multiplier(0.8)
        .top_n_sigma(2.0)
        .top_k(1000)
        .typ_p(0.95)
        .xtc_probability(0.5)
        .dynatemp_range(0.3)
        .logit_bias(vec![(7, -1.0), (9, 2.0)])
}

#[test]
fn no_chain_allocates_after_new() {
    let cases = [
        SamplerOptions::default(),
        SamplerOptions::default().temperature(0.0).repeat_penalty(1.2),
        everything(),
        everything().samplers(SamplerKind::DEFAULT_CHAIN.into_iter().rev().collect()),
        everything().samplers(vec![SamplerKind::TopP]),
        everything().mirostat(Mirostat::V1),
        everything().mirostat(Mirostat::V2),
    ];
    let breakers = Breakers::from_sequences(vec![(3, vec![]), (4, vec![5, 6])]);
    let mut buffer = vec![0.0; VOCABULARY];
    for options in cases {
        let mut sampler = Sampler::new(&options, VOCABULARY, CONTEXT, &breakers).expect("valid options");
        let text: Vec<u32> = (0..CONTEXT).map(|step| (step % 11) as u32).collect();
        let before = ALLOCATIONS.get();
        // The text runs past every window, and repeats itself so that DRY has work.
        sampler.accept_all(&text);
        for step in 0..12 {
            logits(step, &mut buffer);
            let token = sampler.sample(&buffer);
            sampler.accept(token);
        }
        sampler.reset();
        sampler.accept(1);
        sampler.sample(&buffer);
        assert_eq!(ALLOCATIONS.get() - before, 0, "{options:?}");
    }
}

#[test]
fn the_allocator_counts() {
    let before = ALLOCATIONS.get();
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}
