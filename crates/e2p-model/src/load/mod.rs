//! From a Hugging Face directory to tensors on a device.
//!
//! Files are memory-mapped and copied tensor by tensor into their final form (data type, stacked
//! projections, orientation), the pages behind them given back as they are used: loading peaks at
//! the size of the loaded weights plus one tensor.

mod checkpoint;
mod convert;
mod report;
mod source;

use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device};
use serde_json::Value;

pub use checkpoint::Checkpoint;
pub use report::{LoadReport, WrongShape};
pub(crate) use source::CheckpointSource;
pub use source::{RandomSource, WeightSource};

use crate::error::{ModelError, Result};
use crate::kernels;
use crate::precision::MatmulPrecision;

/// How weights are turned into tensors.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// Data type of the weights and of the computation; f32 by default.
    ///
    /// On the CPU a 16-bit type is what matrices are stored in: they are widened as they are read,
    /// and everything is computed in f32. A bf16 checkpoint loaded as bf16 then gives the results
    /// of f32 from half the memory, unless `matmul_precision` says otherwise.
    pub dtype: DType,
    /// Rounds matrices to 8 bits with a scale for each row of outputs; on the CPU only. Everything
    /// is computed in f32 or as exactly.
    pub int8: bool,
    /// How exactly products with the weights are computed, whatever they are stored in.
    pub matmul_precision: MatmulPrecision,
}

impl LoadOptions {
    /// Matrices in 8 bits.
    pub fn int8() -> Self {
        Self {
            int8: true,
            ..Self::default()
        }
    }

    /// Whether `device` can hold and compute what is asked for.
    pub(crate) fn check(&self, device: &Device) -> Result<()> {
        let dtype = if self.int8 && !kernels::are_on(device) {
            "int8"
        } else if !device.supports_dtype(self.dtype) {
            self.dtype.name()
        } else {
            return Ok(());
        };
        Err(ModelError::Dtype {
            device: format!("{device:?}"),
            dtype: dtype.to_owned(),
        })
    }

    /// What is computed in, and what vectors (norms, biases) are kept in.
    pub(crate) fn compute_dtype(&self, device: &Device) -> DType {
        if kernels::are_on(device) {
            DType::F32
        } else {
            self.dtype
        }
    }
}

impl From<DType> for LoadOptions {
    fn from(dtype: DType) -> Self {
        Self {
            dtype,
            ..Self::default()
        }
    }
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            int8: false,
            matmul_precision: MatmulPrecision::default(),
        }
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
