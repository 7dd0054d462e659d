//! The run directory: what was asked for, what happened, and enough to go on after a crash.
//!
//! ```text
//! RUN/recipe.toml                     the resolved recipe
//! RUN/run.json                        fingerprints of what the run reads
//! RUN/metrics.jsonl                   a line for each step and each validation
//! RUN/checkpoints/step-00000100/      projector, best projector so far, optimizer, state
//! RUN/adapter/                        the result
//! ```
//! A checkpoint is written beside its place, flushed to disk, and renamed: whatever is there under
//! its final name is complete.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use burn::optim::ModuleOptimizer;
use burn::tensor::Bytes;
use e2p_prefix::{
    Adapter, Projector, load_named_tensors, named_tensors, read_safetensors, write_safetensors,
};
use serde::{Deserialize, Serialize};

use crate::error::{Result, TrainError, io};
use crate::observe::{StepReport, ValidReport};
use crate::recipe::Recipe;

const RECIPE: &str = "recipe.toml";
const RUN: &str = "run.json";
const METRICS: &str = "metrics.jsonl";
const CHECKPOINTS: &str = "checkpoints";
const ADAPTER: &str = "adapter";
/// Checkpoints kept: the last and, should the disk lie about it, the one before.
const KEPT: usize = 2;

/// A run on disk. Preferred variable name: `run`.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    metrics: File,
}

/// Fingerprints of what a run reads, checked on resume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunInputs {
    /// Format of the run directory; 1.
    pub(crate) format_version: u32,
    /// SHA-256 of the backbone's weights.
    pub(crate) backbone: String,
    /// Fingerprint of the embedding space: name and statistics of the training users.
    pub(crate) embedding_space: String,
    /// Fingerprint of the tokenized training examples.
    pub(crate) examples: String,
}

/// Where training stands; everything random follows from seed and step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Optimizer steps done.
    pub(crate) step: usize,
    /// Lowest validation loss so far.
    pub(crate) best_valid: Option<f64>,
    /// Validations since then.
    pub(crate) bad_validations: usize,
    /// Whether training is over, by steps or by patience.
    pub(crate) is_finished: bool,
}

/// A line of `metrics.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MetricsLine {
    /// A step.
    Step(StepReport),
    /// A validation.
    Valid(ValidReport),
}

impl MetricsLine {
    fn step(&self) -> usize {
        match self {
            Self::Step(report) => report.step,
            Self::Valid(report) => report.step,
        }
    }
}

impl RunDir {
    /// Starts a run in an empty or new directory; with `force`, an older run there is removed.
    ///
    /// # Errors
    /// A directory that holds a run, or anything else, or that cannot be written.
    pub(crate) fn create(
        path: &Path,
        recipe: &Recipe,
        inputs: &RunInputs,
        force: bool,
    ) -> Result<Self> {
        // The recipe is written last: without it, what is there is what a kill left of a run that
        // never began.
        let is_run = path.join(RECIPE).is_file();
        let is_begun = is_run
            || fs::read_dir(path)
                .is_ok_and(|entries| entries.flatten().any(|entry| is_foreign(&entry)));
        if is_begun && !(force && is_run) {
            return Err(TrainError::RunExists { path: path.into() });
        }
        if path.is_dir() {
            for part in [RECIPE, RUN, METRICS] {
                let file = path.join(part);
                if file.exists() {
                    fs::remove_file(&file).map_err(io(&file))?;
                }
            }
            for part in [CHECKPOINTS, ADAPTER] {
                let dir = path.join(part);
                if dir.exists() {
                    fs::remove_dir_all(&dir).map_err(io(&dir))?;
                }
            }
        }
        let checkpoints = path.join(CHECKPOINTS);
        fs::create_dir_all(&checkpoints).map_err(io(&checkpoints))?;
        write_atomically(&path.join(RUN), &json(inputs))?;
        write_atomically(&path.join(RECIPE), recipe.to_toml().as_bytes())?;
        Self::open(path)
    }

