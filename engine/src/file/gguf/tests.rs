use super::write::{Builder, OwnedArray};
use super::*;

fn file(fill: impl FnOnce(&mut Builder)) -> Gguf {
    let mut builder = Builder::new();
    fill(&mut builder);
    let bytes = builder.start(Vec::new()).unwrap().finish().unwrap();
    Gguf::from_bytes("test.gguf", bytes).unwrap()
}

fn metadata() -> Gguf {
    file(|builder| {
        builder.set("u8", 7u8).unwrap().set("i64", 7i64).unwrap().set("negative", -1i8).unwrap();
        builder.set("large", 1u64 << 32).unwrap().set("f32", 0.5f32).unwrap().set("f64", 0.1f64).unwrap();
        builder.set("bool", true).unwrap().set("text", "twelve grams").unwrap();
        builder.set("raw", &b"\xff"[..]).unwrap();
        builder.set("list", OwnedArray::U16(vec![3, 1, 2])).unwrap();
    })
}

fn message<T: std::fmt::Debug>(answer: Result<T, GgufError>) -> String {
    answer.unwrap_err().to_string()
}

#[test]
fn integers_of_any_type_that_fit() {
    let file = metadata();
    assert_eq!(file.u32("u8").unwrap(), Some(7));
    assert_eq!(file.u32("i64").unwrap(), Some(7));
    assert_eq!(file.require_u32("i64").unwrap(), 7);
    assert_eq!(file.u64("large").unwrap(), Some(1 << 32));
    assert_eq!(file.get("negative").unwrap().as_i32(), Some(-1));
    assert_eq!(message(file.u32("negative")), "test.gguf: key \"negative\": expected u32, found i8 -1");
    assert_eq!(message(file.u64("negative")), "test.gguf: key \"negative\": expected u64, found i8 -1");
    assert_eq!(message(file.u32("large")), "test.gguf: key \"large\": expected u32, found u64 4294967296");
    assert_eq!(message(file.u32("f32")), "test.gguf: key \"f32\": expected u32, found f32");
}

#[test]
fn values_of_other_types() {
    let file = metadata();
    assert_eq!(file.require_f32("f32").unwrap(), 0.5);
    assert_eq!(file.f32("f64").unwrap(), Some(0.1));
    assert_eq!(file.bool("bool").unwrap(), Some(true));
    assert_eq!(file.require_str("text").unwrap(), "twelve grams");
    assert_eq!(file.get("raw"), Some(Value::Str(b"\xff")));
    let list = file.require_array("list").unwrap();
    assert_eq!((list.len(), list.kind(), list.is_empty()), (3, ValueType::U16, false));
    assert_eq!(list.iter().filter_map(|x| x.as_u32()).collect::<Vec<_>>(), [3, 1, 2]);
}

#[test]
fn values_of_wrong_types_are_named() {
    let file = metadata();
    assert_eq!(message(file.f32("u8")), "test.gguf: key \"u8\": expected f32, found u8 7");
    assert_eq!(message(file.bool("u8")), "test.gguf: key \"u8\": expected bool, found u8 7");
    assert_eq!(message(file.str("list")), "test.gguf: key \"list\": expected string in UTF-8, found array");
    assert_eq!(message(file.str("raw")), "test.gguf: key \"raw\": expected string in UTF-8, found string");
    assert_eq!(message(file.array("text")), "test.gguf: key \"text\": expected array, found string");
}

#[test]
fn missing_keys_are_nothing_or_an_error() {
    let file = metadata();
    assert_eq!(file.get("none"), None);
    assert_eq!(file.u32("none").unwrap(), None);
    assert_eq!(file.str("none").unwrap(), None);
    let expected = "test.gguf: key \"none\": expected u32, found no such key";
    assert_eq!(message(file.require_u32("none")), expected);
    assert_eq!(message(file.require_str("none")), expected.replace("u32", "string"));
    assert_eq!(message(file.require_f32("none")), expected.replace("u32", "f32"));
    assert_eq!(message(file.require_array("none")), expected.replace("u32", "array"));
}

#[test]
fn tensor_shapes() {
    let mut builder = Builder::new();
    builder.tensor("t", &[4, 3, 2], siskin_quant::TensorType::F16).unwrap();
    let mut writer = builder.start(Vec::new()).unwrap();
    writer.tensor("t", &[0; 48]).unwrap();
    let file = Gguf::from_bytes("test.gguf", writer.finish().unwrap()).unwrap();
    let tensor = file.tensor("t").unwrap();
    assert_eq!((tensor.elements(), tensor.row_len(), tensor.rows(), tensor.bytes), (24, 4, 6, 48));
    let foreign = TensorInfo { offset: file.file_len() - 1, bytes: 2, ..tensor.clone() };
    assert!(file.data(&foreign).is_empty());
}

#[test]
fn value_types_have_the_numbers_of_the_format() {
    let names = "u8 i8 u16 i16 u32 i32 f32 bool string array u64 i64 f64";
    for (id, name) in (0..).zip(names.split(' ')) {
        let kind = ValueType::from_id(id).unwrap();
        assert_eq!((kind.id(), kind.name()), (id, name));
    }
    assert_eq!(ValueType::from_id(13), None);
}

#[test]
fn threads_may_share_a_file() {
    fn shared<T: Send + Sync>() {}
    shared::<Gguf>();
}

#[test]
#[cfg_attr(miri, ignore = "Miri maps no files")]
fn panels_stay_where_the_file_is_and_outlive_it() {
    use crate::packed::Packer;
    use siskin_quant::TensorType::Q8_0;
    let rows = siskin_compute::test_data::random_blocks(Q8_0, 21 * 2, 9);
    let panels = Packer::new(Q8_0, &[64, 21]).unwrap().push(&rows).to_vec();
    let mut builder = Builder::new();
    builder.panels("p", &[64, 21], Q8_0).unwrap();
    let mut writer = builder.start(Vec::new()).unwrap();
    writer.tensor("p", &panels).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), writer.finish().unwrap()).unwrap();
    for open in [Gguf::open, Gguf::read] {
        let data = {
            let file = open(file.path()).unwrap();
            file.panels(file.tensor("p").unwrap())
        };
        assert!(data.as_ptr().addr().is_multiple_of(PANEL_ALIGNMENT as usize));
        assert_eq!(*data, panels);
    }
}
