//! Learning rate by step: linear warm-up, then a constant or half a cosine.

use crate::recipe::{OptimRecipe, Schedule};

/// The learning rate of `step` (counted from 0) of `total`.
pub fn learning_rate(optim: &OptimRecipe, step: usize, total: usize) -> f64 {
    if step < optim.warmup_steps {
        return optim.lr * (step + 1) as f64 / optim.warmup_steps as f64;
    }
    match optim.schedule {
        Schedule::Constant => optim.lr,
        Schedule::Cosine => {
            let length = total.saturating_sub(optim.warmup_steps).max(1);
            let progress = (step - optim.warmup_steps) as f64 / length as f64;
            optim.lr * 0.5 * (1.0 + (std::f64::consts::PI * progress.min(1.0)).cos())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_linearly_then_falls_to_zero() {
        let optim = OptimRecipe {
            lr: 1.0,
            warmup_steps: 4,
            ..OptimRecipe::default()
        };
        let rates: Vec<f64> = (0..=12)
            .map(|step| learning_rate(&optim, step, 12))
            .collect();
        assert_eq!(rates[..4], [0.25, 0.5, 0.75, 1.0]);
        assert!(
            (rates[4] - 1.0).abs() < 1e-12
                && (rates[8] - 0.5).abs() < 1e-12
                && rates[12].abs() < 1e-12
        );
        assert!(rates[4..].windows(2).all(|pair| pair[1] < pair[0]));
        let constant = OptimRecipe {
            schedule: Schedule::Constant,
            ..optim
        };
        assert!((learning_rate(&constant, 11, 12) - 1.0).abs() < 1e-12);
    }
}
