"""JSON schemas to ask answers of, each different, always the same: python3 schemas.py [COUNT] > schemas.jsonl

A family is a kind of schema, of which each turn makes one, so that the first schemas have something of all kinds. What a
family makes depends on its name and the turn alone.
"""

import json
import random
import sys

WORDS = ["room", "light", "level", "state", "name", "unit", "kind", "value", "door", "fan", "pump", "valve", "zone",
         "alarm", "mode", "speed", "title", "note", "rank", "tags"]
UNICODE = ["größe", "名前", "ключ", "ñandú", "ελληνικά", "naïve", "🙂", "Ω", "שלום", "e\u0301", "a b", "a/b", "a~b",
           "\"quoted\"", "back\\slash", "new\nline", "tab\t", "$ref", "", "%41", "\u2028", "\U0001f468\u200d\U0001f467"]


def names(chance, count, of=WORDS):
    return chance.sample(of, count)


def text(chance, most=12):
    least = chance.choice([0, 0, 1, 3])
    return {"type": "string", "minLength": least, "maxLength": chance.randint(max(least, 1), most)}


def integer(chance):
    least = chance.choice([0, 1, -5, -120, 17, 99, 1000])
    return {"type": "integer", "minimum": least, "maximum": least + chance.choice([0, 1, 9, 10, 99, 1234])}


def scalar(chance):
    return chance.choice([text, integer, lambda _: {"type": "boolean"}, lambda _: {"type": "null"}, choice])(chance)


def choice(chance):
    return {"enum": names(chance, chance.randint(1, 5))}


def closed(properties, required=None, **more):
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required,
            "additionalProperties": False, **more}


def value(chance, depth):
    """Some schema, which has an end."""
    if depth == 0 or chance.random() < 0.3:
        return scalar(chance)
    if chance.random() < 0.4:
        return {"type": "array", "items": value(chance, depth - 1), "minItems": chance.randint(0, 1),
                "maxItems": chance.randint(1, 3)}
    found = names(chance, chance.randint(1, 4))
    required = [name for name in found if chance.random() < 0.7]
    return closed({name: value(chance, depth - 1) for name in found}, required)


def strings(chance, turn):
    least = turn % 5
    return closed({"a": {"type": "string", "minLength": least, "maxLength": least + chance.randint(0, 20)},
                   "b": {"type": "string", "maxLength": chance.randint(0, 3)}})


def patterns(chance, turn):
    pattern = [
        "^[A-Z]{2}-[0-9]{4}$", "^(red|green|blue)$", r"^\d{3,5}$", r"^\w{1,8}$", "^[^aeiou]{2,6}$", "^a?b?c?$", "^x{3}",
        "^(?:[a-f0-9]{2}:){5}[a-f0-9]{2}$", r"^\S{1,5}\s\S{1,5}$", r"^-?[0-9]{1,3}(\.[0-9]{1,2})?$", "^[äöü]{1,4}$",
        r"^\$[0-9]{1,3}$", "^[\"\\\\]{1,3}$", "^(a|bc){2,3}$", "^.{2,5}$", "[0-9]", "^$", r"^[\u4e00-\u9fff]{1,3}$",
        r"^/([a-z]{1,4}/){0,3}$", r"^\{[a-z]{1,3}\}$",
    ][turn % 20]
    schema = {"type": "string", "pattern": pattern}
    if not pattern.endswith("$") or turn % 3 == 0:
        schema["maxLength"] = 20
    return closed({"code": schema, "n": integer(chance)})


