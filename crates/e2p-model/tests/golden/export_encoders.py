# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "numpy==2.4.6",
#   "safetensors==0.8.0",
#   "sentence-transformers==6.2.0",
#   "tokenizers==0.23.3",
#   "torch==2.15.0",
#   "transformers==5.23.0",
# ]
# ///
"""Makes the fixtures of text encoders: tiny random directories with vectors computed by sentence-transformers.

Run `cargo xtask golden` (which installs the pins above), or `python export_encoders.py --out DIR`.
Every case is one folder below `encoders/` plus `sentences_expected.jsonl`; README.md says what its lines hold.

Weights are large for the reason given in `export.py`, and the files beside them are written by hand,
because their spelling is part of what is tested.
"""

import argparse
import json
import logging
import shutil
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel

WORDS = """i keep bees and bake bread on sundays live in a small town by the sea query passage : . , like long walks very much
represent this sentence ##s ##ing we read old books about stars my sister plays cello""".split()
SENTENCES = [
    "i keep bees",
    "I live in a small town by the sea, and BAKE bread on Sundays.",
    "we read old books about stars",
    "likes walking",
    # Longer than every limit and than the buckets of MPNet that hold one distance each.
    "my sister plays cello , i keep bees and bake bread on sundays , we live in a small town by the sea : long walks very much . " * 3,
    "zzz",
]

