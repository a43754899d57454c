// Elements, and the words in them. Texts become text nodes alone, never markup.

import { say } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";

// Lines of 24 by 24, each drawn with a round pen.
const ICONS = {
  chat: "M4 5h16v11H9l-5 4z",
  gauge: "M4 18a9 9 0 1 1 16 0M12 14l4-5",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6L6 18",
  menu: "M4 7h16M4 12h16M4 17h16",
  help: "M9 9a3 3 0 1 1 4 3q-1 .5-1 2M12 18v.1",
  send: "M12 19V5M6 11l6-6 6 6",
  stop: "M7 7h10v10H7z",
  clip: "M20 11l-8 8a5 5 0 0 1-7-7l8-8a3.5 3.5 0 0 1 5 5l-8 8a2 2 0 0 1-3-3l7-7",
  tune: "M4 8h9M17 8h3M4 16h3M11 16h9M15 6v4M9 14v4",
  save: "M12 4v11M7 11l5 5 5-5M5 20h14",
  bin: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
};

export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

// An element. Of its properties `t` and `label` are words that follow the language, `on` has listeners, `data-` and `aria-`
// ones are attributes, and all others are properties of the element.
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) continue;
    if (name === "t" || name === "label" || name === "hint") element.dataset[name] = value;
    else if (name === "icon") element.append(icon(value));
    else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name.includes("-") || name === "role" || name === "for") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  speak(element);
  return element;
}

export function button(word, does, properties = {}) {
  return el("button", { type: "button", t: word, on: { click: does }, ...properties });
}

export function iconButton(name, word, does, properties = {}) {
  return el("button", { type: "button", className: "quiet icon", icon: name, label: word, on: { click: does }, ...properties });
}

function speak(element) {
  const { t, label, hint } = element.dataset;
  if (t) element.textContent = say(t);
  if (hint) element.placeholder = say(hint);
  if (!label) return;
  element.setAttribute("aria-label", say(label));
  if (element.matches("button, a")) element.title = say(label);
}

// Says all words below an element in the present language.
export function translate(root) {
  for (const element of root.querySelectorAll("[data-t], [data-label], [data-hint]")) speak(element);
}

export const find = (id) => document.getElementById(id);

// Tells who hears the page instead of seeing it.
export function announce(text) {
  find("said").textContent = text;
}

// Shows what the page asks or tells, in front of all else. Resolves with what `close` is called with, null for Escape.
export function dialog(word, ...children) {
  const shown = find("dialog");
  const done = new Promise((resolve) => {
    shown.onclose = () => resolve(shown.returnValue === "" ? null : shown.returnValue);
  });
  shown.returnValue = "";
  const close = iconButton("close", "close", () => shown.close(""));
  const head = el("div", { className: "dialog-head" }, el("h2", { id: "dialog-title", t: word }), close);
  shown.replaceChildren(head, ...children);
  if (!shown.open) shown.showModal();
  return done;
}

export function closeDialog(value = "") {
  find("dialog").close(value);
}

export function download(name, kind, text) {
  const url = URL.createObjectURL(new Blob([text], { type: kind }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
