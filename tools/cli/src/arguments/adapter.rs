//! The flag that changes a model by LoRA adapters.

use super::InputPath;
use crate::terminal::note;
use anyhow::{Context, Result, ensure};
use clap::Args;
use siskin::gguf::Gguf;
use siskin::plan::Outline;
use siskin::{Adapter, AdapterOutline, Model, Session};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Adapters and what their changes are multiplied by.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct AdapterArguments {
    /// Change the model by a LoRA adapter, a GGUF file or a folder of PEFT, times SCALE [default: 1]; may be given several
    /// times
    #[arg(long = "adapter", value_name = "FILE[=SCALE]")]
    pub(crate) adapters: Vec<Named>,
}

/// A value of the flag.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) path: InputPath,
    pub(crate) scale: f32,
}

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A path may have an equals sign of its own: one that exists is a path.
        let scaled = text.rsplit_once('=').filter(|_| !Path::new(text).exists());
        let scaled = scaled.and_then(|(path, scale)| Some((path, scale.parse::<f32>().ok()?)));
        let (path, scale) = scaled.unwrap_or((text, 1.0));
        match scale.is_finite() {
            true => Ok(Self { path: PathBuf::from(path).into(), scale }),
            false => Err("expected a finite scale"),
        }
    }
}

impl Named {
    /// The value of an argument that is a path otherwise.
    #[cfg(feature = "convert")]
    pub(crate) fn of(argument: &Path) -> Result<Self> {
        let text = argument.to_str().with_context(|| format!("{}: expected UTF-8", argument.display()))?;
        text.parse().map_err(|problem| anyhow::anyhow!("{text}: {problem}"))
    }
}

impl AdapterArguments {
    /// Opens the files; `base` is the file of the model that they are for.
    ///
    /// # Errors
    /// A file that is named twice, and all that is wrong with one.
    pub(crate) fn files(&self, base: &Gguf) -> Result<AdapterFiles> {
        let mut files: Vec<(Gguf, f32)> = Vec::new();
        for Named { path, scale } in &self.adapters {
            let file = open(path, base)?;
            ensure!(
                files.iter().all(|(other, _)| other.name() != file.name()),
                "{}: the adapter is named twice",
                file.name()
            );
            say_left_out(&AdapterOutline::of(&file)?);
            files.push((file, *scale));
        }
        Ok(AdapterFiles(files))
    }
}

/// Files of adapters, and what their changes are multiplied by.
pub(crate) struct AdapterFiles(pub(crate) Vec<(Gguf, f32)>);

impl AdapterFiles {
    /// Counts them among what the model takes.
    ///
    /// # Errors
    /// One that is of another model.
    pub(crate) fn count(&self, outline: &mut Outline) -> Result<()> {
        for (file, _) in &self.0 {
            outline.add_adapter(&AdapterOutline::of(file)?)?;
        }
        Ok(())
    }

    /// Loads them.
    pub(crate) fn load(&self, model: &Model) -> Result<Adapters> {
        let load = |(file, scale): &(Gguf, f32)| Ok((Adapter::from_gguf(file, model)?, *scale));
        Ok(Adapters(self.0.iter().map(load).collect::<Result<_>>()?))
    }
}

/// Says which of the file's tensors are of no use.
pub(crate) fn say_left_out(adapter: &AdapterOutline) {
    for tensor in adapter.left_out() {
        note(format_args!("note: {}: {tensor} is left out: the model has its own", adapter.name()));
    }
}

/// Opens a GGUF file, or a folder of PEFT, which is for the model in `base`.
pub(crate) fn open(path: &Path, base: &Gguf) -> Result<Gguf> {
    let name = path.display().to_string();
    let what = std::fs::metadata(path).with_context(|| name.clone())?;
    match what.is_dir() {
        true => converted(path, base),
        // As the model's own file is.
        false if base.is_read() => Ok(Gguf::read(path)?),
        false => Ok(Gguf::open(path)?),
    }
}

#[cfg(feature = "convert")]
fn converted(folder: &Path, base: &Gguf) -> Result<Gguf> {
    let bytes = siskin_convert::peft::convert(folder, base)?;
    Ok(Gguf::from_bytes(&folder.display().to_string(), bytes)?)
}

#[cfg(not(feature = "convert"))]
fn converted(folder: &Path, _: &Gguf) -> Result<Gguf> {
    anyhow::bail!("{}: a folder of PEFT needs a build with the feature convert", folder.display())
}

/// Adapters in memory, and what their changes are multiplied by.
pub(crate) struct Adapters(Vec<(Adapter, f32)>);

impl Adapters {
    /// Attaches them to a session.
    pub(crate) fn attach(&self, session: &mut Session) -> Result<()> {
        self.0.iter().try_for_each(|(adapter, scale)| Ok(session.attach(adapter, *scale)?))
    }

    /// Each, and what its change is multiplied by.
    #[cfg(feature = "long-work")]
    pub(crate) fn all(&self) -> &[(Adapter, f32)] {
        &self.0
    }

    /// What they are: hashes, and what the changes are multiplied by.
    #[cfg(feature = "long-work")]
    pub(crate) fn identity(&self) -> Vec<(u128, f32)> {
        self.0.iter().map(|(adapter, scale)| (adapter.hash(), *scale)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_read_where_the_model_is() {
        let model =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/tests/goldens/families/qwen3.gguf");
        assert!(open(&model, &Gguf::read(&model).unwrap()).unwrap().is_read());
        assert!(!open(&model, &Gguf::open(&model).unwrap()).unwrap().is_read());
    }

    #[test]
    fn a_scale_follows_the_last_equals_sign() {
        let named = |path: &str, scale| Ok(Named { path: PathBuf::from(path).into(), scale });
        assert_eq!("a.gguf".parse(), named("a.gguf", 1.0));
        assert_eq!("a.gguf=0.5".parse(), named("a.gguf", 0.5));
        assert_eq!("a=b/c.gguf".parse(), named("a=b/c.gguf", 1.0));
        assert_eq!("a=2/c=-1".parse(), named("a=2/c", -1.0));
        for scale in ["nan", "inf", "-inf", "1e99"] {
            assert_eq!(format!("a={scale}").parse::<Named>(), Err("expected a finite scale"));
        }
        // But one that exists is a path as it stands.
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("lr=0.001");
        std::fs::create_dir(&run).unwrap();
        let text = run.to_str().unwrap();
        assert_eq!(text.parse(), named(text, 1.0));
        assert_eq!(format!("{text}=0.5").parse(), named(text, 0.5));
    }
}
