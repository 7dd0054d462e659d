//! Evaluations of hand-written data, against what can be computed by hand.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{Small, Written, example, open, user};
use e2p_data::{ItemRecord, Split, UserEmbeddings, UserRecord};
use e2p_prefix::Adapter;
use e2p_train::burn::tensor::{DType, Device};
use e2p_train::metrics::{hit_rate, lamp_rating, ndcg, reciprocal_rank};
use e2p_train::{
    Condition, EarlierStore, EvalOptions, Evaluation, ExampleEncoder, Inputs, ProfileText, RunDir,
    Silent, Start, UserTable, evaluate, open_run, row_nlls, train,
};

fn quick() -> EvalOptions {
    EvalOptions {
        max_new_tokens: 6,
        resamples: 50,
        ..EvalOptions::default()
    }
}

fn evaluated(run: &Path, inputs: &Inputs, options: &EvalOptions) -> Evaluation {
    evaluate(run, inputs, options, |_| true).unwrap()
}

/// Names of the metrics of a condition.
fn names(evaluation: &Evaluation, condition: &str) -> Vec<String> {
    let all = &evaluation.report.conditions;
    let (_, metrics) = all.iter().find(|(name, _)| name == condition).unwrap();
    metrics.iter().map(|(name, _)| name.clone()).collect()
}

fn value(evaluation: &Evaluation, condition: &str, metric: &str) -> f64 {
    evaluation
        .report
        .condition(condition, metric)
        .unwrap()
        .value
}

/// Users in pairs of train and test, with three examples each.
fn of_task(task: &'static str, rows: &[(&str, &str, &[&str])]) -> Written {
    let ids: Vec<String> = (0..6).map(|user| format!("u{user}")).collect();
    let mut examples = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        let split = if number % 2 == 0 {
            Split::Train
        } else {
            Split::Test
        };
        for step in 0..3 {
            let (prompt, target, candidates) = rows[(number + step) % rows.len()];
            examples.push((split, example(id, prompt, target, candidates)));
        }
    }
    Written {
        task,
        users: ids
            .iter()
            .map(|id| user(id, &["I like tea.", "I am a nurse."]))
            .collect(),
        examples,
        items: Vec::new(),
    }
}

const LANGUAGE_MODEL: [&str; 3] = ["nll", "ppl", "bits_per_byte"];

#[test]
fn headlines_are_judged_by_rouge_in_both_conventions() {
    let dir = tempfile::tempdir().unwrap();
    let pens = of_task(
        "pens",
        &[
            (
                "Write a headline: the storm came at night and took the roof.",
                "Storm takes roof",
                &[],
            ),
            (
                "Write a headline: the team won the cup.",
                "A cup for the team",
                &[],
            ),
        ],
    );
    let (run, inputs) = pens.run(dir.path(), &[]);
    let evaluation = evaluated(&run, &inputs, &quick());
    let rouge = [
        "rouge_1",
        "rouge_2",
        "rouge_l",
        "rouge_1_package",
        "rouge_2_package",
        "rouge_l_package",
    ];
    let expected: Vec<&str> = LANGUAGE_MODEL
        .into_iter()
        .chain(["f1", "bleu"])
        .chain(rouge)
        .chain(["distinct_1", "distinct_2"])
        .collect();
    assert_eq!(names(&evaluation, "e2p"), expected);
    assert!(evaluation.report.gain("e2p_vs_shuffled", "bleu").is_some());
    assert!(
        evaluation.report.gain("e2p_vs_none", "ppl").is_none(),
        "a difference of exponentials is no gain"
    );
    evaluation.write(dir.path()).unwrap();
    let page = std::fs::read_to_string(dir.path().join("report.html")).unwrap();
    assert!(page.contains("smooth:exp"), "the BLEU signature is named");
}

