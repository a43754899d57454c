// Conversations with a model: what is asked, how it is answered, and what it is asked with.

import * as kept from "./conversations.js";
import { announce, button, closeDialog, dialog, download, el, find, iconButton } from "./dom.js";
import { view } from "./message.js";
import * as server from "./server.js";
import { number, say } from "./words.js";

// Bytes of a text, which is read here, and of a document, which the server reads.
const LARGEST_TEXT = 1e6;
const LARGEST_DOCUMENT = 4e6;

let conversation = kept.begin();
let models = [];
let files = [];
const views = new Map();
// What is being answered: the request of each conversation.
const running = new Map();
let parts;
let changed = () => {};

// Makes the page. `tell` is called when the list of conversations is another one.
export function make(menu, tell) {
  changed = tell;
  const model = el("select", { id: "model", label: "model", on: { change: () => set({ model: model.value }) } });
  const title = el("h1", { id: "title" });
  const exporting = el("details", { className: "menu" }, el("summary", { className: "quiet icon", icon: "save", label: "export" }),
    el("div", { className: "menu-list" }, button("as-markdown", () => write("md"), { className: "quiet" }), button("as-json", () => write("json"), { className: "quiet" })));
  const head = el("header", { className: "bar" }, menu, title, model,
    iconButton("tune", "settings", change), exporting, iconButton("bin", "delete-chat", remove));
  const log = el("div", { id: "log", role: "log", "aria-live": "off", "aria-label": say("chat"), tabIndex: 0 });
  const scroll = el("div", { id: "scroll" }, log);
  const input = el("textarea", { id: "input", rows: 1, hint: "ask-hint", label: "ask-hint", on: { input: grow, keydown: typed } });
  const picker = el("input", { type: "file", multiple: true, hidden: true, on: { change: () => { attach(picker.files); picker.value = ""; } } });
  const chips = el("ul", { className: "chips" });
  const send = el("button", { id: "send", className: "round", type: "submit", icon: "send", label: "send" });
  const stop = el("button", { id: "stop", className: "round", type: "button", icon: "stop", label: "stop", hidden: true, on: { click: halt } });
  const form = el("form", { id: "composer", on: { submit: (event) => { event.preventDefault(); submit(); } } },
    chips, el("div", { className: "line" }, iconButton("clip", "attach", () => picker.click(), { id: "attach" }), picker, input, send, stop));
  form.addEventListener("dragover", (event) => event.preventDefault());
  form.addEventListener("drop", (event) => { event.preventDefault(); attach(event.dataTransfer.files); });
  find("chat").append(head, scroll, form);
  parts = { model, title, exporting, log, scroll, input, chips, send, stop };
}

// The conversation of this number, or a new one.
export function open(id) {
  const isRunning = running.get(id)?.conversation;
  conversation = isRunning ?? (id && kept.load(id)) ?? kept.begin();
  files = [];
  draw();
  parts.scroll.scrollTop = parts.scroll.scrollHeight;
}

export const current = () => conversation.id;
export const focus = () => parts.input.focus();

// Asks which models there are.
export async function refresh() {
  ({ models } = await server.json("siskin/status"));
  drawHead();
  if (!conversation.messages.length) draw();
}

// Shows all of the conversation anew, in the present language.
export function draw() {
  views.clear();
  const { messages } = conversation;
  for (const message of messages) views.set(message, view(message, { edit, retry, give: { wanted: isWanted, result: give } }));
  parts.log.replaceChildren(...(messages.length ? views.values() : [welcome()]));
  parts.log.classList.toggle("empty", !messages.length);
  drawHead();
  drawFiles();
}

function welcome() {
  const name = chosen()?.name ?? "Siskin";
  return el("div", { className: "welcome" }, el("img", { src: "page/icon.svg", alt: "", width: 56, height: 56 }),
    el("h2", { t: "ask-title" }), el("p", { className: "note" }, say("ask-note", name)));
}

const chosen = () => models.find(({ name }) => name === conversation.settings.model) ?? models[0];

function drawHead() {
  const { model, title, exporting, send, stop } = parts;
  model.replaceChildren(...models.map(({ name }) => el("option", { value: name }, name)));
  if (chosen()) model.value = chosen().name;
  title.textContent = conversation.title || say("untitled");
  exporting.hidden = !conversation.messages.length;
  exporting.open = false;
  parts.exporting.nextSibling.hidden = !conversation.messages.length;
  const isRunning = running.has(conversation.id);
  [send.hidden, stop.hidden] = [isRunning, !isRunning];
}

