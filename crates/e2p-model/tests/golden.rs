//! Every family and option against transformers: layers, logits, padded batches, gradients, the
//! sentence encoder.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use common::{
    DECODER_CASES, Golden, assert_close, assert_close_within, device, shared_model, values,
};
use e2p_model::burn::tensor::{DType, Device, Tensor, activation, s};
use e2p_model::{
    Decoder, Encoder, Keep, LoadOptions, Padding, TargetScores, TextEncoder, read_json,
};

fn load(golden: &Golden) -> Decoder {
    let (decoder, report) =
        Decoder::from_dir(&golden.dir, &LoadOptions::default(), &device()).unwrap();
    assert_eq!(
        report.unused,
        Vec::<String>::new(),
        "{}",
        golden.dir.display()
    );
    decoder
}

fn rows_of_logits(decoder: &Decoder, hidden: Tensor<3>) -> Tensor<2> {
    let [batch_size, seq_len, d_model] = hidden.dims();
    decoder.logits(hidden.reshape([batch_size * seq_len, d_model]))
}

#[test]
fn layers_and_logits_equal_transformers() {
    for case in DECODER_CASES {
        let golden = Golden::open(case);
        let decoder = load(&golden);
        let (embeds, starts) = decoder
            .embed_rows(&golden.ids("input_ids"), Padding::Right)
            .unwrap();
        let states = decoder.hidden_states(embeds, &starts).unwrap();
        for (index, name) in [
            "hidden_states.0",
            "hidden_states.1",
            "last_block",
            "hidden_states.2",
        ]
        .into_iter()
        .enumerate()
        {
            assert_close(
                states[index].clone(),
                golden.floats(name),
                &format!("{case} {name}"),
            );
        }
        let logits = rows_of_logits(&decoder, states[3].clone());
        let expected = golden.floats::<3>("logits");
        let [batch_size, seq_len, vocab_size] = expected.dims();
        assert_close(
            logits.clone(),
            expected.reshape([batch_size * seq_len, vocab_size]),
            &format!("{case} logits"),
        );

        let targets: Vec<u32> = golden
            .ids("input_ids")
            .iter()
            .flat_map(|row| row[1..].to_vec())
            .collect();
        let before =
            logits
                .reshape([batch_size, seq_len, vocab_size])
                .slice(s![.., ..seq_len - 1, ..]);
        let scores = TargetScores::new(before.reshape([targets.len(), vocab_size]), &targets);
        let expected = golden.floats::<2>("logprobs").reshape([targets.len()]);
        assert_close_within(
            scores.log_likelihood(),
            expected,
            0.0,
            2e-4,
            &format!("{case} logprobs"),
        );
    }
}

#[test]
fn padded_rows_equal_transformers_row_by_row() {
    for case in DECODER_CASES {
        let golden = Golden::open(case);
        let decoder = load(&golden);
        let lengths: Vec<usize> = golden.ids("padded.lengths")[0]
            .iter()
            .map(|len| *len as usize)
            .collect();
        let flat = golden.ids("padded.input_ids").remove(0);
        let expected = golden.floats::<2>("padded.logits");
        let mut rows = Vec::new();
        let mut at = 0;
        for len in &lengths {
            rows.push(flat[at..at + len].to_vec());
            at += len;
        }
        for padding in [Padding::Left, Padding::Right] {
            let (embeds, starts) = decoder.embed_rows(&rows, padding).unwrap();
            let hidden = decoder.forward_embeds(embeds, &starts).unwrap();
            let mut at = 0;
            for (row, len) in lengths.iter().enumerate() {
                let own =
                    hidden
                        .clone()
                        .slice(s![row..row + 1, starts[row]..starts[row] + len, ..]);
                let logits = rows_of_logits(&decoder, own);
                assert_close(
                    logits,
                    expected.clone().slice(s![at..at + len, ..]),
                    &format!("{case} row {row} {padding:?}"),
                );
                at += len;
            }
        }
    }
}

