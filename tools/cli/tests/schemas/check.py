"""Whether answers keep to schemas: python3 check.py SISKIN [MODEL.gguf...] [--count N]

Each schema of schemas.py is asked of a server, twice of each model: as models are asked, and by chance alone, among all tokens
that the grammar allows. An answer must validate by what the Python package `jsonschema` makes of the schema, formats
included, or the schema be refused with a message that says why. Numbers are compared as decimals, as they are written. An answer
that was cut by the limit of tokens is none; there may be few of these. Without a model it is the demo model.
"""

import argparse
import collections
import concurrent.futures
import decimal
import http.client
import json
import re
import subprocess
import sys

import jsonschema

from schemas import schemas

TOKENS = 700
MANNERS = {"usual": {}, "chance": {"temperature": 100, "top_k": 0, "top_p": 1, "min_p": 0}}
# Of a hundred answers, how many may be cut, or of few: texts without a greatest length have no end by chance.
MOST_CUT, MOST_CUT_OF_FEW = 6, 4
AT_ONCE = 4


class Server:
    def __init__(self, program, models):
        command = [program, "serve", *models, "--port", "0", "--ctx-size", "1024", "--parallel", str(AT_ONCE)]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.search(r"listening on http://(\S+)", line):
                self.place = found[1]
                return
        raise SystemExit(f"{program} ended with {self.process.wait()}")

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.place, timeout=600)
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        found = reply.status, json.loads(reply.read())
        connection.close()
        return found

    def end(self):
        self.process.terminate()
        self.process.communicate(timeout=30)


def number(text):
    """A number with a point or an exponent, which may be larger than Python has numbers."""
    try:
        return decimal.Decimal(text)
    except decimal.InvalidOperation:
        return decimal.Decimal("-Infinity" if text.startswith("-") else "Infinity")


def is_integer(_, found):
    is_whole = isinstance(found, decimal.Decimal) and found == found.to_integral_value()
    return is_whole or isinstance(found, int) and not isinstance(found, bool)


def validator(schema):
    """What validates values whose numbers are decimals."""
    schema = json.loads(json.dumps(schema), parse_float=number)
    of = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    of.check_schema(schema)
    types = of.TYPE_CHECKER.redefine("integer", is_integer)
    return jsonschema.validators.extend(of, type_checker=types)(schema, format_checker=of.FORMAT_CHECKER)


def check(server, model, index, schema, manner):
    """What comes of a question: a word, and what is to be said of it."""
    # A text is continued, since models with random weights have no chat template.
    body = {"model": model, "prompt": "please turn on the kitchen light", "n_predict": TOKENS, "seed": index, "json_schema": schema,
            **MANNERS[manner]}
    status, reply = server.ask("POST", "/completion", body)
    if status == 400:
        said = reply["error"]["message"]
        return ("refused" if said.startswith("json_schema: JSON schema: ") and "\n" not in said else "wrong"), said
    if status != 200:
        return "wrong", f"status {status}: {reply}"
    answer = reply["content"]
    if reply["stop_type"] == "limit":
        return "cut", answer
    try:
        validator(schema).validate(json.loads(answer, parse_float=number))
    except (ValueError, jsonschema.ValidationError) as error:
        return "wrong", f"{answer}: {error.message if isinstance(error, jsonschema.ValidationError) else error}"
    return "valid", answer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("models", nargs="*")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--verbose", action="store_true", help="say what becomes of each")
    arguments = parser.parse_args()
    # Remainders are to be exact, however far a number is from its divisor.
    decimal.getcontext().prec = 2000
    decimal.DefaultContext.prec = 2000
    decimal.setcontext(decimal.DefaultContext)
    all_schemas = list(schemas(arguments.count))
    for _, schema in all_schemas:
        validator(schema)
    server = Server(arguments.program, arguments.models)
    failed = False
    try:
        models = [model["id"] for model in server.ask("GET", "/v1/models")[1]["data"]]
        for model in models:
            for manner in MANNERS:
                with concurrent.futures.ThreadPoolExecutor(AT_ONCE, initializer=decimal.setcontext, initargs=(decimal.DefaultContext.copy(),)) as pool:
                    asked = [(index, schema, manner) for index, (_, schema) in enumerate(all_schemas)]
                    found = list(pool.map(lambda one: check(server, model, *one), asked))
                counts = collections.Counter(word for word, _ in found)
                print(f"{model}, {manner}: " + ", ".join(f"{counts[word]} {word}" for word in ("valid", "refused", "cut", "wrong")))
                for index, ((kind, schema), (word, said)) in enumerate(zip(all_schemas, found)):
                    if word == "wrong" or arguments.verbose:
                        print(f"  {word}: {index} ({kind}) {json.dumps(schema, ensure_ascii=False)}\n    {json.dumps(said, ensure_ascii=False)}")
                answered = counts["valid"] + counts["cut"]
                failed |= counts["wrong"] > 0 or counts["valid"] == 0 or counts["cut"] > max(MOST_CUT_OF_FEW, answered * MOST_CUT // 100)
    finally:
        server.end()
    sys.exit(failed)


main()
