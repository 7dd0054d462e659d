//! Train, evaluate and use an adapter from the shell, on a world made by `quickstart`'s own parts
//! in miniature.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2p_data::world::{World, WorldSize};
use e2p_train::burn::tensor::Device;
use e2p_train::{PretrainRecipe, pretrain};
use serde_json::Value;

use crate::support::{e2p, golden, shown, stdout};

/// A world in which nothing is learned and everything runs.
pub(crate) fn world(dir: &Path) {
    let size = WorldSize {
        population: 20,
        users: [12, 4, 4],
        questions: 3,
    };
    let mut world = World::new(1);
    let text = world.population_text(size.population, size.questions);
    world
        .write(size, &dir.join("data"), &dir.join("users.safetensors"))
        .unwrap();
    let recipe = PretrainRecipe {
        vocab_size: 300,
        d_model: 16,
        n_layers: 2,
        n_heads: 2,
        n_kv_heads: 1,
        d_ff: 32,
        max_seq_len: 160,
        window: 32,
        batch_size: 2,
        steps: 2,
        ..PretrainRecipe::default()
    };
    pretrain(
        &recipe,
        &text,
        &dir.join("backbone"),
        &Device::default(),
        |_| true,
    )
    .unwrap();
}

pub(crate) fn train(dir: &Path, run: &str, more: &[&str]) -> Command {
    let mut args = vec!["train".to_owned(), "synthetic".into()];
    for key in ["backbone", "data"] {
        args.extend(["--set".into(), format!("{key}={}", dir.join(key).display())]);
    }
    let users = dir.join("users.safetensors");
    args.extend(["--set".into(), format!("users={}", users.display())]);
    args.extend([
        "--out".into(),
        dir.join(run).display().to_string(),
        "--quiet".into(),
    ]);
    args.extend(more.iter().map(ToString::to_string));
    e2p(args)
}

fn adapter(dir: &Path, run: &str) -> Vec<u8> {
    std::fs::read(dir.join(run).join("adapter/adapter_model.safetensors")).unwrap()
}

/// PENS and LaMP from raw files to a report, so that whoever has the licence only supplies the
/// files.
#[test]
fn the_worlds_of_pens_and_lamp_go_from_files_to_a_report() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    world(dir); // for its backbone
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../e2p-data/tests/fixtures");
    let path = |name: &str| dir.join(name).display().to_string();
    let (bert, backbone) = (golden("bert").display().to_string(), path("backbone"));
    for (task, prepare, embed, recipe, metrics) in [
        (
            "pens_world",
            vec!["pens", "--body-words", "6", "--prompt", "{body} ="],
            vec!["interactions", "--dim", "8", "--iterations", "2"],
            "headlines",
            &["nll", "rouge_l"][..],
        ),
        (
            "lamp2_world",
            vec!["lamp"],
            vec!["text", "--encoder", &bert],
            "headlines",
            &["nll", "accuracy"],
        ),
        (
            "lamp7_world",
            vec!["lamp"],
            vec!["text", "--encoder", &bert],
            "headlines",
            &["nll", "rouge_l"],
        ),
    ] {
        let (data, users) = (
            path(&format!("{task}-data")),
            path(&format!("{task}.safetensors")),
        );
        let run = path(&format!("{task}-run"));
        let input = fixtures.join(task);
        let mut command = e2p(["prepare"]);
        command
            .args(&prepare)
            .arg("--input")
            .arg(&input)
            .args(["--out", &data]);
        stdout(&mut command);
        let mut command = e2p(["embed"]);
        stdout(
            command
                .args(&embed)
                .args(["--data", &data, "--out", &users]),
        );
        let mut command = e2p(["train", recipe, "--baseline", "--quiet", "--out", &run]);
        for set in [
            format!("backbone={backbone}"),
            format!("data={data}"),
            format!("users={users}"),
            "train.max_steps=2".into(),
            "train.batch_size=4".into(),
            "train.eval_examples=4".into(),
        ] {
            command.args(["--set", &set]);
        }
        stdout(&mut command);
        let mut command = e2p(["eval", &run, "--limit", "12", "--generate", "4", "--quiet"]);
        command.args(["--split", "valid"]);
        let table = stdout(&mut command);
        let report = std::fs::read(Path::new(&run).join("report.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        for condition in ["none", "soft_prompt", "e2p", "e2p_shuffled"] {
            for metric in metrics {
                let value = &report["conditions"][condition][metric]["value"];
                assert!(value.is_number(), "{task}: {condition} {metric} in {table}");
            }
        }
    }
}

