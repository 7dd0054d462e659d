//! The tree against every name scored alone.

use std::collections::HashSet;

use burn::tensor::{DType, Device, Tensor, TensorData};
use e2p_model::{Decoder, DecoderConfig, RandomSource};
use e2p_prefix::{PrefillCache, Prefilled, Prompt};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::beam;
use super::search::at_least;
use super::tree::NameTree;
use crate::scoring::row_nlls;

const EOS: u32 = 39;

fn decoder() -> Decoder {
    let device = Device::default();
    let mut source = RandomSource::new(5, DType::F32, &device).with_std(0.3);
    let config = DecoderConfig::small_llama(40, 24, 2, 4, 2, 48, 16);
    Decoder::from_source(config, &mut source, &device, DType::F32).unwrap()
}

/// Names that share beginnings, a name within a name, two of the same name, one that is left out.
fn names() -> Vec<Option<Vec<u32>>> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut names: Vec<Option<Vec<u32>>> = (0..600)
        .map(|_| {
            let len = rng.random_range(1..6);
            let mut name: Vec<u32> = (0..len).map(|_| rng.random_range(0..6)).collect();
            name.push(EOS);
            Some(name)
        })
        .collect();
    names.push(names[0].clone());
    names.push(None);
    names
}

fn prompt() -> Prompt {
    Prompt {
        ids: vec![7, 8, 9],
        slot: 2,
    }
}

fn prefix() -> Tensor<3> {
    let values: Vec<f32> = (0..24).map(|i| (i as f32 * 0.7).sin() * 0.4).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, 24]), &Device::default())
}

fn one_by_one(decoder: &Decoder, prefix: Option<&Tensor<3>>) -> Vec<Option<f64>> {
    let score = |name: &Option<Vec<u32>>| {
        let name = name.as_ref()?;
        let row = match prefix {
            Some(_) => prompt().spliced(name),
            None => prompt().plain(name),
        };
        let nll = row_nlls(
            decoder,
            &[row],
            1,
            &mut PrefillCache::new(0),
            |_| prefix.cloned(),
            |_| true,
        );
        Some(-nll.unwrap()[0].0)
    };
    names().iter().map(score).collect()
}

#[test]
fn the_tree_scores_every_name_as_it_is_scored_alone_and_leaves_out_only_what_is_below_the_threshold()
 {
    let (decoder, tree) = (decoder(), NameTree::new(&names()));
    for prefix in [None, Some(prefix())] {
        let alone = one_by_one(&decoder, prefix.as_ref());
        let prefilled = Prefilled::new(&decoder, &[&prompt()], prefix).unwrap();
        for threshold in [f64::NEG_INFINITY, -12.0] {
            let mut found = vec![None; alone.len()];
            for (item, score) in at_least(&decoder, &tree, &prefilled, threshold).unwrap() {
                assert!(found[item].replace(score).is_none(), "{item} once");
            }
            for (item, alone) in alone.iter().enumerate() {
                match (found[item], alone) {
                    (Some(found), Some(alone)) => {
                        assert!((found - alone).abs() < 1e-4, "{item}: {found}, {alone}");
                    }
                    (None, Some(alone)) => assert!(*alone < threshold + 1e-4, "{item}: {alone}"),
                    (found, None) => assert!(found.is_none(), "{item} is left out"),
                }
            }
            let n = found.iter().flatten().count();
            assert!(n > 20 && (n == 601) == threshold.is_infinite(), "{n}");
        }
    }
}

#[test]
fn a_beam_as_wide_as_the_catalogue_is_its_ranking_without_what_was_chosen() {
    let (decoder, tree) = (decoder(), NameTree::new(&names()));
    let prefilled = Prefilled::new(&decoder, &[&prompt()], Some(prefix())).unwrap();
    let mut all = at_least(&decoder, &tree, &prefilled, f64::NEG_INFINITY).unwrap();
    all.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let seen: HashSet<usize> = [all[0].0, all[7].0].into();
    let ranked: Vec<usize> = all
        .iter()
        .map(|(item, _)| *item)
        .filter(|item| !seen.contains(item))
        .collect();
    let items = |width: usize| -> Vec<usize> {
        let found = beam::search(&decoder, &tree, &prefilled, width, &seen).unwrap();
        found.into_iter().map(|(item, _)| item).collect()
    };
    assert_eq!(items(10_000), ranked);
    // A narrow one finds items, some of them the best.
    let narrow = items(8);
    assert_eq!(narrow.len(), 8);
    assert!(narrow.iter().all(|item| !seen.contains(item)));
    assert!(
        narrow
            .iter()
            .filter(|item| ranked[..8].contains(item))
            .count()
            >= 4,
        "{narrow:?}"
    );
}
