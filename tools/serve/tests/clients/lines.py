"""Has Schemathesis read what comes as lines of JSON, which the document describes as an array of them."""

import json

import schemathesis


@schemathesis.deserializer("application/x-ndjson")
def read(_, response):
    return [json.loads(line) for line in response.text.splitlines()]
