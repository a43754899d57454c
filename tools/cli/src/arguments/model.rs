//! Opening the model that a command works with.

use super::{AdapterArguments, Adapters, GrammarArguments, InputPath, MemoryArguments, names};
use crate::terminal::note;
use anyhow::Result;
use clap::Args;
use siskin::gguf::Gguf;
use siskin::plan::Outline;
use siskin::{Model, SessionOptions};
use siskin_kit::in_file;
use std::path::Path;

/// Among the options that are seldom wanted.
const LAST: usize = 900;

/// Which model, and how its file is read.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    #[cfg_attr(
        feature = "demo",
        doc = "The model, a GGUF file or a name [default: the small demo model in this program]"
    )]
    #[cfg_attr(
        not(feature = "demo"),
        doc = "The model, a GGUF file: this program was built without a demo model"
    )]
    #[arg(value_name = "MODEL", value_parser = names::model())]
    model: Option<InputPath>,
    /// Read the file into memory instead of mapping it, for files that may change or vanish meanwhile
    #[arg(long, display_order = LAST)]
    no_mmap: bool,
}

impl ModelArguments {
    /// The same for another model.
    pub(crate) fn of(&self, path: InputPath) -> ModelArguments {
        ModelArguments { model: Some(path), no_mmap: self.no_mmap }
    }

    /// Opens another file as the model's is opened.
    pub(crate) fn beside(&self, path: &Path) -> Result<Gguf> {
        open(Some(path), self.no_mmap)
    }

    /// Opens the model's file.
    pub(crate) fn file(&self) -> Result<Gguf> {
        open(self.model.as_deref(), self.no_mmap)
    }

    /// Opens the model and its adapters if there is memory for them and a session with `options`. The command has these
    /// `flags` to make it smaller.
    ///
    /// # Errors
    /// As for [`ModelArguments::open_within`].
    #[cfg(any(feature = "convert", feature = "inspect"))]
    pub(crate) fn open_limited(
        &self,
        limit: &super::MemoryLimit,
        options: &SessionOptions,
        adapters: &AdapterArguments,
        flags: siskin_kit::memory::Flags,
    ) -> Result<(Model, Adapters)> {
        let file = self.file()?;
        let mut outline = outline(&file)?;
        let adapters = adapters.files(&file)?;
        adapters.count(&mut outline)?;
        limit.check(&outline, options, 1, flags).map_err(|error| in_file(&file, error))?;
        drop(outline);
        let model = Model::from_gguf(&file).map_err(|error| in_file(&file, error))?;
        let adapters = adapters.load(&model)?;
        Ok((model, adapters))
    }

    /// Opens the model and its adapters for one session with `options`, or with those that there is memory for, which are
    /// returned too. The model in `draft` will be loaded afterwards, to guess ahead, and a grammar be compiled.
    ///
    /// # Errors
    /// Too little memory, told before anything is loaded, and all that is wrong with the file or the options.
    pub(crate) fn open_within(
        &self,
        memory: &MemoryArguments,
        options: SessionOptions,
        adapters: &AdapterArguments,
        draft: Option<&Gguf>,
        grammar: &GrammarArguments,
    ) -> Result<(Model, SessionOptions, Adapters)> {
        let (model, (options, _), adapters) = open_with(&self.file()?, adapters, draft, |outline| {
            grammar.count(outline);
            memory.options(outline, options, 1)
        })?;
        Ok((model, options, adapters))
    }
}

/// The same for commands whose other files come first: the model is a flag.
#[cfg(any(feature = "convert", feature = "long-work", feature = "serve"))]
#[derive(Debug, Args)]
pub(crate) struct ModelFlag {
    #[cfg_attr(
        feature = "demo",
        doc = "The model, a GGUF file or a name [default: the small demo model in this program]"
    )]
    #[cfg_attr(
        not(feature = "demo"),
        doc = "The model, a GGUF file: this program was built without a demo model"
    )]
    #[arg(short, long, value_name = "MODEL", value_parser = names::model())]
    model: Option<InputPath>,
    /// Read the file into memory instead of mapping it, for files that may change or vanish meanwhile
    #[arg(long, display_order = LAST)]
    no_mmap: bool,
}

#[cfg(any(feature = "convert", feature = "long-work", feature = "serve"))]
#[cfg_attr(not(all(feature = "convert", feature = "long-work")), allow(dead_code))] // Each needs its part.
impl ModelFlag {
    /// Opens another file as the model's is opened.
    pub(crate) fn beside(&self, path: &Path) -> Result<Gguf> {
        open(Some(path), self.no_mmap)
    }

