//! A module's parameters by name, to and from safetensors.
//!
//! Values are copied bit by bit, so saving and loading is exact.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Tensor, TensorData};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::{PrefixError, Result};

/// Named f32 tensors: shape and values.
pub type NamedTensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// The float parameters of `module` under their dotted paths.
pub fn named_tensors<M: Module>(module: &M) -> NamedTensors {
    struct Collect {
        path: Vec<String>,
        tensors: NamedTensors,
    }
    impl ModuleVisitor for Collect {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let tensor = param.val().inner();
            let shape = tensor.dims().to_vec();
            let values = tensor
                .into_data()
                .try_into_vec_as::<f32>()
                .expect("float parameters convert to f32");
            self.tensors.insert(self.path.join("."), (shape, values));
        }
    }
    let mut collect = Collect {
        path: Vec::new(),
        tensors: NamedTensors::new(),
    };
    module.visit(&mut collect);
    collect.tensors
}

/// Replaces every float parameter of `module` by the tensor of its path, which is taken out of
/// `tensors`.
///
/// Missing and wrong-shaped tensors are listed in the error; what is left in `tensors` afterwards
/// was not used.
///
/// # Errors
/// The list, as text.
pub fn load_named_tensors<M: Module>(
    module: M,
    tensors: &mut NamedTensors,
) -> std::result::Result<M, String> {
    struct Load<'a> {
        path: Vec<String>,
        tensors: &'a mut NamedTensors,
        problems: Vec<String>,
    }
    impl ModuleMapper for Load<'_> {
        fn enter_module(&mut self, name: &str, _container_type: &str) {
            self.path.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container_type: &str) {
            self.path.pop();
        }
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let path = self.path.join(".");
            let expected = param.val().dims();
            match self.tensors.remove(&path) {
                None => self.problems.push(format!("`{path}` is missing")),
                Some((shape, _)) if shape != expected => {
                    self.problems.push(format!(
                        "`{path}` has shape {shape:?}, expected {expected:?}"
                    ));
                }
                Some((_, values)) if values.iter().any(|value| !value.is_finite()) => {
                    self.problems
                        .push(format!("`{path}` holds values that are not finite"));
                }
                Some((shape, values)) => {
                    return param.map(|old| {
                        let new = Tensor::from_data(
                            TensorData::new(values, shape),
                            &old.device().inner(),
                        );
                        if old.is_autodiff() {
                            new.autodiff().set_require_grad(old.is_require_grad())
                        } else {
                            new
                        }
                    });
                }
            }
            param
        }
    }
    let mut load = Load {
        path: Vec::new(),
        tensors,
        problems: Vec::new(),
    };
    let module = module.map(&mut load);
    if load.problems.is_empty() {
        Ok(module)
    } else {
        Err(load.problems.join("; "))
    }
}

/// Writes named tensors as a safetensors file.
///
/// # Errors
/// [`PrefixError::Io`] or [`PrefixError::Safetensors`], with the path.
pub fn write_safetensors(path: &Path, tensors: &NamedTensors) -> Result<()> {
    let failed = |source| PrefixError::Safetensors {
        path: path.into(),
        source,
    };
    let views = tensors
        .iter()
        .map(|(name, (shape, values))| {
            Ok((
                name,
                TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values))?,
            ))
        })
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(failed)?;
    let bytes = safetensors::serialize(views, None).map_err(failed)?;
    std::fs::write(path, bytes).map_err(|source| PrefixError::Io {
        path: path.into(),
        source,
    })
}

/// Reads a safetensors file of f32 tensors.
///
/// # Errors
/// [`PrefixError::Io`], [`PrefixError::Safetensors`], or [`PrefixError::Tensors`] for another data
/// type.
pub fn read_safetensors(path: &Path) -> Result<NamedTensors> {
    let bytes = std::fs::read(path).map_err(|source| PrefixError::Io {
        path: path.into(),
        source,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|source| PrefixError::Safetensors {
        path: path.into(),
        source,
    })?;
    file.iter()
        .map(|(name, view)| {
            if view.dtype() != Dtype::F32 {
                let problems = format!("`{name}` is of type {:?}, expected F32", view.dtype());
                return Err(PrefixError::Tensors {
                    path: path.into(),
                    problems,
                });
            }
            let values = view
                .data()
                .as_chunks()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect();
            Ok((name.to_owned(), (view.shape().to_vec(), values)))
        })
        .collect()
}
