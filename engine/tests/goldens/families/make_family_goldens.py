"""Makes the tiny checkpoints of this folder, one or more a family, and what transformers and llama.cpp make of them.

    python make_family_goldens.py --llama-cpp FOLDER [--out FOLDER] [NAME...]

Each checkpoint is a Hugging Face folder with random bfloat16 weights and a config.json in the form in which the family's
models are published. Beside it go `ids.json` (a prompt longer than any sliding window) and `logits.npy`, float32
[positions, vocabulary], computed by transformers with eager attention in float32, from the weights of that folder
widened. `NAME.gguf` is what llama.cpp's convert_hf_to_gguf.py writes from the folder, with bfloat16 matrices; FOLDER is
llama.cpp's source, as the source package of llama-cpp-python 0.3.36 has it in vendor/llama.cpp. That converter knows
pre-tokenizers by hashes of published vocabularies, so here it is told the name.

`phi4-mini` has a second prompt, `ids-short.json` and `logits-short.npy`: one that fits the original context. It is not
called phi3 because llama.cpp expects certain tokens in models of that name.

Made with torch 2.15.0, transformers 5.24.0, gguf, tokenizers and sentencepiece of the same month. The weights are drawn
with numpy's PCG64, so another torch makes the same checkpoints.
"""

import argparse
import json
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForCausalLM

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "llama"))
from make_llama_goldens import LLAMA3, byte_bpe, byte_level, sentencepiece_model, split, weights  # noqa: E402

QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
PROMPT = 60

CHATML = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
LLAMA_SPM = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "LlamaTokenizer"}
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"

# Heads of 16, two of them for each key and value, and rows that are whole blocks of 32.
TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 128,
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": 128,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def byte_level_files(pattern, whole_words, template=TEMPLATE, tokenizer_class="PreTrainedTokenizerFast", **settings):
    steps = {"type": "Sequence", "pretokenizers": [split(pattern), byte_level(False)]}
    return {
        "tokenizer.json": byte_bpe(128, steps, whole_words),
        "tokenizer_config.json": {
            **CHATML,
            "tokenizer_class": tokenizer_class,
            "chat_template": template,
            "clean_up_tokenization_spaces": False,
            **settings,
        },
    }


