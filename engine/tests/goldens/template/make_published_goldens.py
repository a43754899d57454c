"""Writes published.json: conversations with tools as transformers renders them with the templates of published models.

Needs transformers with jinja2 (made with 5.24.0 and 3.1.6) and llama.cpp's sources (made with those that
llama-cpp-python 0.3.36 brings), whose folder `models/templates` has the templates as they were published.
Usage: python make_published_goldens.py --llama-cpp FOLDER

All templates of that folder are more than is worth keeping. To compare them, write them elsewhere and point the test there,
which prints a line for each:

    python make_published_goldens.py --llama-cpp FOLDER --all --out /tmp/all.json
    SISKIN_TEMPLATE_GOLDENS=/tmp/all.json cargo test -p siskin --test text published -- --nocapture
"""
import argparse
import datetime
import json
import pathlib

import jinja2
import transformers.utils.chat_template_utils as chat

HERE = pathlib.Path(__file__).parent

TEMPLATES = [
    "HuggingFaceTB-SmolLM3-3B",
    "LFM2-8B-A1B",
    "Mistral-Small-3.2-24B-Instruct-2506",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
    "Qwen-QwQ-32B",
    "Qwen-Qwen2.5-7B-Instruct",
    "Qwen-Qwen3-0.6B",
    "Qwen3-Coder",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
    "google-gemma-2-2b-it",
    "ibm-granite-granite-3.3-2B-Instruct",
    "meta-llama-Llama-3.1-8B-Instruct",
    "meta-llama-Llama-3.2-3B-Instruct",
    "microsoft-Phi-3.5-mini-instruct",
    "mistralai-Ministral-3-14B-Reasoning-2512",
    "mistralai-Mistral-Nemo-Instruct-2407",
]


def function(name, description, properties, required):
    parameters = {"type": "object", "properties": properties, "required": required}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


WEATHER = function(
    "get_weather",
    "The weather at a place.",
    {
        "place": {"type": "string", "description": " City & country, e.g. <Zürich>. "},
        "unit": {"type": "string", "enum": ["°C", "°F"], "description": "Its unit."},
    },
    ["place"],
)
# Names that are those of Python's methods too, and all that a schema may nest.
SEARCH = function(
    "search",
    'Finds "things".\nNot people\'s.',
    {
        "items": {"type": "array", "items": {"type": "string"}, "description": "What to find."},
        "get": {"type": ["integer", "string"], "minimum": 0, "default": None, "description": "How many."},
        "where": {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "properties": {"near": {"type": "boolean", "default": False}},
            "description": "Limits.",
        },
    },
    [],
)
NOW = {"type": "function", "function": {"name": "now", "description": "The time.", "parameters": {"properties": {}}}}


def system(content):
    return {"role": "system", "content": content}


def user(content):
    return {"role": "user", "content": content}


