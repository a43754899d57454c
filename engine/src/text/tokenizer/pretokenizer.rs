//! Pre-tokenizers: how a byte-level vocabulary's text is cut into words before any merging.
//!
//! Each is published as one or more regular expressions, quoted here beside the scanner that does the same by hand in
//! one pass over the bytes. Names and which pattern they mean are llama.cpp's (`tokenizer.ggml.pre`).

use super::class::{Case, Class, case_at, class_at};

/// Llama 3's words; runs of digits are cut in threes from their start.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen2's words: Llama 3's, but each digit is a word.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen3.5's words: Qwen2's, but combining marks are part of words.
const QWEN35: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-4o's words: as Llama 3's, but a capital begins a new one, contractions belong to the word before, and signs take
/// slashes with them.
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Tekken's words, those of Mistral since Nemo: GPT-4o's, but each digit is a word and there are no contractions.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-2's words; what Hugging Face's `ByteLevel` does with `use_regex`.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// A single digit, as a step of its own before [`GPT2`]: SmolLM, StarCoder.
const DIGIT: &str = r"\p{N}";

/// How text is cut into words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// [`LLAMA3`]
    Llama3,
    /// [`QWEN2`]
    Qwen2,
    /// [`QWEN35`]
    Qwen35,
    /// [`GPT4O`]
    Gpt4o,
    /// [`TEKKEN`]
    Tekken,
    /// [`GPT2`]
    Gpt2,
    /// [`DIGIT`], then [`GPT2`] on what is between the digits.
    Digits,
    /// llama.cpp's choice for files that name no pre-tokenizer, four steps each on the pieces of the one before:
    /// `[\p{P}\$\+<=>\^~\|]+`, then [`GPT2`], then `\p{N}+`, then `[0-9][0-9][0-9]`.
    Default,
}

/// A pre-tokenizer, with what else its name implies in llama.cpp.
#[derive(Clone, Copy, Debug)]
pub(super) struct PreTokenizer {
    pub(super) name: &'static str,
    pub(super) pattern: Pattern,
    /// A word that is in the vocabulary is taken whole, whatever the merges would do (`ignore_merges`).
    pub(super) whole_words: bool,
    /// Text is brought into Unicode's normalization form C first. GGUF files do not say it: it goes with the name, as
    /// in the Hugging Face tokenizers of the models that made the name known.
    pub(super) composes: bool,
    /// Text starts with the beginning-of-sequence token unless the file says otherwise.
    pub(super) add_bos: bool,
}

const fn plain(name: &'static str, pattern: Pattern) -> PreTokenizer {
    PreTokenizer { name, pattern, whole_words: false, composes: false, add_bos: false }
}

const fn composed(name: &'static str, pattern: Pattern) -> PreTokenizer {
    PreTokenizer { name, pattern, whole_words: false, composes: true, add_bos: false }
}

const fn llama3(name: &'static str) -> PreTokenizer {
    PreTokenizer { name, pattern: Pattern::Llama3, whole_words: true, composes: false, add_bos: true }
}

