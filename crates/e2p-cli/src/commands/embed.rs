//! `e2p embed`: user embeddings from profile text, from interactions, or from another version of them.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use e2p_data::als::{AlsOptions, InteractionMatrix, factorize, held_out_recall};
use e2p_data::embeddings::{AlignMethod, AlignReport, Aligner};
use e2p_data::{DataDir, Observer, Split, UserEmbeddings};
use e2p_model::{Checkpoint, SentenceEncoder, Tokenizer};
use e2p_train::{MlpAligner, MlpAlignerOptions};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::args::{
    Alignment, EmbedAlignArgs, EmbedCommand, EmbedInteractionsArgs, EmbedTextArgs, GlobalArgs,
};
use crate::backbone::{load_options, resolve};
use crate::device;
use crate::interrupt;
use crate::output::Output;
use crate::progress::Progress;

/// Held-out items count as found among this many.
const RECALL_AT: usize = 50;
/// Users that are handled together: sorted by length, kept when interrupted, or mapped.
const WINDOW: usize = 512;

/// Makes the embeddings.
pub(crate) fn run(
    command: &EmbedCommand,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    match command {
        EmbedCommand::Text(args) => text(args, global, output),
        EmbedCommand::Interactions(args) => interactions(args, global, output),
        EmbedCommand::Align(args) => align(args, global, output),
    }
}