#[test]
fn input_gradients_equal_torch_in_float64() {
    for case in DECODER_CASES {
        let golden = Golden::open(case);
        let decoder = load(&golden);
        let rows = golden.ids("input_ids");
        let (embeds, _) = decoder.embed_rows(&rows, Padding::Right).unwrap();
        let selected: Vec<(usize, usize)> = (0..3)
            .flat_map(|row| (6..10).map(move |slot| (row, slot)))
            .collect();
        let targets: Vec<u32> = selected
            .iter()
            .map(|(row, slot)| rows[*row][slot + 1])
            .collect();
        let (logits, tape) = decoder
            .forward_recorded(embeds, None, &selected, Keep::Activations)
            .unwrap();
        let scores = TargetScores::new(logits, &targets);
        let weight = 1.0 / targets.len() as f32;
        let loss = -values(scores.log_likelihood()).iter().sum::<f32>() * weight;
        let expected_loss = values(golden.floats::<1>("loss"))[0];
        assert!(
            (loss - expected_loss).abs() < 1e-4 * expected_loss,
            "{case}: loss {loss}, expected {expected_loss}"
        );
        let gradient = decoder.backward(tape, None, scores.backward(&vec![weight; targets.len()]));
        assert_close(
            gradient,
            golden.floats("input_grad"),
            &format!("{case} input_grad"),
        );
    }
}

#[test]
fn half_precision_computes_close_to_f32() {
    let device = device();
    for (case, dtype) in [
        ("llama-untied-f16", DType::F16),
        ("llama-bf16-shards", DType::BF16),
        ("gpt2", DType::F16),
        ("qwen3", DType::BF16),
    ] {
        if !device.supports_dtype(dtype) {
            eprintln!("SKIPPED: {device:?} does not compute in {dtype:?}");
            continue;
        }
        let golden = Golden::open(case);
        let (decoder, _) = Decoder::from_dir(&golden.dir, &dtype.into(), &device).unwrap();
        let (embeds, starts) = decoder
            .embed_rows(&golden.ids("input_ids"), Padding::Right)
            .unwrap();
        assert_eq!(embeds.dtype(), decoder.dtype());
        if device == Device::flex() {
            // Stored in 16 bits, computed in 32.
            assert_eq!(decoder.dtype(), DType::F32);
        }
        let logits = rows_of_logits(&decoder, decoder.forward_embeds(embeds, &starts).unwrap())
            .cast(DType::F32);
        let expected = golden.floats::<3>("logits");
        let expected = expected.clone().reshape(logits.dims());
        let cosine: f32 = ((logits.clone() * expected.clone()).sum()
            / (logits.clone().square().sum() * expected.clone().square().sum()).sqrt())
        .into_scalar();
        assert!(cosine > 0.999, "{case} {dtype:?}: cosine {cosine}");
        // Probabilities, since logits of a few units carry the rounding of eight or eleven bits.
        assert_close_within(
            activation::softmax(logits, 1),
            activation::softmax(expected, 1),
            0.1,
            2e-2,
            case,
        );
    }
}

#[test]
fn a_bf16_checkpoint_stored_as_bf16_computes_what_f32_does() {
    let device = Device::flex();
    let golden = Golden::open("llama-bf16-shards");
    let logits = |dtype: DType| {
        let (decoder, _) = Decoder::from_dir(&golden.dir, &dtype.into(), &device).unwrap();
        let (embeds, starts) = decoder
            .embed_rows(&golden.ids("input_ids"), Padding::Right)
            .unwrap();
        rows_of_logits(&decoder, decoder.forward_embeds(embeds, &starts).unwrap())
    };
    // The order of summation differs between the storages, the values do not.
    assert_close(
        logits(DType::BF16),
        logits(DType::F32),
        "bf16 and f32 storage",
    );
}

#[test]
fn the_logits_of_a_checkpoint_rounded_to_8_bits_stay_near() {
    for case in ["llama", "gpt2", "qwen2"] {
        let device = Device::flex();
        let golden = Golden::open(case);
        let logits = |options: LoadOptions| {
            let (decoder, report) = Decoder::from_dir(&golden.dir, &options, &device).unwrap();
            assert!(report.is_complete());
            let (embeds, starts) = decoder
                .embed_rows(&golden.ids("input_ids"), Padding::Right)
                .unwrap();
            let logits = rows_of_logits(&decoder, decoder.forward_embeds(embeds, &starts).unwrap());
            (decoder.weight_dtype(), values(logits))
        };
        let (name, rounded) = logits(LoadOptions::int8());
        assert_eq!(name, "int8");
        let (_, exact) = logits(LoadOptions::default());
        let norm = |values: &mut dyn Iterator<Item = f32>| {
            values.map(|x| f64::from(x * x)).sum::<f64>().sqrt()
        };
        let off = norm(&mut rounded.iter().zip(&exact).map(|(a, b)| a - b));
        let all = norm(&mut exact.iter().copied());
        assert!(off > 0.0 && off < 0.05 * all, "{case}: {off} of {all}");
    }
}

