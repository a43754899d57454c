//! Calls read out of an answer as it comes.

use super::arguments::{Extent, escapes, json_extent, python, tags};
use super::parameters::Parameter;
use super::syntax::{Arguments, Form};
use super::{Tool, ToolSyntax, is_of_name};

/// What is new of an answer that may call tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToolPiece {
    /// More of what is said.
    Text(String),
    /// A call begins.
    Call {
        /// Its number among those of the answer, from 0.
        number: usize,
        /// The tool's name.
        name: String,
        /// What the model calls it, in a syntax that has such names.
        id: Option<String>,
    },
    /// More of the arguments of the call with this number, as JSON text. All of it together is an object.
    Arguments(usize, String),
}

/// Reads calls of tools out of an answer, as it comes. How the text is cut makes no difference to what it comes to.
///
/// It must see the marks around calls, which are control tokens of many vocabularies
/// ([`AnswerRequest::special`](crate::AnswerRequest::special)).
#[derive(Clone, Debug)]
pub struct ToolReader {
    form: Form,
    /// Of each tool, the arguments whose texts are written as they are.
    texts: Vec<(String, Vec<String>)>,
    /// All of the answer so far.
    seen: String,
    /// How much of it was told as text, in the front and behind the calls.
    told: usize,
    told_behind: usize,
    /// Of each call, how many bytes of its arguments were told.
    calls: Vec<usize>,
    /// Whether the answer ended before the arguments of its last call did.
    is_cut: bool,
}

/// What there is of an answer.
#[derive(Debug, Default)]
struct Reading {
    /// So many bytes are text.
    text: usize,
    calls: Vec<Call>,
    /// From here on it is in no known syntax.
    behind: Option<usize>,
}

#[derive(Debug)]
struct Call {
    name: String,
    id: Option<String>,
    arguments: String,
}

impl ToolReader {
    /// Reads an answer that may call these tools from its beginning.
    pub fn new(syntax: ToolSyntax, tools: &[Tool]) -> Self {
        let form = syntax.form();
        let texts = |tool: &Tool| (tool.name.clone(), Parameter::texts(&tool.parameters));
        let texts = match form.arguments {
            Arguments::Tags => tools.iter().map(texts).collect(),
            Arguments::Json | Arguments::Python | Arguments::Escapes => Vec::new(),
        };
        Self { form, texts, seen: String::new(), told: 0, told_behind: 0, calls: Vec::new(), is_cut: false }
    }

    /// Takes up more of the answer.
    pub fn push(&mut self, text: &str, tell: impl FnMut(ToolPiece)) {
        self.seen.push_str(text);
        self.tell_new(false, tell);
    }

    /// The answer is over: what may have been the beginning of a call is text.
    pub fn finish(&mut self, tell: impl FnMut(ToolPiece)) {
        self.tell_new(true, tell);
    }

    /// How many calls there are so far.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Whether the answer [ended](Self::finish) in the midst of a call, by a limit or a stop string: the arguments of the last
    /// one are no JSON then.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn tell_new(&mut self, is_over: bool, mut tell: impl FnMut(ToolPiece)) {
        let Self { form, texts, seen, told, told_behind, calls, is_cut } = self;
        let reading = read(form, texts, seen, is_over);
        let is_json = |call: &Call| serde_json::from_str::<serde_json::Value>(&call.arguments).is_ok();
        *is_cut = is_over && reading.calls.last().is_some_and(|last| !is_json(last));
        let mut tell_text = |told: &mut usize, up_to: usize| {
            if let Some(text) = seen.get(*told..up_to).filter(|text| !text.is_empty()) {
                tell(ToolPiece::Text(text.to_owned()));
                *told = up_to;
            }
        };
        tell_text(told, reading.text);
        let mut behind = (*told_behind).max(reading.behind.unwrap_or(0));
        let has_behind = reading.behind.is_some();
        for (index, Call { name, id, arguments }) in reading.calls.into_iter().enumerate() {
            if index == calls.len() {
                tell(ToolPiece::Call { number: index, name, id });
                calls.push(0);
            }
            let Some(told) = calls.get_mut(index) else { continue };
            if let Some(more) = arguments.get(*told..).filter(|more| !more.is_empty()) {
                tell(ToolPiece::Arguments(index, more.to_owned()));
                *told = arguments.len();
            }
        }
        if has_behind {
            if let Some(text) = seen.get(behind..).filter(|text| !text.is_empty()) {
                tell(ToolPiece::Text(text.to_owned()));
                behind = seen.len();
            }
            *told_behind = behind;
        }
    }
}

