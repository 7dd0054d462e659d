//! Recommendation: ranks in a catalogue against every name scored alone, and the baselines.
#![allow(clippy::unwrap_used)]

mod common;

use common::evaluation::{evaluated, names, quick, value};
use common::{Written, example, user};
use e2p_data::{ItemRecord, Split, UserEmbeddings, UserRecord};
use e2p_prefix::{Adapter, PrefillCache};
use e2p_train::burn::tensor::Device;
use e2p_train::metrics::{hit_rate, ndcg, reciprocal_rank};
use e2p_train::{Condition, EvalOptions, ExampleEncoder, ProfileText, RunDir, UserTable, row_nlls};

/// Songs whose names begin alike, two of the same name, users who have chosen some of them.
fn songs() -> Written {
    let names = [
        "Blue moon",
        "Blue sky",
        "Blue",
        "Red",
        "Red sky",
        "Moon",
        "Moon river",
        "River",
        "A",
        "Blue sky",
    ];
    let items: Vec<ItemRecord> = names
        .iter()
        .enumerate()
        .map(|(item, name)| ItemRecord {
            item: format!("i{item}"),
            text: (*name).into(),
        })
        .collect();
    let mut users = Vec::new();
    let mut examples = Vec::new();
    for number in 0..12 {
        let id = format!("u{number}");
        let history: Vec<String> = [0, 3, 5]
            .iter()
            .map(|step| format!("i{}", (number + step) % 10))
            .collect();
        users.push(UserRecord {
            history,
            ..user(&id, &["Blue moon"])
        });
        for (step, split) in [(1, Split::Train), (2, Split::Train), (4, Split::Test)] {
            let item = (number + step) % 10;
            let mut example = example(&id, "Recommend a song:", names[item], &[]);
            example.item = Some(format!("i{item}"));
            examples.push((split, example));
        }
    }
    Written {
        task: "interactions",
        users,
        examples,
        items,
    }
}

#[test]
fn ranks_in_a_catalogue_are_those_of_every_name_scored_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (run, inputs) = songs().run(dir.path(), &["prompt.position=before_target"]);
    let options = EvalOptions {
        conditions: vec![
            Condition::None,
            Condition::Text,
            Condition::E2p,
            Condition::E2pShuffled,
        ],
        ..quick()
    };
    let evaluation = evaluated(&run, &inputs, &options);

    let recipe = RunDir::recipe(&run).unwrap();
    let encoder = ExampleEncoder::new(
        &inputs.tokenizer,
        inputs.decoder.config(),
        &recipe.prompt,
        1,
    )
    .unwrap();
    let adapter = Adapter::load(&RunDir::adapter_path(&run), &Device::default()).unwrap();
    let items: Vec<ItemRecord> = inputs.data.items().unwrap().map(Result::unwrap).collect();
    let users: Vec<UserRecord> = inputs.data.users().unwrap().map(Result::unwrap).collect();
    let mut table = UserTable::new(adapter.config.embedding_space.clone());
    for condition in ["none", "e2p"] {
        let mut sums = [0.0; 4];
        for example in inputs.data.examples(Split::Test).unwrap() {
            let example = example.unwrap();
            let score = |text: &str, table: &mut UserTable| {
                let target = encoder.target(&example, text).unwrap().unwrap();
                let prompt = encoder
                    .prompt(&example, ProfileText::Without, target.len())
                    .unwrap();
                let prefix = (condition == "e2p").then(|| {
                    let number = table
                        .number(&example.user, inputs.embeddings.as_ref().unwrap())
                        .unwrap();
                    adapter
                        .projector
                        .forward(table.batch(&[number], &Device::default()))
                });
                let row = if prefix.is_some() {
                    prompt.spliced(&target)
                } else {
                    prompt.plain(&target)
                };
                let nll = row_nlls(
                    &inputs.decoder,
                    &[row],
                    1,
                    &mut PrefillCache::new(0),
                    |_| prefix.clone(),
                    |_| true,
                );
                -nll.unwrap()[0].0
            };
            let history = &users
                .iter()
                .find(|user| user.user == example.user)
                .unwrap()
                .history;
            let gold = score(&example.target, &mut table);
            let before = items
                .iter()
                .filter(|item| {
                    Some(&item.item) != example.item.as_ref() && !history.contains(&item.item)
                })
                .filter(|item| score(&item.text, &mut table) >= gold)
                .count();
            let rank = before + 1;
            let figures = [
                hit_rate(rank, 5),
                hit_rate(rank, 50),
                ndcg(rank, 5),
                reciprocal_rank(rank),
            ];
            for (sum, figure) in sums.iter_mut().zip(figures) {
                *sum += figure / 12.0;
            }
        }
        for (metric, sum) in ["hr@5", "hr@50", "ndcg@5", "mrr"].into_iter().zip(sums) {
            let found = value(&evaluation, condition, metric);
            assert!(
                (found - sum).abs() < 1e-12,
                "{condition} {metric}: {found}, expected {sum}"
            );
        }
        // A beam as wide as the catalogue misses nothing.
        assert_eq!(
            value(&evaluation, condition, "beam_mrr"),
            value(&evaluation, condition, "mrr")
        );
    }
    assert_eq!(evaluation.report.baselines[0].0, "popularity");
    assert!(
        evaluation
            .report
            .gain("e2p_vs_popularity", "hr@10")
            .is_some()
    );
    let shown = &evaluation.extras.samples[0].1[0].1;
    assert!(
        shown
            .split(" · ")
            .all(|name| items.iter().any(|item| item.text == name)),
        "{shown}"
    );
}