function drawFiles() {
  parts.chips.replaceChildren(...files.map((file) => el("li", { className: file.isRead ? "" : "busy", title: file.isRead ? "" : say("reading", file.name) }, file.name,
    el("button", { type: "button", className: "quiet icon", icon: "close", "aria-label": say("remove", file.name), on: { click: () => {
      files = files.filter((other) => other !== file);
      drawFiles();
    } } }))));
  grow();
}

function set(settings) {
  Object.assign(conversation.settings, settings);
  kept.choose({ chat: { ...conversation.settings } });
  if (conversation.messages.length) kept.keep(conversation);
  if (!conversation.messages.length) draw();
}

function grow() {
  const { input } = parts;
  input.style.height = "auto";
  input.style.height = `${Math.min(input.scrollHeight, innerHeight * 0.4)}px`;
}

function typed(event) {
  // While an input method composes, Enter is its own.
  if (event.isComposing) return;
  if (event.key === "Enter" && !event.shiftKey) {
    event.preventDefault();
    submit();
  } else if (event.key === "ArrowUp" && !parts.input.value) {
    const last = conversation.messages.findLast(({ role }) => role === "user");
    if (last) edit(last);
  }
}

async function attach(chosenFiles) {
  const attached = [...chosenFiles].map((file) => ({ file, entry: { name: file.name, isRead: false } }));
  files.push(...attached.map(({ entry }) => entry));
  drawFiles();
  focus();
  for (const { file, entry } of attached) {
    try {
      entry.text = await textOf(file);
      entry.isRead = true;
      announce(say("attached", file.name));
      untell(say("reading", file.name));
    } catch (error) {
      files = files.filter((other) => other !== entry);
      tell(error.message);
    }
    drawFiles();
  }
}

// The text of a file. PDF files are read by the server.
async function textOf(file) {
  const head = new TextDecoder("latin1").decode(await file.slice(0, 1024).arrayBuffer());
  const isDocument = head.includes("%PDF-");
  const most = isDocument ? LARGEST_DOCUMENT : LARGEST_TEXT;
  if (file.size > most) throw new Error(say("too-large", file.name, number(most / 1e6)));
  if (isDocument) return (await server.json(`siskin/text?name=${encodeURIComponent(file.name)}`, file)).text;
  const text = await decoded(file);
  if (text === null) throw new Error(say("no-text", file.name));
  return text;
}

// The text of a file: UTF-8, or what Japanese files may have in its place; null of what is none.
async function decoded(file) {
  const bytes = await file.arrayBuffer();
  const [first, second] = new Uint8Array(bytes);
  const names = first === 0xff && second === 0xfe ? ["utf-16le"] : first === 0xfe && second === 0xff ? ["utf-16be"] : ["utf-8", "shift_jis", "euc-jp"];
  for (const name of names) {
    try {
      const text = new TextDecoder(name, { fatal: true }).decode(bytes);
      if (!text.includes("\0")) return text;
    } catch {
      // It is in another one.
    }
  }
  return null;
}

// Says what went wrong below the conversation.
function tell(text) {
  parts.log.querySelector(".notice")?.remove();
  parts.log.append(el("p", { className: "notice", role: "alert" }, text));
  parts.scroll.scrollTop = parts.scroll.scrollHeight;
}

function untell(text) {
  const notice = parts.log.querySelector(".notice");
  if (notice?.textContent === text) notice.remove();
}

function submit() {
  const content = parts.input.value.trim();
  if ((!content && !files.length) || running.has(conversation.id)) return;
  const unread = files.find(({ isRead }) => !isRead);
  if (unread) return tell(say("reading", unread.name));
  parts.input.value = "";
  post(content || say("summarize"), files.splice(0).map(({ name, text }) => ({ name, text })));
}

function post(content, files) {
  conversation.messages.push({ role: "user", content, ...(files.length ? { files } : {}) });
  answer();
}

