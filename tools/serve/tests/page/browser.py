"""A server of the demo model, and a browser that shows its page."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request

from playwright.sync_api import sync_playwright

NAMES = ["chromium", "chromium-browser", "google-chrome"]


def installed():
    """The browser's program, or None."""
    return os.environ.get("SISKIN_BROWSER") or next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def server(program, *arguments):
    """A server until the end of the block: its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [program, "serve", "--port", str(port), "--threads", "1", *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health").close()
                break
            assert process.poll() is None, f"{' '.join(command)} has ended"
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def keys(secret):
    """A file of one key."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump({"keys": [{"name": "test", "key": secret}]}, file)
        file.flush()
        os.chmod(file.name, 0o600)
        yield file.name


@contextlib.contextmanager
def browser():
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        shown = playwright.chromium.launch(executable_path=installed(), args=arguments)
        yield shown
        shown.close()


def visit(shown, address, **settings):
    """A page of a new visitor. What the browser complains of is in its `complaints`."""
    context = shown.new_context(**{"locale": "en-US", "viewport": {"width": 1200, "height": 800}, **settings})
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda said: said.type == "error" and page.complaints.append(said.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.foreign = []
    page.on("request", lambda asked: asked.url.startswith((address, "blob:")) or page.foreign.append(asked.url))
    page.goto(address)
    return page


def ask(page, text):
    """Asks, and waits for the whole answer: its element."""
    page.get_by_role("textbox", name="Write a message").fill(text)
    page.keyboard.press("Enter")
    page.locator("#send").wait_for(state="visible")
    return page.locator(".message.assistant").last
