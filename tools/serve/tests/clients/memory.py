"""Asks a server for much at once, and sees that it takes no more memory than it said: python3 memory.py SISKIN [MODEL] [EACH]

EACH requests of each kind are sent by several clients at once, in an order from the same seed each time: answers that keep to schemas
of 200 KB, no two alike, texts that are too long by far, texts of which no shorter ones would be refused for their length, and
conversations that fill the cache. Each is answered or refused in its own words, and what the process had at most stays below what
`/siskin/status` tells of the model. Then two models are asked at once for which there is no room together: they take turns, and what
the process had stays below what it may have.
"""

import collections
import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import random
import shutil
import sys
import tempfile
import urllib.request

from server import Server

SEED = 1
CLIENTS = 16
DEMO = pathlib.Path(__file__).parents[3] / "demo/siskin-demo.gguf"


def schema(number):
    """A choice of 200 KB."""
    choices = [f"{number}-{choice}-{'x' * 20}" for choice in range(6500)]
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "strict": True, "schema": {"enum": choices}}}
    return {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 40, "response_format": wanted}


def said(text, tokens=4):
    return {"messages": [{"role": "user", "content": text}], "max_tokens": tokens}


# What is asked, by its number, and the statuses that may come.
KINDS = {
    "schemas": (schema, {200, 503}),
    "one long word": (lambda number: said("q" * 1_990_000), {400}),
    "emoji": (lambda number: said("\N{BIRD}" * 490_000), {400}),
    "long texts": (lambda number: said(("a" if number % 2 else " b") * (60_000 // (2 - number % 2))), {200, 400}),
    "conversations": (lambda number: said(f"{number} " + "hello " * 150, tokens=300), {200}),
}


def ask(server, body):
    connection = http.client.HTTPConnection(server.host, server.port, timeout=600)
    text = json.dumps(body, ensure_ascii=False).encode()
    connection.request("POST", "/v1/chat/completions", text, {"content-type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


def of(server, kind, number):
    make, allowed = KINDS[kind]
    status = ask(server, make(number))
    assert status in allowed, f"{kind}: status {status}"
    return kind, status


def told(server):
    with urllib.request.urlopen(f"{server.url}/siskin/status") as answer:
        return json.load(answer)["memory"]["models"]


def most(server):
    lines = pathlib.Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


def main():
    program, *rest = sys.argv[1:]
    each = int(rest.pop()) if rest and rest[-1].isdigit() else 12
    with ended(Server(program, *rest)) as server:
        planned = much_at_once(server, each)
    with tempfile.TemporaryDirectory() as folder:
        models = [shutil.copy(rest[0] if rest else DEMO, f"{folder}/{name}.gguf") for name in ("a", "b")]
        limit = planned * 5 // 4
        with ended(Server(program, *models, "--memory", str(limit))) as server:
            in_turns(server, limit)


@contextlib.contextmanager
def ended(server):
    """A server that ends well, whatever comes."""
    try:
        yield server
    finally:
        assert server.end() == 0


def in_turns(server, limit):
    def turn(number):
        status = ask(server, {"model": "ab"[number % 2], **said(f"{number} " + "hello " * 150, tokens=100)})
        assert status in {200, 503}, f"status {status}"
        return status

    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        counts = collections.Counter(clients.map(turn, [*range(24), *[0] * 12, *[1] * 12]))
    taken, planned = most(server), told(server)
    print(f"two models in turns: {counts[200]} with status 200, {counts[503]} with status 503")
    print(f"{taken / 2**20:.1f} MiB at most, {planned / 2**20:.1f} told, of {limit / 2**20:.1f} that it may have")
    assert counts[200] > 0, "nobody was answered"
    assert max(taken, planned) <= limit, "more than it may have"


def much_at_once(server, each):
    wanted = [(kind, number) for kind in KINDS for number in range(each)]
    random.Random(SEED).shuffle(wanted)
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
        counts = collections.Counter(clients.map(lambda item: of(server, *item), wanted))
    for (kind, status), count in sorted(counts.items()):
        print(f"{kind}: {count} with status {status}")
    assert counts["schemas", 200] > 0, "no schema was kept to"
    taken, planned = most(server), told(server)
    print(f"{taken / 2**20:.1f} MiB at most, of {planned / 2**20:.1f} that it said")
    assert taken <= planned, "it took more than it said"
    return planned


main()
