//! The JSON of TransferTransfo: `{"train": [{"personality": […], "utterances": [{"history": […],
//! "candidates": […, gold]}]}], "valid": […]}`.

use serde::Deserialize;

use crate::error::Result;
use crate::example::Split;
use crate::json_stream;
use crate::lines::Problems;
use crate::persona_chat::{Dialogue, PersonaChatOptions};
use crate::sink::Sink;
use crate::source::Input;

#[derive(Deserialize)]
struct Conversation {
    personality: Vec<String>,
    utterances: Vec<Utterance>,
}

#[derive(Deserialize)]
struct Utterance {
    history: Vec<String>,
    candidates: Vec<String>,
}

pub(super) fn read(input: &Input, options: &PersonaChatOptions, sink: &mut Sink<'_>) -> Result<()> {
    let file = sink.open(&input.path)?;
    let mut problems = Problems::new(&input.path);
    let max_bytes = sink.max_line_bytes();
    json_stream::for_each(
        &input.path,
        file,
        max_bytes,
        &mut problems,
        &mut |piece, problems| {
            let known = piece.key.is_empty() || Split::from_name(piece.key).is_some();
            let Some(position) = piece.position.filter(|_| known) else {
                return Ok(());
            };
            let split = input.split.or(Split::from_name(piece.key));
            let conversation: Conversation = match piece.parse() {
                Ok(conversation) => conversation,
                Err(problem) => return problems.push(problem),
            };
            sink.note("episodes")?;
            let mut bad = |found: &str, expected: &str| {
                let found = format!(
                    "{found} in conversation {} of `{}`",
                    position + 1,
                    piece.key
                );
                problems.push(piece.place.problem(found, expected))
            };
            if conversation.utterances.is_empty() {
                return bad("no utterances", "at least one");
            }
            for utterance in &conversation.utterances {
                let fallback = format!("{}-{position}", piece.key);
                let persona = &conversation.personality;
                let mut dialogue = Dialogue::new(options, split, persona, &fallback);
                let Some(gold) = utterance.candidates.last() else {
                    bad("no candidates", "candidates of which the last is the reply")?;
                    continue;
                };
                // The last utterance before the reply is the partner's, and they take turns.
                for (turn, text) in utterance.history.iter().enumerate() {
                    if (utterance.history.len() - turn) % 2 == 1 {
                        dialogue.partner_says(text);
                    } else {
                        dialogue.owner_said(text);
                    }
                }
                let candidates: Vec<&str> =
                    utterance.candidates.iter().map(String::as_str).collect();
                if let Err((_, found, expected)) = dialogue.owner_says(gold, &candidates, sink)? {
                    bad(&found, expected)?;
                }
            }
            Ok(())
        },
    )?;
    problems.finish()
}
