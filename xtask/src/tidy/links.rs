//! Links between the documents: every relative link leads to a file, and every `#heading` to a
//! heading of it.

use std::path::Path;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Links of a Markdown document that lead nowhere, as `line: text`.
pub(super) fn problems(path: &Path, text: &str) -> Vec<String> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut problems = Vec::new();
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        let (Event::Start(Tag::Link { dest_url, .. }) | Event::Start(Tag::Image { dest_url, .. })) =
            event
        else {
            continue;
        };
        if dest_url.contains("://") || dest_url.starts_with("mailto:") {
            continue;
        }
        let (file, heading) = match dest_url.split_once('#') {
            Some((file, heading)) => (file, Some(heading)),
            None => (dest_url.as_ref(), None),
        };
        let line = text[..range.start].matches('\n').count() + 1;
        let target = folder.join(file);
        let is_here = file.is_empty();
        if !is_here && !target.exists() {
            problems.push(format!("{line}: `{dest_url}` leads to no file"));
        } else if let Some(heading) = heading {
            let there = if is_here {
                text.to_owned()
            } else {
                std::fs::read_to_string(&target).unwrap_or_default()
            };
            if !headings(&there).iter().any(|name| name == heading) {
                problems.push(format!("{line}: `{dest_url}` leads to no heading"));
            }
        }
    }
    problems
}

/// The headings as links name them: lower case, words joined by `-`, without punctuation.
fn headings(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut open: Option<String> = None;
    for event in Parser::new(text) {
        match event {
            Event::Start(Tag::Heading { .. }) => open = Some(String::new()),
            Event::End(TagEnd::Heading(_)) => names.extend(open.take().map(|name| slug(&name))),
            Event::Text(part) | Event::Code(part) => {
                if let Some(name) = &mut open {
                    name.push_str(&part);
                }
            }
            _ => {}
        }
    }
    names
}

fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::problems;

    #[test]
    fn links_lead_to_files_and_headings() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/page.md");
        let found = |text: &str| problems(&path, text);
        assert!(
            found("[a](DATA.md) [b](../README.md#the-crates) [c](https://x.y/z) `[d](e.md)`")
                .is_empty()
        );
        assert!(found("# Life of a `batch`, again\n\n[here](#life-of-a-batch-again)").is_empty());
        assert_eq!(
            found("first\n\n[a](no/such.md) [b](DATA.md#no-such)"),
            [
                "3: `no/such.md` leads to no file",
                "3: `DATA.md#no-such` leads to no heading"
            ]
        );
        assert_eq!(found("![a](none.svg)").len(), 1);
    }
}
