"""Writes sampler.json: what llama.cpp's samplers leave of some random logits.

Needs numpy and llama-cpp-python (made with 0.3.36). The samplers run through llama.cpp's C interface without a model;
DRY through its test constructor, which takes sequence breakers as tokens.
Usage: python make_sampler_goldens.py
"""
import ctypes
import json
import pathlib

import llama_cpp.llama_cpp as llama
import numpy as np

HERE = pathlib.Path(__file__).parent
VOCABULARY = 200
LONG_VOCABULARY = 3000
SEED = 1


def short(x):
    """The number with the fewest digits that is the same f32."""
    return float(str(np.float32(x)))


def random_logits(rng, n, spread):
    return [short(round(float(x), 4)) for x in rng.normal(0.0, spread, n)]


def vector(tokens):
    """A std::vector<llama_token>: begin, end, end of storage. The array must outlive it."""
    array = (ctypes.c_int32 * max(len(tokens), 1))(*tokens)
    begin = ctypes.addressof(array)
    end = begin + 4 * len(tokens)
    return array, (begin, end, end)


def init_dry(multiplier, base, allowed, last_n, breakers):
    init = getattr(llama._lib, "_Z30llama_sampler_init_dry_testingffiiRKSt6vectorIS_IiSaIiEESaIS1_EE")
    init.restype = ctypes.c_void_p
    init.argtypes = [ctypes.c_float, ctypes.c_float, ctypes.c_int32, ctypes.c_int32, ctypes.c_void_p]
    arrays, words = [], []
    for breaker in breakers:
        array, header = vector(breaker)
        arrays.append(array)
        words += header
    inner = (ctypes.c_uint64 * max(len(words), 1))(*words)
    begin = ctypes.addressof(inner)
    end = begin + 8 * len(words)
    outer = (ctypes.c_uint64 * 3)(begin, end, end)
    return init(multiplier, base, allowed, last_n, ctypes.addressof(outer))


def make(step, options, vocabulary):
    o = options
    keep = o.get("min_keep", 0)
    return {
        "top_k": lambda: llama.llama_sampler_init_top_k(o["top_k"]),
        "top_p": lambda: llama.llama_sampler_init_top_p(o["top_p"], keep),
        "min_p": lambda: llama.llama_sampler_init_min_p(o["min_p"], keep),
        "typ_p": lambda: llama.llama_sampler_init_typical(o["typ_p"], keep),
        "top_n_sigma": lambda: llama.llama_sampler_init_top_n_sigma(o["top_n_sigma"]),
        "xtc": lambda: llama.llama_sampler_init_xtc(o["xtc_probability"], o["xtc_threshold"], keep, SEED),
        "temperature": lambda: llama.llama_sampler_init_temp_ext(
            o["temperature"], o.get("dynatemp_range", 0.0), o.get("dynatemp_exponent", 1.0)
        ),
        "penalties": lambda: llama.llama_sampler_init_penalties(
            vocabulary,
            o["penalty_last_n"],
            o.get("repeat_penalty", 1.0),
            o.get("frequency_penalty", 0.0),
            o.get("presence_penalty", 0.0),
        ),
        "dry": lambda: init_dry(
            o["dry_multiplier"],
            o.get("dry_base", 1.75),
            o.get("dry_allowed_length", 2),
            o.get("dry_penalty_last_n", 64),
            o.get("breakers", []),
        ),
        "mirostat": lambda: llama.llama_sampler_init_mirostat(
            vocabulary, SEED, o["mirostat_tau"], o.get("mirostat_eta", 0.1), 100
        ),
        "mirostat_v2": lambda: llama.llama_sampler_init_mirostat_v2(
            SEED, o["mirostat_tau"], o.get("mirostat_eta", 0.1)
        ),
        "logit_bias": lambda: init_bias(o["logit_bias"], vocabulary),
    }[step]()


def init_bias(pairs, vocabulary):
    array = (llama.llama_logit_bias * len(pairs))(*[llama.llama_logit_bias(t, b) for t, b in pairs])
    return llama.llama_sampler_init_logit_bias(vocabulary, len(pairs), array)


def run(logits, accepted, steps, options):
    """The candidates that are possible after all steps: [[id, logit], ...] by id."""
    n = len(logits)
    data = (llama.llama_token_data * n)(*[llama.llama_token_data(i, l, 0.0) for i, l in enumerate(logits)])
    pointer = ctypes.cast(data, llama.llama_token_data_p)
    array = llama.llama_token_data_array(pointer, n, -1, False)
    for step in steps:
        if step == "dry" and options["dry_multiplier"] == 0.0:
            continue  # the test constructor takes DRY to be on
        sampler = ctypes.cast(make(step, options, n), llama.llama_sampler_p_ctypes)
        for token in accepted:
            llama.llama_sampler_accept(sampler, token)
        llama.llama_sampler_apply(sampler, ctypes.byref(array))
    left = [array.data[i] for i in range(array.size)]
    return sorted([c.id, short(c.logit)] for c in left if c.logit != float("-inf"))


