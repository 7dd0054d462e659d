//! Texts to vectors, with whatever model a directory holds.
//!
//! A directory of sentence-transformers is read as sentence-transformers 6.2.0 reads it: every
//! module that `modules.json` lists, in order. What is not supported is refused by name.

mod dense;
#[cfg(feature = "tokenizer")]
mod inputs;
mod json;
mod modules;
mod pooling;
mod settings;

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor};
#[cfg(feature = "tokenizer")]
pub use inputs::TextInputs;
use sha2::{Digest, Sha256};

use self::dense::Dense;
use self::modules::{DenseConfig, Modules, Stage};
use self::pooling::{PoolingMode, pool, unit_length};
use self::settings::Settings;
use crate::decoder::{Decoder, Padding};
use crate::encoder::{self, Encoder};
use crate::error::{ModelError, Result};
use crate::linear::Linear;
use crate::load::{Checkpoint, CheckpointSource, LoadOptions, LoadReport, read_json};

/// What makes a vector of a text. Preferred variable name: `encoder`.
#[derive(Debug, Clone)]
pub struct TextEncoder {
    model: Model,
    /// Where the model and its tokenizer lie.
    model_dir: PathBuf,
    modes: Vec<PoolingMode>,
    /// Whether the tokens of a prompt count when states are pooled.
    include_prompt: bool,
    stages: Vec<Module>,
    settings: Settings,
    width: usize,
    report: LoadReport,
}

#[derive(Debug, Clone)]
enum Model {
    Encoder(Box<Encoder>),
    Decoder(Box<Decoder>),
}

/// A module behind the pooling.
#[derive(Debug, Clone)]
enum Module {
    /// With the folder of its weights, and its activation's name.
    Dense(Dense, PathBuf),
    Normalize,
}

impl TextEncoder {
    /// Loads a directory of sentence-transformers (`modules.json`), or else an encoder or a
    /// decoder: the mean of its last hidden states, at unit length. Of the very backbone that will
    /// read the soft token, it lies in that model's own space (ours, measured: `docs/RESULTS.md`).
    ///
    /// # Errors
    /// What `modules.json` and the files beside it ask for and this crate does not do, by name, and
    /// those of [`Encoder::from_dir`] and [`Decoder::from_dir`].
    pub fn from_dir(dir: &Path, options: &LoadOptions, device: &Device) -> Result<Self> {
        let Some(modules) = Modules::read(dir)? else {
            let (model, report) = Model::from_dir(dir, options, device)?;
            return Ok(Self {
                model_dir: dir.into(),
                modes: vec![PoolingMode::Mean],
                include_prompt: true,
                stages: vec![Module::Normalize],
                settings: Settings::plain(model.context()),
                width: model.d_model(),
                model,
                report,
            });
        };
        let model_dir = dir.join(&modules.model);
        let (model, report) = Model::from_dir(&model_dir, options, device)?;
        if let Some((file, width)) = &modules.pooling.width
            && *width != model.d_model()
        {
            return Err(mismatch(file, *width, "width", model.d_model()));
        }
        let modes = modules.pooling.modes;
        let mut width = modes.len() * model.d_model();
        let mut stages = Vec::new();
        for stage in modules.stages {
            stages.push(match stage {
                Stage::Normalize => Module::Normalize,
                Stage::Dense(config) => {
                    if config.in_features != width {
                        let file = format!("{}/config.json", config.folder);
                        return Err(mismatch(&file, config.in_features, "in_features", width));
                    }
                    width = config.out_features;
                    let folder = dir.join(&config.folder);
                    Module::Dense(load_dense(&config, &folder, device)?, folder)
                }
            });
        }
        Ok(Self {
            settings: Settings::read(dir, &model_dir, model.context())?,
            model_dir,
            modes,
            include_prompt: modules.pooling.include_prompt,
            stages,
            width,
            model,
            report,
        })
    }

    /// Width of a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Longest text in tokens, special tokens included.
    pub fn max_seq_len(&self) -> usize {
        self.settings.max_seq_len
    }

    /// What the loading of the model found, unused tensors among it.
    pub fn report(&self) -> &LoadReport {
        &self.report
    }

    /// What is done with a text, in words: `mean, normalised, at most 256 tokens`.
    pub fn description(&self) -> String {
        let limit = format!("at most {} tokens", self.settings.max_seq_len);
        format!("{}, {limit}", self.steps().join(", "))
    }

    fn steps(&self) -> Vec<String> {
        let mut steps = Vec::new();
        if !self.settings.prompt.is_empty() {
            let left_out = if self.include_prompt {
                ""
            } else {
                " (not pooled)"
            };
            steps.push(format!("prompt {:?}{left_out}", self.settings.prompt));
        }
        if self.settings.lower_case {
            steps.push("in lower case".into());
        }
        let modes: Vec<&str> = self.modes.iter().map(|mode| mode.name()).collect();
        steps.push(modes.join(" + "));
        steps.extend(self.stages.iter().map(|stage| match stage {
            Module::Dense(dense, _) => format!("dense {:?}", dense.activation).to_lowercase(),
            Module::Normalize => "normalised".into(),
        }));
        steps
    }

