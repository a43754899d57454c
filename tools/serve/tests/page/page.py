"""Uses the server's page in a browser as people do: `python page.py SISKIN`. The demo model answers."""

import contextlib
import json
import pathlib
import subprocess
import sys
import tempfile
import traceback

from browser import ask, browser, keys, server, visit
from playwright.sync_api import expect

QUESTION = "please turn on the kitchen light"
STORY = "tell me a story about a fox"

# A text with all that is read of Markdown, and with what a hostile model could write.
MARKDOWN = """# Title

A **bold**, an *emphasized* and a `coded` word, [a link](https://example.com/a_b), https://example.com/c.

1. one
2. two
   - inner

> quoted

| a | b |
|---|---|
| 1 | 2 |

```python
print("<b>")
```

<img src=x onerror="window.broken = 1"> <script>window.broken = 1</script> [x](javascript:window.broken=1)
![x](https://example.com/x.png)
"""


def answers_come_and_are_kept(shown, address):
    page = visit(shown, address)
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    answer = ask(page, QUESTION)
    expect(answer.locator(".prose").last).to_contain_text('"device": "light"')
    expect(answer.locator(".stats")).to_contain_text("tokens/s")
    expect(page.locator("#said")).to_contain_text("Answer:")
    page.reload()
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    page.locator("#conversations a", has_text=QUESTION).click()
    expect(page.locator(".message.assistant .prose").last).to_contain_text('"device": "light"')
    assert not page.complaints and not page.foreign, (page.complaints, page.foreign)


def an_answer_is_stopped_tried_again_and_its_question_changed(shown, address):
    page = visit(shown, address)
    page.get_by_role("textbox", name="Write a message").fill(STORY)
    page.keyboard.press("Enter")
    prose = page.locator(".message.assistant .prose").last
    expect(prose).to_contain_text(" ")
    page.keyboard.press("Escape")
    expect(page.locator(".message.assistant .state")).to_have_text("Stopped")
    expect(page.locator("#send")).to_be_visible()
    page.get_by_role("button", name="Edit").click()
    page.get_by_role("textbox", name="Edit").fill(QUESTION)
    page.get_by_role("button", name="Save and ask").click()
    expect(page.locator(".message.assistant .prose").last).to_contain_text('"room": "kitchen"')
    expect(page.locator("#send")).to_be_visible()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".message.assistant .prose").last).to_contain_text('"room": "kitchen"')
    expect(page.locator(".message")).to_have_count(2)


def settings_reach_the_model(shown, address):
    page = visit(shown, address)
    page.get_by_role("button", name="Settings").click()
    settings = page.get_by_role("dialog")
    settings.get_by_label("Temperature").fill("3")
    settings.get_by_label("Seed").fill("7")
    settings.get_by_label("Tokens of an answer, at most").fill("5")
    settings.get_by_label("System message").fill("Be brief.")
    settings.get_by_role("button", name="Close").click()
    with page.expect_request("**/v1/chat/completions") as asked:
        answer = ask(page, STORY)
    sent = asked.value.post_data_json
    assert (sent["temperature"], sent["seed"], sent["max_completion_tokens"]) == (3, 7, 5), sent
    assert sent["messages"][0] == {"role": "system", "content": "Be brief."}, sent
    expect(answer.locator(".state")).to_have_text("The answer reached its limit")
    expect(answer.locator(".stats")).to_contain_text("5 tokens")
    first = answer.locator(".prose").last.inner_text()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#send")).to_be_visible()
    assert page.locator(".message.assistant .prose").last.inner_text() == first


def texts_are_attached_and_conversations_exported(shown, address):
    page = visit(shown, address)
    files = page.locator("input[type=file]")
    files.set_input_files({"name": "siskin.txt", "mimeType": "text/plain", "buffer": "マヒワ".encode("shift_jis")})
    expect(page.get_by_role("button", name="Remove siskin.txt")).to_be_visible()
    files.set_input_files({"name": "picture.png", "mimeType": "image/png", "buffer": b"\x89PNG\0\0"})
    expect(page.get_by_role("alert")).to_contain_text("picture.png is no text")
    with page.expect_request("**/v1/chat/completions") as asked:
        page.get_by_role("button", name="Send").click()
    assert asked.value.post_data_json["messages"][0]["content"] == "siskin.txt:\n\nマヒワ\n\n---\n\nSummarize this text."
    expect(page.locator("#send")).to_be_visible(timeout=60000)
    for kind, wanted in [("Markdown", "**siskin.txt**"), ("JSON", '"role": "assistant"')]:
        page.locator(".menu summary").click()
        with page.expect_download() as saved:
            page.get_by_role("button", name=kind).click()
        text = open(saved.value.path(), encoding="utf-8").read()
        assert wanted in text, text
        if kind == "JSON":
            assert json.loads(text)["messages"][0]["role"] == "user"


