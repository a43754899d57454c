//! Paths as arguments: files and folders that commands read, and files that they write.
//!
//! Which it is, its type says. So all that a command reads is found among its arguments, and none can forget to say what no
//! output may replace.

use super::adapter::Named;
#[cfg(feature = "grammar")]
use super::grammar::SchemaArgument;
use clap::ArgMatches;
use clap::builder::{MapValueParser, PathBufValueParser, TypedValueParser, ValueParserFactory};
use siskin_kit::Inputs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

/// A file or a folder that the command reads.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct InputPath(PathBuf);

/// A file that the command writes. One that it also goes on from is among these, too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OutputPath(PathBuf);

macro_rules! path {
    ($name:ident) => {
        impl ValueParserFactory for $name {
            type Parser = MapValueParser<PathBufValueParser, fn(PathBuf) -> Self>;

            fn value_parser() -> Self::Parser {
                PathBufValueParser::new().map(Self)
            }
        }

        impl From<PathBuf> for $name {
            fn from(path: PathBuf) -> Self {
                Self(path)
            }
        }

        impl Deref for $name {
            type Target = Path;

            fn deref(&self) -> &Path {
                &self.0
            }
        }
    };
}
path!(InputPath);
path!(OutputPath);

/// All that a command line says is read, by the command and by those above it.
pub(crate) fn inputs(command_line: &ArgMatches) -> Inputs {
    let mut inputs = Inputs::default();
    let mut level = Some(command_line);
    while let Some(matches) = level {
        for id in matches.ids() {
            // What is of another type is no path.
            if let Ok(Some(paths)) = matches.try_get_many::<InputPath>(id.as_str()) {
                inputs = inputs.and(paths.map(|path| &**path));
            }
            if let Ok(Some(adapters)) = matches.try_get_many::<Named>(id.as_str()) {
                inputs = inputs.and(adapters.map(|named| &*named.path));
            }
            #[cfg(feature = "grammar")]
            if let Ok(Some(schemas)) = matches.try_get_many::<SchemaArgument>(id.as_str()) {
                inputs = inputs.and(schemas.filter_map(SchemaArgument::path));
            }
        }
        level = matches.subcommand().map(|(_, matches)| matches);
    }
    inputs
}
