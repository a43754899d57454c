"""llama.cpp's speed on a model, as `siskin bench --json` measures it; run by `benches/peers` in its environment.

Timed is llama_decode with the llama_synchronize that waits for its end, through llama-cpp-python's bindings of the C API:
prefill and decode start from an empty context, after batches that do not count, with tokens picked by chance.
"""

import argparse
import json
import random
import statistics
import time

import llama_cpp


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("-p", "--n-prompt", type=int, default=512)
    parser.add_argument("-n", "--n-gen", type=int, default=128)
    parser.add_argument("-t", "--threads", type=int, required=True)
    parser.add_argument("-r", "--runs", type=int, default=3)
    parser.add_argument("--flash-attention", choices=["on", "off"], default="on")
    arguments = parser.parse_args()

    llama_cpp.llama_log_set(quiet, None)
    llama_cpp.llama_backend_init()
    start = time.perf_counter()
    context, vocabulary = load(arguments)
    load_ms = (time.perf_counter() - start) * 1e3
    choose = random.Random(1).randrange
    tokens = [choose(vocabulary) for _ in range(max(arguments.n_prompt, arguments.n_gen))]
    prompt, answer = tokens[: arguments.n_prompt], tokens[: arguments.n_gen]

    prefill_tps, decode_tps = [], []
    rate(context, prompt[:BATCH], BATCH)
    rate(context, answer, 1)
    for _ in range(arguments.runs):
        prefill_tps.append(rate(context, prompt, BATCH))
        decode_tps.append(rate(context, answer, 1))
    print(
        json.dumps(
            {
                "version": llama_cpp.__version__,
                "system": llama_cpp.llama_print_system_info().decode(),
                "load_ms": load_ms,
                "prefill_tps": median(prefill_tps),
                "decode_tps": median(decode_tps),
                "samples": {"prefill_tps": prefill_tps, "decode_tps": decode_tps},
            }
        )
    )


BATCH = 512


def load(arguments):
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(arguments.model.encode(), model_params)
    if not model:
        raise SystemExit(f"{arguments.model}: llama.cpp cannot load it")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = max(arguments.n_prompt, arguments.n_gen)
    params.n_batch = params.n_ubatch = BATCH
    params.n_threads = params.n_threads_batch = arguments.threads
    flash = {"on": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED, "off": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED}
    params.flash_attn_type = flash[arguments.flash_attention]
    context = llama_cpp.llama_init_from_model(model, params)
    if not context:
        raise SystemExit(f"{arguments.model}: llama.cpp has no context of {params.n_ctx} tokens for it")
    return context, llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))


def rate(context, tokens, batch):
    """Tokens per second, `batch` of them at a time, from an empty context; None of no tokens."""
    if not tokens:
        return None
    batches = [tokens[at : at + batch] for at in range(0, len(tokens), batch)]
    arrays = [(llama_cpp.llama_token * len(batch))(*batch) for batch in batches]
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    start = time.perf_counter()
    for array in arrays:
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(array, len(array))) != 0:
            raise SystemExit("llama_decode failed")
        llama_cpp.llama_synchronize(context)
    return len(tokens) / (time.perf_counter() - start)


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


@llama_cpp.llama_log_callback
def quiet(_level, _text, _data):
    pass


if __name__ == "__main__":
    main()
