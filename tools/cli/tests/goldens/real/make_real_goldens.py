"""What llama.cpp says of real, published models: `make_real_goldens.py FOLDER > llama_cpp.json`, with llama-cpp-python.

FOLDER is where `ci/real` keeps the models, after it has run there once, with each in F32 as well:
`siskin quantize gemma3.gguf gemma3-f32.gguf --type f32`.
"""

import json
import pathlib
import sys

import llama_cpp
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
TOKENS = 48
WINDOW = 256


def main():
    folder = pathlib.Path(sys.argv[1])
    prompts = json.loads((HERE / "prompts.json").read_text())
    found = {
        "llama_cpp": llama_cpp.__version__,
        "perplexity": {
            name: {
                "published": round(perplexity(folder / f"{name}.gguf"), 4),
                "f32": round(perplexity(folder / f"{name}-f32.gguf"), 4),
            }
            for name in ("smollm2", "gemma3")
        },
        "answers": answers(folder / "smollm2-f32.gguf", prompts),
    }
    print(json.dumps(found, indent=1, ensure_ascii=False))


def answers(model, prompts):
    """Greedy answers, with keys and values in single precision as weights are."""
    llm = llama_cpp.Llama(
        str(model), n_ctx=512, type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32, verbose=False
    )

    def answer(prompt):
        llm.reset()
        messages = [{"role": "user", "content": prompt}]
        reply = llm.create_chat_completion(messages, temperature=0.0, repeat_penalty=1.0, max_tokens=TOKENS)
        return reply["choices"][0]["message"]["content"]

    return [answer(prompt) for prompt in prompts]


def perplexity(model):
    """By llama.cpp's method: windows, the second half of each scored."""
    llm = llama_cpp.Llama(
        str(model), n_ctx=WINDOW, n_batch=WINDOW, n_ubatch=WINDOW, logits_all=True, verbose=False
    )
    text = (HERE / "../eval/text.txt").read_bytes()
    tokens = llm.tokenize(text, add_bos=True, special=False)
    adds_bos = llama_cpp.llama_vocab_get_add_bos(llama_cpp.llama_model_get_vocab(llm.model))
    losses = []
    for start in range(0, len(tokens) - WINDOW + 1, WINDOW):
        window = tokens[start : start + WINDOW]
        llm.reset()
        llm.eval(([llm.token_bos()] if adds_bos else window[:1]) + window[1:])
        logits = np.array(llm.scores[:WINDOW], dtype=np.float64)[WINDOW // 2 : WINDOW - 1]
        top = logits.max(-1, keepdims=True)
        norm = np.log(np.exp(logits - top).sum(-1)) + top[:, 0]
        losses += list(norm - logits[np.arange(len(logits)), window[WINDOW // 2 + 1 :]])
    return float(np.exp(np.mean(losses)))


if __name__ == "__main__":
    main()
