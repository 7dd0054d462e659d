//! A network that maps embeddings of another version back, where no matrix does.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use burn::tensor::Device;
use e2p_data::UserEmbeddings;
use e2p_data::embeddings::{AlignMethod, Aligner};
use e2p_train::{MlpAligner, MlpAlignerOptions};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const USERS: usize = 1200;

fn write(path: &Path, rows: &[Vec<f32>]) -> UserEmbeddings {
    let ids: Vec<String> = (0..rows.len()).map(|i| format!("u{i}")).collect();
    UserEmbeddings::write(path, &ids, rows, &[]).unwrap();
    UserEmbeddings::open(path).unwrap()
}

fn random(seed: u64, dim: usize) -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut row = || (0..dim).map(|_| 2.0 * rng.random::<f32>() - 1.0).collect();
    (0..USERS).map(|_| row()).collect()
}

fn options(steps: usize) -> MlpAlignerOptions {
    MlpAlignerOptions {
        steps,
        ..MlpAlignerOptions::default()
    }
}

#[test]
fn it_fits_a_bent_space_that_no_matrix_does_and_says_so_of_users_it_never_saw() {
    let dir = tempfile::tempdir().unwrap();
    let new = random(1, 4);
    // A plane bent over: squares and products are no affine functions. The last dimension never
    // changes.
    let old: Vec<Vec<f32>> = new
        .iter()
        .map(|x| vec![100.0 + 10.0 * (x[0] + x[1] * x[1]), x[0] * x[1] + x[2], 7.0])
        .collect();
    // The last users are unknown to the old version.
    let to = write(&dir.path().join("old.safetensors"), &old[..USERS - 100]);
    let from = write(&dir.path().join("new.safetensors"), &new);
    let (_, affine) = Aligner::fit(&from, &to, AlignMethod::Affine).unwrap();
    let device = Device::flex();
    let mut steps = 0;
    let (aligner, report) = MlpAligner::fit(&from, &to, &options(1000), &device, |step, of| {
        assert_eq!((step, of), (steps + 1, 1000));
        steps = step;
        true
    })
    .unwrap();
    assert_eq!((report.users_in_common, report.held_out), (1100, 110));
    assert!(affine.error > 0.15, "{affine:?}");
    assert!(report.error < affine.error / 10.0, "{affine:?} {report:?}");
    // The error is a fact about users that were neither fitted nor looked at.
    let (mut missed, mut variance) = (0.0, 0.0);
    for (x, y) in new.iter().zip(&old).skip(USERS - 100) {
        let mapped = aligner.map(x);
        assert!((mapped[2] - 7.0).abs() < 1e-3);
        missed += (mapped[0] - y[0]).powi(2);
        variance += (y[0] - 103.3).powi(2);
    }
    assert!(missed < 2.0 * report.error as f32 * variance + 1e-2 * variance);

    // Rows together are rows alone, and the same seed gives the same map.
    let together = aligner.map(&[new[0].as_slice(), &new[1]].concat());
    let alone = [aligner.map(&new[0]), aligner.map(&new[1])].concat();
    for (a, b) in together.iter().zip(&alone) {
        assert!((a - b).abs() < 1e-4 * a.abs(), "{a} {b}");
    }
    let again = MlpAligner::fit(&from, &to, &options(1000), &device, |_, _| true).unwrap();
    assert_eq!(again.0.map(&new[5]), aligner.map(&new[5]));
}

#[test]
fn it_is_the_affine_map_where_there_is_nothing_to_add() {
    let dir = tempfile::tempdir().unwrap();
    let new = random(2, 5);
    // Nothing but noise is left when the affine map is done.
    let noise = random(3, 2);
    let old: Vec<Vec<f32>> = new
        .iter()
        .zip(&noise)
        .map(|(x, noise)| vec![3.0 * x[0] - x[1] + noise[0], x[2] + noise[1]])
        .collect();
    let to = write(&dir.path().join("old.safetensors"), &old);
    let from = write(&dir.path().join("new.safetensors"), &new);
    let (_, affine) = Aligner::fit(&from, &to, AlignMethod::Affine).unwrap();
    let fit = |steps| {
        MlpAligner::fit(&from, &to, &options(steps), &Device::flex(), |step, _| {
            step < 150
        })
        .unwrap()
    };
    let (_, report) = fit(1000);
    assert!(report.error < 1.05 * affine.error, "{affine:?} {report:?}");
    // Untrained it adds nothing: the affine map fitted to the same users.
    let (aligner, _) = fit(0);
    let fitted: Vec<String> = (0..USERS)
        .filter(|i| i % 10 != 0)
        .enumerate()
        .filter(|(i, _)| i % 10 != 0)
        .map(|(_, user)| format!("u{user}"))
        .collect();
    let fitted: Vec<&str> = fitted.iter().map(String::as_str).collect();
    let expected = Aligner::fit_users(&from, &to, &fitted, AlignMethod::Affine).unwrap();
    assert_eq!(aligner.map(&new[7]), expected.map(&new[7]));
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let rows = random(4, 3);
    let to = write(&dir.path().join("old.safetensors"), &rows[..19]);
    let whole = write(&dir.path().join("whole.safetensors"), &rows);
    // The last number of the file is none.
    let path = dir.path().join("new.safetensors");
    write(&path, &rows);
    let mut bytes = std::fs::read(&path).unwrap();
    let n = bytes.len();
    bytes[n - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    let from = UserEmbeddings::open(&path).unwrap();
    let fit = |from, to| {
        let fitted = MlpAligner::fit(from, to, &options(10), &Device::flex(), |_, _| true);
        fitted.unwrap_err().to_string()
    };
    let text = fit(&whole, &to);
    assert!(text.contains("at least 20"), "{text}");
    let text = fit(&from, &whole);
    assert!(text.contains("NaN") && text.contains("1200"), "{text}");
}
