//! Files that must be refused, each with an error that names what is wrong, and some that must not.
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may fail as tests do.

use crate::support::{Raw, array, string};
use siskin::gguf::{
    Gguf, GgufError, Layout, MAX_METADATA_BYTES, PACKED_VERSION_KEY, Problem, ValueType, scan,
};
use siskin_quant::TensorType;
use std::io::{Seek, SeekFrom, Write};

const F32: u32 = 0;
const Q4_0: u32 = 2;
const F64: u32 = 28;
/// Added to a type's number where the data are panels.
const PACKED: u32 = 0x5350_0000;

/// What the file is refused with, the same however it is loaded: item, offset, problem.
fn refusal(bytes: &[u8]) -> (String, u64, Problem) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let answers = [
        Gguf::from_bytes("test.gguf", bytes.to_vec()),
        Gguf::from_static("static.gguf", bytes.to_vec().leak()),
        Gguf::open(file.path()),
        Gguf::read(file.path()),
    ];
    let names =
        ["test.gguf", "static.gguf", &file.path().display().to_string(), &file.path().display().to_string()];
    let [first, others @ ..] = answers.map(|answer| answer.unwrap_err()).map(|error| {
        let message = error.to_string();
        assert!(message.len() < 300 && !message.contains(char::is_control), "one short line: {message:?}");
        let GgufError::Malformed { file, item, offset, problem } = error else { panic!("{message}") };
        assert!(names.contains(&file.as_str()), "{file}");
        assert_eq!(message, format!("{file}: {item} at byte {offset}: {problem}"));
        (item, offset, problem)
    });
    for other in others {
        assert_eq!(first, other);
    }
    first
}

#[track_caller]
fn refused(file: Raw, item: &str, problem: Problem) {
    let (found_item, offset, found) = refusal(&file.bytes());
    assert_eq!((found_item.as_str(), found), (item, problem));
    assert!(offset <= file.bytes().len() as u64);
}

fn loaded(file: &Raw) -> Gguf {
    Gguf::from_bytes("test.gguf", file.bytes()).unwrap()
}

/// A file with keys of several types and three tensors.
fn sound() -> Raw {
    let tokens = [string(b"<s>"), string(b""), string(b"\xf0\x9f")].concat();
    Raw::new()
        .key("general.architecture", ValueType::Str, &string(b"llama"))
        .key("llama.block_count", ValueType::U32, &2u32.to_le_bytes())
        .key("tokenizer.ggml.tokens", ValueType::Array, &array(ValueType::Str, 3, &tokens))
        .key("tokenizer.ggml.scores", ValueType::Array, &array(ValueType::F32, 3, &[0; 12]))
        .key("flags", ValueType::Array, &array(ValueType::Bool, 2, &[0, 1]))
        .tensor("a", &[8], F32, 0)
        .tensor("b", &[32, 3], Q4_0, 32)
        .tensor("c", &[2, 2, 2], F32, 96)
        .data(128)
}

#[test]
fn sound_file_loads() {
    let file = loaded(&sound());
    assert_eq!(file.metadata().count(), 5);
    assert_eq!(file.tensors().len(), 3);
    assert_eq!(file.data(file.tensor("b").unwrap()), (32..32 + 54).collect::<Vec<u8>>());
}

#[test]
fn empty_model_loads_as_a_file() {
    let file = loaded(&Raw::new());
    assert_eq!((file.version(), file.alignment(), file.file_len()), (3, 32, 24));
    assert_eq!((file.metadata().count(), file.tensors().len()), (0, 0));
}

#[test]
fn empty_file_is_truncated() {
    let problem = Problem::Truncated { field: "magic", needed: 4, left: 0 };
    assert_eq!(refusal(b""), ("header".to_owned(), 0, problem));
}

#[test]
fn bad_magic() {
    let file = Raw { magic: *b"GG\x1b\xff", ..Raw::new() };
    refused(file, "header", Problem::Magic(*b"GG\x1b\xff"));
}

