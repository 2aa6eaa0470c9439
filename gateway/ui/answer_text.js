// The text of an answer: as it comes, with the places where another instance went on, and in the end with its citations.
import { blockView, mayHaveBlocks, parts } from "./blocks.js";
import { el } from "./dom.js";
import { jsonView, parsed } from "./json_view.js";
import { openSource } from "./source_view.js";
import { sentenceBefore } from "./words.js";

export class AnswerText {
  constructor() {
    this.element = el("div", { class: "answer-text" });
    this.text = "";
    this.seams = [];
    this.blocks = new Map();
  }

  push(text) {
    this.text += text;
    if (/[`~|\n]/.test(text) && mayHaveBlocks(this.text)) return this.draw(this.seamInserts());
    const last = deepest(this.element);
    if (last instanceof Text) last.appendData(text);
    else this.element.append(text);
  }

  /** Another instance goes on here. */
  seam(from, to) {
    this.seams.push({ at: this.text.length, from, to });
    this.element.append(seamMark(from, to));
  }

  /** The answer is whole: show it as JSON where it is that, and its citations otherwise. The gateway counts code points; here places are UTF-16 units. */
  finish(sources, citations) {
    const value = parsed(this.text);
    if (value !== undefined) {
      this.element.replaceChildren(...this.seams.map(({ from, to }) => seamMark(from, to)), jsonView(value));
      return;
    }
    const characters = [...this.text];
    const place = (index) => characters.slice(0, index).join("").length;
    const inserts = this.seamInserts();
    const seen = new Set();
    for (const citation of citations) {
      const source = sources.find((each) => each.n === citation.n);
      const marked = citation.by === "mark";
      const at = marked ? citation.start_index : citation.end_index;
      if (!source || seen.has(`${at}/${citation.n}`)) continue;
      seen.add(`${at}/${citation.n}`);
      const sentence = marked ? sentenceBefore(characters, citation.start_index) : characters.slice(citation.start_index, citation.end_index).join("").trim();
      if (!marked && !/\p{L}/u.test(sentence)) continue; // the number of an item is no statement
      inserts.push({ at: place(at), upto: place(marked ? citation.end_index : at), node: citationButton(source, sentence, citation) });
    }
    inserts.sort((a, b) => a.at - b.at);
    this.draw(inserts);
  }

  seamInserts() {
    return this.seams.map(({ at, from, to }) => ({ at, upto: at, node: seamMark(from, to) }));
  }

  /** All of the text anew. inserts: {at, upto, node} in their order; what stands between `at` and `upto` gives way. One inside a block stands behind it. */
  draw(inserts) {
    const found = parts(this.text);
    const blocks = found.some((part) => part.kind !== "text");
    const nodes = [];
    let next = 0;
    for (const part of found) {
      let at = part.from;
      let upto = part.upto;
      if (part.kind !== "text") nodes.push(this.block(part));
      else if (blocks) { // a block has a distance of its own from the text
        while (at < upto && part.from > 0 && this.text[at] === "\n") at += 1;
        while (upto > at && part.upto < this.text.length && this.text[upto - 1] === "\n") upto -= 1;
      }
      const mine = (insert) => insert.at < part.upto || part === found.at(-1);
      for (; next < inserts.length && mine(inserts[next]); next += 1) {
        const insert = inserts[next];
        if (part.kind === "text" && insert.at > at) nodes.push(this.text.slice(at, insert.at));
        nodes.push(insert.node);
        at = Math.max(at, insert.upto);
      }
      if (part.kind === "text" && at < upto) nodes.push(this.text.slice(at, upto));
    }
    this.element.replaceChildren(...nodes);
  }

  /** A chart or code that is whole is made once, and keeps what people have opened and scrolled. */
  block(part) {
    if (!part.closed) return blockView(part);
    const key = part.from;
    if (!this.blocks.has(key)) this.blocks.set(key, blockView(part));
    return this.blocks.get(key);
  }
}

/** Where the next piece goes: the end of the text, or of the code that is being written. */
function deepest(element) {
  const last = element.lastChild;
  return last instanceof Element && last.matches(".code.open") ? last.querySelector("code").lastChild : last;
}

function seamMark(from, to) {
  return el("span", { class: "seam", role: "note", "aria-label": `Here the answer moved from ${from} to ${to}.`, title: `${from} → ${to}` }, `⇢ ${to}`);
}

function citationButton(source, sentence, citation) {
  const label = `Source ${source.n}: ${source.filename}. Open it where it is cited.`;
  return el("button", { type: "button", class: "cite", "aria-label": label, title: source.filename, onclick: () => openSource(source, sentence, citation) }, source.n);
}
