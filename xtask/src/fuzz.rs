//! `fuzz`: every fuzz target of every crate for a bounded time, on a corpus seeded from
//! `fuzz/seeds/TARGET` or the golden fixtures.
//!
//! Needs cargo-fuzz. The sanitizer flags that it passes are unstable: the nightly toolchain is used
//! where there is one, else the stable one with `RUSTC_BOOTSTRAP=1`, for the fuzz crates only,
//! which are workspaces of their own.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use xshell::{Shell, cmd};

use crate::workspace::{self, Failed};

const GOLDEN: &str = "crates/e2p-model/tests/golden";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Seconds for each target.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only the targets whose name contains this.
    target: Option<String>,
}

pub(crate) fn run(sh: &Shell, args: &Args) -> Result<()> {
    let toolchain = workspace::runs(sh, "cargo", &["+nightly", "--version"]).then_some("+nightly");
    ensure!(
        workspace::runs(sh, "cargo", &["fuzz", "--version"]),
        "fuzzing needs cargo-fuzz:\n  cargo install cargo-fuzz"
    );
    let _unstable = toolchain
        .is_none()
        .then(|| sh.push_env("RUSTC_BOOTSTRAP", "1"));
    let targets = workspace::files(&workspace::root().join("crates"), &|path| {
        path.extension().is_some_and(|e| e == "rs")
            && path
                .parent()
                .is_some_and(|p| p.ends_with("fuzz/fuzz_targets"))
    })?;
    let mut crashed = Vec::new();
    let mut ran = 0;
    for path in targets {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if args
            .target
            .as_deref()
            .is_some_and(|part| !name.contains(part))
        {
            continue;
        }
        let folder = path
            .ancestors()
            .nth(2)
            .context("a target lies in fuzz/fuzz_targets")?;
        ran += 1;
        if !run_target(sh, toolchain, folder, &name, args.seconds)? {
            crashed.push(format!(
                "{name} (inputs in {})",
                folder.join("artifacts").join(&name).display()
            ));
        }
    }
    ensure!(ran > 0, "no fuzz target matches");
    ensure!(
        crashed.is_empty(),
        Failed(format!("crashed: {}", crashed.join(", ")))
    );
    println!(
        "{ran} fuzz targets ran {} s each without a crash",
        args.seconds
    );
    Ok(())
}

fn run_target(
    sh: &Shell,
    toolchain: Option<&str>,
    folder: &Path,
    name: &str,
    seconds: u32,
) -> Result<bool> {
    let corpus = folder.join("corpus").join(name);
    let seeds = workspace::target_dir().join("fuzz-seeds").join(name);
    sh.remove_path(&seeds)?;
    sh.create_dir(&corpus)?;
    sh.create_dir(&seeds)?;
    let own = folder.join("seeds").join(name);
    if own.is_dir() {
        for seed in workspace::files(&own, &|_| true)? {
            let file = seed.file_name().context("a seed is a file")?;
            sh.copy_file(&seed, seeds.join(file))?;
        }
    } else {
        write_seeds(name, &seeds)?;
    }
    // The workspace's versions, not the newest that happen to fit; cargo adds what only the fuzz
    // crate uses.
    sh.copy_file("Cargo.lock", folder.join("Cargo.lock"))?;
    let target_dir = workspace::target_dir().join("fuzz");
    // A slow input is a finding as well: ten seconds for one tiny directory means a loop or an
    // absurd allocation.
    let limits = [
        format!("-max_total_time={seconds}"),
        "-timeout=10".to_owned(),
        "-rss_limit_mb=2048".to_owned(),
        "-max_len=8192".to_owned(),
    ];
    Ok(cmd!(
        sh,
        "cargo {toolchain...} fuzz run --fuzz-dir {folder} --target-dir {target_dir} {name} {corpus} {seeds} -- {limits...}"
    )
    .run()
    .is_ok())
}