#[test]
fn versions_0_1_and_future() {
    for version in [0, 1, 4, 0xffff, u32::MAX] {
        refused(Raw { version, ..Raw::new() }, "header", Problem::Version(version));
    }
    let one = Raw { version: 1, ..Raw::new() };
    let message = Gguf::from_bytes("old.gguf", one.bytes()).unwrap_err().to_string();
    assert_eq!(message, "old.gguf: header at byte 4: expected version 2 or 3, found version 1");
}

#[test]
fn big_endian() {
    refused(Raw { version: 3 << 24, ..Raw::new() }, "header", Problem::BigEndian(3));
    refused(Raw { version: 2 << 24, ..Raw::new() }, "header", Problem::BigEndian(2));
}

#[test]
fn counts_that_wrap_or_exceed_the_file() {
    for found in [u64::MAX, 1 << 63, 1 << 40, 2] {
        let file = Raw { key_count: Some(found), ..Raw::new().key("k", ValueType::U8, &[1]) };
        refused(file, "header", Problem::Count { field: "key count", found, most: 1 });
        let file = Raw { tensor_count: Some(found), ..Raw::new().tensor("t", &[0], F32, 0) };
        refused(file, "header", Problem::Count { field: "tensor count", found, most: 1 });
    }
}

#[test]
fn key_of_any_length() {
    let key = |len: u64| Raw { keys: vec![[&len.to_le_bytes()[..], b"some_bytes"].concat()], ..Raw::new() };
    refused(key(u64::MAX), "key number 0", Problem::NameLength { found: u64::MAX, most: 65535 });
    refused(key(65536), "key number 0", Problem::NameLength { found: 65536, most: 65535 });
    refused(key(65535), "key number 0", Problem::Truncated { field: "name", needed: 65535, left: 10 });
    refused(key(0), "key number 0", Problem::EmptyName);

    let longest = "k".repeat(65535);
    let file = loaded(&Raw::new().key(&longest, ValueType::U8, &[7]));
    assert_eq!(file.u32(&longest).unwrap(), Some(7));
}

#[test]
fn key_that_is_not_text() {
    let file = Raw::new().raw_key(b"k\xff", ValueType::U8.id(), &[1]);
    refused(file, "key number 0", Problem::NameEncoding);
}

#[test]
fn duplicate_key() {
    let file = Raw::new().key("a", ValueType::U8, &[1]).key("b", ValueType::U8, &[2]).key(
        "a",
        ValueType::U32,
        &[3, 0, 0, 0],
    );
    refused(file, "key \"a\"", Problem::Duplicate(24));
}

#[test]
fn unknown_value_type() {
    for id in [13, 255, u32::MAX] {
        refused(Raw::new().raw_key(b"k", id, &[0; 16]), "key \"k\"", Problem::ValueType(id));
        let of_unknown = [&id.to_le_bytes()[..], &1u64.to_le_bytes()[..], &[0; 16]].concat();
        refused(Raw::new().key("k", ValueType::Array, &of_unknown), "key \"k\"", Problem::ValueType(id));
    }
}

#[test]
fn bool_that_is_neither() {
    refused(Raw::new().key("k", ValueType::Bool, &[2]), "key \"k\"", Problem::Bool(2));
    let inside = Raw::new().key("k", ValueType::Array, &array(ValueType::Bool, 5, &[0, 1, 255, 1, 2]));
    let place = inside.bytes().len() as u64 - 3;
    assert_eq!(refusal(&inside.bytes()), ("key \"k\"".to_owned(), place, Problem::Bool(255)));
}

#[test]
fn nested_arrays_load_to_a_depth_of_four() {
    let nest = |depth| (1..depth).fold(array(ValueType::U8, 1, &[9]), |a, _| array(ValueType::Array, 1, &a));
    let file = loaded(&Raw::new().key("k", ValueType::Array, &nest(4)));
    let mut value = file.get("k").unwrap();
    for _ in 0..4 {
        let elements = value.as_array().unwrap();
        assert_eq!(elements.len(), 1);
        value = elements.iter().next().unwrap();
    }
    assert_eq!(value.as_u32(), Some(9));

    refused(Raw::new().key("k", ValueType::Array, &nest(5)), "key \"k\"", Problem::ArrayDepth(4));
    refused(Raw::new().key("k", ValueType::Array, &nest(5000)), "key \"k\"", Problem::ArrayDepth(4));
}

