//! What a projector looks like and where its output goes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{PrefixError, Result};

/// Shape of the projector. The paper's abstract does not give one: every default here is ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectorConfig {
    /// The architecture.
    pub preset: Preset,
    /// Dimensions of a user embedding.
    pub d_user: usize,
    /// Width of the backbone's token embeddings.
    pub d_model: usize,
    /// Soft tokens per user; 1 is the paper's number.
    pub n_prefix: usize,
    /// Width of the hidden layer of `mlp` and `glide`.
    pub d_hidden: usize,
    /// Dropout on the hidden layer, 0 to below 1.
    pub dropout: f64,
}

/// Architecture of a projector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// One linear map (UQABench, arXiv 2502.19178).
    Linear,
    /// Linear, GELU, linear: the default.
    Mlp,
    /// Two layers with SiLU, a linear residual path and dropout: the shape reported for GLIDE
    /// (arXiv 2603.17540).
    Glide,
}

impl ProjectorConfig {
    /// The default projector: `mlp` with one soft token and a hidden layer as wide as the backbone.
    pub fn new(d_user: usize, d_model: usize) -> Self {
        Self {
            preset: Preset::Mlp,
            d_user,
            d_model,
            n_prefix: 1,
            d_hidden: d_model,
            dropout: 0.0,
        }
    }

    /// Checks sizes and ranges.
    ///
    /// # Errors
    /// [`PrefixError::Config`] for the first value out of range.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("d_user", self.d_user),
            ("d_model", self.d_model),
            ("n_prefix", self.n_prefix),
            ("d_hidden", self.d_hidden),
        ];
        for (option, found) in sizes {
            if found == 0 || found > 1 << 20 {
                return Err(PrefixError::Config {
                    option: option.into(),
                    found: found.to_string(),
                    expected: "a size between 1 and 1048576".into(),
                });
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(PrefixError::Config {
                option: "dropout".into(),
                found: self.dropout.to_string(),
                expected: "a number from 0 to below 1".into(),
            });
        }
        Ok(())
    }
}

/// Where the soft tokens enter the input.
///
/// What stands before them does not depend on the user: it is computed once, shared by all users,
/// and never differentiated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum PrefixPosition {
    /// Before everything. The first position is an attention sink in many models, so this can hurt.
    Start,
    /// Behind the beginning-of-sequence token, or before everything where there is none.
    #[default]
    AfterBos,
    /// Behind the system message of a chat, or as `after_bos` where there is none.
    AfterSystem,
    /// Right before the target: behind the whole prompt.
    BeforeTarget,
    /// Where [`PLACEHOLDER`] stands in the prompt.
    Placeholder,
}

/// The marker that [`PrefixPosition::Placeholder`] looks for; it is cut out of the prompt.
pub const PLACEHOLDER: &str = "<|user_embedding|>";

const POSITIONS: [(&str, PrefixPosition); 5] = [
    ("start", PrefixPosition::Start),
    ("after_bos", PrefixPosition::AfterBos),
    ("after_system", PrefixPosition::AfterSystem),
    ("before_target", PrefixPosition::BeforeTarget),
    ("placeholder", PrefixPosition::Placeholder),
];

impl fmt::Display for PrefixPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = POSITIONS
            .iter()
            .find(|(_, position)| position == self)
            .map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

impl FromStr for PrefixPosition {
    type Err = PrefixError;

    fn from_str(text: &str) -> Result<Self> {
        POSITIONS
            .iter()
            .find(|(name, _)| *name == text)
            .map(|(_, position)| *position)
            .ok_or_else(|| PrefixError::Config {
                option: "position".into(),
                found: text.into(),
                expected: POSITIONS.map(|(name, _)| name).join(", "),
            })
    }
}
