//! Models are fetched from servers of the tests' own, which do all that a server should not.

#![allow(clippy::disallowed_methods, reason = "tests make files of their own")]
#![allow(clippy::unwrap_used, clippy::panic)] // Helpers of tests may fail as tests do.

mod access;
mod addresses;
mod hostile;
mod hub;
mod interrupted;
mod pulling;
mod server;
mod together;

use server::Server;
use siskin_hub::{Model, Name, Options, Pulled, Settings, Store, pull};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

/// A user with a store, who asks a server.
struct User {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl User {
    fn of(server: &Server) -> User {
        let variables = vec![("HF_ENDPOINT".into(), server.address())];
        User { folder: tempfile::tempdir().unwrap(), variables }
    }

    fn with(mut self, name: &str, value: &str) -> User {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn store(&self) -> Store {
        Store::at(self.folder.path().join("models"))
    }

    fn settings(&self) -> Settings {
        let read = |name: &str| {
            self.variables.iter().find(|(variable, _)| variable == name).map(|(_, value)| value.clone())
        };
        Settings::read(&read).unwrap().waiting(Duration::from_millis(2))
    }

    fn try_pull(&self, name: &str) -> anyhow::Result<Pulled> {
        let name = Name::parse(name).unwrap().unwrap();
        pull(&self.store(), &name, &self.settings(), &Options::default(), &|_| ())
    }

    fn pull(&self, name: &str) -> Model {
        self.try_pull(name).unwrap_or_else(|error| panic!("{name}: {error:#}")).model
    }

    /// What is said when it cannot be fetched: one line, and no name stands for anything.
    fn refusal(&self, name: &str) -> String {
        let error = self.try_pull(name).map(|pulled| pulled.model.name).unwrap_err();
        let said = format!("{error:#}");
        assert!(!said.chars().any(char::is_control), "{said:?}");
        assert!(self.store().models().unwrap().is_empty());
        said
    }

    /// Files in a part of the store, however deep.
    fn files(&self, part: &str) -> Vec<String> {
        files(&self.store().folder().join(part))
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.file_name().into_string().unwrap()),
        }
    }
    found.sort();
    found
}
