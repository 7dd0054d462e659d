//! `e2p generate`: text that goes on from prompts.
//!
//! One prompt streams; a file of prompts is generated in batches and written in input order.

use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use e2p_model::{Finish, GenerateRequest, Generation, SamplingConfig, StopConditions};
use serde::{Deserialize, Serialize};

use crate::args::{BackboneArgs, GlobalArgs, PersonalArgs, PromptArgs};
use crate::interrupt::{self, Interrupted};
use crate::lines::{self, LineErrors};
use crate::output::Output;
use crate::personal::{Personal, PromptText};
use crate::progress::Progress;

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
    /// The user who asks, for lines that name none
    #[arg(
        long,
        value_name = "ID",
        requires = "adapter",
        help_heading = "Personalization"
    )]
    pub(crate) user: Option<String>,
    /// How strongly the user counts: 1 as trained, 0 as for an unknown user, above 1 amplified; any
    /// value but 1 doubles the work
    #[arg(
        long,
        default_value_t = 1.0,
        value_name = "W",
        requires = "adapter",
        allow_negative_numbers = true,
        help_heading = "Personalization"
    )]
    pub(crate) strength: f32,
    /// JSON Lines with `prompt`; `-` reads stdin
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) input: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) prompting: PromptArgs,
    /// Most new tokens for a prompt; by default 128, or what fits into the context
    #[arg(long, value_name = "N")]
    pub(crate) max_new_tokens: Option<usize>,
    /// Sampling temperature, which divides the logits; 0 takes the most likely token
    #[arg(long, default_value_t = 0.0, value_name = "T")]
    pub(crate) temperature: f32,
    /// Sample among the K most likely tokens
    #[arg(long, value_name = "K")]
    pub(crate) top_k: Option<usize>,
    /// Sample among the most likely tokens that together reach probability P
    #[arg(long, value_name = "P")]
    pub(crate) top_p: Option<f32>,
    /// Sample among the tokens at least P times as likely as the most likely one
    #[arg(long, value_name = "P")]
    pub(crate) min_p: Option<f32>,
    /// Above 1, tokens that have occurred become less likely
    #[arg(long, default_value_t = 1.0, value_name = "R")]
    pub(crate) repetition_penalty: f32,
    /// End the text before this string; may be given several times
    #[arg(long, value_name = "TEXT")]
    pub(crate) stop: Vec<String>,
    #[command(flatten)]
    pub(crate) personal: PersonalArgs,
}

/// New tokens where `--max-new-tokens` is not given and the context has room.
const DEFAULT_NEW_TOKENS: usize = 128;
/// Prompts that are sorted by length together.
const WINDOW: usize = 256;
/// Rows of one batch. Ours: decoding reads every weight once a step, whatever the number of rows.
const ROWS_PER_BATCH: usize = 16;

#[derive(Debug, Deserialize)]
struct GenerateLine {
    prompt: PromptText,
    #[serde(default, deserialize_with = "e2p_data::optional_id_text")]
    user: Option<String>,
}

#[derive(Debug, Serialize)]
struct Text<'a> {
    text: &'a str,
    ids: &'a [u32],
    finish: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
}

/// A prompt ready to go.
struct Item {
    request: GenerateRequest,
    user: Option<String>,
}