// Has a question written anew: what followed it goes.
function edit(message) {
  halt();
  const input = el("textarea", { value: message.content, label: "edit", rows: Math.min(12, message.content.split("\n").length + 1) });
  const form = el("form", { className: "editing", on: {
    submit: (event) => {
      event.preventDefault();
      if (!input.value.trim()) return;
      conversation.messages.length = conversation.messages.indexOf(message);
      post(input.value.trim(), message.files ?? []);
    },
    keydown: (event) => {
      if (event.key === "Escape") { event.stopPropagation(); draw(); focus(); }
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
    },
  } }, input, el("div", { className: "row end" }, button("cancel", () => { draw(); focus(); }, { className: "quiet" }), el("button", { className: "primary", t: "save" })));
  views.get(message)?.replaceChildren(form);
  input.focus();
}

function retry(message) {
  halt();
  conversation.messages.length = conversation.messages.indexOf(message);
  answer();
}

// Whether a call of a tool has no result yet, and may have one.
const isWanted = (call) => conversation.messages.at(-1)?.calls?.includes(call)
  || (conversation.messages.at(-1)?.role === "tool" && !conversation.messages.some(({ call: id }) => id === call.id));

function give(call, content) {
  conversation.messages.push({ role: "tool", call: call.id, content });
  const { calls } = conversation.messages.findLast(({ role }) => role === "assistant");
  const isDone = calls.every(({ id }) => conversation.messages.some((message) => message.call === id));
  if (isDone) answer();
  else draw();
}

function halt() {
  running.get(conversation.id)?.controller.abort();
}

// The messages as the server takes them. Files stand before what is said of them.
function asked({ settings: { system }, messages }) {
  const written = messages.map(({ role, content, files = [], calls, call }) => {
    const texts = files.map(({ name, text }) => `${name}:\n\n${text.trim()}\n\n---\n\n`);
    const message = { role, content: texts.join("") + content };
    if (call) message.tool_call_id = call;
    if (calls?.length) {
      message.tool_calls = calls.map(({ id, name, arguments: given }) => ({ id, type: "function", function: { name, arguments: given } }));
    }
    return message;
  });
  return system ? [{ role: "system", content: system }, ...written] : written;
}

function body(conversation) {
  const { adapters = {}, temperature, seed, most, tools } = conversation.settings;
  const able = chosen()?.loaded?.adapters;
  const wanted = Object.entries(adapters).filter(([name]) => !able || able.includes(name));
  const request = { messages: asked(conversation), stream: true, stream_options: { include_usage: true } };
  if (chosen()) request.model = chosen().name;
  if (wanted.length) request.lora = wanted.map(([name, scale]) => ({ name, scale }));
  if (Number.isFinite(temperature)) request.temperature = temperature;
  if (Number.isFinite(seed)) request.seed = seed;
  if (most) request.max_completion_tokens = most;
  if (tools) request.tools = JSON.parse(tools);
  return request;
}

// Has the model answer what was said last.
async function answer() {
  const talk = conversation;
  const request = body(talk);
  const message = { role: "assistant", content: "", thoughts: "", calls: [], model: request.model, state: "running" };
  talk.messages.push(message);
  const controller = new AbortController();
  running.set(talk.id, { conversation: talk, controller });
  draw();
  parts.scroll.scrollTop = parts.scroll.scrollHeight;
  keep(talk);
  announce(say("is-answering"));
  const begun = performance.now();
  let drawing = 0;
  const update = () => {
    drawing = 0;
    const { scroll } = parts;
    const isAtEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 48;
    views.get(message)?.update();
    if (isAtEnd) scroll.scrollTop = scroll.scrollHeight;
  };
  try {
    const response = await server.ask("v1/chat/completions", request, controller.signal);
    for await (const event of server.events(response)) {
      if (event.error) throw new Error(event.error.message);
      take(message, event, (performance.now() - begun) / 1000);
      drawing ||= requestAnimationFrame(update);
    }
    if (message.state === "running") message.state = "done";
  } catch (error) {
    message.state = "stopped";
    if (error.name !== "AbortError") message.error = error.message;
  }
  cancelAnimationFrame(drawing);
  running.delete(talk.id);
  keep(talk);
  if (talk === conversation) {
    drawHead();
    update();
    announce(spokenEnd(message));
  }
}

