//! The vocabulary of a data directory: examples, users, items, splits.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// One thing a personalised model should say: to whom, after what, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Whose words or choice the target is; the key of the user embedding.
    pub user: String,
    /// What the model reads.
    pub prompt: Prompt,
    /// What the model should write.
    pub target: String,
    /// Texts to rank, the target among them; empty where nothing is ranked.
    ///
    /// They keep the order of the source. In Persona-Chat the gold is the last, so ties are to be
    /// broken against it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// The id of the item that the target names, for recommendation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
}

impl Example {
    /// The first rule that the example breaks, as (field, found, expected).
    pub(crate) fn fault(&self) -> Option<(&'static str, String, &'static str)> {
        if self.user.trim().is_empty() {
            return Some(("user", "an empty id".into(), "a user id"));
        }
        if self.user.contains(['\n', '\r']) {
            return Some(("user", "a line break in the id".into(), "an id on one line"));
        }
        if self.target.trim().is_empty() {
            return Some((
                "target",
                "an empty text".into(),
                "the text that the model should write",
            ));
        }
        if self.prompt.is_empty() {
            return Some((
                "prompt",
                "an empty prompt".into(),
                "a text or at least one message",
            ));
        }
        if !self.candidates.is_empty() && !self.candidates.contains(&self.target) {
            let found = format!("{} candidates without the target", self.candidates.len());
            return Some(("candidates", found, "the target among the candidates"));
        }
        None
    }
}

/// What the model reads before it writes the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Prompt {
    /// Plain text.
    Text(String),
    /// A conversation, to be rendered with the tokenizer's chat template.
    Chat(Vec<Message>),
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Prompt;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of messages")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Prompt, E> {
                Ok(Prompt::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Prompt, A::Error> {
                let mut messages = Vec::new();
                while let Some(message) = list.next_element()? {
                    messages.push(message);
                }
                Ok(Prompt::Chat(messages))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl Prompt {
    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Chat(messages) => messages.is_empty(),
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`, or what else the chat template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

impl Message {
    /// A turn of the other side.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: "user".to_owned(),
            content: content.into(),
        }
    }

    /// A turn of the side that the model plays.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self {
            role: "assistant".to_owned(),
            content: content.into(),
        }
    }
}

/// A user as `users.jsonl` has them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UserRecord {
    /// The id that examples and embeddings use.
    pub user: String,
    /// What is known of the user, as sentences or titles.
    #[serde(default)]
    pub profile: Vec<String>,
    /// Ids of the items the user chose, oldest first where times are known. Held-out items are
    /// never among them.
    #[serde(default)]
    pub history: Vec<String>,
    /// How strongly each item of `history` was chosen, such as a play count; empty where the source
    /// has no weights.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights: Vec<f32>,
}

/// An item as `items.jsonl` has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// The id that histories and examples use.
    pub item: String,
    /// The text that names it: what the model writes to recommend it.
    pub text: String,
}

/// A part of a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// To learn from.
    Train,
    /// To choose with.
    Valid,
    /// To report.
    Test,
}

impl Split {
    /// All three, in file order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Valid, Self::Test];

    /// The name in files and options.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Valid => "valid",
            Self::Test => "test",
        }
    }

    /// The split of a name; `validation`, `dev` and `val` are read as `valid`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "train" => Some(Self::Train),
            "valid" | "validation" | "dev" | "val" => Some(Self::Valid),
            "test" => Some(Self::Test),
            _ => None,
        }
    }

    pub(crate) const fn file_name(self) -> &'static str {
        match self {
            Self::Train => "train.jsonl",
            Self::Valid => "valid.jsonl",
            Self::Test => "test.jsonl",
        }
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
