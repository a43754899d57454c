//! Asks a model a question: `cargo run -p siskin --release --example hello -- model.gguf "Who are you?"`

use std::io::Write;

use siskin::template::Message;
use siskin::{Answer, Model, SessionOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(question)) = (arguments.next(), arguments.next()) else {
        return Err("usage: hello MODEL QUESTION".into());
    };
    let model = Model::open(path)?;
    let mut answer = Answer::new(model.session(&SessionOptions::default().threads(4))?)?;
    answer.ask(&[Message::new("user", question)])?;
    while let Some(piece) = answer.next_piece()? {
        print!("{piece}");
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
