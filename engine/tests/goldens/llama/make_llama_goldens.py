"""Makes the tiny LLaMA checkpoints of this folder and the logits transformers computes for them.

    python make_llama_goldens.py [FOLDER]

Each checkpoint is a Hugging Face folder with random weights, large enough that attention matters and the logits are
far from uniform. Beside it go `ids.json` (the prompt) and `logits.npy`, float32 [positions, vocabulary], computed by
transformers with eager attention in float32; bfloat16 weights are rounded first and then widened. `kquant` keeps no
safetensors: its GGUF alone is committed. The GGUF files come from these folders:

    siskin quantize FOLDER/NAME FOLDER/NAME.gguf --type f32    (bf16 for the bfloat16 checkpoints)

Made with torch 2.15.0, transformers 5.23.0, tokenizers and sentencepiece of the same month. The weights are drawn with
numpy's PCG64, so another torch makes the same checkpoint.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEXT = ["the siskin sings all day and the song is the same on every board", "a small bird sings", "and the rain in the hand"]

BASE = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "num_hidden_layers": 2,
    "max_position_embeddings": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def special(index, content, flag=True):
    return {
        "id": index,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": flag,
    }


def split(pattern):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def byte_level(use_regex):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def train_merges(words, wanted):
    """Plain byte-pair training on lists of symbols; ties go to the smaller pair."""
    merges = []
    while len(merges) < wanted:
        counts = {}
        for word in words:
            for pair in zip(word, word[1:]):
                counts[pair] = counts.get(pair, 0) + 1
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        merges.append(best)
        for word in words:
            i = 0
            while i + 1 < len(word):
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [best[0] + best[1]]
                i += 1
    return merges


def byte_bpe(size, pre_tokenizer, merges_as_pairs, post_processor=None, added=()):
    """A byte-level BPE over printable ASCII, tab and newline; `size` counts the specials and excludes `added`."""
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = [chr(c) for c in range(33, 127)] + ["\u0109", "\u010a", "\u0120"]
    words = [list(("\u0120" if n else "") + word) for line in TEXT for n, word in enumerate(line.split())]
    merges = train_merges(words, size - len(specials) - len(alphabet))
    vocab = {token: i for i, token in enumerate(specials + alphabet + [a + b for a, b in merges])}
    assert len(vocab) == size
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special(i, s) for i, s in enumerate(specials)]
        + [special(size + i, content, flag) for i, (content, flag) in enumerate(added)],
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": post_processor,
        "decoder": byte_level(True),
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": merges_as_pairs,
            "vocab": vocab,
            "merges": [[a, b] if merges_as_pairs else f"{a} {b}" for a, b in merges],
        },
    }


def sentencepiece_bpe(size):
    """The form a SentencePiece Llama tokenizer takes in tokenizer.json: byte fallback, no pre-tokenizer."""
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    words = [list("\u2581" + word) for line in TEXT for word in line.split()]
    letters = sorted({c for word in words for c in word})
    merges = train_merges(words, size - len(tokens) - len(letters))
    tokens += [a + b for a, b in merges] + letters
    assert len(set(tokens)) == size
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [special(i, tokens[i]) for i in range(3)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "\u2581"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "<s>", "type_id": 1}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<unk>",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [f"{a} {b}" for a, b in merges],
        },
    }


def sentencepiece_model(size, **options):
    """A SentencePiece model file; `options` are the trainer's, such as the ids of special tokens."""
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT),
        model_writer=out,
        model_type="bpe",
        vocab_size=size,
        byte_fallback=True,
        normalization_rule_name="identity",
        split_digits=True,
        minloglevel=2,
        **options,
    )
    return out.getvalue()


