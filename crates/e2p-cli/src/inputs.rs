//! Builds the input embeddings of a prompt: the one place where anything besides the prompt's own tokens can enter.

use std::path::Path;

use anyhow::Context;
use e2p_data::{Example, Message, UserEmbeddings};
use e2p_model::burn::tensor::{Device, Tensor, TensorData};
use e2p_model::{Padding, Prompt};
use e2p_prefix::{Adapter, Method, inject};
use e2p_train::{ExampleEncoder, ProfileText, PromptRecipe, backbone_id};

use crate::args::PersonalArgs;
use crate::backbone::{Backbone, PromptText};
use crate::report::hinted;

/// Turns prompts into ids and ids into input embeddings. Preferred variable name: `inputs`.
pub(crate) struct Inputs<'a> {
    backbone: &'a Backbone,
    personal: Option<Personal>,
}

/// An adapter and whom it knows.
struct Personal {
    adapter: Adapter,
    users: Option<UserEmbeddings>,
    /// For lines that name nobody.
    user: Option<String>,
    cold_start: bool,
    prompt: PromptRecipe,
}

/// A prompt as ids and the place of the soft tokens in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PromptIds {
    pub(crate) ids: Vec<u32>,
    pub(crate) slot: usize,
}

impl<'a> Inputs<'a> {
    /// The backbone's own tokens, and soft tokens where `args` name an adapter.
    ///
    /// # Errors
    /// An adapter of another backbone or embedding space, unreadable files.
    pub(crate) fn new(
        backbone: &'a Backbone,
        args: &PersonalArgs,
        user: Option<&str>,
    ) -> anyhow::Result<Self> {
        let Some(dir) = &args.adapter else {
            return Ok(Self {
                backbone,
                personal: None,
            });
        };
        // A run directory holds its adapter in a folder of that name.
        let inside = dir.join("adapter");
        let dir = if inside.is_dir() { &inside } else { dir };
        let adapter = Adapter::load(dir, backbone.decoder.device())?;
        let found = backbone_id(&backbone.decoder, &backbone.dir)?;
        adapter
            .config
            .check_backbone(&found, &backbone.dir.display().to_string())?;
        let users = match &args.users {
            None => None,
            Some(path) => Some(open_users(path, args.space.as_deref(), &adapter)?),
        };
        if users.is_none() && !args.cold_start && adapter.config.method == Method::E2p {
            return Err(hinted(
                "an adapter needs the users' embeddings",
                "give --users FILE, or --cold-start for a user that nobody knows",
            ));
        }
        let prompt = PromptRecipe {
            position: adapter.config.position,
            ..PromptRecipe::default()
        };
        Ok(Self {
            backbone,
            personal: Some(Personal {
                adapter,
                users,
                user: user.map(str::to_owned),
                cold_start: args.cold_start,
                prompt,
            }),
        })
    }

    /// Positions that are added to those of the tokens.
    pub(crate) fn extra_positions(&self) -> usize {
        self.personal
            .as_ref()
            .map_or(0, |personal| personal.adapter.config.projector.n_prefix)
    }

    /// Ids of a prompt, as [`Backbone::encode_prompt`] gives them, and where the soft tokens go.
    ///
    /// # Errors
    /// Those of the tokenizer; a missing placeholder.
    pub(crate) fn encode(&self, prompt: &PromptText, chat: bool) -> anyhow::Result<PromptIds> {
        let Some(personal) = &self.personal else {
            let ids = self.backbone.encode_prompt(prompt, chat)?;
            return Ok(PromptIds { ids, slot: 0 });
        };
        let prompt = match prompt {
            PromptText::Text(text) if chat => e2p_data::Prompt::Chat(vec![Message::user(text)]),
            PromptText::Text(text) => e2p_data::Prompt::Text(text.clone()),
            PromptText::Chat(messages) => e2p_data::Prompt::Chat(
                messages
                    .iter()
                    .map(|message| Message {
                        role: message.role.clone(),
                        content: message.content.clone(),
                    })
                    .collect(),
            ),
        };
        let example = Example {
            user: String::new(),
            prompt,
            target: String::new(),
            candidates: Vec::new(),
            item: None,
        };
        let encoder = ExampleEncoder::new(
            &self.backbone.tokenizer,
            self.backbone.decoder.config(),
            &personal.prompt,
            0,
        )
        .without_limit();
        let encoded = encoder.prompt(&example, ProfileText::Without, 0)?;
        if encoded.ids.is_empty() {
            // What the backbone alone begins an empty text with.
            let ids = self
                .backbone
                .encode_prompt(&PromptText::Text(String::new()), false)?;
            let slot = ids.len();
            return Ok(PromptIds { ids, slot });
        }
        Ok(PromptIds {
            ids: encoded.ids,
            slot: encoded.slot,
        })
    }

