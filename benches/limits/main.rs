//! What bounds the matrix product, format by format: `cargo run --release -p siskin-benches --bin limits -- [--isa NAME] [TYPE...]`.
//!
//! The product of one token and of a few, on one thread, with weights that lie in the second-level cache, where unpacking and
//! multiplying bind, and with weights from memory, where that may. A block is 32 weights of each of 16 rows; its cycles are those of
//! the clock that the CPU has meanwhile, by a chain of dependent instructions. The best of several runs: what takes a CPU or the
//! memory away for a while is not what is asked. The table, in Markdown, goes to standard output.
#![forbid(unsafe_code)]

use siskin::Isa;
use siskin::measure::{Matmul, MeasureError, ReadProbe};
use siskin_benches::{blocks, weights};
use siskin_quant::TensorType;
use std::error::Error;
use std::fs;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Numbers of a row, as many models have.
const K: usize = 2048;
/// Weights beyond any cache.
const FROM_MEMORY: usize = 160 << 20;
/// Tokens of the products of several.
const SEVERAL: [usize; 4] = [2, 4, 8, 16];
/// Runs of each measurement, and how long each is.
const RUNS: usize = 7;
const RUN: Duration = Duration::from_millis(30);

fn main() -> Result<(), Box<dyn Error>> {
    let (isa, types) = arguments()?;
    let cached = second_level() / 2;
    println!(
        "{isa}, one thread; {:.2} GHz; the memory gives {:.1} GB/s to one thread; {} KiB of weights in the cache\n",
        clock() / 1e9,
        memory()? / 1e9,
        cached >> 10
    );
    println!(
        "| type | in the cache, GB/s | cycles of a block | from memory, GB/s | {} |",
        SEVERAL.map(|tokens| format!("{tokens} tokens: cycles of a block and token")).join(" | ")
    );
    println!("|---|---|---|---|{}", "---|".repeat(SEVERAL.len()));
    for ty in types {
        let Some(row) = row(isa, ty, cached)? else { continue };
        println!("{row}");
    }
    Ok(())
}

/// The instruction set and the types to measure: the best one and all that have kernels, where none are named.
fn arguments() -> Result<(Isa, Vec<TensorType>), Box<dyn Error>> {
    let (mut isa, mut types) = (Isa::choose()?, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--isa" => {
                isa = arguments.next().ok_or("--isa: expected the name of an instruction set")?.parse()?
            }
            name => {
                let named = TensorType::ALL.iter().find(|ty| ty.name().eq_ignore_ascii_case(name));
                types.push(*named.ok_or_else(|| format!("{name}: there is no such type"))?);
            }
        }
    }
    if types.is_empty() {
        types = TensorType::ALL.to_vec();
    }
    Ok((isa, types))
}

/// A type's row of the table; None for one without kernels.
fn row(isa: Isa, ty: TensorType, cached: usize) -> Result<Option<String>, MeasureError> {
    let row_bytes = K / ty.block_len() * ty.block_bytes();
    let rows = |bytes: usize| (bytes / row_bytes / 16 * 16).max(16);
    let near = match matrix(isa, ty, rows(cached), 1) {
        Ok(mut matmul) => seconds(|| black_box(matmul.run()).len()) / matmul.weight_bytes() as f64,
        Err(MeasureError::Type { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut far = matrix(isa, ty, rows(FROM_MEMORY), 1)?;
    let far = seconds(|| black_box(far.run()).len()) / far.weight_bytes() as f64;
    let block_bytes = (row_bytes * 16 / (K / 32)) as f64;
    let mut several = Vec::new();
    for tokens in SEVERAL {
        // What is unpacked lies there too.
        let rows = rows(cached / 2);
        let mut matmul = matrix(isa, ty, rows, tokens)?;
        let blocks = (rows / 16 * K / 32 * tokens) as f64;
        let clock = clock();
        several.push(format!("{:.1}", seconds(|| black_box(matmul.run()).len()) / blocks * clock));
    }
    let cycles = near * block_bytes * clock();
    Ok(Some(format!(
        "| {ty} | {:.1} | {cycles:.0} | {:.1} | {} |",
        1e-9 / near,
        1e-9 / far,
        several.join(" | ")
    )))
}

/// Weights from -1 to 1, and tokens' activations, quantized.
fn matrix(isa: Isa, ty: TensorType, rows: usize, tokens: usize) -> Result<Matmul, MeasureError> {
    // Quantizing takes longest: all panels are alike.
    let bytes = blocks(ty, 16 * K).repeat(rows / 16);
    let mut matmul = Matmul::new(isa, ty, rows, K, &bytes, tokens, &weights(K + 1))?;
    matmul.quantize();
    Ok(matmul)
}

/// Seconds of one time that something is done: the least of several runs of many times.
fn seconds<T>(mut work: impl FnMut() -> T) -> f64 {
    let run = |work: &mut dyn FnMut() -> T, least: Duration| {
        let (start, mut times) = (Instant::now(), 0u32);
        while times == 0 || start.elapsed() < least {
            black_box(work());
            times += 1;
        }
        start.elapsed().as_secs_f64() / f64::from(times)
    };
    (0..RUNS).map(|_| run(&mut work, RUN)).fold(f64::INFINITY, f64::min)
}

/// The clock of the CPU that this runs on, Hz: an addition and an exclusive or that wait for each other take a cycle each on every
/// CPU with out-of-order execution.
fn clock() -> f64 {
    const STEPS: u64 = 1 << 16;
    let (add, flip) = (black_box(0x9e37_79b9_7f4a_7c15_u64), black_box(0x5555_5555_5555_5555_u64));
    let mut x = black_box(1u64);
    let chain = || {
        for _ in 0..STEPS {
            x = x.wrapping_add(add) ^ flip;
        }
        x
    };
    2.0 * STEPS as f64 / seconds(chain)
}

/// What memory gives to one thread that does nothing but read, bytes a second.
fn memory() -> Result<f64, MeasureError> {
    Ok(ReadProbe::new(1, FROM_MEMORY)?.bytes_per_second(RUN * RUNS as u32))
}

/// Bytes of the second-level cache, as Linux tells it; 1 MiB where it does not.
fn second_level() -> usize {
    let told = fs::read_to_string("/sys/devices/system/cpu/cpu0/cache/index2/size").unwrap_or_default();
    told.trim().strip_suffix('K').and_then(|kib| kib.parse().ok()).map_or(1 << 20, |kib: usize| kib << 10)
}