/// Reads as much of an answer as there is.
fn read(form: &Form, texts: &[(String, Vec<String>)], text: &str, is_over: bool) -> Reading {
    let mut cursor = match begin(form, text, is_over) {
        Ok(at) => Cursor { text, at },
        Err(free) => return Reading { text: free, ..Reading::default() },
    };
    let lead = form.lead.filter(|lead| text.get(..cursor.at).is_some_and(|before| before.ends_with(lead)));
    let said = cursor.at - lead.map_or(0, str::len);
    let mut reading = Reading { text: said, ..Reading::default() };
    if let Err(Stop::Wrong(at)) = calls(form, texts, &mut cursor, &mut reading.calls) {
        reading.behind = Some(at);
    }
    reading
}

/// Where the first call begins, or else how many bytes are text, whatever follows.
fn begin(form: &Form, text: &str, is_over: bool) -> Result<usize, usize> {
    let mark = if form.open.is_empty() { form.call } else { form.open };
    if form.open.is_empty() {
        // A call is the whole answer.
        let said = text.trim_start();
        let behind = form.lead.and_then(|lead| said.strip_prefix(lead)).unwrap_or(said);
        if behind.starts_with(mark) {
            return Ok(text.len() - behind.len());
        }
        let may_be = mark.starts_with(behind) || form.lead.is_some_and(|lead| lead.starts_with(said));
        return Err(if may_be && !is_over { 0 } else { text.len() });
    }
    if let Some(at) = text.find(mark) {
        return Ok(at);
    }
    let is_begun = |length: &usize| text.get(text.len() - length..).is_some_and(|end| mark.starts_with(end));
    let held = (1..mark.len().min(text.len() + 1)).rev().find(is_begun);
    Err(if is_over { text.len() } else { text.len() - held.unwrap_or(0) })
}

/// Why nothing more is read.
enum Stop {
    /// The text ends.
    End,
    /// From here on it is something else.
    Wrong(usize),
}

fn calls(
    form: &Form,
    texts: &[(String, Vec<String>)],
    cursor: &mut Cursor<'_>,
    calls: &mut Vec<Call>,
) -> Result<(), Stop> {
    loop {
        cursor.literal(form.open)?;
        cursor.literal(form.start)?;
        loop {
            call(form, texts, cursor, calls)?;
            match form.next {
                Some(next) if cursor.is_at(next)? => cursor.at += next.len(),
                _ => break,
            }
        }
        cursor.literal(form.end)?;
        cursor.literal(form.close)?;
        match form.again {
            Some(again) if !cursor.rest().is_empty() => cursor.literal(again)?,
            _ if cursor.rest().is_empty() => return Err(Stop::End),
            _ => return Err(Stop::Wrong(cursor.at)),
        }
    }
}

fn call(
    form: &Form,
    texts: &[(String, Vec<String>)],
    cursor: &mut Cursor<'_>,
    calls: &mut Vec<Call>,
) -> Result<(), Stop> {
    cursor.literal(form.call)?;
    let name = cursor.name();
    let mut id = None;
    if let Some(mark) = form.id {
        cursor.literal(mark)?;
        id = Some(cursor.name().to_owned());
    }
    cursor.literal(form.middle)?;
    let (arguments, extent) = match form.arguments {
        Arguments::Json => {
            let rest = cursor.rest();
            let extent = json_extent(rest);
            let length = if let Extent::Whole(length) = extent { length } else { rest.len() };
            (rest.get(..length).unwrap_or_default().to_owned(), extent)
        }
        Arguments::Python => python(cursor.rest()),
        Arguments::Tags => {
            let texts = texts.iter().find(|(tool, _)| tool == name);
            tags(cursor.rest(), texts.map_or(&[][..], |(_, texts)| texts))
        }
        Arguments::Escapes => escapes(cursor.rest()),
    };
    calls.push(Call { name: name.to_owned(), id, arguments });
    let Extent::Whole(length) = extent else { return Err(Stop::End) };
    cursor.at += length;
    cursor.literal(form.call_end)
}

/// A place in a text.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The name that is next.
    fn name(&mut self) -> &'t str {
        let name = self.rest().split(|character| !is_of_name(character)).next().unwrap_or_default();
        self.at += name.len();
        name
    }

    /// Whether this is next.
    fn is_at(&self, literal: &str) -> Result<bool, Stop> {
        let rest = self.rest();
        if rest.len() < literal.len() && literal.starts_with(rest) {
            return Err(Stop::End);
        }
        Ok(rest.starts_with(literal))
    }

    fn literal(&mut self, literal: &str) -> Result<(), Stop> {
        match self.is_at(literal)? {
            true => {
                self.at += literal.len();
                Ok(())
            }
            false => Err(Stop::Wrong(self.at)),
        }
    }
}
