//! Tests of the text stream: never half a character, never what may become a stop string.

use proptest::prelude::*;

use super::*;

/// Every id is one byte; ids from 256 on are special and have no text.
struct Bytes;

impl Detokenizer for Bytes {
    fn detokenize(&self, ids: &[u32]) -> Result<String> {
        let bytes: Vec<u8> = ids
            .iter()
            .filter(|id| **id < 256)
            .map(|id| *id as u8)
            .collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Llama's habit: every word carries a leading space, the first one of a text is stripped.
struct Words;

impl Detokenizer for Words {
    fn detokenize(&self, ids: &[u32]) -> Result<String> {
        let words = ["", " ", " once", " upon", "a", " time"];
        let text: String = ids.iter().map(|id| words[*id as usize]).collect();
        Ok(text.strip_prefix(' ').unwrap_or(&text).to_string())
    }
}

/// Llama's byte fallback: a run of bytes with one bad byte becomes one U+FFFD per byte.
struct ByteRun;

impl Detokenizer for ByteRun {
    fn detokenize(&self, ids: &[u32]) -> Result<String> {
        let mut text = String::new();
        for run in ids.chunk_by(|a, b| (*a >= 128) == (*b >= 128)) {
            let bytes: Vec<u8> = run.iter().map(|id| *id as u8).collect();
            text += &String::from_utf8(bytes)
                .unwrap_or_else(|_| REPLACEMENT.to_string().repeat(run.len()));
        }
        Ok(text)
    }
}

fn pieces(detokenizer: &dyn Detokenizer, ids: &[u32], stops: &[&str]) -> (Vec<String>, bool) {
    let stops: Vec<String> = stops.iter().map(ToString::to_string).collect();
    let mut stream = TextStream::new(detokenizer, &stops);
    let mut pieces: Vec<String> = ids
        .iter()
        .map(|id| stream.push(*id).expect("decodes").to_string())
        .collect();
    pieces.push(stream.finish().expect("decodes").to_string());
    assert_eq!(pieces.concat(), stream.text());
    (pieces, stream.stopped())
}

fn bytes(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

#[test]
fn a_character_waits_for_its_last_byte() {
    let (pieces, _) = pieces(&Bytes, &bytes("a€b"), &[]);
    assert_eq!(pieces, ["a", "", "", "€", "b", ""]);
}

#[test]
fn bytes_that_never_become_a_character_appear_at_the_end() {
    let (pieces, _) = pieces(&Bytes, &[0x61, 0xE2, 0x82], &[]);
    assert_eq!(pieces, ["a", "", "", "\u{FFFD}"]);
}

#[test]
fn a_stop_string_is_found_across_tokens_and_cut() {
    let (pieces, stopped) = pieces(&Bytes, &bytes("hi\nUser: x"), &["\nUser:"]);
    assert!(stopped);
    assert_eq!(pieces.concat(), "hi");
}

#[test]
fn a_false_start_of_a_stop_string_is_released() {
    let (pieces, stopped) = pieces(&Bytes, &bytes("a\nUsed"), &["\nUser:"]);
    assert!(!stopped);
    assert_eq!(pieces, ["a", "", "", "", "", "\nUsed", ""]);
}

#[test]
fn an_unfinished_stop_string_is_released_at_the_end() {
    let (pieces, stopped) = pieces(&Bytes, &bytes("a#"), &["##"]);
    assert!(!stopped);
    assert_eq!(pieces, ["a", "", "#"]);
}

#[test]
fn only_the_first_word_loses_its_space() {
    for ids in [
        &[2, 3, 4, 5][..],
        &[0, 2, 3, 5],
        &[2, 0, 0, 3],
        &[1, 2, 3],
        &[1, 4, 1, 4],
        &[2, 1, 3, 1, 1, 4],
    ] {
        let (pieces, _) = pieces(&Words, ids, &[]);
        assert_eq!(
            pieces.concat(),
            Words.detokenize(ids).expect("decodes"),
            "{ids:?}"
        );
    }
}

#[test]
fn text_goes_on_after_a_byte_that_spoils_its_run() {
    let (pieces, _) = pieces(&ByteRun, &[0xE2, 0x82, 0xAC, 0xE2, 0x61, 0x62], &[]);
    assert_eq!(pieces, ["", "", "€", "", "\u{FFFD}a", "b", ""]);
}

proptest! {
    #[test]
    fn pieces_add_up_to_the_whole(ids in prop::collection::vec(0u32..6, 0..30)) {
        let (pieces, _) = pieces(&Words, &ids, &[]);
        prop_assert_eq!(pieces.concat(), Words.detokenize(&ids).expect("decodes"));
    }

    #[test]
    fn text_never_contains_half_a_character_nor_a_stop_string(text in "[ab#€日]{0,30}", stop in "[ab#€日]{1,4}") {
        let (pieces, stopped) = pieces(&Bytes, &bytes(&text), &[&stop]);
        prop_assert!(pieces.iter().all(|piece| !piece.contains(REPLACEMENT)));
        let expected = text.find(&stop).map_or(text.as_str(), |position| &text[..position]);
        prop_assert_eq!(pieces.concat(), expected);
        prop_assert_eq!(stopped, text.contains(&stop));
    }
}
