// Which words of a passage a sentence of an answer rests on.

const segments = new Intl.Segmenter(undefined, { granularity: "word" });
const COMMON = new Set("a an and are as at be but by can do for from has have if in is it its not of on or that the their there they this to was were what when which will with you your".split(" "));
const SENTENCE = /[^.!?。！？\n]+(?:[.!?。！？]+["'”’)]*|\n|$)/g;

/** {word, from, to} of each word that says something; places are UTF-16 units. */
function words(text) {
  const found = [];
  for (const { segment, index, isWordLike } of segments.segment(text)) {
    const word = segment.toLowerCase();
    if (isWordLike && !COMMON.has(word)) found.push({ word: word.replace(/(?<=\p{L}{3})(?:es|s)$/u, ""), from: index, to: index + segment.length });
  }
  return found;
}

/** The sentence of `characters` (an array of code points) that ends where a mark stands. */
export function sentenceBefore(characters, end) {
  const before = characters.slice(0, end).join("").trimEnd().replace(/(?:\s*\[[\d\s,;]+\])+$/, "").trimEnd();
  const cut = before.slice(0, -1).search(/[.!?。！？\n][^.!?。！？\n]*$/);
  return before.slice(cut + 1).trim();
}

/** The passage in parts {text, cited, word}: the sentence that shares most with `sentence` is `cited`, its shared words are `word`. */
export function cited(passage, sentence) {
  const asked = new Set(words(sentence).map((each) => each.word));
  const sentences = [...passage.matchAll(SENTENCE)].map((match) => ({ from: match.index, to: match.index + match[0].length }));
  const shared = words(passage).filter((each) => asked.has(each.word));
  const score = ({ from, to }) => new Set(shared.filter((each) => each.from >= from && each.to <= to).map((each) => each.word)).size;
  const most = Math.max(0, ...sentences.map(score));
  const best = most ? sentences.find((each) => score(each) === most) : null;
  if (!best) return [{ text: passage, cited: false, word: false }];
  const parts = [{ text: passage.slice(0, best.from), cited: false, word: false }];
  let at = best.from;
  for (const { from, to } of shared) {
    if (from < at || to > best.to) continue;
    parts.push({ text: passage.slice(at, from), cited: true, word: false }, { text: passage.slice(from, to), cited: true, word: true });
    at = to;
  }
  parts.push({ text: passage.slice(at, best.to), cited: true, word: false }, { text: passage.slice(best.to), cited: false, word: false });
  return parts.filter((part) => part.text);
}
