//! Turns one row of logits into one token id.
//!
//! The order and the meaning of every step are those of transformers' `GenerationMixin`
//! (`generation/logits_process.py`): repetition penalty, then temperature, top-k, top-p, min-p,
//! then a draw. Temperature 0 is greedy: the penalty applies, the rest does not, and of equal
//! logits the first wins. Draws come from ChaCha8, so a seed gives the same text on every platform.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::error::{ModelError, Result};

/// How to choose the next token.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingConfig {
    /// Divides the logits; 0 (the default) is greedy.
    pub temperature: f32,
    /// Keep the `k` largest logits, and those equal to the smallest of them.
    pub top_k: Option<usize>,
    /// Keep the smallest set of most probable tokens whose probabilities sum to at least this.
    pub top_p: Option<f32>,
    /// Drop tokens less probable than this fraction of the most probable one.
    pub min_p: Option<f32>,
    /// Above 1, tokens already in the prompt or the answer become less likely (CTRL, arXiv
    /// 1909.05858); 1 is off.
    pub repetition_penalty: f32,
    /// Key of the random stream.
    pub seed: u64,
    /// Number of the random stream under that key: one per row, so that a row draws the same alone
    /// and in a batch.
    pub stream: u64,
}

impl Default for SamplingConfig {
    fn default() -> Self {
        Self {
            temperature: 0.0,
            top_k: None,
            top_p: None,
            min_p: None,
            repetition_penalty: 1.0,
            seed: 0,
            stream: 0,
        }
    }
}

impl SamplingConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// [`ModelError::Sampling`] for the first value out of range, naming it, the value and the
    /// range.
    pub fn validate(&self) -> Result<()> {
        let check = |ok: bool, option: &'static str, found: f64, expected: &'static str| {
            if ok {
                Ok(())
            } else {
                Err(ModelError::Sampling {
                    option,
                    found,
                    expected,
                })
            }
        };
        let in_unit = |p: f32| p > 0.0 && p <= 1.0;
        let top_k = self.top_k.unwrap_or(1);
        let top_p = self.top_p.unwrap_or(1.0);
        let min_p = self.min_p.unwrap_or(0.0);
        check(
            self.temperature.is_finite() && self.temperature >= 0.0,
            "temperature",
            self.temperature.into(),
            "a finite number of at least 0",
        )?;
        check(top_k >= 1, "top_k", top_k as f64, "at least 1")?;
        check(
            in_unit(top_p),
            "top_p",
            top_p.into(),
            "above 0 and at most 1",
        )?;
        check(
            (0.0..=1.0).contains(&min_p),
            "min_p",
            min_p.into(),
            "between 0 and 1",
        )?;
        check(
            self.repetition_penalty.is_finite() && self.repetition_penalty > 0.0,
            "repetition_penalty",
            self.repetition_penalty.into(),
            "a positive number",
        )
    }
}

/// Draws tokens for one row. Preferred variable name: `sampler`.
#[derive(Debug, Clone)]
pub struct Sampler {
    config: SamplingConfig,
    rng: ChaCha8Rng,
    /// Ids the penalty applies to, each once, sorted.
    seen: Vec<u32>,
}

