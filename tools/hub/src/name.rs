use crate::address::Address;
use anyhow::{Result, bail};
use std::fmt;

/// What a user calls a model that is no path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `hf.co/ORG/REPO` or `hf.co/ORG/REPO:TAG`: a repository of the hub.
    Hub(HubName),
    /// The address of a GGUF file.
    Address(Address),
}

/// A model in a repository of the Hugging Face hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HubName {
    pub(crate) org: String,
    pub(crate) repo: String,
    /// Which file of it: a quantization such as `Q4_K_M`, or the file's name.
    pub(crate) tag: Option<String>,
}

/// What names of the hub begin with.
const HUB: [&str; 7] = [
    "hf.co/",
    "hf:",
    "huggingface.co/",
    "https://hf.co/",
    "https://huggingface.co/",
    "http://hf.co/",
    "http://huggingface.co/",
];

impl Name {
    /// Reads a name; None of what looks like none, and may be a path.
    ///
    /// # Errors
    /// What begins as a name and is none.
    pub fn parse(text: &str) -> Result<Option<Name>> {
        if let Some(rest) = HUB.into_iter().find_map(|start| strip_start(text, start)) {
            if let Some(name) = HubName::parse(rest)? {
                return Ok(Some(Name::Hub(name)));
            }
        } else if !["http://", "https://"].into_iter().any(|start| strip_start(text, start).is_some()) {
            return Ok(None);
        }
        Ok(Some(Name::Address(Address::parse(text)?)))
    }
}

fn strip_start<'t>(text: &'t str, start: &str) -> Option<&'t str> {
    let (first, rest) = text.split_at_checked(start.len())?;
    first.eq_ignore_ascii_case(start).then_some(rest)
}

impl HubName {
    /// Reads what stands behind `hf.co/`. None of a file in another revision than `main`, which is an address.
    fn parse(rest: &str) -> Result<Option<HubName>> {
        const EXPECTED: &str = "expected hf.co/ORG/REPO, with :QUANT or :FILE.gguf behind it or not";
        let rest = rest.split(['?', '#']).next().unwrap_or_default();
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag.to_owned())),
            None => (rest, None),
        };
        let mut parts = path.trim_end_matches('/').splitn(3, '/');
        let (Some(org), Some(repo)) = (parts.next(), parts.next()) else { bail!(EXPECTED) };
        // As in a browser's address line.
        let file = match parts.next() {
            None | Some("tree/main") => None,
            Some(file) => {
                let page = ["resolve/", "blob/", "raw/"].into_iter().find_map(|page| file.strip_prefix(page));
                match page.map(|page| page.strip_prefix("main/")) {
                    Some(None) => return Ok(None),
                    Some(Some(file)) => Some(file.to_owned()),
                    None => Some(file.to_owned()),
                }
            }
        };
        let tag = match (tag, file) {
            (Some(_), Some(_)) => bail!(EXPECTED),
            (tag, file) => tag.or(file),
        };
        if ![org, repo].into_iter().all(is_name) || tag.as_deref().is_some_and(|tag| !is_path(tag)) {
            bail!(EXPECTED);
        }
        Ok(Some(HubName { org: org.to_owned(), repo: repo.to_owned(), tag }))
    }

    /// The repository's name.
    pub(crate) fn repository(&self) -> String {
        format!("{}/{}", self.org, self.repo)
    }

    /// Whether both are of one repository.
    pub(crate) fn is_beside(&self, other: &HubName) -> bool {
        self.repository().eq_ignore_ascii_case(&other.repository())
    }

    /// Whether both say the same file, in any case.
    pub(crate) fn same_tag(&self, other: &HubName) -> bool {
        let (Some(one), Some(other)) = (&self.tag, &other.tag) else { return false };
        one.eq_ignore_ascii_case(other)
    }

    /// The same model in full.
    pub(crate) fn with_tag(&self, tag: &str) -> HubName {
        HubName { tag: Some(tag.to_owned()), ..self.clone() }
    }
}

/// Whether the hub may have a user or a repository of this name.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=96).contains(&name.len())
        && name.chars().all(allowed)
        && !name.starts_with(['.', '-'])
        && !name.contains("..")
}

/// Whether this is the path of a file in a repository, in which no part leads elsewhere.
pub(crate) fn is_path(path: &str) -> bool {
    let allowed = |c: char| !c.is_control() && !"\\:?#\u{fffd}".contains(c);
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    (1..=512).contains(&path.len()) && path.chars().all(allowed) && path.split('/').all(part)
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hf.co/{}/{}", self.org, self.repo)?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Hub(name) => name.fmt(f),
            Name::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hub_are_read_as_people_write_them() {
        for (text, name) in [
            ("hf.co/a/b", "hf.co/a/b"),
            ("hf.co/a/b/", "hf.co/a/b"),
            ("hf:a/b:q4_0", "hf.co/a/b:q4_0"),
            ("HuggingFace.co/a/b.c-d_e:f.gguf", "hf.co/a/b.c-d_e:f.gguf"),
            ("https://huggingface.co/a/b", "hf.co/a/b"),
            ("https://huggingface.co/a/b/tree/main", "hf.co/a/b"),
            ("https://huggingface.co/a/b/blob/main/c/d.gguf?download=true", "hf.co/a/b:c/d.gguf"),
            ("https://hf.co/a/b/resolve/main/d.gguf", "hf.co/a/b:d.gguf"),
            ("hf.co/a/b/d.gguf", "hf.co/a/b:d.gguf"),
            ("https://hf.co/a/b/resolve/v1/d.gguf", "https://hf.co/a/b/resolve/v1/d.gguf"),
            ("http://a.b/c.gguf#d", "http://a.b/c.gguf"),
        ] {
            assert_eq!(Name::parse(text).unwrap().unwrap().to_string(), name, "{text}");
        }
    }

    #[test]
    fn paths_are_no_names() {
        for text in ["", "a", "model.gguf", "a/b", "./hf.co/a/b", "hf.c", "/hf.co/a/b", "hf", "http:/a", "ü"]
        {
            assert_eq!(Name::parse(text).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn what_begins_as_a_name_and_is_none_is_refused() {
        for text in [
            "hf.co/",
            "hf.co/a",
            "hf.co/a/",
            "hf.co//b",
            "hf.co/../b",
            "hf.co/a/..",
            "hf.co/a/b:",
            "hf.co/a/b:../c",
            "hf.co/a/b:/c",
            "hf.co/a/b:c//d",
            "hf.co/a b/c",
            "hf.co/a/b:\u{1b}",
            "hf.co/a/b/c.gguf:d",
            "hf:a/b:c:d",
            "http://",
            "https://u:p@a/b",
            "hf.co/a/b/../../c",
        ] {
            assert!(Name::parse(text).is_err(), "{text}");
        }
    }
}
