//! A recipe: everything that determines a run, as a TOML file.
//!
//! Unknown keys are errors that name the nearest known one. The resolved recipe (file, then
//! overrides) is written into the run directory and can be run again as it is. Every default is
//! ours; where one was measured, `docs/` says so.

use std::path::Path;

use e2p_prefix::{Method, Preset, ProjectorConfig, PromptConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use toml::Table;

use crate::error::{Result, TrainError, io};
use crate::toml_keys::{differences, read_toml};

/// A training run. Preferred variable name: `recipe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Recipe {
    /// Format of this file; 1.
    pub format_version: u32,
    /// Name of the task, for people and reports.
    pub task: String,
    /// `e2p`, or `soft_prompt`: one learned prefix for everybody, the baseline.
    pub method: Method,
    /// Seeds weights, order, dropout and noise.
    pub seed: u64,
    /// Directory of the frozen backbone.
    pub backbone: String,
    /// Data directory made by `e2p prepare`.
    pub data: String,
    /// User embeddings.
    pub users: String,
    /// Name and version of the embedding space; the adapter refuses others. Empty: what the file
    /// `users` says in its header, or its name.
    pub space: String,
    /// How examples become tokens.
    pub prompt: PromptConfig,
    /// The trained part.
    pub projector: ProjectorRecipe,
    /// The optimizer.
    pub optim: OptimRecipe,
    /// The loop.
    pub train: TrainRecipe,
    /// Additions to the plain loss.
    pub loss: LossRecipe,
}

/// The projector.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ProjectorRecipe {
    /// `linear`, `mlp` or `glide`.
    pub preset: Preset,
    /// Soft tokens per user.
    pub n_prefix: usize,
    /// Width of the hidden layer; 0: the backbone's width.
    pub d_hidden: usize,
    /// Dropout on the hidden layer.
    pub dropout: f64,
    /// Scale of the initial output weights: below 1, users start close to one common prefix.
    pub output_gain: f32,
}

/// The optimizer: AdamW with a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct OptimRecipe {
    /// Highest learning rate.
    pub lr: f64,
    /// Learning rate of what all users share (output biases, scale and default prefix) over `lr`,
    /// in the manner of LoRA+. Above 1, what users have in common is learned in steps of its own,
    /// and the weights that tell users apart in small ones.
    pub shared_lr_ratio: f64,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// AdamW's first moment decay.
    pub beta_1: f32,
    /// AdamW's second moment decay.
    pub beta_2: f32,
    /// Steps of linear warm-up.
    pub warmup_steps: usize,
    /// What follows the warm-up.
    pub schedule: Schedule,
    /// Largest norm of the whole gradient; 0: no clipping.
    pub max_grad_norm: f64,
}

/// Course of the learning rate after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Half a cosine down to zero at the last step.
    Cosine,
    /// No change.
    Constant,
}

/// The loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct TrainRecipe {
    /// Passes over the training split.
    pub epochs: usize,
    /// Ends training early; 0: only `epochs` counts.
    pub max_steps: usize,
    /// Examples in one forward pass.
    pub batch_size: usize,
    /// Forward passes per step; gradients are averaged over target tokens.
    pub accumulate: usize,
    /// Chance that a row trains the default prefix instead of its user's.
    pub prefix_dropout: f64,
    /// Steps between validations; 0: once an epoch.
    pub eval_every: usize,
    /// Examples of the validation split that are used; 0: all.
    pub eval_examples: usize,
    /// Validations without improvement before training stops; 0: never.
    pub patience: usize,
    /// Steps between checkpoints.
    pub checkpoint_every: usize,
    /// Memory for keys and values of fixed prompts, in MiB; what does not fit is computed again
    /// each time.
    pub earlier_cache_mib: usize,
    /// Memory for one forward and backward pass of the plain loss, in MiB; a batch that needs more
    /// goes in parts, for the same step. 0: no limit.
    pub pass_mib: usize,
    /// Keep only layer inputs and compute the rest again in the backward pass: less memory, a third
    /// more time.
    pub recompute: bool,
}

/// Additions to the plain loss, all off by default.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LossRecipe {
    /// Weight of the divergence from the same backbone with the profile text in its prompt.
    pub distill_weight: f32,
    /// Weight of the contrast with another user of the batch.
    pub contrast_weight: f32,
    /// How much better, in nats per target token, the right user must be.
    pub contrast_margin: f32,
    /// Standard deviation of noise on the standardised embeddings.
    pub embedding_noise: f32,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            format_version: 1,
            task: "custom".into(),
            method: Method::E2p,
            seed: 0,
            backbone: String::new(),
            data: String::new(),
            users: String::new(),
            space: String::new(),
            prompt: PromptConfig::default(),
            projector: ProjectorRecipe::default(),
            optim: OptimRecipe::default(),
            train: TrainRecipe::default(),
            loss: LossRecipe::default(),
        }
    }
}

