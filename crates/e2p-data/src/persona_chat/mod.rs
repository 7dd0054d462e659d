//! Persona-Chat: people who talk as the persona they were given.
//!
//! Every turn of the persona's owner is an example: the utterances before it are the prompt (the
//! partner is the chat's *user*, the owner its *assistant*), the turn is the target. A user is a
//! persona: the same sentences, in any order and in any of the files, are the same user.
//!
//! Zhang et al. 2018, <https://arxiv.org/abs/1801.07243>. The files are ParlAI's text (all persona
//! variants, with or without candidates), a CSV of dialogues, the Hugging Face JSON of
//! TransferTransfo, and the CSV of Synthetic-Persona-Chat (Jandaghi et al. 2023).

mod csv_dialogues;
mod hf_json;
mod parlai;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{DataError, Result};
use crate::example::{Example, Message, Prompt, Split, UserRecord};
use crate::sink::Sink;
use crate::source::{Abilities, Input, Source, SourceInfo, recorded};
use crate::split::Placement;
use crate::text::{contract, restore};
use crate::unpack::{Unpacked, extension};

const TASK: &str = "personachat";

/// Persona-Chat itself.
pub const PERSONA_CHAT: SourceInfo = SourceInfo {
    name: "Persona-Chat",
    task: TASK,
    citation: "Zhang, Dinan, Urbanek, Szlam, Kiela, Weston: Personalizing Dialogue Agents: I have a dog, do you have pets too? ACL 2018. \
               ConvAI2: Dinan et al. 2019, arXiv 1902.00098.",
    licence: "CC BY 4.0",
    use_limits: "",
};

/// Google's synthetic conversations between personas of Persona-Chat.
pub const SYNTHETIC_PERSONA_CHAT: SourceInfo = SourceInfo {
    name: "Synthetic-Persona-Chat",
    task: TASK,
    citation: "Jandaghi, Sheng, Bai, Pujara, Sidahmed: Faithful Persona-based Conversational Dataset Generation with Large Language Models. \
               2023, arXiv 2312.10007.",
    licence: "CC BY 4.0",
    use_limits: "Its validation and test personas are those of Persona-Chat: do not train on its validation part when Persona-Chat's is the \
                 evaluation.",
};

/// Both in one directory.
const BOTH: SourceInfo = SourceInfo {
    name: "Persona-Chat and Synthetic-Persona-Chat",
    task: TASK,
    citation: "Zhang et al.: Personalizing Dialogue Agents: I have a dog, do you have pets too? ACL 2018. Jandaghi et al.: Faithful Persona-based \
               Conversational Dataset Generation with Large Language Models. 2023, arXiv 2312.10007.",
    licence: "CC BY 4.0",
    use_limits: SYNTHETIC_PERSONA_CHAT.use_limits,
};

/// How Persona-Chat is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonaChatOptions {
    /// Whether lower-cased, pre-tokenised text is turned back into writing; see
    /// [`crate::text::restore`].
    pub restore_text: bool,
    /// How many utterances the prompt keeps at most, the latest; zero keeps all. Five (ours) are
    /// the partner's last three and the replies between them.
    pub history: usize,
    /// Whether candidates are kept where the file has them.
    pub candidates: bool,
    /// Percent of the pairs such as *I am* that are contracted in a CSV of dialogues, which has
    /// none; see [`crate::text::contract`].
    pub contract: u8,
}

impl Default for PersonaChatOptions {
    fn default() -> Self {
        Self {
            restore_text: true,
            history: 5,
            candidates: true,
            contract: 0,
        }
    }
}

/// The loader.
#[derive(Debug, Clone)]
pub struct PersonaChat {
    inputs: Vec<(Input, Format)>,
    options: PersonaChatOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Parlai,
    Csv,
    Synthetic,
    HuggingFace,
}

