//! Negative log-likelihood of given tokens, and its gradient.

use burn::tensor::{DType, Int, Tensor, TensorData, activation};

/// Log-likelihoods of target tokens under rows of logits. Preferred variable name: `scored`.
#[derive(Debug)]
pub struct TargetScores {
    /// Natural log-probabilities of every token, `[n_targets, vocab_size]`, f32.
    log_probabilities: Tensor<2>,
    /// `[n_targets, 1]`
    targets: Tensor<2, Int>,
}

impl TargetScores {
    /// Scores `targets[i]` under `logits[i]`.
    ///
    /// # Shapes
    /// - `logits`: `[n_targets, vocab_size]`
    ///
    /// # Panics
    /// If there is not one target for each row of logits.
    pub fn new(logits: Tensor<2>, targets: &[u32]) -> Self {
        assert_eq!(
            logits.dims()[0],
            targets.len(),
            "one target for each row of logits"
        );
        let device = logits.device().inner();
        let ids = TensorData::new(
            targets.iter().map(|id| *id as i32).collect::<Vec<_>>(),
            [targets.len(), 1],
        );
        let targets = Tensor::from_data(ids, &device);
        Self {
            log_probabilities: activation::log_softmax(logits.cast(DType::F32), 1),
            targets,
        }
    }

    /// The natural log-probability of each target, `[n_targets]`.
    pub fn log_likelihood(&self) -> Tensor<1> {
        self.log_probabilities
            .clone()
            .gather(1, self.targets.clone())
            .squeeze_dim(1)
    }

    /// The log-probabilities of every token, `[n_targets, vocab_size]`.
    pub fn log_probabilities(&self) -> &Tensor<2> {
        &self.log_probabilities
    }

    /// Gradient of `sum_i weights[i] * -log_likelihood[i]` with respect to the logits, `[n_targets, vocab_size]`.
    ///
    /// # Panics
    /// If there is not one weight for each target.
    pub fn backward(self, weights: &[f32]) -> Tensor<2> {
        let n_targets = self.targets.dims()[0];
        assert_eq!(weights.len(), n_targets, "one weight for each target");
        let device = self.log_probabilities.device();
        let weights =
            Tensor::<2>::from_data(TensorData::new(weights.to_vec(), [n_targets, 1]), &device);
        let softmax = self.log_probabilities.exp() * weights.clone();
        softmax.scatter(
            1,
            self.targets,
            weights.neg(),
            burn::tensor::IndexingUpdateOp::Add,
        )
    }
}
