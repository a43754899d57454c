//! Packed files: the bits of the unpacked ones, from where the file is mapped; and what is refused.

use crate::again::run_again;
use crate::parts::{Parts, Tensor, family, ids, ids_in, llama_cpp, logits};
use siskin::gguf::write::Builder;
use siskin::gguf::{Gguf, exit_on_bus_error};
use siskin::packed::Packer;
use siskin::{CacheType, CacheTypes, Isa, LoadError, Model, SessionOptions};
use siskin_quant::TensorType::{self, *};
use std::fs::OpenOptions;
use std::ops::ControlFlow;

/// The file with its matrices in panels, and how many those are.
pub(crate) fn packed(parts: &Parts) -> (Vec<u8>, usize) {
    let packers: Vec<_> = parts.tensors.iter().map(|t| Packer::new(t.ty, &t.shape)).collect();
    let matrices = packers.iter().flatten().count();
    let mut builder = Builder::new();
    for (key, value) in &parts.keys {
        builder.set(key, value.clone()).unwrap();
    }
    for (tensor, packer) in parts.tensors.iter().zip(&packers) {
        let Tensor { name, shape, ty, .. } = tensor;
        match packer {
            Some(_) => builder.panels(name, shape, *ty).unwrap(),
            None => builder.tensor(name, shape, *ty).unwrap(),
        };
    }
    let mut writer = builder.start(Vec::new()).unwrap();
    for (tensor, packer) in parts.tensors.iter().zip(packers) {
        match packer {
            Some(mut packer) => writer.tensor(&tensor.name, packer.push(&tensor.data)).unwrap(),
            None => writer.tensor(&tensor.name, &tensor.data).unwrap(),
        }
    }
    (writer.finish().unwrap(), matrices)
}

fn same_bits(parts: &Parts, ids: &[u32]) {
    let (bytes, matrices) = packed(parts);
    assert!(matrices >= 8, "{matrices} matrices");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packed.gguf");
    std::fs::write(&path, &bytes).unwrap();
    let models = [
        Model::open(&path).unwrap(),
        Model::from_gguf(&Gguf::read(&path).unwrap()).unwrap(),
        Model::from_gguf(&Gguf::from_bytes("packed.gguf", bytes).unwrap()).unwrap(),
    ];
    let plain = Model::from_gguf(&parts.gguf()).unwrap();
    let mixed = CacheTypes { keys: CacheType::Q8_0, values: CacheType::F16 };
    let caches = [CacheType::F32.into(), CacheType::F16.into(), CacheType::Q8_0.into(), mixed];
    for (cache, (threads, model)) in caches.into_iter().zip([(1, 0), (3, 0), (2, 1), (2, 2)]) {
        let options = SessionOptions::default().threads(2).cache(cache);
        let expected: Vec<_> = logits(&plain, ids, &options).iter().map(|x| x.to_bits()).collect();
        for isa in Isa::available() {
            let options = options.clone().isa(isa).threads(threads).batch(9);
            let found: Vec<_> = logits(&models[model], ids, &options).iter().map(|x| x.to_bits()).collect();
            assert!(found == expected, "{cache:?}, {}, {threads} threads, model {model}", isa.name());
        }
    }
}

/// The token embedding, and the output where there is one, with five rows more: no whole panels any more.
fn with_odd_rows(mut parts: Parts) -> Parts {
    for tensor in &mut parts.tensors {
        if ["token_embd.weight", "output.weight"].contains(&tensor.name.as_str()) {
            let row = tensor.data.len() / tensor.shape[1] as usize;
            tensor.shape[1] += 5;
            tensor.data.extend_from_within(..5 * row);
        }
    }
    parts
}

fn check(ty: TensorType) {
    same_bits(&with_odd_rows(Parts::of("kquant").quantized(ty)), &ids("kquant"));
}

#[test]
fn float_weights() {
    [F32, F16, BF16].into_iter().for_each(check);
}

#[test]
fn weights_in_blocks() {
    [Q4_0, Q4_1, Q5_0, Q5_1, Q8_0].into_iter().for_each(check);
}

#[test]
fn weights_in_superblocks() {
    [Q4_K, Q5_K, Q6_K].into_iter().for_each(check);
}

