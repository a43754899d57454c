//! Commands that this build of the program lacks.

use anyhow::{Error, anyhow};
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Commands, whether they are there, and the features of a build that has them.
const COMMANDS: [(&str, bool, &str); 9] = [
    ("batch", cfg!(feature = "long-work"), "long-work"),
    ("summarize", cfg!(feature = "long-work"), "long-work"),
    ("quantize", cfg!(feature = "convert"), "convert"),
    ("pack", cfg!(feature = "convert"), "convert"),
    ("adapter", cfg!(feature = "convert"), "convert"),
    ("imatrix", cfg!(feature = "convert"), "convert"),
    ("bench", cfg!(all(feature = "convert", feature = "judge")), "convert,judge"),
    ("eval", cfg!(feature = "judge"), "judge"),
    ("tune", cfg!(feature = "judge"), "judge"),
];

/// What to say where a command line is wrong because it names a command that other builds have.
pub(crate) fn command(usage: &clap::Error) -> Option<Error> {
    let Some(ContextValue::String(name)) = usage.get(ContextKind::InvalidSubcommand) else { return None };
    let known = (usage.kind() == ErrorKind::InvalidSubcommand)
        .then(|| COMMANDS.iter().find(|(command, there, _)| command == name && !there))?;
    known.map(|(name, _, features)| {
        anyhow!("this build has no {name}: build it with cargo build --release -p siskin-cli --features {features}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Arguments;
    use clap::{CommandFactory, Parser};

    #[test]
    fn a_missing_command_names_its_feature_and_others_are_there() {
        let there: Vec<_> =
            Arguments::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
        for (name, is_there, features) in COMMANDS {
            assert_eq!(there.iter().any(|command| command == name), is_there, "{name}");
            let said = match Arguments::try_parse_from(["siskin", name, "--no-such-flag"]) {
                Err(usage) => command(&usage).map(|error| error.to_string()),
                Ok(_) => None,
            };
            assert_eq!(said.is_some(), !is_there, "{name}: {said:?}");
            assert!(said.is_none_or(|said| said.ends_with(&format!("--features {features}"))));
        }
        let unknown = Arguments::try_parse_from(["siskin", "quantise"]).err();
        assert!(unknown.is_some_and(|usage| command(&usage).is_none()));
    }
}
