// How the server does: models, memory, speed, heat, errors. It is asked every two seconds while the page is looked at.

import { announce, button, el, find } from "./dom.js";
import * as reports from "./reports.js";
import * as server from "./server.js";
import { bytes, duration, number, say, spoken } from "./words.js";

const EVERY = 2000;

let timer = 0;
let parts;
const tiles = {};
const rows = new Map();

// Makes the page.
export function make(menu) {
  const names = ["memory", "queue", "rates", "cache", "temperatures", "clock", "threads"];
  for (const name of names) tiles[name] = tile(name);
  const up = el("p", { className: "note" });
  const alarm = el("p", { className: "notice", role: "alert", hidden: true });
  const models = el("ul", { className: "models" });
  const name = el("input", { id: "pull", required: true, hint: "pull-hint", spellcheck: false, autocomplete: "off" });
  const progress = el("progress", { max: 1, value: 0, hidden: true });
  const pulled = el("p", { className: "note", role: "status" });
  const form = el("form", { className: "stack", on: { submit: (event) => { event.preventDefault(); pull(); } } },
    el("label", { for: "pull", t: "pull" }), el("div", { className: "row" }, name, el("button", { className: "primary", t: "pull-do" })), progress, pulled);
  const errors = el("div", { className: "errors" });
  find("operation").append(
    el("header", { className: "bar" }, menu, el("h1", { t: "operation" })),
    el("div", { className: "page" }, alarm, el("div", { className: "tiles" }, ...names.map((name) => tiles[name].element)),
      el("h2", { t: "models" }), models, form, reports.make(), el("h2", { t: "errors" }), errors, up));
  parts = { up, alarm, models, name, progress, pulled, errors };
}

export function start() {
  stop();
  look();
}

export function stop() {
  clearTimeout(timer);
  timer = 0;
}

async function look() {
  const own = (timer = -1);
  if (document.visibilityState === "visible") {
    try {
      const status = await server.json("siskin/status");
      draw(status);
      if (status.reports) await reports.look();
      parts.alarm.hidden = true;
    } catch (error) {
      parts.alarm.textContent = error.message;
      parts.alarm.hidden = false;
    }
  }
  if (timer === own) timer = setTimeout(look, EVERY);
}

function tile(word) {
  const value = el("strong");
  const note = el("span", { className: "note" });
  const bar = share(word);
  const element = el("section", { className: "tile" }, el("h3", { t: word }), value, bar, note);
  const set = (text, below = "", part = undefined) => {
    [value.textContent, note.textContent] = [text, below];
    bar.set(part);
  };
  return { element, set };
}

// A bar that shows how much of something is taken, from 0 to 1.
function share(word) {
  const part = el("span");
  const bar = el("div", { className: "share", role: "meter", label: word, hidden: true }, part);
  bar.set = (value) => {
    bar.hidden = value === undefined;
    if (bar.hidden) return;
    const percent = Math.round(100 * Math.min(1, Math.max(0, value)));
    bar.setAttribute("aria-valuenow", percent);
    bar.classList.toggle("high", percent > 90);
    part.style.width = `${percent}%`;
  };
  return bar;
}

function draw({ version, created, machine, memory, models, errors }) {
  const sum = (of) => models.reduce((total, model) => total + of(model), 0);
  const figure = (name) => sum(({ figures }) => figures[name]);
  const rate = (tokens, seconds) => (seconds > 0 ? tokens / seconds : 0);
  const [prompts, cached] = [figure("prompt_tokens"), figure("cached_tokens")];

  const used = memory.total && memory.available !== null ? 1 - memory.available / memory.total : undefined;
  const limit = memory.limit ? `${say("memory-limit", bytes(memory.limit))} · ` : "";
  tiles.memory.set(`${bytes(memory.available)} ${say("memory-of", bytes(memory.total))}`,
    limit + say("memory-taken", bytes(memory.models), bytes(memory.resident)), used);
  tiles.queue.set(say("at-work", number(figure("at_work"))), say("queue-now", number(figure("waiting"))));
  const speed = rate(figure("answer_tokens"), figure("answer_seconds"));
  tiles.rates.set(`${number(speed, speed < 100 ? 1 : 0)} ${say("per-second")}`,
    say("rate-read", number(rate(prompts - cached, figure("prompt_seconds")), 0)));
  tiles.cache.set(`${number(prompts ? (100 * cached) / prompts : 0)} %`, say("cache-of", number(prompts)));
  const hottest = machine.temperatures?.reduce((one, other) => (other.celsius > one.celsius ? other : one), { celsius: -Infinity });
  if (hottest?.zone) tiles.temperatures.set(`${number(hottest.celsius, 1)} °C`, hottest.zone, Math.max(0, hottest.celsius) / 100);
  else tiles.temperatures.set("–", say("no-sensor"));
  const clock = machine.clocks?.reduce((one, other) => ((other.current_mhz ?? 0) > (one.current_mhz ?? 0) ? other : one), {});
  if (clock?.current_mhz) tiles.clock.set(gigahertz(clock.current_mhz), [clock.most_mhz && say("clock-of", gigahertz(clock.most_mhz)), clock.governor].filter(Boolean).join(" · "));
  else tiles.clock.set("–", say("not-told"));
  const threads = Math.max(0, ...models.map(({ loaded }) => loaded?.threads ?? 0));
  tiles.threads.set(threads ? number(threads) : "–", machine.cpus ? say("threads-of", number(machine.cpus)) : "");

  parts.up.textContent = say("up-since", version, duration(Math.max(0, Date.now() / 1000 - created)));
  drawModels(models, memory);
  drawErrors(errors);
}

