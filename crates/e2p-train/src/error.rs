//! The one error type of this crate.

use std::path::PathBuf;

use e2p_data::DataError;
use e2p_model::ModelError;
use e2p_prefix::PrefixError;

/// What can go wrong in training and evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A recipe does not parse as TOML, or a value has the wrong type.
    #[error("`{origin}` is not a recipe")]
    RecipeSyntax {
        /// The file, or the name of a shipped recipe.
        origin: String,
        /// Where and why parsing stopped.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// A recipe has keys or values that cannot be used; all of them are listed.
    #[error("recipe `{origin}`: {}", problems.join("; "))]
    Recipe {
        /// The file, or the name of a shipped recipe.
        origin: String,
        /// One sentence for each problem.
        problems: Vec<String>,
    },
    /// No recipe of this name is shipped and no such file exists.
    #[error("there is no recipe `{name}`; expected a file or one of {shipped}")]
    NoRecipe {
        /// What was asked for.
        name: String,
        /// Names of the shipped recipes.
        shipped: String,
    },
    /// An override is not `key=value`.
    #[error("override `{found}`; expected key=value, such as optim.lr=3e-4")]
    Override {
        /// What was given.
        found: String,
    },
    /// A file could not be read or written.
    #[error("cannot access `{path}`", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file of a run directory is not what this version writes.
    #[error("`{path}` is not a {expected}", path = path.display())]
    RunFile {
        /// The file.
        path: PathBuf,
        /// What it should be.
        expected: String,
        /// Why it is not.
        #[source]
        source: serde_json::Error,
    },
    /// A report of a later version than this one reads.
    #[error("`{path}` is a report of format version {found}, expected at most {expected}", path = path.display())]
    ReportVersion {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The latest that is read.
        expected: u32,
    },
    /// The run directory already holds a run.
    #[error("`{path}` already holds a run", path = path.display())]
    RunExists {
        /// The directory.
        path: PathBuf,
    },
    /// There is no run to resume or evaluate.
    #[error("`{path}` holds no run: {missing} is not there", path = path.display())]
    NoRun {
        /// The directory.
        path: PathBuf,
        /// The file that was looked for.
        missing: String,
    },
    /// A run is resumed with other settings than it was started with.
    #[error("the run in `{path}` was started with another recipe: {}", differences.join("; "))]
    OtherRecipe {
        /// The run directory.
        path: PathBuf,
        /// Each key that differs, with both values.
        differences: Vec<String>,
    },
    /// A run is resumed with another backbone, data set or other user embeddings than it was
    /// started with.
    #[error("the run in `{path}` was started with other {what} (fingerprint {expected}, found {found})", path = path.display())]
    OtherInput {
        /// The run directory.
        path: PathBuf,
        /// Which input.
        what: String,
        /// Fingerprint at the start.
        expected: String,
        /// Fingerprint now.
        found: String,
    },
    /// The optimizer state of a checkpoint cannot be read or written.
    #[error("the optimizer state `{path}` cannot be used: {reason}", path = path.display())]
    Optimizer {
        /// The file.
        path: PathBuf,
        /// burn's reason.
        reason: String,
    },
    /// A split has no usable example.
    #[error(
        "the {split} split of `{data}` has no usable example ({skipped} skipped: target too long or empty)"
    )]
    NoExamples {
        /// The split.
        split: String,
        /// The data directory.
        data: String,
        /// Examples that were left out.
        skipped: usize,
    },
    /// A condition needs something that is not there.
    #[error("condition `{condition}` needs {needs}")]
    Condition {
        /// The condition.
        condition: String,
        /// What is missing.
        needs: String,
    },
    /// User embeddings of another space than the adapter was trained on.
    #[error("cannot evaluate on `{path}`", path = path.display())]
    OtherSpace {
        /// The embeddings.
        path: PathBuf,
        /// Both spaces.
        #[source]
        source: Box<PrefixError>,
    },
    /// Noise that is no standard deviation.
    #[error("embedding noise {found}; expected a standard deviation, 0 or more")]
    Noise {
        /// What was given.
        found: f32,
    },
    /// An example recommends something that the catalogue does not have.
    #[error(
        "user `{user}` has item `{item}` held out, found {found}; expected an item of items.jsonl whose text is the target"
    )]
    Catalogue {
        /// The user of the example.
        user: String,
        /// The item's id.
        item: String,
        /// What is wrong with it.
        found: String,
    },
    /// The page of a report could not be filled in.
    #[error("cannot make report.html: {reason}")]
    Report {
        /// The template engine's reason.
        reason: String,
    },
    /// Whoever watched asked to stop.
    #[error("stopped")]
    Stopped,
    /// The loss is not a number.
    #[error("the loss is {loss} at step {step}; lower optim.lr or check the user embeddings")]
    Diverged {
        /// The step.
        step: usize,
        /// The loss.
        loss: f64,
    },
    /// The text for pre-training is too small.
    #[error("the text has {found} tokens, expected at least {expected}")]
    TextTooSmall {
        /// Tokens found.
        found: usize,
        /// Tokens needed for one batch.
        expected: usize,
    },
    /// The tokenizer could not be trained or saved.
    #[error("the tokenizer could not be made: {reason}")]
    Tokenizer {
        /// The reason given by the tokenizers crate.
        reason: String,
    },
    /// The backbone failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The projector, its adapter or the injection failed.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// Data or user embeddings failed.
    #[error(transparent)]
    Data(#[from] DataError),
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, TrainError>;

/// Attaches a path to an I/O error.
pub(crate) fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> TrainError + '_ {
    |source| TrainError::Io {
        path: path.into(),
        source,
    }
}
