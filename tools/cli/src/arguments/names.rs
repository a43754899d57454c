//! Names of models, which may stand wherever the path of one does.

use super::InputPath;
use clap::builder::{PathBufValueParser, TypedValueParser};
#[cfg(feature = "hub")]
pub(crate) use hub::with_models;

/// What `command_line` reads.
///
/// # Errors
/// A wrong command line, a [`clap::Error`].
#[cfg(not(feature = "hub"))]
pub(crate) fn with_models<T>(command_line: impl Fn() -> Result<T, clap::Error>) -> anyhow::Result<T> {
    Ok(command_line()?)
}

/// Reads the path of a model's file. A path that leads somewhere is one; what else is a model's name becomes the path of its
/// file on this machine, and nobody else is asked.
pub(crate) fn model() -> impl TypedValueParser<Value = InputPath> {
    #[cfg(feature = "hub")]
    return PathBufValueParser::new().try_map(hub::locate).map(InputPath::from);
    #[cfg(not(feature = "hub"))]
    PathBufValueParser::new().try_map(path_alone)
}

/// A path, where nothing else stands for a model.
#[cfg(not(feature = "hub"))]
fn path_alone(path: std::path::PathBuf) -> Result<InputPath, String> {
    let is_name = |text: &str| text.contains("://") || text.starts_with("hf.co/") || text.contains(':');
    match path.to_str().filter(|text| is_name(text) && path.symlink_metadata().is_err()) {
        Some(_) => Err("this build knows no models by name: the feature `hub` brings them".to_owned()),
        None => Ok(path.into()),
    }
}

/// The path of the model that a text means, which is read as arguments are.
///
/// # Errors
/// A name that stands for nothing on this machine, with what helps.
pub(crate) fn find(text: &str) -> anyhow::Result<InputPath> {
    #[cfg(feature = "hub")]
    return Ok(hub::locate(text.into())?.into());
    #[cfg(not(feature = "hub"))]
    path_alone(text.into()).map_err(|problem| anyhow::anyhow!("{text}: {problem}"))
}

#[cfg(feature = "hub")]
mod hub {
    use crate::terminal::note;
    use anyhow::{Context, Error, Result};
    use siskin_hub::{Name, Options, Settings, Store, pull};
    use std::error::Error as _;
    use std::fmt;
    use std::io::{self, BufRead, IsTerminal, Write};
    use std::path::PathBuf;

    /// Why a name stands for no file.
    #[derive(Debug)]
    pub(crate) struct NotHere {
        said: String,
        /// What could be fetched.
        name: Option<Name>,
    }

    impl fmt::Display for NotHere {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.said)
        }
    }

    impl std::error::Error for NotHere {}

    /// The path that a model's path or name stands for.
    pub(crate) fn locate(path: PathBuf) -> Result<PathBuf, NotHere> {
        let Some(text) = path.to_str().filter(|_| path.symlink_metadata().is_err()) else { return Ok(path) };
        let failed = |error: Error| NotHere { said: format!("{text}: {error:#}"), name: None };
        let meant = |store: &Store| match store.alike(text).as_slice() {
            [] => String::new(),
            names => format!("; did you mean {}?", names.join(" or ")),
        };
        let Some(name) = Name::parse(text).map_err(failed)? else {
            // Who has no home has no models by name.
            let hint = Store::of_user().map_or_else(|_| String::new(), |store| meant(&store));
            return match hint.as_str() {
                "" => Ok(path),
                hint => Err(NotHere { said: format!("{text}: no such file{hint}"), name: None }),
            };
        };
        let store = Store::of_user().map_err(failed)?;
        match store.find(&name).and_then(|found| found.one(&name)).map_err(failed)? {
            Some(model) if model.is_complete() => Ok(model.path()),
            Some(model) => {
                let said = format!("{name}: its file is not what it was: siskin pull {}", model.name);
                Err(NotHere { said, name: Some(name) })
            }
            None => {
                let said = format!("{name} is not on this machine: siskin pull {name}{}", meant(&store));
                Err(NotHere { said, name: Some(name) })
            }
        }
    }

    /// What `command_line` reads. Where that names a model that is not on this machine, whoever sits at a terminal is
    /// asked whether to fetch it.
    ///
    /// # Errors
    /// A wrong command line, a [`clap::Error`]; a name that stands for nothing here.
    pub(crate) fn with_models<T>(command_line: impl Fn() -> Result<T, clap::Error>) -> Result<T> {
        loop {
            let usage = match command_line() {
                Ok(found) => return Ok(found),
                Err(usage) => usage,
            };
            let Some(not_here) = usage.source().and_then(|source| source.downcast_ref::<NotHere>()) else {
                return Err(usage.into());
            };
            match &not_here.name {
                Some(name) if agreed(name) => {
                    let said = |text: &str| note(format_args!("{text}"));
                    let settings = Settings::from_environment()?;
                    pull(&Store::of_user()?, name, &settings, &Options::default(), &said)?;
                }
                _ => return Err(Error::msg(not_here.said.clone())),
            }
        }
    }

    /// Whether somebody at the terminal wants the model to be fetched.
    fn agreed(name: &Name) -> bool {
        let (stdin, mut stderr) = (io::stdin(), io::stderr());
        if !stdin.is_terminal() || !stderr.is_terminal() {
            return false;
        }
        let mut answer = String::new();
        let asked = write!(stderr, "{name} is not on this machine. Fetch it? [y/N] ")
            .and_then(|()| stdin.lock().read_line(&mut answer))
            .context("the terminal");
        asked.is_ok() && ["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str())
    }
}
