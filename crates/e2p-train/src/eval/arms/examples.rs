//! The evaluated examples as token rows, with and without the profile text. Every condition sees
//! the same ones.

use e2p_data::{Example, Message, Prompt as Text, Split};
use e2p_prefix::{Prompt, SplicedRow};

use crate::encode::{ExampleEncoder, ProfileText};
use crate::error::{Result, TrainError};
use crate::eval::arms::Condition;
use crate::inputs::Inputs;
use crate::recipe::Recipe;
use crate::users::UserTable;

/// An example ready for every condition. Preferred variable name: `example`.
#[derive(Debug, Clone)]
pub(crate) struct EvalExample {
    pub(crate) example: Example,
    /// The user's number.
    pub(crate) user: usize,
    /// Ids of the target, end of turn included.
    pub(crate) target: Vec<u32>,
    /// The prompt without the profile.
    pub(crate) prompt: Prompt,
    /// The prompt with the profile in it; the plain one for users without a profile.
    pub(crate) text_prompt: Prompt,
    /// The prompt with another user's profile in it, under `text_shuffled`; the plain one where
    /// that user has no profile.
    pub(crate) stranger_prompt: Prompt,
    /// Tokens that every prompt of the example leaves room for: its longest candidate.
    pub(crate) room: usize,
    /// Whether the run's soft tokens were trained beside the profile text, and so are evaluated
    /// beside it.
    pub(crate) trained_with_text: bool,
}

impl EvalExample {
    /// The prompt of a condition.
    pub(crate) fn prompt(&self, condition: Condition) -> &Prompt {
        if condition == Condition::TextShuffled {
            &self.stranger_prompt
        } else if condition.has_text() || (condition.has_prefix() && self.trained_with_text) {
            &self.text_prompt
        } else {
            &self.prompt
        }
    }

    /// The same example with neither a dialogue nor a profile to go by: one empty turn. `None`
    /// where the prompt is no chat, in which what is asked and how it is asked cannot be told
    /// apart.
    ///
    /// # Errors
    /// A template that fails on an empty turn.
    pub(crate) fn without_context(&self, encoder: &ExampleEncoder<'_>) -> Result<Option<Self>> {
        if !matches!(self.example.prompt, Text::Chat(_)) {
            return Ok(None);
        }
        let example = Example {
            prompt: Text::Chat(vec![Message {
                role: "user".into(),
                content: String::new(),
            }]),
            ..self.example.clone()
        };
        let prompt = encoder.prompt(&example, ProfileText::Without, 0)?;
        Ok(Some(Self {
            example,
            text_prompt: prompt.clone(),
            stranger_prompt: prompt.clone(),
            prompt,
            ..self.clone()
        }))
    }

    /// The row of a condition that predicts `target`.
    pub(crate) fn row(&self, condition: Condition, target: &[u32]) -> SplicedRow {
        let prompt = self.prompt(condition);
        if condition.has_prefix() {
            prompt.spliced(target)
        } else {
            prompt.plain(target)
        }
    }
}

/// Examples of `split`, at most `limit` of them (0: all), and how many were left out.
pub(crate) fn read(
    recipe: &Recipe,
    inputs: &Inputs,
    encoder: &ExampleEncoder<'_>,
    split: Split,
    limit: usize,
    users: &mut UserTable,
) -> Result<(Vec<EvalExample>, usize)> {
    let mut examples = Vec::new();
    let mut skipped = 0;
    for example in inputs.data.examples(split)? {
        if limit > 0 && examples.len() == limit {
            break;
        }
        let example = example?;
        let Some(target) = encoder.target(&example, &example.target)? else {
            skipped += 1;
            continue;
        };
        let user = match &inputs.embeddings {
            Some(embeddings) => users.number(&example.user, embeddings)?,
            None => users.known_or_push(&example.user),
        };
        let profile = inputs
            .profiles
            .get(&example.user)
            .map_or(ProfileText::Without, |profile| ProfileText::With(profile));
        // The prompt leaves room for every candidate, so that all are ranked behind the same one.
        let mut room = target.len();
        for candidate in &example.candidates {
            let ids = encoder.target(&example, candidate)?;
            room = room.max(ids.map_or(0, |ids| ids.len()));
        }
        let prompt = encoder.prompt(&example, ProfileText::Without, room)?;
        let text_prompt = encoder.prompt(&example, profile, room)?;
        examples.push(EvalExample {
            example,
            user,
            target,
            stranger_prompt: prompt.clone(),
            prompt,
            text_prompt,
            room,
            trained_with_text: recipe.prompt.profile,
        });
    }
    if examples.is_empty() {
        return Err(TrainError::NoExamples {
            split: split.to_string(),
            data: recipe.data.clone(),
            skipped,
        });
    }
    Ok((examples, skipped))
}

/// Gives every example the profile of the user that `other` has in its user's place; returns how
/// many of these users have none.
///
/// # Errors
/// A template that refuses the prompt.
pub(crate) fn give_strangers_profiles(
    examples: &mut [EvalExample],
    inputs: &Inputs,
    encoder: &ExampleEncoder<'_>,
    users: &UserTable,
    other: &[usize],
) -> Result<usize> {
    let mut without = 0;
    for example in examples {
        let stranger = users.id(other[example.user]);
        let profile = match inputs.profiles.get(stranger) {
            Some(profile) => ProfileText::With(profile),
            None => {
                without += 1;
                ProfileText::Without
            }
        };
        example.stranger_prompt = encoder.prompt(&example.example, profile, example.room)?;
    }
    Ok(without)
}