#[test]
fn array_far_larger_than_the_file() {
    let kinds = [ValueType::U8, ValueType::Bool, ValueType::F64, ValueType::Str, ValueType::Array];
    for (kind, len) in kinds.into_iter().flat_map(|kind| [(kind, 1 << 30), (kind, u64::MAX), (kind, 1 << 61)])
    {
        let file = Raw::new().key("k", ValueType::Array, &array(kind, len, &[0; 50]));
        assert!(file.bytes().len() <= 100);
        refused(file, "key \"k\"", Problem::ArrayLength { len, kind, left: 50 });
    }
}

#[test]
fn value_larger_than_the_file() {
    for needed in [9, 1 << 40, u64::MAX] {
        let value = [&needed.to_le_bytes()[..], &[b'x'; 8]].concat();
        let truncated = Problem::Truncated { field: "string", needed, left: 8 };
        refused(Raw::new().key("k", ValueType::Str, &value), "key \"k\"", truncated);

        let inside = array(ValueType::Str, 1, &value);
        refused(Raw::new().key("k", ValueType::Array, &inside), "key \"k\"", truncated);
    }
}

#[test]
fn metadata_beyond_the_limit() {
    // A sparse file: the string would fit into it, but not into what may come before tensor data.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let needed = MAX_METADATA_BYTES;
    let start = Raw::new().key("k", ValueType::Str, &needed.to_le_bytes()).bytes();
    file.write_all(&start).unwrap();
    file.seek(SeekFrom::Start(2 * needed)).unwrap();
    file.write_all(b"end").unwrap();
    for answer in [Gguf::open(file.path()), Gguf::read(file.path())] {
        let GgufError::Malformed { item, problem, .. } = answer.unwrap_err() else { panic!("malformed") };
        let end = start.len() as u64 + needed;
        let expected = Problem::MetadataSize { field: "string", end, most: MAX_METADATA_BYTES };
        assert_eq!((item.as_str(), problem), ("key \"k\"", expected));
    }
}

#[test]
fn alignment_of_0_13_and_1_gib() {
    let aligned = |bytes: u32| Raw::new().key("general.alignment", ValueType::U32, &bytes.to_le_bytes());
    for bytes in [0, 1, 4, 13, 24, (1 << 21) + 8, 1 << 22, 1 << 30, u32::MAX] {
        refused(aligned(bytes), "key \"general.alignment\"", Problem::Alignment(bytes));
    }
    for bytes in [8, 16, 32, 64, 4096, 1 << 21] {
        assert_eq!(loaded(&aligned(bytes)).alignment(), u64::from(bytes));
    }
    let message = Gguf::from_bytes("model.gguf", aligned(13).bytes()).unwrap_err().to_string();
    let expected = "model.gguf: key \"general.alignment\" at byte 53: \
                    expected u32, a power of two from 8 to 2097152, found 13";
    assert_eq!(message, expected);
}

#[test]
fn alignment_of_another_type() {
    let cases: [(ValueType, &[u8]); 4] = [
        (ValueType::U64, &[32, 0, 0, 0, 0, 0, 0, 0]),
        (ValueType::I32, &[32, 0, 0, 0]),
        (ValueType::Str, &string(b"32")),
        (ValueType::Array, &array(ValueType::U32, 1, &[32, 0, 0, 0])),
    ];
    for (kind, value) in cases {
        let file = Raw::new().key("general.alignment", kind, value);
        refused(file, "key \"general.alignment\"", Problem::AlignmentType(kind));
    }
}

#[test]
fn alignment_moves_the_data() {
    let file = Raw { alignment: 64, ..Raw::new() }
        .tensor("a", &[2], F32, 0)
        .tensor("b", &[2], F32, 64)
        .key("general.alignment", ValueType::U32, &64u32.to_le_bytes())
        .data(72);
    let file = loaded(&file);
    let b = file.tensor("b").unwrap();
    assert_eq!(b.offset % 64, 0);
    assert_eq!(file.data(b), [64, 65, 66, 67, 68, 69, 70, 71]);
}

