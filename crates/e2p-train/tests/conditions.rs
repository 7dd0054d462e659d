//! What the conditions of an evaluation read, and what each of them needs.
#![allow(clippy::unwrap_used)]

mod common;

use common::evaluation::{evaluated, of_task, quick, value};
use common::{Small, open};
use e2p_data::Split;
use e2p_prefix::PrefillCache;
use e2p_train::{
    Condition, EvalOptions, Evaluation, ExampleEncoder, ProfileText, RunDir, Silent, Start,
    evaluate, row_nlls, train,
};

#[test]
fn a_run_beside_the_profile_text_leaves_the_bare_backbone_bare() {
    let dir = tempfile::tempdir().unwrap();
    let settings = ["train.max_steps=3", "optim.lr=0.1"];
    let run = |name: &str, more: &[&str]| {
        let recipe = Small::tiny().write(dir.path(), &[&settings, more].concat());
        let inputs = open(&recipe);
        let run = dir.path().join(name);
        train(&recipe, &inputs, &run, Start::Fresh, &mut Silent).unwrap();
        (run, inputs)
    };
    let (plain, inputs) = run("plain", &[]);
    let without = evaluated(&plain, &inputs, &quick());
    let (beside, inputs) = run("beside", &["prompt.profile=true"]);
    let with = evaluated(&beside, &inputs, &quick());
    for condition in ["none", "text"] {
        assert_eq!(
            value(&with, condition, "nll"),
            value(&without, condition, "nll")
        );
    }
    assert_ne!(value(&with, "none", "nll"), value(&with, "text", "nll"));
    let tokens = |evaluation: &Evaluation, condition: &str| {
        evaluation.report.cost[condition]["prompt_tokens"].clone()
    };
    assert_eq!(tokens(&with, "e2p"), tokens(&without, "text+e2p"));
    assert!(
        with.report.condition("text+e2p", "nll").is_none(),
        "the same as e2p"
    );
    let options = EvalOptions {
        conditions: vec![Condition::TextE2p],
        ..quick()
    };
    let refused = evaluate(&beside, &inputs, &options, |_| true)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("text+e2p") && refused.contains("prompt.profile"),
        "{refused}"
    );

    // One user has no other.
    let options = EvalOptions {
        limit: 1,
        ..quick()
    };
    let alone = evaluated(&beside, &inputs, &options);
    assert!(
        alone.report.condition("e2p_shuffled", "nll").is_none()
            && alone.report.condition("e2p", "nll").is_some()
    );
    let options = EvalOptions {
        conditions: vec![Condition::E2pShuffled],
        ..options
    };
    let refused = evaluate(&beside, &inputs, &options, |_| true)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("e2p_shuffled") && refused.contains("two users"),
        "{refused}"
    );
}

#[test]
fn text_shuffled_is_the_profile_of_the_other_user_and_needs_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut pens = of_task("pens", &[("Write a headline: rain.", "Rain again", &[])]);
    for user in &mut pens.users {
        user.profile = vec![format!("I am {}.", user.user), "I like tea.".into()];
    }
    // Two evaluated users, so each is the other's stranger; one has fewer examples, so that
    // swapping the profiles shows.
    let mut of_u3 = 0;
    pens.examples.retain(|(split, example)| {
        of_u3 += usize::from(example.user == "u3");
        *split == Split::Train || example.user == "u1" || (example.user == "u3" && of_u3 == 1)
    });
    let (run, inputs) = pens.run(dir.path(), &[]);
    let evaluation = evaluated(&run, &inputs, &quick());

    let recipe = RunDir::recipe(&run).unwrap();
    let encoder = ExampleEncoder::new(
        &inputs.tokenizer,
        inputs.decoder.config(),
        &recipe.prompt,
        1,
    )
    .unwrap();
    for (condition, profile_of) in [("text", ["u1", "u3"]), ("text_shuffled", ["u3", "u1"])] {
        let mut rows = Vec::new();
        for example in inputs.data.examples(Split::Test).unwrap() {
            let example = example.unwrap();
            let owner = profile_of[usize::from(example.user == "u3")];
            let profile = ProfileText::With(&inputs.profiles[owner]);
            let target = encoder.target(&example, &example.target).unwrap().unwrap();
            let prompt = encoder.prompt(&example, profile, target.len()).unwrap();
            rows.push(prompt.plain(&target));
        }
        let mut prefills = PrefillCache::new(0);
        let scores = row_nlls(&inputs.decoder, &rows, 8, &mut prefills, |_| None, |_| true);
        let (nll, tokens) = scores
            .unwrap()
            .iter()
            .fold((0.0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
        let found = value(&evaluation, condition, "nll");
        let expected = nll / f64::from(tokens as u32);
        assert!(
            (found - expected).abs() < 1e-6,
            "{condition}: {found}, {expected}"
        );
    }
    let differs = value(&evaluation, "text", "nll") - value(&evaluation, "text_shuffled", "nll");
    assert!(differs.abs() > 1e-5, "{differs}");
    let strangers = &evaluation.report.provenance["examples_whose_stranger_has_no_profile"];
    assert_eq!(strangers, 0);

    // Alone there is no stranger.
    let options = EvalOptions {
        limit: 1,
        conditions: vec![Condition::TextShuffled],
        ..quick()
    };
    let refused = evaluate(&run, &inputs, &options, |_| true)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("text_shuffled") && refused.contains("two users"),
        "{refused}"
    );
}
