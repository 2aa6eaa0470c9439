// The instances as they are now, what they carry, and answers that move between them.
import { get, poll } from "./api.js";
import { announce, banner, el, show, svg } from "./dom.js";
import { bytes, cause, clock, count, ms, NONE, percent, rate, seconds } from "./format.js";
import { ask as askForKeys, key } from "./keys.js";
import { openRequest } from "./request_view.js";
import { LiveTable } from "./table.js";

const KEPT = 60;

export const title = "Fleet";

/** The page; it ends with `signal`. */
export function page(signal) {
  const speeds = new Map();
  const states = new Map();
  let all = 0;
  let seenAt = 0;
  const summary = el("dl", { class: "summary" });
  const instances = new LiveTable("Instances", [
    { title: "Instance", cell: (row) => el("span", {}, el("b", {}, row.name), el("br"), state(row)) },
    { title: "Model", cell: (row) => lines(row.model, [row.flavour, row.device, row.version].filter(Boolean).join(" · ")) },
    { title: "Queue", cell: (row) => withBar(queue(row), row.load?.active, row.slots) },
    { title: "KV cache", cell: (row) => withBar(row.load?.kv_max_blocks ? percent(row.load.kv_used_blocks / row.load.kv_max_blocks) : NONE, row.load?.kv_used_blocks, row.load?.kv_max_blocks) },
    { title: "GPU", cell: gpu },
    { title: "Speed", number: true, cell: (row) => el("span", {}, sparkline(speeds.get(row.name)?.rates ?? []), el("br"), `${rate(speeds.get(row.name)?.rates.at(-1) ?? 0)} tokens/s`, row.step_ms ? el("small", {}, ` ${Math.round(row.step_ms)} ms each`) : "") },
    { title: "Share", number: true, cell: (row) => lines(all ? percent(row.tokens / all) : NONE, `${count(row.tokens)} tokens`) },
    { title: "Trust", cell: (row) => lines(row.outlier.state, row.outlier.remaining_s > 0 ? `tried again in ${seconds(row.outlier.remaining_s)}` : row.outlier.ejections ? `${row.outlier.ejections} ejections` : "") },
    { title: "Placed last because", cell: (row) => el("small", { class: "reason" }, row.last_placement || NONE) },
  ], (row) => row.name, "No instance is registered in Consul. `ragfleet up` starts some; a worker registers its Triton when it is ready.");
  const moves = new LiveTable("Answers that moved", [
    { title: "Request", cell: (row) => row.request_id },
    { title: "When", cell: (row) => clock(row.began_at) },
    { title: "Tenant", cell: (row) => row.tenant },
    { title: "From", cell: (row) => row.attempts.filter((each) => each.cause && each.cause !== "end").map((each) => `${each.instance} after ${count(each.tokens)} tokens: ${cause(each.cause)}`).join("; ") },
    { title: "To", cell: (row) => row.attempts.at(-1).instance },
    { title: "From loss to next token", number: true, cell: (row) => ms(gap(row.attempts)) },
    { title: "Outcome", cell: (row) => (row.status === 0 ? "goes on" : row.status === 200 ? "whole" : `failed, ${row.status}`) },
  ], (row) => row.request_id + row.began_at, "None has moved since this gateway began, or the last ones are forgotten.", openRequest);
  const gateways = new LiveTable("Gateways", [
    { title: "Gateway", cell: (row) => (row.this ? `${row.id} (this one)` : row.id) },
    { title: "Last sign of life", cell: (row) => (row.this ? "now" : `${seconds(Math.max(0, Date.now() / 1000 - row.seen_at))} ago`) },
  ], (row) => row.id, "The catalog is away, so the others are not known.");

  async function look() {
    try {
      const [fleet, moved] = await Promise.all([get("admin", "/admin/fleet"), get("admin", "/admin/answers?moved=true&limit=20")]);
      if (signal.aborted) return;
      banner("");
      seenAt = Date.now();
      measure(fleet.instances);
      all = fleet.instances.reduce((sum, each) => sum + each.tokens, 0);
      instances.update(fleet.instances);
      moves.update(moved.data.filter((each) => each.attempts.length));
      gateways.update(fleet.gateways);
      summarize(fleet);
    } catch (error) {
      if (!signal.aborted) failed(error, seenAt);
    }
  }

  function measure(rows) {
    const now = performance.now();
    for (const row of rows) {
      const before = speeds.get(row.name);
      const rates = before ? [...before.rates, Math.max(0, row.tokens - before.tokens) / Math.max(0.001, (now - before.at) / 1000)].slice(-KEPT) : [];
      speeds.set(row.name, { tokens: row.tokens, at: now, rates });
      if (states.has(row.name) && states.get(row.name) !== row.state) announce(`${row.name} is ${row.state}. ${row.reason}`);
      states.set(row.name, row.state);
    }
  }

  function summarize(fleet) {
    const ready = fleet.instances.filter((each) => each.state === "ready").length;
    const speed = fleet.instances.reduce((sum, each) => sum + (speeds.get(each.name)?.rates.at(-1) ?? 0), 0);
    const consul = fleet.consul_alive ? `answered ${seconds(fleet.consul_age_s)} ago` : fleet.consul_age_s === null ? "never answered" : `silent for ${seconds(fleet.consul_age_s)}`;
    const facts = [
      ["Instances", `${ready} of ${fleet.instances.length} ready`], ["Answers", `${count(fleet.answers_running)} run, ${count(fleet.admission.waiting)} wait`],
      ["Speed", `${rate(speed)} tokens/s`], ["Consul", consul], ["Placement", fleet.policy], ["Gateway up for", seconds(Date.now() / 1000 - fleet.gateway.started_at)],
    ];
    if (summary.childElementCount !== facts.length) summary.replaceChildren(...facts.map(([name]) => el("div", {}, el("dt", {}, name), el("dd"))));
    facts.forEach(([, value], index) => show(summary.children[index].lastChild, value));
    summary.classList.toggle("alarm", !fleet.consul_alive || ready === 0);
  }

  poll(1, signal, look);
  return el("div", {}, summary, instances.element, el("h2", {}, "Moves"), moves.element, el("h2", {}, "Gateways"), gateways.element);
}