    /// Goes on with the run in `path`, refusing another recipe and other inputs.
    ///
    /// # Errors
    /// No run there, or one that was started differently.
    pub(crate) fn resume(path: &Path, recipe: &Recipe, inputs: &RunInputs) -> Result<Self> {
        let before = Self::recipe(path)?;
        let differences = before.differences(recipe);
        if !differences.is_empty() {
            return Err(TrainError::OtherRecipe {
                path: path.into(),
                differences,
            });
        }
        let file = path.join(RUN);
        let found: RunInputs = read_json(&file, "file of run inputs")?;
        for (what, expected, found) in [
            ("backbone", &found.backbone, &inputs.backbone),
            (
                "user embeddings",
                &found.embedding_space,
                &inputs.embedding_space,
            ),
            ("training examples", &found.examples, &inputs.examples),
        ] {
            if expected != found {
                let short = |text: &String| text.chars().take(12).collect();
                return Err(TrainError::OtherInput {
                    path: path.into(),
                    what: what.into(),
                    expected: short(expected),
                    found: short(found),
                });
            }
        }
        Self::open(path)
    }

    /// The resolved recipe of a run.
    ///
    /// # Errors
    /// No run in `path`, or an unreadable recipe.
    pub fn recipe(path: &Path) -> Result<Recipe> {
        let file = path.join(RECIPE);
        if !file.is_file() {
            return Err(TrainError::NoRun {
                path: path.into(),
                missing: RECIPE.into(),
            });
        }
        let text = fs::read_to_string(&file).map_err(io(&file))?;
        Recipe::parse(&file.display().to_string(), &text, &[])
    }

