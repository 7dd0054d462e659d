//! Learning rate by step: linear warm-up, then a constant or half a cosine.

use crate::recipe::Schedule;

/// A course of learning rates. Preferred variable name: `rates`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LearningRates {
    /// The highest one.
    pub(crate) peak: f64,
    /// Steps of linear warm-up.
    pub(crate) warmup_steps: usize,
    /// What follows.
    pub(crate) schedule: Schedule,
    /// Steps in all.
    pub(crate) total_steps: usize,
}

impl LearningRates {
    /// The learning rate of `step`, counted from 0.
    pub(crate) fn at(&self, step: usize) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step + 1) as f64 / self.warmup_steps as f64;
        }
        match self.schedule {
            Schedule::Constant => self.peak,
            Schedule::Cosine => {
                let length = self.total_steps.saturating_sub(self.warmup_steps).max(1);
                let progress = (step - self.warmup_steps) as f64 / length as f64;
                self.peak * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_linearly_then_falls_to_zero() {
        let cosine = LearningRates {
            peak: 1.0,
            warmup_steps: 4,
            schedule: Schedule::Cosine,
            total_steps: 12,
        };
        let rates: Vec<f64> = (0..=12).map(|step| cosine.at(step)).collect();
        assert_eq!(rates[..4], [0.25, 0.5, 0.75, 1.0]);
        assert!(
            (rates[4] - 1.0).abs() < 1e-12
                && (rates[8] - 0.5).abs() < 1e-12
                && rates[12].abs() < 1e-12
        );
        assert!(rates[4..].windows(2).all(|pair| pair[1] < pair[0]));
        let constant = LearningRates {
            schedule: Schedule::Constant,
            ..cosine
        };
        assert!((constant.at(11) - 1.0).abs() < 1e-12);
    }
}
