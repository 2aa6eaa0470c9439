// JSON as people read it: indented, its parts in colours, all of it text.
import { el } from "./dom.js";

const PART = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const LONGEST = 200000;

/** The value of a text that is a JSON object or array; undefined for anything else. */
export function parsed(text) {
  const trimmed = text.trim();
  if (!/^[[{]/.test(trimmed) || trimmed.length > LONGEST) return undefined;
  try {
    return JSON.parse(trimmed);
  } catch {
    return undefined;
  }
}

export function jsonView(value) {
  const text = JSON.stringify(value, null, 2);
  const code = el("code");
  let from = 0;
  for (const match of text.matchAll(PART)) {
    code.append(text.slice(from, match.index));
    const kind = match[2] ? "name" : match[1] ? "text" : "value";
    code.append(el("span", { class: `json-${kind}` }, match[1] ?? match[0]), match[2] ?? "");
    from = match.index + match[0].length;
  }
  code.append(text.slice(from));
  return el("pre", { class: "json", tabindex: "0", role: "group", "aria-label": "JSON" }, code);
}