#[test]
fn encoder_layers_and_embeddings_equal_transformers() {
    let golden = Golden::open("bert");
    let (encoder, report) =
        Encoder::from_dir(&golden.dir, &LoadOptions::default(), &device()).unwrap();
    assert_eq!(report.unused, Vec::<String>::new());
    let mask = golden.ids("attention_mask");
    let rows: Vec<Vec<u32>> = golden
        .ids("input_ids")
        .into_iter()
        .zip(mask)
        .map(|(row, mask)| row[..mask.iter().sum::<u32>() as usize].to_vec())
        .collect();
    for (index, state) in encoder
        .hidden_states(&rows)
        .unwrap()
        .into_iter()
        .enumerate()
    {
        let expected = golden.floats::<3>(&format!("hidden_states.{index}"));
        for (row, ids) in rows.iter().enumerate() {
            let at = |states: &Tensor<3>| states.clone().slice(s![row..row + 1, ..ids.len(), ..]);
            assert_close(
                at(&state),
                at(&expected),
                &format!("layer {index} row {row}"),
            );
        }
    }
    let encoder = open(&golden);
    assert_close(
        encoder.embed(&rows, 0).unwrap(),
        golden.floats("embedding"),
        "embeddings",
    );
    let alone = encoder.embed(&rows[2..], 0).unwrap();
    assert_close(
        alone,
        golden.floats::<2>("embedding").slice(s![2.., ..]),
        "a row alone",
    );
}

#[test]
fn minilm_embeddings_equal_sentence_transformers() {
    let Some(dir) = shared_model("all-MiniLM-L6-v2") else {
        return;
    };
    let encoder = TextEncoder::from_dir(&dir, &LoadOptions::default(), &device()).unwrap();
    let golden = read_json(&dir, "golden.json").unwrap();
    let cases = golden["cases"].as_array().unwrap();
    let rows: Vec<Vec<u32>> = cases
        .iter()
        .map(|case| {
            case["ids"]
                .as_array()
                .unwrap()
                .iter()
                .map(|id| id.as_u64().unwrap() as u32)
                .collect()
        })
        .collect();
    let inputs = encoder.inputs().unwrap();
    for (case, row) in cases.iter().zip(&rows) {
        assert_eq!(&inputs.encode(case["text"].as_str().unwrap()).unwrap(), row);
    }
    let found = values(encoder.embed(&rows, 0).unwrap());
    for (case, found) in cases.iter().zip(found.chunks(encoder.width())) {
        let expected: Vec<f32> = case["embedding"]
            .as_array()
            .unwrap()
            .iter()
            .map(|v| v.as_f64().unwrap() as f32)
            .collect();
        let norm = expected.iter().map(|v| v * v).sum::<f32>().sqrt();
        let cosine = found.iter().zip(&expected).map(|(a, b)| a * b).sum::<f32>() / norm;
        assert!(cosine > 0.9999, "{}: cosine {cosine}", case["text"]);
    }
}

#[test]
fn a_language_model_embeds_texts_by_its_last_hidden_states() {
    for case in ["gpt2", "llama"] {
        let golden = Golden::open(case);
        let encoder = open(&golden);
        let rows: Vec<Vec<u32>> = golden.ids("input_ids");
        let last = golden.floats::<3>("hidden_states.2");
        let [_, _, d_model] = last.dims();
        // A shorter row beside a longer one.
        for lengths in [[5, 3], [2, 5]] {
            let cut: Vec<&[u32]> = rows.iter().zip(lengths).map(|(row, n)| &row[..n]).collect();
            let found = values(encoder.embed(&cut, 0).unwrap());
            for (row, n) in lengths.into_iter().enumerate() {
                let states = values(last.clone().slice(s![row..row + 1, ..n, ..]));
                let sum = |dim| states.iter().skip(dim).step_by(d_model).sum::<f32>();
                let sums: Vec<f32> = (0..d_model).map(sum).collect();
                let norm = sums.iter().map(|sum| sum * sum).sum::<f32>().sqrt();
                for (found, sum) in found[row * d_model..].iter().zip(sums) {
                    assert!((found - sum / norm).abs() < 1e-5, "{case} row {row}");
                }
            }
        }
    }
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("config.json"), r#"{"model_type": "t5"}"#).unwrap();
    let refused = TextEncoder::from_dir(other.path(), &LoadOptions::default(), &device());
    let refused = refused.unwrap_err().to_string();
    assert!(
        refused.contains("t5") && refused.contains("bert, "),
        "{refused}"
    );
}

fn open(golden: &Golden) -> TextEncoder {
    TextEncoder::from_dir(&golden.dir, &LoadOptions::default(), &device()).unwrap()
}