#[test]
fn tensor_name_too_long_empty_or_not_text() {
    let longest = "n".repeat(63);
    assert!(loaded(&Raw::new().tensor(&longest, &[8], F32, 0).data(32)).tensor(&longest).is_some());

    let named = |name: &[u8]| Raw::new().raw_tensor(name, &[8], F32, 0).data(32);
    for found in [64, 65, 200] {
        let file = named("n".repeat(found).as_bytes());
        refused(file, "tensor number 0", Problem::NameLength { found: found as u64, most: 63 });
    }
    refused(named(b""), "tensor number 0", Problem::EmptyName);
    refused(named(b"\xc3\x28"), "tensor number 0", Problem::NameEncoding);
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let file = Raw::new().tensor("\x1b[2J\nweight", &[8], 99, 0).data(32);
    refused(file, "tensor \"\\x1b[2J\\nweight\"", Problem::TensorType(99));
}

#[test]
fn no_dimensions_or_five() {
    for count in [0, 5, 100] {
        let file = Raw::new().tensor("t", &vec![1; count], F32, 0).data(32);
        refused(file, "tensor \"t\"", Problem::Dimensions(count as u32));
    }
}

#[test]
fn negative_dimension() {
    for (shape, index, found) in
        [(vec![-1], 0, -1), (vec![32, -1], 1, -1), (vec![8, 1, i64::MIN, 0], 2, i64::MIN)]
    {
        let shape: Vec<u64> = shape.into_iter().map(i64::cast_unsigned).collect();
        let file = Raw::new().tensor("t", &shape, F32, 0).data(32);
        refused(file, "tensor \"t\"", Problem::Dimension { index, found });
    }
}

#[test]
fn zero_dimension_is_read() {
    let huge = i64::MAX.cast_unsigned();
    for shape in [vec![0], vec![32, 0], vec![0, huge, huge, huge], vec![huge - 31, huge, 0, huge]] {
        let file = loaded(&Raw::new().tensor("t", &shape, F32, 0).tensor("u", &[8], F32, 0).data(32));
        let tensor = file.tensor("t").unwrap();
        assert_eq!((tensor.bytes, tensor.shape.as_slice()), (0, shape.as_slice()));
        assert_eq!((tensor.elements(), tensor.rows()), (0, 0));
        assert!(file.data(tensor).is_empty());
    }
}

#[test]
fn element_count_that_wraps() {
    for shape in [vec![1 << 32, 1 << 32], vec![1 << 62, 2], vec![1 << 16; 4], vec![32, 1 << 60, 1 << 60, 1]] {
        let file = Raw::new().tensor("t", &shape, F32, 0).data(32);
        refused(file, "tensor \"t\"", Problem::Elements);
    }
}

#[test]
fn byte_count_that_wraps() {
    let file = Raw::new().tensor("t", &[1 << 62], F64, 0).data(32);
    refused(file, "tensor \"t\"", Problem::DataSize);
    // 2^64 - 8 bytes: representable, but not once padded to the alignment.
    let file = Raw::new().tensor("t", &[(1 << 61) - 1], F64, 0).data(32);
    refused(file, "tensor \"t\"", Problem::DataSize);
    // 2^63 bytes: they wrap only together with their offset.
    let file = Raw::new().tensor("t", &[1 << 60], F64, (1 << 63) + 32).data(32);
    refused(file, "tensor \"t\"", Problem::DataSize);
}

#[test]
fn unknown_tensor_type() {
    for id in [4, 31, 36, 99, 1000, u32::MAX] {
        refused(Raw::new().tensor("t", &[256], id, 0).data(32), "tensor \"t\"", Problem::TensorType(id));
    }
    let file = Raw::new().tensor("t", &[32], 31, 0).data(32);
    let message = Gguf::from_bytes("old.gguf", file.bytes()).unwrap_err().to_string();
    assert!(message.ends_with("found 31, which was removed from the format: quantize the model again"));
}

#[test]
fn tensor_type_40_is_nvfp4() {
    let elements = TensorType::NVFP4.block_len() as u64;
    let bytes = TensorType::NVFP4.block_bytes();
    let file = loaded(&Raw::new().tensor("t", &[elements, 2], 40, 0).data(2 * bytes));
    let tensor = file.tensor("t").unwrap();
    assert_eq!((tensor.ty, tensor.bytes), (TensorType::NVFP4, 2 * bytes as u64));
}

