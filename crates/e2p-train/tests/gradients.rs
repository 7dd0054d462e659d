//! Gradients of the loss, with every addition switched on, against finite differences of the loss
//! itself.
#![allow(clippy::unwrap_used)]

use e2p_model::{Decoder, DecoderConfig, Keep, RandomSource};
use e2p_prefix::{SplicedBatch, SplicedRow};
use e2p_train::burn::tensor::{DType, Device, Tensor, TensorData};
use e2p_train::{BatchLoss, Comparison, LossRecipe, LossScale, batch_loss};

const D_MODEL: usize = 16;
const ROWS: usize = 3;

fn decoder() -> Decoder {
    let config = DecoderConfig::small_llama(40, D_MODEL, 2, 4, 2, 32, 64);
    let device = Device::flex();
    let mut source = RandomSource::new(3, DType::F32, &device).with_std(0.3);
    Decoder::from_source(config, &mut source, &device, DType::F32).unwrap()
}

fn rows() -> Vec<SplicedRow> {
    vec![
        SplicedRow::new(&[1, 5, 9, 2], 1, &[4, 8]),
        SplicedRow::new(&[1, 7, 3], 1, &[16, 23, 39]),
        SplicedRow::new(&[1, 30, 31], 1, &[11]),
    ]
}

fn loss(decoder: &Decoder, values: &[f32], recipe: &LossRecipe) -> (f64, BatchLoss) {
    let rows = rows();
    // The same targets behind longer prompts, as a profile text makes them.
    let teachers: Vec<SplicedRow> = rows
        .iter()
        .map(|row| SplicedRow::plain(&[1, 20, 21, 22, 5], row.targets()))
        .collect();
    let batch = SplicedBatch::new(decoder, &rows, None).unwrap();
    let prefix = TensorData::new(values.to_vec(), [ROWS, 1, D_MODEL]);
    let found = batch_loss(
        decoder,
        &batch,
        Tensor::from_data(prefix, &Device::flex()),
        recipe,
        &Comparison {
            partners: (recipe.contrast_weight > 0.0).then_some(&[1, 2, 0]),
            teachers: (recipe.distill_weight > 0.0).then_some(&teachers),
        },
        LossScale {
            token_weight: 1.0 / 6.0,
            row_weight: 1.0 / 3.0,
        },
        Keep::Activations,
    )
    .unwrap();
    (found.nll / 6.0 + found.extra, found)
}

#[test]
fn the_gradient_of_each_loss_is_its_finite_difference() {
    let decoder = decoder();
    let values: Vec<f32> = (0..ROWS * D_MODEL)
        .map(|i| (i as f32 * 0.73).sin() * 0.5)
        .collect();
    let plain = LossRecipe::default();
    let contrast = LossRecipe {
        contrast_weight: 0.7,
        contrast_margin: 2.0,
        ..plain.clone()
    };
    let distill = LossRecipe {
        distill_weight: 0.8,
        ..plain.clone()
    };
    for (what, recipe) in [
        ("plain", plain),
        ("contrast", contrast),
        ("distillation", distill),
    ] {
        let (_, found) = loss(&decoder, &values, &recipe);
        let own: Vec<f32> = found.d_prefix.into_data().try_into_vec().unwrap();
        let partners: Option<Vec<f32>> = found
            .d_partner
            .map(|gradient| gradient.into_data().try_into_vec().unwrap());
        assert_eq!(partners.is_some(), what == "contrast");
        let mut gradient = own;
        if let Some(partners) = partners {
            // Row i read the prefix of row (i + 1) % 3.
            for row in 0..ROWS {
                for column in 0..D_MODEL {
                    gradient[(row + 1) % ROWS * D_MODEL + column] +=
                        partners[row * D_MODEL + column];
                }
            }
        }
        let largest = gradient.iter().fold(0f32, |a, b| a.max(b.abs()));
        assert!(largest > 1e-2, "{what}: a gradient to speak of");
        for at in (0..values.len()).step_by(5) {
            let step = 2e-3;
            let moved = |by: f32| {
                let mut values = values.clone();
                values[at] += by;
                loss(&decoder, &values, &recipe).0
            };
            let expected = (moved(step) - moved(-step)) / (2.0 * f64::from(step));
            // f32 sums: the difference of two losses is good to about 1e-6 / 4e-3.
            let error = (f64::from(gradient[at]) - expected).abs();
            assert!(
                error < 2e-3 * f64::from(largest) + 5e-4,
                "{what}, element {at}: {} and {expected}",
                gradient[at]
            );
        }
    }
}
