#![doc = include_str!("../README.md")]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod align;
mod batches;
mod encode;
mod error;
mod eval;
mod gradients;
mod inputs;
mod loss;
mod memory;
pub mod metrics;
mod observe;
mod pretrain;
mod recipe;
mod report;
mod run_dir;
mod schedule;
mod scoring;
mod toml_keys;
mod trainer;
mod users;

pub use burn;

pub use align::{MlpAligner, MlpAlignerOptions};
pub use encode::{ExampleEncoder, ProfileText};
pub use error::{Result, TrainError};
pub use eval::{Condition, Cost, EvalOptions, EvalProgress, Evaluation, Stage, evaluate, open_run};
pub use inputs::{Inputs, TokenizedExample, TokenizedSplit};
pub use loss::{BatchLoss, Comparison, LossScale, batch_loss};
pub use observe::{Observer, Silent, StepReport, ValidReport};
pub use pretrain::{PretrainRecipe, PretrainReport, PretrainSummary, pretrain};
pub use recipe::{
    LossRecipe, OptimRecipe, ProjectorRecipe, Recipe, SHIPPED, Schedule, TrainRecipe,
};
pub use report::{
    DriftPoint, Estimate, EvalReport, Metrics, REPORT_VERSION, ReportExtras, UserGains,
};
pub use run_dir::{MetricsLine, RunDir};
pub use scoring::row_nlls;
pub use trainer::{Start, TrainSummary, train};
pub use users::UserTable;