def checkpoints():
    """(name, config, other files, llama.cpp's name of the pre-tokenizer, what is special about the weights or prompts)."""
    qwen2 = byte_level_files(QWEN2, False, tokenizer_class="Qwen2Tokenizer", add_prefix_space=False)

    # Qwen2.5-0.5B-Instruct
    yield (
        "qwen2",
        {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            **TINY,
            "hidden_size": 64,
            "intermediate_size": 96,
            "hidden_act": "silu",
            "max_window_layers": 1,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "sliding_window": 16,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
        },
        qwen2,
        "qwen2",
        {},
    )
    # Qwen3-0.6B: heads wider than hidden_size / num_attention_heads.
    yield (
        "qwen3",
        {
            "architectures": ["Qwen3ForCausalLM"],
            "model_type": "qwen3",
            **TINY,
            "attention_bias": False,
            "head_dim": 16,
            "hidden_act": "silu",
            "max_window_layers": 2,
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 1000000,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "use_sliding_window": False,
        },
        qwen2,
        "qwen2",
        {},
    )
    # Mistral-7B-v0.1: every layer sees a window of the last positions.
    yield (
        "mistral",
        {
            "architectures": ["MistralForCausalLM"],
            "model_type": "mistral",
            **TINY,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "num_hidden_layers": 3,
            "vocab_size": 296,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "sliding_window": 16,
            "tie_word_embeddings": False,
        },
        {
            "tokenizer.model": sentencepiece_model(296),
            "tokenizer_config.json": {**LLAMA_SPM, "add_bos_token": True, "add_eos_token": False, "legacy": False},
        },
        None,
        {},
    )
    gemma = {
        "attention_bias": False,
        "head_dim": 16,
        "hidden_activation": "gelu_pytorch_tanh",
        "rms_norm_eps": 1e-06,
        "vocab_size": 296,
        "bos_token_id": 2,
        "eos_token_id": 1,
        "pad_token_id": 0,
        "sliding_window": 16,
    }
    gemma_files = {
        "tokenizer.model": sentencepiece_model(296, pad_id=0, eos_id=1, bos_id=2, unk_id=3, add_dummy_prefix=False),
        "tokenizer_config.json": {
            "add_bos_token": True,
            "add_eos_token": False,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "tokenizer_class": "GemmaTokenizer",
        },
    }
    # gemma-3-4b, its text model: five layers with a window, then one without, whose rotation is stretched.
    gemma3 = {
        "architectures": ["Gemma3ForCausalLM"],
        "model_type": "gemma3_text",
        **TINY,
        **gemma,
        "intermediate_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "num_hidden_layers": 7,
        "attn_logit_softcapping": None,
        "cache_implementation": "hybrid",
        "final_logit_softcapping": None,
        "query_pre_attn_scalar": 16,
        "rope_local_base_freq": 10000,
        "rope_scaling": {"factor": 8.0, "rope_type": "linear"},
        "rope_theta": 1000000,
        "sliding_window_pattern": 6,
    }
    yield "gemma3", gemma3, gemma_files, None, {"gain": 0.0, "embedding": 0.6}
    # What no file of llama.cpp's says: another scale of the scores and another pattern; the form of transformers 5.
    lacking = ("rope_local_base_freq", "rope_scaling", "rope_theta", "sliding_window_pattern", "torch_dtype")
    yield (
        "gemma3-scale",
        {
            **{key: value for key, value in gemma3.items() if key not in lacking},
            "dtype": "bfloat16",
            "num_hidden_layers": 3,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
            "query_pre_attn_scalar": 24,
            "rope_parameters": {
                "full_attention": {"rope_theta": 1000000.0, "rope_type": "default"},
                "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"},
            },
        },
        gemma_files,
        None,
        {"gain": 0.0, "embedding": 0.6},
    )
    # gemma-2-2b: every other layer with a window; scores and logits are bounded, tighter than the published 50 and 30.
    yield (
        "gemma2",
        {
            "architectures": ["Gemma2ForCausalLM"],
            "model_type": "gemma2",
            **TINY,
            **gemma,
            "num_hidden_layers": 3,
            "attn_logit_softcapping": 3.0,
            "cache_implementation": "hybrid",
            "final_logit_softcapping": 6.0,
            "hidden_act": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": 16,
            "rope_theta": 10000.0,
        },
        gemma_files,
        None,
        {"gain": 0.0, "embedding": 0.6},
    )
    # SmolLM3-3B: every fourth layer without rotation.
    yield (
        "smollm3",
        {
            "architectures": ["SmolLM3ForCausalLM"],
            "model_type": "smollm3",
            **TINY,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "num_hidden_layers": 5,
            "attention_bias": False,
            "hidden_act": "silu",
            "layer_types": ["full_attention"] * 5,
            "max_window_layers": 28,
            "mlp_bias": False,
            "no_rope_layer_interval": 4,
            "no_rope_layers": [1, 1, 1, 0, 1],
            "pad_token_id": 0,
            "pretraining_tp": 2,
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 5000000.0,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
        },
        byte_level_files(LLAMA3, True),
        "smaug-bpe",
        {},
    )
    granite = {
        "attention_bias": False,
        "attention_multiplier": 0.2,
        "embedding_multiplier": 12.0,
        "hidden_act": "silu",
        "logits_scaling": 0.125,
        "residual_multiplier": 0.22,
        "rms_norm_eps": 1e-05,
        "rope_scaling": None,
        "rope_theta": 10000000.0,
        "tie_word_embeddings": True,
    }
    digits = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level(True)]}
    granite_files = {
        "tokenizer.json": byte_bpe(128, digits, False),
        "tokenizer_config.json": {**CHATML, "add_bos_token": False, "tokenizer_class": "GPT2Tokenizer", "chat_template": TEMPLATE},
    }
    # granite-3.3-2b-instruct
    yield (
        "granite",
        {
            "architectures": ["GraniteForCausalLM"],
            "model_type": "granite",
            **TINY,
            **granite,
            "hidden_size": 64,
            "intermediate_size": 96,
            "mlp_bias": False,
        },
        granite_files,
        "refact",
        {"embedding": 0.1},
    )
    # OLMo-2-0425-1B: norms after each part and none before, of queries and keys over all heads.
    yield (
        "olmo2",
        {
            "architectures": ["Olmo2ForCausalLM"],
            "model_type": "olmo2",
            **TINY,
            "hidden_size": 64,
            "intermediate_size": 96,
            "attention_bias": False,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 500000,
            "tie_word_embeddings": False,
        },
        byte_level_files(LLAMA3, False, tokenizer_class="GPT2Tokenizer"),
        "dbrx",
        {},
    )
    phi3 = {
        "architectures": ["Phi3ForCausalLM"],
        "model_type": "phi3",
        **TINY,
        "hidden_size": 64,
        "intermediate_size": 96,
        "attention_bias": False,
        "embd_pdrop": 0.0,
        "hidden_act": "silu",
        "resid_pdrop": 0.0,
        "rms_norm_eps": 1e-05,
        "rope_theta": 10000.0,
    }
    # Phi-3-mini-4k-instruct: every layer sees a window.
    yield (
        "phi3",
        {
            **phi3,
            "num_key_value_heads": 4,
            "original_max_position_embeddings": 128,
            "rope_scaling": None,
            "sliding_window": 16,
            "tie_word_embeddings": False,
            "vocab_size": 304,
            "pad_token_id": 297,
        },
        {
            "tokenizer.model": sentencepiece_model(296),
            "tokenizer_config.json": {
                **LLAMA_SPM,
                "add_bos_token": False,
                "add_eos_token": False,
                "added_tokens_decoder": {
                    "297": {"content": "<|endoftext|>", "special": True},
                    "298": {"content": "<|assistant|>", "special": True},
                },
            },
        },
        None,
        {},
    )
    # Phi-4-mini-instruct: three quarters of each head rotate, by other angles past the original context.
    yield (
        "phi4-mini",
        {
            **phi3,
            "max_position_embeddings": 256,
            "original_max_position_embeddings": 32,
            "pad_token_id": 0,
            "partial_rotary_factor": 0.75,
            "rope_scaling": {
                "long_factor": [1.0, 1.25, 2.5, 5.0, 7.0, 8.0],
                "short_factor": [1.0, 1.0, 1.05, 1.1, 1.3, 1.5],
                "type": "longrope",
            },
            "sliding_window": 262144,
            "tie_word_embeddings": True,
        },
        byte_level_files(LLAMA3, False, tokenizer_class="GPT2Tokenizer"),
        "dbrx",
        {"short": 24},
    )
    # Qwen3-30B-A3B. With this seed no expert wins by so little that llama.cpp's rounding to bfloat16 chooses another.
    yield (
        "qwen3-moe",
        {
            "architectures": ["Qwen3MoeForCausalLM"],
            "model_type": "qwen3_moe",
            **TINY,
            "attention_bias": False,
            "decoder_sparse_step": 1,
            "head_dim": 16,
            "hidden_act": "silu",
            "max_window_layers": 2,
            "mlp_only_layers": [],
            "moe_intermediate_size": 32,
            "norm_topk_prob": True,
            "num_experts": 6,
            "num_experts_per_tok": 2,
            "output_router_logits": False,
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 1000000.0,
            "router_aux_loss_coef": 0.001,
            "sliding_window": None,
            "tie_word_embeddings": False,
            "use_sliding_window": False,
        },
        qwen2,
        "qwen2",
        {"seed": 3001},
    )
    # granite-3.1-1b-a400m-instruct
    yield (
        "granite-moe",
        {
            "architectures": ["GraniteMoeForCausalLM"],
            "model_type": "granitemoe",
            **TINY,
            **granite,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "intermediate_size": 32,
            "num_experts_per_tok": 3,
            "num_local_experts": 6,
            "output_router_logits": False,
            "router_aux_loss_coef": 0.0,
        },
        granite_files,
        "refact",
        {"embedding": 0.1},
    )
    # LFM2-350M: short convolutions, with attention in some layers.
    yield (
        "lfm2",
        {
            "architectures": ["Lfm2ForCausalLM"],
            "model_type": "lfm2",
            **TINY,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "num_hidden_layers": 4,
            "block_auto_adjust_ff_dim": True,
            "block_dim": 32,
            "block_ff_dim": 80,
            "block_ffn_dim_multiplier": 1.0,
            "block_mlp_init_scale": 1.0,
            "block_multiple_of": 32,
            "block_norm_eps": 1e-05,
            "block_out_init_scale": 1.0,
            "block_use_swiglu": True,
            "block_use_xavier_init": True,
            "conv_L_cache": 3,
            "conv_bias": False,
            "conv_dim": 32,
            "conv_dim_out": 32,
            "conv_use_xavier_init": True,
            "full_attn_idxs": [1, 3],
            "norm_eps": 1e-05,
            "num_heads": 2,
            "pad_token_id": 0,
            "rope_theta": 1000000.0,
            "tie_embedding": True,
            "use_pos_enc": True,
        },
        byte_level_files(LLAMA3, True),
        "lfm2",
        {},
    )
    # bitnet-b1.58-2B-4T-bf16: weights of -1, 0 and 1 times a scale, more norms, squared ReLU.
    yield (
        "bitnet",
        {
            "architectures": ["BitNetForCausalLM"],
            "model_type": "bitnet",
            **TINY,
            "hidden_size": 64,
            "intermediate_size": 96,
            "hidden_act": "relu2",
            "rms_norm_eps": 1e-05,
            "rope_theta": 500000.0,
            "tie_word_embeddings": True,
        },
        byte_level_files(LLAMA3, True),
        "llama-bpe",
        {"ternary": True},
    )
    # Ministral-8B-Instruct-2410: Mistral with the window in some layers only.
    yield (
        "ministral",
        {
            "architectures": ["MinistralForCausalLM"],
            "model_type": "ministral",
            **TINY,
            "head_dim": 16,
            "num_hidden_layers": 3,
            "hidden_act": "silu",
            "rms_norm_eps": 1e-05,
            "rope_theta": 100000000.0,
            "sliding_window": 16,
            "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
            "tie_word_embeddings": False,
        },
        byte_level_files(LLAMA3, True),
        "tekken",
        {},
    )