#[test]
fn a_run_killed_twenty_times_ends_as_the_uninterrupted_one() {
    let dir = tempfile::tempdir().unwrap();
    world(dir.path());
    let set = [
        "--set",
        "train.epochs=400",
        "--set",
        "train.batch_size=6",
        "--set",
        "train.checkpoint_every=5",
        "--set",
        "train.eval_every=50",
    ];
    let began = Instant::now();
    stdout(&mut train(dir.path(), "whole", &set));
    // A fixed sequence of moments, each within a sixteenth of what the whole run takes on this
    // machine, so that twenty of them do not reach its end: some fall into a save, some before the
    // first one.
    let sixteenth = began.elapsed().as_millis() as u64 / 16;
    let mut kills = 0;
    let mut moment = 7u64;
    while kills < 20 {
        let more: Vec<&str> = if dir.path().join("killed/recipe.toml").exists() {
            set.into_iter().chain(["--resume"]).collect()
        } else {
            set.into_iter().chain(["--force"]).collect()
        };
        let mut command = train(dir.path(), "killed", &more);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        moment = (moment * 1_103_515_245 + 12_345) % (1 << 31);
        std::thread::sleep(Duration::from_millis(moment % sixteenth));
        child.kill().unwrap(); // SIGKILL on Unix
        let status = child.wait().unwrap();
        if status.success() {
            break;
        }
        kills += 1;
    }
    let mut last = train(
        dir.path(),
        "killed",
        &set.into_iter().chain(["--resume"]).collect::<Vec<_>>(),
    );
    stdout(&mut last);
    assert_eq!(kills, 20, "the run is long enough for twenty kills");
    assert_eq!(adapter(dir.path(), "killed"), adapter(dir.path(), "whole"));
}

#[cfg(unix)]
#[test]
fn a_run_asked_to_end_saves_also_when_the_signal_comes_twice() {
    let dir = tempfile::tempdir().unwrap();
    world(dir.path());
    let set = ["--set", "train.epochs=4000", "--set", "train.eval_every=50"];
    for round in 0..5 {
        let run = format!("run{round}");
        let mut command = train(dir.path(), &run, &set);
        let mut child = command.stdout(Stdio::null()).spawn().unwrap();
        let run = dir.path().join(&run);
        let lines = || std::fs::read_to_string(run.join("metrics.jsonl")).unwrap_or_default();
        while lines().lines().count() < 4 {
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            std::thread::sleep(Duration::from_millis(5));
        }
        // What `timeout` does: to the process, and to its group, in which it is too.
        let twice = format!("kill -TERM {0}; kill -TERM {0}", child.id());
        Command::new("sh").args(["-c", &twice]).status().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let last: Value = serde_json::from_str(lines().lines().last().unwrap()).unwrap();
        let saved = format!("checkpoints/step-{:08}", last["step"].as_u64().unwrap());
        assert!(run.join(&saved).is_dir(), "{saved}, round {round}");
    }
}