const KNOWN: &[PreTokenizer] = &[
    llama3("llama-bpe"),
    llama3("llama3"),
    llama3("llama-v3"),
    llama3("falcon3"),
    llama3("falcon-h1"),
    llama3("lfm2"),
    llama3("midm-2.0"),
    llama3("pixtral"),
    plain("smaug-bpe", Pattern::Llama3),
    plain("dbrx", Pattern::Llama3),
    plain("chatglm-bpe", Pattern::Llama3),
    plain("glm4", Pattern::Llama3),
    composed("qwen2", Pattern::Qwen2),
    plain("deepseek-r1-qwen", Pattern::Qwen2),
    plain("hunyuan", Pattern::Qwen2),
    plain("kormo", Pattern::Qwen2),
    plain("megrez", Pattern::Qwen2),
    plain("stablelm2", Pattern::Qwen2),
    composed("qwen35", Pattern::Qwen35),
    plain("gpt-4o", Pattern::Gpt4o),
    PreTokenizer { whole_words: true, add_bos: true, ..plain("tekken", Pattern::Tekken) },
    plain("gpt-2", Pattern::Gpt2),
    plain("a.x-4.0", Pattern::Gpt2),
    plain("exaone4", Pattern::Gpt2),
    plain("gigachat", Pattern::Gpt2),
    plain("granite-docling", Pattern::Gpt2),
    plain("jais", Pattern::Gpt2),
    plain("mellum", Pattern::Gpt2),
    plain("mpt", Pattern::Gpt2),
    plain("olmo", Pattern::Gpt2),
    plain("phi-2", Pattern::Gpt2),
    plain("trillion", Pattern::Gpt2),
    plain("smollm", Pattern::Digits),
    plain("starcoder", Pattern::Digits),
    plain("codeshell", Pattern::Digits),
    plain("command-r", Pattern::Digits),
    plain("exaone", Pattern::Digits),
    plain("mellum2", Pattern::Digits),
    plain("minerva-7b", Pattern::Digits),
    plain("refact", Pattern::Digits),
    plain("default", Pattern::Default),
];

impl PreTokenizer {
    /// The pre-tokenizer of this name.
    pub(super) fn named(name: &str) -> Option<PreTokenizer> {
        KNOWN.iter().find(|known| known.name == name).copied()
    }

    /// All names, separated by commas.
    pub(super) fn names() -> String {
        KNOWN.iter().map(|known| known.name).collect::<Vec<_>>().join(", ")
    }
}

/// One step of a pre-tokenizer as Hugging Face's `tokenizer.json` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreTokenizerStep {
    /// `Split` by this regular expression, each match a word of its own: behavior `Isolated`, not inverted (or
    /// `Removed` and inverted, which for an expression that matches everything is the same).
    Split(String),
    /// `Digits`
    Digits {
        /// `individual_digits`: each digit is a word, not each run of them.
        individual: bool,
    },
    /// `ByteLevel`
    ByteLevel {
        /// `use_regex`: split by GPT-2's expression first.
        use_regex: bool,
        /// `add_prefix_space`: text that starts with no space gets one. No GGUF name means this.
        add_prefix_space: bool,
    },
}

/// The name for `tokenizer.ggml.pre` that means these steps, read from a `tokenizer.json`, with the model's
/// `ignore_merges`; `None` if no supported pre-tokenizer does the same.
///
/// `composes` says whether text is brought into normalization form C before. Where no name means that too, one that
/// means the steps alone will do, as it does for llama.cpp: composed text, which nearly all text is, gives the same.
pub fn pre_tokenizer_for_pattern(
    steps: &[PreTokenizerStep],
    ignore_merges: bool,
    composes: bool,
) -> Option<&'static str> {
    let (last, before) = steps.split_last()?;
    let PreTokenizerStep::ByteLevel { use_regex, add_prefix_space: false } = *last else { return None };
    let pattern = match (before, use_regex) {
        ([], true) => Pattern::Gpt2,
        ([PreTokenizerStep::Split(regex)], false) => pattern_of(regex)?,
        ([PreTokenizerStep::Digits { individual: true }], true) => Pattern::Digits,
        ([PreTokenizerStep::Split(regex)], true) if regex == DIGIT => Pattern::Digits,
        _ => return None,
    };
    let same = |known: &&PreTokenizer| known.pattern == pattern && known.whole_words == ignore_merges;
    let exact = KNOWN.iter().filter(same).find(|known| known.composes == composes);
    exact.or_else(|| KNOWN.iter().find(same)).map(|known| known.name)
}

