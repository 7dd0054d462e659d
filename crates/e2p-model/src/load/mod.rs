//! From a Hugging Face directory to tensors on a device.
//!
//! Files are memory-mapped and copied tensor by tensor into their final form (data type, stacked projections, orientation), the pages
//! behind them given back as they are used: loading peaks at the size of the loaded weights plus one tensor.

mod checkpoint;
mod convert;
mod report;
mod source;

use std::path::{Path, PathBuf};

use burn::tensor::DType;
use serde_json::Value;

pub use checkpoint::Checkpoint;
pub use report::{LoadReport, WrongShape};
pub(crate) use source::CheckpointSource;
pub use source::{RandomSource, WeightSource};

use crate::error::{ModelError, Result};

/// How weights are turned into tensors.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// Data type of the weights and of the computation; f32 by default.
    pub dtype: DType,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self { dtype: DType::F32 }
    }
}

/// Reads `file` in `dir` as JSON.
///
/// # Errors
/// [`ModelError::Read`] or [`ModelError::Json`], with the path.
pub fn read_json(dir: &Path, file: &str) -> Result<Value> {
    let path = dir.join(file);
    let bytes = read_file(&path)?;
    serde_json::from_slice(&bytes).map_err(|source| ModelError::Json { path, source })
}

pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| ModelError::Read {
        path: PathBuf::from(path),
        source,
    })
}
