//! `e2p embed text`: user embeddings from profile text.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use e2p_data::{DataDir, UserEmbeddings};
use e2p_model::TextEncoder;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{WINDOW, check_out, fnv_1a};
use crate::args::GlobalArgs;
use crate::backbone::{load_options, resolve, warn_unused};
use crate::device;
use crate::interrupt;
use crate::output::Output;
use crate::progress::Progress;

/// `e2p embed text`.
#[derive(Debug, Args)]
#[command(after_help = "If it is interrupted, the same command continues where it stopped.")]
pub(crate) struct EmbedTextArgs {
    /// Sentence-transformers directory, such as all-MiniLM-L6-v2, or directory of a language model,
    /// whose last hidden states are averaged
    #[arg(long, value_name = "DIR")]
    pub(crate) encoder: String,
    /// Data directory whose users have profiles
    #[arg(long, value_name = "DATA")]
    pub(crate) data: PathBuf,
    /// Embeddings to write, `.safetensors`
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Users in one batch
    #[arg(long, default_value_t = 32, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) batch_size: u16,
}

/// Makes the embeddings.
pub(super) fn run(
    args: &EmbedTextArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    check_out(&args.out)?;
    let data = DataDir::open(&args.data)?;
    let (mut ids, mut texts) = (Vec::new(), Vec::new());
    let mut without = 0;
    for user in data.users()? {
        let user = user?;
        if user.profile.is_empty() {
            without += 1;
        } else {
            ids.push(user.user);
            texts.push(user.profile.join(" "));
        }
    }
    if without > 0 {
        tracing::warn!("{without} users have no profile and get no embedding");
    }
    anyhow::ensure!(
        !ids.is_empty(),
        "no user of `{}` has a profile to embed",
        args.data.display()
    );

    let dir = resolve(&args.encoder, global)?;
    let chosen = device::choose(&global.device)?;
    let options = load_options(global);
    let refused = || format!("cannot load the encoder `{}`", args.encoder);
    let encoder = TextEncoder::from_dir(&dir, &options, &chosen.device).with_context(refused)?;
    let inputs = encoder.inputs().with_context(refused)?;
    let description = encoder.description();
    tracing::info!("of each text: {description}");
    warn_unused(&args.encoder, &encoder.report().unused);
    let bordered = ids
        .iter()
        .chain(&texts)
        .flat_map(|text| text.bytes().chain([0]));
    let fingerprint = encoder.fingerprint()?;
    let mut partial = Partial::open(
        &args.out,
        &PartialHead {
            encoder: format!("{fingerprint} {description}"),
            texts: fnv_1a(bordered),
            dim: encoder.width(),
        },
    )?;
    if partial.rows() > 0 {
        tracing::info!("continuing after the {} users done before", partial.rows());
    }

    let mut progress = Progress::new("users", texts.len(), global.quiet);
    progress.advance(partial.rows());
    while partial.rows() < texts.len() {
        let first = partial.rows();
        let window = &texts[first..(first + WINDOW).min(texts.len())];
        let rows = window
            .iter()
            .map(|text| Ok(inputs.encode(text)?))
            .collect::<anyhow::Result<Vec<Vec<u32>>>>()?;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|index| rows[*index].len());
        let mut embedded = vec![Vec::new(); rows.len()];
        for indices in order.chunks(args.batch_size.into()) {
            let batch: Vec<&[u32]> = indices
                .iter()
                .map(|index| rows[*index].as_slice())
                .collect();
            let values = encoder.embed(&batch, inputs.n_skipped())?;
            let values = values.into_data().try_into_vec_as::<f32>();
            let values =
                values.map_err(|error| anyhow::anyhow!("cannot read the embeddings: {error:?}"))?;
            for (index, row) in indices.iter().zip(values.chunks(encoder.width())) {
                embedded[*index] = row.to_vec();
            }
            progress.advance(indices.len());
        }
        partial.append(&embedded)?;
        interrupt::check()?;
    }
    progress.finish();
    let name = dir
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let space = format!("text:{name}:{}", &fingerprint[..8]);
    UserEmbeddings::write(&args.out, &ids, partial.read()?, &[("space", &space)])?;
    partial.remove()?;
    let summary = json!({"users": ids.len(), "dim": encoder.width(), "without_profile": without, "out": args.out});
    if output.is_json() {
        return output.json_line(&summary);
    }
    output.line(&format!(
        "{} users of {} numbers in {}",
        ids.len(),
        encoder.width(),
        args.out.display()
    ))
}

/// Rows done so far, beside the result, so that an interrupted run goes on.
struct Partial {
    rows_path: PathBuf,
    head_path: PathBuf,
    dim: usize,
    rows: usize,
}

/// What rows done before must have been made from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct PartialHead {
    encoder: String,
    texts: u64,
    dim: usize,
}

impl Partial {
    fn open(out: &Path, head: &PartialHead) -> anyhow::Result<Self> {
        let mut partial = Self {
            rows_path: out.with_extension("partial.f32"),
            head_path: out.with_extension("partial.json"),
            dim: head.dim,
            rows: 0,
        };
        let before = fs::read(&partial.head_path)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<PartialHead>(&bytes).ok());
        if before.as_ref() == Some(head) {
            let bytes = fs::metadata(&partial.rows_path).map_or(0, |meta| meta.len() as usize);
            partial.rows = bytes / (4 * partial.dim);
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(&partial.rows_path)?;
            // A row that was half-written when the power went.
            file.set_len((partial.rows * 4 * partial.dim) as u64)?;
        } else {
            fs::write(&partial.rows_path, []).with_context(|| partial.cannot_write())?;
            fs::write(&partial.head_path, serde_json::to_vec(head)?)
                .with_context(|| partial.cannot_write())?;
        }
        Ok(partial)
    }

    fn cannot_write(&self) -> String {
        format!("cannot write `{}`", self.rows_path.display())
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn append(&mut self, rows: &[Vec<f32>]) -> anyhow::Result<()> {
        let bytes: Vec<u8> = rows
            .iter()
            .flatten()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        let mut file = OpenOptions::new().append(true).open(&self.rows_path)?;
        file.write_all(&bytes)
            .with_context(|| self.cannot_write())?;
        self.rows += rows.len();
        Ok(())
    }

    fn read(&self) -> anyhow::Result<Vec<Vec<f32>>> {
        let mut bytes = Vec::new();
        fs::File::open(&self.rows_path)?.read_to_end(&mut bytes)?;
        let values: Vec<f32> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        Ok(values.chunks(self.dim).map(<[f32]>::to_vec).collect())
    }

    fn remove(self) -> anyhow::Result<()> {
        fs::remove_file(&self.rows_path)?;
        fs::remove_file(&self.head_path)?;
        Ok(())
    }
}