fn text(args: &EmbedTextArgs, global: &GlobalArgs, output: &mut Output) -> anyhow::Result<()> {
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
    let tokenizer = Tokenizer::from_dir(&dir)?;
    let (encoder, _) = SentenceEncoder::from_dir(&dir, &options, &chosen.device)
        .with_context(|| format!("cannot load the sentence encoder `{}`", args.encoder))?;
    let bordered = ids
        .iter()
        .chain(&texts)
        .flat_map(|text| text.bytes().chain([0]));
    let fingerprint = Checkpoint::open(&dir)?.fingerprint();
    let mut partial = Partial::open(
        &args.out,
        &PartialHead {
            encoder: fingerprint.clone(),
            texts: fnv_1a(bordered),
            dim: encoder.d_model(),
        },
    )?;
    if partial.rows() > 0 {
        tracing::info!("going on behind the {} users done before", partial.rows());
    }

    let mut progress = Progress::new("users", texts.len(), global.quiet);
    progress.advance(partial.rows());
    while partial.rows() < texts.len() {
        let first = partial.rows();
        let window = &texts[first..(first + WINDOW).min(texts.len())];
        let rows = window
            .iter()
            .map(|text| Ok(cut(tokenizer.encode(text, true)?, encoder.max_seq_len())))
            .collect::<anyhow::Result<Vec<Vec<u32>>>>()?;
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|index| rows[*index].len());
        let mut embedded = vec![Vec::new(); rows.len()];
        for indices in order.chunks(args.batch_size.into()) {
            let batch: Vec<&[u32]> = indices
                .iter()
                .map(|index| rows[*index].as_slice())
                .collect();
            let values = encoder.embed(&batch)?.into_data().try_into_vec_as::<f32>();
            let values =
                values.map_err(|error| anyhow::anyhow!("cannot read the embeddings: {error:?}"))?;
            for (index, row) in indices.iter().zip(values.chunks(encoder.d_model())) {
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
    let summary = json!({"users": ids.len(), "dim": encoder.d_model(), "without_profile": without, "out": args.out});
    if output.is_json() {
        return output.json_line(&summary);
    }
    output.line(&format!(
        "{} users of {} numbers in {}",
        ids.len(),
        encoder.d_model(),
        args.out.display()
    ))
}

/// Cut to the encoder's context as sentence-transformers does: the end, but not the last special token.
fn cut(mut ids: Vec<u32>, limit: usize) -> Vec<u32> {
    if let Some(last) = ids.last().copied().filter(|_| ids.len() > limit) {
        ids.truncate(limit - 1);
        ids.push(last);
    }
    ids
}

fn interactions(
    args: &EmbedInteractionsArgs,
    global: &GlobalArgs,
    output: &mut Output,
) -> anyhow::Result<()> {
    check_out(&args.out)?;
    let data = DataDir::open(&args.data)?;
    let matrix = InteractionMatrix::from_data_dir(&data)?;
    let options = AlsOptions {
        dim: args.dim,
        iterations: args.iterations,
        alpha: args.alpha,
        regularization: args.regularization,
        seed: global.seed,
        ..AlsOptions::default()
    };
    let mut watched = SolveProgress(
        Progress::new("solves", 2 * args.iterations, global.quiet),
        0,
    );
    let factors = factorize(&matrix, &options, &mut watched);
    watched.0.finish();
    let factors = factors?;
    let items = args.out.with_extension("items.safetensors");
    // Every factorization has axes of its own.
    let numbers = factors
        .items()
        .flatten()
        .flat_map(|value| value.to_le_bytes());
    let space = format!("als:{}:{:08x}", args.dim, fnv_1a(numbers) >> 32);
    let metadata = [("space", space.as_str())];
    UserEmbeddings::write(&args.out, matrix.users(), factors.users(), &metadata)?;
    UserEmbeddings::write(&items, matrix.items(), factors.items(), &metadata)?;
    let recalls: Vec<_> = [Split::Valid, Split::Test]
        .into_iter()
        .map(|split| (split, held_out_recall(&factors, &matrix, split, RECALL_AT)))
        .filter(|(_, recall)| recall.pairs > 0)
        .collect();
    if output.is_json() {
        let recall: serde_json::Map<String, serde_json::Value> = recalls
            .iter()
            .map(|(split, recall)| (split.to_string(), json!(recall)))
            .collect();
        return output.json_line(&json!({
            "users": matrix.users().len(), "items": matrix.items().len(), "pairs": matrix.len(), "dim": args.dim,
            "recall": recall, "out": args.out, "items_out": items,
        }));
    }
    output.line(&format!(
        "{} users, {} items, {} pairs, {} numbers each",
        matrix.users().len(),
        matrix.items().len(),
        matrix.len(),
        args.dim
    ))?;
    for (split, recall) in recalls {
        output.line(&format!(
            "recall@{} on {split}: {:.4} of {} held-out items, popularity {:.4}",
            recall.k, recall.recall, recall.pairs, recall.popularity
        ))?;
    }
    output.line(&format!("{}\n{}", args.out.display(), items.display()))
}

/// Held-out error above which the two spaces have little to do with each other. Ours.
const POOR_FIT: f64 = 0.5;

fn align(args: &EmbedAlignArgs, global: &GlobalArgs, output: &mut Output) -> anyhow::Result<()> {
    check_out(&args.out)?;
    let (from, to) = (
        UserEmbeddings::open(&args.from)?,
        UserEmbeddings::open(&args.to)?,
    );
    let (map, report) = fit(args.method, &from, &to, global)?;
    if report.error > POOR_FIT {
        tracing::warn!(
            "the map misses {:.0} % of the variance of users that it was not fitted to; an adapter will hardly know them",
            100.0 * report.error
        );
    }
    let ids: Vec<&str> = from.ids().collect();
    from.validate()?;
    let all: Vec<usize> = (0..from.len()).collect();
    let rows = all.chunks(WINDOW).flat_map(|window| {
        let rows = window
            .iter()
            .map(|row| from.row(*row).expect("validated above"));
        let rows: Vec<f32> = rows.flat_map(|row| row.to_vec()).collect();
        let mapped = map(&rows);
        mapped
            .chunks_exact(to.dim())
            .map(<[f32]>::to_vec)
            .collect::<Vec<_>>()
    });
    UserEmbeddings::write(&args.out, &ids, rows, &[("space", to.space())])?;
    if output.is_json() {
        return output.json_line(&json!({
            "users": ids.len(), "dim": to.dim(), "users_in_common": report.users_in_common, "held_out": report.held_out,
            "error": report.error, "out": args.out,
        }));
    }
    output.line(&format!(
        "{} users of {} numbers in {}, fitted to {} users of both; on {} held-out ones the map misses {:.1} % of the variance",
        ids.len(),
        to.dim(),
        args.out.display(),
        report.users_in_common,
        report.held_out,
        100.0 * report.error
    ))
}

/// Rows of one space to rows of another.
type RowMap = Box<dyn Fn(&[f32]) -> Vec<f32>>;

fn fit(
    method: Alignment,
    from: &UserEmbeddings,
    to: &UserEmbeddings,
    global: &GlobalArgs,
) -> anyhow::Result<(RowMap, AlignReport)> {
    let method = match method {
        Alignment::Procrustes => AlignMethod::Procrustes,
        Alignment::Affine => AlignMethod::Affine,
        Alignment::Mlp => {
            let chosen = device::choose(&global.device)?;
            let options = MlpAlignerOptions::default();
            let mut progress = Progress::new("steps", options.steps, global.quiet);
            let (aligner, report) = MlpAligner::fit(from, to, &options, &chosen.device, |_, _| {
                progress.advance(1);
                interrupt::check().is_ok()
            })?;
            progress.finish();
            interrupt::check()?;
            return Ok((Box::new(move |rows| aligner.map(rows)), report));
        }
    };
    let (aligner, report) = Aligner::fit(from, to, method)?;
    Ok((Box::new(move |rows| aligner.map(rows)), report))
}

/// Found out before hours of work.
fn check_out(out: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        out.extension()
            .is_some_and(|extension| extension == "safetensors"),
        "`{}` must end in .safetensors",
        out.display()
    );
    let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    anyhow::ensure!(dir.is_dir(), "there is no directory `{}`", dir.display());
    Ok(())
}

/// Only compared with what this program writes.
fn fnv_1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
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

/// Half-iterations of ALS.
struct SolveProgress(Progress, u64);

impl Observer for SolveProgress {
    fn progress(&mut self, done: u64, _total: u64) {
        self.0.advance(done.saturating_sub(self.1) as usize);
        self.1 = done;
    }
}