BERT = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_act": "gelu",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 64,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "position_embedding_type": "absolute",
    "pad_token_id": 0,
    "torch_dtype": "float32",
}
TINY = BERT | {"hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 1}
ROBERTA = {k: v for k, v in BERT.items() if k != "position_embedding_type"} | {
    "architectures": ["RobertaForMaskedLM"],
    "model_type": "roberta",
    "type_vocab_size": 1,
    "layer_norm_eps": 1e-3,
    "pad_token_id": 1,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
XLM_R = ROBERTA | {"architectures": ["XLMRobertaModel"], "model_type": "xlm-roberta", "layer_norm_eps": 1e-5}
DISTILBERT = {
    "architectures": ["DistilBertModel"],
    "model_type": "distilbert",
    "activation": "gelu",
    "dim": 16,
    "hidden_dim": 24,
    "n_layers": 2,
    "n_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "sinusoidal_pos_embds": False,
}
MPNET = {k: v for k, v in ROBERTA.items() if k != "type_vocab_size"} | {
    "architectures": ["MPNetForMaskedLM"],
    "model_type": "mpnet",
    "relative_attention_num_buckets": 32,
    "max_position_embeddings": 100,
}
DECODER = {
    "hidden_act": "silu",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "bos_token_id": None,
    "eos_token_id": 2,
    "sliding_window": None,
}
QWEN3 = DECODER | {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "tie_word_embeddings": True, "attention_bias": False}
MISTRAL = DECODER | {"architectures": ["MistralModel"], "model_type": "mistral", "tie_word_embeddings": False}

OLD, NEW = "sentence_transformers.models", "sentence_transformers.sentence_transformer.modules.pooling"
NEW_BASE = "sentence_transformers.base.modules"
MEAN = {"pooling_mode": "mean"}
QUERY = {"prompts": {"query": "query : ", "passage": "passage : "}, "default_prompt_name": "query"}


def old(**modes):
    """Pooling's configuration before sentence-transformers 5.4."""
    keys = ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken")
    return {f"pooling_mode_{key}": bool(modes.get(key)) for key in keys}


def dense(d_in, d_out, activation, bias=True):
    return {"in_features": d_in, "out_features": d_out, "bias": bias, "activation_function": f"torch.nn.modules.{activation}"}


# name -> (config, modules behind the model, options). Options: `prefix` before every tensor's name, `head` (tensors
# of a masked language model beside the encoder), `folder` of the model, `transformer` (file name, content), `prompts`,
# `tokenizer` (entries of tokenizer_config.json), `lower` (the tokenizer lowers the case), `truncation` of tokenizer.json.
CASES = {
    "bert-cls": (BERT, [{"pooling_mode": "cls"}, "Normalize"], {"new": True, "tokenizer": {"tokenizer_class": "BertTokenizer"}}),
    "roberta": (ROBERTA, [old(mean_tokens=True)], {"prefix": "roberta.", "head": True, "tokenizer": {"model_max_length": 62}}),
    "xlm-roberta": (XLM_R, [MEAN, "Normalize"], {"prompts": QUERY, "transformer": ("sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": False})}),
    "distilbert": (
        DISTILBERT,
        [old(mean_tokens=True), dense(16, 6, "activation.Tanh")],
        {"folder": "0_Transformer", "transformer": ("sentence_distilbert_config.json", {"max_seq_length": 20})},
    ),
    "mpnet": (MPNET, [old(mean_tokens=True), "Normalize"], {"prefix": "mpnet.", "head": True, "tokenizer": {"model_max_length": 98}}),
    "bert-named": (TINY | {"hidden_act": "gelu_new"}, [MEAN], {"prefix": "bert.", "head": True}),
    "pooling-max": (TINY, [old(max_tokens=True)], {}),
    "pooling-sqrt": (TINY, [{"pooling_mode": "mean_sqrt_len_tokens"}], {}),
    "pooling-weighted": (TINY, [old(weightedmean_tokens=True), "Normalize"], {}),
    "pooling-last": (TINY, [{"pooling_mode": "lasttoken"}], {}),
    "pooling-three-old": (TINY, [old(mean_tokens=True, cls_token=True, max_tokens=True), "Normalize"], {}),
    "pooling-two-new": (TINY, [{"pooling_mode": ["lasttoken", "mean"]}], {"new": True}),
    "pooling-none-said": (TINY, [{}, "Dropout"], {}),
    "dense-two": (
        TINY,
        [MEAN, dense(8, 12, "activation.GELU"), "Normalize", dense(12, 5, "linear.Identity", bias=False)],
        {},
    ),
    "dense-relu": (TINY, [MEAN, dense(8, 8, "activation.ReLU")], {}),
    "dense-silu": (TINY, [MEAN, dense(8, 8, "activation.SiLU")], {}),
    "dense-sigmoid": (TINY, [MEAN, dense(8, 8, "activation.Sigmoid")], {}),
    "prompt-left-out": (TINY, [{"pooling_mode": ["cls", "mean", "weightedmean", "max"], "include_prompt": False}], {"prompts": QUERY}),
    "prompt-named-only": (TINY, [MEAN], {"prompts": QUERY | {"default_prompt_name": None}}),
    "lower-case": (TINY, [MEAN], {"lower": False, "transformer": ("sentence_bert_config.json", {"max_seq_length": 30, "do_lower_case": True})}),
    "cased": (TINY, [MEAN], {"lower": False}),
    "tokenizer-limit": (TINY, [MEAN], {"tokenizer": {"model_max_length": 9}, "truncation": {"max_length": 5, "strategy": "LongestFirst", "stride": 0, "direction": "Left"}}),
    "limit-above": (TINY, [MEAN], {"transformer": ("sentence_bert_config.json", {"max_seq_length": 40}), "tokenizer": {"model_max_length": 9}}),
    "cut-left": (TINY, [MEAN], {"tokenizer": {"model_max_length": 12, "truncation_side": "left"}}),
    "qwen3-last": (QWEN3, [{"pooling_mode": "lasttoken"}, "Normalize"], {"prefix": "model.", "new": True, "prompts": QUERY, "tokenizer": {"model_max_length": 24}}),
    "mistral-weighted": (MISTRAL, [old(weightedmean_tokens=True)], {"folder": ""}),
}


def write_json(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def fill(shapes, rng):
    """Norms around one, matrices with a standard deviation of 0.3, so that every term shows in the vectors."""
    weights = {}
    for name, shape in sorted(shapes.items()):
        values = rng.normal(0.0, 0.3, shape)
        if name.lower().endswith(("norm.weight",)):
            values += 1.0
        weights[name] = torch.from_numpy(values.astype(np.float32))
    return weights


def tokenizer_json(config, lower, truncation):
    """WordPiece with the family's special tokens around a text; a decoder has one behind it only."""
    kind = config["model_type"]
    if kind in ("bert", "distilbert"):
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        before, behind, unknown = "[CLS]", "[SEP]", "[UNK]"
    else:
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        before, behind, unknown = "<s>", "</s>", "<unk>"
    vocab = {token: i for i, token in enumerate(special + sorted(set(WORDS)))}
    part = lambda t: {"SpecialToken": {"id": t, "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    single = [text, part(behind)] if kind in ("qwen3", "mistral") else [part(before), text, part(behind)]
    return vocab, {
        "version": "1.0",
        "truncation": truncation,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for i, t in enumerate(special)
        ],
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": lower},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": single + [{"Sequence": {"id": "B", "type_id": 0}}, part(behind)],
            "special_tokens": {t: {"id": t, "ids": [vocab[t]], "tokens": [t]} for t in (before, behind)},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocab},
    }


def write_model(folder, config, options, rng):
    vocab, tokenizer = tokenizer_json(config, options.get("lower", True), options.get("truncation"))
    config = config | {"vocab_size": len(vocab)}
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer.json", tokenizer)
    bert = "[CLS]" in vocab
    roles = {"pad_token": "[PAD]" if bert else "<pad>", "sep_token": "[SEP]" if bert else "</s>", "eos_token": "[SEP]" if bert else "</s>"}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast"} | roles | options.get("tokenizer", {}))
    with torch.device("meta"):
        model = AutoModel.from_config(AutoConfig.from_pretrained(folder))
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    weights = fill(shapes, rng)
    weights = {options.get("prefix", "") + name: value for name, value in weights.items()}
    if options.get("head"):
        weights["lm_head.bias"] = torch.zeros(len(vocab))
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    if "transformer" in options:
        name, content = options["transformer"]
        write_json(folder / name, content)


def write_modules(out, config, modules, options, rng):
    width = config.get("hidden_size") or config["dim"]
    is_new = options.get("new")
    folder = options.get("folder", "")
    listed = [(folder, f"{NEW_BASE}.transformer.Transformer" if is_new else f"{OLD}.Transformer")]
    for i, module in enumerate(modules, 1):
        if isinstance(module, str):
            path, kind = f"{i}_{module}", f"{NEW_BASE}.{module.lower()}.{module}" if is_new else f"{OLD}.{module}"
            if module == "Dropout":
                write_json(out / path / "config.json", {"dropout": 0.2})
            elif is_new:
                write_json(out / path / "config.json", {"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"})
        elif "in_features" in module:
            path, kind = f"{i}_Dense", f"{OLD}.Dense"
            write_json(out / path / "config.json", module)
            shapes = {"linear.weight": [module["out_features"], module["in_features"]]}
            if module["bias"]:
                shapes["linear.bias"] = [module["out_features"]]
            save_file(fill(shapes, rng), out / path / "model.safetensors", metadata={"format": "pt"})
        else:
            path, kind = f"{i}_Pooling", f"{NEW}.Pooling" if is_new else f"{OLD}.Pooling"
            key = "embedding_dimension" if is_new else "word_embedding_dimension"
            write_json(out / path / "config.json", {key: width} | module)
        listed.append((path, kind))
    write_json(out / "modules.json", [{"idx": i, "name": str(i), "path": p, "type": t} for i, (p, t) in enumerate(listed)])
    if "prompts" in options:
        write_json(out / "config_sentence_transformers.json", {"__version__": {}, "similarity_fn_name": "cosine"} | options["prompts"])


def export(out, name, config, modules, options):
    folder, rng = out / "encoders" / name, np.random.default_rng(zlib.crc32(name.encode()))
    shutil.rmtree(folder, ignore_errors=True)
    write_model(folder / options.get("folder", ""), config, options, rng)
    write_modules(folder, config, modules, options, rng)
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32, "attn_implementation": "eager"})
    model.eval()
    vectors = model.encode(SENTENCES, batch_size=4, convert_to_numpy=True, show_progress_bar=False)
    prompt = model.prompts.get(model.default_prompt_name) if model.default_prompt_name else None
    lines = []
    for text, vector in zip(SENTENCES, vectors):
        ids = model[0].preprocess([text], prompt=prompt)["input_ids"][0].tolist()
        lines.append({"text": text, "ids": ids, "embedding": [float(f"{x:.8g}") for x in vector.tolist()]})
    (folder / "sentences_expected.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"{name}: {vectors.shape[1]} numbers, at most {model.max_seq_length} tokens, {size // 1000} kB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--only", help="one case")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, (config, modules, options) in CASES.items():
        if args.only in (None, name):
            export(args.out, name, config, modules, options)


if __name__ == "__main__":
    main()
