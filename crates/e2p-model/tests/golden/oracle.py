"""Recomputes the decoders' logits in numpy float64, straight from the papers' formulas, and breaks them on purpose.

`python oracle.py [DIR]`, with the packages of export.py. Two questions, answered for every case:
1. Is transformers' answer right? An implementation that shares no code with it must give the same logits.
2. Would a mistake show? Each plausible mistake (`MISTAKES`) must move the logits by more than 0.05, where a test's
   tolerance is about 1e-4. The two GELUs differ by at most 5e-4 anywhere, so for them 1e-3 must do.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
from safetensors.torch import load_file

MISTAKES = ["interleaved_rope", "unscaled_rope", "default_theta", "no_bias", "eps_1e-5", "other_gelu", "no_norm_weight"]
MISTAKES += ["no_qk_norm", "heads_modulo_kv", "transposed_conv1d", "position_off_by_one"]


def silu(x):
    return x / (1 + np.exp(-x))


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gelu_erf(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def causal_attention(q, k, v):
    """q [heads, seq, head_dim], k and v repeated to as many heads."""
    seq = q.shape[1]
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
    scores = np.where(np.tril(np.ones((seq, seq), bool)), scores, -np.inf)
    p = np.exp(scores - scores.max(-1, keepdims=True))
    return (p / p.sum(-1, keepdims=True)) @ v


def rope_frequencies(c, head_dim, wrong):
    rope = c.get("rope_parameters") or c.get("rope_scaling") or {}
    theta = rope.get("rope_theta", c.get("rope_theta", 10000.0))
    if wrong == "default_theta":
        theta = 10000.0
    frequency = theta ** (-np.arange(0, head_dim, 2) / head_dim)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default" or wrong == "unscaled_rope":
        return frequency
    if kind == "linear":
        return frequency / rope["factor"]
    assert kind == "llama3"
    low, high = rope["low_freq_factor"], rope["high_freq_factor"]
    turns = rope["original_max_position_embeddings"] * frequency / (2 * math.pi)
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return (1 - blend) * frequency / rope["factor"] + blend * frequency


def rotate(x, frequency, wrong):
    """Half-split rotation: component i pairs with i + head_dim / 2."""
    positions = np.arange(x.shape[1]) + (1 if wrong == "position_off_by_one" else 0)
    angle = np.outer(positions, frequency)
    cos, sin = np.cos(angle), np.sin(angle)
    half = x.shape[-1] // 2
    if wrong == "interleaved_rope":
        a, b = x[..., 0::2], x[..., 1::2]
        out = np.empty_like(x)
        out[..., 0::2], out[..., 1::2] = a * cos - b * sin, b * cos + a * sin
        return out
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def llama(c, w, ids, wrong):
    eps = 1e-5 if wrong == "eps_1e-5" else c["rms_norm_eps"]

    def norm(x, name):
        gain = 1.0 if wrong == "no_norm_weight" else w[f"{name}.weight"]
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * gain

    def linear(x, name):
        bias = 0.0 if wrong == "no_bias" else w.get(f"{name}.bias", 0.0)
        return x @ w[f"{name}.weight"].T + bias

    heads, kv_heads = c["num_attention_heads"], c["num_key_value_heads"]
    head_dim = c.get("head_dim") or c["hidden_size"] // heads
    frequency = rope_frequencies(c, head_dim, wrong)

    def split(x):
        return x.reshape(len(ids), -1, head_dim).transpose(1, 0, 2)

    x = w["model.embed_tokens.weight"][ids]
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        h = norm(x, p + "input_layernorm")
        q, k, v = (split(linear(h, f"{p}self_attn.{n}_proj")) for n in "qkv")
        if c["model_type"] == "qwen3" and wrong != "no_qk_norm":
            q, k = norm(q, p + "self_attn.q_norm"), norm(k, p + "self_attn.k_norm")
        q = rotate(q, frequency, None if wrong == "position_off_by_one" else wrong)
        k = rotate(k, frequency, wrong)  # RoPE is relative: only an offset between q and k is a mistake at all
        group = np.arange(heads) % kv_heads if wrong == "heads_modulo_kv" else np.arange(heads) // (heads // kv_heads)
        attended = causal_attention(q, k[group], v[group]).transpose(1, 0, 2).reshape(len(ids), -1)
        x = x + linear(attended, p + "self_attn.o_proj")
        h = norm(x, p + "post_attention_layernorm")
        gated = silu(linear(h, p + "mlp.gate_proj")) * linear(h, p + "mlp.up_proj")
        x = x + linear(gated, p + "mlp.down_proj")
    head = w["model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"]
    return norm(x, "model.norm") @ head.T


def gpt2(c, w, ids, wrong):
    w = {k.removeprefix("transformer."): v for k, v in w.items()}
    eps = 1e-5 if wrong == "eps_1e-5" else c["layer_norm_epsilon"]
    act, other = (gelu_tanh, gelu_erf) if c["activation_function"] == "gelu_new" else (gelu_erf, gelu_tanh)
    act = other if wrong == "other_gelu" else act

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
        gain = 1.0 if wrong == "no_norm_weight" else w[f"{name}.weight"]
        return x * gain + (0.0 if wrong == "no_bias" else w[f"{name}.bias"])

    def conv1d(x, name):
        weight = w[f"{name}.weight"]
        if wrong == "transposed_conv1d" and weight.shape[0] == weight.shape[1]:
            weight = weight.T
        return x @ weight + (0.0 if wrong == "no_bias" else w[f"{name}.bias"])

    d, heads = c["n_embd"], c["n_head"]
    offset = 1 if wrong == "position_off_by_one" else 0
    x = w["wte.weight"][ids] + w["wpe.weight"][offset : len(ids) + offset]
    for layer in range(c["n_layer"]):
        p = f"h.{layer}."
        qkv = conv1d(norm(x, p + "ln_1"), p + "attn.c_attn").reshape(len(ids), 3, heads, d // heads)
        q, k, v = qkv.transpose(1, 2, 0, 3)
        attended = causal_attention(q, k, v).transpose(1, 0, 2).reshape(len(ids), d)
        x = x + conv1d(attended, p + "attn.c_proj")
        x = x + conv1d(act(conv1d(norm(x, p + "ln_2"), p + "mlp.c_fc")), p + "mlp.c_proj")
    return norm(x, "ln_f") @ w["wte.weight"].T


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    failures = 0
    for config in sorted(root.glob("*/config.json")):
        c, case = json.loads(config.read_text()), config.parent
        if c["model_type"] == "bert":
            continue
        w = {k: v.double().numpy() for f in sorted(case.glob("model*.safetensors")) for k, v in load_file(f).items()}
        expected = load_file(case / "expected.safetensors")
        forward = gpt2 if c["model_type"] == "gpt2" else llama
        ids, truth = expected["input_ids"].numpy(), expected["logits"].double().numpy()

        def distance(wrong):
            return max(np.abs(forward(c, w, row, wrong) - t).max() for row, t in zip(ids, truth))

        right = distance(None)
        moved = {m: distance(m) for m in MISTAKES}
        shows = {m: float(f"{d:.2g}") for m, d in moved.items() if d > 10 * right + 1e-5}
        hidden = [m for m, d in shows.items() if d < (1e-3 if m == "other_gelu" else 0.05)]
        failures += right > 1e-4 or bool(hidden)
        print(f"{case.name}: |logits| <= {np.abs(truth).max():.1f}, oracle differs by {right:.1e}; mistakes move them by {shows}")
        if hidden:
            print(f"  too weak to notice: {hidden}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