def adjust(state, embedding=1.0, ternary=False):
    """The weights of a family whose embedding is smaller, or whose matrices have three values only."""
    for name, weight in state.items():
        if "embed_tokens" in name:
            state[name] = (weight.float() * embedding).to(weight.dtype)
        elif ternary and "_proj.weight" in name:
            signs = (weight.float() / weight.float().abs().mean()).round().clamp(-1, 1)
            state[name] = (signs * 2.0**-3).to(weight.dtype)
    return state


def write_files(folder, config, files):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    for file, content in files.items():
        if isinstance(content, bytes):
            (folder / file).write_bytes(content)
        else:
            (folder / file).write_text(json.dumps(content, ensure_ascii=False, indent=None) + "\n")


def write_weights(folder, rng, gain=1.0, **options):
    """Draws the weights and saves them as transformers names them in published checkpoints."""
    config = AutoConfig.from_pretrained(folder)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").float()
    state = adjust(weights(model, torch.bfloat16, rng, gain), **options)
    missing = model.load_state_dict({name: weight.float() for name, weight in state.items()}, strict=False)
    assert not missing.unexpected_keys and set(missing.missing_keys) <= {"lm_head.weight"}, missing
    model.tie_weights()
    with tempfile.TemporaryDirectory() as saved:
        model.to(torch.bfloat16).save_pretrained(saved)
        (folder / "model.safetensors").write_bytes((Path(saved) / "model.safetensors").read_bytes())


