//! What the writer writes, the reader reads; what the reader would refuse, the writer refuses. And whatever happens to
//! a file's bytes, reading it does not panic.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may fail as tests do.

use proptest::collection::vec;
use proptest::prelude::*;
use siskin::gguf::write::{Builder, OwnedArray, OwnedValue, WriteError};
use siskin::gguf::{Gguf, Problem, Value, ValueType};
use siskin_quant::TensorType;
use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

fn number_array() -> impl Strategy<Value = OwnedArray> {
    prop_oneof![
        vec(any::<u8>(), 0..9).prop_map(OwnedArray::U8),
        vec(any::<i8>(), 0..9).prop_map(OwnedArray::I8),
        vec(any::<u16>(), 0..9).prop_map(OwnedArray::U16),
        vec(any::<i16>(), 0..9).prop_map(OwnedArray::I16),
        vec(any::<u32>(), 0..9).prop_map(OwnedArray::U32),
        vec(any::<i32>(), 0..9).prop_map(OwnedArray::I32),
        vec(any::<u64>(), 0..9).prop_map(OwnedArray::U64),
        vec(any::<i64>(), 0..9).prop_map(OwnedArray::I64),
        vec(any::<f32>(), 0..9).prop_map(OwnedArray::F32),
        vec(any::<f64>(), 0..9).prop_map(OwnedArray::F64),
        vec(any::<bool>(), 0..9).prop_map(OwnedArray::Bool),
        vec(vec(any::<u8>(), 0..20), 0..9).prop_map(OwnedArray::Str),
    ]
}

fn any_array() -> impl Strategy<Value = OwnedArray> {
    number_array().prop_recursive(3, 20, 4, |inner| vec(inner, 0..4).prop_map(OwnedArray::Array))
}

fn any_value() -> impl Strategy<Value = OwnedValue> {
    prop_oneof![
        any::<u8>().prop_map(OwnedValue::U8),
        any::<i8>().prop_map(OwnedValue::I8),
        any::<u16>().prop_map(OwnedValue::U16),
        any::<i16>().prop_map(OwnedValue::I16),
        any::<u32>().prop_map(OwnedValue::U32),
        any::<i32>().prop_map(OwnedValue::I32),
        any::<u64>().prop_map(OwnedValue::U64),
        any::<i64>().prop_map(OwnedValue::I64),
        any::<f32>().prop_map(OwnedValue::F32),
        any::<f64>().prop_map(OwnedValue::F64),
        any::<bool>().prop_map(OwnedValue::Bool),
        vec(any::<u8>(), 0..40).prop_map(OwnedValue::Str),
        any_array().prop_map(OwnedValue::Array),
    ]
}

#[derive(Clone, Debug)]
struct Tensor {
    shape: Vec<u64>,
    ty: TensorType,
    data: Vec<u8>,
}

fn any_tensor() -> impl Strategy<Value = Tensor> {
    let types = prop::sample::select(vec![
        TensorType::F32,
        TensorType::BF16,
        TensorType::I8,
        TensorType::Q4_0,
        TensorType::Q8_0,
        TensorType::Q6_K,
    ]);
    (types, 0u64..4, vec(0u64..4, 0..3), any::<u8>()).prop_map(|(ty, blocks, rows, first)| {
        let shape = [vec![blocks * ty.block_len() as u64], rows.clone()].concat();
        let bytes = blocks * ty.block_bytes() as u64 * rows.iter().product::<u64>();
        let data = (0..bytes).map(|i| first.wrapping_add(i as u8)).collect();
        Tensor { shape, ty, data }
    })
}

fn any_alignment() -> impl Strategy<Value = Option<u32>> {
    prop::option::of((3u32..=13).prop_map(|bits| 1 << bits))
}

#[derive(Clone, Debug)]
struct Contents {
    alignment: Option<u32>,
    values: Vec<OwnedValue>,
    tensors: Vec<Tensor>,
}

prop_compose! {
    fn any_contents()(
        alignment in any_alignment(),
        values in vec(any_value(), 0..8),
        tensors in vec(any_tensor(), 0..6),
    ) -> Contents {
        Contents { alignment, values, tensors }
    }
}

