//! The only place that opens burn tensors: values in, values out. Without the flex feature no
//! tensor is served.

use burn::tensor::Tensor;
use half::{bf16, f16};

#[cfg(feature = "flex")]
mod open {
    use burn::backend::{BackendTypes, DispatchDevice, Flex};
    use burn::tensor::{DType, Device, Tensor, TensorData};

    use super::Weights;

    /// A tensor's values, contiguous.
    pub(crate) struct Values(<Flex as BackendTypes>::FloatTensorPrimitive);

    /// Whether the kernels serve this device.
    pub(crate) fn are_on(device: &Device) -> bool {
        matches!(device.as_dispatch(), DispatchDevice::Flex(_))
    }

    /// Whether the kernels take this tensor: `f32`, on the flex backend, without autodiff.
    pub(crate) fn serves<const D: usize>(tensor: &Tensor<D>) -> bool {
        // A device under autodiff is a variant of its own.
        tensor.dtype() == DType::F32 && are_on(&tensor.device())
    }

    fn primitive<const D: usize>(
        tensor: Tensor<D>,
    ) -> <Flex as BackendTypes>::FloatTensorPrimitive {
        tensor
            .try_into_primitive::<Flex>()
            .expect("a tensor that `serves` accepted")
    }

    /// The values of a tensor that [`serves`] accepts.
    pub(crate) fn read<const D: usize>(tensor: Tensor<D>) -> Values {
        let tensor = primitive(tensor);
        Values(if tensor.as_slice::<f32>().is_some() {
            tensor
        } else {
            tensor.to_contiguous()
        })
    }

    impl std::ops::Deref for Values {
        type Target = [f32];

        fn deref(&self) -> &[f32] {
            self.0
                .as_slice::<f32>()
                .expect("f32 and contiguous, see `read`")
        }
    }

    /// Whether the kernels take this as a frozen matrix: on the flex backend without autodiff, in
    /// any data type that [`Weights`] has.
    pub(crate) fn serves_weights(tensor: &Tensor<2>) -> bool {
        matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) && are_on(&tensor.device())
    }

    /// A frozen matrix, contiguous.
    pub(crate) struct Frozen(<Flex as BackendTypes>::FloatTensorPrimitive);

    /// A matrix that [`serves_weights`] accepts.
    pub(crate) fn read_weights(tensor: Tensor<2>) -> Frozen {
        Frozen(primitive(tensor).to_contiguous())
    }

    impl Frozen {
        /// Its values, row after row.
        pub(crate) fn values(&self) -> Weights<'_> {
            const CONTIGUOUS: &str = "contiguous, see `read_weights`";
            match self.0.dtype() {
                DType::F16 => Weights::F16(self.0.as_slice().expect(CONTIGUOUS)),
                DType::BF16 => Weights::BF16(self.0.as_slice().expect(CONTIGUOUS)),
                _ => Weights::F32(self.0.as_slice().expect(CONTIGUOUS)),
            }
        }
    }

    /// Hands the values to `f` to change: in place when nobody else holds the tensor, otherwise in
    /// a copy.
    pub(crate) fn change<const D: usize>(
        tensor: Tensor<D>,
        f: impl FnOnce(&mut [f32]),
    ) -> Tensor<D> {
        let mut tensor = primitive(tensor);
        let n = tensor.layout().num_elements();
        let is_whole = tensor.is_contiguous() && tensor.bytes().len() == n * size_of::<f32>();
        if !is_whole {
            tensor = tensor.to_contiguous();
        }
        f(tensor.storage_mut::<f32>());
        Tensor::from_primitive::<Flex>(tensor)
    }

    /// A new tensor on the flex backend.
    pub(crate) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(
            TensorData::new(values, shape),
            (&Device::flex(), DType::F32),
        )
    }
}

#[cfg(not(feature = "flex"))]
mod open {
    use burn::tensor::Tensor;

    const NOT_SERVED: &str = "`serves` is false without the flex feature";

    pub(crate) struct Values(Vec<f32>);

    impl std::ops::Deref for Values {
        type Target = [f32];

        fn deref(&self) -> &[f32] {
            &self.0
        }
    }

    pub(crate) fn are_on(_device: &burn::tensor::Device) -> bool {
        false
    }

    pub(crate) fn serves<const D: usize>(_tensor: &Tensor<D>) -> bool {
        false
    }

    pub(crate) fn serves_weights(_tensor: &Tensor<2>) -> bool {
        false
    }

    pub(crate) struct Frozen;

    pub(crate) fn read_weights(_tensor: Tensor<2>) -> Frozen {
        unreachable!("{NOT_SERVED}")
    }

    impl Frozen {
        pub(crate) fn values(&self) -> super::Weights<'_> {
            unreachable!("{NOT_SERVED}")
        }
    }

    pub(crate) fn read<const D: usize>(_tensor: Tensor<D>) -> Values {
        unreachable!("{NOT_SERVED}")
    }

    pub(crate) fn change<const D: usize>(
        _tensor: Tensor<D>,
        _f: impl FnOnce(&mut [f32]),
    ) -> Tensor<D> {
        unreachable!("{NOT_SERVED}")
    }

    pub(crate) fn tensor<const D: usize>(_values: Vec<f32>, _shape: [usize; D]) -> Tensor<D> {
        unreachable!("{NOT_SERVED}")
    }
}

pub(crate) use open::{Values, are_on, change, read, read_weights, serves, serves_weights, tensor};

/// The values of a frozen matrix in the data type that they are stored in.
#[derive(Clone, Copy)]
#[cfg_attr(
    not(feature = "flex"),
    expect(dead_code, reason = "no tensor is served")
)]
pub(crate) enum Weights<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    BF16(&'a [bf16]),
}

/// A new tensor whose values `f` writes; they begin as zeros.
pub(crate) fn make<const D: usize>(shape: [usize; D], f: impl FnOnce(&mut [f32])) -> Tensor<D> {
    let mut values = vec![0.0; shape.iter().product()];
    f(&mut values);
    tensor(values, shape)
}
