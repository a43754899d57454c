//! Tasks with wanted answers, and how near to those an answer comes.

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use siskin_documents::support::Source;
use siskin_kit::json::Object;
use siskin_kit::read_lines;
use std::collections::BTreeMap;
use std::path::Path;

/// A line of a file of tasks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// What the user says.
    pub prompt: String,
    /// What the model should answer; None where the answer is judged by what the prompt says alone.
    pub answer: Option<String>,
    /// The kind of task, which has a score of its own.
    pub task: String,
    /// Whether numbers and names of the answer have to be in the prompt, as those of a summary.
    pub support: bool,
}

impl Task {
    /// The kind of a task whose line names none.
    const UNNAMED: &str = "other";

    fn parse(line: &str) -> Result<Task> {
        let mut fields = Object::parse(line)?;
        let prompt = fields.require_text("prompt")?;
        let support = match fields.text("metric")?.as_deref() {
            None => false,
            Some("support") => true,
            Some(other) => bail!("metric: expected \"support\", found {other:?}"),
        };
        let answer = if support { fields.text("answer")? } else { Some(fields.require_text("answer")?) };
        let task = fields.text("task")?.unwrap_or_else(|| Task::UNNAMED.to_owned());
        Ok(Task { prompt, answer, task, support })
    }

    /// How good an answer is.
    pub fn score(&self, found: &str) -> Score {
        let score = self.answer.as_deref().map(|wanted| Score::new(wanted, found)).unwrap_or_default();
        let support = self.support.then(|| Source::of([self.prompt.as_str()]).supports(found).share());
        Score { support, ..score }
    }
}

/// Reads a file of tasks, a JSON object on each line; empty lines are left out.
///
/// # Errors
/// The first line that is no task, with its number; a file without any.
pub fn read(path: &Path) -> Result<Vec<Task>> {
    let tasks = read_lines(path, |line, _| Task::parse(line))?;
    ensure!(!tasks.is_empty(), "{}: the file has no tasks", path.display());
    Ok(tasks)
}

/// How an answer compares with the one that was wanted, each from 0 to 1; None where that is not asked.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// 1 if both are the same text, white space around them aside.
    pub exact: Option<f64>,
    /// 1 if both are the same JSON value; None where no JSON was wanted.
    pub json: Option<f64>,
    /// F1 of ROUGE-L: the longest common subsequence of words (Lin 2004).
    pub rouge: Option<f64>,
    /// The share of the answer's numbers and names that the prompt has; 1 where it has none.
    pub support: Option<f64>,
}

impl Score {
    /// Compares an answer with the wanted one.
    pub fn new(wanted: &str, found: &str) -> Score {
        let one_if = |holds| if holds { 1.0 } else { 0.0 };
        let json = |text: &str| serde_json::from_str::<Value>(text.trim()).ok();
        Score {
            exact: Some(one_if(wanted.trim() == found.trim())),
            json: json(wanted)
                .map(|wanted| one_if(json(found).is_some_and(|found| same_value(&wanted, &found)))),
            rouge: Some(rouge_l(wanted, found)),
            support: None,
        }
    }
}

/// Whether two JSON values are equal: 1 and 1.0 are, and so are objects whose keys stand in another order.
fn same_value(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_value(a, b)))
        }
        (a, b) => a == b,
    }
}

/// ROUGE-L's F1 over words, which are runs of letters and digits in any case. Two texts without words are the same.
pub fn rouge_l(wanted: &str, found: &str) -> f64 {
    let (wanted, found) = (words(wanted), words(found));
    if wanted.is_empty() && found.is_empty() {
        return 1.0;
    }
    2.0 * common(&wanted, &found) as f64 / (wanted.len() + found.len()) as f64
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// Length of the longest common subsequence, in a row of its table at a time.
fn common(a: &[String], b: &[String]) -> usize {
    let mut lengths = vec![0; b.len()];
    for word in a {
        // Lengths without this word: of what came before b's word, and of what ends before it.
        let (mut diagonal, mut left) = (0, 0);
        for (other, length) in b.iter().zip(&mut lengths) {
            let above = *length;
            *length = if word == other { diagonal + 1 } else { above.max(left) };
            (diagonal, left) = (above, *length);
        }
    }
    lengths.last().copied().unwrap_or(0)
}

/// The scores of all tasks, and of each kind.
#[derive(Clone, Debug, Default)]
pub struct Scores {
    all: Means,
    by_task: BTreeMap<String, Means>,
}

#[derive(Clone, Debug, Default)]
struct Means {
    exact: Mean,
    json: Mean,
    rouge: Mean,
    support: Mean,
}

#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Scores {
    /// Takes the score of an answer to a task of this kind.
    pub fn push(&mut self, task: &str, score: Score) {
        self.all.push(score);
        self.by_task.entry(task.to_owned()).or_default().push(score);
    }

    /// Every mean by its metric's name: `exact`, `json`, `rouge` and `support` over all tasks, `exact.TASK` and so on for
    /// each kind. There is none where no task asks for it.
    pub fn metrics(&self) -> impl Iterator<Item = (String, f64)> {
        let kinds = self.by_task.iter().map(|(task, means)| (format!(".{task}"), means));
        [(String::new(), &self.all)].into_iter().chain(kinds).flat_map(|(suffix, means)| {
            let Means { exact, json, rouge, support } = *means;
            let named = [("exact", exact), ("json", json), ("rouge", rouge), ("support", support)];
            named.into_iter().filter_map(move |(name, mean)| Some((format!("{name}{suffix}"), mean.value()?)))
        })
    }
}

