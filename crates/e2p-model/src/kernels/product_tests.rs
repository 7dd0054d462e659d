//! Products with frozen matrices against the composed operations.

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::tests::{FORWARD, GRADIENT, assert_close, on_any_threads, random};
use crate::kernels;
use crate::matrix::Matrix;
use crate::precision::MatmulPrecision;

#[test]
fn products_equal_the_composed_operations_in_every_storage() {
    let plain = |dtype| {
        move |weights: Tensor<2>| {
            let weights = weights.cast(dtype);
            assert!(kernels::serves_weights(&weights), "{dtype:?}");
            Matrix::plain(weights)
        }
    };
    let (f32, f16, bf16) = (plain(DType::F32), plain(DType::F16), plain(DType::BF16));
    let storages: [&dyn Fn(Tensor<2>) -> Matrix; 4] = [&f32, &f16, &bf16, &Matrix::int8];
    // Fewer rows than a tile and more than a task; widths and depths that do not fill vectors,
    // words or slices.
    for n_rows in [0, 1, 2, 5, 23, 25, 70] {
        for (d_in, d_out) in [(1, 1), (7, 5), (34, 97), (36, 97), (200, 50), (576, 33)] {
            for store in storages {
                let weights = store(random(13, [d_out, d_in]));
                let what = format!("{n_rows} x {d_in} x {d_out} {}", weights.dtype_name());
                let bias = random(14, [d_out]);
                let (x, dy) = (random(15, [n_rows, d_in]), random(16, [n_rows, d_out]));
                let y = on_any_threads(|| weights.matmul_transposed(x.clone(), Some(&bias)));
                let dx = on_any_threads(|| weights.matmul(dy.clone()));
                assert_eq!(
                    (y.dims(), dx.dims()),
                    ([n_rows, d_out], [n_rows, d_in]),
                    "{what}"
                );
                if n_rows == 0 {
                    continue;
                }
                let ids = Tensor::arange(0..d_out as i64, &Device::flex());
                let values = weights.rows(ids, DType::F32);
                let expected = x.matmul(values.clone().transpose()) + bias.unsqueeze();
                assert_close(&y, &expected, FORWARD, &what);
                assert_close(&dx, &dy.matmul(values), GRADIENT, &what);
            }
        }
    }
}

#[test]
fn a_matrix_larger_than_the_packing_buffer_is_taken_in_parts() {
    // 300 x 12,000 values are more than the 2 M that are packed at a time, by columns in one
    // direction and by terms in the other.
    let weights = random(17, [12_000, 300]);
    let (x, dy) = (random(18, [30, 300]), random(19, [30, 12_000]));
    let y = kernels::matmul_transposed(x.clone(), &weights, None, MatmulPrecision::Highest);
    assert_close(
        &y,
        &x.matmul(weights.clone().transpose()),
        FORWARD,
        "forward",
    );
    let dx = kernels::matmul(dy.clone(), &weights, None, MatmulPrecision::Highest);
    assert_close(&dx, &dy.matmul(weights), GRADIENT, "backward");
}

#[test]
fn products_of_pairs_equal_products_of_rounded_factors() {
    // Where the CPU has no such products, `medium` gives those in f32.
    let rounded = |x: &Tensor<2>| {
        if kernels::has_pairs() {
            x.clone().cast(DType::BF16).cast(DType::F32)
        } else {
            x.clone()
        }
    };
    let plain = |dtype| move |weights: Tensor<2>| Matrix::plain(weights.cast(dtype));
    let (f32, f16, bf16) = (plain(DType::F32), plain(DType::F16), plain(DType::BF16));
    let storages: [&dyn Fn(Tensor<2>) -> Matrix; 4] = [&f32, &f16, &bf16, &Matrix::int8];
    // One row and up to eight are in f32; from 97 on everything is packed.
    for n_rows in [0, 1, 8, 9, 23, 33, 97] {
        for (d_in, d_out) in [(1, 1), (7, 5), (34, 97), (36, 97), (201, 50), (576, 33)] {
            for store in storages {
                let weights =
                    store(random(13, [d_out, d_in])).with_precision(MatmulPrecision::Medium);
                let what = format!("{n_rows} x {d_in} x {d_out} {}", weights.dtype_name());
                let bias = random(14, [d_out]);
                let (x, dy) = (random(15, [n_rows, d_in]), random(16, [n_rows, d_out]));
                let y = on_any_threads(|| weights.matmul_transposed(x.clone(), Some(&bias)));
                let dx = on_any_threads(|| weights.matmul(dy.clone()));
                if n_rows == 0 {
                    assert_eq!((y.dims(), dx.dims()), ([0, d_out], [0, d_in]), "{what}");
                    continue;
                }
                let ids = Tensor::arange(0..d_out as i64, &Device::flex());
                let values = weights.rows(ids, DType::F32);
                let is_few = n_rows <= 96
                    && d_in.is_multiple_of(match weights.dtype_name() {
                        "f32" => 1,
                        "int8" => 4,
                        _ => 2,
                    });
                let in_int8 = kernels::has_vnni() && n_rows <= 96 && weights.dtype_name() == "int8";
                let (a, b) = match (is_few, weights.dtype_name()) {
                    _ if in_int8 => (x.clone(), values.clone()),
                    (true, _) if n_rows <= 8 => (x.clone(), values.clone()),
                    // Codes are bf16 as they are, and their scale comes afterwards; where they are
                    // packed it comes before.
                    (true, "int8") => (rounded(&x), values.clone()),
                    _ => (rounded(&x), rounded(&values)),
                };
                let expected = a.matmul(b.transpose()) + bias.clone().unsqueeze();
                assert_close(&y, &expected, FORWARD, &what);
                // The point of the test: the product in f32 is another one.
                if n_rows > 8 && d_in > 8 && kernels::has_pairs() && !in_int8 {
                    let exact = x.matmul(values.clone().transpose()) + bias.unsqueeze();
                    let difference = (exact - y).abs().max().into_scalar::<f32>();
                    assert!(difference > 1e-4, "{what}: off by {difference} only");
                }
                let expected = rounded(&dy).matmul(rounded(&values));
                assert_close(&dx, &expected, GRADIENT, &what);
            }
        }
    }
}

