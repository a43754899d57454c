//! What a model's file says of it, for whoever lists models.

use crate::options::ModelSource;
use anyhow::{Context, Result};
use siskin::gguf::Gguf;
use siskin::sampler::SamplerOverrides;
use siskin::template::ChatTemplate;
use siskin_kit::hash::Fields;
use siskin_kit::in_file;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a model's file says of it.
pub(crate) struct Described {
    /// Bytes of its files.
    pub(crate) bytes: u64,
    /// 64 hexadecimal digits that tell the file from others, and from what it was before. They are not the SHA-256 of its
    /// bytes: a list would have to read them all.
    pub(crate) digest: String,
    pub(crate) modified: SystemTime,
    /// The family of models that it is of.
    pub(crate) family: String,
    /// Numbers of all weights.
    pub(crate) parameters: u64,
    /// The type of most of its weights.
    pub(crate) quantization: &'static str,
    pub(crate) license: Option<String>,
    /// Its chat template's source.
    pub(crate) template: String,
    /// Whether thinking can be switched on and off.
    pub(crate) thinks: bool,
    /// The sampler settings that it recommends.
    pub(crate) sampling: SamplerOverrides,
}

/// Opens the file of a model.
///
/// # Errors
/// All that is wrong with it.
pub(crate) fn open_file(name: &str, source: &ModelSource) -> Result<Gguf> {
    Ok(match source {
        ModelSource::File(path) => Gguf::open(path)?,
        ModelSource::BuiltIn(bytes) => Gguf::from_static(name, bytes)?,
    })
}

impl Described {
    pub(super) fn of(name: &str, source: &ModelSource) -> Result<Self> {
        let file = open_file(name, source)?;
        let (bytes, modified) = match source {
            ModelSource::File(_) => {
                let (mut bytes, mut modified) = (0, UNIX_EPOCH);
                for path in file.files() {
                    let found = path.metadata().with_context(|| path.display().to_string())?;
                    bytes += found.len();
                    modified = modified.max(found.modified().unwrap_or(UNIX_EPOCH));
                }
                (bytes, modified)
            }
            ModelSource::BuiltIn(bytes) => (bytes.len() as u64, SystemTime::now()),
        };
        let template = ChatTemplate::from_gguf(&file).map_err(|error| in_file(&file, error))?;
        Ok(Self {
            bytes,
            digest: digest(&file, source, modified),
            modified,
            family: file.str("general.architecture")?.unwrap_or_default().to_owned(),
            parameters: file.tensors().iter().map(siskin::gguf::TensorInfo::elements).sum(),
            quantization: quantization(&file),
            license: file.str("general.license").ok().flatten().map(str::to_owned),
            thinks: template.thinking_variable().is_some(),
            template: template.source().to_owned(),
            sampling: SamplerOverrides::from_gguf(&file).map_err(|error| in_file(&file, error))?,
        })
    }
}

fn digest(file: &Gguf, source: &ModelSource, modified: SystemTime) -> String {
    let modified = match source {
        ModelSource::File(_) => modified.duration_since(UNIX_EPOCH).unwrap_or_default(),
        ModelSource::BuiltIn(_) => Duration::ZERO,
    };
    let half = |half: u64| {
        let fields = Fields::new().number(half).number(modified.as_secs()).number(file.file_len());
        let fields = file.files().fold(fields, |fields, path| fields.text(&path.to_string_lossy()));
        let tensors = file.tensors().iter();
        tensors.fold(fields, |fields, tensor| fields.text(&tensor.name).number(tensor.bytes)).finish()
    };
    half(0) + &half(1)
}

/// The type of most of a file's weights.
fn quantization(file: &Gguf) -> &'static str {
    let mut types: BTreeMap<&'static str, u64> = BTreeMap::new();
    for tensor in file.tensors() {
        *types.entry(tensor.ty.name()).or_default() += tensor.bytes;
    }
    types.into_iter().max_by_key(|(_, bytes)| *bytes).map_or("", |(name, _)| name)
}