// Adds what is new to an answer; `now` is in seconds since it was asked.
function take(message, { choices = [], usage }, now) {
  if (usage) message.usage = usage;
  const [{ delta = {}, finish_reason: reason } = {}] = choices;
  if (delta.content || delta.reasoning_content || delta.tool_calls) {
    message.first ??= now;
    message.seconds = now - message.first;
  }
  message.content += delta.content ?? "";
  message.thoughts += delta.reasoning_content ?? "";
  for (const { index = 0, id, function: called } of delta.tool_calls ?? []) {
    const call = (message.calls[index] ??= { id, name: "", arguments: "" });
    call.name += called?.name ?? "";
    call.arguments += called?.arguments ?? "";
  }
  if (reason === "length") message.state = "cut";
}

// What is said of an answer to who hears it: the whole where it is short.
function spokenEnd({ error, state, content }) {
  if (error) return error;
  if (state === "stopped") return say("stopped");
  return content.length < 500 ? say("is-done", content) : say("is-long", content.split(/\s+/).length);
}

function keep(talk) {
  try {
    kept.keep(talk);
  } catch (error) {
    tell(error.message);
  }
  changed();
}

function write(kind) {
  const name = (conversation.title || "siskin").replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, 40);
  if (kind === "md") download(`${name}.md`, "text/markdown", kept.toMarkdown(conversation));
  else download(`${name}.json`, "application/json", JSON.stringify({ ...conversation, messages: asked(conversation), shown: conversation.messages }, null, 2));
  parts.exporting.open = false;
}

async function remove() {
  const ask = el("p", {}, say("delete-sure", conversation.title));
  const row = el("div", { className: "row end" }, button("cancel", () => closeDialog(), { className: "quiet" }),
    button("delete", () => closeDialog("yes"), { className: "danger" }));
  if (await dialog("delete-chat", ask, row) !== "yes") return;
  halt();
  kept.drop(conversation.id);
  location.hash = "#/";
  open();
  changed();
}

// What answers depend on beside what is said.
function change() {
  const { settings } = conversation;
  const field = (word, input, note) => el("label", { className: "field" }, el("span", { t: word }), input, note ? el("small", { t: note }) : null);
  const numeric = (name, hint, properties) => el("input", { type: "number", value: settings[name] ?? "", hint, ...properties,
    on: { input: (event) => set({ [name]: event.target.value === "" ? undefined : event.target.valueAsNumber }) } });
  const system = el("textarea", { rows: 3, value: settings.system ?? "", on: { input: () => set({ system: system.value.trim() || undefined }) } });
  const tools = el("textarea", { rows: 3, className: "mono", spellcheck: false, value: settings.tools ?? "", on: { input: () => {
    const text = tools.value.trim();
    let isRight = !text;
    try {
      isRight ||= Array.isArray(JSON.parse(text));
    } catch {
      // It is not written to its end.
    }
    tools.setCustomValidity(isRight ? "" : say("tools-wrong"));
    if (isRight) set({ tools: text || undefined });
  } } });
  const able = chosen()?.loaded?.adapters ?? [];
  const adapters = able.map((name) => {
    const scale = settings.adapters?.[name];
    const put = () => {
      factor.disabled = !box.checked;
      const { [name]: _, ...others } = settings.adapters ?? {};
      set({ adapters: box.checked && factor.value !== "" ? { ...others, [name]: factor.valueAsNumber } : others });
    };
    const box = el("input", { type: "checkbox", checked: scale !== undefined, on: { change: put } });
    const factor = el("input", { type: "number", step: 0.1, value: scale ?? 1, disabled: scale === undefined, label: "scale", on: { input: put } });
    return el("div", { className: "check" }, el("label", { className: "check" }, box, name), factor);
  });
  dialog("settings", el("form", { className: "stack", method: "dialog" },
    field("system", system, "system-note"),
    el("div", { className: "columns" },
      field("temperature", numeric("temperature", "model-own", { min: 0, max: 5, step: 0.1 })),
      field("seed", numeric("seed", "random", { min: 0, step: 1 })),
      field("most-tokens", numeric("most", "no-limit", { min: 1, step: 1 }))),
    adapters.length ? el("fieldset", {}, el("legend", { t: "adapters" }), ...adapters) : null,
    el("details", {}, el("summary", { t: "tools" }), field("tools", tools, "tools-note"))));
}
