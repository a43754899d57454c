//! What the server tells whoever looks after it: lines on standard error, for people or for programs.

use crate::options::LogFormat;
use serde_json::{Value, json};
use std::fmt::Display;
use std::io::{self, Write};
use std::panic;
use std::thread;
use std::time::SystemTime;

/// How much of a matter something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Info,
    Warn,
    Error,
}

impl LogFormat {
    /// Tells what goes as it should. `event` is its name, `fields` is an object of what programs would read out of the
    /// message.
    pub fn info(self, event: &str, message: impl Display, fields: Value) {
        self.tell(Level::Info, event, &message, fields);
    }

    /// The same of what goes otherwise than it should, while the server does all that it is asked.
    pub fn warn(self, event: &str, message: impl Display, fields: Value) {
        self.tell(Level::Warn, event, &message, fields);
    }

    /// The same of a fault.
    pub fn error(self, event: &str, message: impl Display, fields: Value) {
        self.tell(Level::Error, event, &message, fields);
    }

    /// Has panics of this process told in this format.
    pub fn tell_panics(self) {
        // What the standard library says of them is for people.
        if self == LogFormat::Text {
            return;
        }
        panic::set_hook(Box::new(move |panic| {
            let message = panic.payload_as_str().unwrap_or("a panic that says nothing");
            let place = panic.location().map(ToString::to_string);
            let thread = thread::current();
            self.error("panic", message, json!({"place": place, "thread": thread.name()}));
        }));
    }

    fn tell(self, level: Level, event: &str, message: &dyn Display, fields: Value) {
        let line = self.line(SystemTime::now(), level, event, message, fields);
        // Nobody need read it. At once, so that lines of several threads stay apart.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn line(
        self,
        time: SystemTime,
        level: Level,
        event: &str,
        message: &dyn Display,
        fields: Value,
    ) -> String {
        let message = message.to_string().replace(['\n', '\r'], " ");
        if self == LogFormat::Text {
            return format!("siskin: {message}\n");
        }
        let level = match level {
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let time = humantime::format_rfc3339_millis(time).to_string();
        let mut line = json!({"time": time, "level": level, "event": event, "message": message});
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
            line.extend(fields);
        }
        format!("{line}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_line_is_for_people_or_for_programs() {
        let line = |format: LogFormat| {
            let time = UNIX_EPOCH + Duration::from_millis(1_750_000_000_123);
            format.line(time, Level::Warn, "removed", &"\"a\" is\ngone", json!({"model": "\"a\""}))
        };
        assert_eq!(line(LogFormat::Text), "siskin: \"a\" is gone\n");
        let text = line(LogFormat::Json);
        assert!(text.ends_with("}\n") && text.matches('\n').count() == 1, "{text}");
        let expected = json!({"time": "2025-06-15T15:06:40.123Z", "level": "warn", "event": "removed",
            "message": "\"a\" is gone", "model": "\"a\""});
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), expected);
    }
}
