# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy==2.4.6",
#   "safetensors==0.8.0",
#   "tokenizers==0.23.3",
#   "torch==2.15.0",
#   "transformers==5.23.0",
# ]
# ///
"""Makes the golden fixtures: tiny random checkpoints with reference values computed by transformers.

Run `cargo xtask golden` (which installs the pins above), or `python export.py --out DIR`.
Every case is one folder in Hugging Face form plus `expected.safetensors`; README.md says what each tensor is.

The one idea: a checkpoint whose weights are *large*. With the usual initialisation (std 0.02) a forgotten bias,
a wrong RoPE convention or a wrong norm epsilon moves the logits by less than any honest tolerance.
Here every such mistake moves them by more than 0.1.

`config.json` is written by hand, not by `save_pretrained`, because the spelling of its keys is part of what is tested.
"""

import argparse
import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, BertModel, PreTrainedTokenizerFast
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

BATCH, SEQ, PROMPT, NEW, PENALTY, SCORED = 3, 11, 5, 12, 1.3, 4
PADDED_LENGTHS = [11, 7, 4]
# Two candidates closer than this could swap places on another device, and the greedy reference would be a coin toss.
MIN_GREEDY_GAP = 0.01

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 97,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "float32",
}
GPT2 = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "activation_function": "gelu_new",
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 4,
    "n_inner": None,
    "n_positions": 64,
    "vocab_size": 97,
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False,
    "tie_word_embeddings": True,
    "bos_token_id": 96,
    "eos_token_id": 96,
    "torch_dtype": "float32",
}
QWEN = {"sliding_window": 32, "use_sliding_window": False, "max_window_layers": 1, "rope_theta": 1000000.0}