#[test]
fn eight_bits_are_multiplied_as_exactly_as_in_f32_whatever_the_row() {
    // Each row's largest value, a thousand times its others, is what its steps are made for.
    let (d_in, d_out) = (333, 70);
    let weights = random(23, [d_out, d_in]);
    let values: Vec<f32> = weights
        .clone()
        .into_data()
        .try_into_vec_as::<f32>()
        .expect("floats");
    let weights = Matrix::int8(weights);
    let ids = Tensor::arange(0..d_out as i64, &Device::flex());
    let rounded = weights.rows(ids, DType::F32).into_data();
    let rounded = rounded.try_into_vec_as::<f32>().expect("floats");
    assert!(rounded != values, "8 bits lose something");
    for n_rows in [1, 2, 7, 33] {
        let mut x: Vec<f32> = random::<2>(24, [n_rows, d_in])
            .into_data()
            .try_into_vec_as::<f32>()
            .expect("floats");
        for (row, x) in x.chunks_exact_mut(d_in).enumerate() {
            let scale = [1.0, 1e-30, 1e30, 1e-3, 0.0][row % 5];
            for x in x.iter_mut() {
                *x *= scale;
            }
            x[row * 11 % d_in] *= -1000.0;
        }
        let y = weights.matmul_transposed(
            Tensor::from_data(
                TensorData::new(x.clone(), [n_rows, d_in]),
                (&Device::flex(), DType::F32),
            ),
            None,
        );
        let y = y.into_data().try_into_vec_as::<f32>().expect("floats");
        for (x, y) in x.chunks_exact(d_in).zip(y.chunks_exact(d_out)) {
            let largest = x.iter().fold(0f32, |a, b| a.max(b.abs()));
            for (w, y) in rounded.chunks_exact(d_in).zip(y) {
                let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
                    let terms = x
                        .iter()
                        .zip(w)
                        .map(|(x, w)| f(f64::from(*x), f64::from(*w)));
                    terms.sum()
                };
                let (expected, norm) = (sum(&|x, w| x * w), sum(&|_, w| w * w).sqrt());
                let difference = (f64::from(*y) - expected).abs();
                assert!(
                    difference <= 2e-7 * f64::from(largest) * norm,
                    "{n_rows} rows: {y} instead of {expected}"
                );
            }
        }
    }
}

#[test]
fn what_is_no_number_spoils_its_row_in_every_storage() {
    for store in [Matrix::plain, Matrix::int8] {
        let weights = store(random(25, [40, 70]));
        for n_rows in [1, 3, 20] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut x = random::<2>(26, [n_rows, 70])
                    .into_data()
                    .try_into_vec_as::<f32>()
                    .expect("floats");
                x[(n_rows - 1) * 70 + 69] = bad;
                let x = TensorData::new(x, [n_rows, 70]);
                let y = weights
                    .matmul_transposed(Tensor::from_data(x, (&Device::flex(), DType::F32)), None);
                let y = y.into_data().try_into_vec_as::<f32>().expect("floats");
                let (good, spoilt) = y.split_at((n_rows - 1) * 40);
                assert!(good.iter().all(|y| y.is_finite()), "{bad}");
                assert!(spoilt.iter().all(|y| !y.is_finite()), "{bad}");
            }
        }
    }
}

#[test]
fn rounding_is_to_the_nearest_and_keeps_what_is_no_number() {
    use crate::kernels::stored::Stored;
    let values = [
        0.0,
        -0.0,
        1.0,
        -3.140_625,
        1.0 + 1.0 / 256.0,
        1.0 + 3.0 / 256.0,
        3.4e38,
        f32::MAX,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        1e-40,
    ];
    let mut found = [0; 12];
    f32::to_bf16(&values, 1.0, &mut found);
    for (value, found) in values.into_iter().zip(found) {
        let expected = half::bf16::from_f32(value);
        let found = half::bf16::from_bits(found);
        assert!(
            found.to_bits() == expected.to_bits() || (found.is_nan() && expected.is_nan()),
            "{value}: {found}, expected {expected}"
        );
    }
}
