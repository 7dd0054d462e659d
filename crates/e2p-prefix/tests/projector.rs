//! What training may do to a projector beside its gradient.
#![allow(clippy::unwrap_used)]

use e2p_prefix::burn::optim::GradientsParams;
use e2p_prefix::burn::tensor::{Device, Tensor};
use e2p_prefix::{Preset, ProjectorConfig, named_tensors};

#[test]
fn decay_touches_the_weight_matrices_and_nothing_that_all_users_share() {
    for preset in [Preset::Linear, Preset::Mlp, Preset::Glide] {
        for device in [Device::flex(), Device::flex().autodiff()] {
            let mut config = ProjectorConfig::new(5, 8);
            config.preset = preset;
            let before = config.init(0.3, 1.0, 1, &device);
            let after = before.clone().with_weights_scaled(0.5);
            let (before, after) = (named_tensors(&before), named_tensors(&after));
            assert_eq!(before.len(), after.len());
            let mut n_decayed = 0;
            for (name, (shape, values)) in &before {
                let factor = if name.ends_with("weight") { 0.5 } else { 1.0 };
                n_decayed += usize::from(factor < 1.0);
                let expected: Vec<f32> = values.iter().map(|value| factor * value).collect();
                assert_eq!(after[name], (shape.clone(), expected), "{preset:?}: {name}");
            }
            let expected = [1, 2, 3][[Preset::Linear, Preset::Mlp, Preset::Glide]
                .iter()
                .position(|other| *other == preset)
                .unwrap()];
            assert_eq!(n_decayed, expected, "{preset:?}");
        }
    }
}

#[test]
fn what_is_decayed_goes_on_learning() {
    let device = Device::flex().autodiff();
    let projector = ProjectorConfig::new(5, 8)
        .init(0.3, 1.0, 1, &device)
        .with_weights_scaled(0.9);
    let users = Tensor::<2>::ones([2, 5], &device);
    let gradients = projector.forward(users).sum().backward();
    let gradients = GradientsParams::from_grads(gradients, &projector);
    // Input and output weights and biases, and the scale; the default prefix had no part in it.
    assert_eq!(gradients.len(), 5);
}
