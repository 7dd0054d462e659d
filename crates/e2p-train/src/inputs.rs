//! What a run reads: the frozen backbone, its tokenizer, the data directory, the user embeddings.

use std::collections::HashMap;
use std::path::Path;

use burn::tensor::Device;
use e2p_data::{DataDir, Example, Prompt, Split, UserEmbeddings};
use e2p_model::{Decoder, LoadOptions, Tokenizer};
use e2p_prefix::{BackboneId, EmbeddingSpace, PromptFormat, SplicedRow};

use crate::encode::{ExampleEncoder, ProfileText};
use crate::error::{Result, TrainError};
use crate::recipe::Recipe;
use crate::users::UserTable;

/// Everything a run reads, opened. Preferred variable name: `inputs`.
pub struct Inputs {
    /// The frozen backbone.
    pub decoder: Decoder,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its identity.
    pub backbone: BackboneId,
    /// Examples.
    pub data: DataDir,
    /// User embeddings; only a soft prompt goes without.
    pub embeddings: Option<UserEmbeddings>,
    /// Profile sentences by user, where the data have them.
    pub profiles: HashMap<String, Vec<String>>,
}

/// An example as token rows. Preferred variable name: `example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizedExample {
    /// Place of the example in its split, counted from 0.
    pub index: usize,
    /// The user's number in a [`UserTable`].
    pub user: usize,
    /// The row to predict, with the soft tokens' place.
    pub row: SplicedRow,
    /// The same target behind a prompt with the profile text, for a teacher; only where asked for
    /// and there is a profile.
    pub teacher: Option<SplicedRow>,
    /// UTF-8 bytes of the target text.
    pub target_bytes: usize,
}

/// The usable examples of a split. Preferred variable name: `examples`.
#[derive(Debug, Clone)]
pub struct TokenizedSplit {
    /// In file order.
    pub examples: Vec<TokenizedExample>,
    /// Examples left out: empty target, or one that is too long.
    pub skipped: usize,
    /// What the prompts are.
    pub format: PromptFormat,
}

impl Inputs {
    /// Opens everything that `recipe` names; the backbone is in `dir`, which is the recipe's own
    /// path unless that is a hub id.
    ///
    /// # Errors
    /// Whatever is missing, malformed or does not fit together.
    pub fn open(
        recipe: &Recipe,
        dir: &Path,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self> {
        let tokenizer = Tokenizer::from_dir(dir)?;
        let (decoder, _) = Decoder::from_dir(dir, options, device)?;
        tokenizer.check_vocab_size(decoder.config().vocab_size)?;
        let backbone = BackboneId::of(&decoder, dir)?;
        let data = DataDir::open(&recipe.data)?;
        let embeddings = if recipe.users.is_empty() {
            None
        } else {
            Some(UserEmbeddings::open(&recipe.users)?)
        };
        let mut profiles = HashMap::new();
        for user in data.users()? {
            let user = user?;
            if !user.profile.is_empty() {
                profiles.insert(user.user, user.profile);
            }
        }
        Ok(Self {
            decoder,
            tokenizer,
            backbone,
            data,
            embeddings,
            profiles,
        })
    }

    /// The embedding space of the training users.
    ///
    /// # Errors
    /// A training user without an embedding, or one that is not finite.
    pub fn space(&self, recipe: &Recipe) -> Result<EmbeddingSpace> {
        let Some(embeddings) = &self.embeddings else {
            // A soft prompt reads no embedding: a space of one dimension that is always zero.
            return Ok(EmbeddingSpace::new("none", vec![0.0], vec![1.0]));
        };
        let mut users = Vec::new();
        for example in self.data.examples(Split::Train)? {
            users.push(example?.user);
        }
        users.sort();
        users.dedup();
        let statistics = embeddings.statistics_of(users.iter().map(String::as_str))?;
        Ok(EmbeddingSpace::new(
            if recipe.space.is_empty() {
                embeddings.space()
            } else {
                &recipe.space
            },
            statistics.mean,
            statistics.std,
        ))
    }

    /// Tokenizes a split; users new to `users` are added.
    ///
    /// # Errors
    /// An unknown user, an example that cannot be rendered, a split without usable examples.
    pub fn tokenize(
        &self,
        recipe: &Recipe,
        split: Split,
        limit: usize,
        users: &mut UserTable,
    ) -> Result<TokenizedSplit> {
        let encoder = ExampleEncoder::new(
            &self.tokenizer,
            self.decoder.config(),
            &recipe.prompt,
            recipe.projector.n_prefix,
        )?;
        let mut examples = Vec::new();
        let mut skipped = 0;
        let mut chats = 0;
        for (index, example) in self.data.examples(split)?.enumerate() {
            if limit > 0 && examples.len() == limit {
                break;
            }
            let example: Example = example?;
            let Some(target) = encoder.target(&example, &example.target)? else {
                skipped += 1;
                continue;
            };
            let user = match &self.embeddings {
                Some(embeddings) => users.number(&example.user, embeddings)?,
                None => users.known_or_push(&example.user),
            };
            let profile = self
                .profiles
                .get(&example.user)
                .map(|profile| ProfileText::With(profile));
            let own = if recipe.prompt.profile {
                profile.unwrap_or(ProfileText::Without)
            } else {
                ProfileText::Without
            };
            let row = encoder
                .prompt(&example, own, target.len())?
                .spliced(&target);
            let teacher = match profile {
                Some(profile) if recipe.loss.distill_weight > 0.0 => Some(
                    encoder
                        .prompt(&example, profile, target.len())?
                        .plain(&target),
                ),
                _ => None,
            };
            chats += usize::from(matches!(example.prompt, Prompt::Chat(_)));
            examples.push(TokenizedExample {
                index,
                user,
                row,
                teacher,
                target_bytes: example.target.len(),
            });
        }
        if examples.is_empty() {
            return Err(TrainError::NoExamples {
                split: split.to_string(),
                data: recipe.data.clone(),
                skipped,
            });
        }
        let format = match chats {
            0 => PromptFormat::Text,
            n if n == examples.len() => PromptFormat::Chat,
            _ => PromptFormat::Mixed,
        };
        Ok(TokenizedSplit {
            examples,
            skipped,
            format,
        })
    }
}
