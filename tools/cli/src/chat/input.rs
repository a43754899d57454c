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
    /// `/save FILE`
    Save(&'l Path),
    /// `/help`
    Help,
    /// `/quit`
    Quit,
    /// Another command, or one whose argument is missing or too many.
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
            ("/save", file) if !file.is_empty() => Input::Save(Path::new(file)),
            ("/help", "") => Input::Help,
            ("/quit" | "/exit", "") => Input::Quit,
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
            ("/save my talk.json ", Input::Save(Path::new("my talk.json"))),
            ("/help", Input::Help),
            ("/quit", Input::Quit),
            ("/exit\n", Input::Quit),
            ("/save", Input::Unknown("/save")),
            ("/reset now", Input::Unknown("/reset now")),
            ("/", Input::Unknown("/")),
        ];
        for (line, expected) in cases {
            assert_eq!(Input::parse(line), expected, "{line:?}");
        }
    }
}