    /// Opens the model's file.
    pub(crate) fn file(&self) -> Result<Gguf> {
        open(self.model.as_deref(), self.no_mmap)
    }

    /// Opens the model as [`ModelArguments::open_within`] does.
    pub(crate) fn open_within(
        &self,
        memory: &MemoryArguments,
        options: SessionOptions,
        adapters: &AdapterArguments,
    ) -> Result<(Model, SessionOptions, Adapters)> {
        let (model, (options, _), adapters) =
            open_with(&self.file()?, adapters, None, |outline| memory.options(outline, options, 1))?;
        Ok((model, options, adapters))
    }

    /// The same for sequences that are worked on together, as [`MemoryArguments::sequences`] chooses them, for which `count`
    /// counts what else they will have.
    #[cfg(feature = "long-work")]
    pub(crate) fn open_together(
        &self,
        memory: &MemoryArguments,
        options: SessionOptions,
        adapters: &AdapterArguments,
        parallel: Option<usize>,
        count: impl FnOnce(&mut Outline),
    ) -> Result<(Model, siskin::SequencesOptions, Adapters)> {
        let (model, (options, _), adapters) = open_with(&self.file()?, adapters, None, |outline| {
            count(outline);
            memory.sequences(outline, options, parallel)
        })?;
        Ok((model, options, adapters))
    }

    /// The hash of all bytes of the model's file or files, which tells it from other models.
    pub(crate) fn hash(&self) -> Result<String> {
        match &self.model {
            Some(path) => Ok(siskin_kit::hash::of_model(path)?.1),
            None => Ok(siskin_kit::hash::of(DEMO)),
        }
    }
}

/// Looks at a model's file, and says what of it is left out, and that it could not be mapped.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn outline(file: &Gguf) -> Result<Outline> {
    let outline = Outline::of(file).map_err(|error| in_file(file, error))?;
    if file.is_unmappable() {
        note(format_args!("note: {}: the file cannot be mapped where it is, and was read", file.name()));
    }
    outline.notes().iter().for_each(|line| note(format_args!("note: {}: {line}", file.name())));
    Ok(outline)
}

/// Opens the model and its adapters with the options that `choose` finds there is memory for.
fn open_with<O>(
    file: &Gguf,
    adapters: &AdapterArguments,
    draft: Option<&Gguf>,
    choose: impl FnOnce(&mut Outline) -> Result<O>,
) -> Result<(Model, O, Adapters)> {
    let mut outline = outline(file)?;
    let adapters = adapters.files(file)?;
    adapters.count(&mut outline)?;
    if let Some(draft) = draft {
        outline.add_draft(self::outline(draft)?);
    }
    let options = choose(&mut outline).map_err(|error| in_file(file, error))?;
    drop(outline);
    let model = Model::from_gguf(file).map_err(|error| in_file(file, error))?;
    let adapters = adapters.load(&model)?;
    Ok((model, options, adapters))
}

fn open(path: Option<&Path>, no_mmap: bool) -> Result<Gguf> {
    match path {
        Some(path) if no_mmap => Ok(Gguf::read(path)?),
        Some(path) => Ok(Gguf::open(path)?),
        None => demo(),
    }
}

#[cfg(feature = "demo")]
const DEMO: &[u8] = include_bytes!("../../../demo/siskin-demo.gguf");
#[cfg(all(not(feature = "demo"), any(feature = "convert", feature = "long-work", feature = "serve")))]
const DEMO: &[u8] = &[];

/// The bytes of the demo model that this program carries.
///
/// # Errors
/// A program that carries none.
#[cfg(feature = "serve")]
pub(crate) fn demo_model() -> Result<&'static [u8]> {
    demo().map(|_| DEMO)
}

/// The demo model that this program carries.
#[cfg(feature = "demo")]
pub(crate) fn demo() -> Result<Gguf> {
    Ok(Gguf::from_static("the demo model", DEMO)?)
}

#[cfg(not(feature = "demo"))]
fn demo() -> Result<Gguf> {
    let problem = "no MODEL was named, and this build has no demo model: the feature `demo` brings one\n";
    Err(clap::Error::raw(clap::error::ErrorKind::MissingRequiredArgument, problem).into())
}
