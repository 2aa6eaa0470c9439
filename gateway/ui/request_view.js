// One request: where its time went, and which instances worked on it.
import { el } from "./dom.js";
import { cause, clock, count, ms } from "./format.js";
import { openPanel } from "./panel.js";

export function openRequest(request) {
  const { admitted, prompt_built: built, first_token: first, ended } = request.stages;
  const running = request.attempts.reduce((most, each) => Math.max(most, each.started + each.ms), 0);
  const whole = Math.max(1, ended ?? running);
  const rows = [["Wait for a place", 0, admitted ?? whole, ""]];
  if (admitted !== null) rows.push([request.grounded ? "Search and prompt" : "Prompt", admitted, built ?? whole, ""]);
  for (const each of request.attempts) {
    const words = each.cause === "" ? "runs" : cause(each.cause);
    rows.push([each.instance, each.started, each.started + each.ms, `${count(each.tokens)} tokens, ${words}`, each]);
  }
  const lines = rows.map(([name, from, upto, words, attempt]) => {
    const bar = el("i", { class: attempt && attempt.cause && attempt.cause !== "end" ? "lost" : false });
    bar.style.marginLeft = `${(100 * Math.min(from, whole)) / whole}%`;
    bar.style.width = `${Math.max(0.6, (100 * (Math.min(upto, whole) - from)) / whole)}%`;
    return el("li", {}, el("b", {}, name), el("span", { class: "took" }, ms(upto - from)), el("span", { class: "bar wide", "aria-hidden": "true" }, bar),
      words ? el("small", {}, words) : "", attempt ? el("small", { class: "reason" }, attempt.placement) : "");
  });
  const facts = [
    ["Request", request.request_id], ["Trace", request.trace_id], ["Tenant", request.tenant], ["Route", request.route], ["Model", request.model], ["Began", clock(request.began_at)],
    ["First token", ms(first)], ["Whole", ended === null ? "it runs" : ms(ended)], ["Status", request.status === 0 ? "it runs" : request.status === 499 ? "the client left" : request.status],
    ["Tokens", `${count(request.usage.prompt_tokens)} read, ${count(request.usage.completion_tokens)} written`],
  ].filter(([, value]) => value !== null && value !== "");
  openPanel("Request", el("ol", { class: "waterfall", "aria-label": "Where the time went" }, lines), el("dl", { class: "facts" }, facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])));
}