#[test]
fn mixes_of_llama_cpp() {
    for name in ["q2_k", "q3_k_m", "q4_k_m", "iq4_nl", "iq4_xs"] {
        same_bits(&Parts::read(&llama_cpp(&format!("{name}.gguf"))), &ids("kquant"));
    }
}

#[test]
fn biases_and_tied_embeddings() {
    for name in ["bias", "tied"] {
        same_bits(&with_odd_rows(Parts::of(name)), &ids(name));
    }
}

#[test]
fn experts_and_convolutions() {
    for name in ["qwen3-moe", "lfm2"] {
        same_bits(&Parts::read(&family(&format!("{name}.gguf"))), &ids_in(&family(name)));
    }
}

fn refusal(bytes: Vec<u8>) -> String {
    let file = Gguf::from_bytes("packed.gguf", bytes).unwrap();
    let message = Model::from_gguf(&file).err().expect("the file is refused").to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

/// The `gqa` checkpoint with one tensor of zeros in panels.
fn with_panels(name: &str, ty: TensorType) -> Vec<u8> {
    let parts = Parts::of("gqa");
    let mut builder = Builder::new();
    for (key, value) in &parts.keys {
        builder.set(key, value.clone()).unwrap();
    }
    for tensor in &parts.tensors {
        match tensor.name == name {
            true => builder.panels(name, &tensor.shape, ty).unwrap(),
            false => builder.tensor(&tensor.name, &tensor.shape, tensor.ty).unwrap(),
        };
    }
    let mut writer = builder.start(Vec::new()).unwrap();
    for tensor in &parts.tensors {
        if tensor.name == name {
            let rows = tensor.shape.get(1).map_or(1, |&rows| rows as usize).next_multiple_of(16);
            writer.tensor(name, &vec![0; rows * ty.row_bytes(tensor.shape[0]).unwrap() as usize]).unwrap();
        } else {
            writer.tensor(&tensor.name, &tensor.data).unwrap();
        }
    }
    writer.finish().unwrap()
}

#[test]
fn panels_of_a_type_without_kernels() {
    let message = refusal(with_panels("blk.0.ffn_up.weight", F64));
    assert!(message.contains("blk.0.ffn_up.weight") && message.contains("F64"), "{message}");
}

#[test]
fn panels_of_a_vector() {
    let message = refusal(with_panels("blk.0.attn_norm.weight", F32));
    assert!(message.contains("blk.0.attn_norm.weight") && message.contains("is packed"), "{message}");
}

const CHILD: &str = "SISKIN_TEST_PACKED_MODEL";

/// Weights are read all the time that a packed model runs, by every thread.
#[test]
fn a_packed_file_that_shrinks_ends_in_one_line() {
    if let Some(path) = std::env::var_os(CHILD) {
        exit_on_bus_error().unwrap();
        let model = Model::open(&path).unwrap();
        let options = SessionOptions::default().threads(2);
        let mut session = model.session(&options).unwrap();
        session.feed(&[1]).unwrap();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(4096).unwrap();
        session.feed(&[1]).unwrap();
        println!("garbage: {:?}", session.logits());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("packed.gguf");
    std::fs::write(&path, packed(&Parts::of("gqa")).0).unwrap();
    let output = run_again("packed::a_packed_file_that_shrinks_ends_in_one_line", CHILD, &path);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("siskin: the model file shrank") && said.lines().count() == 1, "{said}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("garbage"));
}

/// Whoever watches is told of more and more, of all in the end, and may have it end.
#[test]
fn loading_is_watched_and_may_be_ended() {
    let parts = Parts::of("gqa");
    let packed = Gguf::from_bytes("packed.gguf", packed(&parts).0).unwrap();
    for file in [&parts.gguf(), &packed] {
        let all: u64 = file.tensors().iter().map(|tensor| tensor.bytes).sum();
        let mut told = Vec::new();
        let model = Model::from_gguf_watched(file, &mut |loaded, bytes| {
            assert_eq!(bytes, all);
            told.push(loaded);
            ControlFlow::Continue(())
        });
        assert!(model.is_ok() && told.len() > 8 && told.is_sorted() && told.last() == Some(&all), "{told:?}");
        let mut left = 3;
        let ended = Model::from_gguf_watched(file, &mut |_, _| {
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert!(matches!(ended.err(), Some(LoadError::Cancelled { .. })));
        assert_eq!(left, 0);
    }
}