/// The pattern of one regular expression that matches all text, in either of the ways files spell it.
fn pattern_of(regex: &str) -> Option<Pattern> {
    const EITHER_CASE: &str = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
    const BOTH_CASES: &str = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
    let regex = regex.replace('\r', r"\r").replace('\n', r"\n").replace(BOTH_CASES, EITHER_CASE);
    match regex.as_str() {
        LLAMA3 => Some(Pattern::Llama3),
        QWEN2 => Some(Pattern::Qwen2),
        QWEN35 => Some(Pattern::Qwen35),
        GPT4O => Some(Pattern::Gpt4o),
        TEKKEN => Some(Pattern::Tekken),
        GPT2 => Some(Pattern::Gpt2),
        _ => None,
    }
}

impl Pattern {
    /// Cuts the text into words and hands each on, in order; together they are the whole text.
    pub(super) fn split(self, text: &[u8], mut word: impl FnMut(&[u8])) {
        match self {
            Pattern::Llama3 => words(text, |text, at| modern(text, at, 3, false), &mut word),
            Pattern::Qwen2 => words(text, |text, at| modern(text, at, 1, false), &mut word),
            Pattern::Qwen35 => words(text, |text, at| modern(text, at, 1, true), &mut word),
            Pattern::Gpt4o => words(text, |text, at| cased(text, at, 3, true), &mut word),
            Pattern::Tekken => words(text, |text, at| cased(text, at, 1, false), &mut word),
            Pattern::Gpt2 => words(text, gpt2, &mut word),
            Pattern::Digits => words(text, digit_or_between, &mut |part| words(part, gpt2, &mut word)),
            Pattern::Default => words(text, signs_or_between, &mut |part| {
                words(part, gpt2, &mut |part| {
                    words(part, digits_or_between, &mut |part| words(part, threes_or_between, &mut word));
                });
            }),
        }
    }
}

/// Cuts text where `end` says: given the text and where a word starts, where that word ends.
fn words(text: &[u8], end: impl Fn(&[u8], usize) -> usize, word: &mut impl FnMut(&[u8])) {
    let mut start = 0;
    while start < text.len() {
        // A scanner always takes at least a byte; were one ever not to, the loop still ends.
        let stop = end(text, start).clamp(start + 1, text.len());
        word(&text[start..stop]);
        start = stop;
    }
}

/// [`LLAMA3`], and its kin that differ in how many digits make a word and whether marks count as letters.
fn modern(text: &[u8], at: usize, most_digits: usize, marks: bool) -> usize {
    let is_letter = |class| class == Class::Letter || (marks && class == Class::Mark);
    let is_sign = |class: Class| class.is_sign() && !is_letter(class);
    if let Some(end) = contraction(text, at, true) {
        return end;
    }
    let Some((class, len)) = class_at(text, at) else { return at };
    let next = at + len;

    // [^\r\n\p{L}\p{N}]?\p{L}+
    let end = run(text, next, is_letter);
    if is_letter(class) || (end > next && !matches!(class, Class::Newline | Class::Number)) {
        return end;
    }
    // \p{N}{1,3}
    if class == Class::Number {
        return run_of_at_most(text, at, most_digits, |class| class == Class::Number);
    }
    //  ?[^\s\p{L}\p{N}]+[\r\n]*
    let end = run(text, next, is_sign);
    if is_sign(class) || (text[at] == b' ' && end > next) {
        return run(text, end, |class| class == Class::Newline);
    }
    white_space(text, at, true)
}

