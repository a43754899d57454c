"""The same question in the words of each API, and the text of its answer, whole or piece by piece. No client but sockets."""

import json
import socket


class Api:
    """An address, what it is asked, and where the text is in an answer and in a piece of one."""

    def __init__(self, path, body, whole, piece):
        self.path, self.body, self.whole, self.piece = path, body, whole, piece

    def ask(self, server, question, stream=False, **connection):
        status, kind, answer = post(server, self.path, {**self.body(question), "stream": stream}, **connection)
        if status != 200:
            raise Refused(status, answer)
        if not stream:
            return self.whole(json.loads(answer))
        lines = answer.decode().splitlines()
        if "event-stream" in kind:
            lines = [line.removeprefix("data: ") for line in lines if line.startswith("data: ") and line != "data: [DONE]"]
        values = [json.loads(line) for line in lines]
        if any("error" in value and value["error"] for value in values):
            raise Refused(status, answer)
        return "".join(self.piece(value) or "" for value in values)


class Refused(Exception):
    def __init__(self, status, answer):
        super().__init__(f"{status}: {answer[:400]}")
        self.status = status


class Question:
    """A conversation of one turn, or a text that is continued: what is asked, and how tokens are picked."""

    def __init__(self, prompt, system=None, tokens=16, **sampling):
        self.prompt, self.system, self.tokens, self.sampling = prompt, system, tokens, sampling

    def messages(self):
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.prompt}]

    def options(self):
        return {**self.sampling, "num_predict": self.tokens}


def request(path, body):
    data = json.dumps(body).encode()
    return head(path, len(data)) + data


def head(path, length, host="localhost", method="POST"):
    return (f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n"
            f"content-length: {length}\r\nconnection: close\r\n\r\n").encode()


def connect(server, source=None, timeout=120):
    # A source address of its own is a client of its own to the server.
    return socket.create_connection((server.host, server.port), timeout, source and (source, 0))


def post(server, path, body, source=None):
    """The status, the kind and the body of the answer."""
    with connect(server, source) as stream:
        stream.sendall(request(path, body))
        return response(stream)


def response(stream):
    data = b""
    while more := stream.recv(1 << 16):
        data += more
    return parsed(data)


def parsed(data):
    top, _, rest = data.partition(b"\r\n\r\n")
    lines = top.decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/1.1 "):
        raise ConnectionError(f"no answer: {data[:100]!r}")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:])
    if fields.get("transfer-encoding") == "chunked":
        rest = unchunked(rest)
    elif len(rest) != int(fields.get("content-length", len(rest))):
        raise ConnectionError("the answer breaks off")
    return int(lines[0].split(" ")[1]), fields.get("content-type", ""), rest


def unchunked(data):
    body = b""
    while True:
        size, found, rest = data.partition(b"\r\n")
        if not found:
            raise ConnectionError("the answer breaks off")
        size = int(size, 16)
        if size == 0:
            return body
        body, data = body + rest[:size], rest[size + 2:]


def joined(parts, kind="text"):
    return "".join(part["text"] for part in parts if part["type"] == kind)


# A conversation has the same answer through each of these.
CHATS = {
    "OpenAI's chats": Api(
        "/v1/chat/completions", lambda q: {"messages": q.messages(), "max_tokens": q.tokens, **q.sampling},
        lambda value: value["choices"][0]["message"]["content"],
        lambda value: value["choices"] and value["choices"][0]["delta"].get("content")),
    "OpenAI's responses": Api(
        "/v1/responses",
        lambda q: {"input": q.prompt, "instructions": q.system, "max_output_tokens": q.tokens, **q.sampling},
        lambda value: joined([part for item in value["output"] for part in item["content"]], "output_text"),
        lambda value: value["type"] == "response.output_text.delta" and value["delta"]),
    "Ollama's chats": Api(
        "/api/chat", lambda q: {"messages": q.messages(), "options": q.options()},
        lambda value: value["message"]["content"], lambda value: value["message"]["content"]),
    "Ollama's generate": Api(
        "/api/generate", lambda q: {"prompt": q.prompt, "system": q.system, "options": q.options()},
        lambda value: value["response"], lambda value: value["response"]),
    "Anthropic's messages": Api(
        "/v1/messages",
        lambda q: {"messages": q.messages()[-1:], "system": q.system, "max_tokens": q.tokens, **q.sampling},
        lambda value: joined(value["content"]), lambda value: value.get("delta", {}).get("text")),
}

# A text goes on alike through each of these.
TEXTS = {
    "OpenAI's completions": Api(
        "/v1/completions", lambda q: {"prompt": q.prompt, "max_tokens": q.tokens, **q.sampling},
        lambda value: value["choices"][0]["text"], lambda value: value["choices"] and value["choices"][0]["text"]),
    "llama.cpp's completion": Api(
        "/completion", lambda q: {"prompt": q.prompt, "n_predict": q.tokens, **q.sampling},
        lambda value: value["content"], lambda value: value["content"]),
    "Ollama's generate of raw texts": Api(
        "/api/generate", lambda q: {"prompt": q.prompt, "raw": True, "options": q.options()},
        lambda value: value["response"], lambda value: value["response"]),
}