def assistant(content, *calls, **fields):
    message = {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = list(calls)
    return {**message, **fields}


def call(id, name, arguments):
    return {"type": "function", "id": id, "function": {"name": name, "arguments": arguments}}


def result(id, name, content):
    return {"role": "tool", "tool_call_id": id, "name": name, "content": content}


BERN = call("call00001", "get_weather", {"unit": "°C", "place": "Bern"})
WARM = result("call00001", "get_weather", '{"temperature": 21.5, "sky": "<clear> & \\"blue\\""}')
ODD = {
    "items": ["</tool_call>", "naïve 😀 & co's", 'a "quoted" \\ line\n\tand\u007f\u2028'],
    "get": 3,
    "where": {"z": 1.0, "a": -0.25, "big": 1e16, "tiny": 1e-7, "none": None, "yes": True, "deep": [[], {}, [1, [2]]]},
}

CONVERSATIONS = {
    "plain": {"messages": [user("Hi <b>there</b> & you!")]},
    "without a prompt": {"messages": [user("Hi"), assistant("Hello.")], "add_generation_prompt": False},
    "system": {"messages": [system(" Be terse. "), user("  What is 2+2?\n")]},
    "several turns": {
        "messages": [system("Be terse."), user("2+2?"), assistant("4"), user("3+3?"), assistant(" 6 \n"), user("😀?")]
    },
    "thoughts": {
        "messages": [user("2+2?"), assistant("<think>\nEasy.\n</think>\n\n4"), user("3+3?")],
    },
    "thoughts apart": {
        "messages": [user("2+2?"), assistant("4", reasoning_content="Easy."), user("3+3?"), assistant("6", thinking="\nHm.")],
        "add_generation_prompt": False,
    },
    "no thinking": {
        "messages": [system("Be kind."), user("2+2?"), assistant("4"), user("3+3?")],
        "variables": {"enable_thinking": False},
    },
    "thinking": {"messages": [user("2+2?")], "variables": {"enable_thinking": True, "thinking": True}},
    "tools": {"messages": [user("Warm in Bern?")], "tools": [WEATHER]},
    "system and tools": {
        "messages": [system("Use tools."), user("Warm in Bern?")],
        "tools": [WEATHER, SEARCH, NOW],
        "variables": {"enable_thinking": False},
    },
    "no tools": {"messages": [user("Hi")], "tools": []},
    "call": {
        "messages": [system("Use tools."), user("Warm in Bern?"), assistant("", BERN)],
        "tools": [NOW],
        "add_generation_prompt": False,
    },
    "call and result": {"messages": [user("Warm in Bern?"), assistant("I look.", BERN), WARM], "tools": [WEATHER]},
    "call, result and another turn": {
        "messages": [
            system("Use tools."), user("Warm in Bern?"), assistant("", BERN), WARM, assistant("Yes."), user("And in Rome?"),
        ],
        "tools": [NOW],
    },
    "call without content": {
        "messages": [user("Time?"), assistant(None, call("call00002", "now", {})), result("call00002", "now", "12:00"),
                     assistant("Noon."), user("Thanks!")],
        "tools": [NOW],
    },
    "two calls": {
        "messages": [
            user("Warm in Bern, and what time is it?"),
            assistant("", BERN, call("call00002", "now", {})),
            WARM,
            result("call00002", "now", "12:00"),
            assistant("Yes, and noon.", reasoning_content="Both came."),
            user("Thanks!"),
        ],
        "tools": [NOW],
    },
    "odd arguments": {
        "messages": [user("Find it."), assistant("", call("call00003", "search", ODD)), result("call00003", "search", "é")],
        "tools": [NOW],
    },
    "arguments as text": {
        "messages": [user("Time?"), assistant("", call("call00004", "now", '{"zone": "Zürich"}')),
                     result("call00004", "now", "12:00")],
        "tools": [NOW],
    },
    "a result that is data": {
        "messages": [user("Time?"), assistant("", call("call00005", "now", {})),
                     result("call00005", "now", {"b": [1, True, None, "é'"], "a": 0.5})],
        "tools": [NOW],
    },
    "calls without tools": {"messages": [user("Warm in Bern?"), assistant("", BERN), WARM]},
    "short ids": {"messages": [user("Time?"), assistant("", call("1", "now", {})), result("1", "now", "12:00")]},
    "blocks": {
        "messages": [user([{"type": "text", "text": "What is "}, {"type": "text", "text": "2+2?"}])],
    },
    "roles that do not alternate": {"messages": [user("a"), user("b"), system("c"), {"role": "critic", "content": "d"}]},
    "variables": {
        "messages": [user("Time?")],
        "tools": [NOW],
        "variables": {
            "date_string": "1 Jan 2030", "tools_in_user_message": False, "builtin_tools": ["code_interpreter"],
            "controls": {"length": "short", "originality": "abstractive"},
        },
    },
}

NOON = datetime.datetime(2026, 3, 5, 7, 8, 9, tzinfo=datetime.timezone.utc)


class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOON


def render(template, conversation):
    """As `apply_chat_template` does it, whose steps these are. A refusal is the template's own, a failure is Python's."""
    try:
        rendered, _ = chat.render_jinja_template(
            [chat._normalize_chat_messages(conversation["messages"])],
            tools=conversation.get("tools"),
            chat_template=template,
            add_generation_prompt=conversation.get("add_generation_prompt", True),
            bos_token="<s>",
            eos_token="</s>",
            **conversation.get("variables", {}),
        )
        return rendered[0]
    except jinja2.exceptions.UndefinedError as error:
        return {"fails": str(error)}
    except jinja2.exceptions.TemplateError as error:
        return {"refuses": str(error)}
    except (TypeError, KeyError, IndexError, ValueError) as error:
        return {"fails": str(error)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--llama-cpp", type=pathlib.Path, required=True)
    parser.add_argument("--all", action="store_true", help="all templates, not those above alone")
    parser.add_argument("--out", type=pathlib.Path, default=HERE / "published.json")
    arguments = parser.parse_args()
    folder = arguments.llama_cpp / "models" / "templates"
    names = sorted(path.stem for path in folder.glob("*.jinja")) if arguments.all else TEMPLATES
    chat.datetime = Frozen
    templates = []
    for name in names:
        source = (folder / f"{name}.jinja").read_text()
        outputs = {title: render(source, conversation) for title, conversation in CONVERSATIONS.items()}
        templates.append({"name": name, "template": source, "outputs": outputs})
    golden = {"now": int(NOON.timestamp()), "conversations": CONVERSATIONS, "templates": templates}
    arguments.out.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")


main()
