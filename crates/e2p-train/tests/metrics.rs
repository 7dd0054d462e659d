//! Metrics against the output of their reference implementations.
#![allow(clippy::unwrap_used)]

use e2p_train::metrics::{
    BLEU_SIGNATURE, BleuStatistics, LabelCounts, Rouge, distinct, f1, hit_rate, lamp_rating,
    macro_f1, ndcg, reciprocal_rank, rouge_google, rouge_package,
};
use serde_json::Value;

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/metrics.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Calls `check` with answer, reference and the case.
fn each(check: impl Fn(&str, &str, &Value)) {
    let golden = golden();
    let cases = golden["cases"].as_array().unwrap();
    assert!(cases.len() > 70);
    for case in cases {
        check(
            case["answer"].as_str().unwrap(),
            case["reference"].as_str().unwrap(),
            case,
        );
    }
}

#[track_caller]
fn assert_close(found: f64, expected: &Value, what: &str) {
    let expected = expected.as_f64().unwrap();
    assert!(
        (found - expected).abs() < 1e-9,
        "{what}: {found}, expected {expected}"
    );
}

#[track_caller]
fn assert_rouge(found: Rouge, expected: &Value, what: &str) {
    for (found, expected) in [found.rouge_1, found.rouge_2, found.rouge_l]
        .into_iter()
        .zip(expected.as_array().unwrap())
    {
        assert_close(found, expected, what);
    }
}

#[test]
fn f1_is_parlais() {
    each(|answer, reference, case| {
        assert_close(
            f1(answer, reference),
            &case["f1"],
            &format!("{answer:?} and {reference:?}"),
        );
    });
}

#[test]
fn rouge_is_googles_and_that_of_the_package_rouge() {
    each(|answer, reference, case| {
        let what = format!("{answer:?} and {reference:?}");
        assert_rouge(rouge_google(answer, reference), &case["google"], &what);
        if !case["package"].is_null() {
            assert_rouge(rouge_package(answer, reference), &case["package"], &what);
        }
    });
}

#[test]
fn bleu_is_sacrebleus_for_sentences_and_for_a_corpus() {
    each(|answer, reference, case| {
        let found = BleuStatistics::of(answer, reference).score();
        assert_close(
            found,
            &case["bleu"],
            &format!("{answer:?} and {reference:?}"),
        );
    });
    let golden = golden();
    let mut all = BleuStatistics::default();
    for case in golden["cases"].as_array().unwrap() {
        all += BleuStatistics::of(
            case["answer"].as_str().unwrap(),
            case["reference"].as_str().unwrap(),
        );
    }
    assert_close(all.score(), &golden["corpus_bleu"], "corpus");
}

#[test]
fn the_signature_is_the_one_that_sacrebleu_prints() {
    let printed = golden()["bleu_signature"].as_str().unwrap().to_owned();
    let without_version = printed.rsplit_once("|version:").unwrap().0;
    assert_eq!(without_version, BLEU_SIGNATURE);
}

#[test]
fn distinct_is_parlais_inter_distinct() {
    let golden = golden();
    let answers: Vec<&str> = golden["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["answer"].as_str().unwrap())
        .collect();
    for n in [1, 2] {
        let found = distinct(answers.iter().copied(), n);
        assert_close(found, &golden["distinct"][n - 1], &format!("distinct-{n}"));
    }
}

fn numbers(value: &Value) -> Vec<usize> {
    let all = value.as_array().unwrap().iter();
    all.map(|number| number.as_u64().unwrap() as usize)
        .collect()
}

#[test]
fn accuracy_and_macro_f1_are_sklearns() {
    let golden = &golden()["labels"];
    let (truth, predicted) = (numbers(&golden["truth"]), numbers(&golden["predicted"]));
    let mut labels = vec![LabelCounts::default(); golden["n_labels"].as_u64().unwrap() as usize];
    for (truth, predicted) in truth.iter().zip(&predicted) {
        if truth == predicted {
            labels[*truth].hits += 1;
        } else {
            labels[*truth].missed += 1;
            labels[*predicted].wrong += 1;
        }
    }
    assert_close(macro_f1(&labels), &golden["macro_f1"], "macro-F1");
    let hits: u64 = labels.iter().map(|label| label.hits).sum();
    assert_close(
        hits as f64 / truth.len() as f64,
        &golden["accuracy"],
        "accuracy",
    );
}

#[test]
fn ratings_are_read_as_lamp_reads_them_and_their_errors_are_sklearns() {
    let golden = &golden()["ratings"];
    let (mut absolute, mut square) = (0.0, 0.0);
    let answers = golden["answers"].as_array().unwrap();
    for (index, answer) in answers.iter().enumerate() {
        let truth: f64 = golden["truth"][index].as_str().unwrap().parse().unwrap();
        let found = lamp_rating(answer.as_str().unwrap(), truth);
        assert_close(found, &golden["numbers"][index], &answer.to_string());
        absolute += (found - truth).abs();
        square += (found - truth).powi(2);
    }
    let n = answers.len() as f64;
    assert_close(absolute / n, &golden["mae"], "MAE");
    assert_close((square / n).sqrt(), &golden["rmse"], "RMSE");
}

#[test]
fn figures_of_a_rank_are_sklearns() {
    let golden = golden();
    for case in golden["rankings"].as_array().unwrap() {
        let (rank, k) = (
            case["rank"].as_u64().unwrap() as usize,
            case["k"].as_u64().unwrap() as usize,
        );
        let what = format!("rank {rank} of {k}");
        assert_close(ndcg(rank, k), &case["ndcg"], &what);
        assert_close(hit_rate(rank, k), &case["hit"], &what);
        assert_close(reciprocal_rank(rank), &case["reciprocal"], &what);
    }
}
