// The blocks of an answer that are worth more than their text: fenced code, tables, charts. All else stays text.
import { chartView } from "./chart.js";
import { el } from "./dom.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([\w+#.-]*)[^`\n]*$/;
const RULE = /^\s*\|?(?:\s*:?-{3,}:?\s*\|)+(?:\s*:?-{3,}:?)?\s*$/;
const NUMBER = /^-?[\d,]*\.?\d+$/;
const NAMES = { sql: "Query (SQL)", json: "JSON", "vega-lite": "Chart (Vega-Lite)" };

/** Whether a text may have blocks at all; told without reading it line by line. */
export const mayHaveBlocks = (text) => /^(?: {0,3}(?:```|~~~)|\|)/m.test(text);

/** Parts {kind: "text" | "code" | "table", from, upto} in their order; places are UTF-16 units. Code has language, body and whether it is closed. */
export function parts(text) {
  const found = [];
  const lines = [];
  for (let at = 0; at <= text.length; ) {
    const end = text.indexOf("\n", at);
    lines.push({ at, text: text.slice(at, end < 0 ? text.length : end) });
    if (end < 0) break;
    at = end + 1;
  }
  const place = (index) => lines[index]?.at ?? text.length;
  let plain = 0;
  const add = (from, upto, part) => {
    if (from > plain) found.push({ kind: "text", from: plain, upto: from });
    found.push({ ...part, from, upto });
    plain = upto;
  };
  for (let index = 0; index < lines.length; ) {
    const fence = FENCE.exec(lines[index].text);
    if (fence) {
      const closes = new RegExp(`^ {0,3}${fence[1][0]}{${fence[1].length},}\\s*$`);
      let last = index + 1;
      while (last < lines.length && !closes.test(lines[last].text)) last += 1;
      const closed = last < lines.length;
      add(place(index), place(last + 1), { kind: "code", closed, language: fence[2].toLowerCase(), body: lines.slice(index + 1, last).map((line) => line.text).join("\n") });
      index = last + 1;
    } else if (lines[index].text.startsWith("|") && RULE.test(lines[index + 1]?.text ?? "")) {
      let last = index + 2;
      while (lines[last]?.text.startsWith("|")) last += 1;
      const rows = lines.slice(index + 2, last).map((line) => cells(line.text));
      add(place(index), place(last), { kind: "table", head: cells(lines[index].text), rows });
      index = last;
    } else index += 1;
  }
  if (plain < text.length) found.push({ kind: "text", from: plain, upto: text.length });
  return found;
}

/** The cells of a table's line, without the backslashes that keep their text from being markup. */
function cells(line) {
  const found = [""];
  for (const [piece] of line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "").matchAll(/\\[\s\S]|[\s\S]/g)) {
    if (piece === "|") found.push("");
    else found[found.length - 1] += /^\\[!-/:-@[-`{-~]$/.test(piece) ? piece[1] : piece;
  }
  return found.map((cell) => cell.trim());
}

/** A block as an element; a text part has none. */
export function blockView(part) {
  if (part.kind === "table") return tableView(part);
  if (part.language === "vega-lite" && part.closed) return chartView(part.body);
  const name = NAMES[part.language] ?? (part.language || "Code");
  return el("figure", { class: part.closed ? "code" : "code open" }, el("figcaption", { class: "hint" }, name), el("pre", { class: "json", tabindex: "0", role: "group", "aria-label": name }, el("code", {}, part.body)));
}

function tableView({ head, rows }) {
  const numbers = head.map((_, column) => rows.length > 0 && rows.every((row) => NUMBER.test(row[column] ?? "")));
  const cell = (tag, text, column) => el(tag, { class: numbers[column] ? "number" : false, scope: tag === "th" ? "col" : false }, text);
  return el("div", { class: "result", tabindex: "0", role: "group", "aria-label": "Table" },
    el("table", {}, el("thead", {}, el("tr", {}, head.map((text, column) => cell("th", text, column)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, head.map((_, column) => cell("td", row[column] ?? "", column)))))));
}
