//! The one error type of this crate.

use std::path::PathBuf;

use e2p_model::ModelError;

/// What can go wrong between a user embedding and a spliced input.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrefixError {
    /// A configuration value is out of range.
    #[error("`{option}` = {found}; expected {expected}")]
    Config {
        /// The key.
        option: String,
        /// Its value.
        found: String,
        /// The condition it breaks.
        expected: String,
    },
    /// A user embedding has the wrong length.
    #[error(
        "the embedding{} has {found} dimensions, expected {expected} as in the space `{space}`",
        of_user(user)
    )]
    Dimension {
        /// The user; empty where nobody is named.
        user: String,
        /// Dimensions found.
        found: usize,
        /// Dimensions of the space.
        expected: usize,
        /// Name of the space.
        space: String,
    },
    /// A user embedding holds a NaN or an infinity.
    #[error(
        "the embedding{} has {value} in dimension {index}, expected a finite number",
        of_user(user)
    )]
    NonFinite {
        /// The user; empty where nobody is named.
        user: String,
        /// The dimension.
        index: usize,
        /// The value there.
        value: f32,
    },
    /// The adapter was trained on another embedding space.
    #[error(
        "the adapter was trained on the embedding space `{expected}` with {expected_dim} dimensions and these user embeddings are of `{found}` with {found_dim} dimensions"
    )]
    WrongSpace {
        /// The adapter's space.
        expected: String,
        /// Its dimensions.
        expected_dim: usize,
        /// The space of the given embeddings.
        found: String,
        /// Their dimensions.
        found_dim: usize,
    },
    /// The adapter was trained on another backbone.
    #[error("the adapter was trained on the backbone {expected} and this backbone is {found}")]
    WrongBackbone {
        /// The adapter's backbone.
        expected: String,
        /// The backbone at hand.
        found: String,
    },
    /// A placeholder position was asked for and the prompt has no marker, or more than one.
    #[error("the prompt holds {found} placeholder markers, expected exactly one")]
    Placeholder {
        /// Markers found.
        found: usize,
    },
    /// Soft tokens were asked of a backbone without an adapter, or a user's of an adapter that
    /// reads no embedding.
    #[error("{found} has no soft tokens of users, expected an adapter with method e2p")]
    NoUsers {
        /// What there is instead.
        found: &'static str,
    },
    /// The backbone, its tokenizer or its chat template refuses.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// A file could not be read or written.
    #[error("cannot access `{path}`", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        #[source]
        source: std::io::Error,
    },
    /// `adapter_config.json` does not parse.
    #[error("`{path}` is not an adapter configuration", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Where and why parsing stopped.
        #[source]
        source: serde_json::Error,
    },
    /// `adapter_config.json` is of a later format or of another method.
    #[error("`{path}` has {key} = {found}, expected {expected}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The key that decides.
        key: String,
        /// Its value.
        found: String,
        /// What this version reads.
        expected: String,
    },
    /// `adapter_model.safetensors` is not a complete safetensors file.
    #[error("`{path}` is not a complete safetensors file", path = path.display())]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the header check found.
        #[source]
        source: safetensors::SafeTensorError,
    },
    /// The tensors do not fit the configuration.
    #[error("the tensors in `{path}` do not fit its configuration: {problems}", path = path.display())]
    Tensors {
        /// The file.
        path: PathBuf,
        /// Every missing, unused and wrong-shaped tensor.
        problems: String,
    },
}

/// The end of "the embedding", where a user is named.
fn of_user(user: &str) -> String {
    if user.is_empty() {
        String::new()
    } else {
        format!(" of user `{user}`")
    }
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, PrefixError>;
