// A passage that an answer stands on, opened where it is cited.
import { el } from "./dom.js";
import { count } from "./format.js";
import { openPanel } from "./panel.js";
import { cited } from "./words.js";

/** sentence: of the answer; empty to see the passage alone. citation: what the gateway says of it, where there is one. */
export function openSource(source, sentence, citation = null) {
  const pages = source.page ? `page ${source.page}${source.last_page && source.last_page !== source.page ? `–${source.last_page}` : ""}` : null;
  const facts = [
    ["Place", [pages, `characters ${count(source.start)}–${count(source.end)}`].filter(Boolean).join(", ")],
    ["Score", source.score?.toFixed(2)],
    ["Checked", citation === null ? null : { true: "it stands in the file, there", false: "it does not stand in the file" }[citation.verified] ?? "nobody could look"],
    ["Words in common", citation?.support === null || citation?.support === undefined ? null : `${Math.round(citation.support * 100)} % of the sentence’s`],
  ].filter(([, value]) => value);
  const parts = cited(source.text, sentence).map((part) => {
    if (!part.cited) return part.text;
    return part.word ? el("mark", { class: "word" }, part.text) : el("mark", {}, part.text);
  });
  openPanel(
    `${source.n} · ${source.filename}`,
    sentence ? el("blockquote", { class: "said" }, el("span", { class: "hint" }, "The answer says"), el("br"), sentence) : "",
    el("p", { class: "passage", tabindex: "0", role: "group", "aria-label": "Passage" }, parts),
    el("dl", { class: "facts" }, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])),
  );
}