#[test]
fn row_that_is_not_whole_blocks() {
    for (row, ty) in [(33, TensorType::Q4_0), (1, TensorType::Q8_0), (128, TensorType::Q4_K)] {
        let file = Raw::new().tensor("t", &[row, 32], ty.id(), 0).data(4096);
        refused(file, "tensor \"t\"", Problem::RowLength { ty, found: row });
    }
}

#[test]
fn misaligned_offset() {
    for found in [1, 16, 31, 33] {
        let file = Raw::new().tensor("t", &[8], F32, found).data(128);
        refused(file, "tensor \"t\"", Problem::Misaligned { alignment: 32, found });
    }
}

#[test]
fn data_past_the_end() {
    let file = |offset| Raw::new().tensor("s", &[8], F32, 0).tensor("t", &[8], F32, offset).data(96);
    assert_eq!(loaded(&file(64)).tensors().len(), 2);
    let file_len = file(64).bytes().len() as u64;
    for offset in [96, 1 << 40, (1 << 63) - 32] {
        let end = file_len - 96 + offset + 32;
        refused(file(offset), "tensor \"t\"", Problem::PastEnd { end, file_len });
    }
}

#[test]
fn data_that_overlaps() {
    let overlapping = [
        Raw::new().tensor("a", &[16], F32, 0).tensor("b", &[8], F32, 32),
        Raw::new().tensor("b", &[8], F32, 32).tensor("a", &[16], F32, 0),
        Raw::new().tensor("a", &[32], F32, 0).tensor("b", &[8], F32, 32),
    ];
    for file in overlapping {
        let answer = Gguf::from_bytes("test.gguf", file.data(128).bytes()).unwrap_err();
        let GgufError::Overlap { tensor, start, end, other, other_start, .. } = &answer else {
            panic!("{answer}")
        };
        assert_eq!((tensor.as_str(), other.as_str()), ("b", "a"));
        assert_eq!((*start, *end), (other_start + 32, other_start + 64));
        assert!(answer.to_string().starts_with("test.gguf: tensor \"b\" at bytes "), "{answer}");
    }
    let same = Raw::new().tensor("a", &[8], F32, 0).tensor("b", &[8], F32, 0).data(32);
    let answer = Gguf::from_bytes("test.gguf", same.bytes()).unwrap_err();
    assert!(matches!(answer, GgufError::Overlap { .. }), "{answer}");
}

#[test]
fn duplicate_tensor_name() {
    let file = Raw::new().tensor("t", &[8], F32, 0).tensor("u", &[8], F32, 32).tensor("t", &[8], F32, 64);
    refused(file.data(96), "tensor \"t\"", Problem::Duplicate(24));
}

#[test]
fn truncation_at_every_byte_of_the_metadata() {
    let whole = sound().bytes();
    let metadata = scan(&whole).unwrap().data_start as usize;
    for len in 0..metadata {
        let fault = scan(&whole[..len]).unwrap_err();
        assert!(fault.offset <= len as u64, "{fault}");
        let truncation = matches!(
            fault.problem,
            Problem::Truncated { .. }
                | Problem::Count { .. }
                | Problem::ArrayLength { .. }
                | Problem::PastEnd { .. }
        );
        assert!(truncation, "{len}: {fault}");
        let (item, offset, problem) = refusal(&whole[..len]);
        assert_eq!((item, offset, problem), (fault.item.to_string(), fault.offset, fault.problem));
    }
}

#[test]
fn truncation_at_every_tensor_boundary() {
    let whole = sound().bytes();
    let file = loaded(&sound());
    for tensor in file.tensors() {
        for len in [tensor.offset, tensor.offset + 1, tensor.offset + tensor.bytes - 1] {
            let (item, _, problem) = refusal(&whole[..len as usize]);
            // The tensor that lies last is the one that lacks data in any case.
            assert_eq!(item, "tensor \"c\"");
            assert_eq!(problem, Problem::PastEnd { end: whole.len() as u64, file_len: len });
        }
    }
}