impl Default for ProjectorRecipe {
    fn default() -> Self {
        Self {
            preset: Preset::Mlp,
            n_prefix: 1,
            d_hidden: 0,
            dropout: 0.0,
            output_gain: 1.0,
        }
    }
}

impl Default for OptimRecipe {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            shared_lr_ratio: 1.0,
            weight_decay: 0.01,
            beta_1: 0.9,
            beta_2: 0.999,
            warmup_steps: 50,
            schedule: Schedule::Cosine,
            max_grad_norm: 1.0,
        }
    }
}

impl Default for TrainRecipe {
    fn default() -> Self {
        Self {
            epochs: 3,
            max_steps: 0,
            batch_size: 32,
            accumulate: 1,
            prefix_dropout: 0.1,
            eval_every: 0,
            eval_examples: 1000,
            patience: 0,
            checkpoint_every: 100,
            earlier_cache_mib: 512,
            pass_mib: 0,
            recompute: false,
        }
    }
}

/// The shipped recipes: name and text.
pub const SHIPPED: &[(&str, &str)] = &[
    ("personachat", include_str!("../recipes/personachat.toml")),
    ("headlines", include_str!("../recipes/headlines.toml")),
    (
        "recommendation",
        include_str!("../recipes/recommendation.toml"),
    ),
    ("synthetic", include_str!("../recipes/synthetic.toml")),
];

impl Recipe {
    /// A shipped recipe by name, or a file, with overrides such as `optim.lr=3e-4` on top.
    ///
    /// # Errors
    /// No such recipe, invalid TOML, and every unknown key and unusable value in one error.
    pub fn load(name_or_path: &str, overrides: &[String]) -> Result<Self> {
        let shipped = SHIPPED.iter().find(|(name, _)| *name == name_or_path);
        let text = match shipped {
            Some((_, text)) => (*text).to_owned(),
            None if Path::new(name_or_path).is_file() => {
                std::fs::read_to_string(name_or_path).map_err(io(Path::new(name_or_path)))?
            }
            None => {
                let shipped = SHIPPED
                    .iter()
                    .map(|(name, _)| *name)
                    .collect::<Vec<_>>()
                    .join(", ");
                return Err(TrainError::NoRecipe {
                    name: name_or_path.into(),
                    shipped,
                });
            }
        };
        Self::parse(name_or_path, &text, overrides)
    }

    /// Parses a recipe; `origin` names it in errors.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(origin: &str, text: &str, overrides: &[String]) -> Result<Self> {
        let recipe: Self = read_toml(origin, text, overrides)?;
        let problems = recipe.problems();
        if problems.is_empty() {
            Ok(recipe)
        } else {
            Err(TrainError::Recipe {
                origin: origin.into(),
                problems,
            })
        }
    }

    /// Every value that cannot be used, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check =
            |is_good: bool, key: &str, found: &dyn std::fmt::Display, expected: &str| {
                if !is_good {
                    problems.push(format!("`{key}` is {found}, expected {expected}"));
                }
            };
        check(
            self.format_version == 1,
            "format_version",
            &self.format_version,
            "1",
        );
        check(
            (1..=64).contains(&self.projector.n_prefix),
            "projector.n_prefix",
            &self.projector.n_prefix,
            "1 to 64",
        );
        let in_unit = |value: f64| (0.0..1.0).contains(&value);
        check(
            in_unit(self.projector.dropout),
            "projector.dropout",
            &self.projector.dropout,
            "0 to below 1",
        );
        let gain = self.projector.output_gain;
        check(
            gain.is_finite() && gain > 0.0,
            "projector.output_gain",
            &gain,
            "a positive number",
        );
        for (key, value) in [
            ("optim.lr", self.optim.lr),
            ("optim.shared_lr_ratio", self.optim.shared_lr_ratio),
        ] {
            check(
                value.is_finite() && value > 0.0,
                key,
                &value,
                "a positive number",
            );
        }
        for (key, value) in [
            ("optim.beta_1", self.optim.beta_1),
            ("optim.beta_2", self.optim.beta_2),
        ] {
            check(in_unit(value.into()), key, &value, "0 to below 1");
        }
        let decay = self.optim.weight_decay;
        check(
            decay.is_finite() && decay >= 0.0,
            "optim.weight_decay",
            &decay,
            "0 or more",
        );
        let norm = self.optim.max_grad_norm;
        check(
            norm.is_finite() && norm >= 0.0,
            "optim.max_grad_norm",
            &norm,
            "0 or more",
        );
        check(
            self.train.epochs > 0,
            "train.epochs",
            &self.train.epochs,
            "1 or more",
        );
        check(
            self.train.batch_size > 0,
            "train.batch_size",
            &self.train.batch_size,
            "1 or more",
        );
        check(
            self.train.accumulate > 0,
            "train.accumulate",
            &self.train.accumulate,
            "1 or more",
        );
        check(
            self.train.checkpoint_every > 0,
            "train.checkpoint_every",
            &self.train.checkpoint_every,
            "1 or more",
        );
        check(
            in_unit(self.train.prefix_dropout),
            "train.prefix_dropout",
            &self.train.prefix_dropout,
            "0 to below 1",
        );
        for (key, value) in [
            ("loss.distill_weight", self.loss.distill_weight),
            ("loss.contrast_weight", self.loss.contrast_weight),
            ("loss.contrast_margin", self.loss.contrast_margin),
            ("loss.embedding_noise", self.loss.embedding_noise),
        ] {
            check(value.is_finite() && value >= 0.0, key, &value, "0 or more");
        }
        problems
    }

    /// Refuses a recipe that does not say yet what to read.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] with every empty path.
    pub fn check_paths(&self) -> Result<()> {
        let mut wanted = vec![
            (
                "backbone",
                &self.backbone,
                "the directory of a frozen backbone",
            ),
            ("data", &self.data, "a data directory made by `e2p prepare`"),
        ];
        if self.method == Method::E2p {
            wanted.push((
                "users",
                &self.users,
                "a file of user embeddings, such as `e2p embed` writes",
            ));
        }
        let problems: Vec<String> = wanted
            .into_iter()
            .filter(|(_, value, _)| value.is_empty())
            .map(|(key, _, expected)| {
                format!("`{key}` is empty, expected {expected} (--set {key}=PATH)")
            })
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        Err(TrainError::Recipe {
            origin: self.task.clone(),
            problems,
        })
    }

    /// JSON Schema of a recipe: every key with its type, its default and what it does, for editors
    /// and for the reference.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    /// The recipe as TOML, every key present.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe is plain TOML")
    }

    /// SHA-256 of the resolved recipe.
    pub fn hash(&self) -> String {
        format!("{:x}", Sha256::digest(self.to_toml()))
    }

    /// Keys whose values differ, with both values.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let table = |recipe: &Self| Table::try_from(recipe).expect("a recipe is plain TOML");
        let mut out = Vec::new();
        differences(&table(self), &table(other), "", &mut out);
        out
    }

    /// The projector for embeddings of `d_user` numbers and a backbone of width `d_model`.
    pub fn projector_config(&self, d_user: usize, d_model: usize) -> ProjectorConfig {
        let ProjectorRecipe {
            preset,
            n_prefix,
            d_hidden,
            dropout,
            ..
        } = self.projector;
        let d_hidden = if d_hidden == 0 { d_model } else { d_hidden };
        ProjectorConfig {
            preset,
            d_user,
            d_model,
            n_prefix,
            d_hidden,
            dropout,
        }
    }
}

