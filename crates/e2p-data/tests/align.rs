//! Embeddings of another version of a space, mapped back.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use e2p_data::UserEmbeddings;
use e2p_data::embeddings::{AlignMethod, Aligner};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const USERS: usize = 400;

fn write(path: &Path, rows: &[Vec<f32>], first: usize) -> UserEmbeddings {
    let ids: Vec<String> = (0..rows.len()).map(|i| format!("u{}", first + i)).collect();
    UserEmbeddings::write(path, &ids, rows, &[]).unwrap();
    UserEmbeddings::open(path).unwrap()
}

fn random(seed: u64, rows: usize, dim: usize) -> Vec<Vec<f32>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut row = || (0..dim).map(|_| rng.random::<f32>() - 0.3).collect();
    (0..rows).map(|_| row()).collect()
}

/// `row` turned in every plane of neighbours, three times as long, and moved.
fn turned(row: &[f32]) -> Vec<f32> {
    let mut row = row.to_vec();
    for i in 0..row.len() - 1 {
        let (sin, cos) = (0.3 + i as f32).sin_cos();
        (row[i], row[i + 1]) = (
            cos * row[i] - sin * row[i + 1],
            sin * row[i] + cos * row[i + 1],
        );
    }
    row.iter().map(|value| 3.0 * value + 5.0).collect()
}

#[test]
fn a_turned_space_is_turned_back_for_users_that_only_the_new_one_knows() {
    let dir = tempfile::tempdir().unwrap();
    let old = random(1, USERS, 6);
    let new: Vec<Vec<f32>> = old.iter().map(|row| turned(row)).collect();
    let to = write(&dir.path().join("old.safetensors"), &old[..USERS - 50], 0);
    let from = write(&dir.path().join("new.safetensors"), &new, 0);
    for method in [AlignMethod::Procrustes, AlignMethod::Affine] {
        let (aligner, report) = Aligner::fit(&from, &to, method).unwrap();
        assert_eq!((report.users_in_common, report.held_out), (350, 35));
        assert!(report.error < 1e-4, "{method:?} {report:?}");
        for (new, old) in new.iter().zip(&old).skip(USERS - 50) {
            for (found, expected) in aligner.map(new).iter().zip(old) {
                assert!(
                    (found - expected).abs() < 1e-2,
                    "{method:?} {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn an_affine_map_fits_what_no_rotation_can_and_the_report_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let old = random(2, USERS, 4);
    // Another dimension, and one of the old ones a hundred times as large.
    let new: Vec<Vec<f32>> = old
        .iter()
        .map(|row| {
            vec![
                100.0 * row[0],
                row[1] + row[2],
                row[2],
                row[3] - row[0],
                row[1],
            ]
        })
        .collect();
    let to = write(&dir.path().join("old.safetensors"), &old, 0);
    let from = write(&dir.path().join("new.safetensors"), &new, 0);
    let error = |method| Aligner::fit(&from, &to, method).unwrap().1.error;
    assert!(error(AlignMethod::Affine) < 0.05);
    assert!(error(AlignMethod::Procrustes) > 0.3);
    // Embeddings that have nothing to do with the old ones.
    let noise = write(
        &dir.path().join("noise.safetensors"),
        &random(3, USERS, 4),
        0,
    );
    for method in [AlignMethod::Procrustes, AlignMethod::Affine] {
        assert!(Aligner::fit(&noise, &to, method).unwrap().1.error > 0.9);
    }
}

#[test]
fn dimensions_that_never_change_do_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let old = random(4, USERS, 3);
    let new: Vec<Vec<f32>> = old
        .iter()
        .map(|row| vec![row[0], 1e3, row[1], 0.0, row[2], 0.1])
        .collect();
    let to = write(&dir.path().join("old.safetensors"), &old, 0);
    let from = write(&dir.path().join("new.safetensors"), &new, 0);
    let constant = write(
        &dir.path().join("constant.safetensors"),
        &vec![vec![7.1; 6]; USERS],
        0,
    );
    for method in [AlignMethod::Procrustes, AlignMethod::Affine] {
        assert!(
            Aligner::fit(&from, &to, method).unwrap().1.error < 1e-3,
            "{method:?}"
        );
        // Nothing is known of the users: everybody gets the mean.
        let report = Aligner::fit(&constant, &to, method).unwrap().1;
        assert!((report.error - 1.0).abs() < 0.1, "{method:?} {report:?}");
    }
}

#[test]
fn too_few_users_in_common_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let to = write(&dir.path().join("old.safetensors"), &random(1, 30, 3), 0);
    let from = write(&dir.path().join("new.safetensors"), &random(2, 30, 3), 11);
    let error = Aligner::fit(&from, &to, AlignMethod::Affine)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("found 19 users that") && error.contains("at least 20"),
        "{error}"
    );
}
