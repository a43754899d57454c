"""Writes chat_templates.json: which chat templates Hugging Face's transformers finds in a checkpoint's folder.

Needs transformers (made with 5.24.0). A case has the `chat_template` of tokenizer_config.json, the other files that hold
templates, and what comes of them: all `templates` by name, the one for conversations without tools (`plain`) and the one
for those with tools; None where transformers refuses the conversation.

    python make_chat_template_goldens.py
"""

import json
import tempfile
from pathlib import Path

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

HERE = Path(__file__).parent
FILE = "chat_template.jinja"
MORE = "additional_chat_templates"


def named(**templates):
    return [{"name": name, "template": template} for name, template in templates.items()]


CASES = {
    "nothing": (None, {}),
    "config": ("config", {}),
    "file": (None, {FILE: "file"}),
    "the file wins": ("config", {FILE: "file"}),
    "the file wins over a list": (named(default="config", tool_use="config tools"), {FILE: "file"}),
    "list": (named(default="config", tool_use="config tools", rag="config rag"), {}),
    "list without default": (named(tool_use="config tools", rag="config rag"), {}),
    "list of the default": (named(default="config"), {}),
    "list that names one twice": (named(default="first") + named(default="second"), {}),
    "object": ({"default": "config", "tool_use": "config tools"}, {}),
    "folder": (None, {FILE: "file", f"{MORE}/tool_use.jinja": "tools", f"{MORE}/rag.jinja": "rag"}),
    "folder without default": (None, {f"{MORE}/tool_use.jinja": "tools"}),
    "a folder wins over the config, which has the default": ("config", {f"{MORE}/tool_use.jinja": "tools"}),
    "folder with the default": ("config", {f"{MORE}/default.jinja": "folder", f"{MORE}/rag.jinja": "rag"}),
    "the folder's default wins": (None, {FILE: "file", f"{MORE}/default.jinja": "folder"}),
    "other files": ("config", {f"{MORE}/README.md": "text", f"{MORE}/old.jinja2": "old", "template.jinja": "other"}),
    "line ends": (None, {FILE: "one\r\ntwo\rthree"}),
}


def find(config, files):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        Tokenizer(models.BPE(vocab={"a": 0}, merges=[])).save(str(folder / "tokenizer.json"))
        settings = {"tokenizer_class": "PreTrainedTokenizerFast"}
        if config is not None:
            settings["chat_template"] = config
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(text.encode())
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    templates = tokenizer.chat_template
    if not isinstance(templates, dict):
        templates = {} if templates is None else {"default": templates}

    def chosen(tools):
        try:
            return tokenizer.get_chat_template(tools=tools)
        except ValueError:
            return None

    return {"templates": templates, "plain": chosen(None), "tools": chosen([{}])}


cases = []
for name, (config, files) in CASES.items():
    cases.append({"name": name, "config": config, "files": files, **find(config, files)})
(HERE / "chat_templates.json").write_text(json.dumps(cases, indent=1) + "\n")
