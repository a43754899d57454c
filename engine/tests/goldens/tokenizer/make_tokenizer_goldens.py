#!/usr/bin/env python3
"""Makes the tokenizer goldens: for each NAME a vocabulary, NAME.gguf, and texts with their tokens, NAME.json.

    pip install tokenizers sentencepiece gguf
    python make_tokenizer_goldens.py [--out FOLDER] [--cases N] [--seed S] [--demo tokenizer.json]

Byte-level vocabularies are trained, and their tokens told, by Hugging Face's `tokenizers`; SentencePiece ones by
`sentencepiece`; `default`, a pre-tokenizer that only llama.cpp knows, by llama-cpp-python, if that is installed.
Without --demo the golden of the demo model's vocabulary is left as it is.

For many more cases than are worth keeping, write them elsewhere and point the test there:

    python make_tokenizer_goldens.py --out /tmp/many --cases 20000 --seed 7
    SISKIN_TOKENIZER_GOLDENS=/tmp/many cargo test -p siskin --test tokenizer_goldens
"""

import argparse
import io
import json
import random
import unicodedata
from pathlib import Path

import gguf
import sentencepiece
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2 = LLAMA3.replace("{1,3}", "")
GPT4O = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = GPT4O.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("{1,3}", "")
QWEN35 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

CORPUS = """
The siskin is a small finch of twelve grams that sings all day; it's fond of birches, alders and spruces.
They're never far from water. We've seen them, I'm sure, and you'll see them too: he'd say it wasn't hard.
Der Erlenzeisig ist ein kleiner Fink. Er frißt Samen von Birken, Erlen und Fichten und übernachtet in Schwärmen.
Le tarin des aulnes est un petit oiseau très agile ; l'hiver, il se nourrit de graines d'aulne et de bouleau.
El jilguero lúgano es un pájaro pequeño que vive en los bosques de coníferas. ¿Dónde está? ¡Allí mismo!
Il lucherino è un piccolo uccello; d'inverno scende in pianura, perché lì c'è più cibo.
O lugre é uma ave pequena que se alimenta de sementes. Não há muitas por aqui.
Czyż to mały ptak z rodziny łuszczaków, żyjący w lasach świerkowych. Zażółć gęślą jaźń.
Чиж — небольшая птица из семейства вьюрковых. Он живёт в хвойных лесах и поёт весь день, даже зимой.
Чиж живе в лісах, їсть насіння вільхи та берези; її пісня — щебетання.
Το λούγαρο είναι ένα μικρό πουλί που ζει στα δάση της Ευρώπης και τραγουδά όλη την ημέρα.
السسكن طائر صغير يغني طوال اليوم ويعيش في الغابات الباردة ويأكل البذور. ١٢٣٤٥
החוחית היא ציפור קטנה ששרה כל היום וחיה ביערות הצפון.
छोटी चिड़िया दिन भर गाती है और जंगल में रहती है। वह बीज खाती है। १२३
ছোট পাখিটি সারাদিন গান গায় এবং বনে থাকে।
சிறிய பறவை நாள் முழுவதும் பாடுகிறது, காட்டில் வாழ்கிறது.
นกตัวเล็กร้องเพลงทั้งวันและอาศัยอยู่ในป่า มันกินเมล็ดพืช
黄雀是一种小型雀鸟，整天歌唱，生活在针叶林中。它重十二克。今天的天气很好，我们去公园散步吧。
マヒワは小さな鳥で、一日中歌い、針葉樹林に住んでいます。重さは十二グラムです。カタカナとひらがな。
검은머리방울새는 하루 종일 노래하는 작은 새이며 침엽수림에 산다. 무게는 십이 그램이다.
Con chim nhỏ hót suốt ngày, sống trong rừng lá kim và ăn hạt. Tiếng Việt có nhiều dấu.
Küçük kuş bütün gün öter, çam ormanlarında yaşar. İstanbul'da da görülür; ışığı sever.
fn main() { let x = [1, 2, 3]; for i in 0..x.len() { println!("{}: {}", i, x[i] * 1024 + 65536); } }
def f(a, b=None):\n    if a is not None and b >= 3.14159:\n        return {"key": [a, b], 'other': a ** 2}\n\treturn -1
#include <stdio.h>\r\nint main(void) {\r\n\tprintf("%d\\n", 0xFF);\r\n\treturn 0;\r\n}\r\n
<html><body><p class="a">1 &lt; 2 && 3 != 4</p></body></html>   {"temperature": 21.5, "unit": "C", "on": true}
2024-02-29T12:34:56.789Z error[E0308]: mismatched types; 192.168.0.1:8080 -> 10000000 bytes (99.9%)
😀 😀😀 👍🏽 👩‍👩‍👧 🇩🇪 ❤️ ✨ → ← ≤ ≥ ± × ÷ € £ ¥ ° … – — “ ” ‘ ’ « » • ½ ² ⅷ ①
    four spaces\n        eight spaces\n\n\nthree line ends\n\t\ttabs\t \t mixed   \n
""".replace("\\n", "\n").replace("\\r", "\r").replace("\\t", "\t")

