//! Text metrics against the output of their reference implementations.
#![allow(clippy::unwrap_used)]

use e2p_train::metrics::{BleuStatistics, Rouge, f1, rouge_google, rouge_pens};
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
fn rouge_is_googles_and_that_of_the_pens_script() {
    each(|answer, reference, case| {
        let what = format!("{answer:?} and {reference:?}");
        assert_rouge(rouge_google(answer, reference), &case["google"], &what);
        if !case["pens"].is_null() {
            assert_rouge(rouge_pens(answer, reference), &case["pens"], &what);
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
