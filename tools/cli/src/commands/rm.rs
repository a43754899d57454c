//! The `rm` command: removing models by their names.

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::DecimalBytes;
use serde_json::json;
use siskin_hub::{Model, Name, Removed, Store};
use siskin_kit::tell;

/// Remove models that were fetched.
///
/// Their files go where no other name stands for them. A program that runs one keeps it until it ends.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Names, as `siskin list` shows them
    #[arg(value_name = "NAME", required_unless_present = "unfinished")]
    names: Vec<String>,
    /// Remove what was not fetched to its end
    #[arg(long)]
    unfinished: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Removes them all, or none where one of the names stands for nothing.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let store = Store::of_user()?;
    let found = arguments.names.iter().map(|name| find(&store, name)).collect::<Result<Vec<_>>>()?;
    let mut removed = Removed { names: Vec::new(), freed: 0 };
    let mut models = Vec::new();
    for (text, found) in arguments.names.iter().zip(found) {
        match found {
            Found::Model(model) => models.push(*model),
            Found::Damaged(name) => {
                store.remove_damaged(&name)?;
                removed.names.push(text.clone());
            }
        }
    }
    if !models.is_empty() {
        let Removed { names, freed } = store.remove(&models)?;
        removed.names.extend(names);
        removed.freed = freed;
    }
    if arguments.unfinished {
        removed.freed += store.remove_unfinished()?;
    }
    let Removed { names, freed } = removed;
    if arguments.json {
        return tell(format_args!("{:#}", json!({"removed": names, "freed_bytes": freed})));
    }
    for name in &names {
        tell(format_args!("{name} is removed"))?;
    }
    tell(format_args!("{} are free again", DecimalBytes(freed)))
}

/// What a name stands for.
enum Found {
    Model(Box<Model>),
    /// Nobody knows any more, as its file was damaged.
    Damaged(Name),
}

fn find(store: &Store, text: &str) -> Result<Found> {
    let found = match Name::parse(text).with_context(|| text.to_owned())? {
        Some(name) => match store.find(&name)?.one(&name)? {
            None if store.is_damaged(&name) => return Ok(Found::Damaged(name)),
            found => found,
        },
        None => None,
    };
    match (found, store.alike(text).as_slice()) {
        (Some(model), _) => Ok(Found::Model(Box::new(model))),
        (None, []) => bail!("{text}: no model of this name was fetched: siskin list shows which were"),
        (None, names) => {
            bail!("{text}: no model of this name was fetched; did you mean {}?", names.join(" or "))
        }
    }
}