    /// Input embeddings of one prompt, `[extra_positions + ids.len(), d_model]`. What follows the prompt (a target, generated
    /// tokens) is the backbone's own tokens again.
    ///
    /// # Errors
    /// An id without embedding, or a user who is not known.
    pub(crate) fn embed(
        &self,
        prompt: &PromptIds,
        user: Option<&str>,
    ) -> anyhow::Result<Tensor<2>> {
        let decoder = &self.backbone.decoder;
        let (embeds, _) = decoder.embed_rows(&[&prompt.ids], Padding::Right)?;
        let embeds = match &self.personal {
            None => embeds,
            Some(personal) => {
                let prefix = personal.prefix(user, decoder.device())?;
                inject(embeds.clone(), prefix.cast(embeds.dtype()), &[prompt.slot])
            }
        };
        Ok(embeds.squeeze_dim(0))
    }

    /// The prompt as the cold-start user has it, to contrast a user's own with; `None` without an adapter.
    ///
    /// # Errors
    /// An id without embedding.
    pub(crate) fn cold_start(&self, prompt: &PromptIds) -> anyhow::Result<Option<Prompt>> {
        let Some(personal) = &self.personal else {
            return Ok(None);
        };
        let decoder = &self.backbone.decoder;
        let (embeds, _) = decoder.embed_rows(&[&prompt.ids], Padding::Right)?;
        let prefix = personal.adapter.projector.default_prefix(1);
        let embeds = inject(embeds.clone(), prefix.cast(embeds.dtype()), &[prompt.slot]);
        Ok(Some(Prompt::Embeds {
            inputs_embeds: embeds.squeeze_dim(0),
            ids: prompt.ids.clone(),
        }))
    }

    /// The same as a prompt of the generator.
    ///
    /// # Errors
    /// See [`Inputs::embed`].
    pub(crate) fn prompt(&self, prompt: PromptIds, user: Option<&str>) -> anyhow::Result<Prompt> {
        if self.personal.is_none() {
            return Ok(Prompt::Ids(prompt.ids));
        }
        Ok(Prompt::Embeds {
            inputs_embeds: self.embed(&prompt, user)?,
            ids: prompt.ids,
        })
    }
}

impl Personal {
    /// Soft tokens of a user, `[1, n_prefix, d_model]`.
    fn prefix(&self, user: Option<&str>, device: &Device) -> anyhow::Result<Tensor<3>> {
        let projector = &self.adapter.projector;
        if self.adapter.config.method == Method::SoftPrompt {
            return Ok(projector.default_prefix(1));
        }
        let Some(user) = user.or(self.user.as_deref()) else {
            if self.cold_start {
                return Ok(projector.default_prefix(1));
            }
            return Err(hinted(
                "no user is named",
                "give --user ID or a `user` in the line, or --cold-start",
            ));
        };
        let users = match &self.users {
            Some(users) if users.contains(user) => users,
            _ if self.cold_start => return Ok(projector.default_prefix(1)),
            _ => {
                let place = self.users.as_ref().map_or_else(String::new, |users| {
                    format!(" in `{}`", users.path().display())
                });
                return Err(hinted(
                    format!("there is no user `{user}`{place}"),
                    "--cold-start treats unknown users as new ones",
                ));
            }
        };
        let space = &self.adapter.config.embedding_space;
        let row = space.standardise(user, &users.get(user)?)?;
        let dim = row.len();
        Ok(projector.forward(Tensor::from_data(TensorData::new(row, [1, dim]), device)))
    }
}

/// Opens embeddings and refuses those of another space; `space` says what they are where the file does not.
fn open_users(
    path: &Path,
    space: Option<&str>,
    adapter: &Adapter,
) -> anyhow::Result<UserEmbeddings> {
    let users = UserEmbeddings::open(path)?;
    let name = space.unwrap_or(users.space());
    let expected = &adapter.config.embedding_space;
    expected
        .check(name, users.dim())
        .with_context(|| format!("cannot use `{}`", path.display()))?;
    Ok(users)
}
