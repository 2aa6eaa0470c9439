// Calls of functions that an answer wants made, and a place for what they gave.
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

/** onResults is called with the messages of the tools. */
export function callsView(calls, onResults) {
  const boxes = calls.map((call, index) => {
    const value = parsed(call.function.arguments);
    const id = `result-${call.id || index}`;
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
  } }, boxes, el("button", { type: "submit" }, "Send the results"));
  return form;
}
