//! GPT-2 (transformers `models/gpt2`): learned positions, LayerNorm, biases everywhere, matrices
//! stored `[in, out]`.

use serde_json::Value;

use super::wire::Wire;
use super::{Family, Names};
use crate::config::{DecoderConfig, MlpKind, NormKind, Positions};
use crate::error::Result;

pub(super) const FAMILY: Family = Family {
    model_type: "gpt2",
    config,
    names: Names {
        root: "transformer.",
        embed_tokens: "wte",
        embed_positions: "wpe",
        layers: "h.",
        input_layernorm: "ln_1",
        qkv_proj: &["attn.c_attn"],
        q_norm: "",
        k_norm: "",
        o_proj: "attn.c_proj",
        post_attention_layernorm: "ln_2",
        up_proj: &["mlp.c_fc"],
        down_proj: "mlp.c_proj",
        norm: "ln_f",
        lm_head: "lm_head",
        transposed: true,
        buffers: &[".attn.bias", ".attn.masked_bias"],
    },
};

fn config(json: &Value) -> Result<DecoderConfig> {
    let wire = Wire {
        model_type: "gpt2",
        json,
    };
    wire.refuse_quantized()?;
    wire.only("scale_attn_weights", &[true.into()])?;
    wire.only("scale_attn_by_inverse_layer_idx", &[false.into()])?;
    wire.only("add_cross_attention", &[false.into()])?;
    let mlp = match wire.text_or("activation_function", "gelu_new")?.as_str() {
        "gelu_new" | "gelu_pytorch_tanh" => MlpKind::GeluTanh,
        "gelu" => MlpKind::Gelu,
        other => {
            return Err(wire.unsupported(
                "activation_function",
                other,
                "gelu_new, gelu_pytorch_tanh or gelu",
            ));
        }
    };
    let d_model = wire.size("n_embd")?;
    let n_heads = wire.size("n_head")?;
    if n_heads == 0 || !d_model.is_multiple_of(n_heads) {
        return Err(wire.invalid(
            "n_head",
            n_heads,
            &format!("a divisor of n_embd = {d_model}"),
        ));
    }
    let (bos_token_id, eos_token_ids) = wire.special_tokens()?;
    Ok(DecoderConfig {
        model_type: "gpt2".into(),
        vocab_size: wire.size("vocab_size")?,
        d_model,
        d_ff: wire.size_or("n_inner", 4 * d_model)?,
        n_layers: wire.size("n_layer")?,
        n_heads,
        n_kv_heads: n_heads,
        head_dim: d_model / n_heads,
        max_seq_len: wire.size("n_positions")?,
        norm: NormKind::LayerNorm,
        norm_eps: wire.number_or("layer_norm_epsilon", 1e-5)?,
        positions: Positions::Learned,
        mlp,
        qkv_bias: true,
        o_bias: true,
        mlp_bias: true,
        qk_norm: false,
        tie_word_embeddings: wire.flag_or("tie_word_embeddings", true)?,
        bos_token_id,
        eos_token_ids,
    })
}
