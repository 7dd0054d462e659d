//! The command line. These doc comments are the reference: `--help`, man pages and completions are made from them.

mod global;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use global::{Dtype, GlobalArgs, Precision};

/// Embedding-to-Prefix: personalize a frozen language model with one vector per user.
#[derive(Debug, Parser)]
#[command(
    name = "e2p",
    version,
    long_version = crate::device::VERSION.as_str(),
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(
    after_help = "Exit codes: 0 done, 1 ran but the answer is no, 2 bad usage or input, 130 interrupted."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Log-likelihoods of given targets
    Score(ScoreArgs),
    /// Text that goes on from a prompt
    Generate(GenerateArgs),
    /// Raw files to a data directory
    Prepare(PrepareArgs),
    /// Make user embeddings
    #[command(subcommand)]
    Embed(EmbedCommand),
    /// Train the projector that turns user embeddings into soft tokens
    Train(TrainArgs),
    /// Evaluate a trained run under every control
    Eval(EvalArgs),
    /// Train a small backbone from scratch
    Pretrain(PretrainArgs),
    /// The whole method on a synthetic world: nothing to download, nothing to prepare
    Quickstart(QuickstartArgs),
    /// Training recipes: what is shipped, what one says, whether a file is one
    #[command(subcommand)]
    Recipe(RecipeCommand),
    /// What a path holds
    Inspect(InspectArgs),
    /// Compiled backends and the devices that each finds
    Devices,
    /// A completion script for a shell
    Completions(CompletionsArgs),
    /// Manual pages, one for each verb
    Man(ManArgs),
}

/// The frozen model.
#[derive(Debug, Args)]
pub(crate) struct BackboneArgs {
    /// Hugging Face directory (config.json, *.safetensors, tokenizer.json), or a hub id with feature `hub`
    #[arg(long, value_name = "DIR")]
    pub(crate) backbone: String,
}

/// A user's part.
#[derive(Debug, Args)]
#[command(next_help_heading = "Personalization")]
pub(crate) struct PersonalArgs {
    /// Adapter directory, or the run that trained it
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// User embeddings of the space that the adapter was trained on
    #[arg(long, value_name = "FILE", requires = "adapter")]
    pub(crate) users: Option<PathBuf>,
    /// The space of the embeddings where the file does not say it
    #[arg(long, value_name = "NAME", requires = "users")]
    pub(crate) space: Option<String>,
    /// Give users without embedding the learned default prefix instead of refusing them
    #[arg(long, requires = "adapter")]
    pub(crate) cold_start: bool,
}

/// `e2p score`.
#[derive(Debug, Args)]
#[command(
    after_help = "Input line: {\"prompt\": str, \"target\": str, \"user\"?: str}\n\
    Output line: {\"logprob\": sum, \"tokens\": n, \"token_logprobs\": [...]}, natural logarithms, in input order."
)]
pub(crate) struct ScoreArgs {
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// JSON lines with `prompt` and `target`; `-` reads stdin
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) input: PathBuf,
    /// Render prompts with the tokenizer's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    #[command(flatten)]
    pub(crate) personal: PersonalArgs,
}

/// `e2p generate`.
#[derive(Debug, Args)]
#[command(after_help = "Input line: {\"prompt\": str, \"user\"?: str}\n\
    Output line with --input or --json: {\"text\", \"ids\": [new ids], \"finish\": \"stop\"|\"length\", \"user\"?}.\n\
    One prompt without --json streams its text.")]
#[command(group = clap::ArgGroup::new("source").required(true).args(["prompt", "input"]))]
pub(crate) struct GenerateArgs {
    #[command(flatten)]
    pub(crate) backbone: BackboneArgs,
    /// The prompt
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// The user who asks, where a line names nobody
    #[arg(
        long,
        value_name = "ID",
        requires = "adapter",
        help_heading = "Personalization"
    )]
    pub(crate) user: Option<String>,
    /// How strongly the user counts: 1 as trained, 0 the cold-start user, above 1 amplified (twice the work unless 1)
    #[arg(
        long,
        default_value_t = 1.0,
        value_name = "W",
        requires = "adapter",
        allow_negative_numbers = true,
        help_heading = "Personalization"
    )]
    pub(crate) strength: f32,
    /// JSON lines with `prompt`; `-` reads stdin
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) input: Option<PathBuf>,
    /// Render prompts with the tokenizer's chat template
    #[arg(long)]
    pub(crate) chat: bool,
    /// Most new tokens for a prompt; if not given, 128 or what the context has room for
    #[arg(long, value_name = "N")]
    pub(crate) max_new_tokens: Option<usize>,
    /// Divides the logits before a token is drawn; 0 takes the most likely token
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    pub(crate) temperature: f32,
    /// Draw among the K most likely tokens
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Draw among the most likely tokens that together reach probability P
    #[arg(long, value_name = "P")]
    pub(crate) top_p: Option<f32>,
    /// Draw among tokens at least P times as likely as the most likely one
    #[arg(long, value_name = "P")]
    pub(crate) min_p: Option<f32>,
    /// Above 1, tokens that occurred become less likely
    #[arg(long, default_value_t = 1.0, value_name = "R")]
    pub(crate) repetition_penalty: f32,
    /// End the text before this string; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
    #[command(flatten)]
    pub(crate) personal: PersonalArgs,
}

