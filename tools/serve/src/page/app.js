// The frame: pages, the list of conversations, language, colours, keys.

import * as chat from "./chat.js";
import * as kept from "./conversations.js";
import { dialog, el, find, icon, iconButton, translate } from "./dom.js";
import * as operation from "./operation.js";
import { preferred, say, speakIn } from "./words.js";

const root = document.documentElement;

function setLanguage(language) {
  speakIn(language ?? preferred());
  find("language").value = root.lang;
  translate(document);
}

function setTheme(theme) {
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  else delete root.dataset.theme;
  find("theme").value = root.dataset.theme ?? "auto";
}

const menuButton = () => iconButton("menu", "menu", () => openSide(true), { className: "quiet icon narrow", "aria-controls": "side" });

// On phones the list lies over the page.
function openSide(isOpen) {
  find("frame").classList.toggle("open", isOpen);
  find("shade").hidden = !isOpen;
  if (isOpen) find("side-close").focus();
}

function list() {
  find("conversations").replaceChildren(...kept.all().map(({ id, title }) => {
    const link = el("a", { href: `#/c/${id}` }, title || say("untitled"));
    if (id === chat.current() && !find("chat").hidden) link.setAttribute("aria-current", "page");
    return el("li", {}, link);
  }));
}

function route() {
  const [, page, id] = location.hash.split("/");
  const isOperation = page === "operation";
  find("operation").hidden = !isOperation;
  find("chat").hidden = isOperation;
  for (const [name, is] of [["to-chat", !isOperation], ["to-operation", isOperation]]) {
    if (is) find(name).setAttribute("aria-current", "page");
    else find(name).removeAttribute("aria-current");
  }
  openSide(false);
  if (isOperation) operation.start();
  else {
    operation.stop();
    // Without a number it is whichever was shown last.
    if (id && id !== chat.current()) chat.open(id);
    chat.refresh().catch((error) => console.warn(error.message));
    chat.focus();
  }
  list();
}

function begin() {
  chat.open();
  if (location.hash === "#/") route();
  else location.hash = "#/";
}

const KEYS = [["Enter", "keys-send"], ["Shift Enter", "keys-line"], ["Esc", "keys-stop"], ["/", "keys-focus"], ["↑", "keys-edit"],
  ["Alt N", "keys-new"], ["Alt 1 · Alt 2", "keys-pages"], ["?", "keys-help"]];

function shortcuts() {
  const lines = KEYS.flatMap(([keys, word]) => [el("dt", {}, ...keys.split(" ").map((key) => (key === "·" ? " · " : el("kbd", {}, key)))), el("dd", { t: word })]);
  dialog("shortcuts", el("dl", { className: "keys" }, ...lines));
}

function pressed(event) {
  if (event.isComposing || find("dialog").open) return;
  const isWriting = event.target.matches("input, textarea, select");
  const does = {
    Escape: () => {
      if (find("frame").classList.contains("open")) openSide(false);
      else if (!find("stop").hidden) find("stop").click();
    },
    ...(event.altKey && !event.ctrlKey && !event.metaKey
      ? { KeyN: begin, Digit1: () => { location.hash = "#/"; }, Digit2: () => { location.hash = "#/operation"; } } : {}),
    ...(isWriting || event.ctrlKey || event.metaKey || event.altKey ? {} : { "/": chat.focus, "?": shortcuts }),
  };
  const found = does[event.key] ?? does[event.code];
  if (!found) return;
  if (event.key !== "Escape") event.preventDefault();
  found();
}

for (const element of document.querySelectorAll("[data-icon]")) element.prepend(icon(element.dataset.icon));
const { language, theme } = kept.settings();
chat.make(menuButton(), list);
operation.make(menuButton());
setLanguage(language);
setTheme(theme);
find("language").addEventListener("change", ({ target }) => {
  kept.choose({ language: target.value });
  setLanguage(target.value);
  chat.draw();
  list();
  if (!find("operation").hidden) operation.start();
});
find("theme").addEventListener("change", ({ target }) => {
  kept.choose({ theme: target.value });
  setTheme(target.value);
});
find("new").addEventListener("click", begin);
find("keys").addEventListener("click", shortcuts);
find("side-close").addEventListener("click", () => openSide(false));
find("shade").addEventListener("click", () => openSide(false));
find("skip").addEventListener("click", (event) => {
  event.preventDefault();
  find("main").focus();
});
addEventListener("hashchange", route);
addEventListener("keydown", pressed);
// Another tab may have changed what is kept.
addEventListener("storage", list);
chat.open();
route();
