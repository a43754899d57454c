//! Models that share all but one matrix with another.

use siskin::{Model, SessionOptions};
use siskin_quant::TensorType::{self, F32, IQ4_XS, Q2_K, Q8_0};

use crate::parts::{Parts, ids, logits};

/// Replaces the matrix `name` of a checkpoint with its weights in `ty`, and asks for the logits of a file that has
/// them so; the first model must stay as it was.
fn check(checkpoint: &str, name: &str, ty: TensorType) {
    let parts = Parts::of(checkpoint);
    let quantized = parts.clone().quantized(ty);
    let matrix = quantized.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    assert_eq!(matrix.ty, ty);
    let file = parts.clone().tensor(name, |tensor| *tensor = matrix.clone()).gguf();
    let run = |model: &Model| logits(model, &ids(checkpoint), &SessionOptions::default());

    let model = Model::from_gguf(&parts.gguf()).unwrap();
    let before = run(&model);
    let replaced = model.with_matrix(name, ty, &matrix.data).unwrap();
    let found = run(&replaced);
    assert!(found == run(&Model::from_gguf(&file).unwrap()), "{checkpoint} {name} {ty}");
    assert!(ty == F32 || found != before);
    assert!(run(&model) == before);
}

#[test]
fn one_matrix_in_another_type() {
    for name in ["blk.0.attn_q.weight", "blk.0.ffn_down.weight", "token_embd.weight"] {
        check("kquant", name, Q2_K);
    }
    check("kquant", "blk.0.ffn_up.weight", IQ4_XS);
    check("gqa", "output.weight", Q8_0);
    check("gqa", "blk.1.attn_v.weight", Q8_0);
    check("tied", "token_embd.weight", Q8_0);
    check("bias", "blk.0.attn_k.weight", F32);
}

#[test]
fn what_does_not_fit_is_refused() {
    let model = Model::from_gguf(&Parts::of("kquant").gguf()).unwrap();
    let refused = |name: &str, ty, rows: &[u8]| match model.with_matrix(name, ty, rows) {
        Ok(_) => panic!("{name} {ty}"),
        Err(error) => error.to_string(),
    };
    assert!(refused("blk.9.attn_q.weight", F32, &[]).ends_with("\"blk.9.attn_q.weight\" is missing"));
    assert!(refused("output_norm.weight", F32, &[]).ends_with("is missing"));
    assert!(refused("token_embd.weight", TensorType::Q8_K, &[]).ends_with("type Q8_K cannot be run"));
    let line = refused("blk.0.attn_q.weight", Q8_0, &[0; 34]);
    assert!(line.contains("256 weights in Q8_0, found 34 bytes"), "{line}");
}
