"""Takes the pictures of docs/page.md: `python pictures.py SISKIN [MODEL]`, of the demo model or of one that talks."""

import pathlib
import sys

from browser import browser, server, visit

FOLDER = pathlib.Path(__file__).resolve().parents[4] / "docs/images"
DEMO = ["please turn on the kitchen light", "set the bedroom heating to 21 degrees"]
TALK = ["Explain in two sentences why the sky is blue.", "Give me three short tips for watching birds in winter, as a numbered list."]
DESK, PHONE = {"width": 1120, "height": 720}, {"width": 390, "height": 780}


def picture(shown, address, name, questions, place="#/", **settings):
    page = visit(shown, address, **settings)
    # The same answers each time, short enough to be seen.
    page.evaluate("localStorage['siskin.settings'] = JSON.stringify({chat: {temperature: 0, most: 160}})")
    page.reload()
    for text in questions:
        page.locator("#input").fill(text)
        page.keyboard.press("Enter")
        page.locator("#stop").wait_for(state="visible")
        page.locator("#send").wait_for(state="visible", timeout=120000)
    if place != "#/":
        page.evaluate(f"location.hash = '{place}'")
        page.wait_for_timeout(2500)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(500)
    page.screenshot(path=FOLDER / f"{name}.png")


def main(program, *model):
    questions = TALK if model else DEMO
    with browser() as shown, server(program, *model) as address:
        picture(shown, address, "page-light", questions, viewport=DESK)
        picture(shown, address, "page-dark", questions, viewport=DESK, color_scheme="dark")
        picture(shown, address, "page-japanese", [], viewport=DESK, locale="ja-JP")
        picture(shown, address, "page-phone", questions[:1], viewport=PHONE, has_touch=True, is_mobile=True)
        picture(shown, address, "page-operation", [], "#/operation", viewport=DESK)


if __name__ == "__main__":
    main(*sys.argv[1:])