    fn open(path: &Path) -> Result<Self> {
        let file = path.join(METRICS);
        let metrics = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&file)
            .map_err(io(&file))?;
        Ok(Self {
            path: path.into(),
            metrics,
        })
    }

    /// The adapter's directory, whether it is there yet or not.
    pub fn adapter_path(path: &Path) -> PathBuf {
        path.join(ADAPTER)
    }

    /// Appends a line of metrics.
    ///
    /// # Errors
    /// A full or unwritable disk.
    pub(crate) fn log(&mut self, line: &MetricsLine) -> Result<()> {
        let mut text = serde_json::to_string(line).expect("reports are plain JSON");
        text.push('\n');
        self.metrics
            .write_all(text.as_bytes())
            .map_err(io(&self.path.join(METRICS)))
    }

    /// Every metrics line of a run; a half-written last line is left out.
    ///
    /// # Errors
    /// An unreadable file.
    pub fn metrics(path: &Path) -> Result<Vec<MetricsLine>> {
        let file = path.join(METRICS);
        let text = fs::read_to_string(&file).map_err(io(&file))?;
        Ok(text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }

    /// Drops the lines after `step`: those of steps that a crash undid.
    ///
    /// # Errors
    /// An unreadable or unwritable file.
    pub(crate) fn rewind_metrics(&mut self, step: usize) -> Result<()> {
        let file = self.path.join(METRICS);
        let kept: String = Self::metrics(&self.path)?
            .into_iter()
            .filter(|line| line.step() <= step)
            .map(|line| serde_json::to_string(&line).expect("reports are plain JSON") + "\n")
            .collect();
        write_atomically(&file, kept.as_bytes())?;
        self.metrics = OpenOptions::new()
            .append(true)
            .open(&file)
            .map_err(io(&file))?;
        Ok(())
    }

    /// Writes a checkpoint and removes older ones; returns its directory.
    ///
    /// # Errors
    /// A full or unwritable disk; the checkpoints before it are untouched.
    pub(crate) fn save(
        &self,
        state: &State,
        projector: &Projector,
        best: &Projector,
        optimizer: &ModuleOptimizer,
    ) -> Result<PathBuf> {
        let name = format!("step-{:08}", state.step);
        let place = self.path.join(CHECKPOINTS).join(&name);
        let draft = self.path.join(CHECKPOINTS).join(format!(".{name}.partial"));
        for stale in [&draft, &place] {
            if stale.exists() {
                fs::remove_dir_all(stale).map_err(io(stale))?;
            }
        }
        fs::create_dir_all(&draft).map_err(io(&draft))?;
        write_safetensors(
            &draft.join("projector.safetensors"),
            &named_tensors(projector),
        )?;
        write_safetensors(&draft.join("best.safetensors"), &named_tensors(best))?;
        let file = draft.join("optimizer.burnpack");
        let bytes = optimizer
            .into_bytes()
            .map_err(|error| TrainError::Optimizer {
                path: file.clone(),
                reason: error.to_string(),
            })?;
        fs::write(&file, &*bytes).map_err(io(&file))?;
        let file = draft.join("state.json");
        fs::write(&file, json(state)).map_err(io(&file))?;
        sync_dir(&draft)?;
        fs::rename(&draft, &place).map_err(io(&place))?;
        sync(&self.path.join(CHECKPOINTS))?;
        for old in self.checkpoints()?.into_iter().rev().skip(KEPT) {
            fs::remove_dir_all(&old).map_err(io(&old))?;
        }
        Ok(place)
    }

    /// The latest checkpoint: state, projector, best projector, optimizer.
    ///
    /// `fresh` and `optimizer` give the shapes that are filled.
    ///
    /// # Errors
    /// A checkpoint that cannot be read.
    pub(crate) fn latest(
        &self,
        fresh: &Projector,
        optimizer: ModuleOptimizer,
    ) -> Result<Option<(State, Projector, Projector, ModuleOptimizer)>> {
        let Some(place) = self.checkpoints()?.pop() else {
            return Ok(None);
        };
        let state = read_json(&place.join("state.json"), "checkpoint state")?;
        let load = |file: &str| {
            let path = place.join(file);
            load_named_tensors(fresh.clone(), &mut read_safetensors(&path)?).map_err(|problems| {
                TrainError::from(e2p_prefix::PrefixError::Tensors { path, problems })
            })
        };
        let file = place.join("optimizer.burnpack");
        let bytes = fs::read(&file).map_err(io(&file))?;
        let optimizer = optimizer
            .from_bytes(Bytes::from_bytes_vec(bytes))
            .map_err(|error| TrainError::Optimizer {
                path: file,
                reason: error.to_string(),
            })?;
        Ok(Some((
            state,
            load("projector.safetensors")?,
            load("best.safetensors")?,
            optimizer,
        )))
    }

    /// Complete checkpoints, oldest first.
    fn checkpoints(&self) -> Result<Vec<PathBuf>> {
        let dir = self.path.join(CHECKPOINTS);
        let mut found = Vec::new();
        for entry in fs::read_dir(&dir).map_err(io(&dir))? {
            let path = entry.map_err(io(&dir))?.path();
            if path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("step-"))
            {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Writes the adapter; an older one is replaced only when the new one is complete.
    ///
    /// # Errors
    /// A full or unwritable disk.
    pub(crate) fn save_adapter(&self, adapter: &Adapter) -> Result<()> {
        let place = self.path.join(ADAPTER);
        let draft = self.path.join(".adapter.partial");
        let old = self.path.join(".adapter.old");
        for stale in [&draft, &old] {
            if stale.exists() {
                fs::remove_dir_all(stale).map_err(io(stale))?;
            }
        }
        fs::create_dir_all(&draft).map_err(io(&draft))?;
        adapter.save(&draft)?;
        sync_dir(&draft)?;
        if place.exists() {
            fs::rename(&place, &old).map_err(io(&place))?;
        }
        fs::rename(&draft, &place).map_err(io(&place))?;
        sync(&self.path)?;
        if old.exists() {
            fs::remove_dir_all(&old).map_err(io(&old))?;
        }
        Ok(())
    }
}

/// Whether a run leaves nothing of this name behind before its first step.
fn is_foreign(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let name = name.to_string_lossy();
    ![RUN, CHECKPOINTS].contains(&&*name) && !name.starts_with(".tmp")
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("the run's own files are plain JSON")
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path, expected: &str) -> Result<T> {
    let bytes = fs::read(path).map_err(io(path))?;
    serde_json::from_slice(&bytes).map_err(|source| TrainError::RunFile {
        path: path.into(),
        expected: expected.into(),
        source,
    })
}

/// Writes beside the file, flushes, renames.
fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // A temporary file is its owner's alone; a result is for whom the umask says.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut draft = builder.tempfile_in(dir).map_err(io(dir))?;
    draft.write_all(bytes).map_err(io(path))?;
    draft.as_file().sync_all().map_err(io(path))?;
    draft.persist(path).map_err(|error| TrainError::Io {
        path: path.into(),
        source: error.error,
    })?;
    sync(dir)
}

/// Flushes the files of a directory, then the directory.
fn sync_dir(dir: &Path) -> Result<()> {
    for entry in fs::read_dir(dir).map_err(io(dir))? {
        sync(&entry.map_err(io(dir))?.path())?;
    }
    sync(dir)
}

fn sync(path: &Path) -> Result<()> {
    // Directories cannot be opened for flushing on Windows; renames are durable there without it.
    if cfg!(windows) && path.is_dir() {
        return Ok(());
    }
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(io(path))
}