impl PersonaChat {
    /// Looks at the beginning of every input to learn its format.
    pub fn new(inputs: Vec<Input>, options: PersonaChatOptions) -> Result<Self> {
        let inputs = inputs
            .into_iter()
            .map(|input| sniff(&input.path).map(|format| (input, format)));
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let has_csv = inputs.iter().any(|(_, format)| *format == Format::Csv);
        if options.contract > 0 && (!options.restore_text || !has_csv) {
            return Err(DataError::InvalidOption {
                option: "contract",
                found: options.contract.to_string(),
                expected: "0 unless a CSV of dialogues is read and turned back into writing: no \
                           other file has lost its contractions",
            });
        }
        Ok(Self { inputs, options })
    }
}

fn sniff(path: &Path) -> Result<Format> {
    let file = File::open(path).map_err(|source| DataError::io(path, "open", source))?;
    let mut start = Vec::new();
    Unpacked::new(file)
        .take(4096)
        .read_to_end(&mut start)
        .map_err(|source| DataError::io(path, "read", source))?;
    let start = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&start);
    let first = start
        .split(|&byte| byte == b'\n')
        .next()
        .unwrap_or_default();
    let extension = extension(path).unwrap_or_default();
    match first.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => Ok(Format::HuggingFace),
        _ if first.to_ascii_lowercase().starts_with(b"user 1 personas") => Ok(Format::Synthetic),
        _ if extension == "csv" => Ok(Format::Csv),
        _ if extension == "txt" => Ok(Format::Parlai),
        Some(b'1') => Ok(Format::Parlai),
        _ => Err(DataError::UnknownInput {
            path: path.to_owned(),
            task: TASK,
            expected: "ParlAI text (`.txt`), a CSV of dialogues, or the Hugging Face JSON",
        }),
    }
}

impl Source for PersonaChat {
    fn info(&self) -> SourceInfo {
        let synthetic = self
            .inputs
            .iter()
            .filter(|(_, format)| *format == Format::Synthetic)
            .count();
        match synthetic {
            0 => PERSONA_CHAT,
            some if some == self.inputs.len() => SYNTHETIC_PERSONA_CHAT,
            _ => BOTH,
        }
    }

    fn inputs(&self) -> Vec<PathBuf> {
        self.inputs
            .iter()
            .map(|(input, _)| input.path.clone())
            .collect()
    }

    fn options(&self) -> serde_json::Map<String, serde_json::Value> {
        recorded(&self.options)
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            times: false,
            ..Abilities::default()
        }
    }

    fn read(&self, sink: &mut Sink<'_>) -> Result<()> {
        let as_written = PersonaChatOptions {
            contract: 0,
            ..self.options.clone()
        };
        for (input, format) in &self.inputs {
            match format {
                Format::Parlai => parlai::read(input, &as_written, sink)?,
                Format::Csv => csv_dialogues::read_dialogues(input, &self.options, sink)?,
                Format::Synthetic => csv_dialogues::read_synthetic(input, &as_written, sink)?,
                Format::HuggingFace => hf_json::read(input, &as_written, sink)?,
            }
        }
        Ok(())
    }
}

/// One conversation from the side of one persona's owner.
struct Dialogue<'o> {
    options: &'o PersonaChatOptions,
    split: Option<Split>,
    user: UserRecord,
    spoken: Vec<Message>,
}

impl<'o> Dialogue<'o> {
    /// A conversation whose owner has this persona; without one, the conversation itself is the
    /// user.
    fn new(
        options: &'o PersonaChatOptions,
        split: Option<Split>,
        persona: &[String],
        fallback: &str,
    ) -> Self {
        let id = if persona.is_empty() {
            fallback.to_owned()
        } else {
            persona_id(persona)
        };
        let profile = persona
            .iter()
            .map(|sentence| written(options, sentence))
            .collect();
        let user = UserRecord {
            user: id,
            profile,
            ..UserRecord::default()
        };
        Self {
            options,
            split,
            user,
            spoken: Vec::new(),
        }
    }