# name -> (config, options). Options: dtype on disk, shards, tokenizer, and two habits of old files: `buffers` (constants saved as tensors) and `bare` (no `transformer.` prefix).
CASES = {
    "llama": (LLAMA | {"tie_word_embeddings": True, "vocab_size": 271}, {"tokenizer": "llama"}),
    "llama-untied-f16": (LLAMA | {"vocab_size": 271, "torch_dtype": "float16"}, {"dtype": "float16", "tokenizer": "llama"}),
    "llama-bf16-shards": (
        LLAMA | {"vocab_size": 271, "torch_dtype": "bfloat16"},
        {"dtype": "bfloat16", "shards": 3, "tokenizer": "llama"},
    ),
    # head_dim 12 and theta 100 put one frequency below, two inside and three above the band that llama3 scaling blends.
    "llama3-rope": (
        LLAMA
        | {
            "head_dim": 12,
            "rope_theta": 100.0,
            "eos_token_id": [2, 5],
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
        {},
    ),
    "llama-linear-rope": (LLAMA | {"rope_scaling": {"type": "linear", "factor": 2.5}}, {"buffers": True}),
    "llama-rope-parameters": (
        {k: v for k, v in LLAMA.items() if k not in ("rope_theta", "torch_dtype")}
        | {"dtype": "float32", "rope_parameters": {"rope_type": "default", "rope_theta": 50.0}},
        {},
    ),
    "llama-bias": (LLAMA | {"attention_bias": True, "mlp_bias": True}, {}),
    "mistral": (
        LLAMA
        | {
            "architectures": ["MistralForCausalLM"],
            "model_type": "mistral",
            "head_dim": 10,
            "rms_norm_eps": 1e-2,
            "sliding_window": None,
        },
        {},
    ),
    "qwen2": (LLAMA | {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rms_norm_eps": 1e-3} | QWEN, {}),
    "qwen3": (
        LLAMA
        | {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            "head_dim": 8,
            "attention_bias": False,
            "tie_word_embeddings": True,
            "rms_norm_eps": 1e-2,
            "rope_scaling": None,
        }
        | QWEN
        | {"sliding_window": None},
        {},
    ),
    "gpt2": (GPT2 | {"vocab_size": 271, "bos_token_id": 270, "eos_token_id": 270}, {"tokenizer": "gpt2"}),
    "gpt2-bare-keys": (GPT2 | {"n_inner": 36, "layer_norm_epsilon": 1e-2}, {"bare": True, "buffers": True}),
    "gpt2-gelu": (GPT2 | {"activation_function": "gelu"}, {}),
}
BERT = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 97,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-3,
    "position_embedding_type": "absolute",
    "pad_token_id": 0,
    "torch_dtype": "float32",
}


# ---- checkpoints -------------------------------------------------------------------------------------------------


def llama_shapes(c):
    """Tensor names and shapes of the Llama family; `*norm.weight` and `*.bias` are recognised by name when filled."""
    d, d_ff = c["hidden_size"], c["intermediate_size"]
    head_dim = c.get("head_dim") or d // c["num_attention_heads"]
    q, kv = c["num_attention_heads"] * head_dim, c["num_key_value_heads"] * head_dim
    shapes = {"model.embed_tokens.weight": [c["vocab_size"], d], "model.norm.weight": [d]}
    if not c["tie_word_embeddings"]:
        shapes["lm_head.weight"] = [c["vocab_size"], d]
    qkv_bias = c.get("attention_bias", False) or c["model_type"] == "qwen2"
    for layer in range(c["num_hidden_layers"]):
        p = f"model.layers.{layer}."
        linears = {
            "self_attn.q_proj": ([q, d], qkv_bias),
            "self_attn.k_proj": ([kv, d], qkv_bias),
            "self_attn.v_proj": ([kv, d], qkv_bias),
            "self_attn.o_proj": ([d, q], c.get("attention_bias", False)),
            "mlp.gate_proj": ([d_ff, d], c.get("mlp_bias", False)),
            "mlp.up_proj": ([d_ff, d], c.get("mlp_bias", False)),
            "mlp.down_proj": ([d, d_ff], c.get("mlp_bias", False)),
        }
        for name, (shape, bias) in linears.items():
            shapes[f"{p}{name}.weight"] = shape
            if bias:
                shapes[f"{p}{name}.bias"] = shape[:1]
        for name in ("input_layernorm", "post_attention_layernorm"):
            shapes[f"{p}{name}.weight"] = [d]
        if c["model_type"] == "qwen3":
            for name in ("self_attn.q_norm", "self_attn.k_norm"):
                shapes[f"{p}{name}.weight"] = [head_dim]
    return shapes


def gpt2_shapes(c, prefix):
    """GPT-2 keeps its linear weights as `[in, out]`."""
    d, d_ff = c["n_embd"], c["n_inner"] or 4 * c["n_embd"]
    shapes = {"wte.weight": [c["vocab_size"], d], "wpe.weight": [c["n_positions"], d]}
    for name in ["ln_f"] + [f"h.{i}.{n}" for i in range(c["n_layer"]) for n in ("ln_1", "ln_2")]:
        shapes |= {f"{name}.weight": [d], f"{name}.bias": [d]}
    linears = {"attn.c_attn": [d, 3 * d], "attn.c_proj": [d, d], "mlp.c_fc": [d, d_ff], "mlp.c_proj": [d_ff, d]}
    for layer in range(c["n_layer"]):
        for name, shape in linears.items():
            shapes |= {f"h.{layer}.{name}.weight": shape, f"h.{layer}.{name}.bias": shape[1:]}
    return {prefix + name: shape for name, shape in shapes.items()}


def bert_shapes(c):
    d, d_ff = c["hidden_size"], c["intermediate_size"]
    shapes = {
        "embeddings.word_embeddings.weight": [c["vocab_size"], d],
        "embeddings.position_embeddings.weight": [c["max_position_embeddings"], d],
        "embeddings.token_type_embeddings.weight": [c["type_vocab_size"], d],
    }
    linears = {"pooler.dense": [d, d]}
    norms = ["embeddings.LayerNorm"]
    for layer in range(c["num_hidden_layers"]):
        p = f"encoder.layer.{layer}."
        linears |= {f"{p}attention.self.{n}": [d, d] for n in ("query", "key", "value")}
        linears |= {f"{p}attention.output.dense": [d, d], f"{p}intermediate.dense": [d_ff, d], f"{p}output.dense": [d, d_ff]}
        norms += [f"{p}attention.output.LayerNorm", f"{p}output.LayerNorm"]
    for name, shape in linears.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        shapes |= {f"{name}.weight": [d], f"{name}.bias": [d]}
    return shapes


def fill(shapes, rng):
    """Random weights large enough that every one of them matters."""
    weights = {}
    for name, shape in sorted(shapes.items()):
        if len(shape) == 1 and name.endswith(".weight"):  # the only vectors called weight are those of norms
            value = rng.uniform(0.5, 1.6, shape)
        elif name.endswith(".bias"):
            value = rng.normal(0.0, 0.4, shape)
        else:
            value = rng.normal(0.0, 0.35, shape)
        weights[name] = torch.from_numpy(value.astype(np.float32))
    return weights


def old_buffers(c):
    """Constants that old versions of transformers saved as tensors. A loader must not count them as unknown weights."""
    if c["model_type"] == "gpt2":
        n = c["n_positions"]
        mask = torch.tril(torch.ones(n, n)).view(1, 1, n, n)
        return {f"h.{i}.attn.bias": mask.clone() for i in range(c["n_layer"])}
    if c["model_type"] == "bert":
        return {"embeddings.position_ids": torch.arange(c["max_position_embeddings"])[None]}
    half = c["hidden_size"] // c["num_attention_heads"] // 2
    inv_freq = 1.0 / c["rope_theta"] ** (torch.arange(half, dtype=torch.float32) / half)
    return {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": inv_freq.clone() for i in range(c["num_hidden_layers"])}


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_lines(path, values):
    path.write_text("".join(json.dumps(v, ensure_ascii=False) + "\n" for v in values), encoding="utf-8")


def write_checkpoint(folder, config, weights, shards=1):
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config)
    if shards == 1:
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = sorted(weights)
    weight_map = {}
    for shard in range(shards):
        part = names[shard::shards]  # interleaved, so that one layer's tensors lie in several files
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        save_file({n: weights[n] for n in part}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    total = sum(w.numel() * w.element_size() for w in weights.values())
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    write_json(folder / "model.safetensors.index.json", index)


# ---- references of the decoders ----------------------------------------------------------------------------------


def next_token_logprobs(logits, ids):
    """log p(ids[t + 1] | ids[..= t]) at index t."""
    logprobs = torch.log_softmax(logits[:, :-1].double(), dim=-1)
    return logprobs.gather(-1, ids[:, 1:, None])[..., 0].float()


def greedy(model, ids, penalty=None):
    """Arg-max decoding without a cache and without a stop; returns the new ids and the smallest lead of a winner."""
    process = RepetitionPenaltyLogitsProcessor(penalty) if penalty else lambda _, scores: scores
    smallest = float("inf")
    for _ in range(NEW):
        scores = process(ids, model(ids, use_cache=False).logits[:, -1].clone())
        top = scores.topk(2).values
        smallest = min(smallest, (top[:, 0] - top[:, 1]).min().item())
        ids = torch.cat([ids, scores.argmax(-1, keepdim=True)], dim=1)
    return ids[:, -NEW:].contiguous(), smallest


def input_gradient(model, ids):
    """Gradient of the mean cross-entropy of the last SCORED ids of each row, with respect to the input embeddings."""
    model = model.double()
    embeds = model.get_input_embeddings()(ids).detach().requires_grad_(True)
    logits = model(inputs_embeds=embeds, use_cache=False).logits[:, -SCORED - 1 : -1]
    loss = torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, -SCORED:].reshape(-1))
    (gradient,) = torch.autograd.grad(loss, embeds)
    return loss.detach().float().reshape(1), gradient.float()


def last_block(model):
    return (model.model.layers if hasattr(model, "model") else model.transformer.h)[-1]


def decoder_references(name, folder, vocab, rng):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    model.eval()
    assert not info["missing_keys"] and not info["mismatched_keys"], (name, info)
    ids = torch.from_numpy(rng.integers(3, vocab - 1, (BATCH, SEQ)))
    ragged = [torch.from_numpy(rng.integers(3, vocab - 1, (1, n))) for n in PADDED_LENGTHS]
    caught = []
    hook = last_block(model).register_forward_hook(lambda _m, _i, out: caught.append(out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        out = model(ids, output_hidden_states=True, use_cache=False)
        hook.remove()
        expected = {f"hidden_states.{i}": h for i, h in enumerate(out.hidden_states)}
        expected |= {
            "input_ids": ids,
            "last_block": caught[0],
            "logits": out.logits,
            "logprobs": next_token_logprobs(out.logits, ids),
            "padded.lengths": torch.tensor(PADDED_LENGTHS),
            "padded.input_ids": torch.cat([r[0] for r in ragged]),
            "padded.logits": torch.cat([model(r, use_cache=False).logits[0] for r in ragged]),
        }
        expected["greedy_ids"], gap = greedy(model, ids[:, :PROMPT])
        expected["greedy_rep_ids"], gap_rep = greedy(model, ids[:, :PROMPT], PENALTY)
    if min(gap, gap_rep) < MIN_GREEDY_GAP:
        return False
    if (folder / "tokenizer.json").exists():
        score(folder, model)
    expected["loss"], expected["input_grad"] = input_gradient(model, ids)
    save_file({k: v.contiguous().clone() for k, v in expected.items()}, folder / "expected.safetensors")
    print(f"{name}: loss {expected['loss'].item():.4f}, smallest greedy lead {min(gap, gap_rep):.3f}")
    return True


def export_decoder(out, name, config, options, seed):
    """Writes one case; false if greedy decoding nearly ties, so that another seed must be tried."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), seed])
    folder = out / name
    if config["model_type"] == "gpt2":
        shapes = gpt2_shapes(config, "" if options.get("bare") else "transformer.")
    else:
        shapes = llama_shapes(config)
    weights = fill(shapes, rng)
    if options.get("buffers"):
        weights |= old_buffers(config)
    dtype = getattr(torch, options.get("dtype", "float32"))
    write_checkpoint(folder, config, {k: v.to(dtype) for k, v in weights.items()}, options.get("shards", 1))
    if "tokenizer" in options:
        write_tokenizer(folder, options["tokenizer"], config["vocab_size"])
    return decoder_references(name, folder, config["vocab_size"], rng)


# ---- tokenizers and text -----------------------------------------------------------------------------------------

MERGES = ["Ġ t", "h e", "Ġt he", "i n", "Ġ a", "r e", "o n", "Ġ s", "e r", "a n", "Ġ w", "o u", "l l", "Ġa n"]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '[' + message['role'] + '] ' + message['content'] | trim + eos_token + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)
# An accent, an emoji of four bytes, a text that is one token, an empty prompt, a target starting without a space.
SCORE = [
    {"prompt": "The user likes the", "target": " rain in Spain"},
    {"prompt": "Naïve café", "target": " — déjà vu 🙂"},
    {"prompt": "a", "target": "b"},
    {"prompt": "", "target": "on the hill"},
    {"prompt": "line one\nline two\n", "target": "3 < 4;\ttabs"},
]
CHATS = [
    {"messages": [{"role": "user", "content": " Hello there "}], "add_generation_prompt": True},
    {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Why?"},
            {"role": "assistant", "content": "Because."},
        ],
        "add_generation_prompt": False,
    },
]


def byte_alphabet():
    """GPT-2's printable stand-ins for the 256 bytes, in its order."""
    kept = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    return [chr(b) for b in kept] + [chr(256 + i) for i in range(256 - len(kept))]


def special(id, content):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": id, "content": content} | flags


def byte_level_tokenizer(kind, vocab_size):
    """Byte-level BPE; `llama` puts `<s>` before every text, `gpt2` adds nothing, as its model family does."""
    specials = ["<unk>", "<s>", "</s>"] if kind == "llama" else []
    merges = MERGES[: vocab_size - 256 - (len(specials) or 1)]
    tokens = specials + byte_alphabet() + [m.replace(" ", "") for m in merges]
    if kind == "gpt2":
        specials = ["<|endoftext|>"]
        tokens += specials
    assert len(set(tokens)) == vocab_size, (kind, len(tokens))
    vocab = {token: i for i, token in enumerate(tokens)}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    bos = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [bos, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [bos, {"Sequence": {"id": "A", "type_id": 0}}, bos, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }
    model = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    model |= {"fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": merges}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special(vocab[s], s) for s in specials],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": template if kind == "llama" else byte_level,
        "decoder": byte_level,
        "model": model,
    }


def write_tokenizer(folder, kind, vocab_size):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = byte_level_tokenizer(kind, vocab_size)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, "model_max_length": 64}
    if kind == "llama":
        config |= {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "chat_template": CHAT_TEMPLATE}
    else:
        config |= dict.fromkeys(["bos_token", "eos_token", "unk_token"], "<|endoftext|>")
    write_json(folder / "tokenizer_config.json", config)


def score(folder, model):
    """`e2p score`'s references: one pair at a time, no padding, no cache. Also the chats, where there is a template."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    plain = Tokenizer.from_file(str(folder / "tokenizer.json"))
    pairs = [p for p in SCORE if p["prompt"] or tokenizer("")["input_ids"]]  # GPT-2 has nothing to condition on there
    lines = []
    for pair in pairs:
        prompt = tokenizer(pair["prompt"])["input_ids"]
        target = tokenizer(pair["target"], add_special_tokens=False)["input_ids"]
        assert prompt == plain.encode(pair["prompt"]).ids and len(prompt + target) <= 64
        assert tokenizer.decode(target) == pair["target"]
        with torch.no_grad():
            logprobs = next_token_logprobs(model(torch.tensor([prompt + target])).logits, torch.tensor([prompt + target]))
        values = [round(x, 6) for x in logprobs[0, -len(target) :].double().tolist()]
        line = {"logprob": round(sum(values), 6), "tokens": len(target), "token_logprobs": values}
        lines.append(line | {"prompt_ids": prompt, "target_ids": target})
    write_lines(folder / "score.jsonl", pairs)
    write_lines(folder / "score_expected.jsonl", lines)
    if tokenizer.chat_template:
        for chat in CHATS:
            text = tokenizer.apply_chat_template(chat["messages"], tokenize=False, add_generation_prompt=chat["add_generation_prompt"])
            chat |= {"text": text, "ids": tokenizer(text, add_special_tokens=False)["input_ids"]}
        write_lines(folder / "chat_expected.jsonl", CHATS)


# ---- the encoder -------------------------------------------------------------------------------------------------

SENTENCES = ["The cat sat.", "rain", "A user, 3 hats; Zoë?", "cats and rain and cats"]


def wordpiece_tokenizer(vocab_size):
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + ["##" + c for c in letters]
    tokens += [".", ",", ";", "!", "the", "cat", "and", "##at", "rain", "##s"]
    tokens = list(dict.fromkeys(tokens))
    tokens += [str(n) for n in range(10)]
    tokens += [f"[unused{i}]" for i in range(vocab_size - len(tokens))]
    vocab = {token: i for i, token in enumerate(tokens)}
    cls, sep = ({"SpecialToken": {"id": t, "type_id": 0}} for t in ("[CLS]", "[SEP]"))
    a, b = {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special(vocab[t], t) for t in tokens[:5]],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [cls, a, sep],
            "pair": [cls, a, sep, b, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {t: {"id": t, "ids": [vocab[t]], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab},
    }


def embed(model, ids, mask):
    out = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    weight = mask[..., None].to(out.last_hidden_state.dtype)
    pooled = (out.last_hidden_state * weight).sum(1) / weight.sum(1).clamp(min=1e-9)
    return out.hidden_states, pooled, torch.nn.functional.normalize(pooled, dim=-1)


def export_bert(out):
    folder, rng = out / "bert", np.random.default_rng(zlib.crc32(b"bert"))
    write_checkpoint(folder, BERT, fill(bert_shapes(BERT), rng) | old_buffers(BERT))
    (folder / "tokenizer.json").write_text(json.dumps(wordpiece_tokenizer(97), ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "[PAD]", "model_max_length": 64})
    # What a sentence-transformers directory says about pooling and length.
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write_json(folder / "modules.json", [{"idx": i, "name": str(i), "path": p, "type": f"sentence_transformers.models.{t}"} for i, (p, t) in enumerate(modules)])
    (folder / "1_Pooling").mkdir(exist_ok=True)
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": 24, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False})

    model, info = BertModel.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    model.eval()
    assert not info["missing_keys"] and not info["mismatched_keys"], info
    ids = torch.from_numpy(rng.integers(5, 97, (BATCH, SEQ)))
    mask = torch.tensor([[1] * n + [0] * (SEQ - n) for n in PADDED_LENGTHS])
    ids = ids * mask
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    lines = []
    with torch.no_grad():
        hidden, pooled, embedding = embed(model, ids, mask)
        for text in SENTENCES:
            row = torch.tensor([tokenizer.encode(text).ids])
            vector = embed(model, row, torch.ones_like(row))[2][0]
            lines.append({"text": text, "ids": row[0].tolist(), "embedding": [round(x, 6) for x in vector.double().tolist()]})
    # Padding positions hold values nobody may rely on: zero them, so that a comparison can mask them the same way.
    expected = {f"hidden_states.{i}": h * mask[..., None] for i, h in enumerate(hidden)}
    expected |= {"input_ids": ids, "attention_mask": mask, "pooled": pooled, "embedding": embedding}
    save_file({k: v.contiguous().clone() for k, v in expected.items()}, folder / "expected.safetensors")
    write_lines(folder / "sentences_expected.jsonl", lines)
    print(f"bert: pooled norm {pooled.norm(dim=-1).tolist()}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", help="one case")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, (config, options) in CASES.items():
        if args.only not in (None, name):
            continue
        for seed in range(50):
            if export_decoder(args.out, name, config, options, seed):
                break
        else:
            raise SystemExit(f"{name}: every seed makes a near-tie in greedy decoding")
    if args.only in (None, "bert"):
        export_bert(args.out)


if __name__ == "__main__":
    main()
