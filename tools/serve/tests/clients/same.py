"""A question has one answer, bit for bit: python3 same.py SISKIN [QUESTIONS]

Random prompts and settings, from the same seed each time. Each is asked alone, beside seven others, behind a beginning that is
kept, and of a server that begins anew with what the one before has kept on the disk; through every API that has such a question,
whole or piece by piece. The text is always the same.
"""

import concurrent.futures
import pathlib
import random
import sys
import tempfile

from asks import CHATS, TEXTS, Question
from server import Server

SEED = 1
WORDS = """please turn on off the light lamp fan heater kitchen hall garage summarize this log pump chiller oven ok FAULT 12:15 52 C
who are you what is a siskin Zürich 日本 🐦 \\n "quoted" {"json": 1} <|im_end|> </s> 3.14 a b c""".split(" ")
BESIDE = 8


def words(dice, least, most):
    return " ".join(dice.choice(WORDS) for _ in range(dice.randint(least, most)))


def settings(dice):
    """Some of the settings that all APIs have."""
    all_settings = {
        "temperature": lambda: dice.choice([0, 0.3, 0.8, 1, 2.5]),
        "top_k": lambda: dice.choice([0, 1, 5, 40, 1000]),
        "top_p": lambda: dice.choice([0.1, 0.5, 0.95, 1]),
        "min_p": lambda: dice.choice([0, 0.05, 0.3]),
        "typical_p": lambda: dice.choice([0.3, 0.9, 1]),
        "repeat_penalty": lambda: dice.choice([1, 1.1, 1.5]),
        "repeat_last_n": lambda: dice.choice([-1, 0, 8, 64]),
        "presence_penalty": lambda: dice.choice([0, 0.5]),
        "frequency_penalty": lambda: dice.choice([0, 0.5]),
        "top_n_sigma": lambda: dice.choice([-1, 1, 2]),
        "mirostat": lambda: dice.choice([0, 1, 2]),
        "dry_multiplier": lambda: dice.choice([0, 0.8]),
        "xtc_probability": lambda: dice.choice([0, 0.5]),
    }
    chosen = dice.sample(sorted(all_settings), dice.randint(0, 5))
    return {"seed": dice.randrange(1 << 53), **{name: all_settings[name]() for name in chosen}}


def question(dice, beginning):
    """A question, and the APIs that can be asked it. Some begin with what others begin with, too."""
    sampling, tokens = settings(dice), dice.randint(1, 24)
    if dice.random() < 0.3:
        begun = beginning + " " if dice.random() < 0.5 else ""
        return Question(begun + words(dice, 1, 12), tokens=tokens, **sampling), TEXTS
    system = dice.choice([None, words(dice, 1, 8), beginning])
    return Question(words(dice, 1, 12), system, tokens, **sampling), CHATS


def main(program, count="24"):
    dice = random.Random(SEED)
    # Of more tokens than are worth keeping on the disk.
    beginning = "You are the assistant of a house with many rooms. " * 30
    asked = [question(dice, beginning) for _ in range(int(count))]
    arguments = ["--ctx-size", "1024", "--parallel", str(BESIDE)]
    answers = {}

    def check(server, at, api, stream, how):
        name, api = api
        text = api.ask(server, asked[at][0], stream)
        if text != answers.setdefault(at, text):
            way = "piece by piece" if stream else "whole"
            raise SystemExit(f"question {at} of seed {SEED}, {name}, {way}, {how}: {text!r}, and {answers[at]!r} before")

    def ask_all(server, how, all_apis):
        for at, (_, apis) in enumerate(asked):
            for api in apis.items() if all_apis else [dice.choice(sorted(apis.items(), key=str))]:
                check(server, at, api, dice.random() < 0.5, how)

    # Nothing is kept: each is asked as if it was the first one.
    server = Server(program, *arguments, "--idle", "0")
    ask_all(server, "alone", True)
    ended = [server.end()]
    with tempfile.TemporaryDirectory() as folder:
        arguments += ["--cache-dir", folder]
        server = Server(program, *arguments)
        ask_all(server, "with what is kept in memory", True)
        with concurrent.futures.ThreadPoolExecutor(BESIDE) as pool:
            def one(at, api, stream):
                check(server, at, api, stream, "beside others")
            rounds = [(at, (name, apis[name]), dice.random() < 0.5) for at, (_, apis) in enumerate(asked) for name in sorted(apis)]
            dice.shuffle(rounds)
            list(pool.map(lambda parts: one(*parts), rounds))
        ended.append(server.end())
        kept = list(pathlib.Path(folder).iterdir())
        if not kept:
            raise SystemExit("nothing was kept on the disk")
        server = Server(program, *arguments)
        ask_all(server, "after a restart", True)
        ended.append(server.end())
    if any(ended):
        raise SystemExit(f"servers ended with {ended}")
    if len(set(answers.values())) < len(asked) / 2:
        raise SystemExit("most answers are alike, which says nothing")
    print(f"{len(asked)} questions have one answer each, asked in {sum(len(apis) for _, apis in asked) * 4} ways")


if __name__ == "__main__":
    main(*sys.argv[1:])
