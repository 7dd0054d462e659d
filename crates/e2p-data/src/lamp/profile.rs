//! Profile entries as sentences, in the words in which the paper's prompts give them to a model
//! (its appendix on prompts).

use serde_json::{Map, Value};

use crate::error::excerpt;
use crate::time;

/// The entry, what was found, what was expected.
type BadEntry = (usize, String, &'static str);

/// The entries as sentences and the latest date. Where every entry has a date they are sorted, the
/// latest first.
pub(super) fn read(
    task: usize,
    entries: &[Map<String, Value>],
) -> Result<(Vec<String>, Option<i64>), BadEntry> {
    let mut sentences = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        let date = date(entry.get("date"));
        let date = date.map_err(|found| (number, format!("date {found}"), "a date"))?;
        let text = sentence(task, entry)
            .map_err(|field| (number, format!("no `{field}`"), "the fields of the task"))?;
        sentences.push((date, text));
    }
    if sentences.iter().all(|(date, _)| date.is_some()) {
        sentences.sort_by_key(|(date, _)| std::cmp::Reverse(*date));
    }
    let latest = sentences.iter().filter_map(|(date, _)| *date).max();
    let texts = sentences.into_iter().map(|(_, text)| text);
    Ok((texts.filter(|text| !text.is_empty()).collect(), latest))
}

/// When, where there is a date; a value that is none is what was found.
pub(super) fn date(value: Option<&Value>) -> Result<Option<i64>, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return Ok(None);
    };
    let written = plain(value).unwrap_or_else(|| value.to_string());
    match time::parse(&written) {
        Some(time) => Ok(Some(time)),
        None => Err(excerpt(&written)),
    }
}

/// A text or a number as text; nothing else is one.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The entry's sentence, or the field that it lacks.
fn sentence(task: usize, entry: &Map<String, Value>) -> Result<String, &'static str> {
    let field = |name: &'static str| entry.get(name).and_then(plain).ok_or(name);
    Ok(match task {
        1 => format!("\"{}\"", field("title")?),
        2 => format!(
            "the tag for the movie: \"{}\" is \"{}\"",
            field("description")?,
            field("tag")?
        ),
        3 => format!(
            "{} is the score for \"{}\"",
            field("score")?,
            field("text")?
        ),
        4 => format!(
            "\"{}\" is the title for \"{}\"",
            field("title")?,
            field("text")?
        ),
        5 => format!(
            "\"{}\" is the title for \"{}\"",
            field("title")?,
            field("abstract")?
        ),
        6 => format!(
            "\"{}\" is the title for \"{}\"",
            field("title")?,
            field("text")?
        ),
        _ => field("text")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(json: &str) -> Vec<Map<String, Value>> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn dated_entries_are_sorted_and_others_are_not() {
        let dated = r#"[{"text": "a", "date": "2009-05-01"}, {"text": "b", "date": "2010-01-01"}]"#;
        let (texts, latest) = read(7, &entries(dated)).unwrap();
        assert_eq!(
            (texts, latest),
            (vec!["b".into(), "a".into()], Some(1_262_304_000))
        );
        let (texts, latest) = read(7, &entries(r#"[{"text": "a"}, {"text": "b"}]"#)).unwrap();
        assert_eq!((texts, latest), (vec!["a".into(), "b".into()], None));
    }

    #[test]
    fn every_task_has_its_fields() {
        let whole = r#"[{"title": "T", "abstract": "A", "tag": "g", "description": "D", "score": 5, "text": "X"}]"#;
        for (task, expected) in [
            (1, "\"T\""),
            (2, "the tag for the movie: \"D\" is \"g\""),
            (3, "5 is the score for \"X\""),
            (4, "\"T\" is the title for \"X\""),
            (5, "\"T\" is the title for \"A\""),
            (6, "\"T\" is the title for \"X\""),
            (7, "X"),
        ] {
            assert_eq!(read(task, &entries(whole)).unwrap().0, [expected]);
            let (entry, found, _) = read(task, &entries(r#"[{"id": "1"}]"#)).unwrap_err();
            assert!(entry == 0 && found.starts_with("no `"), "{found}");
        }
        assert!(read(7, &entries(r#"[{"text": "a", "date": "soon"}]"#)).is_err());
    }
}
