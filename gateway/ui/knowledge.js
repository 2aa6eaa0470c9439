// The stores of a tenant, the files in them, and what was read of each.
import { get, poll } from "./api.js";
import { banner, el } from "./dom.js";
import { bytes, count, day, NONE, seconds } from "./format.js";
import { jsonView } from "./json_view.js";
import { ask as askForKeys, key } from "./keys.js";
import { openPanel } from "./panel.js";
import { LiveTable } from "./table.js";

export const title = "Knowledge";

/** The page; it ends with `signal`. */
export function page(signal) {
  const queue = el("p", { class: "hint" });
  const files = el("section", { "aria-label": "Files of a store" });
  let chosen = null;
  const stores = new LiveTable("Stores", [
    { title: "Store", cell: (row) => row.name || row.id },
    { title: "Files", number: true, cell: (row) => count(row.file_counts.completed) },
    { title: "Being read", number: true, cell: (row) => count(row.file_counts.in_progress) },
    { title: "Failed", number: true, cell: (row) => count(row.file_counts.failed) },
    { title: "Size", number: true, cell: (row) => bytes(row.usage_bytes) },
    { title: "Since", cell: (row) => day(row.created_at) },
  ], (row) => row.id, "This tenant has none. `ragfleet ingest FOLDER` makes one.", (row) => {
    chosen = row;
    members.update([]);
    files.replaceChildren(el("h2", { tabindex: "-1" }, `Files in ${row.name || row.id}`), members.element);
    files.firstChild.focus();
    look();
  });
  const members = new LiveTable("Files", [
    { title: "File", cell: (row) => row.filename },
    { title: "Status", cell: (row) => el("span", { class: `state ${row.status}` }, row.status.replace("_", " ")) },
    { title: "Size", number: true, cell: (row) => bytes(row.usage_bytes) },
    { title: "What is to know", cell: (row) => el("small", { class: "reason" }, row.last_error?.message ?? row.status_details?.message ?? read(row.receipt)) },
  ], (row) => row.id, "There are no files in it.", (row) => openPanel(row.filename, el("p", { class: "hint" }, row.receipt ? "What was read of it, and what was not." : "It has not been read."), jsonView({ status: row.status, attributes: row.attributes, last_error: row.last_error, receipt: row.receipt })));

  async function look() {
    try {
      const { data } = await get("user", "/v1/vector_stores?limit=100");
      if (signal.aborted) return;
      banner("");
      stores.update(data);
      if (chosen) await list(chosen);
    } catch (error) {
      if (signal.aborted) return;
      if (error.status === 401 && !key("user")) askForKeys();
      banner(error.status === undefined ? "The gateway does not answer." : error.message);
    }
    await tellQueue();
  }

  async function list(store) {
    const [found, named] = await Promise.all([get("user", `/v1/vector_stores/${encodeURIComponent(store.id)}/files?limit=100`), get("user", "/v1/files?limit=1000")]);
    const names = new Map(named.data.map((each) => [each.id, each.filename]));
    if (!signal.aborted && chosen?.id === store.id) members.update(found.data.map((each) => ({ ...each, filename: names.get(each.id) ?? each.id })));
  }

  async function tellQueue() {
    if (!key("admin")) return;
    const fleet = await get("admin", "/admin/fleet").catch(() => null);
    if (!fleet || signal.aborted) return;
    const waits = fleet.ingestion.waits_for.map((each) => `${each.cause} for ${seconds(Date.now() / 1000 - each.since)}: ${each.message}`);
    queue.textContent = `The ingestion of all tenants: ${count(fleet.ingestion.files_waiting)} files wait${waits.length ? `, held up by ${waits.join("; ")}` : ""}.`;
  }

  poll(3, signal, look);
  return el("div", {}, queue, stores.element, files);
}

/** What a receipt comes to, in a line (docs/conversion.md). */
function read(receipt) {
  if (!receipt) return NONE;
  const left = receipt.skipped?.length ?? 0;
  return `${count(receipt.characters)} characters read${left ? `, not all: ${left} ${left === 1 ? "kind" : "kinds"} of parts left out` : ""}`;
}
