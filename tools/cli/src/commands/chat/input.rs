use crate::arguments::template::Think;
use clap::ValueEnum;
use std::path::Path;

/// What a line of the user asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input<'l> {
    /// An empty line.
    Nothing,
    /// A message to the model.
    Say(&'l str),
    /// `/help`
    Help,
    /// `/system TEXT`
    System(&'l str),
    /// `/system` alone: what it is.
    ShowSystem,
    /// `/think on|off|hide`
    Think(Think),
    /// `/undo`
    Undo,
    /// `/retry`
    Retry,
    /// `/load FILE`
    Load(&'l str),
    /// `/model NAME`
    Model(&'l str),
    /// `/model` alone: which it is.
    ShowModel,
    /// `/save FILE`, and `/save! FILE`, which may replace one.
    Save { path: &'l Path, replace: bool },
    /// `/reset`
    Reset,
    /// `/quit`
    Quit,
    /// A command that cannot be followed, and why.
    Wrong(String),
}

/// A command as `/help` shows it.
struct Command {
    name: &'static str,
    argument: &'static str,
    help: &'static str,
}

const fn command(name: &'static str, argument: &'static str, help: &'static str) -> Command {
    Command { name, argument, help }
}

const COMMANDS: [Command; 11] = [
    command("/system", "TEXT", "tell the model this before the conversation; alone, show what it is told"),
    command("/think", "on|off|hide", "have it think before it answers, or not, or not show it"),
    command("/undo", "", "take the last message and its answer back"),
    command("/retry", "", "have the last message answered again, with another seed"),
    command("/load", "FILE", "go on with a conversation that was saved; of a model, begin a new one with it"),
    command(
        "/model",
        "NAME",
        "go on with another model: a file, or a name of siskin list; alone, show which",
    ),
    command("/save", "FILE", "write the conversation to a new JSON file"),
    command("/save!", "FILE", "the same, where a file of this name may be replaced"),
    command("/reset", "", "begin a new conversation"),
    command("/quit", "", "leave, as does Ctrl-D"),
    command("/help", "", "show this list"),
];

/// The list of commands.
pub(super) fn help() -> String {
    const NO_COMMANDS: &str = "Lines that are pasted together are one message; one that begins with a path, such as /etc/fstab, is one, too.";
    let line =
        |Command { name, argument, help }: &Command| format!("\n{:19}{help}", format!("{name} {argument}"));
    COMMANDS.iter().fold(NO_COMMANDS.to_owned(), |text, command| text + &line(command))
}

impl Input<'_> {
    pub(super) fn parse(line: &str) -> Input<'_> {
        let line = line.trim();
        let (name, argument) = match line.split_once(char::is_whitespace) {
            Some((name, argument)) => (name, argument.trim_start()),
            None => (line, ""),
        };
        match (name, argument) {
            ("", _) => Input::Nothing,
            // A path is no command.
            _ if !name.starts_with('/') || name.chars().skip(1).any(|c| c == '/') => Input::Say(line),
            ("/help" | "/?", "") => Input::Help,
            ("/system", "") => Input::ShowSystem,
            ("/system", text) => Input::System(text),
            ("/think", how) => match Think::from_str(how, true) {
                Ok(think) => Input::Think(think),
                Err(_) => Input::Wrong("expected /think on, /think off or /think hide".to_owned()),
            },
            ("/undo", "") => Input::Undo,
            ("/retry", "") => Input::Retry,
            ("/load", "") => Input::Wrong("expected a file, as in /load talk.json".to_owned()),
            ("/load", file) => Input::Load(file),
            ("/model", "") => Input::ShowModel,
            ("/model", name) => Input::Model(name),
            ("/save" | "/save!", "") => {
                Input::Wrong("expected the name of a file, as in /save talk.json".to_owned())
            }
            ("/save" | "/save!", file) => Input::Save { path: Path::new(file), replace: name.ends_with('!') },
            ("/reset", "") => Input::Reset,
            ("/quit" | "/exit", "") => Input::Quit,
            ("/help" | "/?" | "/undo" | "/retry" | "/reset" | "/quit" | "/exit", _) => {
                Input::Wrong(format!("{name} stands alone on its line"))
            }
            _ => Input::Wrong(format!("{name} is no command: there are {}", names())),
        }
    }
}

/// The names of all commands.
fn names() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|command| command.name).collect();
    names.join(", ")
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
            ("one\n/quit\ntwo", Input::Say("one\n/quit\ntwo")),
            ("/etc/fstab: what is it?", Input::Say("/etc/fstab: what is it?")),
            ("//", Input::Say("//")),
            ("/help", Input::Help),
            ("/?", Input::Help),
            ("/system Be brief.\nBe kind. ", Input::System("Be brief.\nBe kind.")),
            ("/system", Input::ShowSystem),
            ("/think off", Input::Think(Think::Off)),
            ("/think HIDE", Input::Think(Think::Hide)),
            ("/undo", Input::Undo),
            ("/retry\r\n", Input::Retry),
            ("/load my talk.json ", Input::Load("my talk.json")),
            ("/model", Input::ShowModel),
            ("/model hf.co/a/b:Q4_0", Input::Model("hf.co/a/b:Q4_0")),
            ("/save my talk.json ", Input::Save { path: Path::new("my talk.json"), replace: false }),
            ("/save! a", Input::Save { path: Path::new("a"), replace: true }),
            ("/reset", Input::Reset),
            ("/quit", Input::Quit),
            ("/exit\n", Input::Quit),
        ];
        for (line, expected) in cases {
            assert_eq!(Input::parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn commands_that_cannot_be_followed_say_why() {
        for (line, why) in [
            ("/save", "expected the name of a file, as in /save talk.json"),
            ("/save! ", "expected the name of a file, as in /save talk.json"),
            ("/load", "expected a file, as in /load talk.json"),
            ("/think", "expected /think on, /think off or /think hide"),
            ("/think maybe", "expected /think on, /think off or /think hide"),
            ("/reset now", "/reset stands alone on its line"),
            ("/undo 2", "/undo stands alone on its line"),
            ("/", "/ is no command: there are "),
            ("/saved a", "/saved is no command: there are /system, /think, /undo, /retry, "),
        ] {
            let Input::Wrong(said) = Input::parse(line) else { panic!("{line}") };
            assert!(said.starts_with(why), "{line}: {said}");
        }
    }

    #[test]
    fn each_command_is_known_and_in_the_help() {
        let help = help();
        for Command { name, .. } in &COMMANDS {
            for line in [(*name).to_owned(), format!("{name} x")] {
                if let Input::Wrong(said) = Input::parse(&line) {
                    assert!(!said.contains("is no command"), "{line}");
                }
            }
            assert!(help.contains(&format!("{name} ")), "{name}");
        }
    }
}