def pdf(*lines):
    """A PDF file of a page with these lines."""
    content = "".join(f"BT /F 12 Tf 72 {720 - 14 * row} Td ({line}) Tj ET\n" for row, line in enumerate(lines))
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
               "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>",
               f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
               "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>"]
    file, places = "%PDF-1.4\n", []
    for index, written in enumerate(objects):
        places.append(len(file))
        file += f"{index + 1} 0 obj\n{written}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    file += (f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n"
             f"startxref\n{len(file)}\n%%EOF\n")
    return file.encode()


def documents_are_attached(shown, address):
    page = visit(shown, address)
    files = page.locator("input[type=file]")
    letter = {"name": "letter of May.pdf", "mimeType": "application/pdf", "buffer": pdf("The siskin sings.", "It is small.")}
    files.set_input_files([letter, {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4\nnothing"}])
    expect(page.get_by_role("alert")).to_contain_text("broken.pdf: a PDF file that is cut off")
    expect(page.get_by_role("button", name="Remove broken.pdf")).to_have_count(0)
    expect(page.get_by_role("button", name="Remove letter of May.pdf")).to_be_visible()
    expect(page.locator("#composer .busy")).to_have_count(0)
    expect(page.locator("#said")).to_have_text("letter of May.pdf is attached")
    page.locator("#input").fill("What does it do?")
    with page.expect_request("**/v1/chat/completions") as asked:
        page.keyboard.press("Enter")
    content = asked.value.post_data_json["messages"][0]["content"]
    assert content == "letter of May.pdf:\n\nThe siskin sings.\nIt is small.\n\n---\n\nWhat does it do?", content
    expect(page.locator("#send")).to_be_visible(timeout=60000)
    page.locator(".file summary").click()
    expect(page.locator(".file pre")).to_contain_text("The siskin sings.")


def what_is_being_read_is_waited_for(shown, address):
    page = visit(shown, address, locale="ja-JP")
    held = []
    page.route("**/siskin/text*", lambda route: held.append(route))
    page.locator("input[type=file]").set_input_files({"name": "a.pdf", "mimeType": "application/pdf", "buffer": pdf("One.")})
    expect(page.locator("#composer .busy")).to_contain_text("a.pdf")
    page.locator("#input").fill("要約")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("a.pdf を読み込んでいます")
    assert not page.locator(".message").count()
    held[0].continue_()
    expect(page.locator("#said")).to_have_text("a.pdf を添付しました")
    expect(page.get_by_role("alert")).to_have_count(0)
    # Who takes it away while it is read has it no more.
    page.get_by_role("button", name="a.pdf を外す").click()
    expect(page.locator("#composer .chips li")).to_have_count(0)


def what_a_model_writes_is_shown_and_does_nothing(shown, address):
    page = visit(shown, address)
    # What is shown now is not drawn anew.
    expect(page.get_by_text("Answers are made by siskin-demo")).to_be_visible()
    page.evaluate("text => import('/page/markdown.js').then(({ show }) => {"
                  " const shown = document.createElement('div'); shown.id = 'shown'; shown.className = 'prose';"
                  " document.getElementById('log').replaceChildren(shown);"
                  # As it grows, so that what is there stays.
                  " for (let end = 1; end <= text.length; end += 1) show(shown, text.slice(0, end)); })", MARKDOWN)
    found = page.locator("#shown")
    for selector, text in [("h3", "Title"), ("strong", "bold"), ("em", "emphasized"), ("p > code", "coded"),
                           ("a[href='https://example.com/a_b']", "a link"), ("a[href='https://example.com/c']", "https"),
                           ("ol > li > ul > li", "inner"), ("blockquote", "quoted"), ("td", "1"), ("pre", 'print("<b>")')]:
        expect(found.locator(selector).first).to_contain_text(text)
    expect(found.locator("ol > li")).to_have_count(2)
    expect(found).to_contain_text("<script>window.broken = 1</script>")
    expect(found).to_contain_text("[x](javascript:window.broken=1)")
    expect(found.locator("img, script, a[href^=javascript]")).to_have_count(0)
    assert page.evaluate("window.broken") is None
    # The policy holds where the page itself would not: markup that is made of a text is refused.
    assert page.evaluate("() => { try { document.body.innerHTML = '<b>'; return false } catch { return true } }")


def thoughts_and_calls_are_shown(shown, address):
    page = visit(shown, address)
    deltas = [{"reasoning_content": "Which light?"}, {"content": "I do it."},
              {"tool_calls": [{"index": 0, "id": "c1", "type": "function", "function": {"name": "switch", "arguments": '{"on"'}}]},
              {"tool_calls": [{"index": 0, "function": {"arguments": ": true}"}}]}]
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    # The demo model does neither think nor call, so what one that does sends is sent in its place.
    page.route("**/v1/chat/completions", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    answer = ask(page, QUESTION)
    expect(answer.locator(".thoughts")).to_be_visible()
    expect(answer.locator(".thoughts .prose")).not_to_be_visible()
    answer.locator("summary").click()
    expect(answer.locator(".thoughts .prose")).to_have_text("Which light?")
    expect(answer.locator(".call")).to_contain_text('"on": true')
    answer.get_by_role("textbox", name="Result of the call").fill("done")
    with page.expect_request("**/v1/chat/completions") as asked:
        answer.get_by_role("button", name="Send result").click()
    called, given = asked.value.post_data_json["messages"][-2:]
    assert called["tool_calls"][0]["function"] == {"name": "switch", "arguments": '{"on": true}'}, called
    assert given == {"role": "tool", "content": "done", "tool_call_id": "c1"}, given


def models_are_unloaded_and_loaded(shown, address):
    page = visit(shown, address)
    ask(page, QUESTION)
    page.get_by_role("link", name="Operation").click()
    page.get_by_role("button", name="Unload: siskin-demo").click()
    expect(page.locator(".badge").first).to_have_text("On disk")
    page.get_by_role("button", name="Load: siskin-demo").click()
    expect(page.locator(".badge").first).to_have_text("In memory")
    expect(page.locator(".models")).to_contain_text("takes")
    expect(page.locator(".tile", has_text="Memory").locator("strong")).to_contain_text("GB")
    assert not page.complaints and not page.foreign, (page.complaints, page.foreign)
    page.evaluate("fetch('/v1/chat/completions', {method: 'POST', body: '{}'})")
    expect(page.locator(".errors")).to_contain_text("messages: expected an array")


@contextlib.contextmanager
def evaluated(program):
    """A folder with what `siskin eval` writes of the demo model, and with what is no report of it."""
    model = pathlib.Path(__file__).resolve().parents[3] / "demo/siskin-demo.gguf"
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "other.gguf").symlink_to(model)
        command = [program, "eval", model, folder / "other.gguf", "--runs", "1", "--n-prompt", "16", "-n", "4", "--json",
                   "--html", folder / "demo & other.html", "--require", "peak_mib<=1", "--require", "file_mib<=9"]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        (folder / "demo & other.json").write_text(run.stdout)
        (folder / "shopping.json").write_text('{"models": [{"metrics": 3}, null]}')
        (folder / "broken.json").write_text("{")
        yield folder


def reports_are_shown(shown, address):
    for settings in ({}, {"color_scheme": "dark", "viewport": {"width": 360, "height": 720}}):
        page = visit(shown, f"{address}/#/operation", **settings)
        reports = page.get_by_role("region", name="Evaluation reports")
        expect(reports.get_by_role("listitem")).to_have_count(3)
        opened = reports.locator("summary", has_text="demo & other")
        # With the keyboard alone.
        opened.focus()
        page.keyboard.press("Enter")
        row = reports.get_by_role("row", name="file, MiB").first
        expect(row).to_be_visible()
        expect(row.get_by_role("cell")).to_have_text(["4.6", "4.6"])
        expect(reports.get_by_role("columnheader", name="siskin-demo").first).to_be_visible()
        expect(reports.get_by_role("row", name="file_mib<=9").get_by_role("cell")).to_have_text(["kept", "kept"])
        expect(reports.get_by_role("row", name="peak_mib<=1").get_by_role("cell")).to_have_text(["not kept", "not kept"])
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for name in ("shopping", "broken"):
            reports.locator("summary", has_text=name).click()
            expect(reports.get_by_role("listitem").filter(has_text=name).get_by_role("alert")).to_have_text("This is no report of siskin eval.")
        if not settings:
            # The list is asked for again, and what is open stays open.
            with page.expect_response("**/siskin/reports"):
                pass
            expect(row).to_be_visible()
        with page.context.expect_page() as plots:
            reports.get_by_role("link", name="Page with plots: demo & other").click()
        expect(plots.value.get_by_role("heading", name="Models compared")).to_be_visible()
        expect(plots.value.locator("svg").first).to_be_visible()
        assert not page.complaints, page.complaints
    page.get_by_role("button", name="Menu").click()
    page.get_by_label("Language").select_option("ja")
    expect(page.get_by_role("heading", name="評価レポート")).to_be_visible()
    page.keyboard.press("Escape")


def reports_need_the_key(shown, address):
    page = visit(shown, f"{address}/#/operation")
    page.get_by_role("dialog").get_by_label("API key").fill("the-right-key")
    page.keyboard.press("Enter")
    # A link has no key, so that the page is saved instead.
    with page.expect_download() as saved:
        page.get_by_role("link", name="Page with plots: demo & other").click()
    assert "Models compared" in open(saved.value.path(), encoding="utf-8").read()


def keys_do_all(shown, address):
    page = visit(shown, address)
    page.keyboard.press("Tab")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Keyboard shortcuts")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".stats")).to_contain_text("tokens")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_role("textbox", name="Edit")).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Alt+2")
    expect(page.get_by_role("heading", name="Operation", level=1)).to_be_visible()
    page.keyboard.press("Alt+1")
    expect(page.locator(".stats")).to_contain_text("tokens")
    page.keyboard.press("Alt+2")
    page.keyboard.press("Alt+n")
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    # Whatever can be used can be reached, has a name, and shows where it is.
    unnamed = page.evaluate("[...document.querySelectorAll('button, a, input, select, textarea')].filter(one => one.checkVisibility()"
                            " && !(one.ariaLabel || one.textContent.trim() || one.labels?.[0]?.textContent.trim())).map(one => one.outerHTML)")
    assert not unnamed, unnamed
    assert page.evaluate("document.querySelectorAll('[tabindex]:not([tabindex=\"0\"]):not(main)').length") == 0


def it_speaks_japanese_and_is_dark(shown, address):
    page = visit(shown, address, locale="ja-JP", color_scheme="dark")
    expect(page.get_by_role("heading", name="ご用件をどうぞ")).to_be_visible()
    assert page.evaluate("document.documentElement.lang") == "ja"
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.get_by_label("配色").select_option("light")
    assert page.evaluate(background) != dark
    page.get_by_label("言語").select_option("en")
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="What can I do for you?")).to_be_visible()
    assert page.evaluate(background) != dark
    missing = page.evaluate("import('/page/words.js').then(({ say, speakIn }) => {"
                            " const used = [...document.querySelectorAll('[data-t], [data-label], [data-hint]')].flatMap(one => Object.values(one.dataset));"
                            " speakIn('ja'); return used.filter(word => word.includes('-') && say(word) === word); })")
    assert not missing, missing


