//! Keys and values of the slots computed so far.

use burn::tensor::{DType, Device, Tensor, s};

use crate::error::{ModelError, Result};
use crate::ops::{self, LayerCache, SharedSlots, Slots, row_indices};

/// Keys and values of a batch, one pair of preallocated tensors a layer.
///
/// Rows of unequal length are padded on the left: row `b` begins at slot `row_starts()[b]`. The
/// first slots of several rows may be those of one row of another cache, see [`Self::branches`].
#[derive(Debug, Clone)]
pub struct KvCache {
    shared: Option<Shared>,
    layers: Vec<LayerCache>,
    row_starts: Vec<usize>,
    /// Filled slots behind the shared ones.
    len: usize,
    /// Slots there is room for behind the shared ones.
    capacity: usize,
}

/// The first slots of a cache, held by another one.
#[derive(Debug, Clone)]
struct Shared {
    layers: Vec<LayerCache>,
    len: usize,
    /// The row of `layers` that each row of the batch continues.
    rows: Vec<usize>,
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
            shared: None,
            layers,
            row_starts,
            len: 0,
            capacity,
        }
    }

    fn shared_len(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.len)
    }

    /// Filled slots, padding included.
    pub fn len(&self) -> usize {
        self.shared_len() + self.len
    }

    /// Whether nothing has been computed yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Slots there is room for.
    pub fn capacity(&self) -> usize {
        self.shared_len() + self.capacity
    }

    /// Rows of the batch.
    pub fn batch_size(&self) -> usize {
        self.row_starts.len()
    }

    /// The slot at which each row begins.
    pub fn row_starts(&self) -> &[usize] {
        &self.row_starts
    }

    /// Bytes that the filled slots stand for, over all layers and rows, shared ones counted for
    /// every row.
    pub fn bytes(&self) -> usize {
        self.layers
            .iter()
            .map(|layer| {
                let [batch_size, n_kv_heads, _, head_dim] = layer.k.dims();
                2 * batch_size * n_kv_heads * self.len() * head_dim * layer.k.dtype().size()
            })
            .sum()
    }

    /// Forgets the slots from `len` on; they are overwritten by the next pass.
    ///
    /// # Panics
    /// If `len` is beyond the filled slots, or among the shared ones.
    pub fn truncate(&mut self, len: usize) {
        let shared = self.shared_len();
        assert!(
            (shared..=self.len()).contains(&len),
            "cannot truncate a cache of {} slots, {shared} of them shared, to {len}",
            self.len()
        );
        self.len = len - shared;
    }

    /// Continuations of the given rows, which may repeat, with room for `capacity` slots.
    ///
    /// As [`Self::select_rows`], but on the CPU the filled slots are not copied: all continuations
    /// of a row read the same.
    ///
    /// # Panics
    /// As [`Self::select_rows`].
    #[must_use]
    pub fn branches(&self, rows: &[usize], capacity: usize) -> Self {
        let can_share = self
            .layers
            .first()
            .is_some_and(|layer| ops::shares_slots(&layer.k));
        if self.shared.is_some() || !can_share {
            return self.select_rows(rows, capacity);
        }
        let own = capacity
            .checked_sub(self.len)
            .expect("room for the filled slots");
        let layers = self.layers.iter().map(|layer| layer.room(rows.len(), own));
        Self {
            layers: layers.collect(),
            row_starts: rows.iter().map(|row| self.row_starts[*row]).collect(),
            len: 0,
            capacity: own,
            shared: Some(Shared {
                layers: self.layers.clone(),
                len: self.len,
                rows: rows.to_vec(),
            }),
        }
    }

    /// A cache of the given rows, in this order, with room for `capacity` slots; rows may repeat.
    /// What they share with others stays shared.
    ///
    /// # Panics
    /// If a row is out of range or `capacity` is less than the filled slots.
    #[must_use]
    pub fn select_rows(&self, rows: &[usize], capacity: usize) -> Self {
        assert!(
            capacity >= self.len(),
            "{capacity} slots cannot hold the {} filled ones",
            self.len()
        );
        let capacity = capacity - self.shared_len();
        let device = self
            .layers
            .first()
            .map(|layer| layer.k.device())
            .unwrap_or_default();
        let indices = row_indices(rows, &device);
        let select = |source: &Tensor<4>, mut target: Tensor<4>| {
            if self.len > 0 {
                let filled = source
                    .clone()
                    .slice(s![.., .., ..self.len, ..])
                    .select(0, indices.clone());
                target.inplace(|target| target.slice_assign(s![.., .., ..self.len, ..], filled));
            }
            target
        };
        let layers = self.layers.iter().map(|layer| {
            let room = layer.room(rows.len(), capacity);
            LayerCache {
                k: select(&layer.k, room.k),
                v: select(&layer.v, room.v),
            }
        });
        Self {
            layers: layers.collect(),
            row_starts: rows.iter().map(|row| self.row_starts[*row]).collect(),
            len: self.len,
            capacity,
            shared: self.shared.as_ref().map(|shared| Shared {
                layers: shared.layers.clone(),
                len: shared.len,
                rows: rows.iter().map(|row| shared.rows[*row]).collect(),
            }),
        }
    }

    /// One row as a cache of its own, without padding and without room to grow.
    ///
    /// # Panics
    /// If the row is out of range, or the cache shares slots.
    #[must_use]
    pub fn single_row(&self, row: usize) -> Self {
        assert!(self.shared.is_none(), "a cache that holds all its slots");
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
            shared: None,
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
            rows.iter()
                .all(|row| row.row_starts == [0] && row.shared.is_none()),
            "single rows without padding that hold all their slots"
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
            shared: None,
            layers,
            row_starts: rows.iter().map(|row| len - row.len).collect(),
            len,
            capacity: len,
        }
    }

    pub(crate) fn check_room(&self, n: usize) -> Result<()> {
        if self.len + n > self.capacity {
            return Err(ModelError::ContextOverflow {
                needed: self.len() + n,
                context: self.capacity(),
            });
        }
        Ok(())
    }

    pub(crate) fn advance(&mut self, n: usize) {
        self.len += n;
    }

    /// Keys and values of one layer, to read.
    pub(crate) fn layer(&self, index: usize) -> Slots<'_> {
        Slots {
            shared: self.shared_layer(index),
            own: &self.layers[index],
            filled: self.len,
        }
    }

    /// Writes the keys and values of new slots of one layer behind the filled ones; returns those
    /// of all slots. [`Self::advance`] counts them once all layers have theirs.
    pub(crate) fn append(&mut self, index: usize, k: Tensor<4>, v: Tensor<4>) -> Slots<'_> {
        let end = self.len + k.dims()[2];
        let layer = &mut self.layers[index];
        // In place: the cache is the only owner here, so no backend copies it.
        layer
            .k
            .inplace(|cache| cache.slice_assign(s![.., .., self.len..end, ..], k));
        layer
            .v
            .inplace(|cache| cache.slice_assign(s![.., .., self.len..end, ..], v));
        Slots {
            filled: end,
            ..self.layer(index)
        }
    }

    fn shared_layer(&self, index: usize) -> Option<SharedSlots<'_>> {
        self.shared.as_ref().map(|shared| SharedSlots {
            layer: &shared.layers[index],
            len: shared.len,
            rows: &shared.rows,
        })
    }
}
