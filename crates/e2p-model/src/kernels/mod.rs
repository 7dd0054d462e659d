//! The frozen stack's inner loops on the CPU: vectorised, spread over all cores, one pass over
//! memory each.
//!
//! burn-flex computes `exp`, sigmoid and softmax in serial scalar loops and makes a new tensor for
//! every step of a formula. The functions here do a whole formula a row at a time, through burn's
//! `extension` interface. They serve `f32` tensors of the flex backend without autodiff, which
//! [`serves`] tells. `crate::ops` asks it, and holds the same formulas as composed tensor
//! operations for everywhere else and as the oracle in the tests. Rows are independent, so no
//! result depends on the number of threads.
//!
//! Instructions are chosen at run time (`pulp`): AVX-512, AVX2, NEON or none, from one source. What
//! each kernel saves is in `docs/KERNELS.md`.

mod activate;
mod arithmetic;
mod attend;
mod attend_lanes;
mod cross_entropy;
mod few_rows;
mod flex;
mod heads;
#[cfg(target_arch = "x86_64")]
mod int8;
mod math;
mod matmul;
mod matrix;
mod norm;
mod product;
mod rows;
mod softmax;
mod stored;
#[cfg(target_arch = "x86_64")]
mod transpose;

pub(crate) use activate::{activate, activate_backward};
pub(crate) use attend::{Queries, Segment, attend};
pub(crate) use cross_entropy::{log_sums, softmax_minus_targets};
pub(crate) use few_rows::FEW as FEW_ROWS;
pub(crate) use flex::{are_on, serves, serves_weights};
pub(crate) use heads::{merge, rotate, split};
#[cfg(test)]
pub(crate) use matmul::has_vnni;
pub(crate) use matmul::{
    has_pairs, matmul, matmul_int8, matmul_int8_transposed, matmul_transposed,
};
pub(crate) use norm::{norm, norm_backward};
pub(crate) use rows::on_workers;
pub(crate) use softmax::{softmax, softmax_backward};

#[cfg(test)]
mod product_tests;
#[cfg(test)]
pub(crate) mod tests;