CONTROL = ["<|begin|>", "<|im_start|>", "<|im_end|>", "<|im_start|>system", "<|endoftext|>"]
USER_DEFINED = ["<tool>", "</tool>", "<tool>x", "\t\t\t\t"]
WHOLE_WORDS = ["zephyr", " quixotic", "\n\n\n\n\n", "漢字", "'sſ", "    ===="]

EDGES = ["", " ", "  ", "\n", "\r\n", " \n", "\n ", " \n \n a", "a \n\n b", "a  b", "a   ", "\t\ta", "\u3000\u3000あ"]
EDGES += ["it's IT'S It'S 'tis o'clock ''s 's's", "'ſ 'ſx we'RE 'Ll 'LL'vE", "'", "''", " '", "'r", "'l", "don't!"]
EDGES += ["1", "12", "123", "1234", "1234567890", "a1b22c333d4444", "1 22  333", "٣٤٥٦٧", "½²ⅷ①", "1.5e-10", "x²"]
EDGES += ["!!!", "!!!\n\n", " !!!\r\n\r\nx", "?! ...", "$1,000.00", "a_b-c.d/e\\f", "^_^ `x` |~|", "<>=+", "«é»"]
EDGES += ["a\u0085b\u00a0c\u2003d\u2028e\u2029f", "\u200b\u200dx\ufeff", "\x00\x01\x1f\x7f", "\x1c\x1d x", "a\x0b\x0cb"]
EDGES += ["e\u0301e\u0301", "\u0301\u0302", " \u0301a", "किताब", "ไม่เป็นไร", "กำ", "ﬁ ﬂ", "Ⅷ ⅷ", "İıß", "Å Å Å"]
EDGES += ["👩‍👩‍👧‍👦", "🇩🇪🇫🇷", "👍🏽x", "\U0001f600" * 5, "\U0010ffff\ue000", "\ufffd", "\u180ea"]
EDGES += ["zephyr", " zephyr", "quixotic", " quixotic", "zephyrs", "漢字", "漢字漢字", "\n\n\n\n\n", "x\n\n\n\n\n", "    ===="]
EDGES += ["▁", "a▁b", "▁▁a", " ▁ ", "<0x41>", "<0x0A>", "<unk>", "<s>", "</s>", "a<s>b", "<s> b", "a <s>", "<s></s>"]
EDGES += ["<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>system\n", "<|im_start|>systematic"]
EDGES += ["<|im_", "<|<|im_end|>|>", "<|im_end|", "x<|im_end|>x", " <|im_end|> ", "<|im_end|><|im_end|>", "<|IM_END|>"]
EDGES += ["<tool>", "a<tool>b", "a <tool> b", "<tool>x", "<tool>y", "<tool><tool>x</tool>", "<tool", "\t\t\t\t\t", "\n\t\t\t\t"]
EDGES += ["a" * 300, "ab" * 200, "漢" * 200, "." * 300, " " * 300, "\n" * 300, "😀" * 100, "9" * 100, "' " * 50]


def characters(low=0, high=0x110000):
    """Assigned characters, without those of private use: versions of Unicode differ in what the others will be."""
    unassigned = {"Cn", "Cs", "Co"}
    return [chr(c) for c in range(low, high) if unicodedata.category(chr(c)) not in unassigned]


