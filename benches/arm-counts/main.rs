//! Multiplies once with each format, for `benches/arm-counts/run` to count: a line on standard output ends each part.
#![forbid(unsafe_code)]

use std::io::{Write, stdout};

use siskin::Isa;
use siskin::measure::{Matmul, MeasureError};
use siskin_quant::TensorType::{self, *};

#[rustfmt::skip]
const TYPES: [TensorType; 25] = [
    F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS,
    IQ1_S, IQ1_M, IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S, TQ1_0, TQ2_0, MXFP4,
];
const ROWS: usize = 64;
const K: usize = 2048;
/// Decoding, and a batch of prefill.
const TOKENS: [usize; 2] = [1, 64];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let isa = std::env::args().nth(1).ok_or("expected an instruction set's name")?.parse()?;
    // What it costs to say something.
    end_part("setup")?;
    end_part("nothing")?;
    for ty in TYPES {
        for tokens in TOKENS {
            let mut product = product(isa, ty, tokens)?;
            let blocks = product.multiply_adds() / 32;
            let done = format!("{} {tokens} {blocks}", ty.name());
            end_part("setup")?;
            product.run();
            end_part(&done)?;
        }
    }
    Ok(())
}

/// A product whose numbers are all zero: how many instructions it takes does not depend on them.
fn product(isa: Isa, ty: TensorType, tokens: usize) -> Result<Matmul, MeasureError> {
    let weights = vec![0; ROWS * K / ty.block_len() * ty.block_bytes()];
    let mut product = Matmul::new(isa, ty, ROWS, K, &weights, tokens, &[0.0])?;
    product.quantize();
    Ok(product)
}

fn end_part(name: &str) -> std::io::Result<()> {
    // One write, ready made, so that it costs the same for each name.
    stdout().write_all(format!("{name}\n").as_bytes())
}
