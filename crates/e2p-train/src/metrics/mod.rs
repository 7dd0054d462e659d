//! Metrics on text. Each is implemented once, cites its reference implementation and is tested against that implementation's output
//! (`tests/golden/metrics.py`).

mod bleu;
mod rouge;
mod words;

pub use bleu::{BLEU_SIGNATURE, BleuStatistics};
pub use rouge::{Rouge, rouge_google, rouge_pens};
pub use words::{distinct, f1, normalize_answer};
