//! When a text ends: an end-of-sequence token, a stop string, or the token limit.

/// What ends a generated text. Preferred variable name: `stop`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopConditions {
    /// Ids that end the text. The id itself is reported, its text is not.
    pub eos_token_ids: Vec<u32>,
    /// Strings that end the text, wherever token borders fall. The text is cut before the first
    /// that appears.
    pub strings: Vec<String>,
    /// Most new tokens per row.
    pub max_new_tokens: usize,
}

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// An end-of-sequence token or a stop string.
    Stop,
    /// `max_new_tokens` were generated.
    Length,
    /// The caller's callback asked to end early.
    Interrupted,
}

impl Finish {
    /// `stop`, `length` or `interrupted`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Interrupted => "interrupted",
        }
    }
}

impl StopConditions {
    /// Whether `id` ends the text.
    pub fn is_eos(&self, id: u32) -> bool {
        self.eos_token_ids.contains(&id)
    }
}

/// Byte offset of the earliest stop string in `text`.
pub(crate) fn find_stop(text: &str, strings: &[String]) -> Option<usize> {
    strings
        .iter()
        .filter(|string| !string.is_empty())
        .filter_map(|string| text.find(string.as_str()))
        .min()
}

/// Length in bytes of the end of `text` that may still grow into a stop string.
pub(crate) fn undecided_len(text: &str, strings: &[String]) -> usize {
    let longest = strings.iter().map(String::len).max().unwrap_or(0);
    // A proper prefix of a stop string is shorter than the string.
    let first = text.len().saturating_sub(longest.saturating_sub(1));
    (first..text.len())
        .filter(|start| text.is_char_boundary(*start))
        .find(|start| {
            strings
                .iter()
                .any(|string| string.starts_with(&text[*start..]))
        })
        .map_or(0, |start| text.len() - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_earliest_stop_string_wins() {
        assert_eq!(
            find_stop("one two three", &strings(&["three", "two"])),
            Some(4)
        );
        assert_eq!(find_stop("one", &strings(&["two", ""])), None);
    }

    #[test]
    fn a_possible_beginning_is_undecided() {
        let stops = strings(&["\nUser:", "###"]);
        assert_eq!(undecided_len("Hello\nUse", &stops), 4);
        assert_eq!(undecided_len("Hello##", &stops), 2);
        assert_eq!(undecided_len("Hello\nUsed", &stops), 0);
        assert_eq!(undecided_len("", &stops), 0);
        assert_eq!(undecided_len("Hello", &[]), 0);
    }

    #[test]
    fn undecided_text_respects_character_borders() {
        assert_eq!(undecided_len("aé", &strings(&["éa"])), 'é'.len_utf8());
        assert_eq!(undecided_len("日本", &strings(&["本語"])), '本'.len_utf8());
    }
}