/// `e2p prepare`.
#[derive(Debug, Args)]
#[command(
    after_help = "An input is PATH, or SPLIT=PATH (train, valid, test), or all=PATH for a file that is not one split.\n\
    personachat: ParlAI text, the CSV of dialogues, Synthetic-Persona-Chat CSV, the Hugging Face JSON.\n\
    pens: the directory with news.tsv, train.tsv, valid.tsv, personalized_test.tsv, or some of these files.\n\
    mind: directories with news.tsv and behaviors.tsv, such as MINDsmall_train and MINDsmall_dev.\n\
    lamp: *_questions.json with their *_outputs.json beside them, or a directory of both; one of LaMP-1 to 7 at a time.\n\
    interactions: events as CSV, TSV, JSON lines or Parquet with columns user, item and perhaps weight, time, text, tags;\n\
    or the directory of Last.fm HetRec 2011.\n\
    jsonl: lines with user, prompt (text or messages), target and perhaps candidates, profile, item, split, time."
)]
pub(crate) struct PrepareArgs {
    /// What the files are
    #[arg(value_enum)]
    pub(crate) task: PrepareTask,
    /// Files to read
    #[arg(long, required = true, num_args = 1.., value_name = "PATH")]
    pub(crate) input: Vec<String>,
    /// The data directory to write
    #[arg(long, value_name = "DATA")]
    pub(crate) out: PathBuf,
    /// Replace a data directory that is there, once the new one is complete
    #[arg(long)]
    pub(crate) force: bool,
    /// Keep examples that repeat user, prompt and target
    #[arg(long)]
    pub(crate) keep_duplicates: bool,
    /// Longest line, quoted record or JSON element
    #[arg(long, default_value_t = 16 << 20, value_name = "BYTES")]
    pub(crate) max_line_bytes: usize,
    /// Made-up users for each training example, added to it: one text of their profile is a statement of the answer, the others are from elsewhere in
    /// the training split. For data sets with profile texts and few users
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) pseudo_users: u32,
    /// Leave candidates out (personachat, mind, lamp, jsonl)
    #[arg(long)]
    pub(crate) no_candidates: bool,
    /// Texts that a profile keeps at most; if not given, 20 for interactions, 50 for pens, mind and lamp, all for jsonl
    #[arg(long, value_name = "N")]
    pub(crate) profile_items: Option<usize>,
    /// Items of a history or a row that become training targets at most (interactions, pens, mind)
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) train_targets: usize,
    /// The prompt of every example (interactions, mind), or that around {body} (pens)
    #[arg(long, value_name = "TEXT")]
    pub(crate) prompt: Option<String>,
    /// Keep lower-cased, tokenised text as it is
    #[arg(long, help_heading = "personachat")]
    pub(crate) raw_text: bool,
    /// Contract this share of the pairs such as `I am` in a CSV of dialogues, which has no contractions where ParlAI's files have them in half of the places
    #[arg(
        long,
        default_value_t = 0,
        value_name = "PERCENT",
        value_parser = clap::value_parser!(u8).range(0..=100),
        conflicts_with = "raw_text",
        help_heading = "personachat"
    )]
    pub(crate) contract: u8,
    /// Utterances that a prompt keeps, the latest; 0 for all
    #[arg(
        long,
        default_value_t = 5,
        value_name = "N",
        help_heading = "personachat"
    )]
    pub(crate) history: usize,
    /// Words of an article that a prompt keeps; 0 for all
    #[arg(long, default_value_t = 500, value_name = "N", help_heading = "pens")]
    pub(crate) body_words: usize,
    /// Hold out everything from some time on instead of each user's last items
    #[arg(long, help_heading = "interactions")]
    pub(crate) temporal: bool,
    /// Drop users with fewer distinct items
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        help_heading = "interactions"
    )]
    pub(crate) min_user_items: usize,
    /// Drop items with fewer distinct users
    #[arg(
        long,
        default_value_t = 1,
        value_name = "N",
        help_heading = "interactions"
    )]
    pub(crate) min_item_users: usize,
    /// The target: {text}, {tags} and {item} are filled in
    #[arg(
        long,
        default_value = "{text}",
        value_name = "TEMPLATE",
        help_heading = "interactions"
    )]
    pub(crate) target: String,
    /// A column's name in the files, such as user=listener_id or weight=plays; may be given several times
    #[arg(long, value_name = "FIELD=NAME", help_heading = "interactions")]
    pub(crate) column: Vec<String>,
    #[command(flatten)]
    pub(crate) split: SplitArgs,
    #[command(flatten)]
    pub(crate) about: AboutArgs,
}

