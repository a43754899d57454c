//! What a server said, as messages show it.

/// A text without control characters, and no longer than a line of a message should be.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 200;
    let hidden = |c: char| c.is_control() || is_format(c);
    let mut clean: String =
        text.trim().chars().take(MOST).map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect();
    if text.trim().chars().nth(MOST).is_some() {
        clean.push('…');
    }
    clean
}

/// Characters that turn the direction of a text or show nothing.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_it_reaches_a_terminal_as_a_command() {
        assert_eq!(shown(" a\x1b[2Jb\r\n\u{202e}c\u{9b} "), "a\u{fffd}[2Jb\u{fffd}\u{fffd}\u{fffd}c\u{fffd}");
        assert_eq!(shown(&"x".repeat(1000)).chars().count(), 201);
    }
}