#[test]
fn a_trained_adapter_is_evaluated_scored_with_and_asked() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    world(dir);
    let trained = stdout(&mut train(
        dir,
        "run",
        &[
            "--set",
            "train.max_steps=3",
            "--set",
            "optim.lr=0.1",
            "--baseline",
            "--json",
        ],
    ));
    let trained: Value = serde_json::from_str(trained.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&trained["steps"], &trained["soft_prompt"]["steps"]),
        (&Value::from(3), &Value::from(3))
    );

    let run = dir.join("run");
    let report = stdout(&mut e2p([run.to_str().unwrap()]
        .into_iter()
        .fold(vec!["eval"], |mut args, run| {
            args.push(run);
            args
        })
        .into_iter()
        .chain(["--json", "--quiet", "--generate", "2"])));
    let report: Value = serde_json::from_str(report.lines().last().unwrap()).unwrap();
    assert_eq!(
        report["conditions"].as_object().unwrap().len(),
        11,
        "{report}"
    );
    assert!(report["gains"]["e2p_vs_shuffled"]["nll"]["low"].is_number());
    assert!(
        report["cost"]["text"]["prompt_tokens"].as_f64()
            > report["cost"]["e2p"]["prompt_tokens"].as_f64()
    );
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("e2p_shuffled") && run.join("report.json").is_file());

    // Two users, a stranger.
    let lines = dir.join("lines.jsonl");
    let line = |user: &str| {
        format!(
            "{{\"prompt\": \"User: What should I drink?\\nBot:\", \"target\": \" Try green tea.\", \"user\": \"{user}\"}}\n"
        )
    };
    std::fs::write(
        &lines,
        line("test-0000") + &line("test-0001") + &line("test-0000"),
    )
    .unwrap();
    let users = dir.join("users.safetensors");
    let backbone = dir.join("backbone");
    let personal = |verb: &str| {
        let mut command = e2p([verb, "--quiet", "--backbone"]);
        command
            .arg(&backbone)
            .arg("--adapter")
            .arg(&run)
            .arg("--users")
            .arg(&users);
        command
    };
    let scores = stdout(personal("score").arg("--input").arg(&lines));
    let scores: Vec<Value> = scores
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(scores[0], scores[2]);
    assert_ne!(scores[0]["logprob"], scores[1]["logprob"], "users differ");
    std::fs::write(&lines, line("nobody")).unwrap();
    let paths = [(dir, "[DIR]")];
    let refused = shown(personal("score").arg("--input").arg(&lines), &paths);
    assert!(
        refused.contains("exit: 2")
            && refused.contains("nobody")
            && refused.contains("--cold-start"),
        "{refused}"
    );
    stdout(
        personal("score")
            .arg("--cold-start")
            .arg("--input")
            .arg(&lines),
    );
    stdout(personal("generate").args([
        "--user",
        "test-0001",
        "--prompt",
        "What should I drink?",
        "--chat",
        "--max-new-tokens",
        "5",
    ]));

    // The wrong backbone and the wrong space.
    let other = shown(
        e2p([
            "generate",
            "--quiet",
            "--prompt",
            "x",
            "--cold-start",
            "--adapter",
        ])
        .arg(&run)
        .arg("--backbone")
        .arg(golden("llama")),
        &paths,
    );
    assert!(
        other.contains("exit: 2") && other.contains("was trained on the backbone"),
        "{other}"
    );
    let known = e2p_data::UserEmbeddings::open(&users).unwrap();
    let lines_of = |change: &dyn Fn(&[f32]) -> Vec<f32>| -> String {
        known
            .ids()
            .map(|user| {
                let row = change(&known.get(user).unwrap());
                serde_json::json!({"user": user, "embedding": row}).to_string() + "\n"
            })
            .collect()
    };
    std::fs::write(dir.join("others.jsonl"), lines_of(&<[f32]>::to_vec)).unwrap();
    let mut wrong = e2p([
        "generate",
        "--quiet",
        "--prompt",
        "x",
        "--user",
        "test-0000",
        "--adapter",
    ]);
    wrong
        .arg(&run)
        .arg("--backbone")
        .arg(&backbone)
        .arg("--users")
        .arg(dir.join("others.jsonl"));
    let text = shown(&mut wrong, &paths);
    assert!(
        text.contains("exit: 2") && text.contains("--space synthetic-v1"),
        "{text}"
    );
    stdout(wrong.args(["--space", "synthetic-v1"]));

    // A new version of the embeddings, in another order of dimensions and moved, is mapped back to
    // the space of the adapter.
    let newer = lines_of(&|row| row.iter().rev().map(|value| value + 1.0).collect());
    std::fs::write(dir.join("newer.jsonl"), newer).unwrap();
    let said = stdout(
        e2p(["embed", "align", "--method", "procrustes", "--from"])
            .arg(dir.join("newer.jsonl"))
            .arg("--to")
            .arg(&users)
            .arg("--out")
            .arg(dir.join("mapped.safetensors")),
    );
    assert!(
        said.contains("fitted to 20 users of both; on 2 held-out"),
        "{said}"
    );
    // A network needs more users than these twenty, so it hardly leaves the affine map; here it
    // only has to be reached.
    let said = stdout(
        e2p(["embed", "align", "--quiet", "--method", "mlp", "--from"])
            .arg(dir.join("newer.jsonl"))
            .arg("--to")
            .arg(&users)
            .arg("--out")
            .arg(dir.join("bent.safetensors")),
    );
    assert!(
        said.contains("fitted to 20 users of both; on 2 held-out"),
        "{said}"
    );
    let ask = |users: &Path| {
        stdout(
            e2p(["score", "--quiet", "--backbone"])
                .arg(&backbone)
                .arg("--adapter")
                .arg(&run)
                .arg("--users")
                .arg(users)
                .arg("--input")
                .arg(&lines),
        )
    };
    std::fs::write(&lines, line("test-0001")).unwrap();
    let logprob = |users: &Path| -> f64 {
        let line: Value = serde_json::from_str(ask(users).lines().next().unwrap()).unwrap();
        line["logprob"].as_f64().unwrap()
    };
    let (before, mapped) = (logprob(&users), logprob(&dir.join("mapped.safetensors")));
    assert!(
        (before - mapped).abs() < 1e-3 * before.abs(),
        "{before} {mapped}"
    );
}

