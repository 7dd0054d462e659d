//! Splices a user's prefix into the backbone's input.
//!
//! This is the whole method at inference time: `n_prefix` soft tokens enter the sequence as if they
//! were token embeddings. They take real positions, are visible to every later token, and are never
//! prediction targets. Masks and positions follow from where a row begins (`e2p-model`'s slots), so
//! nothing else has to move.

use burn::tensor::{Int, Tensor, TensorData};

/// Inserts each row's prefix before its slot.
///
/// # Shapes
/// - `inputs_embeds`: `[batch_size, seq_len, d_model]`
/// - `prefix`: `[batch_size, n_prefix, d_model]`
/// - `slots`: one slot for each row, 0 to `seq_len`
/// - output: `[batch_size, seq_len + n_prefix, d_model]`
///
/// # Panics
/// If batch size or `d_model` differ, or a slot is beyond the sequence.
pub fn inject(inputs_embeds: Tensor<3>, prefix: Tensor<3>, slots: &[usize]) -> Tensor<3> {
    let [batch_size, seq_len, d_model] = inputs_embeds.dims();
    let [prefix_batch, n_prefix, prefix_width] = prefix.dims();
    assert_eq!(
        (batch_size, d_model),
        (prefix_batch, prefix_width),
        "batch size and d_model of input and prefix"
    );
    assert_eq!(slots.len(), batch_size, "one slot for each row");
    assert!(
        slots.iter().all(|slot| *slot <= seq_len),
        "slots {slots:?} lie within a sequence of {seq_len}"
    );

    // Sequence first, prefix behind it; then one gather puts every row in order.
    let total = seq_len + n_prefix;
    let device = inputs_embeds.device().inner();
    let joined = Tensor::cat(vec![inputs_embeds, prefix], 1).reshape([batch_size * total, d_model]);
    let order: Vec<i32> = slots
        .iter()
        .enumerate()
        .flat_map(|(row, slot)| {
            let order = (0..*slot).chain(seq_len..total).chain(*slot..seq_len);
            order.map(move |source| (row * total + source) as i32)
        })
        .collect();
    let order = Tensor::<1, Int>::from_data(TensorData::new(order, [batch_size * total]), &device);
    joined
        .select(0, order)
        .reshape([batch_size, total, d_model])
}

/// The rows of a gradient that belong to the prefix: the adjoint of [`inject`].
///
/// # Shapes
/// - `d_inputs_embeds`: `[batch_size, seq_len + n_prefix, d_model]`
/// - output: `[batch_size, n_prefix, d_model]`
pub fn prefix_gradient(d_inputs_embeds: Tensor<3>, slots: &[usize], n_prefix: usize) -> Tensor<3> {
    let [batch_size, total, d_model] = d_inputs_embeds.dims();
    let rows: Vec<i32> = slots
        .iter()
        .enumerate()
        .flat_map(|(row, slot)| (*slot..slot + n_prefix).map(move |at| (row * total + at) as i32))
        .collect();
    let rows = Tensor::<1, Int>::from_data(
        TensorData::new(rows, [batch_size * n_prefix]),
        &d_inputs_embeds.device(),
    );
    d_inputs_embeds
        .reshape([batch_size * total, d_model])
        .select(0, rows)
        .reshape([batch_size, n_prefix, d_model])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn rows_are_spliced_each_at_its_own_slot_and_the_gradient_finds_them() {
        let device = Device::default();
        let embeds = Tensor::<1>::from_floats([1., 2., 3., 4., 5., 6.], &device).reshape([2, 3, 1]);
        let prefix = Tensor::<1>::from_floats([-1., -2., -3., -4.], &device).reshape([2, 2, 1]);
        for (slots, expected) in [
            ([0, 3], [-1., -2., 1., 2., 3., 4., 5., 6., -3., -4.]),
            ([1, 1], [1., -1., -2., 2., 3., 4., -3., -4., 5., 6.]),
        ] {
            let injected = inject(embeds.clone(), prefix.clone(), &slots);
            assert_eq!(
                injected.clone().into_data().try_into_vec::<f32>().unwrap(),
                expected
            );
            let back = prefix_gradient(injected, &slots, 2);
            assert_eq!(
                back.into_data().try_into_vec::<f32>().unwrap(),
                [-1., -2., -3., -4.]
            );
        }
    }

    #[test]
    #[should_panic(expected = "lie within a sequence of 3")]
    fn a_slot_beyond_the_sequence_panics() {
        let device = Device::default();
        inject(
            Tensor::zeros([1, 3, 2], &device),
            Tensor::zeros([1, 1, 2], &device),
            &[4],
        );
    }
}
