//! Downloads a backbone from a hub into the cache that Hugging Face's own tools use.
//!
//! The `hf-hub` crate does the transfer: resumed where it broke off, followed through redirects.
//! This file chooses the few files that are needed, checks what arrived, and falls back to the
//! cache where the hub cannot be reached.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo, RepoType};
use sha2::{Digest, Sha256};

use crate::progress::Progress;
use crate::report::{hinted, hinted_by};

const REVISION: &str = "main";
const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const TOKENIZER: &str = "tokenizer.json";
const MODULES: &str = "modules.json";
/// Taken where the repository has them, as are the files of [`is_of_encoder`].
const OPTIONAL: [&str; 6] = [
    "adapter_config.json",
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
];
/// Attempts after the first for one file; each goes on where the last one broke off.
const RETRIES: usize = 3;

/// Where to download from and to.
#[derive(Debug, Clone)]
pub(crate) struct HubOptions {
    endpoint: Option<String>,
    token: Option<String>,
    cache: PathBuf,
    offline: bool,
    quiet: bool,
}

impl HubOptions {
    /// Reads `HF_ENDPOINT`, `HF_TOKEN` (else the token file in the cache), `HF_HOME`,
    /// `HF_HUB_CACHE` and `HF_HUB_OFFLINE`.
    pub(crate) fn from_env(quiet: bool) -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let cache = var("HF_HUB_CACHE").map_or_else(Cache::from_env, |dir| Cache::new(dir.into()));
        Self {
            endpoint: var("HF_ENDPOINT").map(|endpoint| endpoint.trim_end_matches('/').to_string()),
            token: var("HF_TOKEN").or_else(|| cache.token()),
            cache: cache.path().clone(),
            offline: var("HF_HUB_OFFLINE").is_some_and(|value| value != "0"),
            quiet,
        }
    }

    fn api(&self) -> Result<Api, ApiError> {
        let mut builder = ApiBuilder::from_cache(Cache::new(self.cache.clone()))
            .with_token(self.token.clone())
            .with_retries(RETRIES)
            .with_progress(false)
            .with_user_agent("e2p", env!("CARGO_PKG_VERSION"));
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        builder.build()
    }

    /// The directory of one state of a repository.
    fn snapshot(&self, id: &str, commit: &str) -> PathBuf {
        self.repository(id).join("snapshots").join(commit)
    }

    fn repository(&self, id: &str) -> PathBuf {
        self.cache
            .join(Repo::new(id.into(), RepoType::Model).folder_name())
    }

    /// The state that was downloaded last, if everything needed is there.
    fn cached(&self, id: &str) -> Option<PathBuf> {
        let commit = fs::read_to_string(self.repository(id).join("refs").join(REVISION)).ok()?;
        let dir = self.snapshot(id, commit.trim());
        let weights = if dir.join(WEIGHTS).is_file() {
            vec![WEIGHTS.to_string()]
        } else {
            shards(&dir.join(INDEX)).ok()?
        };
        let complete = [CONFIG.to_string()]
            .iter()
            .chain(&weights)
            .all(|file| dir.join(file).is_file());
        complete.then_some(dir)
    }
}

/// The directory of the model `id`, downloaded where it is not in the cache.
///
/// # Errors
/// A hub that cannot be reached and no complete copy in the cache, an unknown or protected id, a
/// repository without safetensors, a checksum that differs.
pub(crate) fn download(id: &str, options: &HubOptions) -> anyhow::Result<PathBuf> {
    if options.offline {
        return options.cached(id).ok_or_else(|| {
            hinted(
                format!("`{id}` is not in the cache {}", options.cache.display()),
                "unset HF_HUB_OFFLINE to download it",
            )
        });
    }
    let api = options
        .api()
        .context("cannot set up the connection to the hub")?;
    let repo = api.repo(Repo::with_revision(
        id.into(),
        RepoType::Model,
        REVISION.into(),
    ));
    let info = match repo.info() {
        Ok(info) => info,
        Err(error) if is_refusal(&error) => return Err(refused(id, error)),
        Err(error) => {
            let cached = options.cached(id);
            return match cached {
                Some(dir) => {
                    tracing::warn!(
                        "the hub cannot be reached, using the copy of `{id}` in the cache: {error}"
                    );
                    Ok(dir)
                }
                None => Err(anyhow::Error::new(error).context(format!(
                    "`{id}` is not in the cache and the hub cannot be reached"
                ))),
            };
        }
    };
    let offered: BTreeSet<&str> = info
        .siblings
        .iter()
        .map(|sibling| sibling.rfilename.as_str())
        .collect();
    let dir = options.snapshot(id, &info.sha);
    let fetcher = Fetcher {
        id,
        repo: &repo,
        dir: &dir,
        quiet: options.quiet,
    };
    if !offered.contains(CONFIG) {
        return Err(hinted(
            format!("`{id}` has no `{CONFIG}`"),
            "expected a repository in Hugging Face's transformers format",
        ));
    }
    fetcher.fetch(CONFIG)?;
    for file in &offered {
        let of_encoder = offered.contains(MODULES) && is_of_encoder(file);
        if OPTIONAL.contains(file) || of_encoder {
            fetcher.fetch(file)?;
        }
    }
    if offered.contains(WEIGHTS) {
        fetcher.fetch(WEIGHTS)?;
    } else if offered.contains(INDEX) {
        fetcher.fetch(INDEX)?;
        for shard in shards(&dir.join(INDEX))? {
            fetcher.fetch(&shard)?;
        }
    } else {
        return Err(hinted(
            format!("`{id}` has no `{WEIGHTS}` and no `{INDEX}`"),
            "only safetensors weights are read",
        ));
    }
    Ok(dir)
}