/** What a page of the administrator's shows where it cannot see. */
export function failed(error, seenAt) {
  if (error.status === 401 && !key("admin")) askForKeys();
  const words = error.status === undefined ? "The gateway does not answer." : error.message;
  banner(seenAt ? `${words} What you see is ${seconds((Date.now() - seenAt) / 1000)} old.` : words);
}

function state(row) {
  return el("span", { class: `state ${row.state}` }, row.state, row.reason ? el("small", { class: "reason" }, ` ${row.reason}`) : "");
}

const lines = (first, second) => el("span", {}, first, el("br"), el("small", {}, second));

function queue(row) {
  if (row.load?.active === null || row.load?.active === undefined) return `not told / ${row.slots} slots`;
  return `${row.load.active} of ${row.slots} slots${row.load.waiting ? `, ${row.load.waiting} wait` : ""}`;
}

function withBar(words, used, most) {
  const filled = el("i");
  filled.style.width = `${Math.min(100, most ? (100 * (used ?? 0)) / most : 0)}%`;
  return el("span", {}, words, el("span", { class: "bar", "aria-hidden": "true" }, filled));
}

function gpu(row) {
  if (!row.load?.gpu_memory_total_bytes) return NONE;
  const { gpu_memory_used_bytes: used, gpu_memory_total_bytes: total, gpu_utilization: busy } = row.load;
  return withBar(`${busy === null ? "" : `${percent(busy)} busy, `}${bytes(used)} of ${bytes(total)}`, used, total);
}

/** Milliseconds from the end of one part to the first token of the next, of all moves together; null while that has not come. */
function gap(attempts) {
  const gaps = attempts.slice(1).map((each, index) => (each.first_token_ms === null ? null : each.started + each.first_token_ms - attempts[index].started - attempts[index].ms));
  return gaps.includes(null) ? null : gaps.reduce((sum, each) => sum + Math.max(0, each), 0);
}

function sparkline(rates) {
  const top = Math.max(1, ...rates);
  const points = rates.map((value, index) => `${(index + KEPT - rates.length).toFixed(0)},${(14 - (13 * value) / top).toFixed(1)}`).join(" ");
  return svg("svg", { class: "spark", viewBox: `0 0 ${KEPT} 15`, preserveAspectRatio: "none", "aria-hidden": "true" }, svg("polyline", { points }));
}
