//! Where a model's tensors come from: a checkpoint, a random generator, or anything else that can
//! name them.

use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::Dtype;

use super::LoadOptions;
use super::checkpoint::Checkpoint;
use super::convert::{self, NotFinite};
use super::report::{LoadReport, WrongShape};
use crate::precision::MatmulPrecision;

/// Hands out weights by name while a model is being built.
///
/// Several parts are stacked along their first dimension, so that a model can hold one matrix where
/// a checkpoint has three. A source that cannot deliver records why and returns zeros; whoever owns
/// it asks afterwards.
pub trait WeightSource {
    /// A matrix `[sum of rows, cols]` stacked from `parts` of `(name, rows)`.
    ///
    /// With `transposed` every part is stored `[cols, rows]`; stacking several such parts is not
    /// supported.
    fn matrix(&mut self, parts: &[(String, usize)], cols: usize, transposed: bool) -> Tensor<2>;

    /// A vector stacked from `parts` of `(name, length)`.
    fn vector(&mut self, parts: &[(String, usize)]) -> Tensor<1>;

    /// Whether the model is to round its matrices to 8 bits.
    fn is_int8(&self) -> bool {
        false
    }

    /// How exactly the model is to compute its products.
    fn matmul_precision(&self) -> MatmulPrecision {
        MatmulPrecision::default()
    }
}

/// Weights from files.
pub(crate) struct CheckpointSource<'a> {
    checkpoint: &'a Checkpoint,
    options: &'a LoadOptions,
    device: &'a Device,
    used: Vec<String>,
    /// A name asked for and the one to look under when it is not there.
    instead: Option<(String, String)>,
    report: LoadReport,
}

impl<'a> CheckpointSource<'a> {
    pub(crate) fn new(
        checkpoint: &'a Checkpoint,
        options: &'a LoadOptions,
        device: &'a Device,
    ) -> Self {
        Self {
            checkpoint,
            options,
            device,
            used: Vec::new(),
            instead: None,
            report: LoadReport::default(),
        }
    }

    /// Looks for `stored` where `name` is asked for and not there.
    pub(crate) fn allow_instead(&mut self, name: &str, stored: &str) {
        self.instead = Some((name.to_owned(), stored.to_owned()));
    }

    /// Closes the books: what was asked for and not there, what was there and not asked for.
    ///
    /// Tensors whose names end in one of `ignored` are not counted as unused.
    pub(crate) fn into_report(mut self, ignored: &[&str]) -> LoadReport {
        self.used.sort();
        for (name, info) in self.checkpoint.tensors() {
            let dtype = format!("{:?}", info.dtype).to_lowercase();
            if !self.report.dtypes_on_disk.contains(&dtype) {
                self.report.dtypes_on_disk.push(dtype);
            }
            if self.used.binary_search(&name).is_err()
                && !ignored.iter().any(|ending| name.ends_with(ending))
            {
                self.report.unused.push(name);
            }
        }
        self.report.unused.sort();
        self.report.bytes_on_disk = self.checkpoint.bytes();
        self.report
    }

    /// The bytes of one tensor, or a line in the report.
    fn bytes(&mut self, name: &str, expected: &[usize]) -> Option<(Dtype, &'a [u8])> {
        let name = match &self.instead {
            Some((asked, stored))
                if asked == name
                    && self.checkpoint.tensor(name).is_none()
                    && self.checkpoint.tensor(stored).is_some() =>
            {
                &stored.clone()
            }
            _ => name,
        };
        self.used.push(name.to_owned());
        let Some((info, bytes)) = self.checkpoint.tensor(name) else {
            self.report.missing.push(name.to_owned());
            return None;
        };
        if info.shape != expected {
            self.report.wrong_shape.push(WrongShape {
                name: name.to_owned(),
                found: info.shape.clone(),
                expected: expected.to_vec(),
            });
            return None;
        }
        if !convert::is_supported(info.dtype) {
            self.report
                .wrong_dtype
                .push(format!("{name} ({:?})", info.dtype));
            return None;
        }
        Some((info.dtype, bytes))
    }

