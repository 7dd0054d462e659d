//! The conditions of an evaluation: what a run is compared with, and what would expose it.

use std::fmt;
use std::str::FromStr;

use crate::error::TrainError;

/// One arm of an evaluation. Preferred variable name: `condition`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Condition {
    /// The bare backbone: no prefix, no profile.
    None,
    /// The user's profile as text in the prompt.
    Text,
    /// Another user's profile as text: what text gives a person must vanish.
    TextShuffled,
    /// One constant learned prefix: what the task's format alone gives.
    SoftPrompt,
    /// The user's own embedding.
    E2p,
    /// Another user's embedding: the gain must vanish.
    E2pShuffled,
    /// The mean embedding of the training users.
    E2pMean,
    /// The zero vector in place of the embedding.
    E2pZero,
    /// A random vector as long as the user's own.
    E2pRandom,
    /// The learned cold-start prefix.
    E2pDefault,
    /// The profile as text and the user's embedding.
    TextE2p,
}

impl Condition {
    /// Every condition, in the order in which reports show them.
    pub const ALL: [Self; 11] = [
        Self::None,
        Self::Text,
        Self::TextShuffled,
        Self::SoftPrompt,
        Self::E2p,
        Self::E2pShuffled,
        Self::E2pMean,
        Self::E2pZero,
        Self::E2pRandom,
        Self::E2pDefault,
        Self::TextE2p,
    ];

    /// Its name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Text => "text",
            Self::TextShuffled => "text_shuffled",
            Self::SoftPrompt => "soft_prompt",
            Self::E2p => "e2p",
            Self::E2pShuffled => "e2p_shuffled",
            Self::E2pMean => "e2p_mean",
            Self::E2pZero => "e2p_zero",
            Self::E2pRandom => "e2p_random",
            Self::E2pDefault => "e2p_default",
            Self::TextE2p => "text+e2p",
        }
    }

    /// Whether the prompt carries a profile as text.
    pub const fn has_text(self) -> bool {
        matches!(self, Self::Text | Self::TextShuffled | Self::TextE2p)
    }

    /// What is left of the condition without the user: what a candidate's likelihood is compared
    /// with.
    pub(crate) const fn of_nobody(self) -> Self {
        match self {
            Self::None | Self::Text | Self::TextShuffled => Self::None,
            Self::SoftPrompt => Self::SoftPrompt,
            _ => Self::E2pMean,
        }
    }

    /// Whether it takes another user than the example's.
    pub(crate) const fn has_stranger(self) -> bool {
        matches!(self, Self::TextShuffled | Self::E2pShuffled)
    }

    /// Whether soft tokens are spliced in.
    pub const fn has_prefix(self) -> bool {
        !matches!(self, Self::None | Self::Text | Self::TextShuffled)
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Condition {
    type Err = TrainError;

    fn from_str(name: &str) -> Result<Self, TrainError> {
        Self::ALL
            .into_iter()
            .find(|condition| condition.name() == name)
            .ok_or_else(|| TrainError::Condition {
                condition: name.into(),
                needs: format!("to be one of {}", Self::ALL.map(Self::name).join(", ")),
            })
    }
}
