//! Keys and values that a pass attends to: the slots of a cache's layer, and those of the pass.

use burn::tensor::{Device, Int, Tensor, TensorData, s};

/// One layer's keys (rotated) and values, `[batch_size, n_kv_heads, capacity, head_dim]`.
#[derive(Debug, Clone)]
pub(crate) struct LayerCache {
    pub(crate) k: Tensor<4>,
    pub(crate) v: Tensor<4>,
}

/// Keys and values of the slots of one layer. Preferred variable name: `slots`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slots<'a> {
    pub(crate) shared: Option<SharedSlots<'a>>,
    pub(crate) own: &'a LayerCache,
    /// Slots of `own` that count.
    pub(crate) filled: usize,
}

/// The slots of one layer that are another cache's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SharedSlots<'a> {
    pub(crate) layer: &'a LayerCache,
    pub(crate) len: usize,
    pub(crate) rows: &'a [usize],
}

impl Slots<'_> {
    /// Keys and values, each slot of each row once, `[batch_size, n_kv_heads, n_slots, head_dim]`:
    /// copies where slots are shared.
    pub(crate) fn tensors(&self) -> [Tensor<4>; 2] {
        let own = |source: &Tensor<4>| source.clone().slice(s![.., .., ..self.filled, ..]);
        let [k, v] = [own(&self.own.k), own(&self.own.v)];
        let Some(shared) = &self.shared else {
            return [k, v];
        };
        let indices = row_indices(shared.rows, &k.device());
        let join = |source: &Tensor<4>, own: Tensor<4>| {
            let first = source
                .clone()
                .slice(s![.., .., ..shared.len, ..])
                .select(0, indices.clone());
            if self.filled == 0 {
                first
            } else {
                Tensor::cat(vec![first, own], 2)
            }
        };
        [join(&shared.layer.k, k), join(&shared.layer.v, v)]
    }
}

impl LayerCache {
    /// Zeros of the same heads and data type.
    pub(crate) fn room(&self, n_rows: usize, capacity: usize) -> Self {
        let [_, n_kv_heads, _, head_dim] = self.k.dims();
        let zeros = || {
            Tensor::zeros(
                [n_rows, n_kv_heads, capacity, head_dim],
                (&self.k.device(), self.k.dtype()),
            )
        };
        Self {
            k: zeros(),
            v: zeros(),
        }
    }
}

pub(crate) fn row_indices(rows: &[usize], device: &Device) -> Tensor<1, Int> {
    let rows: Vec<i32> = rows.iter().map(|row| *row as i32).collect();
    let n = rows.len();
    Tensor::from_data(TensorData::new(rows, [n]), device)
}

/// The keys and values that the queries of one pass attend to. Preferred variable name: `slots`.
pub(crate) struct SlotsOfPass<'a> {
    /// Those of a cache, which may already hold those of this pass.
    pub(crate) cached: Option<Slots<'a>>,
    /// Rotated keys, and values, of this pass where no cache has received them,
    /// `[batch_size, n_kv_heads, n_queries, head_dim]`.
    pub(crate) own: Option<[Tensor<4>; 2]>,
    /// Whether the rows begin with this pass, as prompts do.
    pub(crate) is_first: bool,
}

impl SlotsOfPass<'_> {
    /// Keys and values of all slots in turn, `[batch_size, n_kv_heads, n_keys, head_dim]`.
    pub(crate) fn tensors(self) -> [Tensor<4>; 2] {
        match (self.cached, self.own) {
            (None, own) => own.expect("a pass has keys and values"),
            (Some(cached), None) => cached.tensors(),
            (Some(cached), Some([k, v])) => {
                let [cached_k, cached_v] = cached.tensors();
                [
                    Tensor::cat(vec![cached_k, k], 2),
                    Tensor::cat(vec![cached_v, v], 2),
                ]
            }
        }
    }
}
