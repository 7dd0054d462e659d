//! Operations of the frozen stack: the one seam between kernels and composed tensor operations.
//!
//! Each file holds one operation, forward and backward: the choice, the kernel, and beside it the
//! same formula composed of tensor operations. The kernels serve `f32` tensors of the flex backend
//! without autodiff. Everywhere else the composed formula runs, which autodiff follows; it is also
//! the oracle of the kernels' tests. Both agree to the rounding of `f32`.
//!
//! [`linear`], [`gelu`] and [`rms_norm`] are public, for what is computed beside the stack, such as
//! a projector outside training.

mod activation;
mod attention;
mod cross_entropy;
mod linear;
mod norm;
mod rotary;
mod slots;

pub use activation::gelu;
pub(crate) use activation::{activate, activate_backward};
pub(crate) use attention::{
    AttendRecord, attend, attend_backward, attend_recorded, merge_heads, shares_slots, split_heads,
};
pub use cross_entropy::TargetScores;
pub use linear::linear;
pub(crate) use linear::{matmul, matmul_transposed};
pub use norm::rms_norm;
pub(crate) use norm::{NormWeights, norm, norm_backward};
pub(crate) use rotary::{rotate, rotate_backward};
pub(crate) use slots::{LayerCache, SharedSlots, Slots, SlotsOfPass, row_indices};

/// The composed formulas, for the tests that compare the kernels with them.
#[cfg(all(test, feature = "flex"))]
pub(crate) mod composed {
    pub(crate) use super::activation::{activate_backward_composed, activate_composed};
    pub(crate) use super::attention::{softmax_backward_composed, softmax_composed};
    pub(crate) use super::norm::{norm_backward_composed, norm_composed};
    pub(crate) use super::rotary::{rotate_backward_composed, rotate_composed};
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::{Device, Tensor};

    use super::*;
    use crate::kernels::tests::random;

    /// Largest difference relative to the largest value.
    fn difference(a: Tensor<2>, b: Tensor<2>) -> f32 {
        let scale = b.clone().abs().max().into_scalar::<f32>().max(1e-30);
        (a - b.inner()).abs().max().into_scalar::<f32>() / scale
    }

    #[test]
    fn the_kernels_equal_the_composed_path() {
        let composed = Device::flex().autodiff();
        for (rows, d_in, d_out) in [(1, 1, 1), (3, 7, 13), (130, 64, 33), (5, 256, 576)] {
            let (x, weight) = (random(1, [rows, d_in]), random(2, [d_in, d_out]));
            let bias = random(3, [d_out]);
            let on =
                |tensor: &Tensor<2>| Tensor::<2>::from_data(tensor.clone().into_data(), &composed);
            let bias_on = Tensor::<1>::from_data(bias.clone().into_data(), &composed);
            let found = linear(x.clone(), weight.clone(), Some(bias.clone()));
            let expected = linear(on(&x), on(&weight), Some(bias_on.clone()));
            assert!(difference(found.clone(), expected.clone()) < 1e-5);
            assert!(difference(gelu(found.clone()), gelu(expected.clone())) < 1e-5);
            assert!(
                difference(
                    rms_norm(found, bias, 1e-8),
                    rms_norm(expected, bias_on, 1e-8)
                ) < 1e-5
            );
        }
    }

    #[test]
    fn no_rows_give_no_rows() {
        let none = Tensor::<2>::zeros([0, 4], &Device::flex());
        let weight = Tensor::<2>::ones([4, 3], &Device::flex());
        let bias = Tensor::<1>::ones([3], &Device::flex());
        let y = linear(none, weight, Some(bias.clone()));
        assert_eq!(rms_norm(gelu(y), bias, 1e-8).dims(), [0, 3]);
    }
}
