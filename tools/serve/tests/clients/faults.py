"""Does to a server what clients do that fail, and sees that it costs nobody else anything: python3 faults.py SISKIN [REQUESTS]

REQUESTS are sent by several clients at once, from the same seed each time: some go away in the middle of a head, a body or an
answer, politely or not, some send what is no HTTP or no JSON, too much at once, byte by byte, or never read. Beside them two steady
clients ask for the same answers again and again. In the end no thread has panicked, every steady answer was the same bytes, and
the server has the memory, the files and the threads that it had after the first requests.

Then the folder of --cache-dir fails while a server uses it: full, read-only, files gone and damaged, a pipe among them. That costs what is kept alone.
A server that is ended by a fault begins again with what it had kept.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import asks
from asks import CHATS, TEXTS, Question
from server import Server

SEED = 1
CLIENTS = 6
# Requests from which on it is a long form.
LONG = 1000


def first_of(requests):
    """Requests after which the server has had all that it needs once, and how much more memory it may have in the end: of a few
    requests it shows less surely what most of them take at once."""
    return (requests // 4, 0.01) if requests >= LONG else (requests * 2 // 3, 0.05)


QUESTIONS = [
    Question("please turn on the kitchen light", tokens=24, seed=1, temperature=0),
    Question("tell me a story", "You are a bird.", tokens=24, seed=2, temperature=1.5),
    Question("who are you", tokens=24, seed=3, temperature=2, top_k=0),
]
APIS = {**CHATS, **TEXTS}
PATHS = sorted({api.path for api in APIS.values()} | {"/tokenize", "/v1/embeddings", "/api/embed", "/v1/messages/count_tokens"})


def body_of(dice):
    """An address, and what it may be asked."""
    name = dice.choice(sorted(APIS))
    api, question = APIS[name], dice.choice(QUESTIONS)
    return api.path, {**api.body(question), "stream": dice.random() < 0.5}


class Gone(Exception):
    """The client goes away."""


def leave(stream, dice):
    """Goes away, with what was not read thrown at the server or not."""
    if dice.random() < 0.5:
        # The kernel sends a reset.
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def statuses(stream, allowed):
    """Reads an answer, whose status is one of these; the server may also have hung up."""
    try:
        data = b""
        while more := stream.recv(1 << 16):
            data += more
    except ConnectionError:
        return
    # That it waits for a body is no answer yet.
    data = data.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    if data and int(data.split(b" ", 2)[1]) not in allowed:
        raise AssertionError(f"expected one of {allowed}: {data[:300]!r}")


# Answered, or told to ask again: as many wait as may, or others have the memory for what is sent.
ANSWERED = {200, 429, 503}
REFUSED = {400, 401, 404, 405, 408, 411, 413, 414, 429, 431, 501}


def whole(server, dice):
    with asks.connect(server) as stream:
        stream.sendall(asks.request(*body_of(dice)))
        statuses(stream, ANSWERED)


def leaves_in_request(server, dice):
    data = asks.request(*body_of(dice))
    with asks.connect(server) as stream:
        stream.sendall(data[:dice.randrange(len(data))])
        leave(stream, dice)


def leaves_before_answer(server, dice):
    with asks.connect(server) as stream:
        stream.sendall(asks.request(*body_of(dice)))
        leave(stream, dice)


def leaves_in_answer(server, dice):
    path, body = body_of(dice)
    with asks.connect(server) as stream:
        stream.sendall(asks.request(path, {**body, "stream": True}))
        for _ in range(dice.randint(1, 4)):
            stream.recv(dice.choice([1, 20, 200, 2000]))
        leave(stream, dice)


def stops_writing(server, dice):
    """Says that nothing more will come, and waits for the answer."""
    with asks.connect(server) as stream:
        stream.sendall(asks.request(*body_of(dice)))
        stream.shutdown(socket.SHUT_WR)
        statuses(stream, ANSWERED)


def bad_bodies(body, dice):
    data = json.dumps(body).encode()
    at = dice.randrange(len(data))
    return [
        data[:at], data[:at] + bytes([dice.randrange(256)]) + data[at + 1:], bytes(dice.randrange(256) for _ in range(40)),
        b"[" * 100_000, b'{"a":' * 50_000, b"null", b"[]", b'"text"', b"1e999", b"\xff\xfe{}", b"{}",
        b'{"prompt": 1, "messages": 2, "input": 3}', b'{"messages": [[]], "prompt": {}, "input": [[[]]]}',
        json.dumps({**body, "max_tokens": -5, "num_predict": "x", "max_output_tokens": 0, "options": {"top_p": 3}, "top_p": 3}).encode(),
        json.dumps({**body, "model": "no such model"}).encode(),
        json.dumps({**body, "prompt": "x " * 20_000, "messages": [{"role": "user", "content": "x " * 20_000}]}).encode(),
        b'{"prompt": [' + b"1," * 50_000 + b"1]}",
        json.dumps({**body, "prompt": "x" * (1 << 20), "messages": [{"role": "user", "content": "x" * (1 << 20)}]}).encode(),
    ]


def bad_body(server, dice):
    path, body = body_of(dice)
    bad = dice.choice(bad_bodies(body, dice))
    with asks.connect(server) as stream:
        stream.sendall(asks.head(dice.choice(PATHS), len(bad)) + bad)
        statuses(stream, ANSWERED | REFUSED)


def bad_http(server, dice):
    path, body = body_of(dice)
    data = json.dumps(body).encode()
    start = f"POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n".encode()
    bad = dice.choice([
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET\r\n\r\n", b"\r\n" * 100, b"GET / HTTP/9.9\r\n\r\n",
        bytes(dice.randrange(256) for _ in range(200)) + b"\r\n\r\n",
        start + b"content-length: -1\r\n\r\n" + data, start + b"content-length: 99999999999\r\n\r\n" + data,
        start + b"content-length: 5\r\ncontent-length: 6\r\n\r\n" + data,
        start + b"transfer-encoding: chunked\r\n\r\nzz\r\n" + data, start + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        start + b"transfer-encoding: gzip\r\n\r\n" + data, start + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n{}",
        start + b"x: " + b"y" * (80 << 10) + b"\r\n\r\n", start + b"".join(b"x%d: y\r\n" % n for n in range(500)) + b"\r\n",
        f"BREW {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".encode(),
        b"GET /v1/models/%ff HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        b"GET /" + b"a" * (70 << 10) + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nhost: example.com\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
    ])
    with asks.connect(server) as stream:
        try:
            stream.sendall(bad)
            stream.shutdown(socket.SHUT_WR)
        except (ConnectionError, OSError):
            return
        statuses(stream, ANSWERED | REFUSED | {403})


def flood(server, dice):
    """More at once than there are places, of which none is waited for in turn."""
    streams = []
    try:
        for _ in range(dice.randint(8, 48)):
            stream = asks.connect(server)
            streams.append(stream)
            stream.sendall(asks.request(*body_of(dice)))
        for stream in streams:
            if dice.random() < 0.7:
                statuses(stream, ANSWERED)
            else:
                leave(stream, dice)
    finally:
        for stream in streams:
            stream.close()


def several_at_once(server, dice):
    """Requests one behind the other, without waiting, of which some answers are read."""
    with asks.connect(server) as stream:
        for _ in range(dice.randint(2, 5)):
            stream.sendall(asks.request(*body_of(dice)).replace(b"connection: close\r\n", b"", 1))
        for _ in range(dice.randint(0, 5)):
            stream.recv(1000)
        leave(stream, dice)


def slow(server, dice):
    data = asks.request(*body_of(dice))
    with asks.connect(server) as stream:
        cut = dice.randrange(len(data) - 10)
        stream.sendall(data[:cut])
        for at in range(cut, len(data), max(1, (len(data) - cut) // 10)):
            time.sleep(0.02)
            stream.sendall(data[at:at + max(1, (len(data) - cut) // 10)])
        try:
            while stream.recv(64):
                time.sleep(0.005)
        except ConnectionError:
            pass


def reads_nothing(server, dice):
    with asks.connect(server) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        path, body = body_of(dice)
        stream.sendall(asks.request(path, {**body, "stream": True}))
        time.sleep(dice.random() * 0.3)
        leave(stream, dice)


CLIENT = """
import socket, sys, time
stream = socket.create_connection((sys.argv[1], int(sys.argv[2])))
stream.sendall(bytes.fromhex(sys.argv[3]))
stream.recv(1)
print(flush=True)
time.sleep(60)
"""


def killed(server, dice):
    """A client that the system kills while it is answered."""
    path, body = body_of(dice)
    data = asks.request(path, {**body, "stream": True})
    command = [sys.executable, "-ISc", CLIENT, server.host, str(server.port), data.hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as client:
        client.stdout.readline()
        client.kill()


# What clients do, and how often.
FAULTS = {
    whole: 20, leaves_in_request: 15, leaves_before_answer: 15, leaves_in_answer: 15, stops_writing: 4, bad_body: 20, bad_http: 15,
    several_at_once: 5, slow: 3, reads_nothing: 3, flood: 1.5, killed: 0.5,
}


class Steady(threading.Thread):
    """A client that asks for the same answers again and again, at an address of its own."""

    def __init__(self, server, number, expected):
        super().__init__(daemon=True)
        self.server, self.number, self.expected = server, number, expected
        self.over, self.answers, self.busy, self.wrong = threading.Event(), 0, 0, []

    def run(self):
        dice = random.Random(f"{SEED} steady {self.number}")
        while not self.over.is_set():
            key = dice.choice(sorted(self.expected))
            name, at, stream = key
            try:
                text = APIS[name].ask(self.server, QUESTIONS[at], stream, source=f"127.0.0.{2 + self.number}")
            except asks.Refused as refused:
                # As many wait as may: a client asks again, as it is told to.
                if refused.status != 429:
                    self.wrong.append(f"{key}: {refused}")
                self.busy += 1
                time.sleep(0.05)
                continue
            except OSError as error:
                self.wrong.append(f"{key}: {error!r}")
                continue
            self.answers += 1
            if text != self.expected[key]:
                self.wrong.append(f"{key}: {text!r}, and {self.expected[key]!r} before")


class Faulty(threading.Thread):
    """A client that fails in one way or another, until there were as many requests as there are to be."""

    def __init__(self, server, number, tickets):
        super().__init__(daemon=True)
        self.server, self.number, self.tickets, self.wrong = server, number, tickets, []

    def run(self):
        for ticket in self.tickets:
            dice = random.Random(f"{SEED} {ticket}")
            fault, = dice.choices(list(FAULTS), FAULTS.values())
            try:
                fault(self.server, dice)
            except ConnectionError:
                # The server need not listen to the end to what it refuses.
                pass
            except Exception as error:
                self.wrong.append(f"request {ticket}, {fault.__name__}: {error!r}")


class Tickets:
    """Numbers that several threads take, each of them once."""

    def __init__(self, first, last):
        self.numbers, self.lock = iter(range(first, last)), threading.Lock()

    def __iter__(self):
        return self

    def __next__(self):
        with self.lock:
            return next(self.numbers)


def fail(server, first, last):
    """Sends requests that fail."""
    tickets = Tickets(first, last)
    clients = [Faulty(server, number, tickets) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return [line for client in clients for line in client.wrong]


def holds(server):
    """Kibibytes of memory of its own, open files and threads of a server. How much of the program lies in the page cache's memory
    is no matter of what it was asked."""
    process = pathlib.Path(f"/proc/{server.process.pid}")
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]), len(list((process / "fd").iterdir())), int(status["Threads"])


def settled(server, least=None):
    """What a server holds once it has come to rest: threads that nobody needs end after 2 seconds, connections sooner."""
    before, since, end = holds(server), time.monotonic(), time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.25)
        now = holds(server)
        if now[1:] != before[1:]:
            before, since = now, time.monotonic()
        if least and now[1] <= least[1] and now[2] <= least[2] or time.monotonic() - since > 4:
            return now
    return holds(server)


def most_at_once(server):
    """Has the server take as much as any of the requests makes it take."""
    def ask(path):
        dice = random.Random(f"{SEED} {path}")
        for bad in bad_bodies(body_of(dice)[1], dice):
            with asks.connect(server) as stream:
                # What is announced to be too long is refused before all of it is there.
                with contextlib.suppress(ConnectionError):
                    stream.sendall(asks.head(path, len(bad)) + bad)
                    statuses(stream, ANSWERED | REFUSED)

    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(ask, PATHS * 2))


def clients_fail(program, requests):
    first_requests, more = first_of(requests)
    server = Server(program, "--ctx-size", "512", "--parallel", "4", "--queue", "32", "--log", "json")
    expected = {}
    for name, api in APIS.items():
        for at, question in enumerate(QUESTIONS):
            expected[name, at, False] = api.ask(server, question)
            expected[name, at, True] = api.ask(server, question, stream=True)
    steady = [Steady(server, number, expected) for number in range(2)]
    for client in steady:
        client.start()
    begun = time.monotonic()
    most_at_once(server)
    wrong = fail(server, 0, first_requests)
    # The steady clients pause while it is looked at.
    for client in steady:
        client.over.set()
        client.join()
    first = settled(server)
    seen = steady
    steady = [Steady(server, number, expected) for number in range(2)]
    for client in steady:
        client.start()
    for part in range(first_requests, requests, 1000):
        wrong += fail(server, part, min(part + 1000, requests))
        print(f"{min(part + 1000, requests)} requests, {time.monotonic() - begun:.0f} s: {holds(server)}", flush=True)
    for client in steady:
        client.over.set()
        client.join()
    last = settled(server, first)
    answers = sum(client.answers for client in seen + steady)
    busy = sum(client.busy for client in seen + steady)
    wrong += [line for client in seen + steady for line in client.wrong]
    status = server.end()
    wrong += [line for line in server.lines if "panic" in line or '"level":"error"' in line]
    if status != 0:
        wrong.append(f"the server ended with {status}")
    print(f"{requests} requests of failing clients, {answers} answers of steady ones, told {busy} times to ask again")
    for what, before, after in zip(("KiB of memory", "open files", "threads"), first, last):
        print(f"{what}: {before} after {first_requests} requests, {after} in the end")
        if after > before * (1 + more if what.startswith("KiB") else 1):
            wrong.append(f"the server has {after} {what}, and had {before}")
    if answers < 20:
        wrong.append("the steady clients had no answers")
    return wrong


def long_questions():
    """Questions whose prompts are long enough to be kept."""
    rooms = ["kitchen", "hall", "garage"]
    return [Question("hello", f"You are the assistant of the {room}. " * 45, tokens=8, seed=5) for room in rooms]


def cache_fails(program, is_long):
    """Has what is kept on the disk fail in all ways. Returns what is wrong."""
    wrong, api, questions = [], CHATS["OpenAI's chats"], long_questions()
    arguments = ["--ctx-size", "1024", "--idle", "2", "--log", "json"]
    server = Server(program, *arguments)
    expected = [api.ask(server, question) for question in questions]
    server.end()

    def ask(server, how):
        for at, question in enumerate(questions):
            try:
                text = api.ask(server, question)
            except (asks.Refused, OSError) as error:
                text = repr(error)
            if text != expected[at]:
                wrong.append(f"{how}: {text!r}, and {expected[at]!r} without --cache-dir")
            # What is idle is written after a second, the last first.
            if is_long or at == len(questions) - 1:
                time.sleep(1.2)

    with tempfile.TemporaryDirectory() as folder:
        kept = pathlib.Path(folder) / "kept"
        server = Server(program, *arguments, "--cache-dir", str(kept))
        ask(server, "with --cache-dir")
        files = sorted(kept.iterdir())
        if not files:
            wrong.append("nothing was kept")
        for at, file in enumerate(files):
            data = file.read_bytes()
            if at % 3 == 0:
                file.unlink()
            elif at % 3 == 1:
                file.write_bytes(data[:len(data) // 2])
            else:
                file.write_bytes(data[:-200] + bytes(100) + data[-100:])
        ask(server, "with files gone and damaged")
        shutil.rmtree(kept)
        ask(server, "without the folder")
        wrong += end(server)
        kept.write_text("a file")
        server = Server(program, *arguments, "--cache-dir", str(kept))
        ask(server, "with a file in its place")
        wrong += end(server)

        # As a panic ends it, where programs abort: whoever starts it again finds there what was kept before.
        kept = pathlib.Path(folder) / "again"
        server = Server(program, *arguments, "--cache-dir", str(kept))
        ask(server, "before the end")
        with asks.connect(server) as stream:
            stream.sendall(asks.request("/v1/chat/completions", {"messages": questions[0].messages(), "stream": True}))
            stream.recv(100)
            server.process.send_signal(signal.SIGABRT)
            server.process.wait()
        server.end()
        # Who opened it would wait for whoever writes to it.
        os.mkfifo(kept / "pipe.prefix")
        server = Server(program, *arguments, "--cache-dir", str(kept))
        body = {"messages": questions[-1].messages(), "max_tokens": 1}
        cached = json.loads(asks.post(server, "/v1/chat/completions", body)[2])["usage"]["prompt_tokens_details"]["cached_tokens"]
        if cached < 256:
            wrong.append(f"a server that began again had kept {cached} tokens of a prompt")
        ask(server, "after it was ended by a fault")
        wrong += end(server)

        # A disk of its own, which is full soon and then read-only.
        disk = pathlib.Path(folder) / "disk"
        disk.mkdir()
        script = pathlib.Path(folder) / "siskin"
        script.write_text(f"#!/bin/sh\nmount -t tmpfs -o size=1m tmpfs {disk} && exec {program} \"$@\"\n")
        script.chmod(0o755)
        mounted = ["unshare", "--map-root-user", "--mount"]
        if subprocess.run([*mounted, "mount", "-t", "tmpfs", "tmpfs", disk], stderr=subprocess.DEVNULL).returncode != 0:
            print("skipped: a full disk, as nothing can be mounted here", file=sys.stderr)
            return wrong
        namespace = pathlib.Path(folder) / "namespace"
        namespace.write_text(f"#!/bin/sh\nexec {' '.join(mounted)} {script} \"$@\"\n")
        namespace.chmod(0o755)
        server = Server(str(namespace), *arguments, "--cache-dir", str(disk / "kept"))
        ask(server, "on a full disk")
        if not any("is not kept on the disk" in line for line in server.lines):
            wrong.append("nobody was told of a full disk")
        inside = ["nsenter", "--preserve-credentials", "--user", "--mount", "--target", str(server.process.pid)]
        subprocess.run([*inside, "mount", "-o", "remount,ro", disk], check=True)
        ask(server, "on a disk that is read-only")
        wrong += end(server)
    return wrong


def end(server):
    status = server.end()
    wrong = [line for line in server.lines if "panic" in line or '"level":"error"' in line]
    return wrong + ([f"the server ended with {status}"] if status != 0 else [])


def main(program, requests="1000"):
    program = str(pathlib.Path(program).resolve())
    wrong = clients_fail(program, int(requests)) + cache_fails(program, int(requests) >= LONG)
    if wrong:
        raise SystemExit("\n".join(wrong[:20]))
    print("nothing of it costs others anything")


if __name__ == "__main__":
    main(*sys.argv[1:])
