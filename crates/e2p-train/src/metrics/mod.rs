//! Metrics on answers, labels, ratings and ranks. Each is implemented once, cites its reference
//! implementation and is tested against that implementation's output (`tests/golden/metrics.py`);
//! `docs/METRICS.md` has the formulas.

mod bleu;
mod labels;
mod ranks;
mod ratings;
mod rouge;
mod words;

pub use bleu::{BLEU_SIGNATURE, BleuStatistics};
pub use labels::{LabelCounts, macro_f1};
pub use ranks::{hit_rate, ndcg, reciprocal_rank};
pub use ratings::lamp_rating;
pub use rouge::{Rouge, rouge_google, rouge_package};
pub use words::{distinct, f1, ngrams, normalize_answer};
