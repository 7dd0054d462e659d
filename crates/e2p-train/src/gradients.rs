//! The norm of a module's whole gradient, and its clipping.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Square root of the sum of squares over all gradients of `module`.
pub(crate) fn grad_norm<M: Module>(module: &M, gradients: &GradientsParams) -> f64 {
    struct Sum<'a> {
        gradients: &'a GradientsParams,
        sum: f64,
    }
    impl ModuleVisitor for Sum<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                self.sum += f64::from(gradient.square().sum().into_scalar::<f32>());
            }
        }
    }
    let mut sum = Sum {
        gradients,
        sum: 0.0,
    };
    module.visit(&mut sum);
    sum.sum.sqrt()
}

/// Scales all gradients of `module` so that their common norm is at most `max_norm`, given their
/// `norm`.
pub(crate) fn clip<M: Module>(
    module: &M,
    gradients: &mut GradientsParams,
    norm: f64,
    max_norm: f64,
) {
    struct Scale<'a> {
        gradients: &'a mut GradientsParams,
        factor: f64,
    }
    impl ModuleVisitor for Scale<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.remove::<D>(param.id) {
                self.gradients
                    .register(param.id, gradient.mul_scalar(self.factor));
            }
        }
    }
    if max_norm > 0.0 && norm > max_norm {
        module.visit(&mut Scale {
            gradients,
            factor: max_norm / norm,
        });
    }
}
