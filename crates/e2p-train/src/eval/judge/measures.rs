//! Which figures a task is judged by, and how they follow from the scores of a condition.
//!
//! The task is the one that the data directory names; `docs/METRICS.md` has the table.

use std::collections::HashMap;

use crate::eval::arms::EvalExample;
use crate::eval::judge::figure::{Figure, Link};
use crate::eval::score::Scores;
use crate::eval::score::candidates::{Candidates, Choice, Ranked};
use crate::metrics;

/// Cut-offs of the ranks in a catalogue.
const CUTOFFS: [usize; 3] = [5, 10, 50];

/// A figure of one condition under its name.
#[derive(Debug, Clone)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) figure: Figure,
    pub(crate) is_lower_better: bool,
    /// Whether differences of it are reported.
    pub(crate) has_gain: bool,
}

/// What the candidates of a task are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CandidateKind {
    /// Replies or titles, other ones in each example: hits@1 and MRR.
    Texts,
    /// Options of a question, other ones in each example: accuracy and MRR.
    Options,
    /// The labels of a classification, the same everywhere: accuracy and macro-F1.
    Labels,
}

/// What answers in text are compared by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AnswerKind {
    /// F1, BLEU and distinct-n.
    overlap: bool,
    /// ROUGE as `rouge_score` counts.
    rouge: bool,
    /// ROUGE as the package `rouge` counts.
    rouge_package: bool,
    /// Stars from 1 to 5.
    rating: bool,
    /// Equality, where there are no candidates.
    label: bool,
}

/// Whether a ROUGE is wanted, what its names end with, and the metric.
type Convention = (bool, &'static str, fn(&str, &str) -> metrics::Rouge);

/// How a task is judged. Preferred variable name: `measures`.
#[derive(Debug, Clone)]
pub(crate) struct Measures {
    candidates: CandidateKind,
    answers: AnswerKind,
    /// The labels of a classification.
    labels: Vec<String>,
}

/// What the figures are made from.
#[derive(Clone, Copy)]
pub(crate) struct Judged<'a> {
    pub(crate) n_users: usize,
    pub(crate) examples: &'a [EvalExample],
    /// The examples whose candidates were ranked.
    pub(crate) ranked: &'a [Candidates],
}

impl Measures {
    /// For the task of a data directory.
    pub(crate) fn new(task: &str, judged: Judged<'_>) -> Self {
        let none = AnswerKind {
            overlap: false,
            rouge: false,
            rouge_package: false,
            rating: false,
            label: false,
        };
        let rouge = AnswerKind {
            rouge: true,
            ..none
        };
        let (kind, answers) = match task {
            "personachat" => (
                CandidateKind::Texts,
                AnswerKind {
                    overlap: true,
                    ..rouge
                },
            ),
            "pens" => (
                CandidateKind::Texts,
                AnswerKind {
                    overlap: true,
                    rouge_package: true,
                    ..rouge
                },
            ),
            "mind" | "lamp-4" | "lamp-5" | "lamp-6" | "lamp-7" => (CandidateKind::Texts, rouge),
            "lamp-1" | "lamp-2" => (
                CandidateKind::Labels,
                AnswerKind {
                    label: true,
                    ..none
                },
            ),
            "lamp-3" => (
                CandidateKind::Labels,
                AnswerKind {
                    rating: true,
                    ..none
                },
            ),
            "interactions" => (CandidateKind::Texts, none),
            // One's own data: questions with options, or text.
            _ => (
                CandidateKind::Options,
                AnswerKind {
                    overlap: true,
                    ..rouge
                },
            ),
        };
        let labels = labels(judged);
        let kind = match kind {
            // The same few candidates everywhere are the labels of a classification.
            CandidateKind::Options if labels.is_some() => CandidateKind::Labels,
            CandidateKind::Labels if labels.is_none() && !judged.ranked.is_empty() => {
                CandidateKind::Options
            }
            kind => kind,
        };
        let labels = labels.unwrap_or_else(|| {
            let mut targets: Vec<String> = judged
                .examples
                .iter()
                .map(|example| example.example.target.trim().to_owned())
                .collect();
            targets.sort();
            targets.dedup();
            targets
        });
        Self {
            candidates: kind,
            answers,
            labels,
        }
    }

    /// The figures of one condition, in the order in which reports show them.
    pub(crate) fn metrics(&self, judged: Judged<'_>, scores: &Scores) -> Vec<Metric> {
        let mut found = Found {
            judged,
            metrics: Vec::new(),
        };
        found.language_model(&scores.nll);
        self.choices(&mut found, scores);
        self.answers(&mut found, scores);
        found.catalogue("", &scores.catalogue);
        found.beam(&scores.beam);
        found.metrics
    }

