//! Asks a model a question: `cargo run -p siskin --release --example hello -- model.gguf "Who are you?"`

use std::io::Write;

use siskin::sampler::SamplerOptions;
use siskin::template::Message;
use siskin::{Model, SessionOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(path), Some(question)) = (arguments.next(), arguments.next()) else {
        return Err("usage: hello MODEL QUESTION".into());
    };
    let model = Model::open(path)?;
    let mut session = model.session(&SessionOptions::default())?;
    let options = SamplerOptions::default().overlay(model.sampling());
    let mut sampler = session.sampler(&options)?;

    session.feed(&model.chat_tokens(&[Message::new("user", question)])?)?;
    let mut answer = session.generate(&mut sampler, 500)?;
    while let Some(piece) = answer.next_text()? {
        print!("{piece}");
        std::io::stdout().flush()?;
    }
    println!();
    Ok(())
}
