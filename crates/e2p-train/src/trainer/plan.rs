//! What a run reads and how long it goes: settled before the first step.

use e2p_data::Split;
use e2p_prefix::Method;
use sha2::{Digest, Sha256};

use crate::batches::epoch_batches;
use crate::error::{Result, TrainError};
use crate::inputs::{Inputs, TokenizedExample, TokenizedSplit};
use crate::recipe::Recipe;
use crate::run_dir::RunInputs;
use crate::schedule::LearningRates;
use crate::users::UserTable;

/// What every step of a run reads. Preferred variable name: `setup`.
pub(super) struct Setup<'a> {
    pub(super) recipe: &'a Recipe,
    pub(super) inputs: &'a Inputs,
    pub(super) users: UserTable,
    pub(super) training: TokenizedSplit,
    /// Empty where there is no validation split: then training goes to the end and keeps the last
    /// projector.
    pub(super) validation: Vec<TokenizedExample>,
}

impl<'a> Setup<'a> {
    pub(super) fn new(recipe: &'a Recipe, inputs: &'a Inputs) -> Result<Self> {
        if inputs.embeddings.is_none() && recipe.method == Method::E2p {
            let problem = "`users` is empty, expected a file of user embeddings (only method = \"soft_prompt\" goes without)";
            return Err(TrainError::Recipe {
                origin: recipe.task.clone(),
                problems: vec![problem.into()],
            });
        }
        let mut users = UserTable::new(inputs.space(recipe)?);
        let training = inputs.tokenize(recipe, Split::Train, 0, &mut users)?;
        let limit = recipe.train.eval_examples;
        let validation = match inputs.tokenize(recipe, Split::Valid, limit, &mut users) {
            Ok(split) => split.examples,
            Err(TrainError::NoExamples { .. }) => Vec::new(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            recipe,
            inputs,
            users,
            training,
            validation,
        })
    }

    /// What names the inputs of a run, so that it is not resumed with others.
    pub(super) fn run_inputs(&self) -> RunInputs {
        RunInputs {
            format_version: 1,
            backbone: self.inputs.backbone.fingerprint.clone(),
            embedding_space: self.users.space().fingerprint(),
            examples: fingerprint(&self.training.examples),
        }
    }
}

/// How many steps a run has, and which batches each of them takes. Preferred variable name: `plan`.
pub(super) struct Plan<'a> {
    recipe: &'a Recipe,
    pub(super) steps_per_epoch: usize,
    pub(super) total_steps: usize,
    pub(super) rates: LearningRates,
    /// Steps between validations.
    eval_every: usize,
    lengths: Vec<usize>,
    /// An epoch and its batches.
    order: (usize, Vec<Vec<usize>>),
}

impl<'a> Plan<'a> {
    pub(super) fn new(setup: &Setup<'a>) -> Self {
        let train = &setup.recipe.train;
        let examples = &setup.training.examples;
        let batches_per_epoch = examples.len().div_ceil(train.batch_size);
        let steps_per_epoch = batches_per_epoch.div_ceil(train.accumulate);
        let all = steps_per_epoch * train.epochs;
        let total_steps = match train.max_steps {
            0 => all,
            most => all.min(most),
        };
        let optim = &setup.recipe.optim;
        Self {
            recipe: setup.recipe,
            steps_per_epoch,
            total_steps,
            rates: LearningRates {
                peak: optim.lr,
                warmup_steps: optim.warmup_steps,
                schedule: optim.schedule,
                total_steps,
            },
            eval_every: match train.eval_every {
                0 => steps_per_epoch,
                every => every,
            },
            lengths: examples
                .iter()
                .map(|example| example.row.after.len())
                .collect(),
            order: (usize::MAX, Vec::new()),
        }
    }

    /// The batches of the step behind `step` steps done.
    pub(super) fn batches(&mut self, step: usize) -> &[Vec<usize>] {
        let train = &self.recipe.train;
        let epoch = step / self.steps_per_epoch;
        if self.order.0 != epoch {
            let batches = epoch_batches(&self.lengths, train.batch_size, self.recipe.seed, epoch);
            self.order = (epoch, batches);
        }
        let first = step % self.steps_per_epoch * train.accumulate;
        let end = (first + train.accumulate).min(self.order.1.len());
        &self.order.1[first..end]
    }

    /// Whether validation follows behind `step` steps.
    pub(super) fn validates_after(&self, step: usize) -> bool {
        step.is_multiple_of(self.eval_every) || step == self.total_steps
    }
}

/// SHA-256 over every training row: ids, user number, place of the prefix.
fn fingerprint(examples: &[TokenizedExample]) -> String {
    let mut hash = Sha256::new();
    for example in examples {
        hash.update((example.user as u64).to_le_bytes());
        for part in [&example.row.before, &example.row.after] {
            hash.update((part.len() as u64).to_le_bytes());
            for id in part {
                hash.update(id.to_le_bytes());
            }
        }
        hash.update((example.row.n_targets as u64).to_le_bytes());
    }
    format!("{:x}", hash.finalize())
}
