//! Words as PENS counts them: its preprocessing splits lower-cased text by `[\w]+|[.,!?;|]`.

/// The beginning of `text` that has at most `limit` words, as it is written; zero keeps all.
///
/// A word is a run of letters, digits and underscores, or one of `.,!?;|`; everything else only
/// separates. Language models read text better as it was written, so the words are counted and not
/// replaced.
pub(super) fn first_words(text: &str, limit: usize) -> &str {
    let text = text.trim();
    if limit == 0 {
        return text;
    }
    let (mut words, mut in_word) = (0, false);
    for (at, c) in text.char_indices() {
        let is_letter = c.is_alphanumeric() || c == '_';
        let begins = (is_letter && !in_word) || ".,!?;|".contains(c);
        if begins {
            if words == limit {
                return text[..at].trim_end();
            }
            words += 1;
        }
        in_word = is_letter;
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn words_are_those_of_the_official_pattern() {
        let text = "Well, it's 5.30 — \u{201c}naïve_x\u{201d}!";
        // Python: re.findall(r"[\w]+|[.,!?;|]", text) gives 10: Well , it s 5 . 30 naïve_x !
        for (limit, expected) in [
            (1, "Well"),
            (2, "Well,"),
            (4, "Well, it's"),
            (6, "Well, it's 5."),
            (7, "Well, it's 5.30 — \u{201c}"),
            (8, "Well, it's 5.30 — \u{201c}naïve_x\u{201d}"),
            (9, text),
            (0, text),
        ] {
            assert_eq!(first_words(text, limit), expected, "{limit}");
        }
    }

    proptest! {
        #[test]
        fn cutting_twice_is_cutting_once(text in "\\PC{0,40}", limit in 0..9_usize) {
            let once = first_words(&text, limit);
            prop_assert!(text.contains(once));
            prop_assert_eq!(first_words(once, limit), once);
        }
    }
}
