"""Asks a server with the clients that OpenAI, Ollama and Anthropic give out: python3 clients.py SISKIN [MODEL.gguf]

The server is started here, and ended with it. Without a model's file it is that of the demo model.
"""

import http.server
import json
import pathlib
import sys
import threading
import unittest

import anthropic
import ollama
import openai
from server import Server

QUESTION = "What is a siskin?"
MESSAGES = [{"role": "user", "content": QUESTION}]
SEED = 11
TOKENS = 24


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A web server that has the demo model."""

    def __init__(self, *arguments):
        folder = pathlib.Path(__file__).resolve().parents[3] / "demo"
        super().__init__(*arguments, directory=str(folder))

    def log_message(self, *_):
        pass


class Clients(unittest.TestCase):
    def setUp(self):
        url = SERVER.url
        self.openai = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        self.ollama = ollama.Client(host=url)
        self.anthropic = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
        self.model = self.openai.models.list().data[0].id


class Answers(Clients):
    """Each client has the same answer to the same question, whole and piece by piece."""

    def answers(self, temperature):
        common = {"seed": SEED}
        options = {"seed": SEED, "temperature": temperature, "num_predict": TOKENS}
        chat = self.openai.chat.completions.create
        asked = dict(model=self.model, messages=MESSAGES, seed=SEED, temperature=temperature, max_tokens=TOKENS)
        yield chat(**asked).choices[0].message.content
        yield "".join(part.choices[0].delta.content or "" for part in chat(**asked, stream=True))
        respond = self.openai.responses.create
        asked = dict(model=self.model, input=QUESTION, temperature=temperature, max_output_tokens=TOKENS)
        yield respond(**asked, extra_body=common).output_text
        events = list(respond(**asked, extra_body=common, stream=True))
        yield "".join(event.delta for event in events if event.type == "response.output_text.delta")
        yield events[-1].response.output_text
        asked = dict(model=self.model, messages=MESSAGES, options=options)
        yield self.ollama.chat(**asked).message.content
        yield "".join(part.message.content for part in self.ollama.chat(**asked, stream=True))
        asked = dict(model=self.model, prompt=QUESTION, options=options)
        yield self.ollama.generate(**asked).response
        yield "".join(part.response for part in self.ollama.generate(**asked, stream=True))
        # What Anthropic's client has no names for comes beside.
        asked = dict(model=self.model, messages=MESSAGES, max_tokens=TOKENS)
        asked["extra_body"] = {**common, "temperature": temperature}
        yield "".join(block.text for block in self.anthropic.messages.create(**asked).content)
        with self.anthropic.messages.stream(**asked) as stream:
            yield "".join(stream.text_stream)
            self.assertIn(stream.get_final_message().stop_reason, ("end_turn", "max_tokens"))

    def test_one_question_has_one_answer(self):
        for temperature in (0, 1):
            found = list(self.answers(temperature))
            self.assertTrue(found[0])
            self.assertEqual(found, [found[0]] * len(found))


class OpenAI(Clients):
    def test_models(self):
        self.assertEqual(self.openai.models.retrieve(self.model).id, self.model)

    def test_chat(self):
        chat = self.openai.chat.completions.create
        answer = chat(model=self.model, messages=MESSAGES, n=2, max_tokens=4, logprobs=True, top_logprobs=2)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1])
        told = [token for choice in answer.choices for token in choice.logprobs.content]
        self.assertEqual(answer.usage.completion_tokens, len(told))
        self.assertTrue(all(len(token.top_logprobs) == 2 for token in told))
        parts = list(chat(model=self.model, messages=MESSAGES, max_tokens=4, stream=True,
                          stream_options={"include_usage": True}))
        self.assertGreater(parts[-1].usage.completion_tokens, 0)
        self.assertIn(parts[-2].choices[0].finish_reason, ("stop", "length"))

    def test_completions(self):
        create = self.openai.completions.create
        asked = dict(model=self.model, prompt="A siskin is", max_tokens=4, temperature=0)
        answer = create(**asked, logprobs=2).choices[0]
        self.assertEqual(len(answer.logprobs.tokens), len(answer.logprobs.token_logprobs))
        self.assertEqual(create(**asked, echo=True).choices[0].text, "A siskin is" + answer.text)
        self.assertEqual("".join(part.choices[0].text for part in create(**asked, stream=True)), answer.text)

    def test_responses(self):
        with self.openai.responses.stream(model=self.model, input=QUESTION, max_output_tokens=4) as stream:
            events = list(stream)
        self.assertEqual([events[0].type, events[-1].type], ["response.created", "response.incomplete"])
        final = events[-1].response
        self.assertEqual(final.incomplete_details.reason, "max_output_tokens")
        self.assertEqual(final.output[-1].type, "message")
        self.assertGreater(final.usage.output_tokens, 0)

    def test_errors(self):
        chat = self.openai.chat.completions.create
        with self.assertRaises(openai.NotFoundError) as missing:
            chat(model="other", messages=MESSAGES)
        self.assertEqual(missing.exception.code, "model_not_found")
        with self.assertRaisesRegex(openai.BadRequestError, "top_p"):
            chat(model=self.model, messages=MESSAGES, top_p=3)
        with self.assertRaisesRegex(openai.BadRequestError, "suffix: not supported"):
            self.openai.completions.create(model=self.model, prompt="a", suffix="b")


class Ollama(Clients):
    def test_models(self):
        listed = self.ollama.list().models[0]
        self.assertEqual(listed.model.removesuffix(":latest"), self.model.removesuffix(":latest"))
        self.assertGreater(listed.size, 1 << 20)
        shown = self.ollama.show(self.model)
        self.assertEqual(shown.details.family, shown.modelinfo["general.architecture"])
        self.assertIn("completion", shown.capabilities)

    def test_models_come_and_go(self):
        running = lambda: [model.model for model in self.ollama.ps().models]
        self.assertEqual(self.ollama.chat(self.model, keep_alive=0).done_reason, "unload")
        self.assertEqual(running(), [])
        self.assertEqual(self.ollama.generate(self.model, keep_alive="5m").done_reason, "load")
        self.assertEqual(len(running()), 1)

    def test_models_are_pulled_copied_and_deleted(self):
        web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
        threading.Thread(target=web.serve_forever, daemon=True).start()
        name = f"http://127.0.0.1:{web.server_port}/siskin-demo.gguf"
        names = lambda: {model.model.removesuffix(":latest") for model in self.ollama.list().models}
        before = names()
        states = [state.status for state in self.ollama.pull(name, stream=True)]
        self.assertEqual((states[0], states[-1]), ("pulling manifest", "success"))
        self.assertEqual(self.ollama.pull(name).status, "success")
        web.shutdown()
        web.server_close()
        self.ollama.copy(name, "bird")
        self.assertEqual(names() - before, {name, "bird"})
        self.assertTrue(self.ollama.generate("bird", "hello", options={"num_predict": 4}).response)
        self.assertEqual(self.ollama.delete("bird").status, "success")
        self.assertEqual(self.ollama.delete(name).status, "success")
        self.assertEqual(names(), before)

    def test_counters(self):
        last = list(self.ollama.chat(self.model, MESSAGES, stream=True, options={"num_predict": 4}))[-1]
        self.assertTrue(last.done)
        self.assertIn(last.done_reason, ("stop", "length"))
        self.assertGreater(last.total_duration, 0)
        self.assertGreater(last.eval_count, 0)
        self.assertGreater(last.prompt_eval_count, 0)

    def test_errors(self):
        with self.assertRaises(ollama.ResponseError) as missing:
            self.ollama.chat("other", MESSAGES)
        self.assertEqual(missing.exception.status_code, 404)
        with self.assertRaisesRegex(ollama.ResponseError, "options.top_k: expected"):
            self.ollama.chat(self.model, MESSAGES, options={"top_k": "many"})


class HomeAssistant(Clients):
    """The calls of Home Assistant's integrations (homeassistant/components/ollama and llama_cpp, 2026.11), with all their
    arguments. `ci/home-assistant` has Home Assistant itself."""

    SYSTEM = {"role": "system", "content": "You are a voice assistant for Home Assistant.\nStatic Context: An overview of "
              "the areas and the devices in this smart home:\n- names: Kitchen Light\n  domain: light\n  areas: Kitchen\n"}
    QUESTION = {"role": "user", "content": "Turn on the kitchen light"}
    RESULT = {"role": "tool", "content": '{"data":{"response_type":"action_done"},"error":false}'}
    CALL = {"name": "intent__HassTurnOn", "arguments": {"name": "Kitchen Light", "domain": ["light"]}}

    @staticmethod
    def tools(**more):
        """As probatio.to_openapi writes the schemas of intents."""
        text, texts = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
        kinds = {"type": "array", "items": {"type": "string", "enum": ["blind", "outlet", "switch", "water"]}}
        target = {"name": text, "area": text, "floor": text, "domain": texts, "device_class": kinds}
        percent = {"allOf": [{"type": "integer"}, {"type": "number", "minimum": 0, "maximum": 100}]}
        either = {"anyOf": [text, texts], "description": "Filter entities by domain (e.g. 'light', 'sensor')."}
        for name, properties, required in (
            ("homeassistant__GetLiveContext", {"name": text, "domain": either, "area": text}, None),
            ("intent__HassTurnOn", target, None),
            ("intent__HassSetPosition", {**target, "position": percent}, ["position"]),
            ("llm__GetDateTime", {}, None),
        ):
            parameters = {"type": "object", "properties": properties, **more}
            if required:
                parameters["required"] = required
            yield {"type": "function", "function": {"name": name, "parameters": parameters, "description": name}}

    def check_calls(self, calls):
        """What was called is a tool, with arguments that it has."""
        tools = {tool["function"]["name"]: tool["function"]["parameters"] for tool in self.tools()}
        for name, arguments in calls:
            self.assertLessEqual(set(arguments), set(tools[name]["properties"]))

    def test_ollama(self):
        self.assertIn(self.model, {model["model"].removesuffix(":latest") for model in self.ollama.list()["models"]})
        # The seed alone is not theirs: the answers are the same each time.
        options = {"num_ctx": 8192.0, "seed": SEED}
        common = dict(model=f"{self.model.removesuffix(':latest')}:latest", stream=True, options=options)
        message = ollama.Message
        call = message.ToolCall(function=message.ToolCall.Function(**self.CALL))
        conversation = [message(**self.SYSTEM), message(**self.QUESTION),
                        message(role="assistant", content="", thinking=None, tool_calls=[call]), message(**self.RESULT)]
        for messages, keep_alive, think in ((conversation[:2], -1, False), (conversation, "300s", None)):
            parts = list(self.ollama.chat(**common, messages=messages, tools=list(self.tools()), keep_alive=keep_alive,
                                          think=think, format=None))
            self.assertEqual([part.done for part in parts], [False] * (len(parts) - 1) + [True])
            self.check_calls((call.function.name, call.function.arguments)
                             for part in parts for call in part.message.tool_calls or [])
        structure = {"type": "object", "properties": {"size": {"type": "number", "minimum": 0.0, "maximum": 100.0}},
                     "required": ["size"]}
        parts = self.ollama.chat(**common, messages=conversation[:2], tools=None, keep_alive=-1, think=None,
                                 format=structure)
        self.assertTrue(0 <= json.loads("".join(part.message.content for part in parts))["size"] <= 100)

    def test_llama_cpp(self):
        page = self.openai.with_options(timeout=10.0).models.list()
        self.assertIn(self.model, [model.id for model in page])
        create = self.openai.chat.completions.create
        # What its config flow asks, by which it knows whether there are tools and streams.
        asked = dict(model=self.model, max_tokens=3, seed=SEED, messages=[self.SYSTEM, self.QUESTION], tools=list(self.tools()))
        self.assertEqual(create(**asked).choices[0].message.role, "assistant")
        self.assertIn(list(create(**asked, stream=True))[-1].choices[0].finish_reason, ("length", "stop"))
        function = {"name": self.CALL["name"], "arguments": json.dumps(self.CALL["arguments"])}
        conversation = [self.SYSTEM, self.QUESTION,
                        {"role": "assistant", "content": None,
                         "tool_calls": [{"id": "call", "function": function, "type": "function"}]},
                        {**self.RESULT, "tool_call_id": "call"}]
        for messages in (conversation[:2], conversation):
            parts = list(create(messages=messages, model=self.model, tools=list(self.tools(additionalProperties=False)),
                                max_tokens=48, top_p=1.0, temperature=0.7, user="01M8MHV367PEW5C3ZF2JSMTPTZ", stream=True,
                                seed=SEED))
            self.assertEqual(parts[0].choices[0].delta.role, "assistant")
            self.assertIsNotNone(parts[-1].choices[0].finish_reason)


class Anthropic(Clients):
    def test_messages(self):
        asked = dict(model=self.model, messages=MESSAGES, system="You are a bird.")
        answer = self.anthropic.messages.create(**asked, max_tokens=4)
        counted = self.anthropic.messages.count_tokens(**asked).input_tokens
        self.assertEqual(answer.usage.input_tokens + answer.usage.cache_read_input_tokens, counted)
        self.assertEqual(answer.role, "assistant")
        stop = self.anthropic.messages.create(**asked, max_tokens=40, stop_sequences=[" "])
        self.assertEqual((stop.stop_reason, stop.stop_sequence), ("stop_sequence", " "))

    def test_models(self):
        self.assertEqual([model.id for model in self.anthropic.models.list()], [self.model])

    def test_errors(self):
        create = self.anthropic.messages.create
        with self.assertRaises(anthropic.NotFoundError):
            create(model="other", messages=MESSAGES, max_tokens=4)
        with self.assertRaisesRegex(anthropic.BadRequestError, "messages: expected"):
            create(model=self.model, messages=[], max_tokens=4)


if __name__ == "__main__":
    SERVER = Server(sys.argv[1], *sys.argv[2:], "--ctx-size", "1024")
    run = unittest.main(argv=sys.argv[:1], exit=False, warnings="ignore")
    status = SERVER.end()
    if status != 0:
        print(f"the server ended with {status}")
    sys.exit(not run.result.wasSuccessful() or status != 0)
