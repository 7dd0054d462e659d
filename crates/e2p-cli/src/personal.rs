//! Who asks: the options about adapter and user become prompts and soft tokens.

use std::path::Path;
use std::time::SystemTime;

use anyhow::Context;
use e2p_data::UserEmbeddings;
use e2p_model::ChatMessage;
use e2p_prefix::{Method, Personalized, Prefix, Prompt, PromptFormat, date_of};
use serde::Deserialize;

use crate::args::{GlobalArgs, PersonalArgs, PromptArgs};
use crate::backbone;
use crate::report::hinted;

/// A model and whom it knows. Preferred variable name: `personal`.
pub(crate) struct Personal {
    pub(crate) model: Personalized,
    users: Option<UserEmbeddings>,
    /// The space of the embeddings: what `--space` says, else what the file says.
    space: String,
    cold_start: bool,
    chat: bool,
}

/// A prompt as it stands in an input file.
#[derive(Debug, Clone, Deserialize)]
#[serde(
    untagged,
    expecting = "`prompt` must be a string or a list of {\"role\", \"content\"}"
)]
pub(crate) enum PromptText {
    Text(String),
    Chat(Vec<ChatMessage>),
}

impl Personal {
    /// Loads the backbone, and the adapter and the users' embeddings where `args` name them.
    ///
    /// # Errors
    /// Unreadable files, an adapter of another backbone or embedding space.
    pub(crate) fn open(
        backbone: &str,
        prompt: &PromptArgs,
        args: &PersonalArgs,
        global: &GlobalArgs,
    ) -> anyhow::Result<Self> {
        let (model, dir) = backbone::load(backbone, global)?;
        let Some(path) = &args.adapter else {
            let date = day(prompt.date.as_deref().unwrap_or("today"));
            return Ok(Self {
                model: model.with_date(&date)?,
                users: None,
                space: String::new(),
                cold_start: args.cold_start,
                chat: prompt.chat,
            });
        };
        let mut model = model.with_adapter(&dir, path)?;
        if let Some(date) = &prompt.date {
            model = model.with_date(&day(date))?;
        }
        let adapter = model.adapter().expect("opened just now");
        if let Some(unknown) = adapter.config.unrecorded() {
            tracing::warn!("{unknown}");
        }
        let (method, format) = (adapter.config.method, adapter.config.prompt_format);
        let space = &adapter.config.embedding_space;
        let users = match &args.users {
            None => None,
            Some(path) => Some(open_users(path, args.space.as_deref(), space)?),
        };
        if users.is_none() && !args.cold_start && method == Method::E2p {
            return Err(hinted(
                "an adapter needs the users' embeddings",
                "give --users FILE, or --cold-start for an unknown user",
            ));
        }
        if format == Some(PromptFormat::Text) && prompt.chat {
            tracing::warn!(
                "the adapter was trained on plain texts, and --chat makes chats of them"
            );
        }
        Ok(Self {
            space: space.name.clone(),
            users,
            cold_start: args.cold_start,
            chat: prompt.chat,
            model,
        })
    }

    /// The prompt of a line: a conversation, or a text as it stands, or as a chat with `--chat`.
    ///
    /// # Errors
    /// Those of the tokenizer and of the chat template; a missing placeholder.
    pub(crate) fn prompt(&self, prompt: &PromptText) -> anyhow::Result<Prompt> {
        Ok(match prompt {
            PromptText::Text(text) if self.chat => self.model.chat(&[ChatMessage::user(text)])?,
            PromptText::Text(text) => self.model.text(text)?,
            PromptText::Chat(messages) => self.model.chat(messages)?,
        })
    }

    /// The soft tokens of a user, or of an unknown one where that is allowed; `None` without an
    /// adapter.
    ///
    /// # Errors
    /// A user who is not named or has no embedding.
    pub(crate) fn prefix(&self, user: Option<&str>) -> anyhow::Result<Option<Prefix>> {
        let model = &self.model;
        let Some(adapter) = model.adapter() else {
            return Ok(None);
        };
        if adapter.config.method == Method::SoftPrompt {
            return Ok(Some(model.default_prefix()?));
        }
        let known = user.zip(self.users.as_ref());
        if let Some((user, users)) = known.filter(|(user, users)| users.contains(user)) {
            let prefix = model
                .prefix(&self.space, &users.get(user)?)
                .with_context(|| format!("user `{user}`"))?;
            return Ok(Some(prefix));
        }
        if self.cold_start {
            return Ok(Some(model.default_prefix()?));
        }
        Err(match user {
            None => hinted(
                "no user is named",
                "give --user ID or a `user` in the line, or --cold-start",
            ),
            Some(user) => {
                let place = self.users.as_ref().map_or_else(String::new, |users| {
                    format!(" in `{}`", users.path().display())
                });
                hinted(
                    format!("there is no user `{user}`{place}"),
                    "--cold-start treats unknown users as new ones",
                )
            }
        })
    }
}

/// What `--date` says; `today` is read off the clock here and nowhere else.
pub(crate) fn day(date: &str) -> String {
    if date == "today" {
        date_of(SystemTime::now())
    } else {
        date.to_owned()
    }
}

/// Opens embeddings and refuses those of another space; `space` says what they are where the file
/// does not.
fn open_users(
    path: &Path,
    space: Option<&str>,
    expected: &e2p_prefix::EmbeddingSpace,
) -> anyhow::Result<UserEmbeddings> {
    let users = UserEmbeddings::open(path)?;
    expected
        .check(space.unwrap_or(users.space()), users.dim())
        .with_context(|| format!("cannot use `{}`", path.display()))?;
    Ok(users)
}