#[test]
fn popularity_and_the_factorization_are_baselines_of_the_same_ranking() {
    let dir = tempfile::tempdir().unwrap();
    let songs = songs();
    let (run, inputs) = songs.run(dir.path(), &[]);
    // Item vectors that know the answer: the gold of user n is item n + 4.
    let als = dir.path().join("als.safetensors");
    let one_hot = |at: usize| -> Vec<f32> {
        (0..10)
            .map(|other| f32::from(u8::from(other == at)))
            .collect()
    };
    let ids: Vec<&str> = songs.users.iter().map(|user| user.user.as_str()).collect();
    UserEmbeddings::write(
        &als,
        &ids,
        (0..12).map(|user| one_hot((user + 4) % 10)),
        &[],
    )
    .unwrap();
    let ids: Vec<&str> = songs.items.iter().map(|item| item.item.as_str()).collect();
    UserEmbeddings::write(
        als.with_extension("items.safetensors"),
        &ids,
        (0..10).map(one_hot),
        &[],
    )
    .unwrap();
    let options = EvalOptions {
        conditions: vec![Condition::E2p],
        als: Some(als),
        beam: 0,
        ..quick()
    };
    let evaluation = evaluated(&run, &inputs, &options);
    let baseline = |name: &str, metric: &str| {
        let (_, metrics) = evaluation
            .report
            .baselines
            .iter()
            .find(|(found, _)| found == name)
            .unwrap();
        metrics
            .iter()
            .find(|(found, _)| found == metric)
            .unwrap()
            .1
            .value
    };
    assert_eq!(
        (baseline("als", "hr@5"), baseline("als", "mrr")),
        (1.0, 1.0)
    );
    // By hand: how often each item is in a history, ties against the gold, chosen items left out.
    let mut popularity = [0; 10];
    for user in 0..12 {
        for step in [0, 3, 5] {
            popularity[(user + step) % 10] += 1;
        }
    }
    let rank = |user: usize| {
        let gold = (user + 4) % 10;
        let before = (0..10).filter(|item| {
            let seen = [0, 3, 5].iter().any(|step| (user + step) % 10 == *item);
            *item != gold && !seen && popularity[*item] >= popularity[gold]
        });
        1 + before.count()
    };
    let mrr = (0..12).map(|user| reciprocal_rank(rank(user))).sum::<f64>() / 12.0;
    assert!((baseline("popularity", "mrr") - mrr).abs() < 1e-12);
    assert!(
        !names(&evaluation, "e2p")
            .iter()
            .any(|name| name.starts_with("beam"))
    );
}
