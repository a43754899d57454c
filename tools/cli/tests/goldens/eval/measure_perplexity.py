"""Perplexity by llama.cpp's method. usage: measure_perplexity.py MODEL TEXT [CHUNKS [WINDOW]]"""
import sys, numpy as np, llama_cpp
model, text = sys.argv[1], open(sys.argv[2], "rb").read()
n = int(sys.argv[4]) if len(sys.argv) > 4 else 512
llm = llama_cpp.Llama(model, n_ctx=n, n_batch=n, n_ubatch=n, logits_all=True, verbose=False)
tokens = llm.tokenize(text, add_bos=True, special=False)
chunks = min(int(sys.argv[3]), len(tokens) // n) if len(sys.argv) > 3 else len(tokens) // n
add_bos = llama_cpp.llama_vocab_get_add_bos(llama_cpp.llama_model_get_vocab(llm.model))
nll = []
for i in range(chunks):
    chunk = tokens[i * n : (i + 1) * n]
    fed = ([llm.token_bos()] if add_bos else chunk[:1]) + chunk[1:]
    llm.reset(); llm.eval(fed)
    logits = np.array(llm.scores[:n], dtype=np.float64)[n // 2 : n - 1]
    top = logits.max(-1, keepdims=True)
    norm = np.log(np.exp(logits - top).sum(-1)) + top[:, 0]
    nll += list(norm - logits[np.arange(len(logits)), chunk[n // 2 + 1 :]])
print(f"{np.exp(np.mean(nll)):.4f} over {chunks} windows")