#[cfg(test)]
mod tests {
    use e2p_prefix::PrefixPosition;

    use super::*;

    #[test]
    fn every_shipped_recipe_parses_and_survives_a_round_trip() {
        for (name, text) in SHIPPED {
            let recipe =
                Recipe::parse(name, text, &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(Recipe::parse(name, &recipe.to_toml(), &[]).unwrap(), recipe);
        }
    }

    #[test]
    fn unknown_keys_name_the_nearest_one_all_at_once() {
        let error = Recipe::parse(
            "r",
            "sed = 1\n[optim]\nlearning_rate = 1.0\nbeta1 = 0.5\n",
            &[],
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("unknown key `sed`; did you mean `seed`?"),
            "{error}"
        );
        assert!(
            error.contains("unknown key `optim.beta1`; did you mean `optim.beta_1`?"),
            "{error}"
        );
        assert!(error.contains("`optim.learning_rate`"), "{error}");
    }

    #[test]
    fn unusable_values_are_listed_together() {
        let error = Recipe::parse("r", "[optim]\nlr = -1.0\n[train]\nbatch_size = 0\n", &[])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`optim.lr` is -1, expected a positive number"),
            "{error}"
        );
        assert!(
            error.contains("`train.batch_size` is 0, expected 1 or more"),
            "{error}"
        );
    }

    #[test]
    fn overrides_win_and_text_needs_no_quotes() {
        let overrides = [
            "optim.lr=3e-4",
            "backbone=../models/x",
            "prompt.position=before_target",
            "train.epochs=7",
        ]
        .map(String::from);
        let recipe = Recipe::parse("r", "[optim]\nlr = 1.0\n", &overrides).unwrap();
        assert!((recipe.optim.lr - 3e-4).abs() < 1e-12);
        assert_eq!(
            (recipe.backbone.as_str(), recipe.train.epochs),
            ("../models/x", 7)
        );
        assert_eq!(recipe.prompt.position, PrefixPosition::BeforeTarget);
        assert!(Recipe::parse("r", "", &["optim.lr".into()]).is_err());
        assert!(
            Recipe::parse("r", "", &["optim.lrr=1".into()])
                .unwrap_err()
                .to_string()
                .contains("`optim.lr`")
        );
    }

    #[test]
    fn differences_show_both_values() {
        let a = Recipe::default();
        let mut b = a.clone();
        b.optim.lr = 0.5;
        assert_eq!(a.differences(&b), ["`optim.lr` was 0.001 and is now 0.5"]);
        assert_ne!(a.hash(), b.hash());
    }
}