/// [`GPT4O`], and its kin that differ in how many digits make a word and whether contractions belong to the word before.
fn cased(text: &[u8], at: usize, most_digits: usize, contractions: bool) -> usize {
    let Some((class, len)) = class_at(text, at) else { return at };
    // The optional character before a word: kept where the word behind it is one.
    let before = !matches!(class, Class::Newline | Class::Letter | Class::Number);
    let starts = [before.then_some(at + len), Some(at)].into_iter().flatten();
    let word = starts.clone().find_map(|start| cased_word(text, start));
    if let Some(end) = word.or_else(|| starts.clone().find_map(|start| capitals(text, start))) {
        return contraction(text, end, true).filter(|_| contractions).unwrap_or(end);
    }
    if class == Class::Number {
        return run_of_at_most(text, at, most_digits, |class| class == Class::Number);
    }
    //  ?[^\s\p{L}\p{N}]+[\r\n/]*
    let end = run(text, at + len, Class::is_sign);
    if class.is_sign() || (text[at] == b' ' && end > at + len) {
        let tail = text[end..].iter().take_while(|byte| b"\r\n/".contains(byte));
        return end + tail.count();
    }
    white_space(text, at, true)
}

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`: where it ends, if there is one here. The first run gives back
/// as many characters as the second one needs to begin.
fn cased_word(text: &[u8], start: usize) -> Option<usize> {
    let (mut end, mut after_either) = (start, None);
    while let Some((case, len)) = case_at(text, end).filter(|(case, _)| *case != Case::Lower) {
        end += len;
        if case == Case::Either {
            after_either = Some(end);
        }
    }
    let mut lower = end;
    while let Some((_, len)) = case_at(text, lower).filter(|(case, _)| *case != Case::Upper) {
        lower += len;
    }
    if lower > end { Some(lower) } else { after_either }
}

/// `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+`, which no small letters follow: they would make a [`cased_word`].
fn capitals(text: &[u8], start: usize) -> Option<usize> {
    let mut end = start;
    while let Some((_, len)) = case_at(text, end).filter(|(case, _)| *case != Case::Lower) {
        end += len;
    }
    (end > start).then_some(end)
}

/// [`GPT2`]
fn gpt2(text: &[u8], at: usize) -> usize {
    if let Some(end) = contraction(text, at, false) {
        return end;
    }
    let start = if text[at] == b' ' { at + 1 } else { at };
    let is_kind: fn(Class) -> bool = match class_at(text, start) {
        Some((Class::Letter, _)) => |class| class == Class::Letter,
        Some((Class::Number, _)) => |class| class == Class::Number,
        Some((class, _)) if class.is_sign() => Class::is_sign,
        _ => return white_space(text, at, false),
    };
    run(text, start, is_kind)
}

/// `'s|'t|'re|'ve|'m|'ll|'d`: where it ends, if there is one here.
///
/// In `either_case` the long s is an s too: Unicode's case folding, which the expression asks for, says so.
fn contraction(text: &[u8], at: usize, either_case: bool) -> Option<usize> {
    let [b'\'', rest @ ..] = text.get(at..)? else { return None };
    let fold = |byte: u8| if either_case { byte.to_ascii_lowercase() } else { byte };
    let len = match *rest {
        [a, b, ..] if matches!([fold(a), fold(b)], [b'r' | b'v', b'e'] | [b'l', b'l']) => 2,
        [a, ..] if matches!(fold(a), b's' | b't' | b'm' | b'd') => 1,
        [..] if either_case && rest.starts_with("ſ".as_bytes()) => "ſ".len(),
        _ => return None,
    };
    Some(at + 1 + len)
}

/// `\s*[\r\n]+|\s+(?!\S)|\s+` with `lines`, `\s+(?!\S)|\s+` without: where the word ends that starts with the white
/// space at `at`. With `lines` that is after the run's last line end. Else the last character of a longer run is left
/// to the word behind it, if there is one.
fn white_space(text: &[u8], at: usize, lines: bool) -> usize {
    let (mut end, mut last, mut after_line) = (at, at, None);
    while let Some((class, len)) = class_at(text, end).filter(|(class, _)| class.is_white()) {
        last = end;
        end += len;
        if class == Class::Newline {
            after_line = Some(end);
        }
    }
    match after_line.filter(|_| lines) {
        Some(after_line) => after_line,
        None if end < text.len() && last > at => last,
        None => end,
    }
}

/// Where the run of characters of a kind ends that starts at `at`; `at` if there is none.
fn run(text: &[u8], at: usize, is_kind: impl Fn(Class) -> bool) -> usize {
    run_of_at_most(text, at, usize::MAX, is_kind)
}

