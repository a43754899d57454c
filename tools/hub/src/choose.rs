//! Which files of a repository a name stands for.

use crate::name::is_path;
use crate::shown::shown;
use anyhow::{Result, anyhow, bail};
use siskin::gguf::ShardName;
use std::collections::BTreeMap;

/// What is taken where a name says nothing, in this order: what fits most machines, then what runs fastest, then the best.
const USUAL: [&str; 3] = ["Q4_K_M", "Q4_0", "Q8_0"];

/// A model in a repository: a file, or its parts in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Paths of the files.
    pub(crate) files: Vec<String>,
    /// Its quantization, as the file's name has it.
    pub(crate) label: Option<String>,
}

/// The model that `tag` stands for among the paths of a repository.
///
/// # Errors
/// None, and several; a file that is there, but no language model; parts that are missing.
pub(crate) fn choose<'p>(paths: impl IntoIterator<Item = &'p str>, tag: Option<&str>) -> Result<Choice> {
    let files: Vec<&str> = paths.into_iter().filter(|path| is_gguf(path) && is_path(path)).collect();
    if let Some(aside) = files.iter().find(|path| is_aside(path) && tag.is_some_and(|tag| is_file(path, tag)))
    {
        bail!("{} is no language model by itself", shown(aside));
    }
    let models = models(files.into_iter().filter(|path| !is_aside(path)));
    if models.is_empty() {
        bail!("it has no GGUF file");
    }
    let found = match tag {
        Some(tag) => tagged(&models, tag),
        None => usual(&models),
    };
    match found.as_slice() {
        [one] => whole(one, &models),
        [] => Err(anyhow!("it has {}", list(&models))),
        several => {
            let files: Vec<_> =
                several.iter().filter_map(|choice| Some(shown(choice.files.first()?))).collect();
            Err(anyhow!("several files may be meant: {}", files.join(", ")))
        }
    }
}

/// All that the tag may mean; the first rule that finds something counts.
fn tagged<'m>(models: &'m [Choice], tag: &str) -> Vec<&'m Choice> {
    let by =
        |means: &dyn Fn(&Choice) -> bool| models.iter().filter(|choice| means(choice)).collect::<Vec<_>>();
    let upper = tag.to_ascii_uppercase();
    let label = |choice: &Choice| choice.label.clone().unwrap_or_default();
    let rules: [&dyn Fn(&Choice) -> bool; 5] = [
        &|choice| choice.files.iter().any(|file| file == tag),
        &|choice| choice.files.iter().any(|file| is_file(file, tag)),
        &|choice| label(choice) == upper,
        &|choice| label(choice).strip_prefix("UD-") == Some(&upper),
        &|choice| choice.files.first().is_some_and(|file| contains_word(&file.to_ascii_uppercase(), &upper)),
    ];
    rules.into_iter().map(by).find(|found| !found.is_empty()).unwrap_or_default()
}

fn usual(models: &[Choice]) -> Vec<&Choice> {
    let plain = USUAL.into_iter().map(|label| (label, false));
    let dynamic = USUAL.into_iter().map(|label| (label, true));
    let labelled = |(usual, dynamic): (&str, bool)| {
        let is_usual = |label: &str| match dynamic {
            true => label.strip_prefix("UD-") == Some(usual),
            false => label == usual,
        };
        models.iter().filter(|choice| choice.label.as_deref().is_some_and(is_usual)).collect::<Vec<_>>()
    };
    let found = plain.chain(dynamic).map(labelled).find(|found| !found.is_empty());
    found.unwrap_or_else(|| if models.len() == 1 { models.iter().collect() } else { Vec::new() })
}

/// The choice, if it has all its parts. It keeps a label that tells it from all others.
fn whole(choice: &Choice, models: &[Choice]) -> Result<Choice> {
    for (index, file) in choice.files.iter().enumerate() {
        let Some(part) = ShardName::parse(file) else { continue };
        if part.number as usize != index + 1 || part.count as usize != choice.files.len() {
            let (stem, count) = (shown(part.stem), part.count);
            bail!("{stem}: {} of its {count} parts are there", choice.files.len());
        }
    }
    let alike = models.iter().filter(|other| other.label == choice.label).count();
    Ok(Choice { label: choice.label.clone().filter(|_| alike == 1), ..choice.clone() })
}

