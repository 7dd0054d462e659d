//! Token ids in, printable text out, as early as it is certain.
//!
//! Three things make a piece of text uncertain: a character whose bytes are spread over several
//! tokens, a decoder that treats the first token of a text differently (Llama tokenizers strip its
//! space), and an end that may turn out to be the beginning of a stop string. Text is held back in
//! each case and the pieces always add up to the decoded whole. The window over the last tokens
//! follows text-generation-inference's `decode_token`.

use crate::error::Result;
use crate::generate::stop::{find_stop, undecided_len};

/// What a decoder writes for bytes that are not (yet) UTF-8.
const REPLACEMENT: char = '\u{FFFD}';

/// Ids to text, special tokens left out. The tokenizer of this crate implements it.
pub trait Detokenizer {
    /// The text of `ids`; bytes that form no character become U+FFFD.
    ///
    /// # Errors
    /// If the tokenizer's decoder refuses the ids.
    fn detokenize(&self, ids: &[u32]) -> Result<String>;
}

/// The text of one growing row. Preferred variable name: `stream`.
pub struct TextStream<'a> {
    detokenizer: &'a dyn Detokenizer,
    stop_strings: &'a [String],
    ids: Vec<u32>,
    /// Where decoding starts: far enough back that the decoder sees the text's context.
    window: usize,
    /// End of the tokens whose text is in `text` already.
    decoded: usize,
    /// All certain characters so far.
    text: String,
    /// How much of `text` was handed out.
    emitted: usize,
    stopped: bool,
}

impl<'a> TextStream<'a> {
    /// A stream that has seen nothing yet.
    pub fn new(detokenizer: &'a dyn Detokenizer, stop_strings: &'a [String]) -> Self {
        Self {
            detokenizer,
            stop_strings,
            ids: Vec::new(),
            window: 0,
            decoded: 0,
            text: String::new(),
            emitted: 0,
            stopped: false,
        }
    }

    /// Takes the next token and returns the text that became certain, often none.
    ///
    /// After [`TextStream::stopped`] it takes nothing more.
    ///
    /// # Errors
    /// See [`Detokenizer::detokenize`].
    pub fn push(&mut self, id: u32) -> Result<&str> {
        if self.stopped {
            return Ok("");
        }
        self.ids.push(id);
        let known = self
            .detokenizer
            .detokenize(&self.ids[self.window..self.decoded])?;
        let all = self.detokenizer.detokenize(&self.ids[self.window..])?;
        match all.strip_prefix(known.as_str()) {
            _ if all.ends_with(REPLACEMENT) => {}
            Some("") => {}
            Some(rest) => {
                self.text.push_str(rest);
                // A window whose own text is empty (special tokens, a lone space mark) would make
                // the next token look like the first of the text: keep the old one until there is
                // text to stand on.
                if !self
                    .detokenizer
                    .detokenize(&self.ids[self.decoded..])?
                    .is_empty()
                {
                    self.window = self.decoded;
                }
                self.decoded = self.ids.len();
            }
            None => self.restart_window()?,
        }
        Ok(self.emit(false))
    }

    /// No more tokens follow: returns everything still held back.
    ///
    /// # Errors
    /// See [`Detokenizer::detokenize`].
    pub fn finish(&mut self) -> Result<&str> {
        if !self.stopped && self.decoded < self.ids.len() {
            let known = self
                .detokenizer
                .detokenize(&self.ids[self.window..self.decoded])?;
            let all = self.detokenizer.detokenize(&self.ids[self.window..])?;
            match all.strip_prefix(known.as_str()) {
                Some(rest) => {
                    self.text.push_str(rest);
                    self.decoded = self.ids.len();
                }
                None => self.restart_window()?,
            }
        }
        Ok(self.emit(true))
    }

    /// Whether a stop string was met. The text ends before it.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Everything handed out so far; after [`TextStream::finish`], the whole text.
    pub fn text(&self) -> &str {
        &self.text[..self.emitted]
    }

    /// Decodes the new tokens without the old: a byte-fallback decoder gives up a whole run of
    /// bytes when one is bad, also those that were readable alone and are already handed out.
    fn restart_window(&mut self) -> Result<()> {
        self.text
            .push_str(&self.detokenizer.detokenize(&self.ids[self.decoded..])?);
        self.window = self.decoded;
        self.decoded = self.ids.len();
        Ok(())
    }

    fn emit(&mut self, last: bool) -> &str {
        let start = self.emitted;
        if !self.stopped {
            if let Some(position) = find_stop(&self.text[start..], self.stop_strings) {
                self.text.truncate(start + position);
                self.stopped = true;
            }
            let held = if last || self.stopped {
                0
            } else {
                undecided_len(&self.text[start..], self.stop_strings)
            };
            self.emitted = self.text.len() - held;
        }
        &self.text[start..self.emitted]
    }
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
