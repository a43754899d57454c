//! `GET /openapi.json`: what can be asked, as programs read it.
//!
//! The document is written by hand, as handlers read fields one by one and say in messages of their own what is wrong. Tests see
//! to it that it has all addresses and all fields; `tests/clients` asks a server whether it does what the document says.

use super::routes::Routes;
use crate::http;

/// Where it is.
pub(crate) const ADDRESS: &str = "/openapi.json";

const DOCUMENT: &str = include_str!("openapi.json");

pub(super) fn routes() -> Routes {
    Routes::new().get(ADDRESS, async || http::text(200, "application/json", DOCUMENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    fn document() -> Value {
        serde_json::from_str(DOCUMENT).unwrap()
    }

    #[test]
    fn it_has_all_addresses_and_no_others() {
        let document = document();
        let described = document["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        });
        // A wildcard of the router's is a parameter like others.
        let all = crate::api::routes();
        let routed = all.all().iter().map(|(method, path)| format!("{method} {}", path.replace("{*", "{")));
        assert_eq!(described.collect::<BTreeSet<_>>(), routed.collect::<BTreeSet<_>>());
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn all_that_is_referred_to_is_there_and_used() {
        fn references<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document = document();
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        let parts = ["schemas", "responses"].into_iter().flat_map(|kind| {
            let parts = document["components"][kind].as_object().unwrap();
            parts.keys().map(move |name| format!("#/components/{kind}/{name}"))
        });
        assert_eq!(parts.collect::<BTreeSet<_>>(), found.into_iter().map(str::to_owned).collect());
    }

    /// The fields of requests: names within `properties`, from what `requestBody` refers to on.
    fn described() -> BTreeSet<String> {
        fn names(document: &Value, value: &Value, seen: &mut BTreeSet<String>, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(fields) => {
                    if let Some(Value::Object(properties)) = fields.get("properties") {
                        found.extend(properties.keys().cloned());
                    }
                    if let Some(Value::String(reference)) = fields.get("$ref")
                        && seen.insert(reference.clone())
                    {
                        let target = document.pointer(reference.trim_start_matches('#')).unwrap();
                        names(document, target, seen, found);
                    }
                    let parts = fields.iter().filter(|(name, _)| *name != "examples" && *name != "example");
                    parts.for_each(|(_, value)| names(document, value, seen, found));
                }
                Value::Array(items) => items.iter().for_each(|value| names(document, value, seen, found)),
                _ => {}
            }
        }
        let document = document();
        let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
        for methods in document["paths"].as_object().unwrap().values() {
            for operation in methods.as_object().unwrap().values() {
                names(&document, &operation["requestBody"], &mut seen, &mut found);
            }
        }
        found
    }

    /// What reads requests, without spaces and tests.
    fn readers() -> Vec<String> {
        fn files(path: &Path, found: &mut Vec<PathBuf>) {
            if path.is_dir() {
                fs::read_dir(path).unwrap().for_each(|entry| files(&entry.unwrap().path(), found));
            } else if path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("openapi.rs") {
                found.push(path.to_owned());
            }
        }
        let (crate_folder, mut found) = (Path::new(env!("CARGO_MANIFEST_DIR")), Vec::new());
        files(&crate_folder.join("src/api"), &mut found);
        files(&crate_folder.join("../kit/src/openai.rs"), &mut found);
        files(&crate_folder.join("../../engine/src/text/tool_calls/mod.rs"), &mut found);
        let without_tests = |path: &PathBuf| {
            let text = fs::read_to_string(path).unwrap();
            text.split("#[cfg(test)]").next().unwrap().split_whitespace().collect()
        };
        found.iter().map(without_tests).collect()
    }

    /// The names that readers spell: of fields that they take out of an object, and of lists of them.
    fn read() -> BTreeSet<String> {
        const ONE: [&str; 7] = ["take", "text", "flag", "number", "whole", "typed", "require_text"];
        const LISTS: [&str; 5] =
            ["refuse(", "refuse(fields,", "refuse(&mutfields,", "one_of(fields,", "MAX_TOKENS:[&str;3]="];
        let mut found = BTreeSet::new();
        for text in readers() {
            for (before, behind) in text.match_indices("(\"").map(|(at, _)| (&text[..at], &text[at + 2..])) {
                let before =
                    before.rsplit_once("::<").filter(|_| before.ends_with('>')).map_or(before, |(b, _)| b);
                if ONE.iter().any(|one| before.ends_with(&format!(".{one}"))) {
                    found.extend(behind.split('"').next().map(str::to_owned));
                }
            }
            for list in LISTS {
                for behind in text.split(list).skip(1) {
                    let Some(names) = behind.strip_prefix("&[\"").or_else(|| behind.strip_prefix("[\""))
                    else {
                        continue;
                    };
                    let names = names.split(']').next().unwrap().split(['"', ',']);
                    found.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
                }
            }
        }
        found
    }

    #[test]
    fn it_has_all_fields_that_are_read_and_no_others() {
        let (described, read) = (described(), read());
        assert!(read.contains("messages") && read.contains("suffix") && read.contains("n_predict"));
        let missing: Vec<_> = read.difference(&described).collect();
        assert!(missing.is_empty(), "read, and not described: {missing:?}");
        // Some are not taken by a name that stands there, such as those of a tool.
        let all = readers().concat();
        let unread: Vec<_> = described.iter().filter(|name| !all.contains(&format!("\"{name}\""))).collect();
        assert!(unread.is_empty(), "described, and not read: {unread:?}");
    }
}