/// What there is, for who has to choose.
fn list(models: &[Choice]) -> String {
    const MOST: usize = 24;
    let mut names: Vec<String> = models
        .iter()
        .filter_map(|choice| choice.label.clone().or_else(|| Some(shown(choice.files.first()?))))
        .collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(MOST);
    names.truncate(MOST);
    let names = names.join(", ");
    if more > 0 { format!("{names} and {more} more") } else { names }
}

/// The models that files belong to: parts of one are put together.
fn models<'p>(files: impl Iterator<Item = &'p str>) -> Vec<Choice> {
    let mut sets: BTreeMap<(String, u32), Vec<&str>> = BTreeMap::new();
    for file in files {
        let (stem, count) = ShardName::parse(file).map_or((file, 0), |part| (part.stem, part.count));
        sets.entry((stem.to_owned(), count)).or_default().push(file);
    }
    let choice = |mut files: Vec<&str>| {
        files.sort_unstable();
        let label = files.first().and_then(|file| label(file));
        Choice { label, files: files.into_iter().map(str::to_owned).collect() }
    };
    sets.into_values().map(choice).collect()
}

fn is_gguf(path: &str) -> bool {
    let end = path.len().checked_sub(5).and_then(|at| path.get(at..));
    end.is_some_and(|end| end.eq_ignore_ascii_case(".gguf"))
}

fn is_file(path: &str, tag: &str) -> bool {
    let base = path.rsplit('/').next().unwrap_or_default();
    is_gguf(tag) && (path.eq_ignore_ascii_case(tag) || base.eq_ignore_ascii_case(tag))
}

/// GGUF files that come beside language models: projectors of images and sound, importance matrices.
fn is_aside(path: &str) -> bool {
    let base = path.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    base.contains("mmproj") || base.contains("imatrix")
}

/// The quantization that a path names: in the file's name, or in that of its folder.
pub(crate) fn label(path: &str) -> Option<String> {
    let path = ShardName::parse(path)
        .map_or_else(|| path.get(..path.len().saturating_sub(5)).unwrap_or(path), |part| part.stem);
    path.rsplit('/').find_map(|name| {
        let upper = name.to_ascii_uppercase();
        let words: Vec<&str> = upper.split(['-', '.', ' ']).collect();
        let (index, found) =
            words.iter().enumerate().rev().find_map(|(index, word)| Some((index, quantization(word)?)))?;
        let dynamic = index.checked_sub(1).and_then(|before| words.get(before)) == Some(&"UD");
        Some(if dynamic { format!("UD-{found}") } else { found.to_owned() })
    })
}

/// The quantization at the end of a word: `Q4_K_M` in `MODEL_Q4_K_M`.
fn quantization(word: &str) -> Option<&str> {
    let starts = word.match_indices('_').map(|(at, _)| at + 1);
    let is_type = |text: &str| {
        let bits = ["IQ", "TQ", "Q"].into_iter().find_map(|start| text.strip_prefix(start));
        ["F32", "F16", "BF16", "FP16", "MXFP4", "MXFP4_MOE"].contains(&text)
            || bits.is_some_and(|bits| {
                let mut parts = bits.split('_');
                parts
                    .next()
                    .is_some_and(|bits| bits.len() == 1 && bits.bytes().all(|byte| byte.is_ascii_digit()))
                    && parts.all(|part| (1..=4).contains(&part.len()))
            })
    };
    [0].into_iter().chain(starts).filter_map(|at| word.get(at..)).find(|text| is_type(text))
}

