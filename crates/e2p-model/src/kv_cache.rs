//! Keys and values of the slots computed so far.

use burn::tensor::{DType, Device, Int, Tensor, TensorData, s};

use crate::error::{ModelError, Result};

/// Keys and values of a batch, one pair of preallocated tensors a layer.
///
/// Rows of unequal length are padded on the left: row `b` begins at slot `row_starts()[b]`.
#[derive(Debug, Clone)]
pub struct KvCache {
    pub(crate) layers: Vec<LayerCache>,
    row_starts: Vec<usize>,
    len: usize,
    capacity: usize,
}

/// One layer's keys (rotated) and values, `[batch_size, n_kv_heads, capacity, head_dim]`.
#[derive(Debug, Clone)]
pub(crate) struct LayerCache {
    pub(crate) k: Tensor<4>,
    pub(crate) v: Tensor<4>,
}

impl KvCache {
    pub(crate) fn new(
        n_layers: usize,
        row_starts: Vec<usize>,
        shape: [usize; 3],
        dtype: DType,
        device: &Device,
    ) -> Self {
        let [n_kv_heads, capacity, head_dim] = shape;
        let zeros = || {
            Tensor::zeros(
                [row_starts.len(), n_kv_heads, capacity, head_dim],
                (device, dtype),
            )
        };
        let layers = (0..n_layers)
            .map(|_| LayerCache {
                k: zeros(),
                v: zeros(),
            })
            .collect();
        Self {
            layers,
            row_starts,
            len: 0,
            capacity,
        }
    }

    /// Filled slots, padding included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been computed yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Slots there is room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Rows of the batch.
    pub fn batch_size(&self) -> usize {
        self.row_starts.len()
    }

    /// The slot at which each row begins.
    pub fn row_starts(&self) -> &[usize] {
        &self.row_starts
    }

    /// Bytes that the filled slots hold, over all layers and rows.
    pub fn bytes(&self) -> usize {
        self.layers
            .iter()
            .map(|layer| {
                let [batch_size, n_kv_heads, _, head_dim] = layer.k.dims();
                2 * batch_size * n_kv_heads * self.len * head_dim * layer.k.dtype().size()
            })
            .sum()
    }

    /// Forgets the slots from `len` on; they are overwritten by the next pass.
    ///
    /// # Panics
    /// If `len` is beyond the filled slots.
    pub fn truncate(&mut self, len: usize) {
        assert!(
            len <= self.len,
            "cannot truncate a cache of {} slots to {len}",
            self.len
        );
        self.len = len;
    }

    /// A cache of the given rows, in this order, with room for `capacity` slots; rows may repeat.
    ///
    /// # Panics
    /// If a row is out of range or `capacity` is less than the filled slots.
    #[must_use]
    pub fn select_rows(&self, rows: &[usize], capacity: usize) -> Self {
        assert!(
            capacity >= self.len,
            "{capacity} slots cannot hold the {} filled ones",
            self.len
        );
        let device = self
            .layers
            .first()
            .map(|layer| layer.k.device())
            .unwrap_or_default();
        let indices = TensorData::new(
            rows.iter().map(|row| *row as i32).collect::<Vec<_>>(),
            [rows.len()],
        );
        let indices = Tensor::<1, Int>::from_data(indices, &device);
        let select = |source: &Tensor<4>| {
            let [_, n_kv_heads, _, head_dim] = source.dims();
            let filled = source
                .clone()
                .slice(s![.., .., ..self.len, ..])
                .select(0, indices.clone());
            let mut target = Tensor::zeros(
                [rows.len(), n_kv_heads, capacity, head_dim],
                (&device, source.dtype()),
            );
            if self.len > 0 {
                target.inplace(|target| target.slice_assign(s![.., .., ..self.len, ..], filled));
            }
            target
        };
        let layers = self
            .layers
            .iter()
            .map(|layer| LayerCache {
                k: select(&layer.k),
                v: select(&layer.v),
            })
            .collect();
        Self {
            layers,
            row_starts: rows.iter().map(|row| self.row_starts[*row]).collect(),
            len: self.len,
            capacity,
        }
    }

    /// One row as a cache of its own, without padding and without room to grow.
    ///
    /// # Panics
    /// If the row is out of range.
    #[must_use]
    pub fn single_row(&self, row: usize) -> Self {
        let start = self.row_starts[row];
        let cut = |source: &Tensor<4>| {
            let part = source
                .clone()
                .slice(s![row..row + 1, .., start..self.len, ..]);
            // A copy: a view would keep the whole batch alive.
            part.clone()
                .zeros_like()
                .slice_assign(s![.., .., .., ..], part)
        };
        let layers = self
            .layers
            .iter()
            .map(|layer| LayerCache {
                k: cut(&layer.k),
                v: cut(&layer.v),
            })
            .collect();
        let len = self.len - start;
        Self {
            layers,
            row_starts: vec![0],
            len,
            capacity: len,
        }
    }

    /// A batch of single rows that end together: shorter ones are padded on the left.
    ///
    /// # Panics
    /// If there is no row, or one of them is a batch.
    #[must_use]
    pub fn join(rows: &[&Self]) -> Self {
        assert!(
            rows.iter().all(|row| row.row_starts == [0]),
            "single rows without padding"
        );
        let len = rows
            .iter()
            .map(|row| row.len)
            .max()
            .expect("at least one row");
        let join = |part: fn(&LayerCache) -> &Tensor<4>, layer: usize| {
            let padded = rows.iter().map(|row| {
                let filled = part(&row.layers[layer])
                    .clone()
                    .slice(s![.., .., ..row.len, ..]);
                let [_, n_kv_heads, _, head_dim] = filled.dims();
                if row.len == len {
                    return filled;
                }
                let gap = Tensor::zeros(
                    [1, n_kv_heads, len - row.len, head_dim],
                    (&filled.device(), filled.dtype()),
                );
                Tensor::cat(vec![gap, filled], 2)
            });
            Tensor::cat(padded.collect(), 0)
        };
        let n_layers = rows[0].layers.len();
        let layers = (0..n_layers)
            .map(|layer| LayerCache {
                k: join(|cache| &cache.k, layer),
                v: join(|cache| &cache.v, layer),
            })
            .collect();
        Self {
            layers,
            row_starts: rows.iter().map(|row| len - row.len).collect(),
            len,
            capacity: len,
        }
    }

    pub(crate) fn check_room(&self, n: usize) -> Result<()> {
        if self.len + n > self.capacity {
            return Err(ModelError::ContextOverflow {
                needed: self.len + n,
                context: self.capacity,
            });
        }
        Ok(())
    }

    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
    }
}

impl LayerCache {
    /// Writes the keys and values of new slots behind the first `filled` ones; returns those of all slots.
    pub(crate) fn append(
        &mut self,
        filled: usize,
        k: Tensor<4>,
        v: Tensor<4>,
    ) -> (Tensor<4>, Tensor<4>) {
        let end = filled + k.dims()[2];
        // In place: the cache is the only owner here, so no backend copies it.
        self.k
            .inplace(|cache| cache.slice_assign(s![.., .., filled..end, ..], k));
        self.v
            .inplace(|cache| cache.slice_assign(s![.., .., filled..end, ..], v));
        self.filled(end)
    }

    /// Keys and values of the first `len` slots.
    pub(crate) fn filled(&self, len: usize) -> (Tensor<4>, Tensor<4>) {
        (
            self.k.clone().slice(s![.., .., ..len, ..]),
            self.v.clone().slice(s![.., .., ..len, ..]),
        )
    }
}