#[test]
fn labels_are_judged_by_accuracy_and_macro_f1_which_may_be_counted_by_hand() {
    let dir = tempfile::tempdir().unwrap();
    let tags: &[&str] = &["comedy", "drama", "war"];
    let lamp = of_task(
        "lamp-2",
        &[
            ("Which tag? A clown falls.", "comedy", tags),
            ("Which tag? A soldier falls.", "war", tags),
            ("Which tag? A king falls.", "war", tags),
        ],
    );
    let (run, inputs) = lamp.run(dir.path(), &[]);
    let evaluation = evaluated(&run, &inputs, &quick());
    let metrics = [
        "accuracy",
        "macro_f1",
        "accuracy_per_token",
        "macro_f1_per_token",
    ];
    assert_eq!(
        names(&evaluation, "none"),
        [&LANGUAGE_MODEL[..], &metrics].concat()
    );

    // By hand: the log-likelihood of each tag, one at a time.
    let recipe = RunDir::recipe(&run).unwrap();
    let encoder = ExampleEncoder::new(
        &inputs.tokenizer,
        inputs.decoder.config(),
        &recipe.prompt,
        1,
    );
    let (mut right, mut counts) = (0, [[0; 3]; 3]);
    for example in inputs.data.examples(Split::Test).unwrap() {
        let example = example.unwrap();
        let target_len = encoder
            .target(&example, &example.target)
            .unwrap()
            .unwrap()
            .len();
        let prompt = encoder
            .prompt(&example, ProfileText::Without, target_len)
            .unwrap();
        let rows: Vec<_> = tags
            .iter()
            .map(|tag| prompt.plain(&encoder.target(&example, tag).unwrap().unwrap()))
            .collect();
        let nll = row_nlls(
            &inputs.decoder,
            &rows,
            1,
            &mut EarlierStore::new(0),
            |_| None,
            |_| true,
        )
        .unwrap();
        let best = (0..3)
            .min_by(|a, b| nll[*a].0.total_cmp(&nll[*b].0))
            .unwrap();
        let truth = tags.iter().position(|tag| *tag == example.target).unwrap();
        right += usize::from(best == truth);
        counts[truth][best] += 1;
    }
    let f1: f64 = (0..3)
        .map(|label| {
            let hits = counts[label][label];
            let all: i32 = (0..3)
                .map(|other| counts[label][other] + counts[other][label])
                .sum();
            2.0 * f64::from(hits) / f64::from(all.max(1))
        })
        .sum();
    assert!((value(&evaluation, "none", "accuracy") - right as f64 / 9.0).abs() < 1e-12);
    assert!(
        (value(&evaluation, "none", "macro_f1") - f1 / 3.0).abs() < 1e-12,
        "{counts:?}"
    );
}

#[test]
fn stars_are_judged_by_their_distance_and_what_is_no_number_by_the_farther_end() {
    let dir = tempfile::tempdir().unwrap();
    let lamp = of_task(
        "lamp-3",
        &[
            ("Stars for: nice.", "5", &[]),
            ("Stars for: bad.", "1", &[]),
            ("Stars for: so so.", "3", &[]),
        ],
    );
    let (run, inputs) = lamp.run(dir.path(), &[]);
    let evaluation = evaluated(&run, &inputs, &quick());
    assert_eq!(
        names(&evaluation, "e2p"),
        [&LANGUAGE_MODEL[..], &["mae", "rmse"]].concat()
    );
    // The backbone has read nothing and writes no number: every answer counts as the farther end.
    let truths = [1.0, 3.0, 5.0];
    let errors = truths.map(|truth: f64| (lamp_rating("no number", truth) - truth).abs());
    let mae = errors.iter().sum::<f64>() / 3.0;
    let rmse = (errors.iter().map(|error| error * error).sum::<f64>() / 3.0).sqrt();
    assert!((value(&evaluation, "none", "mae") - mae).abs() < 1e-12);
    assert!((value(&evaluation, "none", "rmse") - rmse).abs() < 1e-12);
}

#[test]
fn each_task_has_its_own_metrics() {
    let dir = tempfile::tempdir().unwrap();
    let options: &[&str] = &["red", "green"];
    let google = ["rouge_1", "rouge_2", "rouge_l"];
    let choice = ["hits@1", "mrr", "hits@1_per_token", "mrr_per_token"];
    let overlap = [
        "f1",
        "bleu",
        "rouge_1",
        "rouge_2",
        "rouge_l",
        "distinct_1",
        "distinct_2",
    ];
    let cases: [(&'static str, &[(&str, &str, &[&str])], Vec<&str>); 4] = [
        (
            "lamp-4",
            &[("Title of: a dog.", "Dog", &[])],
            google.to_vec(),
        ),
        // LaMP-1 without candidates: the answer itself is compared.
        (
            "lamp-1",
            &[("Which one? [1] or [2]", "[1]", &[])],
            vec!["accuracy", "macro_f1"],
        ),
        (
            "personachat",
            &[
                ("hi .", "hello .", &["bye .", "hello ."]),
                ("bye .", "see you .", &["no .", "see you ."]),
            ],
            [&choice[..], &overlap].concat(),
        ),
        (
            "jsonl",
            &[
                ("Colour?", "red", options),
                ("Number?", "one", &["one", "two", "three"]),
            ],
            [
                &["accuracy", "mrr", "accuracy_per_token", "mrr_per_token"][..],
                &overlap,
            ]
            .concat(),
        ),
    ];
    for (task, rows, expected) in cases {
        let (run, inputs) = of_task(task, rows).run(dir.path(), &[]);
        let evaluation = evaluated(&run, &inputs, &quick());
        assert_eq!(
            names(&evaluation, "e2p"),
            [&LANGUAGE_MODEL[..], &expected].concat(),
            "{task}"
        );
    }
}

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
    );
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
                    &mut EarlierStore::new(0),
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

