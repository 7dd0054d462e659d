//! The seven tasks: their names, licences and labels.

use std::collections::BTreeSet;

use crate::source::SourceInfo;

const CITATION: &str = "Salemi, Mysore, Bendersky, Zamani: LaMP: When Large Language Models Meet Personalization. ACL 2024, arXiv 2304.11406.";
const LICENCE: &str =
    "CC BY-NC-SA 4.0 for the benchmark; the texts keep the licences of their sources";
const LIMITS: &str =
    "Non-commercial use. The outputs of the official test questions are not public.";

const fn task(name: &'static str, task: &'static str, use_limits: &'static str) -> SourceInfo {
    SourceInfo {
        name,
        task,
        citation: CITATION,
        licence: LICENCE,
        use_limits,
    }
}

/// Where each task comes from, LaMP-1 first.
pub const LAMP: [SourceInfo; 7] = [
    task("LaMP-1: citation identification", "lamp-1", LIMITS),
    task("LaMP-2: movie tagging", "lamp-2", LIMITS),
    task("LaMP-3: product rating", "lamp-3", LIMITS),
    task("LaMP-4: news headlines", "lamp-4", LIMITS),
    task("LaMP-5: scholarly titles", "lamp-5", LIMITS),
    task(
        "LaMP-6: e-mail subjects",
        "lamp-6",
        "Non-commercial use. The e-mails are the Avocado collection, LDC2015T03, which needs an agreement with the Linguistic Data Consortium and may \
         not be redistributed.",
    ),
    task("LaMP-7: tweet paraphrasing", "lamp-7", LIMITS),
];

/// The fifteen tags of LaMP-2, as its questions list them.
pub const MOVIE_TAGS: [&str; 15] = [
    "sci-fi",
    "based on a book",
    "comedy",
    "action",
    "twist ending",
    "dystopia",
    "dark comedy",
    "classic",
    "psychology",
    "fantasy",
    "romance",
    "thought-provoking",
    "social commentary",
    "violence",
    "true story",
];

/// `LaMP_2` is 2; the files also write `LaMP-2` and `lamp2`.
pub(super) fn number(name: &str) -> Option<usize> {
    let name = name.trim().to_ascii_lowercase();
    let digit = name
        .strip_prefix("lamp")?
        .trim_start_matches(['_', '-', ' ']);
    digit.parse().ok().filter(|number| (1..=7).contains(number))
}

/// The labels that `task` chooses from; none where it writes text.
///
/// If an output is none of the documented labels, the labels are those that the outputs have, in
/// alphabetical order.
pub(super) fn labels<'a>(task: usize, golds: impl Iterator<Item = &'a String>) -> Vec<String> {
    let documented: &[&str] = match task {
        1 => &["[1]", "[2]"],
        2 => &MOVIE_TAGS,
        3 => &["1", "2", "3", "4", "5"],
        _ => return Vec::new(),
    };
    let found: BTreeSet<&str> = golds.map(String::as_str).collect();
    let labels: Vec<&str> = if found.iter().all(|gold| documented.contains(gold)) {
        documented.to_vec()
    } else {
        found.into_iter().collect()
    };
    labels.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers() {
        let numbers = ["LaMP_1", "lamp-7", "LaMP2", "LaMP_8", "LaMP_", "LongLaMP_2"].map(number);
        assert_eq!(numbers, [Some(1), Some(7), Some(2), None, None, None]);
    }

    #[test]
    fn labels_are_the_documented_ones_unless_the_outputs_have_others() {
        let golds = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        let of = |task, texts| labels(task, golds(texts).iter());
        assert_eq!(of(1, &["[2]"]), ["[1]", "[2]"]);
        assert_eq!(of(2, &["comedy"]).len(), 15);
        assert_eq!(of(2, &["women", "crime", "women"]), ["crime", "women"]);
        assert_eq!(of(3, &["5"]), ["1", "2", "3", "4", "5"]);
        assert!(of(4, &["A headline"]).is_empty());
    }
}
