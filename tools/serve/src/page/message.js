// A message as it is shown: a question, an answer as it comes, or the result of a call.

import { button, el } from "./dom.js";
import { copyText, show } from "./markdown.js";
import { number, say } from "./words.js";

// The element of a message. `does` has what its buttons do: `edit`, `retry` and `give`, each where there is one.
export function view(message, does) {
  const element = el("article", { className: `message ${message.role}` });
  const name = { user: "you", assistant: "model-said", tool: "result" }[message.role];
  element.append(el("h3", { className: "unseen", t: name }));
  const parts = message.role === "assistant" ? answer(message, does) : question(message, does);
  element.append(...parts.elements);
  element.update = parts.update;
  parts.update();
  return element;
}

function question(message, { edit }) {
  const files = (message.files ?? []).map(({ name, text }) =>
    el("details", { className: "file" }, el("summary", {}, name), el("pre", { tabIndex: 0 }, text)));
  const body = el("div", { className: "bubble" }, ...files);
  if (message.content) body.append(el("p", { className: "said" }, message.content));
  const tools = el("div", { className: "tools" });
  const copy = button("copy", () => copyText(copy, message.content), { className: "quiet small" });
  if (message.role === "user") tools.append(copy, button("edit", () => edit(message), { className: "quiet small" }));
  return { elements: [body, tools], update() {} };
}

function answer(message, { retry, give }) {
  const summary = el("summary");
  const thought = el("div", { className: "prose" });
  const thoughts = el("details", { className: "thoughts" }, summary, thought);
  const text = el("div", { className: "prose" });
  const calls = el("div", { className: "calls" });
  const state = el("p", { className: "state" });
  const stats = el("span", { className: "stats" });
  const copy = button("copy", () => copyText(copy, message.content), { className: "quiet small" });
  const tools = el("div", { className: "tools" }, copy, button("retry", () => retry(message), { className: "quiet small" }), stats);
  const update = () => {
    const isRunning = message.state === "running";
    thoughts.hidden = !message.thoughts;
    summary.textContent = say(isRunning && !message.content ? "thinking" : "thoughts");
    summary.classList.toggle("busy", isRunning && !message.content);
    if (message.thoughts) show(thought, message.thoughts.trim());
    show(text, message.content);
    calls.hidden = !message.calls?.length;
    if (message.calls?.length) calls.replaceChildren(...message.calls.map((call) => callView(message, call, give)));
    const waits = isRunning && !message.content && !message.thoughts && !message.calls?.length;
    state.hidden = !waits && !message.error && !["stopped", "cut"].includes(message.state);
    state.classList.toggle("error", Boolean(message.error));
    state.classList.toggle("busy", waits);
    state.textContent = message.error ?? (waits ? say("waiting") : say(message.state ?? ""));
    tools.hidden = isRunning;
    copy.hidden = !message.content;
    stats.textContent = statistics(message);
  };
  return { elements: [thoughts, text, calls, state, tools], update };
}

function callView(message, call, give) {
  let written = call.arguments;
  try {
    written = JSON.stringify(JSON.parse(call.arguments), null, 2);
  } catch {
    // It is shown as it was written.
  }
  const card = el("div", { className: "call" }, el("strong", {}, say("calls", call.name)), el("pre", { tabIndex: 0 }, el("code", {}, written)));
  if (message.state === "running" || !give?.wanted(call)) return card;
  const input = el("textarea", { rows: 2, label: "result", hint: "result" });
  const form = el("form", { className: "row", on: { submit: (event) => {
    event.preventDefault();
    give.result(call, input.value);
  } } }, input, el("button", { className: "small", t: "give-result" }));
  card.append(form);
  return card;
}

// How much an answer was, how fast it came, and what of its prompt was there already.
function statistics({ usage, first, seconds }) {
  if (!usage) return "";
  const parts = [say("stats", number(usage.completion_tokens))];
  if (seconds > 0 && usage.completion_tokens > 1) parts.push(say("stats-rate", number((usage.completion_tokens - 1) / seconds, 1)));
  if (first !== undefined) parts.push(say("stats-first", number(first, 2)));
  const cached = usage.prompt_tokens_details?.cached_tokens;
  if (cached) parts.push(say("stats-cached", number(cached), number(usage.prompt_tokens)));
  return parts.join(" · ");
}