def checkpoints():
    """name -> (config, dtype, prompt length, other files)."""
    tiny = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
    small = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}
    digits = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level(True)]}
    llama3 = {"type": "Sequence", "pretokenizers": [split(LLAMA3), byte_level(False)]}
    template = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    chatml = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}

    # Untied, grouped queries; config.vocab_size leaves three ids without a token.
    yield (
        "gqa",
        {**BASE, **tiny, "vocab_size": 128, "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "float32"},
        torch.float32,
        40,
        {
            "tokenizer.json": byte_bpe(124, llama3, True, added=[("<tool>", False)]),
            "tokenizer_config.json": {**chatml, "add_bos_token": False, "chat_template": template},
            "generation_config.json": {"bos_token_id": 1, "eos_token_id": [2, 0], "pad_token_id": 0},
        },
    )
    # Tied embeddings, SmolLM2's pre-tokenizer, the template in a file of its own.
    yield (
        "tied",
        {**BASE, **small, "vocab_size": 128, "rope_theta": 100000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16"},
        torch.bfloat16,
        40,
        {
            "tokenizer.json": byte_bpe(128, digits, False),
            "tokenizer_config.json": {**chatml, "unk_token": {"__type": "AddedToken", "content": "<|endoftext|>"}},
            "chat_template.jinja": template,
            "generation_config.json": {
                "do_sample": True,
                "temperature": 0.6,
                "top_p": 0.9,
                "top_k": 20,
                "repetition_penalty": 1.1,
                "eos_token_id": 2,
            },
        },
    )
    # Llama 3.1's frequency scaling in the form of transformers 5, read past the original context.
    yield (
        "rope-llama3",
        {
            **BASE,
            **tiny,
            "vocab_size": 128,
            "max_position_embeddings": 256,
            "tie_word_embeddings": True,
            "dtype": "float32",
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
        },
        torch.float32,
        96,
        {
            "tokenizer.json": byte_bpe(
                128,
                llama3,
                True,
                {
                    "type": "Sequence",
                    "processors": [
                        byte_level(True),
                        {
                            "type": "TemplateProcessing",
                            "single": [
                                {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
                                {"Sequence": {"id": "A", "type_id": 0}},
                            ],
                            "pair": [
                                {"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
                                {"Sequence": {"id": "A", "type_id": 0}},
                                {"SpecialToken": {"id": "<|im_start|>", "type_id": 1}},
                                {"Sequence": {"id": "B", "type_id": 1}},
                            ],
                            "special_tokens": {
                                "<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}
                            },
                        },
                    ],
                },
            ),
            "tokenizer_config.json": {**chatml, "chat_template": [{"name": "default", "template": template}]},
        },
    )
    # Heads wider than hidden_size / num_attention_heads; SentencePiece as tokenizer.json.
    yield (
        "head-dim",
        {
            **BASE,
            **small,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "head_dim": 48,
            "vocab_size": 304,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
        },
        torch.bfloat16,
        40,
        {
            "tokenizer.json": sentencepiece_bpe(304),
            "tokenizer_config.json": {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True},
        },
    )
    # Multi-head attention as in Llama 1: no num_key_value_heads, no rope_theta; SentencePiece's own file.
    mha = {k: v for k, v in tiny.items() if k != "num_key_value_heads"}
    yield (
        "mha",
        {**BASE, **mha, "vocab_size": 300, "tie_word_embeddings": False, "torch_dtype": "float32"},
        torch.float32,
        40,
        {
            "tokenizer.model": sentencepiece_model(296),
            "tokenizer_config.json": {
                "bos_token": {"content": "<s>"},
                "eos_token": {"content": "</s>"},
                "unk_token": {"content": "<unk>"},
                "add_bos_token": True,
                "add_eos_token": False,
                "added_tokens_decoder": {"296": {"content": "<pad>", "special": True}},
            },
        },
    )
    # Biases on every projection; linear frequency scaling.
    yield (
        "bias",
        {
            **BASE,
            **small,
            "vocab_size": 128,
            "rope_theta": 10000.0,
            "rope_scaling": {"type": "linear", "factor": 2.0},
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
        },
        torch.bfloat16,
        40,
        {"tokenizer.json": byte_bpe(128, digits, False), "tokenizer_config.json": chatml},
    )
    # Rows of 256, for the K-quants.
    yield (
        "kquant",
        {
            **BASE,
            "num_hidden_layers": 1,
            "hidden_size": 256,
            "intermediate_size": 256,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "vocab_size": 128,
            "rope_theta": 10000.0,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
        },
        torch.bfloat16,
        40,
        {"tokenizer.json": byte_bpe(128, digits, False), "tokenizer_config.json": chatml},
    )


def weights(model, dtype, rng, gain=1.0):
    """Gains near `gain`, small biases, projections that keep the variance of their input, sharp queries and keys."""
    sharp = ("q_proj", "k_proj", "qkv_proj")
    state = {}
    for name, tensor in model.state_dict().items():
        shape = tuple(tensor.shape)
        draw = rng.standard_normal(shape)
        if name.endswith("norm.weight"):
            draw = gain + 0.2 * draw
        elif name.endswith(".bias"):
            draw = 0.2 * draw
        elif "embed_tokens" in name:
            draw = draw * (2.8 / np.sqrt(shape[1]) if model.config.tie_word_embeddings else 1.0)
        else:
            draw = draw * (2.0 if any(part in name for part in sharp) else 1.2) / np.sqrt(shape[-1])
        state[name] = torch.from_numpy(draw.astype(np.float32)).to(dtype)
    if model.config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    return state


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for seed, (name, config, dtype, length, files) in enumerate(checkpoints()):
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
        for file, content in files.items():
            if isinstance(content, bytes):
                (folder / file).write_bytes(content)
            elif isinstance(content, str):
                (folder / file).write_text(content)
            else:
                (folder / file).write_text(json.dumps(content, ensure_ascii=False, indent=None) + "\n")

        rng = np.random.Generator(np.random.PCG64(1000 + seed))
        model = LlamaForCausalLM(LlamaConfig.from_pretrained(folder, attn_implementation="eager")).float().eval()
        state = weights(model, dtype, rng)
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        missing = model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
        assert not missing.unexpected_keys and set(missing.missing_keys) <= {"lm_head.weight"}, missing
        model.tie_weights()

        ids = rng.integers(0, config["vocab_size"], length).tolist()
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].numpy()
        (folder / "ids.json").write_text(json.dumps(ids) + "\n")
        np.save(folder / "logits.npy", logits.astype(np.float32))

        p = torch.softmax(torch.from_numpy(logits), -1)
        entropy = float(-(p * p.clamp_min(1e-30).log()).sum(-1).mean())
        size = sum(f.stat().st_size for f in folder.iterdir())
        print(f"{name}: {size} bytes, logits {logits.min():.2f}..{logits.max():.2f}, entropy {entropy:.2f} nats")


if __name__ == "__main__":
    main()