const gigahertz = (mhz) => `${number(mhz / 1000, 2)} GHz`;

function drawModels(models, memory) {
  for (const [name, row] of rows) {
    if (models.some((model) => model.name === name)) continue;
    row.element.remove();
    rows.delete(name);
  }
  for (const model of models) {
    if (!rows.has(model.name)) {
      rows.set(model.name, modelRow(model.name));
      parts.models.append(rows.get(model.name).element);
    }
    rows.get(model.name).set(model, memory);
  }
}

// A model: what it is, what it takes, and how it comes into memory and leaves it. It stays the same element as long as it is
// there, so that who stands on its button keeps standing there.
function modelRow(name) {
  const state = el("span", { className: "badge" });
  const file = el("p", { className: "note" });
  const taken = el("p", { className: "note" });
  const meter = share("memory");
  const adapters = el("p", { className: "chips" });
  const wrong = el("p", { className: "notice", hidden: true });
  let isLoaded = false;
  const act = button("load", async () => {
    act.disabled = true;
    wrong.hidden = true;
    if (!isLoaded) state.textContent = say("loading");
    try {
      await server.json("api/generate", { model: name, stream: false, ...(isLoaded ? { keep_alive: 0 } : {}) });
      announce(`${name}: ${say(isLoaded ? "on-disk" : "in-memory")}`);
    } catch (error) {
      [wrong.hidden, wrong.textContent] = [false, error.message];
    }
    act.disabled = false;
    start();
  }, { className: "small", "aria-label": name });
  const element = el("li", {}, el("div", { className: "model" }, el("h3", {}, name), state, act), file, meter, taken, adapters, wrong);
  const set = ({ family, parameters, quantization, size, error, loaded, figures }, memory) => {
    isLoaded = Boolean(loaded);
    const word = isLoaded ? "unload" : "load";
    act.dataset.t = word;
    act.textContent = say(word);
    act.setAttribute("aria-label", `${say(word)}: ${name}`);
    if (!act.disabled) state.textContent = say(isLoaded ? "in-memory" : "on-disk");
    state.classList.toggle("on", isLoaded);
    file.textContent = error ?? say("model-file", family, weights(parameters), quantization, bytes(size));
    taken.hidden = !isLoaded;
    const room = memory.limit ?? memory.total;
    meter.set(isLoaded && room ? loaded.bytes / room : undefined);
    adapters.hidden = !loaded?.adapters.length;
    if (!loaded) return;
    const leaves = loaded.unloads_in === null ? say("stays") : say("unloads-in", duration(loaded.unloads_in));
    taken.textContent = [say("model-loaded", bytes(loaded.bytes), number(loaded.context), number(loaded.places), number(loaded.threads), loaded.isa),
      leaves, say("model-work", number(figures.answers), number(figures.answer_tokens))].join(" · ");
    adapters.replaceChildren(...loaded.adapters.map((adapter) => el("span", { className: "badge" }, `+${adapter}`)));
  };
  return { element, set };
}

function weights(count) {
  const units = ["", "K", "M", "B", "T"];
  let index = 0;
  while (count >= 1000 && index < units.length - 1) [count, index] = [count / 1000, index + 1];
  return number(count, count < 10 ? 1 : 0) + units[index];
}

function drawErrors(errors) {
  if (!errors.length) {
    parts.errors.replaceChildren(el("p", { className: "note", t: "no-errors" }));
    return;
  }
  const time = new Intl.DateTimeFormat(spoken(), { dateStyle: "short", timeStyle: "medium" });
  const cells = ({ time: at, status, path, message, count }) =>
    [time.format(at * 1000), status, path, count > 1 ? `${message} (${number(count)}×)` : message].map((text) => el("td", {}, String(text)));
  const head = ["time", "status", "address", "message"].map((word) => el("th", { scope: "col", t: word }));
  parts.errors.replaceChildren(el("div", { className: "wide", tabIndex: 0 }, el("table", {}, el("thead", {}, el("tr", {}, ...head)),
    el("tbody", {}, ...errors.map((error) => el("tr", {}, ...cells(error)))))));
}

// Fetches a model by name, and shows how much of it is there.
async function pull() {
  const { name, progress, pulled } = parts;
  const model = name.value.trim();
  progress.hidden = false;
  progress.removeAttribute("value");
  pulled.className = "note";
  try {
    for await (const { status, total, completed, error } of server.values(await server.ask("api/pull", { model }))) {
      if (error) throw new Error(error);
      pulled.textContent = total ? `${status}: ${bytes(completed ?? 0)} / ${bytes(total)}` : status;
      if (total) progress.value = (completed ?? 0) / total;
    }
    pulled.textContent = say("pull-done", model);
    name.value = "";
  } catch (error) {
    pulled.className = "notice";
    pulled.textContent = error.message;
  }
  progress.hidden = true;
  start();
}
