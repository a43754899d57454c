//! Models that are split over several files, as llama.cpp's `gguf-split` and its converter write them: shards called
//! `NAME-00001-of-00003.gguf` and so on, each a GGUF file of its own. The first has the model's metadata, and each says in
//! three keys which it is, how many there are, and how many tensors all have together.

use super::catalog::Catalog;
use super::error::{GgufError, SplitProblem};
use super::scan::MAX_ENTRIES;
use super::{Gguf, Open, Shard};
use std::path::{Path, PathBuf};

/// The key that says which shard of a split model a file is, counted from 0.
pub const SPLIT_NUMBER_KEY: &str = "split.no";
/// The key that says how many shards there are.
pub const SPLIT_COUNT_KEY: &str = "split.count";
/// The key that says how many tensors all shards have together.
pub const SPLIT_TENSORS_KEY: &str = "split.tensors.count";
/// What these keys begin with.
pub const SPLIT_KEYS: &str = "split.";
/// The most shards of a model that are read: the largest models published have some two hundred.
pub const MAX_SHARDS: u32 = 1024;

/// The path of a shard, or its name: `NAME-00001-of-00003.gguf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardName<'a> {
    /// The path without what makes it one: `NAME`.
    pub stem: &'a str,
    /// Which of the shards it is, counted from 1.
    pub number: u32,
    /// How many there are.
    pub count: u32,
}

impl<'a> ShardName<'a> {
    /// What a path says; None of one that is no shard's.
    pub fn parse(path: &'a str) -> Option<ShardName<'a>> {
        const DIGITS: usize = 5;
        const END: &str = ".gguf";
        let (stem, end) = path.split_at_checked(path.len().checked_sub(END.len())?)?;
        let digits = |text: &str| {
            let number = (text.len() == DIGITS).then(|| text.parse::<u32>().ok())?;
            number.filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (stem, number) = rest.rsplit_once('-')?;
        let (number, count) = (digits(number)?, digits(count)?);
        let is_one = end.eq_ignore_ascii_case(END) && (1..=count).contains(&number);
        is_one.then_some(ShardName { stem, number, count })
    }

    /// The path of another shard of the same model.
    pub fn other(&self, number: u32) -> String {
        format!("{}{}", self.stem, end_of_name(number, self.count))
    }
}

/// What the name of a shard ends with.
pub(super) fn end_of_name(number: u32, count: u32) -> String {
    format!("-{number:05}-of-{count:05}.gguf")
}

/// The paths of all shards of the model that the file at `path` is a shard of by its name, in order, `path` among them;
/// None of a file with another name. A link counts as what it is called, or else as what it leads to.
pub fn shards(path: &Path) -> Option<Vec<PathBuf>> {
    numbered_shards(path).map(|(_, paths)| paths)
}

/// The same with which of them `path` is, counted from 1.
fn numbered_shards(path: &Path) -> Option<(u32, Vec<PathBuf>)> {
    let called_so = |path: &Path| {
        let name = ShardName::parse(path.file_name()?.to_str()?)?;
        let other = |number| match number == name.number {
            true => path.to_owned(),
            false => path.with_file_name(name.other(number)),
        };
        (name.count <= MAX_SHARDS).then(|| (name.number, (1..=name.count).map(other).collect()))
    };
    called_so(path).or_else(|| called_so(&path.canonicalize().ok()?))
}

/// What a shard says of itself.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// Counted from 0.
    number: u32,
    count: u32,
    tensors: u32,
}

impl Place {
    /// None of a whole model.
    fn of(file: &Gguf) -> Result<Option<Place>, GgufError> {
        match file.u32(SPLIT_COUNT_KEY)? {
            None | Some(0 | 1) => Ok(None),
            Some(count) => Ok(Some(Place {
                number: file.require_u32(SPLIT_NUMBER_KEY)?,
                count,
                tensors: file.require_u32(SPLIT_TENSORS_KEY)?,
            })),
        }
    }
}

/// Refuses a shard, where there are no others.
pub(super) fn expect_whole(file: Gguf) -> Result<Gguf, GgufError> {
    match Place::of(&file)? {
        None => Ok(file),
        Some(Place { number, count, .. }) => {
            let number = number.saturating_add(1);
            Err(fault(&file.name, SplitProblem::Alone { number, count }))
        }
    }
}

/// The model that `given` is, or is a shard of. Its other shards are opened by `open`.
pub(super) fn complete(given: Gguf, open: Open) -> Result<Gguf, GgufError> {
    let Some(place) = Place::of(&given)? else { return Ok(given) };
    let paths = places(&given, place)?;
    let name = given.name.clone();
    let mut given = Some(given);
    let mut whole = Joined { place, first: None, rest: Vec::new(), tensors: 0 };
    for (number, path) in (0..).zip(&paths) {
        let shard = match given.take_if(|_| number == place.number) {
            Some(given) => given,
            None => other(&name, path, place, number, open)?,
        };
        whole.push(number, shard)?;
    }
    whole.finish(name)
}

/// Where the shards are, in order.
fn places(given: &Gguf, place: Place) -> Result<Vec<PathBuf>, GgufError> {
    let Place { number, count, .. } = place;
    if given.has_another_behind() {
        return Err(fault(&given.name, SplitProblem::Joined { count }));
    }
    if count > MAX_SHARDS {
        return Err(fault(&given.name, SplitProblem::Count { most: MAX_SHARDS, found: count }));
    }
    let number = number.saturating_add(1);
    match numbered_shards(&given.first.path) {
        Some((named, paths)) if named == number && paths.len() == count as usize => Ok(paths),
        _ => Err(fault(&given.name, SplitProblem::Name { number, count })),
    }
}

/// Opens shard `number` of the model, which `given` is another one of.
fn other(given: &str, path: &Path, place: Place, number: u32, open: Open) -> Result<Gguf, GgufError> {
    if matches!(path.try_exists(), Ok(false)) {
        let path = path.display().to_string();
        return Err(fault(given, SplitProblem::Missing { number: number + 1, count: place.count, path }));
    }
    let shard = Gguf::load(path, open)?;
    let expected =
        [(SPLIT_NUMBER_KEY, number), (SPLIT_COUNT_KEY, place.count), (SPLIT_TENSORS_KEY, place.tensors)];
    for (key, expected) in expected {
        let found = shard.u32(key)?;
        if found != Some(expected) {
            return Err(fault(
                &shard.name,
                SplitProblem::Foreign { given: given.to_owned(), key, expected, found },
            ));
        }
    }
    Ok(shard)
}

/// Shards that become one model.
struct Joined {
    place: Place,
    first: Option<(Shard, Catalog)>,
    rest: Vec<Shard>,
    /// How many there are so far.
    tensors: u64,
}

impl Joined {
    fn push(&mut self, number: u32, shard: Gguf) -> Result<(), GgufError> {
        let Gguf { name, first, catalog, .. } = shard;
        self.tensors += catalog.tensors().len() as u64;
        // It bounds the memory that shards without end could take.
        if self.tensors > MAX_ENTRIES {
            let problem = SplitProblem::Tensors { expected: self.place.tensors.into(), found: self.tensors };
            return Err(fault(&name, problem));
        }
        match &mut self.first {
            None => self.first = Some((first, catalog)),
            Some((_, all)) => {
                all.append(number as usize, catalog);
                // Their keys say nothing about the model.
                self.rest.push(Shard { metadata: None, ..first });
            }
        }
        Ok(())
    }