#[test]
fn recipes_are_listed_shown_and_checked() {
    let list = stdout(&mut e2p(["recipe", "list"]));
    for name in ["personachat", "headlines", "recommendation", "synthetic"] {
        assert!(list.contains(name), "{list}");
        stdout(&mut e2p(["recipe", "check", name]));
    }
    let shown_recipe = stdout(&mut e2p([
        "recipe",
        "show",
        "personachat",
        "--set",
        "optim.lr=3e-4",
    ]));
    assert!(shown_recipe.contains("lr = 0.0003"), "{shown_recipe}");
    let wrong = shown(
        &mut e2p([
            "recipe",
            "check",
            "personachat",
            "--set",
            "optim.rl=1",
            "--set",
            "train.epoch=1",
        ]),
        &[],
    );
    assert!(
        wrong.contains("exit: 1") && wrong.contains("optim.lr") && wrong.contains("train.epochs"),
        "{wrong}"
    );
}

#[test]
fn a_seed_of_zero_counts_and_a_resumed_run_keeps_the_day_on_which_it_began() {
    let dir = tempfile::tempdir().unwrap();
    world(dir.path());
    let more = [
        "--set",
        "seed=7",
        "--seed",
        "0",
        "--set",
        "train.max_steps=2",
        "--set",
        "prompt.date=2020-02-29",
    ];
    let output = train(dir.path(), "run", &more).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let recipe = std::fs::read_to_string(dir.path().join("run/recipe.toml")).unwrap();
    assert!(recipe.contains("seed = 0\n"), "{recipe}");
    // The recipe given again without a day: that of the run.
    let more = ["--resume", "--seed", "0", "--set", "train.max_steps=2"];
    let output = train(dir.path(), "run", &more).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let fresh = train(dir.path(), "today", &["--set", "train.max_steps=1"])
        .output()
        .unwrap();
    assert!(fresh.status.success(), "{fresh:?}");
    let recipe = std::fs::read_to_string(dir.path().join("today/recipe.toml")).unwrap();
    let date = e2p_prefix::date_of(std::time::SystemTime::now());
    assert!(recipe.contains(&format!("date = \"{date}\"")), "{recipe}");
}