/// Seeds of the targets that read model files: every golden configuration, and for whole
/// directories the smallest checkpoints there are, because a fuzzer learns little from inputs of
/// many kilobytes.
fn write_seeds(target: &str, seeds: &Path) -> Result<()> {
    if target.ends_with("safetensors_dir") {
        for (family, config, tensors) in TINY {
            let mut seed = config.as_bytes().to_vec();
            seed.push(0); // the target takes what comes before the first zero byte as config.json
            seed.extend(zeros(tensors));
            std::fs::write(seeds.join(family), seed)?;
        }
        return Ok(());
    }
    let configs = workspace::files(&workspace::root().join(GOLDEN), &|path| {
        path.ends_with("config.json")
    })?;
    for config in configs {
        let case = config
            .parent()
            .and_then(Path::file_name)
            .context("a configuration lies in its case's folder")?;
        std::fs::copy(&config, seeds.join(case))?;
    }
    Ok(())
}

/// Family, `config.json` and `name rows columns` of every tensor (0 columns: a vector): one layer,
/// two wide.
const TINY: [(&str, &str, &str); 2] = [
    (
        "llama",
        r#"{"model_type":"llama","hidden_size":2,"intermediate_size":2,"num_hidden_layers":1,"num_attention_heads":1,"num_key_value_heads":1,"vocab_size":3,"max_position_embeddings":4,"rms_norm_eps":1e-5,"rope_theta":10.0,"tie_word_embeddings":true,"bos_token_id":1,"eos_token_id":[2]}"#,
        "model.embed_tokens.weight 3 2,model.norm.weight 2 0,model.layers.0.input_layernorm.weight 2 0,\
         model.layers.0.post_attention_layernorm.weight 2 0,model.layers.0.self_attn.q_proj.weight 2 2,\
         model.layers.0.self_attn.k_proj.weight 2 2,model.layers.0.self_attn.v_proj.weight 2 2,\
         model.layers.0.self_attn.o_proj.weight 2 2,model.layers.0.mlp.gate_proj.weight 2 2,\
         model.layers.0.mlp.up_proj.weight 2 2,model.layers.0.mlp.down_proj.weight 2 2",
    ),
    (
        "gpt2",
        r#"{"model_type":"gpt2","n_embd":2,"n_layer":1,"n_head":1,"n_inner":2,"n_positions":4,"vocab_size":3,"activation_function":"gelu_new","layer_norm_epsilon":1e-5,"eos_token_id":2}"#,
        "wte.weight 3 2,wpe.weight 4 2,ln_f.weight 2 0,ln_f.bias 2 0,h.0.ln_1.weight 2 0,h.0.ln_1.bias 2 0,\
         h.0.ln_2.weight 2 0,h.0.ln_2.bias 2 0,h.0.attn.c_attn.weight 2 6,h.0.attn.c_attn.bias 6 0,\
         h.0.attn.c_proj.weight 2 2,h.0.attn.c_proj.bias 2 0,h.0.mlp.c_fc.weight 2 2,h.0.mlp.c_fc.bias 2 0,\
         h.0.mlp.c_proj.weight 2 2,h.0.mlp.c_proj.bias 2 0",
    ),
];

/// A safetensors file of zeros in bf16.
fn zeros(tensors: &str) -> Vec<u8> {
    let mut end = 0;
    let entries: Vec<String> = tensors
        .split(',')
        .map(|tensor| {
            let mut words = tensor.split_whitespace();
            let name = words.next().unwrap_or_default();
            let shape: Vec<usize> = words
                .filter_map(|n| n.parse().ok())
                .filter(|n| *n > 0)
                .collect();
            let start = end;
            end += 2 * shape.iter().product::<usize>();
            format!(
                r#""{name}":{{"dtype":"BF16","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
            )
        })
        .collect();
    let mut header = format!("{{{}}}", entries.join(","));
    while header.len() % 8 != 0 {
        header.push(' ');
    }
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.bytes());
    file.resize(file.len() + end, 0);
    file
}

#[cfg(test)]
mod tests {
    use super::{TINY, zeros};
    use crate::safetensors;

    #[test]
    fn the_tiny_checkpoints_are_safetensors_files_behind_json() {
        for (family, config, tensors) in TINY {
            let config: serde_json::Value = serde_json::from_str(config).unwrap();
            assert_eq!(config["model_type"], family);
            let parsed = safetensors::parse(&zeros(tensors)).unwrap();
            assert_eq!(parsed.len(), tensors.split(',').count(), "{family}");
        }
    }
}
