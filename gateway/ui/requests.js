// The requests of this gateway: those that run, and the last ones that ended.
import { get, poll } from "./api.js";
import { banner, el } from "./dom.js";
import { failed } from "./fleet.js";
import { clock, count, ms, NONE } from "./format.js";
import { openRequest } from "./request_view.js";
import { LiveTable } from "./table.js";

export const title = "Requests";

/** The page; it ends with `signal`. */
export function page(signal) {
  let seenAt = 0;
  const outcome = (row) => (row.status === 0 ? "runs" : row.status === 200 ? "whole" : row.status === 499 ? "the client left" : `refused or failed, ${row.status}`);
  const table = new LiveTable("Requests", [
    { title: "Request", cell: (row) => row.request_id },
    { title: "Began", cell: (row) => clock(row.began_at) },
    { title: "Tenant", cell: (row) => row.tenant },
    { title: "Model", cell: (row) => row.model },
    { title: "Instances", cell: (row) => row.attempts.map((each) => each.instance).join(" ⇢ ") || NONE },
    { title: "First token", number: true, cell: (row) => ms(row.stages.first_token) },
    { title: "Tokens", number: true, cell: (row) => count(row.usage.completion_tokens) },
    { title: "Time", number: true, cell: (row) => ms(row.stages.ended) },
    { title: "Outcome", cell: outcome },
  ], (row) => row.request_id + row.began_at, "Nobody has asked yet.", openRequest);
  poll(1, signal, async () => {
    try {
      const { data } = await get("admin", "/admin/answers?limit=50");
      if (signal.aborted) return;
      banner("");
      seenAt = Date.now();
      table.update(data);
    } catch (error) {
      if (!signal.aborted) failed(error, seenAt);
    }
  });
  return el("div", {}, el("p", { class: "hint" }, "The newest first; no text of them is kept. Open one to see where its time went."), table.element);
}
