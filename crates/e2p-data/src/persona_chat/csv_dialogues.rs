//! Dialogues in CSV cells: one column of utterances, one a line.

use crate::delimited::{Delimited, Quoting};
use crate::error::Result;
use crate::lines::{Encoding, Problems};
use crate::persona_chat::{Dialogue, PersonaChatOptions};
use crate::sink::Sink;
use crate::source::Input;

/// `,Persona,chat`: the persona's sentences in one line, and utterances of which every second is
/// the owner's, the partner's first.
pub(super) fn read_dialogues(
    input: &Input,
    options: &PersonaChatOptions,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut problems = Problems::new(&input.path);
    let lines = sink.lines(&input.path, Encoding::Utf8)?;
    let mut table = Delimited::with_header(lines, b',', Quoting::Rfc4180, &mut problems)?;
    let (persona, chat) = (
        table.column("Persona", &mut problems)?,
        table.column("chat", &mut problems)?,
    );
    let mut episodes = 0;
    while let Some(record) = table.next(&mut problems)? {
        episodes += 1;
        let sentences = sentences(&record[persona]);
        let fallback = format!("dialogue-{episodes}");
        let mut dialogue = Dialogue::new(options, input.split, &sentences, &fallback);
        let utterances: Vec<&str> = record[chat]
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        if utterances.len() < 2 {
            let found = format!("{} utterances", utterances.len());
            let problem = table.problem(chat, found, "at least one of each side, one a line");
            problems.push(problem)?;
            continue;
        }
        for (turn, utterance) in utterances.iter().enumerate() {
            if turn % 2 == 0 {
                dialogue.partner_says(utterance);
            } else if let Err((_, found, expected)) = dialogue.owner_says(utterance, &[], sink)? {
                let problem = table.problem(chat, found, expected);
                problems.push(problem)?;
                break;
            }
        }
    }
    sink.note_many("episodes", episodes);
    problems.finish()
}

/// Splits `i like tea. i have a dog.` after every sentence end that a space follows.
fn sentences(text: &str) -> Vec<String> {
    let mut sentences = Vec::new();
    let mut rest = text.trim();
    while let Some(end) = rest
        .find(". ")
        .or_else(|| rest.find("! "))
        .or_else(|| rest.find("? "))
    {
        let (sentence, after) = rest.split_at(end + 1);
        sentences.push(sentence.trim().to_owned());
        rest = after.trim_start();
    }
    if !rest.is_empty() {
        sentences.push(rest.to_owned());
    }
    sentences
}

/// `user 1 personas,user 2 personas,Best Generated Conversation`: both sides have a persona, so
/// both have examples.
pub(super) fn read_synthetic(
    input: &Input,
    options: &PersonaChatOptions,
    sink: &mut Sink<'_>,
) -> Result<()> {
    let mut problems = Problems::new(&input.path);
    let lines = sink.lines(&input.path, Encoding::Utf8)?;
    let mut table = Delimited::with_header(lines, b',', Quoting::Rfc4180, &mut problems)?;
    let personas = [
        table.column("user 1 personas", &mut problems)?,
        table.column("user 2 personas", &mut problems)?,
    ];
    let chat = table.column("Best Generated Conversation", &mut problems)?;
    let mut episodes = 0;
    while let Some(record) = table.next(&mut problems)? {
        episodes += 1;
        let turns = turns(&record[chat]);
        if turns.len() < 2 {
            // The published files have a handful of cells that hold no conversation, or one without
            // speakers.
            sink.note("conversations without two turns left out")?;
            continue;
        }
        for (side, column) in personas.into_iter().enumerate() {
            let persona: Vec<String> = record[column]
                .lines()
                .map(|line| line.trim().to_owned())
                .filter(|line| !line.is_empty())
                .collect();
            let fallback = format!("conversation-{episodes}-{}", side + 1);
            let mut dialogue = Dialogue::new(options, input.split, &persona, &fallback);
            for (speaker, text) in &turns {
                if *speaker == side {
                    // A turn is never empty, so there is nothing to be wrong with it.
                    let _ = dialogue.owner_says(text, &[], sink)?;
                } else {
                    dialogue.partner_says(text);
                }
            }
        }
    }
    sink.note_many("episodes", episodes);
    problems.finish()
}

/// Turns as (speaker from zero, text): lines without a speaker go on with the turn before, and two
/// turns of one speaker are one.
fn turns(conversation: &str) -> Vec<(usize, String)> {
    let mut turns: Vec<(usize, String)> = Vec::new();
    for line in conversation.lines().map(str::trim) {
        let said = match line.split_once(':') {
            Some(("User 1" | "user 1", text)) => Some((0, text.trim())),
            Some(("User 2" | "user 2", text)) => Some((1, text.trim())),
            _ => None,
        };
        match (said, turns.last_mut()) {
            (Some((_, "")), _) => {}
            (Some((speaker, text)), Some((last, turn))) if *last == speaker => {
                turn.push(' ');
                turn.push_str(text);
            }
            (Some((speaker, text)), _) => turns.push((speaker, text.to_owned())),
            (None, Some((_, turn))) if !line.is_empty() => {
                turn.push(' ');
                turn.push_str(line);
            }
            (None, _) => {}
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn personas_fall_into_sentences() {
        let split = sentences(" i like tea. i am 3.5 feet tall! i have a dog.");
        assert_eq!(
            split,
            ["i like tea.", "i am 3.5 feet tall!", "i have a dog."]
        );
        assert!(sentences("  ").is_empty());
    }

    #[test]
    fn odd_lines_belong_to_the_turn_before() {
        let text = "Intro\nUser 1: Hi!\n\nUser 2: Hello.\nand more\nUser 2: Bye.\nUser 1:\nUser 1: At 5:30?";
        let expected = [(0, "Hi!"), (1, "Hello. and more Bye."), (0, "At 5:30?")];
        assert_eq!(
            turns(text),
            expected.map(|(speaker, text)| (speaker, text.to_owned()))
        );
    }
}
