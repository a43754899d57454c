"""Has Home Assistant ask the server, through its own integrations: python3 home_assistant.py SISKIN MODEL.gguf

Both are started here, and ended. What is done is what docs/home-assistant.md says: the integration is added, an agent is
made, and Assist is asked, by which a light goes on.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import unittest

from home import Home

LIGHT = "light.kitchen_light"
CALL = {"name": "intent__HassTurnOn", "arguments": {"name": "Kitchen Light"}}
# A model this small calls a tool when it is shown the call. What is tested is all between the model and the light.
TURN_ON = f"Answer with this call: <tool_call>\n{json.dumps(CALL)}\n</tool_call>"
# What the model answers to in few words.
QUESTION, NEXT = "Hello!", "Good morning"


class Server:
    """The program, and what it wrote down of its answers."""

    def __init__(self, program, model):
        self.folder = tempfile.TemporaryDirectory()
        self.audit = pathlib.Path(self.folder.name) / "audit.jsonl"
        # Home Assistant's Ollama integration says nothing of how tokens are picked.
        command = [program, "serve", model, "--port", "0", "--ctx-size", "3072", "--temp", "0", "--audit", self.audit]
        environment = {**os.environ, "XDG_DATA_HOME": self.folder.name}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        for line in self.process.stderr:
            if found := re.search(r"listening on (http://\S+)", line):
                self.url = found[1]
                break
        else:
            raise SystemExit(f"{program} ended with {self.process.wait()}")

    def answers(self):
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    def answer(self, index):
        """The line of an answer, which is written a moment after its end."""
        while len(self.answers()) <= index:
            time.sleep(0.1)
        return self.answers()[index]

    def end(self):
        self.process.terminate()
        self.process.stderr.read()
        status = self.process.wait(timeout=30)
        self.process.stderr.close()
        self.folder.cleanup()
        return status


class Assist:
    """What holds for the agent of either integration."""

    def test_a_light_is_turned_on_by_a_call_of_a_tool(self):
        HOME.turn_off(LIGHT)
        answer = HOME.ask(self.agent, TURN_ON)
        self.assertIsNone(answer.error)
        called = [(call["tool_name"], call["tool_args"]) for call in answer.calls]
        self.assertIn((CALL["name"], CALL["arguments"]), called)
        self.assertIn("action_done", json.dumps(answer.results))
        self.assertEqual(HOME.state(LIGHT)["state"], "on")

    def test_an_answer_comes_piece_by_piece(self):
        answer = HOME.ask(self.agent, QUESTION)
        self.assertIsNone(answer.error)
        self.assertGreater(len(answer.pieces), 3)
        self.assertEqual(answer.text.strip(), answer.speech.strip())
        self.assertLess(answer.first, answer.all)

    def test_what_all_conversations_begin_with_is_read_once(self):
        first = HOME.ask(self.agent, QUESTION)
        for conversation, kind in ((None, "another conversation"), (first.conversation, "the same conversation")):
            before = len(SERVER.answers())
            answer = HOME.ask(self.agent, NEXT, conversation)
            self.assertIsNone(answer.error)
            told = SERVER.answer(before)
            new = told["prompt_tokens"] - told["cached_tokens"]
            print(f"{self.agent}, {kind}: {told['prompt_tokens']} tokens of prompt, {new} new: "
                  f"{answer.first or answer.all:.1f} s to the first piece", file=sys.stderr)
            self.assertLess(new, 64)


class Ollama(Assist, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        wrong = HOME.add("ollama", {"url": "http://127.0.0.1:1"})
        assert wrong["errors"] == {"base": "cannot_connect"}, wrong
        added = HOME.add("ollama", {"url": SERVER.url})
        assert added["type"] == "create_entry", added
        (entry,) = HOME.entries("ollama")
        assert entry["state"] == "loaded", entry
        form = HOME.add_agent(entry["entry_id"], "conversation")
        (field,) = (field for field in form["data_schema"] if field["name"] == "model")
        model = next(option["value"] for option in field["selector"]["select"]["options"]
                     if option["label"].endswith("(downloaded)"))
        settings = {"name": "Siskin", "model": model, "llm_hass_api": ["assist"], "keep_alive": -1, "num_ctx": 8192,
                    "max_history": 20, "think": False}
        made = HOME.add_agent(entry["entry_id"], "conversation", settings)
        assert made["type"] == "create_entry", made
        cls.agent = HOME.entity("conversation", "ollama")
        made = HOME.add_agent(entry["entry_id"], "ai_task_data", {"name": "Task", "model": model})
        assert made["type"] == "create_entry", made
        cls.task = HOME.entity("ai_task", "ollama")

    def test_a_task_has_the_form_that_is_asked_for(self):
        structure = {"bird": {"selector": {"text": {}}, "required": True},
                     "size": {"selector": {"number": {"min": 0, "max": 100}}, "required": True}}
        done = HOME.act("ai_task", "generate_data", entity_id=self.task, task_name="bird", structure=structure,
                        instructions="Name a bird, and its size in centimetres.")
        self.assertEqual(sorted(done["data"]), ["bird", "size"])
        self.assertIsInstance(done["data"]["bird"], str)
        self.assertTrue(0 <= done["data"]["size"] <= 100)


class LlamaCpp(Assist, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        wrong = HOME.add("llama_cpp", {"base_url": "http://127.0.0.1:1/v1"})
        assert wrong["errors"] == {"base": "cannot_connect"}, wrong
        form = HOME.add("llama_cpp", {"base_url": f"{SERVER.url}/v1"})
        (field,) = form["data_schema"]
        (model,) = field["selector"]["select"]["options"]
        added = HOME.add("llama_cpp", {"base_url": f"{SERVER.url}/v1"}, {"chat_model": model})
        assert added["type"] == "create_entry", added
        (entry,) = HOME.entries("llama_cpp")
        assert entry["state"] == "loaded", entry
        # The agent that the integration has made picks by chance, as it recommends. That is changed as a person would.
        settings = {"chat_model": model, "llm_hass_api": ["assist"], "recommended": False, "temperature": 0,
                    "max_tokens": 200}
        changed = HOME.change_agent(entry["entry_id"], "conversation", settings)
        assert changed["reason"] == "reconfigure_successful", changed
        cls.agent = HOME.entity("conversation", "llama_cpp")


if __name__ == "__main__":
    SERVER = Server(*sys.argv[1:])
    try:
        HOME = Home()
        run = unittest.main(argv=sys.argv[:1], exit=False, warnings="ignore", verbosity=2)
        if not run.result.wasSuccessful():
            print(HOME.log.read_text())
        HOME.end()
    finally:
        status = SERVER.end()
    if status != 0:
        print(f"the server ended with {status}")
    sys.exit(not run.result.wasSuccessful() or status != 0)