def texts(count, seed, marks):
    """The edges, then random mixtures; `marks` are texts of special tokens to strew in."""
    rng = random.Random(seed)
    anything = characters()
    blocks = [(0x20, 0x7F), (0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xA00)]
    blocks += [(0xE00, 0xE60), (0x1100, 0x1200), (0x2000, 0x2070), (0x20A0, 0x2200), (0x3000, 0x3100), (0x4E00, 0x4E40)]
    blocks += [(0xAC00, 0xAC80), (0x1F300, 0x1F650), (0x0, 0x20)]
    blocks = [characters(low, high) for low, high in blocks]
    words = CORPUS.split()
    lines = CORPUS.split("\n")
    white = [" ", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\u00a0", "\u3000", "\u2028", "\x0b", "\x85"]
    tails = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'lL", "'D", "'ſ", "'", "''"]

    def part():
        kind = rng.randrange(14)
        if kind < 3:
            return rng.choice(words)
        if kind == 3:
            line = rng.choice(lines)
            start = rng.randrange(len(line) + 1)
            return line[start : start + rng.randrange(30)]
        if kind < 6:
            return rng.choice(white) * rng.choice([1, 1, 1, 2, 3])
        if kind == 6:
            return rng.choice(tails)
        if kind == 7:
            return str(rng.randrange(10 ** rng.randrange(1, 12)))
        if kind == 8:
            return rng.choice(["٣", "१", "½", "²", "Ⅷ", "①", "๓"]) * rng.randrange(1, 5)
        if kind == 9:
            return "".join(rng.choice(anything) for _ in range(rng.randrange(1, 4)))
        if kind == 10:
            return "".join(rng.choice("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") for _ in range(rng.randrange(1, 5)))
        if kind == 11:
            mark = rng.choice(marks)
            return mark if rng.random() < 0.7 else mark[: rng.randrange(len(mark) + 1)]
        block = rng.choice(blocks)
        return "".join(rng.choice(block) for _ in range(rng.randrange(1, 8)))

    return EDGES + ["".join(part() for _ in range(rng.randrange(1, 12))) for _ in range(count)]


def spelled(word):
    """A word in the byte alphabet."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(word)[0][0]


def steps(regex):
    split = pre_tokenizers.Split(Regex(regex), "isolated")
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def digits():
    split = pre_tokenizers.Digits(individual_digits=True)
    return pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])


def train(pre_tokenizer, size, ignore_merges, alphabet=True):
    """A byte-level tokenizer; without `alphabet` some bytes have no token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    initial = pre_tokenizers.ByteLevel.alphabet() if alphabet else []
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=initial, min_frequency=1)
    tokenizer.train_from_iterator(CORPUS.split("\n") + [CORPUS], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    vocab = model["vocab"]
    for word in WHOLE_WORDS:
        vocab.setdefault(spelled(word), len(vocab))
    merges = [tuple(merge) for merge in model["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in CONTROL])
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in USER_DEFINED])
    return tokenizer


def write_bpe(path, tokenizer, pre):
    """The tokenizer's vocabulary as a GGUF file."""
    described = json.loads(tokenizer.to_str())
    tokens = {id: text for text, id in described["model"]["vocab"].items()}
    kinds = {id: gguf.TokenType.NORMAL for id in tokens}
    for added in described["added_tokens"]:
        tokens[added["id"]] = added["content"]
        kinds[added["id"]] = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([tokens[id] for id in range(len(tokens))])
    writer.add_token_types([kinds[id] for id in range(len(tokens))])
    writer.add_token_merges([" ".join(merge) for merge in described["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.token_to_id("<|im_end|>"))
    writer.add_bos_token_id(tokenizer.token_to_id("<|endoftext|>"))
    writer.add_add_bos_token(False)
    close(writer)


def close(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def bpe_cases(tokenizer, wanted):
    for text in wanted:
        tokenizer.encode_special_tokens = True
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        tokenizer.encode_special_tokens = False
        parsed = tokenizer.encode(text, add_special_tokens=False).ids
        # Its ByteLevel decoder also unspells added tokens, which are plain text: those are put together here.
        pieces, plain = [], []
        added = {id: token for id, token in tokenizer.get_added_tokens_decoder().items()}
        for id in ids + [None]:
            if id is None or id in added:
                pieces.append(tokenizer.decode(plain, skip_special_tokens=False))
                plain = []
                pieces.append("" if id is None else added[id].content)
            else:
                plain.append(id)
        yield text, ids, parsed, "".join(pieces)


def train_spm(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for line in CORPUS.split("\n") if line]),
        model_writer=model,
        model_type="bpe",
        normalization_rule_name="identity",
        minloglevel=2,
        num_threads=1,
        **options,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def write_spm(path, processor, space_prefix=True, single_spaces=False):
    tokens, scores, kinds = [], [], []
    for id in range(processor.vocab_size()):
        tokens.append(processor.id_to_piece(id))
        scores.append(processor.get_score(id))
        if processor.is_unknown(id):
            kinds.append(gguf.TokenType.UNKNOWN)
        elif processor.is_control(id):
            kinds.append(gguf.TokenType.CONTROL)
        elif processor.is_byte(id):
            kinds.append(gguf.TokenType.BYTE)
        elif tokens[-1] in USER_DEFINED:
            kinds.append(gguf.TokenType.USER_DEFINED)
        else:
            kinds.append(gguf.TokenType.NORMAL)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(processor.bos_id())
    writer.add_eos_token_id(processor.eos_id())
    writer.add_unk_token_id(processor.unk_id())
    writer.add_add_space_prefix(space_prefix)
    writer.add_remove_extra_whitespaces(single_spaces)
    close(writer)


def spm_cases(processor, wanted, user_defined):
    """Plain text as sentencepiece has it. Parsed, tokens cut it into texts of their own, as in llama.cpp."""
    marks = sorted(["<unk>", "<s>", "</s>", *user_defined], key=len, reverse=True)
    for text in wanted:
        ids = processor.encode_as_ids(text)
        parsed, rest = [], text
        while rest:
            places = [(rest.find(mark), -len(mark), mark) for mark in marks if mark in rest]
            place, _, mark = min(places, default=(len(rest), 0, ""))
            parsed += processor.encode_as_ids(rest[:place])
            if mark:
                parsed.append(processor.piece_to_id(mark))
            rest = rest[place + len(mark) :]
        decoded = None if processor.unk_id() in ids else processor.decode_ids(ids)
        yield text, ids, parsed, decoded


def write_cases(path, cases):
    """One case a line. `parsed` and `decoded` are left out where they are as expected: `ids`, and the text."""
    lines = []
    for text, ids, parsed, decoded in cases:
        case = {"text": text, "ids": ids}
        if parsed != ids:
            case["parsed"] = parsed
        if decoded != text:
            case["decoded"] = decoded
        lines.append(json.dumps(case, ensure_ascii=False, separators=(",", ":")))
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def llama_cpp_cases(path, wanted, tokenizer):
    import llama_cpp

    llama = llama_cpp.Llama(str(path), vocab_only=True, verbose=False)
    for text in wanted:
        raw = text.encode()
        ids = llama.tokenize(raw, add_bos=False, special=False)
        yield text, ids, llama.tokenize(raw, add_bos=False, special=True), text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--demo", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    count, seed = options.cases, options.seed

    byte_level = {
        "llama-bpe": train(steps(LLAMA3), 1200, True),
        "smaug-bpe": train(steps(LLAMA3), 900, False),
        "qwen2": train(steps(QWEN2), 900, False),
        "qwen35": train(steps(QWEN35), 900, False),
        "gpt-2": train(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True), 900, False),
        "smollm": train(digits(), 900, False, alphabet=False),
        "gpt-4o": train(steps(GPT4O), 900, False),
        "tekken": train(steps(TEKKEN), 900, True),
    }
    for name in ("qwen2", "qwen35"):
        byte_level[name].normalizer = normalizers.NFC()
    marks = CONTROL + USER_DEFINED
    for number, (name, tokenizer) in enumerate(byte_level.items()):
        write_bpe(options.out / f"{name}.gguf", tokenizer, name)
        wanted = texts(count, 1000 * seed + number, marks)
        write_cases(options.out / f"{name}.json", bpe_cases(tokenizer, wanted))

    if options.demo:
        tokenizer = Tokenizer.from_file(str(options.demo))
        write_bpe(options.out / "demo.gguf", tokenizer, "llama-bpe")
        wanted = texts(count, 1000 * seed + 100, ["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
        write_cases(options.out / "demo.json", bpe_cases(tokenizer, wanted))

    common = dict(vocab_size=1200, character_coverage=0.98, split_digits=True, hard_vocab_limit=False)
    user_defined = ["<tool>", "</tool>", "<tool>x"]
    words = dict(user_defined_symbols=user_defined)
    plain = dict(remove_extra_whitespaces=False, allow_whitespace_only_pieces=True)
    sentence_piece = {
        "spm": (train_spm(byte_fallback=True, **common, **words, **plain), {}),
        "spm-unknown": (train_spm(byte_fallback=False, **common, **words, **plain), {}),
        "spm-no-prefix": (train_spm(byte_fallback=True, add_dummy_prefix=False, **common, **plain), dict(space_prefix=False)),
        "spm-single-spaces": (train_spm(byte_fallback=True, remove_extra_whitespaces=True, **common), dict(single_spaces=True)),
    }
    for number, (name, (processor, facts)) in enumerate(sentence_piece.items()):
        write_spm(options.out / f"{name}.gguf", processor, **facts)
        wanted = texts(count, 1000 * seed + 200 + number, ["<s>", "</s>", "<unk>", "<tool>", "<tool>x", "▁", "<0x41>"])
        if facts.get("single_spaces"):
            # Where spaces end is decided before tokens are looked for, and U+2581 is not a space: no cases for those.
            wanted = [text for text in wanted if not any(mark in text for mark in ["<s>", "</s>", "<unk>", "▁"])]
        cut = [mark for mark in user_defined if processor.piece_to_id(mark) != processor.unk_id()]
        write_cases(options.out / f"{name}.json", spm_cases(processor, wanted, cut))

    try:
        import llama_cpp  # noqa: F401
    except ImportError:
        print("llama-cpp-python is not installed: default is left as it is")
    else:
        tokenizer = train(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True), 900, False)
        path = options.out / "default.gguf"
        write_bpe(path, tokenizer, "default")
        wanted = texts(count, 1000 * seed + 300, marks)
        write_cases(options.out / "default.json", llama_cpp_cases(path, wanted, tokenizer))


main()
