#![allow(dead_code)] // Each test file uses its part.

use serde_json::{Map, Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

/// The tiny checkpoints, and the GGUF files made from them.
pub(crate) fn goldens() -> PathBuf {
    here("../../engine/tests/goldens/llama")
}

/// The tiny checkpoints of the other families, and the GGUF files that llama.cpp's converter made from them.
pub(crate) fn families() -> PathBuf {
    here("../../engine/tests/goldens/families")
}

/// A file of this crate.
pub(crate) fn here(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs the program.
pub(crate) fn siskin(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_siskin")).args(arguments).output().unwrap()
}

/// Runs `siskin quantize`.
pub(crate) fn quantize(input: &Path, output: &Path, file_type: &str) -> Output {
    siskin(&["quantize", text(input), text(output), "--type", file_type])
}

/// Runs `siskin quantize`, which must succeed, and returns the bytes of the file.
pub(crate) fn quantized(input: &Path, output: &Path, file_type: &str) -> Vec<u8> {
    let run = quantize(input, output, file_type);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    fs::read(output).unwrap()
}

/// The most memory that a command has at once, in bytes.
pub(crate) fn peak(arguments: &[&str]) -> u64 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_siskin"));
    let mut child = command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let code = loop {
        let told = fs::read_to_string(&status).unwrap_or_default();
        let kibibytes = told.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        peak = kibibytes.map_or(peak, |number| number.parse::<u64>().unwrap() << 10).max(peak);
        match child.try_wait().unwrap() {
            Some(code) => break code,
            None => thread::sleep(Duration::from_millis(1)),
        }
    };
    assert!(code.success(), "{arguments:?}");
    peak
}

/// The one line that a failed run says.
pub(crate) fn failure(run: &Output) -> String {
    let said = String::from_utf8_lossy(&run.stderr).into_owned();
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(run.stdout.is_empty());
    let line = said.strip_suffix('\n').unwrap();
    assert!(!line.contains('\n') && line.starts_with("siskin: "), "{said:?}");
    line.to_string()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The numbers of a float32 .npy file.
pub(crate) fn npy(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    let header = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + header..].as_chunks().0.iter().map(|number| f32::from_le_bytes(*number)).collect()
}

/// The squared error relative to the squares of what is expected.
pub(crate) fn nmse(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f64| x * x;
    let error: f64 = found.iter().zip(expected).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    error / expected.iter().map(|&b| square(f64::from(b))).sum::<f64>()
}

/// The prompt of a family's checkpoint.
pub(crate) fn ids(checkpoint: &Path) -> Vec<u32> {
    serde_json::from_slice(&fs::read(checkpoint.join("ids.json")).unwrap()).unwrap()
}

/// What `siskin logits` computes with keys and values in single precision.
pub(crate) fn logits_of(model: &Path, ids: &[u32], adapters: &[&str]) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("logits.npy");
    let ids = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let mut arguments =
        vec!["logits", text(model), "--cache-type", "f32", "--out", text(&out), "--tokens", &ids];
    adapters.iter().for_each(|adapter| arguments.extend(["--adapter", adapter]));
    let run = siskin(&arguments);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    npy(&out)
}

/// Names of the files in a folder, in order.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// A copy of a golden checkpoint that a test may change.
pub(crate) struct Checkpoint {
    folder: TempDir,
    pub(crate) tensors: Vec<TensorBytes>,
}

/// A tensor of a safetensors file.
#[derive(Clone)]
pub(crate) struct TensorBytes {
    pub(crate) name: String,
    pub(crate) dtype: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) bytes: Vec<u8>,
}

impl Checkpoint {
    pub(crate) fn copy(name: &str) -> Checkpoint {
        Checkpoint::copy_of(&goldens(), name)
    }

    /// A copy of the checkpoint `name` in the folder `from`.
    pub(crate) fn copy_of(from: &Path, name: &str) -> Checkpoint {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(name)).unwrap();
        // Not the folder of an adapter.
        for file in names(&from.join(name)).iter().filter(|file| from.join(name).join(file).is_file()) {
            fs::copy(from.join(name).join(file), folder.path().join(name).join(file)).unwrap();
        }
        let bytes = fs::read(folder.path().join(name).join("model.safetensors")).unwrap();
        let (size, rest) = bytes.split_first_chunk().unwrap();
        let (header, data) = rest.split_at(u64::from_le_bytes(*size) as usize);
        let header: Map<String, Value> = serde_json::from_slice(header).unwrap();
        let tensors = header.into_iter().filter(|(name, _)| name != "__metadata__").map(|(name, entry)| {
            let range: Vec<usize> = serde_json::from_value(entry["data_offsets"].clone()).unwrap();
            TensorBytes {
                name,
                dtype: entry["dtype"].as_str().unwrap().into(),
                shape: serde_json::from_value(entry["shape"].clone()).unwrap(),
                bytes: data[range[0]..range[1]].to_vec(),
            }
        });
        Checkpoint { tensors: tensors.collect(), folder }
    }

    /// The folder that holds the checkpoint's folder, where outputs may go.
    pub(crate) fn parent(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        let name = names(self.parent()).into_iter().find(|name| self.parent().join(name).is_dir()).unwrap();
        self.parent().join(name)
    }

    pub(crate) fn tensor(&mut self, name: &str) -> &mut TensorBytes {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).unwrap()
    }

    /// Writes the tensors back as one file.
    pub(crate) fn save(&self) {
        write_safetensors(&self.path().join("model.safetensors"), &self.tensors);
    }

    /// Changes a JSON file of the checkpoint.
    pub(crate) fn edit(&self, file: &str, change: impl FnOnce(&mut Value)) {
        let path = self.path().join(file);
        let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        fs::write(path, value.to_string()).unwrap();
    }

    /// Quantizes the checkpoint, which must fail and leave nothing behind, and returns what it says.
    pub(crate) fn failure(&self, file_type: &str) -> String {
        let output = self.parent().join("out.gguf");
        fs::write(&output, "old").unwrap();
        let line = failure(&quantize(&self.path(), &output, file_type));
        assert_eq!(fs::read(&output).unwrap(), b"old");
        assert_eq!(names(self.parent()).len(), 2, "{:?}", names(self.parent()));
        line
    }
}

/// Writes a safetensors file.
pub(crate) fn write_safetensors(path: &Path, tensors: &[TensorBytes]) {
    let mut header = Map::new();
    let mut data: Vec<u8> = Vec::new();
    for tensor in tensors {
        let start = data.len();
        data.extend(&tensor.bytes);
        let entry =
            json!({"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [start, data.len()]});
        header.insert(tensor.name.clone(), entry);
    }
    let header = Value::Object(header).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    fs::write(path, file).unwrap();
}