/// Who decides where an example goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Splits")]
pub(crate) struct SplitArgs {
    /// Split by user, whatever the source says
    #[arg(long, conflicts_with_all = ["valid_from", "test_from"])]
    pub(crate) split_by_user: bool,
    /// Split by time: from here on it is test; a date or a number in the source's own unit
    #[arg(long, value_name = "TIME")]
    pub(crate) test_from: Option<String>,
    /// With --test-from: from here on it is validation
    #[arg(long, value_name = "TIME", requires = "test_from")]
    pub(crate) valid_from: Option<String>,
    /// Share of the users for validation, where users decide
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    pub(crate) valid: f64,
    /// Share of the users for the test, where users decide
    #[arg(long, default_value_t = 0.1, value_name = "SHARE")]
    pub(crate) test: f64,
    /// Share of the users of a given training file that go to validation instead
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub(crate) valid_from_train: f64,
}

/// What the owner of one's own files says of them.
#[derive(Debug, Args)]
#[command(next_help_heading = "About the data")]
pub(crate) struct AboutArgs {
    /// Name of the data set
    #[arg(long, value_name = "TEXT")]
    pub(crate) name: Option<String>,
    /// Licence of the data
    #[arg(long, value_name = "TEXT")]
    pub(crate) licence: Option<String>,
    /// What a publication should cite
    #[arg(long, value_name = "TEXT")]
    pub(crate) citation: Option<String>,
    /// What the owners ask beyond that
    #[arg(long, value_name = "TEXT")]
    pub(crate) use_limits: Option<String>,
}

/// What `e2p prepare` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PrepareTask {
    /// Persona-Chat dialogues
    Personachat,
    /// Personalised headlines
    Pens,
    /// The next click on a news article
    Mind,
    /// One of the seven tasks of LaMP
    Lamp,
    /// Users and items: music, podcasts, anything
    Interactions,
    /// One's own lines: chats, questions with candidates, anything
    Jsonl,
}

/// `e2p embed`.
#[derive(Debug, Subcommand)]
pub(crate) enum EmbedCommand {
    /// From the users' profile text, with a sentence encoder or a language model
    Text(EmbedTextArgs),
    /// From what users did, by implicit-feedback ALS
    Interactions(EmbedInteractionsArgs),
    /// From embeddings of another version, mapped to the space that an adapter was trained on
    Align(EmbedAlignArgs),
}

/// `e2p embed text`.
#[derive(Debug, Args)]
#[command(after_help = "Interrupted, the same command goes on where it stopped.")]
pub(crate) struct EmbedTextArgs {
    /// Sentence-transformers directory of the BERT family, such as all-MiniLM-L6-v2, or a language model's, whose last hidden states are
    /// averaged
    #[arg(long, value_name = "DIR")]
    pub(crate) encoder: String,
    /// Data directory whose users have profiles
    #[arg(long, value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// Embeddings to write, `.safetensors`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Users that are embedded together
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch_size: u16,
}

/// `e2p embed interactions`.
#[derive(Debug, Args)]
#[command(after_help = "Writes FILE for the users and FILE's stem with `.items` for the items.")]
pub(crate) struct EmbedInteractionsArgs {
    /// Data directory made by `e2p prepare interactions`
    #[arg(long, value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// User embeddings to write, `.safetensors`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Numbers per user and item
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub(crate) dim: usize,
    /// How often users and items are solved
    #[arg(long, default_value_t = 15, value_name = "N")]
    pub(crate) iterations: usize,
    /// How much a weight adds to the confidence
    #[arg(long, default_value_t = 1.0, value_name = "A")]
    pub(crate) alpha: f32,
    /// Weight of the squared norms
    #[arg(long, default_value_t = 10.0, value_name = "R")]
    pub(crate) regularization: f32,
}

/// `e2p embed align`.
#[derive(Debug, Args)]
#[command(
    after_help = "The map is fitted to the users that both files know, and applied to all of NEW. The result says that it is of OLD's space."
)]
pub(crate) struct EmbedAlignArgs {
    /// Embeddings of the new version
    #[arg(long, value_name = "NEW")]
    pub(crate) from: PathBuf,
    /// Embeddings of the old version, for at least 20 of the same users
    #[arg(long, value_name = "OLD")]
    pub(crate) to: PathBuf,
    /// Embeddings to write, `.safetensors`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// procrustes: a rotation and a scale, for the same model trained anew; affine: any matrix, for another model; mlp: a matrix and a small network, where affine misses much and users are many
    #[arg(long, value_enum, default_value_t = Alignment::Affine, value_name = "METHOD", hide_possible_values = true)]
    pub(crate) method: Alignment,
}

