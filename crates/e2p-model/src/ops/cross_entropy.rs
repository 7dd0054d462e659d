//! Negative log-likelihood of given tokens, and its gradient.

use std::sync::OnceLock;

use burn::tensor::{DType, Int, Tensor, TensorData, activation};

use crate::kernels;

/// Log-likelihoods of target tokens under rows of logits. Preferred variable name: `scored`.
#[derive(Debug)]
pub struct TargetScores {
    /// Natural log-probabilities of every token, `[n_targets, vocab_size]`, f32; made when asked
    /// for where [`Self::summed`] is there.
    log_probabilities: OnceLock<Tensor<2>>,
    summed: Option<Summed>,
    targets: Vec<u32>,
}

/// What the CPU kernels keep instead: no second array of the logits' size.
#[derive(Debug)]
struct Summed {
    /// `[n_targets, vocab_size]`
    logits: Tensor<2>,
    /// Log of the sum of exponentials, by target.
    log_sums: Vec<f32>,
    /// The logit of each target.
    target_logits: Vec<f32>,
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
        if kernels::serves(&logits) {
            let (log_sums, target_logits) = kernels::log_sums(&logits, targets);
            return Self {
                log_probabilities: OnceLock::new(),
                summed: Some(Summed {
                    logits,
                    log_sums,
                    target_logits,
                }),
                targets: targets.to_vec(),
            };
        }
        Self::composed(logits, targets)
    }

    /// [`Self::new`] by tensor operations, for every device and for autodiff.
    pub(crate) fn composed(logits: Tensor<2>, targets: &[u32]) -> Self {
        Self {
            log_probabilities: activation::log_softmax(logits.cast(DType::F32), 1).into(),
            summed: None,
            targets: targets.to_vec(),
        }
    }

    /// The natural log-probability of each target, `[n_targets]`.
    pub fn log_likelihood(&self) -> Tensor<1> {
        if let Some(summed) = &self.summed {
            let values: Vec<f32> = summed
                .target_logits
                .iter()
                .zip(&summed.log_sums)
                .map(|(logit, log_sum)| logit - log_sum)
                .collect();
            let n_targets = values.len();
            return Tensor::from_data(
                TensorData::new(values, [n_targets]),
                &summed.logits.device(),
            );
        }
        self.log_probabilities()
            .clone()
            .gather(1, self.target_ids())
            .squeeze_dim(1)
    }

    /// The log-probabilities of every token, `[n_targets, vocab_size]`.
    pub fn log_probabilities(&self) -> &Tensor<2> {
        self.log_probabilities.get_or_init(|| {
            let summed = self
                .summed
                .as_ref()
                .expect("without the kernels' sums the log-probabilities are there from the start");
            let n_targets = summed.log_sums.len();
            let log_sums = Tensor::<2>::from_data(
                TensorData::new(summed.log_sums.clone(), [n_targets, 1]),
                &summed.logits.device(),
            );
            summed.logits.clone() - log_sums
        })
    }

    /// Gradient of `sum_i weights[i] * -log_likelihood[i]` with respect to the logits, `[n_targets,
    /// vocab_size]`.
    ///
    /// # Panics
    /// If there is not one weight for each target.
    pub fn backward(self, weights: &[f32]) -> Tensor<2> {
        let n_targets = self.targets.len();
        assert_eq!(weights.len(), n_targets, "one weight for each target");
        if let Some(Summed {
            logits, log_sums, ..
        }) = self.summed
        {
            return kernels::softmax_minus_targets(logits, &log_sums, &self.targets, weights);
        }
        let targets = self.target_ids();
        let log_probabilities = self.log_probabilities().clone();
        let device = log_probabilities.device();
        let weights =
            Tensor::<2>::from_data(TensorData::new(weights.to_vec(), [n_targets, 1]), &device);
        let softmax = log_probabilities.exp() * weights.clone();
        softmax.scatter(
            1,
            targets,
            weights.neg(),
            burn::tensor::IndexingUpdateOp::Add,
        )
    }

    /// `[n_targets, 1]`
    fn target_ids(&self) -> Tensor<2, Int> {
        let device = self.log_probabilities().device().inner();
        let ids: Vec<i32> = self.targets.iter().map(|id| *id as i32).collect();
        Tensor::from_data(TensorData::new(ids, [self.targets.len(), 1]), &device)
    }
}
