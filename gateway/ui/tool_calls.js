// Calls of functions that an answer wants made, and a place for what they gave. A person who is called is shown as that.
import { el } from "./dom.js";
import { jsonView, parsed } from "./json_view.js";

/** Add what a chunk says of calls to those that there are. */
export function gather(calls, parts) {
  for (const part of parts) {
    const call = (calls[part.index] ??= { id: "", type: "function", function: { name: "", arguments: "" } });
    call.id = part.id ?? call.id;
    call.function.name += part.function?.name ?? "";
    call.function.arguments += part.function?.arguments ?? "";
  }
}

const REASONS = { request: "the customer asked for one", anger: "the customer is angry", unsupported: "the documents did not answer twice" };

/** onResults is called with the messages of the tools. */
export function callsView(calls, onResults) {
  const boxes = calls.map((call, index) => {
    const value = parsed(call.function.arguments);
    const id = `result-${call.id || index}`;
    if (call.function.name === "handover" && value?.message) return handoverView(call, value);
    return el("section", { class: "call", "aria-label": `Call of ${call.function.name}` },
      el("p", {}, el("span", { class: "hint" }, "calls "), el("code", {}, call.function.name)),
      value === undefined ? el("pre", { class: "json", tabindex: "0" }, call.function.arguments) : jsonView(value),
      el("label", { for: id }, "Its result"),
      el("textarea", { id, rows: "2", "data-call": call.id }));
  });
  const form = el("form", { class: "calls", onsubmit: (event) => {
    event.preventDefault();
    for (const part of form.elements) part.disabled = true;
    onResults([...form.querySelectorAll("textarea")].map((area) => ({ role: "tool", tool_call_id: area.dataset.call, content: area.value })));
  } }, boxes, el("button", { type: "submit" }, calls.every((call) => call.function.name === "handover") ? "Say that somebody comes" : "Send the results"));
  return form;
}

/** The customer service's call of a person: what the customer is told, why, and what the person is given. */
function handoverView(call, { message, reason, summary }) {
  return el("section", { class: "call handover", "aria-label": "Hand-over to a person" },
    el("p", {}, message),
    el("p", { class: "hint" }, `A person is called: ${REASONS[reason] ?? reason ?? "no reason is given"}.`),
    summary ? el("details", { open: true }, el("summary", {}, "What the person is told"), el("p", { class: "told" }, summary)) : "",
    el("textarea", { hidden: true, "data-call": call.id }, "A person is told and comes."));
}