/// Generates for the one prompt or for every line of the input.
pub(crate) fn run(
    args: &GenerateArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    sampling(args, global, 0).validate()?;
    anyhow::ensure!(
        args.strength.is_finite(),
        "`--strength` is {}, expected a finite number",
        args.strength
    );
    let open = || {
        let backbone = &args.backbone.backbone;
        Personal::open(backbone, &args.prompting, &args.personal, global)
    };
    if let Some(prompt) = &args.prompt {
        let personal = open()?;
        let line = GenerateLine {
            prompt: PromptText::Text(prompt.clone()),
            user: args.user.clone(),
        };
        let item = prepare(&personal, args, sampling(args, global, 0), line)?;
        if !output.is_json() {
            return stream(&personal, item, output);
        }
        let generation = generate(&personal, &[&item])?.remove(0);
        return write(&item, &generation, output);
    }

    let path = args
        .input
        .as_ref()
        .expect("clap requires a prompt or an input");
    let lines = lines::read::<GenerateLine>(path, &["user"])?;
    let personal = open()?;
    let mut errors = LineErrors::new(path);
    let mut items = Vec::with_capacity(lines.len());
    for (stream, line) in (0..).zip(lines) {
        let sampling = sampling(args, global, stream);
        match prepare(&personal, args, sampling, line.value) {
            Ok(item) => items.push(item),
            Err(error) => errors.push(line.number, format!("{error:#}")),
        }
    }
    errors.into_result()?;

    let mut progress = Progress::new("prompts", items.len(), global.quiet);
    for window in items.chunks(WINDOW) {
        let mut order: Vec<usize> = (0..window.len()).collect();
        order.sort_by_key(|index| window[*index].request.prompt.len());
        let mut results: Vec<Option<Generation>> = vec![None; window.len()];
        for indices in order.chunks(ROWS_PER_BATCH) {
            let rows: Vec<&Item> = indices.iter().map(|index| &window[*index]).collect();
            for (index, generation) in indices.iter().zip(generate(&personal, &rows)?) {
                results[*index] = Some(generation);
            }
            progress.advance(indices.len());
        }
        for (item, generation) in window.iter().zip(results.into_iter().flatten()) {
            write(item, &generation, output)?;
        }
    }
    progress.finish();
    Ok(())
}

fn sampling(args: &GenerateArgs, global: &GlobalArgs, stream: u64) -> SamplingConfig {
    SamplingConfig {
        temperature: args.temperature,
        top_k: args.top_k,
        top_p: args.top_p,
        min_p: args.min_p,
        repetition_penalty: args.repetition_penalty,
        seed: global.seed(),
        stream,
    }
}

/// Makes a line's request and checks that it fits.
fn prepare(
    personal: &Personal,
    args: &GenerateArgs,
    sampling: SamplingConfig,
    line: GenerateLine,
) -> anyhow::Result<Item> {
    let model = &personal.model;
    let prompt = personal.prompt(&line.prompt)?;
    let prompt_len = model.n_prefix() + prompt.ids.len();
    let context = model.decoder().config().max_seq_len;
    let room = context.saturating_sub(prompt_len);
    let max_new_tokens = args
        .max_new_tokens
        .unwrap_or(DEFAULT_NEW_TOKENS.min(room).max(1));
    anyhow::ensure!(
        max_new_tokens <= room,
        "the prompt takes {prompt_len} positions, {max_new_tokens} new tokens make it {}, and the context holds {context}",
        prompt_len.saturating_add(max_new_tokens)
    );
    // A line that names nobody is asked by the user of the command.
    let user = line.user.as_deref().or(args.user.as_deref());
    let prefix = personal.prefix(user)?;
    Ok(Item {
        request: GenerateRequest {
            guidance: model.guidance(&prompt, args.strength)?,
            prompt: model.input(&prompt, prefix.as_ref())?,
            sampling,
            stop: StopConditions {
                strings: args.stop.clone(),
                ..model.stop(max_new_tokens)
            },
        },
        user: line.user,
    })
}

/// Writes the text of one prompt as it comes, and ends it with a line end.
fn stream(personal: &Personal, item: Item, output: &mut Output) -> anyhow::Result<()> {
    let mut written = Ok(());
    let generations = personal.model.run(&[item.request], |step| {
        written = output.text(step.text);
        if written.is_err() || interrupt::requested() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    written?;
    output.line("")?;
    output.flush()?;
    check_interrupt(&generations)
}

fn generate(personal: &Personal, items: &[&Item]) -> anyhow::Result<Vec<Generation>> {
    let requests: Vec<GenerateRequest> = items.iter().map(|item| item.request.clone()).collect();
    let generations = personal.model.run(&requests, |_| {
        if interrupt::requested() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    check_interrupt(&generations)?;
    Ok(generations)
}

fn check_interrupt(generations: &[Generation]) -> anyhow::Result<()> {
    let interrupted = generations
        .iter()
        .any(|text| text.finish == Finish::Interrupted);
    if interrupted {
        Err(Interrupted.into())
    } else {
        Ok(())
    }
}

fn write(item: &Item, generation: &Generation, output: &mut Output) -> anyhow::Result<()> {
    output.json_line(&Text {
        text: &generation.text,
        ids: &generation.ids,
        finish: generation.finish.as_str(),
        user: item.user.as_deref(),
    })
}