/// Where a run ends that is cut after `most` characters.
fn run_of_at_most(text: &[u8], at: usize, most: usize, is_kind: impl Fn(Class) -> bool) -> usize {
    let mut end = at;
    for _ in 0..most {
        match class_at(text, end) {
            Some((class, len)) if is_kind(class) => end += len,
            _ => break,
        }
    }
    end
}

/// A run of a kind, or else the run of everything that is not of the kind.
fn run_or_between(text: &[u8], at: usize, is_kind: impl Fn(Class) -> bool) -> usize {
    match run(text, at, &is_kind) {
        end if end > at => end,
        _ => run(text, at, |class| !is_kind(class)),
    }
}

/// [`DIGIT`], or what is between digits.
fn digit_or_between(text: &[u8], at: usize) -> usize {
    match class_at(text, at) {
        Some((Class::Number, len)) => at + len,
        _ => run(text, at, |class| class != Class::Number),
    }
}

/// `\p{N}+`, or what is between.
fn digits_or_between(text: &[u8], at: usize) -> usize {
    run_or_between(text, at, |class| class == Class::Number)
}

/// `[\p{P}\$\+<=>\^~\|]+`, or what is between.
fn signs_or_between(text: &[u8], at: usize) -> usize {
    let is_sign = |at| match class_at(text, at) {
        Some((Class::Punctuation, len)) => Some((true, len)),
        Some((_, len)) => Some((b"$+<=>^~|".contains(&text[at]), len)),
        None => None,
    };
    let first = is_sign(at).map(|(sign, _)| sign);
    let mut end = at;
    while let Some((sign, len)) = is_sign(end) {
        if Some(sign) != first {
            break;
        }
        end += len;
    }
    end
}