/// `--method` of `e2p embed align`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Alignment {
    Procrustes,
    Affine,
    Mlp,
}

/// `e2p train`.
#[derive(Debug, Args)]
#[command(
    after_help = "Ctrl-C finishes the step and saves; `e2p train --resume --out RUN` goes on from there, also after a crash."
)]
pub(crate) struct TrainArgs {
    /// A shipped recipe (see `e2p recipe list`) or a TOML file; with --resume the run's own if not given
    #[arg(required_unless_present = "resume")]
    pub(crate) recipe: Option<String>,
    /// Change a value of the recipe, such as optim.lr=3e-4; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Directory of the run
    #[arg(long, value_name = "RUN")]
    pub(crate) out: PathBuf,
    /// Go on with the run in RUN
    #[arg(long, conflicts_with = "force")]
    pub(crate) resume: bool,
    /// Remove an older run in RUN first
    #[arg(long)]
    pub(crate) force: bool,
    /// Afterwards train the `soft_prompt` control with the same budget into RUN/soft_prompt
    #[arg(long)]
    pub(crate) baseline: bool,
}

/// `e2p eval`.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// Directory of a finished run
    pub(crate) run: PathBuf,
    /// Conditions to compare, separated by commas; all that the run and its data allow if not given
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) conditions: Vec<String>,
    /// Split to evaluate on; test if there is one, else valid
    #[arg(long, value_name = "SPLIT")]
    pub(crate) split: Option<String>,
    /// Only the first N examples; 0 for all
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) limit: usize,
    /// Rank the candidates of at most N examples; 0 for none
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub(crate) candidates: usize,
    /// Generate answers for at most N examples; 0 for none
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub(crate) generate: usize,
    /// Rank the whole catalogue for at most N examples, where items are recommended; 0 for none
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) catalogue: usize,
    /// Width of the beam search that is constrained to the catalogue; 0 for none
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) beam: usize,
    /// User vectors of a factorization as a baseline, their items beside them (FILE.items.safetensors); the run's own if they have items
    #[arg(long, value_name = "FILE")]
    pub(crate) als: Option<PathBuf>,
    /// A run of the `soft_prompt` control; RUN/soft_prompt if it is there
    #[arg(long, value_name = "RUN")]
    pub(crate) soft_prompt: Option<PathBuf>,
    /// Other user embeddings than those of training, such as a later version of the same space
    #[arg(long, value_name = "FILE")]
    pub(crate) users: Option<PathBuf>,
    /// The space of those embeddings where the file does not say it
    #[arg(long, value_name = "NAME", requires = "users")]
    pub(crate) space: Option<String>,
    /// Standard deviations of noise on the standardised embeddings, separated by commas: the first for every figure, all for a drift curve
    #[arg(long, default_value = "0", value_delimiter = ',', value_name = "S")]
    pub(crate) embedding_noise: Vec<f32>,
    /// Bootstrap resamples of the users
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub(crate) resamples: usize,
    /// Directory for report.json and report.html; RUN if not given
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// `e2p pretrain`.
#[derive(Debug, Args)]
pub(crate) struct PretrainArgs {
    /// `small`, the default shape, or a TOML file with some of its keys
    pub(crate) recipe: String,
    /// Text files; paragraphs (blocks between empty lines) are documents
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    pub(crate) text: Vec<PathBuf>,
    /// Change a value of the recipe, such as steps=500; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Directory of the new backbone
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}

/// `e2p quickstart`.
#[derive(Debug, Args)]
pub(crate) struct QuickstartArgs {
    /// Directory for everything that is made
    #[arg(long, default_value = "e2p-quickstart", value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// Replace an older quick start in DIR
    #[arg(long)]
    pub(crate) force: bool,
}

/// `e2p recipe`.
#[derive(Debug, Subcommand)]
pub(crate) enum RecipeCommand {
    /// Names of the shipped recipes
    List,
    /// The resolved recipe as TOML, every key present
    Show(RecipeArgs),
    /// Whether a recipe can be used; every problem at once
    Check(RecipeArgs),
    /// JSON Schema of a recipe, for editors: every key with its default and what it does
    Schema,
}

/// `e2p recipe show` and `check`.
#[derive(Debug, Args)]
pub(crate) struct RecipeArgs {
    /// A shipped recipe or a TOML file
    pub(crate) recipe: String,
    /// Change a value, such as optim.lr=3e-4; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// `e2p inspect`.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// A backbone (or its hub id), an adapter, a run, a data directory or a file of user embeddings
    #[arg(value_name = "PATH")]
    pub(crate) path: String,
}

/// `e2p completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// `e2p man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Directory for the pages, such as /usr/local/share/man/man1
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
}
