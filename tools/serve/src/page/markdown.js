// Markdown as models write it, as elements. Texts become text nodes, and addresses of links are looked at, so nothing that a
// model writes is ever markup or code.

import { button, el } from "./dom.js";
import { say } from "./words.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])( +)(.*)$/;
const DIVIDER = /^ *\|?( *:?-+:? *\|)+ *(:?-+:?)? *$/;
const DEEPEST = 12;

// Shows a text in an element. What is there already of it stays, so that a text can grow.
export function show(target, text) {
  const wanted = blocks(text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n"), 0);
  const shown = target.shown ?? [];
  wanted.forEach(({ source, make }, index) => {
    if (shown[index] === source) return;
    const made = make();
    const before = target.children[index];
    if (before) before.replaceWith(made);
    else target.append(made);
  });
  while (target.children.length > wanted.length) target.lastChild.remove();
  target.shown = wanted.map(({ source }) => source);
}

// The blocks of lines: the text of each, and how it is made an element.
function blocks(lines, depth) {
  const found = [];
  let at = 0;
  while (at < lines.length) {
    if (!lines[at].trim()) { at += 1; continue; }
    const [end, make] = block(lines, at, depth);
    found.push({ source: lines.slice(at, end).join("\n"), make });
    at = end;
  }
  return found;
}

// The block that begins at a line: where it ends, and how it is made.
function block(lines, start, depth) {
  const line = lines[start];
  let end = start + 1;
  const fence = FENCE.exec(line);
  if (fence) {
    const closes = (other) => other.trim().startsWith(fence[1]) && !other.trim().replaceAll(fence[1][0], "");
    while (end < lines.length && !closes(lines[end])) end += 1;
    const body = lines.slice(start + 1, end).join("\n");
    return [Math.min(end + 1, lines.length), () => code(body, fence[2].trim())];
  }
  const heading = HEADING.exec(line);
  // The page has headings of its own above these.
  if (heading) return [end, () => el(`h${Math.min(heading[1].length + 2, 6)}`, {}, ...inline(heading[2], 0))];
  if (RULE.test(line)) return [end, () => el("hr")];
  if (depth < DEEPEST && QUOTE.test(line)) {
    while (end < lines.length && QUOTE.test(lines[end])) end += 1;
    const inner = lines.slice(start, end).map((quoted) => quoted.replace(QUOTE, ""));
    return [end, () => el("blockquote", {}, ...made(blocks(inner, depth + 1)))];
  }
  if (depth < DEEPEST && ITEM.test(line)) return list(lines, start, depth);
  if (line.includes("|") && DIVIDER.test(lines[end] ?? "")) {
    while (end < lines.length && lines[end].includes("|")) end += 1;
    const rows = lines.slice(start, end).map(cells);
    return [end, () => table(rows)];
  }
  while (end < lines.length && lines[end].trim() && !begins(lines[end])) end += 1;
  const text = lines.slice(start, end).map((part) => part.trim()).join("\n");
  return [end, () => el("p", {}, ...inline(text, 0))];
}

const begins = (line) => [FENCE, HEADING, RULE, QUOTE, ITEM].some((kind) => kind.test(line));
const made = (found) => found.map(({ make }) => make());

function list(lines, start, depth) {
  const first = ITEM.exec(lines[start]);
  const isOrdered = /\d/.test(first[2]);
  const items = [];
  let end = start;
  let isLoose = false;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const item = ITEM.exec(line);
    const indent = line.length - line.trimStart().length;
    if (!line.trim()) isLoose = true;
    else if (item && indent <= first[1].length + 1) {
      if (/\d/.test(item[2]) !== isOrdered) break;
      items.push({ lines: [item[4]], indent: indent + item[2].length + 1 });
      isLoose = false;
      continue;
    } else if (indent <= first[1].length && (isLoose || begins(line))) break;
    const last = items.at(-1);
    last.lines.push(line.slice(Math.min(indent, last.indent)));
    if (line.trim()) isLoose = false;
  }
  const make = () => {
    const element = el(isOrdered ? "ol" : "ul");
    if (isOrdered && parseInt(first[2], 10) !== 1) element.start = parseInt(first[2], 10);
    element.append(...items.map((item) => {
      const parts = made(blocks(item.lines, depth + 1));
      // A first paragraph alone is the item itself.
      if (parts[0]?.tagName === "P") parts.splice(0, 1, ...parts[0].childNodes);
      return el("li", {}, ...parts);
    }));
    return element;
  };
  return [end, make];
}

const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

function table([head, , ...rows]) {
  const row = (tag) => (texts) => el("tr", {}, ...texts.map((text) => el(tag, {}, ...inline(text, 0))));
  const inner = el("table", {}, el("thead", {}, row("th")(head)), el("tbody", {}, ...rows.map(row("td"))));
  return el("div", { className: "wide", tabIndex: 0 }, inner);
}

function code(text, kind) {
  const copy = button("copy", () => copyText(copy, text), { className: "quiet small" });
  const bar = el("div", { className: "code-bar" }, el("span", {}, kind.split(/\s/)[0]), copy);
  return el("div", { className: "code" }, bar, el("pre", { tabIndex: 0 }, el("code", {}, text)));
}

// Copies a text, and has the button say so.
export async function copyText(button, text) {
  await navigator.clipboard?.writeText(text);
  const tell = (word) => {
    button.dataset.t = word;
    button.textContent = say(word);
  };
  tell("copied");
  setTimeout(() => tell("copy"), 1500);
}

// In the order in which they are tried: an escape, code, links, an address, and what is strong, struck or emphasized.
const INLINE = new RegExp([
  "\\\\([!-/:-@[-`{-~])",
  "(`+)(?!`)([^]{0,4000}?[^`])\\2(?!`)",
  "!?\\[([^\\]\\n]*)\\]\\(\\s*<?([^\\s)>]+)>?(?:\\s+[\"'][^)]*)?\\)",
  "<?(https?://[^\\s<>]*[^\\s<>.,:;!?'\"()\\]、。）」])>?",
  "(\\*\\*|__)(?=\\S)([^]{0,2000}?\\S)\\7",
  "~~(?=\\S)([^]{0,2000}?\\S)~~",
  "\\*(?=[^\\s*])([^]{0,2000}?[^\\s*])\\*(?!\\*)",
  "\\b_(?=\\S)([^]{0,2000}?\\S)_\\b",
  "(\\n)",
].join("|"), "g");

function inline(text, depth) {
  const found = [];
  let at = 0;
  const within = (inner) => (depth < DEEPEST ? inline(inner, depth + 1) : [inner]);
  for (const match of text.matchAll(INLINE)) {
    const [all, escaped, , source, label, target, address, , strong, struck, starred, underlined] = match;
    if (match.index > at) found.push(text.slice(at, match.index));
    at = match.index + all.length;
    if (escaped) found.push(escaped);
    else if (source) found.push(el("code", {}, source.trim() || source));
    else if (target) found.push(link(target, within(label || target), all));
    else if (address) found.push(link(address, [address], all));
    else if (strong) found.push(el("strong", {}, ...within(strong)));
    else if (struck) found.push(el("s", {}, ...within(struck)));
    else if (starred || underlined) found.push(el("em", {}, ...within(starred || underlined)));
    else found.push(el("br"));
  }
  if (at < text.length) found.push(text.slice(at));
  return found;
}

// A link where its address leads to the web or to somebody's mail, and else what is written.
function link(address, children, written) {
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return written;
  return el("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, ...children);
}