/// `[0-9][0-9][0-9]`, or what is between.
fn threes_or_between(text: &[u8], at: usize) -> usize {
    let is_three = |at| text.get(at..at + 3).is_some_and(|three| three.iter().all(u8::is_ascii_digit));
    if is_three(at) {
        return at + 3;
    }
    (at..text.len()).find(|&at| is_three(at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_of(pattern: Pattern, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        pattern.split(text.as_bytes(), |word| words.push(String::from_utf8(word.to_vec()).unwrap()));
        words
    }

    #[test]
    fn llama_3() {
        let words = |text| words_of(Pattern::Llama3, text);
        assert_eq!(words("it's IT'LL"), ["it", "'s", " IT", "'LL"]);
        assert_eq!(words("1234567 a1"), ["123", "456", "7", " a", "1"]);
        assert_eq!(words("a  b \n\n c\n"), ["a", " ", " b", " \n\n", " c", "\n"]);
        assert_eq!(words(" ...\r\n\nx\ty  "), [" ...\r\n\n", "x", "\ty", "  "]);
        assert_eq!(words("'ſa (b"), ["'ſ", "a", " (", "b"]);
    }

    #[test]
    fn qwen() {
        assert_eq!(words_of(Pattern::Qwen2, "a12'D"), ["a", "1", "2", "'D"]);
        assert_eq!(words_of(Pattern::Qwen2, "हिन्दी"), ["ह", "िन", "्द", "ी"]);
        assert_eq!(words_of(Pattern::Qwen35, "हिन्दी है"), ["हिन्दी", " है"]);
    }

    #[test]
    fn gpt_2() {
        let words = |text| words_of(Pattern::Gpt2, text);
        assert_eq!(words("it's IT'S 123 !?"), ["it", "'s", " IT", "'", "S", " 123", " !?"]);
        assert_eq!(words("a\n\n b\tc   "), ["a", "\n\n", " b", "\t", "c", "   "]);
    }

    #[test]
    fn capitals_begin_words() {
        assert_eq!(words_of(Pattern::Gpt4o, "itIT's 1234/\n"), ["it", "IT's", " ", "123", "4", "/\n"]);
        assert_eq!(words_of(Pattern::Tekken, "itIT's 123/\n"), ["it", "IT", "'s", " ", "1", "2", "3", "/\n"]);
    }

    #[test]
    fn digits_one_by_one() {
        assert_eq!(words_of(Pattern::Digits, "a 12  b½"), ["a", " ", "1", "2", " ", " b", "½"]);
    }

    #[test]
    fn no_name() {
        let words = |text| words_of(Pattern::Default, text);
        assert_eq!(words("it's $12345.6"), ["it", "'", "s", " ", "$", "123", "45", ".", "6"]);
    }

    #[test]
    fn words_are_the_whole_text_whatever_it_is() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state >> 16
        };
        let parts: [&[u8]; 12] = [
            b" ",
            b"\n",
            b"\r",
            b"'s",
            b"a",
            b"1",
            b".",
            b"$",
            b"\xE6",
            b"\xBC",
            b"\xFF",
            "é٣\u{301}".as_bytes(),
        ];
        for _ in 0..2000 {
            let text: Vec<u8> =
                (0..next() % 12).flat_map(|_| parts[next() as usize % parts.len()]).copied().collect();
            use Pattern::{Default, Digits, Gpt2, Gpt4o, Llama3, Qwen2, Qwen35, Tekken};
            for pattern in [Llama3, Qwen2, Qwen35, Gpt4o, Tekken, Gpt2, Digits, Default] {
                let mut joined = Vec::new();
                pattern.split(&text, |word| {
                    assert!(!word.is_empty());
                    joined.extend_from_slice(word);
                });
                assert_eq!(joined, text, "{pattern:?}");
            }
        }
    }

    #[test]
    fn pre_tokenizers_are_recognized_from_their_steps() {
        use PreTokenizerStep::{ByteLevel, Digits, Split};
        let llama3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
        let split = |regex: &str| Split(regex.into());
        let bytes = |use_regex| ByteLevel { use_regex, add_prefix_space: false };
        let name = |steps: &[PreTokenizerStep], whole| pre_tokenizer_for_pattern(steps, whole, false);
        assert_eq!(name(&[split(llama3), bytes(false)], true), Some("llama-bpe"));
        assert_eq!(name(&[split(llama3), bytes(false)], false), Some("smaug-bpe"));
        let qwen2 = [split(&llama3.replace("{1,3}", "")), bytes(false)];
        assert_eq!(name(&qwen2, false), Some("deepseek-r1-qwen"));
        assert_eq!(pre_tokenizer_for_pattern(&qwen2, false, true), Some("qwen2"));
        assert_eq!(pre_tokenizer_for_pattern(&[bytes(true)], false, true), Some("gpt-2"), "near enough");
        let both_cases = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
        let written_out = llama3.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)", both_cases);
        assert_eq!(name(&[split(&written_out), bytes(false)], true), Some("llama-bpe"));
        let with_line_ends = llama3.replace(r"\r", "\r").replace(r"\n", "\n");
        assert_eq!(name(&[split(&with_line_ends), bytes(false)], true), Some("llama-bpe"));
        assert_eq!(name(&[bytes(true)], false), Some("gpt-2"));
        assert_eq!(name(&[Digits { individual: true }, bytes(true)], false), Some("smollm"));
        assert_eq!(name(&[split(r"\p{N}"), bytes(true)], false), Some("smollm"));

        assert_eq!(name(&[], false), None);
        assert_eq!(name(&[split(llama3)], true), None);
        assert_eq!(name(&[split(llama3), bytes(true)], true), None);
        assert_eq!(name(&[bytes(true)], true), None, "no name means GPT-2's words taken whole");
        assert_eq!(name(&[bytes(false)], false), None);
        assert_eq!(name(&[Digits { individual: false }, bytes(true)], false), None);
        assert_eq!(name(&[ByteLevel { use_regex: true, add_prefix_space: true }], false), None);
        assert_eq!(name(&[split(".*"), bytes(false)], false), None);
    }
}
