//! Conversations that outgrow the context: their oldest turns are left out, where the API has it so.
//!
//! What is left out grows by quarters of the context, so that the next questions begin with the same tokens, which are there
//! already. System messages stay, and the last question with all that follows it.

use crate::ask::{Chat, message_bytes};
use crate::server::rendering;
use siskin::Model;
use siskin::template::{Message, TemplateError};

/// The tokens of a conversation, without its oldest turns where all of them leave an answer no room in the context.
///
/// # Errors
/// What the model's template says of its messages.
pub(crate) fn tokens(model: &Model, chat: &Chat, context: usize) -> Result<Vec<u32>, TemplateError> {
    let rendering = rendering(model, chat);
    truncated(&chat.messages, context, |messages| model.chat_tokens_with(messages, &rendering))
}

/// A conversation without its oldest turns where its texts have more than so many bytes: no context has room for all of them.
pub(crate) fn shortened(mut chat: Chat, longest: usize) -> Chat {
    let messages = &chat.messages;
    let (mut at, mut bytes) = (0, messages.iter().map(message_bytes).sum::<usize>());
    for next in turns(messages) {
        if bytes <= longest {
            break;
        }
        let gone = messages[at..next].iter().filter(|message| !is_systems(message));
        bytes -= gone.map(message_bytes).sum::<usize>();
        at = next;
    }
    if at > 0 {
        chat.messages = from_turn(messages, at).cloned().collect();
    }
    chat
}

fn truncated<E>(
    messages: &[Message],
    context: usize,
    tokens: impl Fn(&[Message]) -> Result<Vec<u32>, E>,
) -> Result<Vec<u32>, E> {
    let all = tokens(messages)?;
    if !has_turns(messages) || all.len() < context {
        return Ok(all);
    }
    let step = (context / 4).max(1);
    let beyond = all.len().saturating_sub(context - step);
    let wanted = all.len().saturating_sub(beyond.next_multiple_of(step));
    let turns = turns(messages);
    let (mut from, mut to, mut best) = (0, turns.len(), all);
    while from < to {
        let middle = from.midpoint(to);
        let shorter = tokens(&from_turn(messages, turns[middle]).cloned().collect::<Vec<_>>())?;
        let fits = shorter.len() <= wanted;
        if fits || middle + 1 == turns.len() {
            best = shorter;
        }
        (from, to) = if fits { (from, middle) } else { (middle + 1, to) };
    }
    Ok(best)
}

/// Whether there is a turn before the last one.
fn has_turns(messages: &[Message]) -> bool {
    messages.iter().filter(|message| message.role == "user").count() > 1
}

/// Where turns behind the first begin: each does with a question.
fn turns(messages: &[Message]) -> Vec<usize> {
    (0..messages.len()).filter(|&at| messages[at].role == "user").skip(1).collect()
}

/// The messages from this one on, behind those that the system has written.
fn from_turn(messages: &[Message], at: usize) -> impl Iterator<Item = &Message> {
    let (before, rest) = messages.split_at(at);
    before.iter().filter(|message| is_systems(message)).chain(rest)
}

fn is_systems(message: &Message) -> bool {
    ["system", "developer"].contains(&message.role.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// A conversation of so many turns of 20 tokens each, behind a system message of 10; the last has but a question of 10.
    fn conversation(turns: u32) -> Vec<Message> {
        let turn = |n: u32| [Message::new("user", n.to_string()), Message::new("assistant", n.to_string())];
        let turns = (0..turns).flat_map(turn).take(2 * turns as usize - 1);
        [Message::new("system", "0")].into_iter().chain(turns).collect()
    }

    /// The first tokens of messages say which ones they are.
    fn cut(messages: &[Message], context: usize) -> Vec<u32> {
        let tokens = |messages: &[Message]| {
            Ok::<_, Infallible>(messages.iter().flat_map(|m| [m.content.parse().unwrap(); 10]).collect())
        };
        truncated(messages, context, tokens).unwrap()
    }

    #[test]
    fn what_fits_stays_whole() {
        assert_eq!(cut(&conversation(3), 61).len(), 60);
        assert_eq!(cut(&conversation(1), 5).len(), 20);
    }

    #[test]
    fn the_oldest_turns_go_and_the_rest_stays_the_same_for_a_while() {
        // The first turn that is left, behind the system's message.
        let first = |turns: u32| {
            let tokens = cut(&conversation(turns), 200);
            assert!(tokens.len() < 200 && tokens[..10] == [0; 10] && *tokens.last().unwrap() == turns - 1);
            tokens[10]
        };
        let firsts: Vec<u32> = (5..=20).map(first).collect();
        assert_eq!(firsts, [0, 0, 0, 0, 0, 3, 5, 5, 8, 8, 8, 10, 10, 13, 13, 13]);
    }

    #[test]
    fn texts_that_no_context_has_room_for_lose_their_oldest_turns_too() {
        let chat = |turns, longest| {
            let chat = Chat { messages: conversation(turns), ..Chat::default() };
            let said = |messages: Vec<Message>| messages.into_iter().map(|m| m.content).collect::<String>();
            said(shortened(chat, longest).messages)
        };
        assert_eq!(chat(3, 1000), "000112");
        // Roles and contents of four turns have 7 + 3 * 15 + 5 bytes.
        assert_eq!(chat(4, 57), "00011223");
        assert_eq!(chat(4, 56), "011223");
        assert_eq!(chat(4, 41), "02233".replace("33", "3"));
        assert_eq!(chat(4, 0), "03");
        assert_eq!(chat(1, 0), "00");
    }

    #[test]
    fn the_last_question_stays_whatever_its_length() {
        let mut messages = conversation(4);
        messages.extend((0..30).map(|_| Message::new("tool", "7")));
        let tokens = cut(&messages, 100);
        assert_eq!((tokens.len(), tokens[10], *tokens.last().unwrap()), (320, 3, 7));
    }
}
