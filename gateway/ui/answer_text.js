// The text of an answer: as it comes, with the places where another instance went on, and in the end with its citations.
import { el } from "./dom.js";
import { jsonView, parsed } from "./json_view.js";
import { openSource } from "./source_view.js";
import { sentenceBefore } from "./words.js";

export class AnswerText {
  constructor() {
    this.element = el("div", { class: "answer-text" });
    this.text = "";
    this.seams = [];
  }

  push(text) {
    this.text += text;
    const last = this.element.lastChild;
    if (last instanceof Text) last.appendData(text);
    else this.element.append(text);
  }

  /** Another instance goes on here. */
  seam(from, to) {
    this.seams.push({ at: [...this.text].length, from, to });
    this.element.append(seamMark(from, to));
  }

  /** The answer is whole: show it as JSON where it is that, and its citations otherwise. Places are code points, as the gateway counts. */
  finish(sources, citations) {
    const value = parsed(this.text);
    if (value !== undefined) {
      this.element.replaceChildren(...this.seams.map(({ from, to }) => seamMark(from, to)), jsonView(value));
      return;
    }
    const characters = [...this.text];
    const inserts = this.seams.map(({ at, from, to }) => ({ at, upto: at, node: seamMark(from, to) }));
    const seen = new Set();
    for (const citation of citations) {
      const source = sources.find((each) => each.n === citation.n);
      const marked = citation.by === "mark";
      const at = marked ? citation.start_index : citation.end_index;
      if (!source || seen.has(`${at}/${citation.n}`)) continue;
      seen.add(`${at}/${citation.n}`);
      const sentence = marked ? sentenceBefore(characters, citation.start_index) : characters.slice(citation.start_index, citation.end_index).join("").trim();
      if (!marked && !/\p{L}/u.test(sentence)) continue; // the number of an item is no statement
      inserts.push({ at, upto: marked ? citation.end_index : at, node: citationButton(source, sentence, citation) });
    }
    inserts.sort((a, b) => a.at - b.at);
    const nodes = [];
    let at = 0;
    for (const insert of inserts) {
      if (insert.at > at) nodes.push(characters.slice(at, insert.at).join(""));
      nodes.push(insert.node);
      at = Math.max(at, insert.upto);
    }
    nodes.push(characters.slice(at).join(""));
    this.element.replaceChildren(...nodes);
  }
}

function seamMark(from, to) {
  return el("span", { class: "seam", role: "note", "aria-label": `Here the answer moved from ${from} to ${to}.`, title: `${from} → ${to}` }, `⇢ ${to}`);
}

function citationButton(source, sentence, citation) {
  const label = `Source ${source.n}: ${source.filename}. Open it where it is cited.`;
  return el("button", { type: "button", class: "cite", "aria-label": label, title: source.filename, onclick: () => openSource(source, sentence, citation) }, source.n);
}
