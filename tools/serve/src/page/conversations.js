// Conversations and settings, which are kept in this browser alone.

import { say } from "./words.js";

const PREFIX = "siskin.conversation.";
const SETTINGS = "siskin.settings";

function read(key) {
  try {
    return JSON.parse(localStorage.getItem(key));
  } catch {
    return null;
  }
}

function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    throw new Error(say("storage-full"));
  }
}

// All conversations, the latest first.
export function all() {
  const keys = Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
  const found = keys.map(read).filter((conversation) => conversation?.id && Array.isArray(conversation.messages));
  return found.sort((one, other) => other.changed - one.changed);
}

export const load = (id) => read(PREFIX + id);

// Keeps a conversation in which something was said.
export function keep(conversation) {
  const first = conversation.messages.find(({ role }) => role === "user");
  if (!first) return;
  conversation.title = (first.content || first.files?.[0]?.name || "").replace(/\s+/g, " ").slice(0, 60);
  conversation.changed = Date.now();
  write(PREFIX + conversation.id, conversation);
}

export const drop = (id) => localStorage.removeItem(PREFIX + id);

// A conversation that goes on with the settings of the last one.
export function begin() {
  const id = Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { id, title: "", changed: 0, settings: { ...settings().chat }, messages: [] };
}

// What was chosen: `language`, `theme`, and in `chat` what the next conversation begins with.
export const settings = () => ({ chat: {}, ...read(SETTINGS) });
export const choose = (chosen) => write(SETTINGS, { ...settings(), ...chosen });

// The conversation as a text in Markdown.
export function toMarkdown({ title, settings: { system }, messages }) {
  const parts = [`# ${title || say("untitled")}`];
  if (system) parts.push(`> ${system.replaceAll("\n", "\n> ")}`);
  for (const message of messages) {
    const name = { user: say("you"), assistant: message.model || say("model-said"), tool: say("result") }[message.role];
    parts.push(`## ${name}`);
    for (const { name, text } of message.files ?? []) parts.push(`**${name}**`, fenced(text));
    if (message.thoughts) parts.push(`> ${message.thoughts.trim().replaceAll("\n", "\n> ")}`);
    if (message.content) parts.push(message.content.trim());
    for (const call of message.calls ?? []) parts.push(fenced(`${call.name}(${call.arguments})`));
  }
  return `${parts.join("\n\n")}\n`;
}

// A text between fences that are longer than any in it.
function fenced(text) {
  const longest = Math.max(2, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(longest + 1);
  return `${fence}\n${text}\n${fence}`;
}