impl Contents {
    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        if let Some(alignment) = self.alignment {
            builder.set("general.alignment", alignment).unwrap();
        }
        for (i, value) in self.values.iter().enumerate() {
            builder.set(&format!("key.{i}"), value.clone()).unwrap();
        }
        for (i, tensor) in self.tensors.iter().enumerate() {
            builder.tensor(&format!("blk.{i}"), &tensor.shape, tensor.ty).unwrap();
        }
        builder
    }

    fn bytes(&self) -> Vec<u8> {
        let mut writer = self.builder().start(Vec::new()).unwrap();
        for (i, tensor) in self.tensors.iter().enumerate() {
            writer.tensor(&format!("blk.{i}"), &tensor.data).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// Bit patterns, so that a NaN equals itself.
fn encoded(value: impl Into<OwnedValue>) -> Vec<u8> {
    let mut builder = Builder::new();
    builder.set("k", value).unwrap();
    builder.start(Vec::new()).unwrap().finish().unwrap()
}

/// Reads all there is to read.
fn walk(file: &Gguf) -> usize {
    fn elements(value: Value<'_>) -> usize {
        value.as_array().map_or(1, |array| array.iter().map(elements).sum())
    }
    let values: usize = file.metadata().map(|(_, value)| elements(value)).sum();
    let bytes: usize = file.tensors().iter().map(|tensor| file.data(tensor).len()).sum();
    values + bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn reads_back_what_was_written(contents in any_contents()) {
        let bytes = contents.bytes();
        prop_assert_eq!(bytes.len() as u64, contents.builder().file_len().unwrap());
        let file = Gguf::from_bytes("test.gguf", bytes).unwrap();

        prop_assert_eq!(file.version(), 3);
        prop_assert_eq!(file.alignment(), u64::from(contents.alignment.unwrap_or(32)));
        prop_assert_eq!(file.metadata().count(), contents.values.len() + usize::from(contents.alignment.is_some()));
        for (i, value) in contents.values.iter().enumerate() {
            let read = file.get(&format!("key.{i}")).unwrap();
            prop_assert_eq!(read.kind(), value.kind());
            prop_assert_eq!(encoded(read), encoded(value.clone()));
        }
        prop_assert_eq!(file.tensors().len(), contents.tensors.len());
        for (i, tensor) in contents.tensors.iter().enumerate() {
            let read = file.tensor(&format!("blk.{i}")).unwrap();
            prop_assert_eq!((&read.shape, read.ty), (&tensor.shape, tensor.ty));
            prop_assert_eq!(read.offset % file.alignment(), 0);
            prop_assert_eq!(file.data(read), &tensor.data);
        }
    }

    #[test]
    fn data_may_come_in_pieces_of_any_size(contents in any_contents(), piece in 1usize..500) {
        let stream: Vec<u8> = contents.tensors.iter().flat_map(|tensor| tensor.data.clone()).collect();
        let mut writer = contents.builder().start(Vec::new()).unwrap();
        for piece in stream.chunks(piece) {
            writer.append(piece).unwrap();
        }
        prop_assert_eq!(writer.finish().unwrap(), contents.bytes());
    }

    #[test]
    fn changed_bytes_never_panic(
        contents in any_contents(),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = contents.bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let len = bytes.len();
        match Gguf::from_bytes("test.gguf", bytes) {
            Ok(file) => prop_assert!(walk(&file) <= 2 * len),
            Err(error) => prop_assert!(error.to_string().starts_with("test.gguf: ")),
        }
    }

    #[test]
    fn random_bytes_never_panic(rest in vec(any::<u8>(), 0..400), small in 0u8..4) {
        let counts = [small, 0, 0, 0, 0, 0, 0, 0];
        let bytes = [&b"GGUF\x03\0\0\0"[..], &counts, &counts, &rest].concat();
        if let Ok(file) = Gguf::from_bytes("test.gguf", bytes) {
            walk(&file);
        }
    }
}

fn invalid(answer: Result<&mut Builder, WriteError>) -> (String, Problem) {
    match answer {
        Err(WriteError::Invalid { item, problem }) => (item, problem),
        other => panic!("{other:?}"),
    }
}

#[test]
fn refuses_what_the_reader_refuses() {
    let mut b = Builder::new();
    assert_eq!(invalid(b.set("", 1u8)).1, Problem::EmptyName);
    let found = 65536;
    assert_eq!(invalid(b.set(&"k".repeat(65536), 1u8)).1, Problem::NameLength { found, most: 65535 });
    let alignment = "key \"general.alignment\"".to_owned();
    assert_eq!(invalid(b.set("general.alignment", 13u32)), (alignment.clone(), Problem::Alignment(13)));
    assert_eq!(
        invalid(b.set("general.alignment", 32u64)),
        (alignment, Problem::AlignmentType(ValueType::U64))
    );
    let deep = (0..4).fold(OwnedArray::U8(vec![]), |array, _| OwnedArray::Array(vec![array]));
    assert_eq!(invalid(b.set("k", deep)).1, Problem::ArrayDepth(4));

    let t = "tensor \"t\"".to_owned();
    let long = "n".repeat(64);
    assert_eq!(
        invalid(b.tensor(&long, &[1], TensorType::F32)).1,
        Problem::NameLength { found: 64, most: 63 }
    );
    assert_eq!(invalid(b.tensor("t", &[], TensorType::F32)), (t.clone(), Problem::Dimensions(0)));
    assert_eq!(invalid(b.tensor("t", &[1; 5], TensorType::F32)), (t.clone(), Problem::Dimensions(5)));
    let negative = Problem::Dimension { index: 1, found: -1 };
    assert_eq!(invalid(b.tensor("t", &[1, u64::MAX], TensorType::F32)), (t.clone(), negative));
    let row = Problem::RowLength { ty: TensorType::Q4_0, found: 31 };
    assert_eq!(invalid(b.tensor("t", &[31], TensorType::Q4_0)), (t.clone(), row));
    assert_eq!(invalid(b.tensor("t", &[1 << 40, 1 << 40], TensorType::F32)), (t.clone(), Problem::Elements));
    assert_eq!(invalid(b.tensor("t", &[1 << 62], TensorType::F64)), (t.clone(), Problem::DataSize));

    // Each is representable, their sum is not.
    b.tensor("s", &[1 << 60], TensorType::F64).unwrap().tensor("t", &[1 << 60], TensorType::F64).unwrap();
    let Err(WriteError::Invalid { item, problem }) = b.start(Vec::new()) else { panic!("too large") };
    assert_eq!((item, problem), (t, Problem::DataSize));
}

#[test]
fn set_keeps_the_place_of_a_key() {
    let mut builder = Builder::new();
    builder.set("a", 1u8).unwrap().set("b", "x").unwrap().set("a", 2.5f32).unwrap();
    let bytes = builder.start(Vec::new()).unwrap().finish().unwrap();
    let file = Gguf::from_bytes("test.gguf", bytes).unwrap();
    let found: Vec<_> = file.metadata().collect();
    assert_eq!(found, [("a", Value::F32(2.5)), ("b", Value::Str(b"x"))]);
}

fn two_tensors() -> Builder {
    let mut builder = Builder::new();
    builder.tensor("a", &[2], TensorType::F32).unwrap().tensor("b", &[3], TensorType::I8).unwrap();
    builder
}

#[test]
fn refuses_data_that_was_not_declared() {
    let message = |answer: Result<(), WriteError>| answer.unwrap_err().to_string();
    let mut writer = two_tensors().start(Vec::new()).unwrap();
    let expected = "expected data of tensor \"a\", found data of tensor \"b\"";
    assert_eq!(message(writer.tensor("b", &[0; 3])), expected);
    assert_eq!(message(writer.tensor("a", &[0; 7])), "tensor \"a\": expected 8 bytes of data, found 7");
    writer.append(&[0; 5]).unwrap();
    assert_eq!(message(writer.tensor("b", &[0; 3])), "tensor \"a\": expected 8 bytes of data, found 5");
    writer.append(&[0; 3]).unwrap();
    writer.tensor("b", &[0; 3]).unwrap();
    let expected = "expected data of no other tensor, found data of tensor \"c\"";
    assert_eq!(message(writer.tensor("c", &[])), expected);
    assert_eq!(message(writer.append(&[0; 2])), "2 bytes of data beyond the last tensor");
    assert!(writer.finish().is_ok());
}

#[test]
fn refuses_to_finish_without_all_data() {
    let finish = |bytes: &[u8]| {
        let mut writer = two_tensors().start(Vec::new()).unwrap();
        writer.append(bytes).unwrap();
        writer.finish().map(drop).unwrap_err().to_string()
    };
    assert_eq!(finish(&[]), "tensor \"a\": expected 8 bytes of data, found 0");
    assert_eq!(finish(&[0; 8]), "tensor \"b\": expected 3 bytes of data, found 0");
    assert_eq!(finish(&[0; 10]), "tensor \"b\": expected 3 bytes of data, found 2");
}

#[test]
fn refuses_a_tensor_declared_twice() {
    let answer = two_tensors().tensor("a", &[1], TensorType::F32).map(drop).unwrap_err();
    assert_eq!(answer.to_string(), "tensor \"a\" was already declared");
}

/// Takes `left` bytes, then is full.
struct Disk {
    left: usize,
}

impl io::Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.left);
        self.left -= taken;
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn full_disk_is_an_error_at_every_byte() {
    let write = |left| {
        let mut writer = two_tensors().start(Disk { left })?;
        writer.tensor("a", &[0; 8])?;
        writer.tensor("b", &[0; 3])?;
        writer.finish().map(drop)
    };
    let len = two_tensors().file_len().unwrap() as usize;
    for left in 0..len {
        let Err(WriteError::Io(error)) = write(left) else { panic!("{left} of {len} bytes") };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    write(len).unwrap();
}

/// How long it takes at best to do something with each of many names, twice.
fn time_of<T: Default>(names: &[String], act: impl Fn(&mut T, &str)) -> Duration {
    let tries = (0..3).map(|_| {
        let start = Instant::now();
        let mut subject = T::default();
        names.iter().chain(names).for_each(|name| act(&mut subject, name));
        start.elapsed()
    });
    tries.min().unwrap()
}

#[test]
fn a_key_takes_no_longer_for_those_before_it() {
    let names: Vec<String> = (0..1 << 16).map(|i| format!("a.key.of.some.length.{i}")).collect();
    let found = time_of(&names, |builder: &mut Builder, name| assert!(builder.set(name, 1u32).is_ok()));
    let mapped = time_of(&names, |map: &mut HashMap<String, Vec<u8>>, name| {
        map.insert(name.to_owned(), vec![1; 4]);
    });
    // A search through the keys that are there takes some hundred times as long.
    assert!(found < mapped * 30, "{found:?}, and {mapped:?} for a map");
}
