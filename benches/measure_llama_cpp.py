"""llama.cpp's speed on a model, as `siskin bench --json` measures it; run by `benches/peers` in its environment.

Timed is llama_decode with the llama_synchronize that waits for its end, through llama-cpp-python's bindings of the C API:
prefill and decode start from an empty context, or from one of so many tokens, after some that do not count, with tokens picked
by chance.
"""

import argparse
import json
import pathlib
import random
import re
import statistics
import time

import llama_cpp


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("-p", "--n-prompt", type=int, default=512)
    parser.add_argument("-n", "--n-gen", type=int, default=128)
    parser.add_argument("-d", "--depth", type=int, default=0)
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("-t", "--threads", type=int, required=True)
    parser.add_argument("-r", "--runs", type=int, default=3)
    parser.add_argument("--flash-attention", choices=["on", "off"], default="on")
    parser.add_argument("--repack", choices=["on", "off"], default="on")
    arguments = parser.parse_args()

    llama_cpp.llama_log_set(quiet, None)
    llama_cpp.llama_backend_init()
    start = time.perf_counter()
    context, vocabulary = load(arguments)
    load_ms = (time.perf_counter() - start) * 1e3
    choose = random.Random(1).randrange
    depth, sequences = arguments.depth, range(arguments.parallel)
    tokens = [choose(vocabulary) for _ in range(depth + max(arguments.n_prompt, arguments.n_gen))]
    before, tokens = tokens[:depth], tokens[depth:]
    prompt = in_batches(tokens[: arguments.n_prompt], depth, 0)
    answer = [together(token, depth + at, range(1)) for at, token in enumerate(tokens[: arguments.n_gen])]
    answers = [together(token, depth + at, sequences) for at, token in enumerate(tokens[: arguments.n_gen])]
    for sequence in sequences:
        # Each from another token on, as Siskin's.
        for batch in in_batches(before[sequence:] + before[:sequence], 0, sequence):
            decode(context, batch)

    samples = {"prefill_tps": [], "decode_tps": [], "parallel_tps": []}
    for _ in range(1 + arguments.runs):
        samples["prefill_tps"].append(rate(context, prompt, depth, sequences))
        samples["decode_tps"].append(rate(context, answer, depth, sequences))
        samples["parallel_tps"].append(rate(context, answers, depth, sequences) if arguments.parallel > 1 else None)
    # The first ones do not count.
    samples = {key: values[1:] for key, values in samples.items()}
    print(
        json.dumps(
            {
                "version": llama_cpp.__version__,
                "system": llama_cpp.llama_print_system_info().decode(),
                "load_ms": load_ms,
                **{key: median(values) for key, values in samples.items()},
                "samples": samples,
                "peak_rss_bytes": peak_rss(),
            }
        )
    )


BATCH = 512


def load(arguments):
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    # The buffers in which weights lie as its products want them.
    model_params.use_extra_bufts = arguments.repack == "on"
    model = llama_cpp.llama_model_load_from_file(arguments.model.encode(), model_params)
    if not model:
        raise SystemExit(f"{arguments.model}: llama.cpp cannot load it")
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = arguments.parallel * (arguments.depth + max(arguments.n_prompt, arguments.n_gen))
    params.n_seq_max = arguments.parallel
    params.n_batch = params.n_ubatch = BATCH
    params.n_threads = params.n_threads_batch = arguments.threads
    flash = {"on": llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED, "off": llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED}
    params.flash_attn_type = flash[arguments.flash_attention]
    context = llama_cpp.llama_init_from_model(model, params)
    if not context:
        raise SystemExit(f"{arguments.model}: llama.cpp has no context of {params.n_ctx} tokens for it")
    return context, llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))


def in_batches(tokens, position, sequence):
    """One sequence's tokens from a position on; logits of the last one of each batch."""
    runs = [tokens[at : at + BATCH] for at in range(0, len(tokens), BATCH)]
    places = [
        [(token, position + at * BATCH + i, sequence) for i, token in enumerate(run)] for at, run in enumerate(runs)
    ]
    return [batch_of(run, run[-1:]) for run in places]


def together(token, position, sequences):
    """A batch of a token of each sequence; logits of all."""
    places = [(token, position, sequence) for sequence in sequences]
    return batch_of(places, places)


def batch_of(places, asked):
    """A batch of tokens at their positions in sequences; logits of those asked."""
    batch = llama_cpp.llama_batch_init(len(places), 0, 1)
    batch.n_tokens = len(places)
    for i, place in enumerate(places):
        batch.token[i], batch.pos[i], batch.seq_id[i][0] = place
        batch.n_seq_id[i], batch.logits[i] = 1, place in asked
    return batch


def decode(context, batch):
    if llama_cpp.llama_decode(context, batch) != 0:
        raise SystemExit("llama_decode failed")
    llama_cpp.llama_synchronize(context)


def rate(context, batches, depth, sequences):
    """Tokens per second, behind `depth` tokens of each sequence; None of no tokens."""
    if not batches:
        return None
    memory = llama_cpp.llama_get_memory(context)
    for sequence in sequences:
        llama_cpp.llama_memory_seq_rm(memory, sequence, depth, -1)
    start = time.perf_counter()
    for batch in batches:
        decode(context, batch)
    return sum(batch.n_tokens for batch in batches) / (time.perf_counter() - start)


def peak_rss():
    """Bytes that the process had in memory at most, mapped files among them."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


@llama_cpp.llama_log_callback
def quiet(_level, _text, _data):
    pass


if __name__ == "__main__":
    main()