FORMATS = ["date", "time", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"]


def formats(chance, turn):
    schema = {"type": "string", "format": FORMATS[turn % 10]}
    if schema["format"] in ("time", "date-time", "duration", "email", "hostname", "uri"):
        schema["maxLength"] = chance.randint(30, 36)
    if turn >= 10 and schema["format"] in ("date", "date-time", "time"):
        # What of its form is no date, as 1900-02-29, or no time, as 12:30:60.
        schema["pattern"] = {"date": "^[0-9]{2}00-02-29", "date-time": "-02-29T", "time": ":60"}[schema["format"]]
    return closed({"at": schema, "of": choice(chance)})


def integers(chance, turn):
    bounds = [
        {"minimum": 0}, {"maximum": -1}, {"minimum": -3, "maximum": 3}, {"exclusiveMinimum": 0, "exclusiveMaximum": 10},
        {"minimum": 99, "maximum": 101}, {"minimum": -1000, "maximum": -998}, {"exclusiveMinimum": -1, "maximum": 0},
        {"minimum": 1.5, "maximum": 3.5}, {"exclusiveMinimum": 1.5, "exclusiveMaximum": 2.5}, {"minimum": 2147483647},
        {"minimum": 9007199254740990, "maximum": 9007199254740991}, {}, {"minimum": 7, "maximum": 7},
        {"exclusiveMaximum": 0, "minimum": -1}, {"minimum": 0, "maximum": 1000000000000},
        {"minimum": -9007199254740991, "maximum": -9007199254740990}, {"minimum": 10, "exclusiveMinimum": 10, "maximum": 12},
        {"minimum": 9007199254740993, "maximum": 9007199254740993}, {"maximum": 18446744073709551615, "minimum": 0},
        {"exclusiveMinimum": 9007199254740992, "maximum": 9007199254740994},
    ][turn % 20]
    return closed({"n": {"type": "integer", **bounds}, "m": integer(chance)})


def numbers(chance, turn):
    bounds = [
        {"minimum": 0, "maximum": 1}, {"exclusiveMinimum": 0, "exclusiveMaximum": 1}, {"minimum": -0.5, "maximum": 0.5},
        {"minimum": 0.1, "maximum": 0.3}, {"minimum": 1e-6, "maximum": 1e-5}, {"minimum": 1e20}, {"maximum": -0.001}, {},
        {"exclusiveMinimum": 99.99, "maximum": 100.01}, {"minimum": 3.14159, "maximum": 3.1416}, {"minimum": -1e3},
        {"exclusiveMinimum": 0.5, "exclusiveMaximum": 0.75}, {"minimum": 2.5, "maximum": 2.5}, {"exclusiveMaximum": 0},
        {"exclusiveMinimum": -1.5, "maximum": -1}, {"minimum": 0, "exclusiveMaximum": 1e-3}, {"minimum": 1e300},
        {"exclusiveMinimum": 1000000.5, "maximum": 1000001}, {"minimum": -1e-3, "maximum": 1e-3}, {"exclusiveMinimum": 9},
    ][turn % 20]
    return closed({"x": {"type": "number", **bounds}})


def multiples(chance, turn):
    schema = [
        {"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 100}, {"type": "number", "multipleOf": 0.01, "minimum": 0, "maximum": 10},
        {"type": "integer", "multipleOf": 7, "minimum": -50, "maximum": 50}, {"type": "number", "multipleOf": 0.25, "minimum": -2, "maximum": 2},
        {"type": "integer", "multipleOf": 1}, {"type": "number", "multipleOf": 3, "minimum": 1, "maximum": 100},
        {"type": "number", "multipleOf": 1.5, "minimum": 0, "maximum": 30}, {"type": "integer", "multipleOf": 2.5, "minimum": 0, "maximum": 50},
        {"type": "integer", "multipleOf": 60, "minimum": 60, "maximum": 3600}, {"type": "number", "multipleOf": 0.001, "maximum": 1, "minimum": 0},
        {"type": "integer", "multipleOf": 100, "minimum": 1, "maximum": 99}, {"type": "integer", "multipleOf": 4, "exclusiveMinimum": 0, "maximum": 4},
        {"type": "number", "multipleOf": 1e-7, "minimum": 0, "maximum": 0.001}, {"type": "integer", "multipleOf": 13},
        {"type": "number", "multipleOf": 0.1}, {"type": "integer", "multipleOf": 0.5, "minimum": 1, "maximum": 3},
        {"allOf": [{"type": "integer", "multipleOf": 4}, {"multipleOf": 6, "minimum": 1, "maximum": 100}]},
        {"type": "number", "multipleOf": 1e10}, {"type": "integer", "multipleOf": 12345, "minimum": 1, "maximum": 100000}, {"type": "number", "multipleOf": 0.3, "exclusiveMaximum": 0, "minimum": -3},
    ][turn % 20]
    return closed({"n": schema, "of": choice(chance)})


def enums(chance, turn):
    values = [1, 2.5, -3, True, False, None, "", "a", "true", "null", "1", [], [1, "x"], {}, {"a": 1}, {"a": [None, {"b": 2}]}, 1e3,
              "\"", "\\", "\n", "é", "🙂", 0, 0.1, -0.25]
    schema = {"enum": chance.sample(values, chance.randint(1, 8))}
    if turn % 4 == 3:
        schema["type"] = chance.choice(["string", "number", "integer", "object", ["string", "null"]])
        schema["enum"] += {"string": ["s"], "number": [7], "integer": [7], "object": [{"o": 1}]}.get(str(schema["type"]), [None])
        schema["enum"] = [found for at, found in enumerate(schema["enum"]) if repr(found) not in map(repr, schema["enum"][:at])]
    return closed({"of": schema, "n": integer(chance)})


def constants(chance, turn):
    found = [
        "on", 0, -1, 3.25, True, None, [], {}, [1, [2, [3]]], {"a": {"b": {"c": []}}}, "línea\n\"x\"\\", 1e21, 0.1, {"ä": "ö"}, 9007199254740991,
        ["", None, False], {"x": 1, "y": [2.5, "z"]}, "/", 123456789012345678, -0.000001,
    ][turn % 20]
    return closed({"is": {"const": found}, "other": scalar(chance)})


def arrays(chance, turn):
    least = turn % 4
    return {"type": "array", "items": scalar(chance), "minItems": least, "maxItems": least + chance.randint(0, 4)}


def tuples(chance, turn):
    schema = {"type": "array", "prefixItems": [scalar(chance) for _ in range(chance.randint(1, 4))]}
    schema["items"] = False if turn % 2 else scalar(chance)
    schema["minItems"] = chance.randint(0, len(schema["prefixItems"]))
    schema["maxItems"] = len(schema["prefixItems"]) + chance.randint(0, 2)
    return schema


def uniques(chance, turn):
    items = [choice(chance), integer(chance), {"type": "boolean"}, text(chance)][turn % 4]
    schema = {"type": "array", "items": items, "uniqueItems": turn % 3 != 0, "maxItems": turn % 4}
    return closed({"all": schema, "n": integer(chance)})


def optional(chance, turn):
    found = names(chance, chance.randint(2, 7))
    return closed({name: scalar(chance) for name in found}, [name for name in found if chance.random() < 0.4])


def open_objects(chance, turn):
    found = names(chance, 2)
    schema = {"type": "object", "properties": {name: scalar(chance) for name in found}, "required": found[:turn % 3]}
    if turn % 2:
        schema["additionalProperties"] = [integer(chance), True, {"type": "boolean"}, choice(chance)][turn % 4]
    if turn % 5 == 0:
        schema["required"] = [*schema["required"], "beside"]
    return schema


def named_by_pattern(chance, turn):
    schema = {"type": "object", "patternProperties": {"^[a-d]{1,2}$": scalar(chance)}, "additionalProperties": False}
    if turn % 2:
        schema["patternProperties"]["^x_[0-9]$"] = integer(chance)
    if turn % 3 == 0:
        schema["properties"] = {"name": text(chance), "ab": {}}
        schema["required"] = ["name"]
    return schema


def counted(chance, turn):
    schema = closed({name: scalar(chance) for name in names(chance, 5)}, [])
    least = turn % 4
    schema.update(minProperties=least, maxProperties=least + turn % 3)
    if turn % 4 == 0:
        schema = {"type": "object", "patternProperties": {"^[a-c]$": integer(chance)}, "additionalProperties": False, "minProperties": 1 + turn // 4 % 3,
                  "maxProperties": 3}
    return schema


def referring(chance, turn):
    defined = {name: scalar(chance) for name in ["plain", "größe", "a b", "with/slash", "til~de", "%41"]}
    pointer = {"with/slash": "with~1slash", "til~de": "til~0de", "a b": "a%20b", "größe": "gr%C3%B6%C3%9Fe", "%41": "%2541"}
    found = names(chance, 3, list(defined))
    return closed({f"p{at}": {"$ref": f"#/$defs/{pointer.get(name, name)}"} for at, name in enumerate(found)}, **{"$defs": defined})


def recursive(chance, turn):
    link = {"$ref": "#/$defs/node"}
    node = [
        closed({"v": integer(chance), "next": {"anyOf": [{"type": "null"}, link]}}),
        closed({"v": choice(chance), "next": link}, ["v"]),
        closed({"v": choice(chance), "all": {"type": "array", "items": link, "maxItems": 1}}),
        {"anyOf": [integer(chance), {"type": "array", "items": link, "maxItems": 1}]},
    ][turn % 4]
    if turn % 5 == 4:
        return closed({"v": scalar(chance), "next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}})
    return {"$ref": "#/$defs/node", "$defs": {"node": node}}


def any_of(chance, turn):
    options = [value(chance, 1) for _ in range(chance.randint(2, 4))]
    if turn % 3 == 0:
        return closed({"one": {"anyOf": options}, "two": {"anyOf": [choice(chance), integer(chance)]}})
    return {"anyOf": options}


def one_of(chance, turn):
    kinds = names(chance, 3)
    if turn % 4 == 0:
        return {"oneOf": [text(chance), integer(chance), {"type": "null"}]}
    if turn % 4 == 1:
        return {"oneOf": [text(chance), {"type": "string", "minLength": 2}]}
    if turn % 4 == 2:
        return closed({"n": {"oneOf": [{"type": "integer", "multipleOf": 3}, {"type": "integer", "multipleOf": 5}]}})
    return {"oneOf": [closed({"kind": {"const": kind}, kind: scalar(chance)}) for kind in kinds]}


def all_of(chance, turn):
    first, second = names(chance, 2)
    if turn % 4 == 0:
        return closed({"n": {"allOf": [{"type": "integer"}, {"minimum": turn}, {"maximum": turn + 5}]}})
    if turn % 4 == 1:
        return closed({"s": {"allOf": [{"type": "string", "pattern": "^[a-m]+$"}, {"minLength": 2, "maxLength": 6}, {"pattern": "[aeiou]"}]}})
    if turn % 4 == 2:
        return {"allOf": [{"type": "object", "properties": {first: integer(chance)}, "required": [first]},
                          closed({first: {"multipleOf": 1}, second: scalar(chance)}, [second])]}
    return {"type": "object", "properties": {first: {"type": ["integer", "string"], "maxLength": 4}}, "required": [first], "additionalProperties": False,
            "allOf": [{"properties": {first: {"anyOf": [integer(chance), {"type": "string", "pattern": "^z"}]}}}]}


def nullable(chance, turn):
    found = names(chance, 3)
    kinds = [["string", "null"], ["integer", "null"], ["boolean", "null", "number"], ["array", "null"], ["object", "null"]]
    properties = {name: {"type": chance.choice(kinds), "maxLength": 5, "minimum": -9, "maximum": 9, "items": {"type": "null"}, "maxItems": 2,
                         "properties": {"z": {"type": "null"}}, "additionalProperties": False} for name in found}
    if turn % 2:
        properties[found[0]] = {"type": "string", "maxLength": 4, "nullable": True}
    return closed(properties)


def unicode_names(chance, turn):
    found = names(chance, 4, UNICODE)
    return closed({name: choice(chance) for name in found}, found[:turn % 5])


def unicode_values(chance, turn):
    return closed({"a": {"enum": names(chance, 5, UNICODE)}, "b": {"const": UNICODE[turn % len(UNICODE)]},
                   "c": {"type": "string", "minLength": 1, "maxLength": 1 + turn % 4}})


def nested(chance, turn):
    return closed({"root": value(chance, 2 + turn % 4), "end": choice(chance)})


def older(chance, turn):
    draft = ["http://json-schema.org/draft-04/schema#", "http://json-schema.org/draft-06/schema#", "http://json-schema.org/draft-07/schema#",
             "https://json-schema.org/draft/2019-09/schema"][turn % 4]
    schema = {"$schema": draft, **closed({
        "ref": {"$ref": "#/definitions/d"}, "pair": {"type": "array", "items": [integer(chance), choice(chance)], "additionalItems": False, "minItems": turn % 3},
        "n": {"type": "integer", "minimum": 2, "exclusiveMinimum": True, "maximum": 5} if turn % 4 == 0 else {"type": "integer", "exclusiveMinimum": 2, "maximum": 5},
        "x": {"type": "number", "minimum": 0, "exclusiveMinimum": True, "maximum": 0.5} if turn % 4 == 0 else {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
    }), "definitions": {"d": scalar(chance)}}
    return schema


def conditional(chance, turn):
    """Keywords of which most are refused."""
    schema = closed({"a": integer(chance), "b": text(chance)}, ["a"])
    schema.update([
        {"not": {"required": ["b"]}}, {"if": {"required": ["b"]}, "then": {"properties": {"a": {"const": 1}}}}, {"dependentRequired": {"b": ["a"]}},
        {"propertyNames": {"maxLength": 3}}, {"unevaluatedProperties": False}, {"dependentSchemas": {"b": {"required": ["a"]}}}, {"not": {}},
        {"dependencies": {"b": ["a"]}}, {"contains": {"type": "null"}}, {"$dynamicRef": "#meta"},
    ][turn % 10])
    return schema if turn < 10 else closed({"inner": schema})


def told(chance, turn):
    """Keywords that only tell."""
    schema = closed({name: {**scalar(chance), "title": name.title(), "description": "about " + name, "default": None, "examples": [1, {"type": "not"}]}
                     for name in names(chance, 3)}, **{"$comment": "x", "title": "T", "$id": "https://example.com/s", "deprecated": False, "readOnly": True})
    if turn % 2:
        schema["properties"]["deep"] = {"$comment": "y", "contentMediaType": "text/plain", **text(chance), "x-order": turn, "writeOnly": False}
    return schema


FAMILIES = [strings, patterns, formats, integers, numbers, multiples, enums, constants, arrays, tuples, uniques, optional, open_objects,
            named_by_pattern, counted, referring, recursive, any_of, one_of, all_of, nullable, unicode_names, unicode_values, nested, older,
            conditional, told]


def schemas(count):
    """That many, each with the name of its family."""
    seen, turn = set(), 0
    while True:
        for family in FAMILIES:
            schema = family(random.Random(f"{family.__name__} {turn}"), turn)
            if (written := json.dumps(schema)) not in seen:
                seen.add(written)
                yield family.__name__, schema
            if len(seen) == count:
                return
        turn += 1


if __name__ == "__main__":
    for kind, found in schemas(int(sys.argv[1]) if len(sys.argv) > 1 else 500):
        print(json.dumps({"kind": kind, "schema": found}, ensure_ascii=False))
