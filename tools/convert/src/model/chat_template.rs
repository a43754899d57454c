//! The chat templates of a Hugging Face folder: those that transformers finds there.

use super::document::Document;
use super::metadata::{Metadata, strings};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file of the template that serves all conversations.
const FILE: &str = "chat_template.jinja";
/// The folder of others, which are called as their files are.
pub(super) const FOLDER: &str = "additional_chat_templates";
/// What the template that serves all conversations is called among others.
const DEFAULT: &str = "default";
/// The key of that template, and before a dot and a name those of others.
const KEY: &str = "tokenizer.chat_template";
/// The key of the others' names.
const NAMES: &str = "tokenizer.chat_templates";

/// Writes the templates. Where any is a file of its own, `tokenizer_config.json` has none.
///
/// # Errors
/// Files that cannot be read, names that GGUF does not tell apart, and entries without name or template.
pub(super) fn write(folder: &Path, config: Option<&Document<'_>>, metadata: &mut Metadata) -> Result<()> {
    let mut templates = of_files(folder)?;
    if templates.is_empty() {
        templates = config.map(of_config).transpose()?.unwrap_or_default();
    }
    if let Some(template) = templates.remove(DEFAULT) {
        metadata.set(KEY, template.as_str());
    }
    let mut names: Vec<String> = Vec::new();
    for (name, template) in templates {
        let key: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        ensure!(!names.contains(&key), "chat templates: expected one that GGUF calls {key}, found another");
        metadata.set(&format!("{KEY}.{key}"), template.as_str());
        names.push(key);
    }
    if !names.is_empty() {
        metadata.set(NAMES, strings(names));
    }
    Ok(())
}

/// The folder's files of templates, by name.
fn of_files(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut templates = BTreeMap::new();
    if let Some(template) = read(&folder.join(FILE))? {
        templates.insert(DEFAULT.to_owned(), template);
    }
    for path in files(&folder.join(FOLDER))? {
        let Some(name) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".jinja")) else {
            continue;
        };
        if let Some(template) = read(&path)? {
            templates.insert(name.to_owned(), template);
        }
    }
    Ok(templates)
}

/// What is in a folder, which need not be there.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect(),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    };
    read().with_context(|| folder.display().to_string())
}

/// A template in a file, which need not be there, with its lines ended as Python ends them.
fn read(path: &Path) -> Result<Option<String>> {
    let bytes = match siskin_kit::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| path.display().to_string())?,
    };
    let template = String::from_utf8(bytes).with_context(|| path.display().to_string())?;
    Ok(Some(template.replace("\r\n", "\n").replace('\r', "\n")))
}

/// Those of `tokenizer_config.json`, by name: one text, or several, in a list or an object. Of two with a name it is the
/// last.
fn of_config(config: &Document<'_>) -> Result<BTreeMap<String, String>> {
    let entry =
        |name: &Value, template: &Value| Some((name.as_str()?.to_owned(), template.as_str()?.to_owned()));
    let templates = match config.get("chat_template") {
        None => Some(BTreeMap::new()),
        Some(Value::String(template)) => Some(BTreeMap::from([(DEFAULT.to_owned(), template.clone())])),
        Some(Value::Array(list)) => {
            list.iter().map(|of| entry(of.get("name")?, of.get("template")?)).collect()
        }
        Some(Value::Object(named)) => {
            named.iter().map(|(name, template)| Some((name.clone(), template.as_str()?.to_owned()))).collect()
        }
        Some(_) => bail!("{}: chat_template: expected a string or a list", config.name()),
    };
    templates
        .with_context(|| format!("{}: chat_template: expected entries with name and template", config.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use siskin::gguf::Gguf;
    use siskin::template::{ChatTemplate, Json, Message, Rendering};
    use std::str::FromStr;

    /// What `transformers` makes of folders: `tests/goldens/chat_template/make_chat_template_goldens.py`.
    const GOLDENS: &str = include_str!("../../tests/goldens/chat_template/chat_templates.json");

    fn config(template: &Value) -> Document<'static> {
        Document::owned("tokenizer_config.json", json!({"chat_template": template})).unwrap()
    }

    fn converted(config: &Value, files: &Value) -> Result<Metadata> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files.as_object().unwrap() {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text.as_str().unwrap()).unwrap();
        }
        let mut metadata = Metadata::default();
        write(folder.path(), Some(&self::config(config)), &mut metadata)?;
        Ok(metadata)
    }

    /// What a conversation becomes: the templates of the goldens are texts that stay as they are.
    fn rendered(file: &Gguf, tools: bool) -> Option<String> {
        let tools = tools.then(|| vec![Json::from_str("{}").unwrap()]);
        let rendering = Rendering::default().tools(tools);
        let template = ChatTemplate::from_gguf(file).unwrap();
        template.render_with(&[Message::new("user", "hello")], &rendering).ok()
    }

    #[test]
    fn templates_are_those_that_transformers_finds() {
        let cases: Vec<Value> = serde_json::from_str(GOLDENS).unwrap();
        assert!(cases.len() > 15);
        for case in &cases {
            let name = case["name"].as_str().unwrap();
            let metadata = converted(&case["config"], &case["files"]).unwrap();
            let builder = metadata.into_builder().unwrap();
            let bytes = builder.start(Vec::new()).unwrap().finish().unwrap();
            let file = Gguf::from_bytes(name, bytes).unwrap();
            let templates = case["templates"].as_object().unwrap();
            let mut found = BTreeMap::new();
            for (key, value) in file.metadata().filter(|(key, _)| key.starts_with(KEY) && *key != NAMES) {
                let called = key.strip_prefix(KEY).and_then(|key| key.strip_prefix('.')).unwrap_or(DEFAULT);
                found.insert(called, str::from_utf8(value.as_bytes().unwrap()).unwrap());
            }
            let expected =
                templates.iter().map(|(name, template)| (name.as_str(), template.as_str().unwrap()));
            assert_eq!(found, expected.collect(), "{name}");
            if !templates.is_empty() {
                assert_eq!(rendered(&file, false).as_deref(), case["plain"].as_str(), "{name}");
                assert_eq!(rendered(&file, true).as_deref(), case["tools"].as_str(), "{name}");
            }
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (config, expected) in [
            (json!(1), "expected a string or a list"),
            (json!([{"name": "default"}]), "expected entries with name and template"),
            (json!({"default": 1}), "expected entries with name and template"),
            (json!({"a b": "", "a-b": ""}), "expected one that GGUF calls a_b, found another"),
        ] {
            let error = converted(&config, &json!({})).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