    /// What names the vectors' space: the weights' [`Checkpoint::fingerprint`] and, unless the
    /// vectors are plain means at unit length, everything else that the numbers follow from.
    ///
    /// # Errors
    /// Weights that cannot be read again.
    pub fn fingerprint(&self) -> Result<String> {
        let weights = Checkpoint::open(&self.model_dir)?.fingerprint();
        let steps = self.steps();
        if steps == ["mean", "normalised"] {
            return Ok(weights);
        }
        let mut hash = Sha256::new();
        hash.update(weights);
        hash.update(steps.join("\n"));
        for stage in &self.stages {
            if let Module::Dense(_, folder) = stage {
                hash.update(Checkpoint::open(folder)?.fingerprint());
            }
        }
        Ok(format!("{:x}", hash.finalize()))
    }

    /// The tokenizer beside the model, which cuts texts to [`Self::max_seq_len`].
    ///
    /// # Errors
    /// Those of [`crate::Tokenizer::from_dir`], and files that contradict each other.
    #[cfg(feature = "tokenizer")]
    pub fn inputs(&self) -> Result<TextInputs> {
        let vocab_size = match &self.model {
            Model::Encoder(encoder) => encoder.vocab_size(),
            Model::Decoder(decoder) => decoder.config().vocab_size,
        };
        TextInputs::open(
            &self.model_dir,
            &self.settings,
            !self.include_prompt,
            vocab_size,
        )
    }

    /// A vector for each row of token ids, special tokens included: `[rows.len(), width]`, f32. The
    /// first `n_skipped` tokens of each row are seen by the others and not pooled.
    ///
    /// # Errors
    /// A row of no more than `n_skipped` tokens, an id outside the vocabulary, a row longer than
    /// the model's context.
    pub fn embed<R: AsRef<[u32]>>(&self, rows: &[R], n_skipped: usize) -> Result<Tensor<2>> {
        let lengths: Vec<usize> = rows.iter().map(|row| row.as_ref().len()).collect();
        if lengths.iter().any(|len| *len <= n_skipped) {
            return Err(ModelError::EmptyPrompt);
        }
        let states = match &self.model {
            Model::Encoder(encoder) => encoder.forward(rows)?,
            Model::Decoder(decoder) => {
                let (embeds, _) = decoder.embed_rows(rows, Padding::Right)?;
                // Causal: what stands behind a row changes nothing before it.
                decoder.forward_embeds(embeds, &[])?
            }
        };
        let mut vectors = pool(states, &lengths, n_skipped, &self.modes);
        for stage in &self.stages {
            vectors = match stage {
                Module::Dense(dense, _) => dense.forward(vectors),
                Module::Normalize => unit_length(vectors),
            };
        }
        Ok(vectors)
    }
}

impl Model {
    fn from_dir(dir: &Path, options: &LoadOptions, device: &Device) -> Result<(Self, LoadReport)> {
        let encoders = match Encoder::from_dir(dir, options, device) {
            Ok((encoder, report)) => return Ok((Self::Encoder(Box::new(encoder)), report)),
            Err(ModelError::ModelType { .. }) => encoder::supported(),
            Err(error) => return Err(error),
        };
        refuse_both_ways(dir)?;
        match Decoder::without_head(dir, options, device) {
            Ok((decoder, report)) => Ok((Self::Decoder(Box::new(decoder)), report)),
            Err(ModelError::ModelType { found, supported }) => Err(ModelError::ModelType {
                found,
                supported: format!("{encoders}, {supported}"),
            }),
            Err(error) => Err(error),
        }
    }

    fn d_model(&self) -> usize {
        match self {
            Self::Encoder(encoder) => encoder.d_model(),
            Self::Decoder(decoder) => decoder.config().d_model,
        }
    }

    fn context(&self) -> usize {
        match self {
            Self::Encoder(encoder) => encoder.max_seq_len(),
            Self::Decoder(decoder) => decoder.config().max_seq_len,
        }
    }
}

/// Decoders that were trained on to see both ways, which ours do not.
fn refuse_both_ways(dir: &Path) -> Result<()> {
    let json = read_json(dir, "config.json")?;
    for (key, value) in [("is_causal", false), ("use_bidirectional_attention", true)] {
        if json[key] == value {
            return Err(ModelError::Unsupported {
                model_type: json["model_type"].as_str().unwrap_or("(none)").into(),
                option: format!("config.json: {key}"),
                found: value.to_string(),
                expected: format!("{}: a decoder sees what stands before a token", !value),
            });
        }
    }
    Ok(())
}

fn load_dense(config: &DenseConfig, folder: &Path, device: &Device) -> Result<Dense> {
    let checkpoint = Checkpoint::open(folder)?;
    // Small, and the last step: always in f32.
    let options = LoadOptions::default();
    let mut source = CheckpointSource::new(&checkpoint, &options, device);
    let parts = [("linear".to_owned(), config.out_features)];
    let linear = Linear::load(&mut source, &parts, config.in_features, config.bias, false);
    let report = source.into_report(&[]);
    // One tensor too many is a bias that the configuration denies.
    if report.is_complete() && report.unused.is_empty() {
        Ok(Dense {
            linear,
            activation: config.activation,
        })
    } else {
        Err(ModelError::Weights {
            dir: folder.into(),
            report: Box::new(report),
        })
    }
}

fn mismatch(file: &str, found: usize, what: &str, expected: usize) -> ModelError {
    ModelError::Config {
        model_type: "sentence-transformers".into(),
        option: format!("{file}: {what}"),
        found: found.to_string(),
        expected: format!("{expected}, the width of what comes before it"),
    }
}
