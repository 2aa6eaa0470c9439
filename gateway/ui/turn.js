// One question and its answer, while it comes and when it is whole.
import { chat } from "./api.js";
import { AnswerText } from "./answer_text.js";
import { announce, el } from "./dom.js";
import { cause, count, ms, rate } from "./format.js";
import { openSource } from "./source_view.js";
import { callsView, gather } from "./tool_calls.js";

const MOST_STEPS = 8; // of an assistant that are shown beside those that moved
/** Whether an instance's part ended before its time. */
const moved = (attempt) => Boolean(attempt?.cause) && attempt.cause !== "end";

export class Turn {
  /** onResults: see callsView. */
  constructor(question, onResults) {
    this.onResults = onResults;
    this.text = new AnswerText();
    this.sources = [];
    this.calls = [];
    this.pieces = 0;
    this.attempts = [];
    this.trail = el("ol", { class: "trail", "aria-label": "Instances that work on this answer" });
    this.sourceList = el("ul", { class: "sources", "aria-label": "Sources" });
    this.facts = el("p", { class: "hint figures" });
    this.answer = el("div", { class: "answer", "aria-live": "polite", "aria-busy": "true" }, this.text.element);
    this.element = el("article", { class: "turn", "aria-label": "Question and answer" },
      question === null ? "" : el("p", { class: "question" }, question), this.trail, this.sourceList, this.answer, this.facts);
  }

  /** Ask, and show what comes. Gives the assistant's message, or null where it failed or was stopped. */
  async ask(body, signal) {
    this.begun = performance.now();
    try {
      for await (const event of chat(body, signal)) this.take(event);
      this.text.finish(this.sources, this.citations ?? []);
      if (this.calls.length) this.answer.append(callsView(this.calls, this.onResults));
      this.showFigures();
      announce(`The answer is complete, ${count(this.usage?.completion_tokens ?? this.pieces)} tokens.`);
      const message = { role: "assistant", content: this.text.text || null };
      if (this.calls.length) message.tool_calls = this.calls;
      return message;
    } catch (error) {
      const words = signal.aborted ? "Stopped." : error.status === undefined && error instanceof TypeError ? "The gateway does not answer." : error.message;
      this.answer.append(el("p", { class: signal.aborted ? "hint" : "failed" }, words));
      announce(words);
      return null;
    } finally {
      this.answer.setAttribute("aria-busy", "false");
      this.element.classList.add("over");
    }
  }

  take(event) {
    if (event.requestId) this.requestId = event.requestId;
    if (event.rag?.sources) this.showSources(event.rag);
    if (event.rag?.citations) this.citations = event.rag.citations;
    if (event.usage) this.usage = event.usage;
    if (event.ragfleet?.attempts) this.showAttempts(event.ragfleet.attempts);
    const choice = event.choices?.[0];
    if (!choice) return;
    if (choice.delta.tool_calls) gather(this.calls, choice.delta.tool_calls);
    if (choice.delta.reasoning_content) this.think(choice.delta.reasoning_content);
    if (choice.delta.content) {
      this.firstAt ??= performance.now();
      this.lastAt = performance.now();
      this.pieces += 1;
      this.text.push(choice.delta.content);
    }
    if (choice.finish_reason) this.reason = choice.finish_reason;
  }

  think(text) {
    if (!this.thoughts) {
      this.thoughts = el("p");
      this.answer.before(el("details", { class: "thoughts" }, el("summary", {}, "Thoughts"), this.thoughts));
    }
    this.thoughts.append(text);
  }

  showSources(rag) {
    this.sources = rag.sources;
    const items = rag.sources.map((source) =>
      el("li", {}, el("button", { type: "button", class: "source", onclick: () => openSource(source, "") }, el("b", {}, source.n), ` ${source.filename}`)));
    this.sourceList.replaceChildren(...items);
    if (!items.length) this.facts.textContent = rag.unavailable ? "The knowledge base is away: answered without it." : "Nothing relevant was found.";
  }

  showAttempts(attempts) {
    const known = this.attempts;
    this.attempts = attempts;
    const now = attempts.at(-1);
    const last = known.at(-1);
    const lost = known.length ? attempts[known.length - 1] : null;
    // An assistant's steps follow each other without a loss, and are told when they are over.
    if (last?.cause === "" && attempts.length > known.length && moved(lost)) {
      if (lost.tokens) this.text.seam(lost.instance, now.instance);
      this.gap = performance.now() - (this.lastAt ?? this.begun);
      announce(`The answer moved from ${lost.instance} to ${now.instance}, since ${cause(lost.cause)}.`);
    }
    const quiet = attempts.filter((attempt, index) => !moved(attempt) && !moved(attempts[index - 1])).slice(0, -MOST_STEPS);
    const items = attempts.map((attempt, index) => {
      if (quiet.includes(attempt)) return null;
      const ended = moved(attempt);
      const words = attempt.cause === "" ? "answers" : attempt.cause === "end" ? `${count(attempt.tokens)} tokens, ${ms(attempt.ms)}` : `${count(attempt.tokens)} tokens, then ${cause(attempt.cause)}`;
      const gap = index && attempts.length - 1 === index && this.gap !== undefined ? `, ${ms(this.gap)} later` : "";
      const state = ended ? "lost" : attempt.cause === "" ? "works" : "whole";
      return el("li", { class: moved(attempts[index - 1]) ? `${state} taken` : state, title: attempt.placement }, el("b", {}, attempt.instance), ` ${words}${gap}`);
    });
    const earlier = quiet.length ? [el("li", { class: "whole" }, `${count(quiet.length)} earlier steps`)] : [];
    this.trail.replaceChildren(...earlier, ...items.filter(Boolean));
  }

  showFigures() {
    const tokens = this.usage?.completion_tokens ?? this.pieces;
    const took = (this.lastAt - this.firstAt) / 1000;
    const facts = [
      this.firstAt === undefined ? null : `first token ${ms(this.firstAt - this.begun)}`,
      this.usage ? `${count(this.usage.prompt_tokens)} tokens read, ${count(tokens)} written` : null,
      took > 0 && tokens > 1 ? `${rate((tokens - 1) / took)} tokens/s` : null,
      this.reason === "length" ? "cut off at its limit" : null,
      this.requestId,
    ].filter(Boolean);
    if (!this.facts.textContent || facts.length) this.facts.append(this.facts.textContent ? " " : "", facts.join(" · "));
  }
}
