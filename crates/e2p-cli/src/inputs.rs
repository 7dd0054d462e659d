//! Builds the input embeddings of a prompt: the one place where anything besides the prompt's own tokens can enter.

use e2p_model::burn::tensor::Tensor;
use e2p_model::{Padding, Prompt};

use crate::backbone::Backbone;

/// Turns ids into input embeddings. Preferred variable name: `inputs`.
pub(crate) struct Inputs<'a> {
    backbone: &'a Backbone,
}

impl<'a> Inputs<'a> {
    /// Embeddings of the backbone's own tokens and nothing else.
    pub(crate) fn new(backbone: &'a Backbone) -> Self {
        Self { backbone }
    }

    /// Positions that are added to those of the tokens.
    #[allow(
        clippy::unused_self,
        reason = "the seam for inputs that are more than tokens"
    )]
    pub(crate) fn extra_positions(&self) -> usize {
        0
    }

    /// Input embeddings of one prompt, `[extra_positions + ids.len(), d_model]`. What follows the prompt (a target, generated
    /// tokens) is the backbone's own tokens again.
    ///
    /// # Errors
    /// An id without embedding, or a user who is not known.
    #[allow(
        clippy::unused_self,
        reason = "`user` is for inputs that depend on one"
    )]
    pub(crate) fn embed(&self, ids: &[u32], _user: Option<&str>) -> anyhow::Result<Tensor<2>> {
        let (embeds, _) = self.backbone.decoder.embed_rows(&[ids], Padding::Right)?;
        Ok(embeds.squeeze_dim(0))
    }

    /// The same as a prompt of the generator.
    ///
    /// # Errors
    /// See [`Inputs::embed`].
    pub(crate) fn prompt(&self, ids: Vec<u32>, user: Option<&str>) -> anyhow::Result<Prompt> {
        if self.extra_positions() == 0 {
            return Ok(Prompt::Ids(ids));
        }
        Ok(Prompt::Embeds {
            inputs_embeds: self.embed(&ids, user)?,
            ids,
        })
    }
}
