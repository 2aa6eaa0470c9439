// Tenants, their limits, and what they used.
import { get, poll } from "./api.js";
import { banner, el, show, svg } from "./dom.js";
import { failed } from "./fleet.js";
import { clock, count, day } from "./format.js";
import { LiveTable } from "./table.js";

const HOURS = 24;

export const title = "Tenants";

/** The page; it ends with `signal`. */
export function page(signal) {
  let seenAt = 0;
  const chart = el("figure", { class: "chart" });
  const table = new LiveTable("Tenants", [
    { title: "Tenant", cell: (row) => el("span", {}, el("b", {}, row.name), row.suspended ? el("span", { class: "state ejected" }, " suspended") : "") },
    { title: "Requests today", number: true, cell: (row) => count(row.requests) },
    { title: "Tokens read", number: true, cell: (row) => count(row.read) },
    { title: "Tokens written", number: true, cell: (row) => count(row.written) },
    { title: "Weight", number: true, cell: (row) => row.weight ?? "–" },
    { title: "Limits", cell: (row) => el("small", {}, Object.entries(row.limits ?? {}).map(([name, value]) => `${name.replaceAll("_", " ")}: ${count(value)}`).join(", ") || "none") },
    { title: "Since", cell: (row) => (row.created_at ? day(row.created_at) : "by configuration") },
  ], (row) => row.name, "There are none yet: `ragfleet tenant create NAME`.");

  async function look() {
    try {
      const [known, today, hours] = await Promise.all([
        get("admin", "/admin/tenants"), get("admin", "/admin/usage?bucket_width=1d&limit=1&group_by=tenant"), get("admin", `/admin/usage?bucket_width=1h&limit=${HOURS}`),
      ]);
      if (signal.aborted) return;
      banner("");
      seenAt = Date.now();
      const rows = new Map(known.data.map((each) => [each.name, { ...each, requests: 0, read: 0, written: 0 }]));
      for (const result of today.data.flatMap((bucket) => bucket.results)) {
        const row = rows.get(result.tenant) ?? { name: result.tenant, requests: 0, read: 0, written: 0 };
        rows.set(result.tenant, { ...row, requests: row.requests + result.num_model_requests, read: row.read + result.input_tokens, written: row.written + (result.output_tokens ?? 0) });
      }
      table.update([...rows.values()].sort((a, b) => b.read + b.written - a.read - a.written || a.name.localeCompare(b.name)));
      draw(chart, hours.data);
    } catch (error) {
      if (!signal.aborted) failed(error, seenAt);
    }
  }

  poll(10, signal, look);
  return el("div", {}, chart, table.element);
}

function draw(figure, buckets) {
  const tokens = buckets.map((bucket) => bucket.results.reduce((sum, each) => sum + each.input_tokens + (each.output_tokens ?? 0), 0));
  const top = Math.max(1, ...tokens);
  const bars = tokens.map((value, index) => {
    const height = (56 * value) / top;
    const bar = svg("rect", { x: index * 10 + 1, y: 58 - height, width: 8, height: Math.max(height, 0.5) });
    bar.append(svg("title"));
    bar.firstChild.textContent = `${clock(buckets[index].start_time)}: ${count(value)} tokens`;
    return bar;
  });
  const words = `Tokens of the last ${HOURS} hours, all tenants: ${count(tokens.reduce((sum, value) => sum + value, 0))}; ${count(top > 1 ? top : 0)} in the busiest hour.`;
  show(figure, svg("svg", { viewBox: `0 0 ${HOURS * 10} 58`, preserveAspectRatio: "none", role: "img", "aria-label": words }, ...bars), el("figcaption", { class: "hint" }, words));
}
