//! sentence-transformers' `Dense`: a linear map behind the pooling, with an activation.

use burn::tensor::{DType, Tensor, activation};

use crate::linear::Linear;

/// The activation functions of `torch.nn` that published encoders use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    Identity,
    Tanh,
    Gelu,
    Relu,
    Silu,
    Sigmoid,
}

impl Activation {
    /// Their classes in `torch.nn.modules`.
    pub(super) const NAMED: [(Self, &str); 6] = [
        (Self::Identity, "Identity"),
        (Self::Tanh, "Tanh"),
        (Self::Gelu, "GELU"),
        (Self::Relu, "ReLU"),
        (Self::Silu, "SiLU"),
        (Self::Sigmoid, "Sigmoid"),
    ];

    fn of(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Identity => x,
            Self::Tanh => x.tanh(),
            Self::Gelu => activation::gelu(x),
            Self::Relu => activation::relu(x),
            Self::Silu => activation::silu(x),
            Self::Sigmoid => activation::sigmoid(x),
        }
    }
}

/// The module.
#[derive(Debug, Clone)]
pub(super) struct Dense {
    pub(super) linear: Linear,
    pub(super) activation: Activation,
}

impl Dense {
    /// `[batch_size, in_features]` to `[batch_size, out_features]`, f32.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.activation
            .of(self.linear.forward_rows(x).cast(DType::F32))
    }
}