    /// The partner says something; silence is nothing.
    fn partner_says(&mut self, text: &str) {
        if is_said(text) {
            self.say(Message::user(written(self.options, text)));
        }
    }

    /// The owner said something that is no example of its own.
    fn owner_said(&mut self, text: &str) {
        if is_said(text) {
            self.say(Message::assistant(written(self.options, text)));
        }
    }

    /// Sides take turns: what one says twice in a row, with silence between, is one message.
    fn say(&mut self, message: Message) {
        match self.spoken.last_mut() {
            Some(last) if last.role == message.role => {
                last.content.push(' ');
                last.content.push_str(&message.content);
            }
            _ => self.spoken.push(message),
        }
    }

    /// The owner says something: an example, unless the partner has said nothing before. The error
    /// is what is wrong with the example.
    ///
    /// A prompt begins with the partner, whom chat templates call the user: many of them refuse a
    /// conversation that the assistant opens. What the owner said before is left out of it.
    fn owner_says(
        &mut self,
        text: &str,
        candidates: &[&str],
        sink: &mut Sink<'_>,
    ) -> Result<std::result::Result<(), (&'static str, String, &'static str)>> {
        let target = written(self.options, text);
        let answers = self.spoken.last().is_some_and(|last| last.role == USER);
        if !answers {
            sink.note(if self.spoken.is_empty() {
                "turns that open a conversation left out"
            } else {
                "turns that answer silence left out"
            })?;
        } else {
            let kept = if self.options.history == 0 {
                self.spoken.len()
            } else {
                self.options.history
            };
            let latest = &self.spoken[self.spoken.len().saturating_sub(kept)..];
            let opening = latest.iter().take_while(|said| said.role != USER).count();
            sink.note_many(
                "messages of the owner that would open a prompt left out",
                opening as u64,
            );
            let latest = &latest[opening..];
            let candidates = if self.options.candidates {
                candidates
            } else {
                &[]
            };
            let example = Example {
                user: self.user.user.clone(),
                prompt: Prompt::Chat(latest.to_vec()),
                target: target.clone(),
                candidates: candidates
                    .iter()
                    .map(|candidate| written(self.options, candidate))
                    .collect(),
                item: None,
            };
            if let Some(fault) = example.fault() {
                return Ok(Err(fault));
            }
            sink.user(&self.user)?;
            sink.example(Placement::given(self.split), &example)?;
        }
        self.say(Message::assistant(target));
        Ok(Ok(()))
    }
}

/// The side of the partner in a prompt.
const USER: &str = "user";

/// ConvAI2 writes a turn in which nothing is said as `__SILENCE__`.
fn is_said(text: &str) -> bool {
    !text.trim().is_empty() && text.trim() != "__SILENCE__"
}

fn written(options: &PersonaChatOptions, text: &str) -> String {
    match options {
        PersonaChatOptions {
            restore_text: false,
            ..
        } => text.trim().to_owned(),
        PersonaChatOptions { contract: 0, .. } => restore(text),
        PersonaChatOptions {
            contract: percent, ..
        } => contract(&restore(text), *percent),
    }
}

/// A persona's id: a hash of its words in alphabetical order, so that neither the order of the
/// sentences nor their punctuation or case matters.
pub fn persona_id(sentences: &[impl AsRef<str>]) -> String {
    let lower: Vec<String> = sentences
        .iter()
        .map(|sentence| sentence.as_ref().to_lowercase())
        .collect();
    let mut words: Vec<&str> = lower
        .iter()
        .flat_map(|sentence| sentence.split(|c: char| !c.is_alphanumeric()))
        .filter(|word| !word.is_empty())
        .collect();
    words.sort_unstable();
    let digest = Sha256::digest(words.join(" "));
    let mut id = "persona-".to_owned();
    for byte in &digest[..6] {
        write!(id, "{byte:02x}").expect("writing to a string");
    }
    id
}
