//! How histories become examples.

use serde::{Deserialize, Serialize};

/// The task.
pub(super) const TASK: &str = "interactions";

/// How histories become examples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InteractionsOptions {
    /// What is held out.
    pub hold_out: HoldOut,
    /// Users with fewer distinct items are dropped.
    pub min_user_items: usize,
    /// Items with fewer distinct users are dropped.
    pub min_item_users: usize,
    /// How many items of a user's history become training targets at most. Ten (ours) keep heavy
    /// users from drowning the others.
    pub train_targets: usize,
    /// How many names the profile text lists at most: the latest, or without times those with the
    /// largest weight.
    pub profile_items: usize,
    /// The prompt.
    pub prompt: String,
    /// The target, and the item's text in `items.jsonl`: `{text}`, `{tags}` and `{item}` are filled
    /// in.
    pub target: String,
    /// The target of an item without tags; used only if `target` has `{tags}`.
    pub target_without_tags: String,
    /// How many tags `{tags}` lists at most.
    pub max_tags: usize,
    /// Names of columns or fields.
    pub columns: Columns,
}

impl Default for InteractionsOptions {
    fn default() -> Self {
        Self {
            hold_out: HoldOut::default(),
            min_user_items: 1,
            min_item_users: 1,
            train_targets: 10,
            profile_items: 20,
            prompt: "Recommend an artist:".to_owned(),
            target: "{text}".to_owned(),
            target_without_tags: "{text}".to_owned(),
            max_tags: 3,
            columns: Columns::default(),
        }
    }
}

/// Which of a user's items are held out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldOut {
    /// Of every user with at least three items the last for the test and the one before for
    /// validation. Without times, two that a seeded hash draws in proportion to their weights, as
    /// the last of all plays would be.
    #[default]
    LeaveOneOut,
    /// Everything from some time on, the same for all: the shares of
    /// [`SplitOptions`](crate::SplitOptions) say from when, or its rule `Time`.
    Temporal,
}

/// What the columns are called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(
    missing_docs,
    reason = "every field is the name of the column that the module's table describes under the field's name"
)]
pub struct Columns {
    pub user: String,
    pub item: String,
    pub weight: String,
    pub time: String,
    pub text: String,
    pub tags: String,
}

impl Default for Columns {
    fn default() -> Self {
        let [user, item, weight, time, text, tags] =
            ["user", "item", "weight", "time", "text", "tags"].map(str::to_owned);
        Self {
            user,
            item,
            weight,
            time,
            text,
            tags,
        }
    }
}