#[test]
fn a_projector_that_ignores_its_input_is_reported_as_no_personal_gain() {
    let dir = tempfile::tempdir().unwrap();
    // Output weights of zero and steps too small to be seen beside the bias: a constant prefix, whoever asks.
    let recipe = Small::tiny().write(
        dir.path(),
        &[
            "projector.output_gain=1e-30",
            "optim.lr=1e-30",
            "optim.warmup_steps=0",
            "train.max_steps=2",
        ],
    );
    let inputs = open(&recipe);
    let run = dir.path().join("run");
    train(&recipe, &inputs, &run, Start::Fresh, &mut Silent).unwrap();
    let evaluation = evaluated(&run, &inputs, &quick());
    let gain = evaluation.report.gain("e2p_vs_shuffled", "nll").unwrap();
    assert_eq!((gain.value, gain.low, gain.high), (0.0, 0.0, 0.0));
    let headline = evaluation.headline().unwrap();
    assert!(headline.contains("no personal gain is shown"), "{headline}");
    let users = &evaluation.report.user_gains[0];
    assert_eq!(
        (users.helped, users.hurt, users.unchanged),
        (0, 0, evaluation.report.n_users)
    );
    // The gain over the bare backbone is no evidence: a constant prefix may have one.
    assert!(
        evaluation
            .report
            .gain("e2p_vs_none", "nll")
            .unwrap()
            .value
            .abs()
            > 1e-4
    );
}

#[test]
fn drift_is_a_curve_and_another_space_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let recipe = Small::tiny().write(dir.path(), &["train.max_steps=3", "optim.lr=0.1"]);
    let inputs = open(&recipe);
    let run = dir.path().join("run");
    train(&recipe, &inputs, &run, Start::Fresh, &mut Silent).unwrap();
    let options = EvalOptions {
        embedding_noise: vec![0.0, 0.5, 4.0],
        conditions: vec![Condition::None, Condition::E2p],
        generate: 0,
        ..quick()
    };
    let report = evaluated(&run, &inputs, &options).report;
    let levels: Vec<f32> = report.drift.iter().map(|point| point.noise).collect();
    assert_eq!(levels, [0.0, 0.5, 4.0]);
    assert_eq!(Some(report.drift[0].nll), report.condition("e2p", "nll"));
    assert_eq!(
        report.drift[0].e2p_vs_none,
        report.gain("e2p_vs_none", "nll")
    );
    assert!(report.drift[0].e2p_vs_shuffled.is_none(), "not evaluated");
    assert_ne!(report.drift[1].nll, report.drift[2].nll);
    let wrong = EvalOptions {
        embedding_noise: vec![0.0, -1.0],
        ..options.clone()
    };
    let refused = evaluate(&run, &inputs, &wrong, |_| true)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("-1"), "{refused}");

    // The same numbers under another name.
    for name in ["safetensors", "ids.txt"] {
        std::fs::copy(
            dir.path().join(format!("users.{name}")),
            dir.path().join(format!("v2.{name}")),
        )
        .unwrap();
    }
    let other = dir.path().join("v2.safetensors");
    let backbone = Path::new(&recipe.backbone);
    let dtype = DType::F32;
    let inputs = open_run(&run, backbone, Some(&other), dtype, &Device::default()).unwrap();
    let refused = evaluate(&run, &inputs, &options, |_| true)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("v2.safetensors") && refused.contains("--space users"),
        "{refused}"
    );
    let said = EvalOptions {
        space: Some("users".into()),
        ..options
    };
    assert_eq!(
        evaluated(&run, &inputs, &said).report.conditions,
        report.conditions
    );
}
