//! Operations of the frozen stack for what is computed beside it, such as a projector outside training.
//!
//! On the CPU without autodiff they are the fused, multi-threaded kernels; everywhere else they are composed tensor operations, which
//! autodiff follows. Both agree to the rounding of `f32`.

use burn::tensor::{Tensor, activation};

use crate::config::MlpKind;
use crate::kernels;
use crate::matrix::MatmulPrecision;

/// `x W + b`, weights as burn's `Linear` holds them.
///
/// # Shapes
/// - `x`: `[rows, d_in]`
/// - `weight`: `[d_in, d_out]`
/// - `bias`: `[d_out]`
/// - output: `[rows, d_out]`
///
/// # Panics
/// Where the shapes do not fit.
pub fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    assert_eq!(
        x.dims()[1],
        weight.dims()[0],
        "columns of x and rows of weight"
    );
    if kernels::serves(&x) && kernels::serves(&weight) && bias.as_ref().is_none_or(kernels::serves)
    {
        return kernels::times(x, &weight, bias.as_ref(), MatmulPrecision::Highest);
    }
    let y = x.matmul(weight);
    match bias {
        Some(bias) => y + bias.unsqueeze(),
        None => y,
    }
}

/// The exact GELU, `x` times the normal distribution function of `x`, on `[rows, width]`.
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    if kernels::serves(&x) {
        return kernels::activate(MlpKind::Gelu, x);
    }
    activation::gelu(x)
}

/// RMS norm over the last dimension: `weight x / sqrt(mean(x^2) + eps)`.
///
/// # Shapes
/// - `x`: `[rows, width]`
/// - `weight`: `[width]`
/// - output: `[rows, width]`
pub fn rms_norm(x: Tensor<2>, weight: Tensor<1>, eps: f64) -> Tensor<2> {
    if kernels::serves(&x) && kernels::serves(&weight) {
        return kernels::norm(x, &weight, None, eps);
    }
    let rms = x.clone().square().mean_dim(1).add_scalar(eps).sqrt();
    x / rms * weight.unsqueeze()
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::tensor::Device;

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