    fn choices(&self, found: &mut Found<'_>, scores: &Scores) {
        if scores.choices.is_empty() {
            return;
        }
        let ways: [(&str, fn(&Choice) -> Option<Ranked>); 4] = [
            ("", |choice| Some(choice.sum)),
            ("_per_token", |choice| Some(choice.per_token)),
            ("_pmi", |choice| choice.pmi),
            ("_user_pmi", |choice| choice.user_pmi),
        ];
        for (suffix, way) in ways {
            let Some(outcomes) = scores.choices.iter().map(way).collect::<Option<Vec<_>>>() else {
                continue;
            };
            let outcome = |index: usize| outcomes[index];
            let of = |index: usize| found.judged.ranked[index].example;
            let all = 0..scores.choices.len();
            let first: Vec<(usize, f64)> = all
                .clone()
                .map(|index| (of(index), metrics::hit_rate(outcome(index).rank, 1)))
                .collect();
            let reciprocal: Vec<(usize, f64)> = all
                .clone()
                .map(|index| (of(index), metrics::reciprocal_rank(outcome(index).rank)))
                .collect();
            let accuracy = match self.candidates {
                CandidateKind::Texts => "hits@1",
                _ => "accuracy",
            };
            found.mean(&format!("{accuracy}{suffix}"), first);
            if self.candidates == CandidateKind::Labels {
                let predicted = all
                    .map(|index| {
                        let example = &found.judged.examples[of(index)].example;
                        (
                            of(index),
                            Some(example.candidates[outcome(index).first].as_str()),
                        )
                    })
                    .collect();
                self.macro_f1(found, &format!("macro_f1{suffix}"), predicted);
            } else {
                let name = if scores.catalogue.is_empty() {
                    "mrr"
                } else {
                    "mrr_candidates"
                };
                found.mean(&format!("{name}{suffix}"), reciprocal);
            }
        }
    }

    fn macro_f1(&self, found: &mut Found<'_>, name: &str, predicted: Vec<(usize, Option<&str>)>) {
        let number: HashMap<&str, usize> = self
            .labels
            .iter()
            .enumerate()
            .map(|(number, label)| (label.as_str(), number))
            .collect();
        let truth = |example: usize| {
            let target = found.judged.examples[example].example.target.as_str();
            number[target.trim()]
        };
        let of: Vec<usize> = predicted.iter().map(|(example, _)| *example).collect();
        let entries = predicted.iter().map(|(example, label)| {
            let label = label.and_then(|label| number.get(label.trim()).copied());
            (found.judged.examples[*example].user, label, truth(*example))
        });
        let figure = Figure::macro_f1(found.judged.n_users, self.labels.len(), entries);
        found.push(name, &of, figure, false, true);
    }

    fn answers(&self, found: &mut Found<'_>, scores: &Scores) {
        let answers = &scores.answers;
        if answers.is_empty() {
            return;
        }
        let judged = found.judged;
        let target = |index: usize| judged.examples[index].example.target.as_str();
        let user = |index: usize| judged.examples[index].user;
        let of: Vec<usize> = (0..answers.len()).collect();
        let each = |value: &dyn Fn(&str, &str) -> f64| -> Vec<(usize, f64)> {
            of.iter()
                .map(|index| (*index, value(&answers[*index], target(*index))))
                .collect()
        };
        if self.answers.label && scores.choices.is_empty() {
            let is_right =
                each(&|answer, target| f64::from(u8::from(answer.trim() == target.trim())));
            found.mean("accuracy", is_right);
            let predicted = of
                .iter()
                .map(|index| (*index, Some(answers[*index].as_str())));
            self.macro_f1(found, "macro_f1", predicted.collect());
        }
        if self.answers.rating {
            let error = |power: i32| {
                each(&|answer, target| {
                    let truth: f64 = target.trim().parse().unwrap_or(f64::NAN);
                    (metrics::lamp_rating(answer, truth) - truth)
                        .abs()
                        .powi(power)
                })
            };
            // A target that is no number has no error.
            let known = |errors: Vec<(usize, f64)>| -> Vec<(usize, f64)> {
                errors
                    .into_iter()
                    .filter(|(_, error)| error.is_finite())
                    .collect()
            };
            found.ratio("mae", known(error(1)), Link::Identity, true);
            found.ratio("rmse", known(error(2)), Link::Sqrt, true);
        }
        if self.answers.overlap {
            found.mean("f1", each(&metrics::f1));
            let entries = of
                .iter()
                .map(|index| (user(*index), answers[*index].as_str(), target(*index)));
            let bleu = Figure::bleu(judged.n_users, entries);
            found.push("bleu", &of, bleu, false, true);
        }
        let conventions: [Convention; 2] = [
            (self.answers.rouge, "", metrics::rouge_google),
            (
                self.answers.rouge_package,
                "_package",
                metrics::rouge_package,
            ),
        ];
        for (_, suffix, rouge) in conventions.into_iter().filter(|(wanted, ..)| *wanted) {
            found.mean(
                &format!("rouge_1{suffix}"),
                each(&|a, b| rouge(a, b).rouge_1),
            );
            found.mean(
                &format!("rouge_2{suffix}"),
                each(&|a, b| rouge(a, b).rouge_2),
            );
            found.mean(
                &format!("rouge_l{suffix}"),
                each(&|a, b| rouge(a, b).rouge_l),
            );
        }
        if self.answers.overlap {
            for n in [1, 2] {
                let entries = of
                    .iter()
                    .map(|index| (user(*index), answers[*index].as_str()));
                let figure = Figure::distinct(judged.n_users, n, entries);
                found.push(&format!("distinct_{n}"), &of, figure, false, true);
            }
        }
    }
}

