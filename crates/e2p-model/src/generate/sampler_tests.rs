//! Tests of the samplers: distributions, filters, seeds.

use proptest::prelude::*;

use super::*;

fn sampler(config: SamplingConfig) -> Sampler {
    Sampler::new(config, &[]).expect("valid")
}

fn sampled(temperature: f32) -> SamplingConfig {
    SamplingConfig {
        temperature,
        ..SamplingConfig::default()
    }
}

/// Ids still possible after the filters.
fn survivors(logits: &[f32], filter: impl Fn(&mut Candidates)) -> Vec<u32> {
    let mut candidates = Candidates::new(logits, 1.0);
    filter(&mut candidates);
    let mut ids: Vec<u32> = candidates.sorted.iter().map(|(_, id)| *id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn greedy_takes_the_first_of_equal_maxima() {
    assert_eq!(
        sampler(sampled(0.0))
            .sample(&mut [1.0, 3.0, 3.0, 2.0])
            .expect("finite"),
        1
    );
}

#[test]
fn penalty_divides_positive_and_multiplies_negative_logits_once() {
    let mut logits = [2.0, -2.0, 1.5, 0.0];
    // Duplicates in the prompt count once.
    let mut sampler = Sampler::new(
        SamplingConfig {
            repetition_penalty: 2.0,
            ..sampled(0.0)
        },
        &[0, 1, 1, 0],
    )
    .expect("valid");
    assert_eq!(sampler.sample(&mut logits).expect("finite"), 2);
    assert_eq!(logits, [1.0, -4.0, 1.5, 0.0]);
    // The drawn token is penalised from now on.
    assert_eq!(
        sampler.sample(&mut [2.0, -2.0, 1.5, 0.8]).expect("finite"),
        0
    );
}

#[test]
fn top_k_keeps_ties_at_the_border() {
    assert_eq!(
        survivors(&[1.0, 5.0, 3.0, 3.0], |c| c.keep_top_k(2)),
        [1, 2, 3]
    );
    assert_eq!(survivors(&[1.0, 5.0, 3.0], |c| c.keep_top_k(10)), [0, 1, 2]);
}

#[test]
fn top_p_keeps_the_smallest_set_that_reaches_p() {
    let logits: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
    assert_eq!(survivors(&logits, |c| c.keep_top_p(0.1)), [0]);
    assert_eq!(survivors(&logits, |c| c.keep_top_p(0.6)), [0, 1]);
    assert_eq!(survivors(&logits, |c| c.keep_top_p(0.9)), [0, 1, 2]);
    assert_eq!(survivors(&logits, |c| c.keep_top_p(1.0)), [0, 1, 2, 3]);
}

#[test]
fn min_p_is_relative_to_the_most_probable() {
    let logits: Vec<f32> = [0.5f32, 0.3, 0.15, 0.05].iter().map(|p| p.ln()).collect();
    assert_eq!(survivors(&logits, |c| c.keep_min_p(0.4)), [0, 1]);
}

#[test]
fn frequencies_follow_the_probabilities() {
    let probabilities = [0.6f32, 0.3, 0.1];
    let mut sampler = sampler(SamplingConfig {
        seed: 7,
        ..sampled(1.0)
    });
    let mut counts = [0usize; 3];
    for _ in 0..20_000 {
        let mut logits = probabilities.map(f32::ln);
        counts[sampler.sample(&mut logits).expect("finite") as usize] += 1;
    }
    for (count, p) in counts.iter().zip(probabilities) {
        // Four standard deviations of a binomial with n = 20,000.
        let tolerance = 4.0 * (f64::from(p) * f64::from(1.0 - p) / 20_000.0).sqrt();
        assert!(
            (*count as f64 / 20_000.0 - f64::from(p)).abs() < tolerance,
            "{counts:?}"
        );
    }
}

#[test]
fn streams_of_one_seed_differ_and_repeat() {
    let draw = |stream| {
        let mut sampler = sampler(SamplingConfig {
            seed: 3,
            stream,
            ..sampled(1.0)
        });
        (0..16)
            .map(|_| sampler.sample(&mut [0.0; 50]).expect("finite"))
            .collect::<Vec<_>>()
    };
    assert_eq!(draw(0), draw(0));
    assert_ne!(draw(0), draw(1));
}

#[test]
fn not_a_number_is_an_error() {
    assert!(sampler(sampled(0.0)).sample(&mut [0.0, f32::NAN]).is_err());
    assert!(
        sampler(sampled(1.0))
            .sample(&mut [f32::NEG_INFINITY; 3])
            .is_err()
    );
}

#[test]
fn values_out_of_range_are_named() {
    let bad = [
        SamplingConfig {
            temperature: -1.0,
            ..SamplingConfig::default()
        },
        SamplingConfig {
            top_k: Some(0),
            ..SamplingConfig::default()
        },
        SamplingConfig {
            top_p: Some(0.0),
            ..SamplingConfig::default()
        },
        SamplingConfig {
            min_p: Some(1.5),
            ..SamplingConfig::default()
        },
        SamplingConfig {
            repetition_penalty: 0.0,
            ..SamplingConfig::default()
        },
    ];
    let names = [
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "repetition_penalty",
    ];
    for (config, name) in bad.into_iter().zip(names) {
        let message = Sampler::new(config, &[])
            .expect_err("out of range")
            .to_string();
        assert!(message.contains(name), "{message}");
    }
}

proptest! {
    #[test]
    fn a_drawn_token_passes_every_filter(
        logits in prop::collection::vec(-20f32..20.0, 1..40),
        temperature in 0.05f32..3.0,
        k in 1usize..50,
        p in 0.01f32..=1.0,
        min_p in 0f32..=1.0,
        seed: u64,
    ) {
        let config = SamplingConfig {
            temperature, top_k: Some(k), top_p: Some(p), min_p: Some(min_p), seed, ..SamplingConfig::default()
        };
        let id = sampler(config).sample(&mut logits.clone()).expect("finite") as usize;
        let larger = logits.iter().filter(|logit| **logit > logits[id]).count();
        prop_assert!(larger < k, "{larger} logits are larger, top_k = {k}");
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let ratio = ((logits[id] - best) / temperature).exp();
        prop_assert!(ratio >= min_p * 0.999, "ratio {ratio}, min_p {min_p}");
    }

    #[test]
    fn top_k_of_one_is_greedy(logits in prop::collection::vec(-20f32..20.0, 1..40), seed: u64) {
        let best = argmax(&logits) as usize;
        let config = SamplingConfig { temperature: 1.0, top_k: Some(1), seed, ..SamplingConfig::default() };
        let id = sampler(config).sample(&mut logits.clone()).expect("finite") as usize;
        prop_assert_eq!(logits[id].to_bits(), logits[best].to_bits());
    }

    #[test]
    fn the_largest_logit_is_never_filtered(logits in prop::collection::vec(-20f32..20.0, 1..40), p in 0.001f32..1.0) {
        let kept = survivors(&logits, |c| { c.keep_top_p(p); c.keep_min_p(1.0); });
        prop_assert!(kept.contains(&argmax(&logits)));
    }
}
