//! ParlAI's dialogue text: every line is numbered, and one begins a new episode.
//!
//! `N your persona: …` and `N partner's persona: …` lines come first, then turns `N partner⇥owner`
//! or `N partner⇥owner⇥⇥candidate|…|candidate`.

use crate::error::{Problem, Result, excerpt};
use crate::lines::{Encoding, Problems};
use crate::persona_chat::{Dialogue, PersonaChatOptions};
use crate::sink::Sink;
use crate::source::Input;

const OWN: &str = "your persona:";
const PARTNERS: &str = "partner's persona:";

pub(super) fn read(input: &Input, options: &PersonaChatOptions, sink: &mut Sink<'_>) -> Result<()> {
    let stem = input
        .path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned())
        .unwrap_or_default();
    let mut lines = sink.lines(&input.path, Encoding::Utf8)?;
    let mut problems = Problems::new(&input.path);
    let mut persona: Vec<String> = Vec::new();
    let mut dialogue: Option<Dialogue<'_>> = None;
    let (mut episode, mut previous) = (0_u64, 0_u64);
    while lines.advance(&mut problems)? {
        let at = lines.number();
        let numbered = lines.text().split_once(' ');
        let numbered = numbered
            .and_then(|(number, rest)| number.parse::<u64>().ok().map(|number| (number, rest)));
        let Some((number, rest)) = numbered else {
            problems.push(Problem::byte(
                at,
                1,
                excerpt(lines.text()),
                "a line number and a space",
            ))?;
            continue;
        };
        if number != 1 && number != previous + 1 {
            let expected = format!("{} or, for a new episode, 1", previous + 1);
            problems.push(Problem::byte(
                at,
                1,
                format!("line number {number}"),
                expected,
            ))?;
        }
        previous = number;
        if number == 1 {
            if episode > 0 && dialogue.is_none() {
                problems.push(Problem::byte(
                    at,
                    1,
                    "a new episode",
                    "a turn of the one before",
                ))?;
            }
            episode += 1;
            persona.clear();
            dialogue = None;
        }
        if let Some(sentence) = rest.strip_prefix(OWN) {
            if dialogue.is_some() {
                problems.push(Problem::byte(
                    at,
                    1,
                    "a persona after a turn",
                    "personas at the beginning of an episode",
                ))?;
            }
            persona.push(sentence.trim().to_owned());
            continue;
        }
        if rest.starts_with(PARTNERS) {
            continue;
        }
        let fields: Vec<&str> = rest.split('\t').collect();
        let candidates: Vec<&str> = match fields.as_slice() {
            [_, _] | [_, _, _] => Vec::new(),
            [_, _, _, candidates] => candidates.split('|').collect(),
            _ => {
                let found = format!("{} tab-separated fields", fields.len());
                problems.push(Problem::byte(
                    at,
                    1,
                    found,
                    "two or four: partner, owner, nothing, candidates",
                ))?;
                continue;
            }
        };
        let dialogue = dialogue.get_or_insert_with(|| {
            Dialogue::new(options, input.split, &persona, &format!("{stem}-{episode}"))
        });
        dialogue.partner_says(fields[0]);
        if let Err((field, found, expected)) = dialogue.owner_says(fields[1], &candidates, sink)? {
            let number = if field == "candidates" { 4 } else { 2 };
            problems.push(Problem::field(at, number, field, found, expected))?;
        }
    }
    if episode > 0 && dialogue.is_none() && problems.is_empty() {
        let found = "the end of the file";
        problems.push(Problem::byte(
            lines.number(),
            1,
            found,
            "a turn of the last episode (the file seems to be cut off)",
        ))?;
    }
    sink.note_many("episodes", episode);
    problems.finish()
}