impl Sampler {
    /// A sampler for a row whose prompt holds `prompt_ids` (they count for the repetition penalty;
    /// may be empty).
    ///
    /// # Errors
    /// [`ModelError::Sampling`] if a value of `config` is out of range.
    pub fn new(config: SamplingConfig, prompt_ids: &[u32]) -> Result<Self> {
        config.validate()?;
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed);
        rng.set_stream(config.stream);
        let mut seen = prompt_ids.to_vec();
        seen.sort_unstable();
        seen.dedup();
        Ok(Self { config, rng, seen })
    }

    /// Chooses a token and remembers it for the repetition penalty. Rewrites `logits` on the way.
    ///
    /// `logits` is one row, `[vocab_size]`; minus infinity is allowed and means never.
    ///
    /// # Errors
    /// [`ModelError::Logits`] if a logit is not a number or the row has no finite maximum.
    pub fn sample(&mut self, logits: &mut [f32]) -> Result<u32> {
        let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if !max.is_finite() || logits.iter().any(|logit| logit.is_nan()) {
            return Err(ModelError::Logits {
                found: if max.is_finite() { f32::NAN } else { max },
            });
        }
        penalize_repetition(logits, &self.seen, self.config.repetition_penalty);
        let id = if self.config.temperature == 0.0 {
            argmax(logits)
        } else {
            self.draw(logits)
        };
        if let Err(position) = self.seen.binary_search(&id) {
            self.seen.insert(position, id);
        }
        Ok(id)
    }

    fn draw(&mut self, logits: &mut [f32]) -> u32 {
        let mut candidates = Candidates::new(logits, self.config.temperature);
        if let Some(k) = self.config.top_k {
            candidates.keep_top_k(k);
        }
        if let Some(p) = self.config.top_p {
            candidates.keep_top_p(p);
        }
        if let Some(p) = self.config.min_p {
            candidates.keep_min_p(p);
        }
        candidates.pick(self.rng.random::<f64>())
    }
}

/// Index of the largest value, the first of equals.
///
/// # Panics
/// If `logits` is empty.
pub fn argmax(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

/// Positive logits of `seen` ids are divided by `penalty`, negative ones multiplied.
fn penalize_repetition(logits: &mut [f32], seen: &[u32], penalty: f32) {
    if (penalty - 1.0).abs() < f32::EPSILON {
        return;
    }
    for id in seen {
        // A prompt may hold ids beyond the head only when tokenizer and model disagree; that is
        // checked at loading.
        if let Some(logit) = logits.get_mut(*id as usize) {
            *logit = if *logit < 0.0 {
                *logit * penalty
            } else {
                *logit / penalty
            };
        }
    }
}

/// Tokens still in the running with their unnormalised weights, the most probable first.
struct Candidates {
    /// `(weight, id)`; the weight is `exp(logit - max)`, so the first is 1.
    sorted: Vec<(f64, u32)>,
}

impl Candidates {
    fn new(logits: &[f32], temperature: f32) -> Self {
        // In f64 a tiny temperature cannot overflow the quotient.
        let max = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let weight = |logit: f32| ((f64::from(logit) - max) / f64::from(temperature)).exp();
        let mut sorted: Vec<(f64, u32)> = logits
            .iter()
            .enumerate()
            .map(|(id, logit)| (weight(*logit), id as u32))
            .filter(|(w, _)| *w > 0.0)
            .collect();
        sorted.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        Self { sorted }
    }

    fn total(&self) -> f64 {
        self.sorted.iter().map(|(weight, _)| weight).sum()
    }

    fn keep_top_k(&mut self, k: usize) {
        if let Some((threshold, _)) = self.sorted.get(k - 1).copied() {
            self.sorted.retain(|(weight, _)| *weight >= threshold);
        }
    }

    /// Drops every token whose more probable peers already hold `p` of the mass; the first always
    /// stays.
    fn keep_top_p(&mut self, p: f32) {
        if p >= 1.0 {
            return;
        }
        let enough = f64::from(p) * self.total();
        let mut above = 0.0;
        let kept = self.sorted.iter().take_while(|(weight, _)| {
            let keep = above < enough;
            above += weight;
            keep
        });
        let kept = kept.count().max(1);
        self.sorted.truncate(kept);
    }

    fn keep_min_p(&mut self, p: f32) {
        let threshold = f64::from(p) * self.sorted[0].0;
        self.sorted.retain(|(weight, _)| *weight >= threshold);
    }

    /// The token at the fraction `u` (in `[0, 1)`) of the remaining mass.
    fn pick(&self, u: f64) -> u32 {
        let mut rest = u * self.total();
        for (weight, id) in &self.sorted {
            if rest < *weight {
                return *id;
            }
            rest -= weight;
        }
        // Rounding of the running difference may leave a sliver behind the last token.
        self.sorted
            .last()
            .expect("the most probable token is never dropped")
            .1
    }
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
