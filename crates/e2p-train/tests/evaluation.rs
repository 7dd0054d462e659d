//! Evaluations of hand-written data, against what can be computed by hand.
#![allow(clippy::unwrap_used)]

mod common;

use std::error::Error as _;
use std::path::Path;

use common::evaluation::{evaluated, names, of_task, quick, value};
use common::{Small, open};
use e2p_data::{Message, Prompt, Split, UserEmbeddings};
use e2p_model::LoadOptions;
use e2p_prefix::{Adapter, PrefillCache};
use e2p_train::burn::tensor::{Device, Tensor, TensorData};
use e2p_train::metrics::lamp_rating;
use e2p_train::{
    Condition, EvalOptions, ExampleEncoder, ProfileText, RunDir, Silent, Start, evaluate, open_run,
    row_nlls, train,
};

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
    )
    .unwrap();
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
            &mut PrefillCache::new(0),
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

#[test]
fn in_a_chat_candidates_are_also_ranked_by_what_dialogue_and_user_add() {
    let dir = tempfile::tempdir().unwrap();
    let replies: &[&str] = &[
        "hello .",
        "see you .",
        "a nurse .",
        "tea ?",
        "no .",
        "i see .",
        "what ?",
        "oh dear !",
        "ha ha .",
        "you too .",
    ];
    let mut chats = of_task(
        "personachat",
        &[
            ("hi .", "hello .", replies),
            ("bye .", "see you .", replies),
            ("what do you do ?", "a nurse .", replies),
        ],
    );
    let turn = |text: &str| {
        Prompt::Chat(vec![Message {
            role: "user".into(),
            content: text.into(),
        }])
    };
    for (_, example) in &mut chats.examples {
        if let Prompt::Text(text) = &example.prompt {
            example.prompt = turn(text);
        }
    }
    // Trained until the soft tokens make a difference.
    let (run, inputs) = chats.run(dir.path(), &["train.max_steps=60", "train.epochs=60"]);
    let evaluation = evaluated(&run, &inputs, &quick());

    // By hand, each reply a whole row: its likelihood for the user and the dialogue minus that for
    // the mean user and an empty turn.
    let recipe = RunDir::recipe(&run).unwrap();
    let encoder = ExampleEncoder::new(
        &inputs.tokenizer,
        inputs.decoder.config(),
        &recipe.prompt,
        1,
    )
    .unwrap();
    let adapter = Adapter::load(&run.join("adapter"), inputs.decoder.device()).unwrap();
    let space = &adapter.config.embedding_space;
    let embeddings = inputs.embeddings.as_ref().unwrap();
    let mut reciprocal = [0.0; 5];
    for example in inputs.data.examples(Split::Test).unwrap() {
        let example = example.unwrap();
        let gold = replies.iter().position(|r| *r == example.target).unwrap();
        let likelihoods = |prompt: Prompt, embedding: Option<Vec<f32>>| -> Vec<f64> {
            let example = e2p_data::Example {
                prompt,
                ..example.clone()
            };
            let prompt = encoder.prompt(&example, ProfileText::Without, 20).unwrap();
            let targets: Vec<_> = replies
                .iter()
                .map(|reply| encoder.target(&example, reply).unwrap().unwrap())
                .collect();
            let rows: Vec<_> = targets
                .iter()
                .map(|target| match embedding {
                    Some(_) => prompt.spliced(target),
                    None => prompt.plain(target),
                })
                .collect();
            let prefix = |rows: &[usize]| {
                let embedding = embedding.as_ref()?;
                let data =
                    TensorData::new(embedding.repeat(rows.len()), [rows.len(), embedding.len()]);
                Some(
                    adapter
                        .projector
                        .forward(Tensor::from_data(data, inputs.decoder.device())),
                )
            };
            row_nlls(
                &inputs.decoder,
                &rows,
                4,
                &mut PrefillCache::new(0),
                prefix,
                |_| true,
            )
            .unwrap()
            .into_iter()
            .map(|(nll, _)| -nll)
            .collect()
        };
        let raw = embeddings.get(&example.user).unwrap();
        let own: Vec<f32> = raw
            .iter()
            .zip(&space.mean)
            .zip(&space.std)
            .map(|((value, mean), std)| (value - mean) / std)
            .collect();
        let mean = vec![0.0; own.len()];
        let of_rank = |scores: &[f64]| {
            1.0 / scores
                .iter()
                .filter(|score| **score >= scores[gold])
                .count() as f64
        };
        let less = |a: Vec<f64>, b: Vec<f64>| -> Vec<f64> {
            a.iter().zip(&b).map(|(a, b)| a - b).collect()
        };
        let asked = example.prompt.clone();
        let none = likelihoods(asked.clone(), None);
        reciprocal[0] += of_rank(&none);
        let by_dialogue = less(none, likelihoods(turn(""), None));
        reciprocal[1] += of_rank(&by_dialogue);
        let own = likelihoods(asked.clone(), Some(own));
        reciprocal[2] += of_rank(&less(
            own.clone(),
            likelihoods(turn(""), Some(mean.clone())),
        ));
        let by_user = less(own, likelihoods(asked, Some(mean)));
        let by_both: Vec<f64> = by_user
            .iter()
            .zip(&by_dialogue)
            .map(|(a, b)| a + b)
            .collect();
        reciprocal[3] += of_rank(&by_both);
        // The bare backbone has nobody beside nobody.
        reciprocal[4] += of_rank(&by_dialogue);
    }
    let found = [
        value(&evaluation, "none", "mrr"),
        value(&evaluation, "none", "mrr_pmi"),
        value(&evaluation, "e2p", "mrr_pmi"),
        value(&evaluation, "e2p", "mrr_user_pmi"),
        value(&evaluation, "none", "mrr_user_pmi"),
    ];
    for (found, sum) in found.into_iter().zip(reciprocal) {
        assert!((found - sum / 9.0).abs() < 1e-12, "{found}: {reciprocal:?}");
    }
    assert!(names(&evaluation, "e2p").contains(&"hits@1_pmi".to_owned()));
}

#[test]
fn a_projector_that_ignores_its_input_is_reported_as_no_personal_gain() {
    let dir = tempfile::tempdir().unwrap();
    // Output weights of zero and steps too small to be seen beside the bias: a constant prefix,
    // whoever asks.
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

    // The same numbers in a file that does not say of which space they are.
    let known = inputs.embeddings.as_ref().unwrap();
    let ids: Vec<&str> = known.ids().collect();
    let rows: Vec<Vec<f32>> = (0..known.len())
        .map(|row| known.row(row).unwrap().to_vec())
        .collect();
    let other = dir.path().join("v2.safetensors");
    UserEmbeddings::write(&other, &ids, rows, &[]).unwrap();
    let backbone = Path::new(&recipe.backbone);
    let options_of_weights = LoadOptions::default();
    let inputs = open_run(
        &run,
        backbone,
        Some(&other),
        &options_of_weights,
        &Device::default(),
    )
    .unwrap();
    let refused = evaluate(&run, &inputs, &options, |_| true).unwrap_err();
    let because = refused.source().unwrap().to_string();
    assert!(refused.to_string().contains("v2.safetensors"), "{refused}");
    assert!(
        because.contains("`synthetic-v1`") && because.contains("`v2`"),
        "{because}"
    );
    let said = EvalOptions {
        space: Some("synthetic-v1".into()),
        ..options
    };
    assert_eq!(
        evaluated(&run, &inputs, &said).report.conditions,
        report.conditions
    );
}
