//! `siskin chat` of a user without a home, as services have none.

use crate::terminal::{Terminal, read_until};
use std::io::Write;

#[test]
fn without_a_home_lines_are_not_kept_and_all_else_is_as_ever() {
    // None, and one in which nothing can be made.
    for home in [None, Some("/proc/none")] {
        let mut terminal = Terminal::with("xterm", &["chat", "--temp", "0", "--threads=1"], |command| {
            command.env_remove("XDG_STATE_HOME").env_remove("XDG_DATA_HOME").env_remove("HOME");
            command.envs(home.map(|home| ("HOME", home)));
        });
        let said = read_until(&mut terminal.user, "> ");
        assert!(said.contains("lines are not kept for later: "), "{said:?}");
        terminal.user.write_all(b"hello\r").unwrap();
        read_until(&mut terminal.user, "Hello! How can I help?");
        terminal.user.write_all(b"/quit\r").unwrap();
        terminal.rest();
    }
}
