//! The real Last.fm files, where they are beside the workspace.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod shared;

use e2p_data::als::{AlsOptions, InteractionMatrix, factorize, held_out_recall};
use e2p_data::interactions::{Interactions, InteractionsOptions};
use e2p_data::{DataDir, PrepareOptions, Split, prepare};
use shared::shared_data;

fn prepared() -> Option<(tempfile::TempDir, DataDir)> {
    let root = shared_data()?.join("lastfm_hetrec2011");
    let directory = tempfile::tempdir().unwrap();
    let source = Interactions::new(vec![root], InteractionsOptions::default());
    let data = prepare(
        &source,
        directory.path().join("data"),
        &PrepareOptions::default(),
        &mut (),
    )
    .unwrap();
    data.validate().unwrap();
    Some((directory, data))
}

#[test]
fn lastfm_has_its_documented_counts() {
    let Some((_directory, data)) = prepared() else {
        return;
    };
    eprintln!("{:?} {:?}", data.info().counts, data.info().notes);
    assert_eq!(data.info().notes["interactions read"], 92_834);
    assert_eq!(data.info().notes["users read"], 1892);
    assert_eq!(
        data.info().notes["tag assignments of unknown artists"],
        1538
    );
    assert_eq!(data.info().counts.users, 1892);
    assert_eq!(data.info().counts.items, 17_632);
    assert!(data.info().licence.contains("non-commercial"));
}

#[test]
fn als_finds_held_out_artists_where_popularity_does_not() {
    let Some((_directory, data)) = prepared() else {
        return;
    };
    let matrix = InteractionMatrix::from_data_dir(&data).unwrap();
    let factors = factorize(&matrix, &AlsOptions::default(), &mut ()).unwrap();
    for split in [Split::Valid, Split::Test] {
        let recall = held_out_recall(&factors, &matrix, split, 50);
        eprintln!("{split}: {recall:?}");
        assert!(recall.recall >= 0.41, "{recall:?}");
        assert!((0.24..0.30).contains(&recall.popularity), "{recall:?}");
    }
}
