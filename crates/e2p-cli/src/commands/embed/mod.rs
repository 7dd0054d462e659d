//! `e2p embed`: user embeddings from profile text, from interactions, or from another version of
//! them.

mod text;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use e2p_data::als::{AlsOptions, InteractionMatrix, factorize, held_out_recall};
use e2p_data::embeddings::{AlignMethod, AlignReport, Aligner};
use e2p_data::{DataDir, Observer, Split, UserEmbeddings};
use e2p_train::{MlpAligner, MlpAlignerOptions};
use serde_json::json;

use crate::args::GlobalArgs;
use crate::device;
use crate::interrupt;
use crate::output::Output;
use crate::progress::Progress;
use text::EmbedTextArgs;

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
    /// Dimensions of the vectors
    #[arg(long, default_value_t = 64, value_name = "N")]
    pub(crate) dim: usize,
    /// ALS iterations
    #[arg(long, default_value_t = 15, value_name = "N")]
    pub(crate) iterations: usize,
    /// How much a weight adds to the confidence
    #[arg(long, default_value_t = 1.0, value_name = "A")]
    pub(crate) alpha: f32,
    /// Regularization: the weight of the squared norms
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
    /// procrustes: a rotation and a scale, for the same model retrained; affine: any matrix, for
    /// another model; mlp: a matrix and a small network, where affine misses much and there are
    /// many users
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
        EmbedCommand::Text(args) => text::run(args, global, output),
        EmbedCommand::Interactions(args) => interactions(args, global, output),
        EmbedCommand::Align(args) => align(args, global, output),
    }
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
        seed: global.seed(),
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
            "the map misses {:.0} % of the variance of users that it was not fitted to; little of them reaches the adapter",
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

/// Half-iterations of ALS.
struct SolveProgress(Progress, u64);

impl Observer for SolveProgress {
    fn progress(&mut self, done: u64, _total: u64) {
        self.0.advance(done.saturating_sub(self.1) as usize);
        self.1 = done;
    }
}
