use std::path::Path;

/// What a line of the user asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input<'l> {
    /// An empty line.
    Nothing,
    /// A message to the model.
    Say(&'l str),
    /// `/reset`
    Reset,
    /// `/save FILE`, and `/save! FILE`, which may replace one.
    Save { path: &'l Path, replace: bool },
    /// `/save` without a file.
    SaveWhere,
    /// `/help`
    Help,
    /// `/quit`
    Quit,
    /// A command that stands alone, with something behind it.
    NotAlone(&'l str),
    /// Another command.
    Unknown(&'l str),
}

impl Input<'_> {
    pub(super) fn parse(line: &str) -> Input<'_> {
        let line = line.trim();
        let (command, argument) = match line.split_once(char::is_whitespace) {
            Some((command, argument)) => (command, argument.trim_start()),
            None => (line, ""),
        };
        match (command, argument) {
            ("", _) => Input::Nothing,
            ("/reset", "") => Input::Reset,
            ("/save" | "/save!", "") => Input::SaveWhere,
            ("/save" | "/save!", file) => {
                Input::Save { path: Path::new(file), replace: command.ends_with('!') }
            }
            ("/help", "") => Input::Help,
            ("/quit" | "/exit", "") => Input::Quit,
            ("/reset" | "/help" | "/quit" | "/exit", _) => Input::NotAlone(command),
            _ if line.starts_with('/') => Input::Unknown(line),
            _ => Input::Say(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_messages_or_commands() {
        let cases = [
            ("", Input::Nothing),
            ("  \t\r\n", Input::Nothing),
            (" Hello, you \n", Input::Say("Hello, you")),
            ("either/or", Input::Say("either/or")),
            ("/reset", Input::Reset),
            ("/save my talk.json ", Input::Save { path: Path::new("my talk.json"), replace: false }),
            ("/save! a", Input::Save { path: Path::new("a"), replace: true }),
            ("/save", Input::SaveWhere),
            ("/save! ", Input::SaveWhere),
            ("/help", Input::Help),
            ("/quit", Input::Quit),
            ("/exit\n", Input::Quit),
            ("/reset now", Input::NotAlone("/reset")),
            ("/saved a", Input::Unknown("/saved a")),
            ("/", Input::Unknown("/")),
        ];
        for (line, expected) in cases {
            assert_eq!(Input::parse(line), expected, "{line:?}");
        }
    }
}