def write_logits(folder, model, ids, suffix=""):
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].numpy()
    (folder / f"ids{suffix}.json").write_text(json.dumps(ids) + "\n")
    np.save(folder / f"logits{suffix}.npy", logits.astype(np.float32))
    return logits


def convert(llama_cpp, folder, pre):
    """Runs llama.cpp's converter, which is told the pre-tokenizer's name."""
    sys.path[1:1] = [str(llama_cpp), str(llama_cpp / "gguf-py")]
    import convert_hf_to_gguf
    from conversion.base import TextModel

    arguments = ["convert", str(folder), "--outfile", f"{folder}.gguf", "--outtype", "bf16"]
    name = patch.object(TextModel, "get_vocab_base_pre", lambda self, tokenizer: pre)
    with patch.object(sys, "argv", arguments), name, bitnet_of_microsoft(), ministral_of_2024():
        convert_hf_to_gguf.main()


@contextmanager
def ministral_of_2024():
    """llama.cpp's converter knows it under Mistral's name only, and drops its windows as it does Mistral's."""
    import conversion
    from conversion.base import ModelBase, ModelType

    classes = ModelBase._model_classes[ModelType.TEXT]
    known = conversion.get_model_class("MistralForCausalLM")
    name, module = "MinistralForCausalLM", conversion.TEXT_MODEL_MAP["MistralForCausalLM"]
    with patch.dict(classes, {name: known}), patch.dict(conversion.TEXT_MODEL_MAP, {name: module}):
        yield


