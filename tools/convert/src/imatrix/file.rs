use super::{Entry, Imatrix, legacy};
use anyhow::{Context, Result, bail, ensure};
use siskin::gguf::write::{Builder, OwnedArray};
use siskin::gguf::{Gguf, TensorInfo, Value};
use siskin_kit::Output;
use siskin_quant::{TensorType, decode};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

const TYPE: &str = "general.type";
const KIND: &str = "imatrix";
const DATASETS: &str = "imatrix.datasets";
const CHUNK_COUNT: &str = "imatrix.chunk_count";
const CHUNK_SIZE: &str = "imatrix.chunk_size";
/// Ends of the names of an entry's two tensors.
const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";

impl Imatrix {
    /// Reads llama.cpp's GGUF format, or its older one (`imatrix.dat`).
    pub fn open(path: &Path) -> Result<Imatrix> {
        let context = || path.display().to_string();
        let mut magic = Vec::new();
        File::open(path).and_then(|file| file.take(4).read_to_end(&mut magic)).with_context(context)?;
        let imatrix = match magic.as_slice() {
            b"GGUF" => read(&Gguf::open(path)?).with_context(context)?,
            _ => legacy::parse(&siskin_kit::read(path).with_context(context)?).with_context(context)?,
        };
        imatrix.check().with_context(context)?;
        Ok(imatrix)
    }

    /// Writes the GGUF format.
    pub fn write(&self, output: Output) -> Result<()> {
        let context = || output.name().to_owned();
        let mut builder = Builder::new();
        let datasets = self.datasets.iter().map(|name| name.clone().into_bytes()).collect();
        builder.set(TYPE, KIND)?.set(DATASETS, OwnedArray::Str(datasets))?;
        builder.set(CHUNK_COUNT, self.chunks)?.set(CHUNK_SIZE, self.chunk_size)?;
        for (name, entry) in &self.entries {
            let (columns, experts) = (entry.columns() as u64, entry.counts.len() as u64);
            // As llama.cpp shapes them.
            let shape = |row: u64| if experts > 1 { vec![row, experts] } else { vec![row] };
            builder.tensor(&format!("{name}{SUMS}"), &shape(columns), TensorType::F32)?;
            builder.tensor(&format!("{name}{COUNTS}"), &shape(1), TensorType::F32)?;
        }
        let mut writer = builder.start(output.writer()).with_context(context)?;
        for entry in self.entries.values() {
            for value in entry.sums.iter().chain(&entry.counts) {
                writer.append(&value.to_le_bytes()).with_context(context)?;
            }
        }
        writer.finish().with_context(context)?.flush().with_context(context)?;
        output.commit()
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.entries.is_empty(), "the importance matrix is empty");
        for (name, entry) in &self.entries {
            let sound = |value: f32| value.is_finite() && value >= 0.0;
            if let Some(count) = entry.counts.iter().find(|&&count| !sound(count)) {
                bail!("{name}: found {count} as a count");
            }
            if let Some(column) = entry.importance().iter().position(|&value| !sound(value)) {
                bail!("{name}: column {column} has the sum {}", entry.sums.get(column).unwrap_or(&f32::NAN));
            }
        }
        Ok(())
    }
}

fn read(file: &Gguf) -> Result<Imatrix> {
    let kind = file.str(TYPE)?.unwrap_or("model");
    ensure!(kind == KIND, "{TYPE}: expected {KIND}, found {kind}");
    let mut entries = BTreeMap::new();
    for tensor in file.tensors() {
        if let Some(name) = tensor.name.strip_suffix(SUMS) {
            entries.insert(name.to_owned(), entry(file, name, tensor)?);
        } else if let Some(name) = tensor.name.strip_suffix(COUNTS) {
            ensure!(file.tensor(&format!("{name}{SUMS}")).is_some(), "tensor {name}{SUMS} is missing");
        }
    }
    let text =
        |value: Value<'_>| Ok(value.as_str().with_context(|| format!("{DATASETS}: expected UTF-8"))?.into());
    let datasets =
        file.array(DATASETS)?.map(|array| array.iter().map(text).collect::<Result<_>>()).transpose()?;
    Ok(Imatrix {
        entries,
        datasets: datasets.unwrap_or_default(),
        chunks: file.require_u32(CHUNK_COUNT)?,
        chunk_size: file.require_u32(CHUNK_SIZE)?,
    })
}

fn entry(file: &Gguf, name: &str, sums: &TensorInfo) -> Result<Entry> {
    let counts = format!("{name}{COUNTS}");
    let counts = file.tensor(&counts).with_context(|| format!("tensor {counts} is missing"))?;
    let (rows, experts) = (sums.rows(), counts.elements());
    ensure!(experts > 0 && rows == experts, "{}: expected {rows} counts, found {experts}", counts.name);
    Ok(Entry { sums: values(file, sums)?, counts: values(file, counts)? })
}

fn values(file: &Gguf, tensor: &TensorInfo) -> Result<Vec<f32>> {
    ensure!(tensor.ty == TensorType::F32, "tensor {}: expected F32, found {}", tensor.name, tensor.ty);
    let mut values = vec![0.0; usize::try_from(tensor.elements())?];
    decode(tensor.ty, file.data(tensor), &mut values)?;
    Ok(values)
}
