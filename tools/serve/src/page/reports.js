// Reports of `siskin eval` that lie on the server: which there are, and what they say.

import { download, el } from "./dom.js";
import * as server from "./server.js";
import { number, say, spoken } from "./words.js";

const EVERY = 5000;
// Each figure with its digits, in the order of a report. Shares are shown as percent.
const PLAIN = { ppl: 3, kl: 5, kl_median: 5, kl_p99: 5, kl_max: 5, ttft_ms: 1, prefill_tps: 1, decode_tps: 1, load_ms: 1, peak_mib: 1, file_mib: 1, bpw: 2, joules_per_token: 3 };
const ORDER = ["ppl", "kl", "kl_median", "kl_p99", "kl_max", "same_top", "rms_dp", "weight_error", "exact", "json", "rouge", "support",
  "ttft_ms", "prefill_tps", "decode_tps", "load_ms", "peak_mib", "file_mib", "bpw", "joules_per_token"];
const MORE_IS_BETTER = ["same_top", "exact", "json", "rouge", "support", "prefill_tps", "decode_tps"];

let parts;
let looked = 0;
const rows = new Map();

// The part of the page that has them.
export function make() {
  const none = el("p", { className: "note", t: "no-reports" });
  const list = el("ul", { className: "report-list" });
  const element = el("section", { className: "reports", hidden: true, label: "reports" }, el("h2", { t: "reports" }), none, list);
  parts = { element, none, list };
  return element;
}

// Asks which there are, now and then.
export async function look() {
  if (Date.now() - looked < EVERY && parts.language === spoken()) return;
  [looked, parts.language] = [Date.now(), spoken()];
  const { reports } = await server.json("siskin/reports");
  parts.element.hidden = false;
  parts.none.hidden = reports.length > 0;
  const found = together(reports);
  for (const [key, row] of rows) {
    if (found.has(key)) continue;
    row.remove();
    rows.delete(key);
  }
  for (const [key, report] of found) {
    if (!rows.has(key)) rows.set(key, view(report));
    // In their order; one that is there already is not moved, so that who stands on it keeps standing there.
    const place = [...found.keys()].indexOf(key);
    if (parts.list.children[place] !== rows.get(key)) parts.list.insertBefore(rows.get(key), parts.list.children[place] ?? null);
  }
}

// What was written of one evaluation, as JSON and as a page, by a key that is another one when it, or the language, is.
function together(reports) {
  const stems = new Map();
  for (const report of reports) {
    const stem = report.name.slice(0, -report.kind.length - 1);
    if (!stems.has(stem)) stems.set(stem, { stem, modified: report.modified });
    stems.get(stem)[report.kind] = report.name;
  }
  return new Map([...stems.values()].map((report) => [JSON.stringify([report, spoken()]), report]));
}

function view({ stem, modified, json, html }) {
  const time = new Intl.DateTimeFormat(spoken(), { dateStyle: "medium", timeStyle: "short" }).format(modified * 1000);
  const when = el("span", { className: "note" }, time);
  const link = html && el("a", { href: `siskin/reports/${encodeURIComponent(html)}`, target: "_blank", rel: "noopener", t: "report-page", on: { click: (event) => open(event, html) } });
  link?.setAttribute("aria-label", `${say("report-page")}: ${stem}`);
  if (!json) return el("li", {}, el("div", { className: "model" }, el("h3", {}, stem), when, link));
  const body = el("div", { className: "report" });
  const shown = el("details", { on: { toggle: () => shown.open && !body.childElementCount && fill(body, json) } },
    el("summary", { className: "model" }, el("h3", {}, stem), when), body);
  return el("li", {}, shown, link);
}

// A link brings no key: where one is wanted, the page is fetched with it, and saved.
async function open(event, name) {
  if (!server.hasKey()) return;
  event.preventDefault();
  const response = await server.ask(`siskin/reports/${encodeURIComponent(name)}`);
  download(name, "text/html", await response.text());
}

async function fill(body, name) {
  try {
    body.replaceChildren(...told(await server.json(`siskin/reports/${encodeURIComponent(name)}`)));
  } catch (error) {
    body.replaceChildren(el("p", { className: "notice", role: "alert" }, error instanceof SyntaxError ? say("report-bad") : error.message));
  }
}

// What a report says. Its file may be anything.
function told(report) {
  const models = Array.isArray(report?.models) ? report.models.filter((model) => typeof model?.metrics === "object" && model.metrics) : [];
  if (!models.length) return [el("p", { className: "notice", role: "alert", t: "report-bad" })];
  const { text, reference, tasks } = report;
  const of = [text && say("report-of", text.path, number(text.windows ?? 0), number(text.window ?? 0)),
    reference && say("report-against", reference.path), tasks && say("report-tasks", tasks.path, number(tasks.count ?? 0))];
  const labels = models.map(({ name, path }) => String(path ?? name).split("/").at(-1).replace(/\.gguf$/, ""));
  const head = (word) => el("thead", {}, el("tr", {}, el("th", { scope: "col", t: word }), ...labels.map((label) => el("th", { scope: "col" }, label))));
  const figures = el("table", {}, head("figure"), el("tbody", {}, ...names(models).map((name) => figureRow(name, models))));
  const bounds = models[0].requirements ?? [];
  const kept = bounds.length ? el("table", {}, head("bound"), el("tbody", {}, ...bounds.map(({ bound }, index) =>
    el("tr", {}, el("th", { scope: "row" }, String(bound)), ...models.map(({ requirements }) => keptCell(requirements?.[index]?.kept)))))) : null;
  const wide = (table) => table && el("div", { className: "wide", tabIndex: 0, role: "group", label: "reports" }, table);
  const about = of.filter(Boolean).join(" · ");
  const parts = [about ? el("p", { className: "note" }, about) : null, wide(figures),
    models.length > 1 ? el("p", { className: "note", t: "report-best" }) : null, wide(kept)];
  return parts.filter(Boolean);
}

const metric = (name) => name.split(".")[0];

// All figures that any model has, in the order of a report, those of each kind of task behind that of all.
function names(models) {
  const all = [...new Set(models.flatMap(({ metrics }) => Object.keys(metrics)))].filter((name) => ORDER.includes(metric(name)));
  return all.sort((one, other) => ORDER.indexOf(metric(one)) - ORDER.indexOf(metric(other)) || (one < other ? -1 : 1));
}

function figureRow(name, models) {
  const [of, kind] = [metric(name), name.slice(metric(name).length + 1)];
  const label = say(`m-${of}`);
  const values = models.map(({ metrics }) => metrics[name]).map((value) => (Number.isFinite(value) ? value : undefined));
  const there = values.filter((value) => value !== undefined);
  const best = MORE_IS_BETTER.includes(of) ? Math.max(...there) : Math.min(...there);
  const shown = (value) => (of in PLAIN ? number(value, PLAIN[of]) : number(100 * value, 2));
  const alike = there.every((value) => shown(value) === shown(best));
  const cell = (value) => (value === undefined ? el("td", { className: "note", t: "not-measured" })
    : el("td", {}, shown(value) === shown(best) && !alike ? el("strong", {}, shown(value)) : shown(value)));
  return el("tr", {}, el("th", { scope: "row" }, kind ? `${kind}: ${label}` : label), ...values.map(cell));
}

const keptCell = (kept) => el("td", { className: kept === false ? "broken" : "", t: kept === true ? "kept" : kept === false ? "not-kept" : "not-measured" });