@contextmanager
def bitnet_of_microsoft():
    """llama.cpp converts the checkpoints of 1bitLLM, which name two norms otherwise, have SiLU where Microsoft's have the
    square of ReLU, and store weights that are yet to be rounded. Microsoft's own llama.cpp calls theirs bitnet-b1.58; the
    tensors have the same names.
    """
    import gguf
    from conversion.base import TextModel
    from conversion.bitnet import BitnetModel

    original = BitnetModel.map_tensor_name

    def map_tensor_name(self, name, *arguments):
        name = name.replace("mlp.ffn_sub_norm", "mlp.ffn_layernorm")
        return original(self, name.replace("self_attn.attn_sub_norm", "self_attn.inner_attn_ln"), *arguments)

    names = patch.dict(gguf.MODEL_ARCH_NAMES, {gguf.MODEL_ARCH.BITNET: "bitnet-b1.58"})
    vocabulary = patch.object(BitnetModel, "set_vocab", TextModel._set_vocab_gpt2)
    rounded = patch.object(BitnetModel, "weight_quant", lambda self, weight: weight)
    with names, vocabulary, rounded, patch.object(BitnetModel, "map_tensor_name", map_tensor_name):
        yield


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--llama-cpp", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    for seed, (name, config, files, pre, options) in enumerate(checkpoints()):
        if arguments.names and name not in arguments.names:
            continue
        folder = arguments.out / name
        write_files(folder, config, files)
        rng = np.random.Generator(np.random.PCG64(options.pop("seed", 2000 + seed)))
        short = options.pop("short", None)
        write_weights(folder, rng, **options)

        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        logits = write_logits(folder, model, rng.integers(0, config["vocab_size"], PROMPT).tolist())
        if short:
            write_logits(folder, model, rng.integers(0, config["vocab_size"], short).tolist(), "-short")
        convert(arguments.llama_cpp, folder, pre)

        p = torch.softmax(torch.from_numpy(logits), -1)
        entropy = float(-(p * p.clamp_min(1e-30).log()).sum(-1).mean())
        size = sum(file.stat().st_size for file in folder.iterdir())
        print(f"{name}: {size} bytes, logits {logits.min():.2f}..{logits.max():.2f}, entropy {entropy:.2f} nats")


if __name__ == "__main__":
    main()