/// Whether `word` stands in `text` with nothing that could belong to it on either side.
fn contains_word(text: &str, word: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '_');
    !word.is_empty()
        && text.match_indices(word).any(|(at, _)| {
            let before = text.get(..at).and_then(|before| before.chars().next_back());
            let behind = text.get(at + word.len()..).and_then(|behind| behind.chars().next());
            ends(before) && ends(behind)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(paths: &[&str], tag: Option<&str>) -> Result<String, String> {
        let choice = choose(paths.iter().copied(), tag);
        choice.map(|choice| choice.files.join(" ")).map_err(|error| error.to_string())
    }

    const USUALLY: [&str; 6] = [
        ".gitattributes",
        "M-Q4_K_M.gguf",
        "M-Q4_0.gguf",
        "M-Q4_0_4_4.gguf",
        "M-IQ4_XS.gguf",
        "mmproj-M-Q8_0.gguf",
    ];

    #[test]
    fn a_tag_means_the_file_of_that_type() {
        for (tag, file) in [
            (None, "M-Q4_K_M.gguf"),
            (Some("q4_k_m"), "M-Q4_K_M.gguf"),
            (Some("Q4_0"), "M-Q4_0.gguf"),
            (Some("iq4_xs"), "M-IQ4_XS.gguf"),
            (Some("m-q4_0_4_4.gguf"), "M-Q4_0_4_4.gguf"),
        ] {
            assert_eq!(chosen(&USUALLY, tag).as_deref(), Ok(file), "{tag:?}");
        }
        // Neither a part of another type's name nor what is no language model.
        for tag in ["Q4_K", "Q4_XS", "Q8_0", "Q5_K_M", "latest", "4", "x.gguf"] {
            let said = chosen(&USUALLY, Some(tag)).unwrap_err();
            assert_eq!(said, "it has IQ4_XS, Q4_0, Q4_0_4_4, Q4_K_M", "{tag}");
        }
        let said = chosen(&USUALLY, Some("mmproj-M-Q8_0.gguf")).unwrap_err();
        assert_eq!(said, "mmproj-M-Q8_0.gguf is no language model by itself");
    }

    #[test]
    fn without_a_tag_the_usual_types_come_first_and_then_the_only_one() {
        assert_eq!(chosen(&["a-Q8_0.gguf", "a-q4_0.gguf"], None).as_deref(), Ok("a-q4_0.gguf"));
        assert_eq!(chosen(&["a-F16.gguf", "a_q8_0.gguf"], None).as_deref(), Ok("a_q8_0.gguf"));
        assert_eq!(chosen(&["model.GGUF", "mmproj.gguf"], None).as_deref(), Ok("model.GGUF"));
        assert_eq!(chosen(&["a-F16.gguf", "b-F32.gguf"], None), Err("it has F16, F32".into()));
        assert_eq!(
            chosen(&["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"], None),
            Err("several files may be meant: a-Q4_K_M.gguf, b-Q4_K_M.gguf".into())
        );
        let dynamic = ["a-UD-Q8_0.gguf", "a-UD-Q4_K_M.gguf"];
        assert_eq!(chosen(&dynamic, None).as_deref(), Ok("a-UD-Q4_K_M.gguf"));
        assert_eq!(chosen(&dynamic, Some("q8_0")).as_deref(), Ok("a-UD-Q8_0.gguf"));
        assert_eq!(chosen(&["model.safetensors"], None), Err("it has no GGUF file".into()));
    }

    #[test]
    fn parts_are_one_model() {
        let parts = ["Q4_0/m-00002-of-00002.gguf", "Q4_0/m-00001-of-00002.gguf", "m-Q8_0.gguf"];
        let both = "Q4_0/m-00001-of-00002.gguf Q4_0/m-00002-of-00002.gguf";
        for tag in [None, Some("Q4_0"), Some("m-00002-of-00002.gguf"), Some("Q4_0/m-00001-of-00002.gguf")] {
            assert_eq!(chosen(&parts, tag).as_deref(), Ok(both), "{tag:?}");
        }
        assert_eq!(
            chosen(&["m-Q4_0-00001-of-00003.gguf", "m-Q4_0-00003-of-00003.gguf"], None),
            Err("m-Q4_0: 2 of its 3 parts are there".into())
        );
    }

    #[test]
    fn hostile_names_are_no_files() {
        let paths = ["../m-Q4_0.gguf", "/m-Q4_0.gguf", "a//m-Q4_0.gguf", "m-Q4_0\x1b.gguf", "a\\m-Q4_0.gguf"];
        assert_eq!(chosen(&paths, None), Err("it has no GGUF file".into()));
        assert_eq!(
            chosen(&["ü", "€.gguf", "ü.gguf", ".gguf"], Some("Q4_0")),
            Err("it has .gguf, ü.gguf, €.gguf".into())
        );
    }

    #[test]
    fn labels_are_found_where_people_put_them() {
        for (path, expected) in [
            ("Model-1.7B-Instruct.Q4_1.gguf", Some("Q4_1")),
            ("smollm2-135m_q8_0.gguf", Some("Q8_0")),
            ("M-UD-Q4_K_XL.gguf", Some("UD-Q4_K_XL")),
            ("BF16/M-00001-of-00002.gguf", Some("BF16")),
            ("Qwen3-0.6B.gguf", None),
            ("gpt-oss-mxfp4.gguf", Some("MXFP4")),
            ("ggml-model-i2_s.gguf", None),
        ] {
            assert_eq!(label(path).as_deref(), expected, "{path}");
        }
    }
}