/// Figures of a ranking of the catalogue that is no language model's, such as popularity.
pub(crate) fn of_ranking(judged: Judged<'_>, ranks: &[(usize, usize)]) -> Vec<Metric> {
    let mut found = Found {
        judged,
        metrics: Vec::new(),
    };
    found.catalogue("", ranks);
    found.metrics
}

/// The candidates, where they are the same everywhere, sorted.
fn labels(judged: Judged<'_>) -> Option<Vec<String>> {
    let sorted = |candidates: &Candidates| {
        let mut labels: Vec<String> = judged.examples[candidates.example]
            .example
            .candidates
            .iter()
            .map(|label| label.trim().to_owned())
            .collect();
        labels.sort();
        labels.dedup();
        labels
    };
    let mut all = judged.ranked.iter().map(sorted);
    let first = all.next()?;
    (judged.ranked.len() > 1 && all.all(|labels| labels == first)).then_some(first)
}

/// Figures found so far.
struct Found<'a> {
    judged: Judged<'a>,
    metrics: Vec<Metric>,
}

impl Found<'_> {
    /// Keeps a figure of the users whose examples it is made from.
    fn push(
        &mut self,
        name: &str,
        examples: &[usize],
        figure: Figure,
        is_lower_better: bool,
        has_gain: bool,
    ) {
        let mut users: Vec<usize> = examples
            .iter()
            .map(|example| self.judged.examples[*example].user)
            .collect();
        users.sort_unstable();
        users.dedup();
        self.metrics.push(Metric {
            name: name.to_owned(),
            figure: figure.of_users(&users),
            is_lower_better,
            has_gain,
        });
    }

    fn ratio(&mut self, name: &str, values: Vec<(usize, f64)>, link: Link, is_lower_better: bool) {
        let of: Vec<usize> = values.iter().map(|(example, _)| *example).collect();
        let entries = values
            .into_iter()
            .map(|(example, value)| (self.judged.examples[example].user, value, 1.0));
        let figure = Figure::ratio(self.judged.n_users, link, entries);
        self.push(name, &of, figure, is_lower_better, true);
    }

    /// A mean over examples, better when higher.
    fn mean(&mut self, name: &str, values: Vec<(usize, f64)>) {
        self.ratio(name, values, Link::Identity, false);
    }

    fn language_model(&mut self, nll: &[(f64, usize)]) {
        let judged = self.judged;
        let of: Vec<usize> = (0..nll.len()).collect();
        let user = |index: usize| judged.examples[index].user;
        let per_token = |link| {
            let entries = of
                .iter()
                .map(|index| (user(*index), nll[*index].0, nll[*index].1 as f64));
            Figure::ratio(judged.n_users, link, entries)
        };
        let bits = of.iter().map(|index| {
            let bytes = judged.examples[*index].example.target.len() as f64;
            (user(*index), nll[*index].0 / std::f64::consts::LN_2, bytes)
        });
        let bits = Figure::ratio(judged.n_users, Link::Identity, bits);
        self.push("nll", &of, per_token(Link::Identity), true, true);
        self.push("ppl", &of, per_token(Link::Exp), true, false);
        self.push("bits_per_byte", &of, bits, true, true);
    }

    /// Ranks in the catalogue, as (example, rank).
    fn catalogue(&mut self, prefix: &str, ranks: &[(usize, usize)]) {
        if ranks.is_empty() {
            return;
        }
        let each = |value: &dyn Fn(usize) -> f64| -> Vec<(usize, f64)> {
            ranks
                .iter()
                .map(|(example, rank)| (*example, value(*rank)))
                .collect()
        };
        for k in CUTOFFS {
            self.mean(
                &format!("{prefix}hr@{k}"),
                each(&|rank| metrics::hit_rate(rank, k)),
            );
        }
        for k in CUTOFFS {
            self.mean(
                &format!("{prefix}ndcg@{k}"),
                each(&|rank| metrics::ndcg(rank, k)),
            );
        }
        self.mean(&format!("{prefix}mrr"), each(&metrics::reciprocal_rank));
    }

    /// Places in the list that constrained beam search recommends, as (example, place); `None`
    /// where the gold is not in it.
    fn beam(&mut self, places: &[(usize, Option<usize>)]) {
        let ranks: Vec<(usize, usize)> = places
            .iter()
            .map(|(example, place)| (*example, place.unwrap_or(usize::MAX)))
            .collect();
        self.catalogue("beam_", &ranks);
    }
}