impl Means {
    fn push(&mut self, score: Score) {
        let Score { exact, json, rouge, support } = score;
        let means = [&mut self.exact, &mut self.json, &mut self.rouge, &mut self.support];
        for (mean, value) in means.into_iter().zip([exact, json, rouge, support]) {
            value.into_iter().for_each(|value| mean.push(value));
        }
    }
}

impl Mean {
    fn push(&mut self, value: f64) {
        self.sum += value;
        self.count += 1;
    }

    fn value(self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_text(text: &str) -> Result<Vec<Task>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        read(file.path())
    }

    #[test]
    fn tasks_are_read_line_by_line() {
        let tasks = read_text(
            "{\"prompt\":\"p\",\"answer\":\"a\"}\n\n{\"prompt\":\"\",\"answer\":\"\",\"task\":\"t\"}",
        );
        let kinds: Vec<_> = tasks.unwrap().into_iter().map(|task| task.task).collect();
        assert_eq!(kinds, ["other", "t"]);
    }

    #[test]
    fn a_bad_line_is_named() {
        let good = r#"{"prompt": "p", "answer": "a"}"#;
        for (bad, expected) in [
            (r#"{"prompt": "p"}"#, "answer is missing, expected a text"),
            (r#"{"prompt": "p", "answer": 3}"#, "answer: expected a text, found 3"),
            ("[1, 2", "column"),
        ] {
            let error = format!("{:#}", read_text(&format!("{good}\n\n{bad}\n")).unwrap_err());
            assert!(error.contains("line 3: ") && error.contains(expected), "{error}");
            assert!(!error.contains("at line 1"), "{error}");
        }
        assert!(read_text("\n\n").unwrap_err().to_string().contains("no tasks"));
    }

    #[test]
    fn answers_are_compared_as_text_as_values_and_as_words() {
        let exact = Score::new("{\"a\": 1, \"b\": [true]}", " {\"a\": 1, \"b\": [true]}\n");
        let all = Score { exact: Some(1.0), json: Some(1.0), rouge: Some(1.0), support: None };
        assert_eq!(exact, all);
        let same = Score::new("{\"a\": 1, \"b\": [true]}", "{\"b\":[true],\"a\":1.0}");
        assert_eq!((same.exact, same.json), (Some(0.0), Some(1.0)));
        for other in [
            "{\"a\": 1}",
            "{\"a\": 1, \"b\": []}",
            "{\"a\": 1, \"b\": [true]",
            "",
            "{\"a\":1,\"b\":[true],\"c\":0}",
        ] {
            assert_eq!(Score::new("{\"a\": 1, \"b\": [true]}", other).json, Some(0.0), "{other}");
        }
        assert_eq!(Score::new("Fan 8 is well.", "{}").json, None);
    }

    #[test]
    fn what_an_answer_names_is_looked_for_in_the_prompt() {
        let task = |line: &str| Task::parse(line).unwrap();
        let alone = task(r#"{"prompt": "In 1851 Captain Ahab sailed.", "metric": "support"}"#);
        let score = alone.score("They say that Ahab and Queequeg sailed in 1851 and 1852.");
        assert_eq!(score, Score { support: Some(0.5), ..Score::default() });
        assert_eq!(alone.score("").support, Some(1.0));
        let both = task(r#"{"prompt": "In 1851", "answer": "1851", "metric": "support"}"#).score("1851");
        assert_eq!((both.exact, both.support), (Some(1.0), Some(1.0)));
        let bad = Task::parse(r#"{"prompt": "a", "answer": "b", "metric": "truth"}"#).unwrap_err();
        assert_eq!(bad.to_string(), "metric: expected \"support\", found \"truth\"");
    }

    #[test]
    fn rouge_l_is_that_of_its_paper() {
        // Lin 2004: "police killed the gunman" and its two candidates, F1.
        let wanted = "police killed the gunman";
        assert!((rouge_l(wanted, "Police kill the gunman.") - 0.75).abs() < 1e-12);
        assert!((rouge_l(wanted, "the gunman kill police") - 0.5).abs() < 1e-12);
        assert!((rouge_l(wanted, "the gunman") - 2.0 * 2.0 / 6.0).abs() < 1e-12);
        assert_eq!((rouge_l("", "."), rouge_l("a", ""), rouge_l("Ä ß", "ä, ß!")), (1.0, 0.0, 1.0));
    }

    #[test]
    fn scores_have_means_by_kind() {
        let mut scores = Scores::default();
        let score =
            |exact, json, rouge| Score { exact: Some(exact), json, rouge: Some(rouge), support: None };
        scores.push("a", score(1.0, Some(1.0), 1.0));
        scores.push("a", score(0.0, Some(1.0), 0.5));
        scores.push("b", score(1.0, None, 0.0));
        let metrics: BTreeMap<_, _> = scores.metrics().collect();
        let names: Vec<_> = metrics.keys().map(String::as_str).collect();
        assert_eq!(names, ["exact", "exact.a", "exact.b", "json", "json.a", "rouge", "rouge.a", "rouge.b"]);
        assert_eq!((metrics["exact"], metrics["json"], metrics["rouge.a"]), (2.0 / 3.0, 1.0, 0.75));
    }
}