/// Whether a file belongs to sentence-transformers: its settings, and the modules' configurations
/// and weights, whose folders begin with a number (`1_Pooling/config.json`).
fn is_of_encoder(file: &str) -> bool {
    match file.split_once('/') {
        Some((folder, file)) => {
            let numbered = folder.split_once('_').map(|(number, _)| number);
            numbered.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
                && (file == CONFIG || file == WEIGHTS)
        }
        None => {
            file == MODULES
                || file == "config_sentence_transformers.json"
                || (file.starts_with("sentence_") && file.ends_with("_config.json"))
        }
    }
}

/// Downloads single files of one repository.
struct Fetcher<'a> {
    id: &'a str,
    repo: &'a ApiRepo,
    dir: &'a Path,
    quiet: bool,
}

impl Fetcher<'_> {
    fn fetch(&self, file: &str) -> anyhow::Result<()> {
        let path = self.dir.join(file);
        if path.is_file() {
            return Ok(());
        }
        tracing::info!("downloading {file} of {}", self.id);
        let progress = FileProgress {
            bar: None,
            quiet: self.quiet,
        };
        let arrived = match self.repo.download_with_progress(file, progress) {
            Ok(arrived) => arrived,
            Err(error) if is_refusal(&error) => return Err(refused(self.id, error)),
            Err(error) => {
                let message = format!("cannot download `{file}` of `{}`", self.id);
                return Err(hinted_by(
                    error,
                    message,
                    "run the command again; it continues where it stopped",
                ));
            }
        };
        verify(&arrived).with_context(|| format!("`{file}` of `{}` arrived damaged", self.id))?;
        anyhow::ensure!(
            path.is_file(),
            "`{}` changed on the hub during the download; run the command again",
            self.id
        );
        Ok(())
    }
}

/// Compares a file with the checksum that the hub gave for it: the cache names large files by their
/// SHA-256. Small ones are named by git's hash, which is no checksum of the bytes alone; JSON that
/// does not parse is found when it is read.
fn verify(pointer: &Path) -> anyhow::Result<()> {
    let blob = pointer
        .canonicalize()
        .with_context(|| format!("cannot read `{}`", pointer.display()))?;
    let expected = blob
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    if expected.len() != 64 || !expected.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(());
    }
    let mut hash = Sha256::new();
    let mut file =
        File::open(&blob).with_context(|| format!("cannot read `{}`", blob.display()))?;
    io::copy(&mut file, &mut hash).with_context(|| format!("cannot read `{}`", blob.display()))?;
    let found = format!("{:x}", hash.finalize());
    if found == expected {
        return Ok(());
    }
    // Neither may be taken for complete by the next run.
    for path in [pointer, &blob] {
        fs::remove_file(path)
            .with_context(|| format!("cannot remove the damaged `{}`", path.display()))?;
    }
    Err(hinted(
        format!("its SHA-256 is {found}, and the hub says {expected}"),
        "it was removed; run the command again",
    ))
}

/// Files named by an index, each once.
fn shards(index: &Path) -> anyhow::Result<Vec<String>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let text = fs::read(index).with_context(|| format!("cannot read `{}`", index.display()))?;
    let index_json: Index = serde_json::from_slice(&text)
        .with_context(|| format!("`{}` is not an index of weights", index.display()))?;
    let shards: BTreeSet<String> = index_json.weight_map.into_values().collect();
    for shard in &shards {
        let plain = Path::new(shard).file_name() == Some(shard.as_ref());
        anyhow::ensure!(
            plain,
            "`{}` names the shard `{shard}`, expected a plain file name",
            index.display()
        );
    }
    Ok(shards.into_iter().collect())
}

/// Whether the hub answered and said no; anything else means that it could not be reached.
fn is_refusal(error: &ApiError) -> bool {
    matches!(error, ApiError::RequestError(_)) && error.to_string().contains("status code")
}

fn refused(id: &str, error: ApiError) -> anyhow::Error {
    let hint =
        "check the id; for a private or gated model set HF_TOKEN and accept its terms on its page";
    hinted_by(error, format!("the hub refuses `{id}`"), hint)
}

/// hf-hub's view of a progress bar.
struct FileProgress {
    bar: Option<Progress>,
    quiet: bool,
}

impl hf_hub::api::Progress for FileProgress {
    fn init(&mut self, size: usize, filename: &str) {
        self.bar = Some(Progress::bytes(filename, size, self.quiet));
    }

    fn update(&mut self, size: usize) {
        if let Some(bar) = &mut self.bar {
            bar.advance(size);
        }
    }

    fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}