#[test]
fn missing_padding_after_the_last_tensor_is_no_fault() {
    let file = loaded(&Raw::new().tensor("t", &[3], F32, 0).data(12));
    assert_eq!(file.data(file.tensor("t").unwrap()).len(), 12);
}

/// A file whose tensor of 3 rows, in a panel of 16, has as much data as it needs.
fn packed() -> Raw {
    Raw { alignment: 64, ..Raw::new() }
        .key("general.alignment", ValueType::U32, &64u32.to_le_bytes())
        .key(PACKED_VERSION_KEY, ValueType::U32, &1u32.to_le_bytes())
        .tensor("p", &[32, 3], PACKED + Q4_0, 0)
        .data(16 * 18)
}

#[test]
fn packed_tensors_are_as_large_as_their_panels() {
    let file = loaded(&packed());
    let tensor = file.tensor("p").unwrap();
    assert_eq!((tensor.ty, tensor.layout, tensor.bytes), (TensorType::Q4_0, Layout::Panels, 16 * 18));
    assert_eq!((tensor.elements(), tensor.rows()), (96, 3));
    assert_eq!(*file.panels(tensor), (0..16 * 18).map(|i| i as u8).collect::<Vec<u8>>());
    assert!(file.data(tensor).is_empty(), "panels are no rows");
    assert!(file.is_packed() && !loaded(&sound()).is_packed());
    let rows = loaded(&sound());
    assert!(rows.panels(rows.tensor("b").unwrap()).is_empty(), "rows are no panels");
}

#[test]
fn panels_of_another_version_or_none() {
    let with = |kind, value: &[u8]| {
        Raw { keys: Vec::new(), ..packed() }.key(PACKED_VERSION_KEY, kind, value).key(
            "general.alignment",
            ValueType::U32,
            &64u32.to_le_bytes(),
        )
    };
    for found in [0, 2, u32::MAX] {
        let file = with(ValueType::U32, &found.to_le_bytes());
        refused(file, "tensor \"p\"", Problem::PackedVersion(Some(found)));
    }
    refused(with(ValueType::Str, &string(b"1")), "tensor \"p\"", Problem::PackedVersion(None));
    refused(Raw { keys: Vec::new(), ..packed() }, "tensor \"p\"", Problem::PackedVersion(None));
    let message =
        Gguf::from_bytes("new.gguf", with(ValueType::U32, &2u32.to_le_bytes()).bytes()).unwrap_err();
    assert!(
        message
            .to_string()
            .ends_with("expected panels of layout version 1, found version 2: pack the original model again")
    );
}

#[test]
fn panels_cut_off() {
    for len in [1, 54, 16 * 18 - 1] {
        let file = packed().data(len);
        let file_len = file.bytes().len() as u64;
        let end = file_len - len as u64 + 16 * 18;
        refused(file, "tensor \"p\"", Problem::PastEnd { end, file_len });
    }
}

#[test]
fn panels_with_the_room_of_their_rows_alone_overlap() {
    let file = packed().tensor("q", &[32, 3], PACKED + Q4_0, 64).data(64 + 16 * 18);
    let error = Gguf::from_bytes("test.gguf", file.bytes()).unwrap_err();
    assert!(matches!(&error, GgufError::Overlap { tensor, .. } if tensor == "q"), "{error}");
}

#[test]
fn panels_of_impossible_types_and_shapes() {
    let file = |shape: &[u64], ty| Raw { tensors: Vec::new(), ..packed() }.tensor("p", shape, ty, 0);
    for id in [PACKED + 4, PACKED + 43, PACKED + 0x1_0000, PACKED - 1] {
        refused(file(&[32, 3], id), "tensor \"p\"", Problem::TensorType(id));
    }
    let problem = Problem::RowLength { ty: TensorType::Q4_0, found: 33 };
    refused(file(&[33, 3], PACKED + Q4_0), "tensor \"p\"", problem);
    // The rows fit in 63 bits, their panels do not.
    for shape in [&[1, i64::MAX as u64][..], &[3, 1, 1 << 60]] {
        refused(file(shape, PACKED + F32), "tensor \"p\"", Problem::DataSize);
    }
    assert_eq!(loaded(&file(&[32, 0], PACKED + Q4_0)).tensor("p").unwrap().bytes, 0);
}
