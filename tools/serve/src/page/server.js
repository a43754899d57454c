// Requests to the server, and answers that come piece by piece.

import { closeDialog, dialog, el } from "./dom.js";
import { say } from "./words.js";

const KEY = "siskin.key";
let asking = null;

// Whether requests have a key, which links have not.
export const hasKey = () => Boolean(sessionStorage.getItem(KEY));

// A request, with JSON or a file; one for a key is answered with what the user gives, and asked again. Errors are what the server says.
export async function ask(path, body, signal) {
  for (;;) {
    const key = sessionStorage.getItem(KEY);
    const headers = key ? { authorization: `Bearer ${key}` } : {};
    const isFile = body instanceof Blob;
    if (body) headers["content-type"] = isFile ? "application/octet-stream" : "application/json";
    const options = { method: body ? "POST" : "GET", headers, body: isFile ? body : body && JSON.stringify(body), signal };
    const response = await fetch(path, options).catch((error) => {
      throw error.name === "AbortError" ? error : new Error(say("no-server"));
    });
    if (response.ok) return response;
    if (response.status === 401) {
      asking ??= askKey(key).finally(() => { asking = null; });
      if (await asking) continue;
    }
    throw new Error(await reason(response));
  }
}

export const json = async (path, body) => (await ask(path, body)).json();

async function reason(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    return error.message ?? error;
  } catch {
    return text || `${response.status} ${response.statusText}`;
  }
}

// Asks for a key; resolves with whether there is one.
async function askKey(wrong) {
  const input = el("input", { type: "password", name: "key", autocomplete: "off", required: true, value: wrong ?? "" });
  const form = el("form", { className: "stack", method: "dialog", on: { submit: (event) => {
    event.preventDefault();
    closeDialog(input.value.trim());
  } } },
    el("p", { className: "note", t: "key-note" }),
    el("label", { className: "field" }, el("span", { t: "key-title" }), input),
    el("div", { className: "row end" }, el("button", { className: "primary", t: "use-key" })));
  const given = await dialog("key-title", form);
  if (given) sessionStorage.setItem(KEY, given);
  return Boolean(given);
}

async function* textLines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    const lines = (rest + (value ?? "")).split("\n");
    rest = done ? "" : lines.pop();
    yield* lines;
    if (done) return;
  }
}

// The values of server-sent events.
export async function* events(response) {
  for await (const line of textLines(response)) {
    if (!line.startsWith("data: ") || line === "data: [DONE]") continue;
    yield JSON.parse(line.slice(6));
  }
}

// Values that come a line each.
export async function* values(response) {
  for await (const line of textLines(response)) if (line.trim()) yield JSON.parse(line);
}