def it_fits_a_phone(shown, address):
    page = visit(shown, address, viewport={"width": 360, "height": 720}, has_touch=True, is_mobile=True)
    ask(page, QUESTION)
    for place in ["#/operation", "#/"]:
        page.evaluate(f"location.hash = '{place}'")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
    expect(page.get_by_role("link", name="Operation")).not_to_be_visible()
    page.get_by_role("button", name="Menu").click()
    page.get_by_role("link", name="Operation").click()
    expect(page.get_by_role("heading", name="Operation", level=1)).to_be_visible()


def a_key_is_asked_for(shown, address):
    page = visit(shown, address)
    key = page.get_by_role("dialog").get_by_label("API key")
    key.fill("wrong")
    page.keyboard.press("Enter")
    expect(key).to_have_value("wrong")
    key.fill("the-right-key")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).not_to_be_visible()
    expect(ask(page, QUESTION).locator(".prose").last).to_contain_text('"device": "light"')
    assert page.evaluate("[sessionStorage.getItem('siskin.key'), JSON.stringify(localStorage).includes('the-right-key')]") == ["the-right-key", False]


TESTS = [answers_come_and_are_kept, an_answer_is_stopped_tried_again_and_its_question_changed, settings_reach_the_model,
         texts_are_attached_and_conversations_exported, documents_are_attached, what_is_being_read_is_waited_for, what_a_model_writes_is_shown_and_does_nothing, thoughts_and_calls_are_shown,
         models_are_unloaded_and_loaded, keys_do_all, it_speaks_japanese_and_is_dark, it_fits_a_phone]


def main(program, *wanted):
    failed = 0
    with contextlib.ExitStack() as ends:
        begin = ends.enter_context
        shown, file, folder = begin(browser()), begin(keys("the-right-key")), begin(evaluated(program))
        address, locked = begin(server(program, "--reports", folder)), begin(server(program, "--keys", file, "--reports", folder))
        places = [(test, address) for test in [*TESTS, reports_are_shown]] + [(test, locked) for test in (a_key_is_asked_for, reports_need_the_key)]
        for test, place in places:
            if wanted and test.__name__ not in wanted:
                continue
            try:
                test(shown, place)
                print(f"ok      {test.__name__}")
            except Exception:
                failed += 1
                traceback.print_exc()
                print(f"FAILED  {test.__name__}")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