    fn load<const D: usize>(
        &mut self,
        parts: &[(String, Vec<usize>)],
        shape: [usize; D],
        transpose: Option<(usize, usize)>,
    ) -> Tensor<D> {
        let found: Vec<_> = parts
            .iter()
            .map(|(name, shape)| self.bytes(name, shape))
            .collect();
        let dtype = if D == 1 {
            self.options.compute_dtype(self.device)
        } else {
            self.options.dtype
        };
        if let Some(found) = found.into_iter().collect::<Option<Vec<_>>>() {
            match convert::stack(self.checkpoint, &found, shape.to_vec(), transpose, dtype) {
                Ok(data) => return Tensor::from_data(data, (self.device, dtype)),
                Err(NotFinite) => self
                    .report
                    .non_finite
                    .extend(parts.iter().map(|(name, _)| name.clone())),
            }
        }
        // Never used: the report makes loading fail. One element, so that a hostile configuration
        // cannot ask for terabytes.
        Tensor::zeros([1; D], self.device)
    }
}

impl WeightSource for CheckpointSource<'_> {
    fn matrix(&mut self, parts: &[(String, usize)], cols: usize, transposed: bool) -> Tensor<2> {
        let rows = parts.iter().map(|(_, rows)| rows).sum();
        let on_disk = |rows: usize| {
            if transposed {
                vec![cols, rows]
            } else {
                vec![rows, cols]
            }
        };
        let parts: Vec<_> = parts
            .iter()
            .map(|(name, rows)| (name.clone(), on_disk(*rows)))
            .collect();
        self.load(&parts, [rows, cols], transposed.then_some((cols, rows)))
    }

    fn vector(&mut self, parts: &[(String, usize)]) -> Tensor<1> {
        let len = parts.iter().map(|(_, len)| len).sum();
        let parts: Vec<_> = parts
            .iter()
            .map(|(name, len)| (name.clone(), vec![*len]))
            .collect();
        self.load(&parts, [len], None)
    }

    fn is_int8(&self) -> bool {
        // What an incomplete checkpoint gives is never used.
        self.options.int8 && self.report.is_complete()
    }

    fn matmul_precision(&self) -> MatmulPrecision {
        self.options.matmul_precision
    }
}

/// Seeded random weights: matrices uniform with standard deviation 0.02, vectors around 1 for norms
/// and 0 for biases.
///
/// For benches, presets and tests; the initialisation of pre-training is its own.
pub struct RandomSource {
    rng: ChaCha8Rng,
    device: Device,
    dtype: DType,
    /// Half-width of the uniform distribution.
    scale: f32,
}

impl RandomSource {
    /// A source for `device` in `dtype`, the same weights for the same `seed` everywhere.
    pub fn new(seed: u64, dtype: DType, device: &Device) -> Self {
        // A uniform distribution of half-width a has the standard deviation a / sqrt(3).
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            device: device.clone(),
            dtype,
            scale: 0.02 * 3f32.sqrt(),
        }
    }

    /// The same with another standard deviation, for tests that want every term to matter.
    #[must_use]
    pub fn with_std(self, std: f32) -> Self {
        Self {
            scale: std * 3f32.sqrt(),
            ..self
        }
    }

    fn values(&mut self, n: usize, around: f32) -> Vec<f32> {
        let scale = self.scale;
        (0..n)
            .map(|_| around + scale * (2.0 * self.rng.random::<f32>() - 1.0))
            .collect()
    }
}

impl WeightSource for RandomSource {
    fn matrix(&mut self, parts: &[(String, usize)], cols: usize, _transposed: bool) -> Tensor<2> {
        let rows = parts.iter().map(|(_, rows)| rows).sum();
        let values = self.values(rows * cols, 0.0);
        Tensor::from_data(
            TensorData::new(values, [rows, cols]),
            (&self.device, self.dtype),
        )
    }

    fn vector(&mut self, parts: &[(String, usize)]) -> Tensor<1> {
        let len = parts.iter().map(|(_, len)| len).sum();
        let is_norm = parts.iter().all(|(name, _)| name.ends_with(".weight"));
        let values = self.values(len, if is_norm { 1.0 } else { 0.0 });
        Tensor::from_data(TensorData::new(values, [len]), (&self.device, self.dtype))
    }
}
