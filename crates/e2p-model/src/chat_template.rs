//! Chat templates: a conversation becomes the text the model was trained on.
//!
//! Published templates are Jinja; minijinja renders them with transformers' settings and additions
//! (`utils/chat_template_utils.py`: trimmed blocks, loop controls, `raise_exception`,
//! `strftime_now`, `tojson` in Python's spelling) and with the Python methods that templates call
//! on strings, lists and dictionaries.
//!
//! A directory without a template gets the *plain format*: every message is a line `User: …`, `Bot:
//! …` or, for other roles, the bare text, and the generation prompt is `Bot:`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Enumerator, Object};
use minijinja::{Environment, Error, ErrorKind, Value};
use serde::{Deserialize, Serialize};

use crate::error::{ModelError, Result};
use crate::python_json;
use crate::strftime::strftime;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`; templates may know more.
    pub role: String,
    /// The text.
    pub content: String,
}

impl ChatMessage {
    /// A user's message.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: "user".into(),
            content: content.into(),
        }
    }
}

/// Templates see a dictionary whose keys have Python's order: that of insertion.
impl Object for ChatMessage {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "role" => Some(Value::from(&self.role)),
            "content" => Some(Value::from(&self.content)),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["role", "content"])
    }
}

/// What a template gets besides the messages.
#[derive(Debug, Clone)]
pub struct ChatOptions {
    /// End with the words after which the model answers.
    pub add_generation_prompt: bool,
    /// What `strftime_now` formats, in UTC.
    pub now: SystemTime,
}

impl Default for ChatOptions {
    /// With the generation prompt, at 1970-01-01: a library does not read the clock by itself.
    fn default() -> Self {
        Self {
            add_generation_prompt: true,
            now: UNIX_EPOCH,
        }
    }
}

/// A conversation's format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    /// The Jinja source, or none for the plain format.
    source: Option<String>,
    /// The file it came from, for messages.
    path: PathBuf,
}

impl ChatTemplate {
    /// The plain format described at the top of this file.
    pub fn plain() -> Self {
        Self {
            source: None,
            path: PathBuf::new(),
        }
    }

    /// Finds the template of a directory: `chat_template.jinja` first, then `chat_template` of the
    /// given `tokenizer_config.json` (a string, or a list of named ones of which `default` is
    /// taken), else the plain format.
    ///
    /// # Errors
    /// [`ModelError::Read`] if the file cannot be read, [`ModelError::ChatTemplate`] if the source
    /// is not valid Jinja.
    pub fn from_dir(dir: &Path, tokenizer_config: Option<&serde_json::Value>) -> Result<Self> {
        let path = dir.join("chat_template.jinja");
        if path.is_file() {
            let source = fs::read_to_string(&path).map_err(|source| ModelError::Read {
                path: path.clone(),
                source,
            })?;
            return Self::from_source(source, path);
        }
        let entry =
            tokenizer_config.map_or(&serde_json::Value::Null, |config| &config["chat_template"]);
        let named = |list: &Vec<serde_json::Value>| {
            let default = list
                .iter()
                .find(|template| template["name"] == "default")
                .or(list.first())?;
            default["template"].as_str().map(str::to_string)
        };
        let source = entry
            .as_str()
            .map(str::to_string)
            .or_else(|| entry.as_array().and_then(named));
        source.map_or_else(
            || Ok(Self::plain()),
            |source| Self::from_source(source, dir.join("tokenizer_config.json")),
        )
    }

    /// Whether this is the plain format and not a Jinja template.
    pub fn is_plain(&self) -> bool {
        self.source.is_none()
    }

    fn from_source(source: String, path: PathBuf) -> Result<Self> {
        let source = jinja(&source);
        environment(UNIX_EPOCH)
            .template_from_str(&source)
            .map_err(|source| ModelError::ChatTemplate {
                path: path.clone(),
                source: Box::new(source),
            })?;
        Ok(Self {
            source: Some(source),
            path,
        })
    }

    /// Renders `messages`. `special_tokens` maps roles such as `bos_token` to their text.
    ///
    /// # Errors
    /// [`ModelError::ChatTemplate`] if the template fails or raises an exception.
    pub fn render(
        &self,
        messages: &[ChatMessage],
        special_tokens: &BTreeMap<String, String>,
        options: &ChatOptions,
    ) -> Result<String> {
        let Some(source) = &self.source else {
            return Ok(render_plain(messages, options.add_generation_prompt));
        };
        let mut context: BTreeMap<&str, Value> = special_tokens
            .iter()
            .map(|(role, token)| (role.as_str(), Value::from(token)))
            .collect();
        // transformers passes these two as None, and templates test `if tools is not none`.
        context.insert("tools", Value::from(()));
        context.insert("documents", Value::from(()));
        context.insert(
            "messages",
            messages.iter().cloned().map(Value::from_object).collect(),
        );
        context.insert(
            "add_generation_prompt",
            Value::from(options.add_generation_prompt),
        );
        environment(options.now)
            .render_str(source, context)
            .map_err(|source| ModelError::ChatTemplate {
                path: self.path.clone(),
                source: Box::new(source),
            })
    }
}

/// A template as transformers hands it to Jinja: line ends are line feeds, and `{% generation %}`,
/// which marks the assistant's tokens for training and renders its body as it is, is a block that
/// is always taken.
fn jinja(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    let mut is_raw = false;
    while let Some(start) = rest.find("{%") {
        let Some(len) = rest[start..].find("%}") else {
            break;
        };
        let (before, tag) = rest[..start + len].split_at(start);
        let inner = &tag[2..];
        let name = inner.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let renamed = match name {
            "generation" if !is_raw => Some("if true"),
            "endgeneration" if !is_raw => Some("endif"),
            _ => None,
        };
        is_raw = (is_raw || name == "raw") && name != "endraw";
        out.push_str(before);
        match renamed {
            Some(renamed) => out.push_str(&tag.replacen(name, renamed, 1)),
            None => out.push_str(tag),
        }
        out.push_str("%}");
        rest = &rest[start + len + 2..];
    }
    out.push_str(rest);
    out
}

fn render_plain(messages: &[ChatMessage], add_generation_prompt: bool) -> String {
    let mut text = String::new();
    for message in messages {
        let speaker = match message.role.as_str() {
            "user" => "User: ",
            "assistant" => "Bot: ",
            _ => "",
        };
        text.push_str(speaker);
        text.push_str(&message.content);
        text.push('\n');
    }
    if add_generation_prompt {
        text.push_str("Bot:");
    }
    text
}

fn environment(now: SystemTime) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function(
        "raise_exception",
        |message: String| -> std::result::Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_function("strftime_now", move |format: String| strftime(now, &format));
    environment.add_filter("tojson", python_json::tojson);
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> ChatMessage {
        ChatMessage {
            role: role.into(),
            content: content.into(),
        }
    }

    fn render(source: &str, messages: &[ChatMessage]) -> Result<String> {
        let tokens = BTreeMap::from([("bos_token".to_string(), "<s>".to_string())]);
        ChatTemplate::from_source(source.into(), "tokenizer_config.json".into())?.render(
            messages,
            &tokens,
            &ChatOptions::default(),
        )
    }

    #[test]
    fn the_plain_format_is_as_documented() {
        let messages = [
            message("system", "Be kind."),
            message("user", "Hi"),
            message("assistant", "Hello!"),
            message("user", "Bye"),
        ];
        let render = |add_generation_prompt| {
            let options = ChatOptions {
                add_generation_prompt,
                ..ChatOptions::default()
            };
            ChatTemplate::plain()
                .render(&messages, &BTreeMap::new(), &options)
                .expect("plain")
        };
        assert_eq!(
            render(true),
            "Be kind.\nUser: Hi\nBot: Hello!\nUser: Bye\nBot:"
        );
        assert_eq!(
            render(false),
            "Be kind.\nUser: Hi\nBot: Hello!\nUser: Bye\n"
        );
    }

    #[test]
    fn blocks_are_trimmed_and_python_methods_work() {
        let source = "{{ bos_token }}{% for m in messages %}\n    {% if m['role'].startswith('u') %}\n{{ m.content.strip() | upper }}!\n    {% endif %}\n{% endfor %}\n{% if tools is not none %}tools{% endif %}";
        assert_eq!(
            render(
                source,
                &[message("user", " hi "), message("assistant", "x")]
            )
            .expect("renders"),
            "<s>HI!\n"
        );
    }

    #[test]
    fn loop_controls_namespaces_and_generation_prompts_work() {
        let source = "{% set ns = namespace(n=0) %}{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}{% if add_generation_prompt %}>{% endif %}";
        assert_eq!(
            render(source, &[message("system", "a"), message("user", "b")]).expect("renders"),
            "1>"
        );
    }

    #[test]
    fn generation_blocks_render_their_body_with_the_white_space_of_any_block() {
        let dir = tempfile::tempdir().unwrap();
        let rendered = |source: &str| {
            fs::write(dir.path().join("chat_template.jinja"), source).unwrap();
            let template = ChatTemplate::from_dir(dir.path(), None).unwrap();
            let messages = [ChatMessage::user("hi")];
            template
                .render(&messages, &BTreeMap::new(), &ChatOptions::default())
                .unwrap()
        };
        // As transformers 5.23.0 renders them.
        assert_eq!(
            rendered("a {% generation %}b{% endgeneration %} c"),
            "a b c"
        );
        assert_eq!(
            rendered("a {%- generation -%} b {%- endgeneration -%} c"),
            "abc"
        );
        assert_eq!(
            rendered("{% generation %}\nb\n{% endgeneration %}\nc"),
            "b\nc"
        );
        let raw = "{% raw %}{% generation %}{% endraw %}";
        assert_eq!(rendered(raw), "{% generation %}");
        // Line ends of Windows are line feeds, and the last one is dropped.
        assert_eq!(
            rendered("a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc\r\n"),
            "a\nb\nc"
        );
    }

    #[test]
    fn an_exception_of_the_template_is_the_cause() {
        let error =
            render("{{ raise_exception('roles must alternate') }}", &[]).expect_err("raises");
        let cause = std::error::Error::source(&error)
            .expect("has a cause")
            .to_string();
        assert!(cause.contains("roles must alternate"), "{cause}");
    }

    #[test]
    fn dates_and_json_are_pythons() {
        assert_eq!(
            render("{{ strftime_now('%d %B %Y') }}", &[]).expect("renders"),
            "01 January 1970"
        );
        let json =
            render("{{ messages | tojson }}", &[message("user", "<é> \"q\"")]).expect("renders");
        assert_eq!(json, r#"[{"role": "user", "content": "<é> \"q\""}]"#);
    }

    #[test]
    fn templates_are_found_where_they_are_published() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let find = |config: serde_json::Value| {
            ChatTemplate::from_dir(dir.path(), Some(&config))
                .expect("valid")
                .source
        };
        assert_eq!(find(serde_json::json!({})), None);
        assert_eq!(
            find(serde_json::json!({"chat_template": "one"})).as_deref(),
            Some("one")
        );
        let list = serde_json::json!({"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]});
        assert_eq!(find(list.clone()).as_deref(), Some("d"));
        fs::write(dir.path().join("chat_template.jinja"), "file").expect("writes");
        assert_eq!(find(list).as_deref(), Some("file"));
    }

    #[test]
    fn a_template_that_does_not_parse_names_its_file() {
        let config = serde_json::json!({"chat_template": "{% for %}"});
        let error =
            ChatTemplate::from_dir(Path::new("some/dir"), Some(&config)).expect_err("no Jinja");
        assert!(
            error.to_string().contains("tokenizer_config.json"),
            "{error}"
        );
    }
}