def cases():
    for top_k in (1, 5, 40, 1000):
        yield ["top_k"], {"top_k": top_k}
    for top_p in (0.0, 0.1, 0.5, 0.95):
        yield ["top_p"], {"top_p": top_p}
    yield ["top_p"], {"top_p": 0.1, "min_keep": 7}
    for min_p in (0.01, 0.05, 0.5, 1.0):
        yield ["min_p"], {"min_p": min_p}
    yield ["min_p"], {"min_p": 0.9, "min_keep": 9}
    for typ_p in (0.1, 0.5, 0.9):
        yield ["typ_p"], {"typ_p": typ_p}
    yield ["typ_p"], {"typ_p": 0.1, "min_keep": 6}
    for top_n_sigma in (0.5, 1.0, 2.0):
        yield ["top_n_sigma"], {"top_n_sigma": top_n_sigma}
    for threshold in (0.01, 0.05, 0.1, 0.3):
        yield ["xtc"], {"xtc_probability": 1.0, "xtc_threshold": threshold}
    yield ["xtc"], {"xtc_probability": 1.0, "xtc_threshold": 0.01, "min_keep": 198}
    for temperature in (0.1, 0.8, 1.5):
        yield ["temperature"], {"temperature": temperature}
    yield ["temperature"], {"temperature": 0.8, "dynatemp_range": 0.5}
    yield ["temperature"], {"temperature": 0.3, "dynatemp_range": 0.6, "dynatemp_exponent": 2.0}
    yield ["penalties"], {"penalty_last_n": 64, "repeat_penalty": 1.3}
    yield ["penalties"], {"penalty_last_n": 5, "repeat_penalty": 0.9}
    yield ["penalties"], {"penalty_last_n": 64, "frequency_penalty": 0.4}
    yield ["penalties"], {"penalty_last_n": 10, "presence_penalty": -0.7}
    yield ["penalties"], {
        "penalty_last_n": 12, "repeat_penalty": 1.1, "frequency_penalty": 0.2, "presence_penalty": 0.5,
    }
    yield ["dry"], {"dry_multiplier": 0.8}
    yield ["dry"], {"dry_multiplier": 0.8, "dry_allowed_length": 0}
    yield ["dry"], {"dry_multiplier": 0.8, "dry_allowed_length": 1, "dry_base": 1.2}
    yield ["dry"], {"dry_multiplier": 2.0, "dry_base": 1.0}
    yield ["dry"], {"dry_multiplier": 0.8, "dry_penalty_last_n": 9, "dry_allowed_length": 1}
    yield ["dry"], {"dry_multiplier": 0.8, "breakers": [[3]]}
    yield ["dry"], {"dry_multiplier": 0.8, "dry_allowed_length": 1, "breakers": [[2, 3], [1, 2, 3, 4], [7]]}
    yield ["dry"], {"dry_multiplier": 0.8, "dry_allowed_length": 1, "breakers": [[5]]}
    yield ["logit_bias"], {"logit_bias": [[0, 2.5], [7, -1.0], [199, 100.0]]}
    yield ["mirostat"], {"mirostat_tau": 3.0}
    yield ["mirostat"], {"mirostat_tau": 1.0}
    yield ["mirostat_v2"], {"mirostat_tau": 3.0}
    yield ["mirostat_v2"], {"mirostat_tau": 1.0}
    default = ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"]
    plain = {
        "penalty_last_n": 64, "dry_multiplier": 0.0, "top_n_sigma": -1.0, "top_k": 40, "typ_p": 1.0, "top_p": 0.95,
        "min_p": 0.05, "xtc_probability": 0.0, "xtc_threshold": 0.1, "temperature": 0.8,
    }
    yield default, plain
    # llama.cpp's typ_p takes 0 * log 0 into its entropy when top_n_sigma has left impossible tokens: not both at once.
    most = plain | {
        "repeat_penalty": 1.1, "dry_multiplier": 0.8, "top_p": 0.8, "min_p": 0.02, "xtc_probability": 1.0,
        "xtc_threshold": 0.1, "temperature": 0.7, "dynatemp_range": 0.2, "breakers": [[6]],
    }
    for one in ({"typ_p": 0.9}, {"top_n_sigma": 1.5}):
        yield default, most | one
        yield default[::-1], most | one
    yield ["temperature", "min_p", "top_k"], plain | {"temperature": 1.4}


def main():
    rng = np.random.default_rng(20261122)
    texts = [
        [],
        [int(t) for t in rng.integers(0, 20, 30)],
        [9, 1, 2, 3, 4, 8, 1, 2, 3, 5, 1, 2, 3, 6, 2, 3, 4, 8, 8, 8, 1, 2, 3],
    ]
    inputs = [random_logits(rng, VOCABULARY, 1.0), random_logits(rng, VOCABULARY, 4.0)]
    # Equal logits, impossible tokens, and one token that is nearly certain.
    inputs.append([float("-inf") if i % 7 == 0 else 30.0 if i == 11 else float(i % 5) for i in range(VOCABULARY)])
    long = random_logits(rng, LONG_VOCABULARY, 3.0)
    results = []
    for steps, options in cases():
        lookback = "penalties" in steps or "dry" in steps
        for text in range(len(texts)) if lookback and len(steps) == 1 else [2]:
            for logits in range(2 if len(steps) == 1 else 3):
                left = run(inputs[logits], texts[text], steps, options)
                if steps == ["dry"] or steps == ["penalties"] or steps == ["logit_bias"]:
                    left = [[i, l] for i, l in left if l != inputs[logits][i]]
                case = {"logits": logits, "text": text, "steps": steps, "options": options, "left": left}
                results.append(case)
    for steps, options in [(["top_k"], {"top_k": 300}), (["top_p"], {"top_p": 0.6}), (["top_p"], {"top_p": 0.9})]:
        left = run(long, [], steps, options)
        results.append({"logits": 3, "text": 0, "steps": steps, "options": options, "left": [i for i, _ in left]})
    hidden = [[None if l == float("-inf") else l for l in logits] for logits in inputs + [long]]
    golden = {"logits": hidden, "texts": texts, "cases": results}
    text = json.dumps(golden, separators=(",", ":")).replace('{"logits":', '\n{"logits":')
    (HERE / "sampler.json").write_text(text + "\n")


main()