    /// The whole model, called `name`.
    fn finish(self, name: String) -> Result<Gguf, GgufError> {
        let expected = u64::from(self.place.tensors);
        if self.tensors != expected {
            return Err(fault(&name, SplitProblem::Tensors { expected, found: self.tensors }));
        }
        let nothing = || fault(&name, SplitProblem::Tensors { expected, found: 0 });
        let (first, mut catalog) = self.first.ok_or_else(nothing)?;
        if let Err((tensor, one, other)) = catalog.finish_joining(SPLIT_KEYS) {
            let (one, other) = (one + 1, other + 1);
            return Err(fault(&name, SplitProblem::Duplicate { tensor, one, other }));
        }
        Ok(Gguf { name, first, rest: self.rest, catalog })
    }
}

fn fault(file: &str, problem: SplitProblem) -> GgufError {
    GgufError::Split { file: file.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_which_shard_of_how_many() {
        let name = ShardName::parse("Q4_0/m-00002-of-00003.gguf").unwrap();
        assert_eq!(name, ShardName { stem: "Q4_0/m", number: 2, count: 3 });
        assert_eq!(name.other(3), "Q4_0/m-00003-of-00003.gguf");
        assert_eq!(ShardName::parse("-00001-of-00001.GGUF").unwrap().stem, "");
        for none in [
            "m-0001-of-00002.gguf",
            "m-00003-of-00002.gguf",
            "m-00000-of-00002.gguf",
            "m-+0001-of-00002.gguf",
            "m-00001-of-00002.bin",
            "-of-.gguf",
            "€",
            "",
        ] {
            assert_eq!(ShardName::parse(none), None, "{none}");
        }
    }

    #[test]
    fn the_others_are_beside_it() {
        let paths = |path: &str| shards(Path::new(path));
        let both = ["a/m-00001-of-00002.gguf", "a/m-00002-of-00002.gguf"].map(PathBuf::from).to_vec();
        assert_eq!(paths("a/m-00001-of-00002.gguf"), Some(both.clone()));
        assert_eq!(paths("a/m-00002-of-00002.gguf"), Some(both));
        assert_eq!(paths("a/m.gguf"), None);
        assert_eq!(paths("a/m-00001-of-99999.gguf"), None);
    }
}
