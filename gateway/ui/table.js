// A table whose rows are kept while their cells change, so that focus, selection and screen readers keep their place.
// Roles are named, for browsers forget them where a style makes cards of the rows.
import { el, show } from "./dom.js";

/** columns: {title, number?, cell(row) → text or Node}. On narrow screens each row becomes a card, with the titles beside the cells. */
export class LiveTable {
  constructor(caption, columns, keyOf, empty, onOpen = null) {
    this.columns = columns;
    this.keyOf = keyOf;
    this.onOpen = onOpen;
    this.rows = new Map();
    this.body = el("tbody", { role: "rowgroup" });
    this.empty = el("p", { class: "hint" }, empty);
    const head = columns.map((column) => el("th", { scope: "col", role: "columnheader", class: column.number ? "number" : false }, column.title));
    this.table = el("table", { role: "table", "aria-label": caption }, el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)), this.body);
    this.element = el("div", { class: "table" }, this.table, this.empty);
    this.update([]);
  }

  update(data) {
    const seen = new Set();
    let place = this.body.firstChild;
    for (const row of data) {
      const key = this.keyOf(row);
      if (seen.has(key)) continue;
      seen.add(key);
      if (!this.rows.has(key)) this.rows.set(key, this.made());
      const { line, cells } = this.rows.get(key);
      this.rows.get(key).row = row;
      this.columns.forEach((column, index) => {
        const value = column.cell(row);
        show(cells[index], value);
      });
      if (line === place) place = place.nextSibling;
      else this.body.insertBefore(line, place);
    }
    for (const [key, { line }] of this.rows) {
      if (seen.has(key)) continue;
      line.remove();
      this.rows.delete(key);
    }
    this.table.hidden = !seen.size;
    this.empty.hidden = Boolean(seen.size);
  }

  made() {
    const kept = { row: null };
    kept.cells = this.columns.map((column, index) => {
      const open = this.onOpen && index === 0;
      return open ? el("button", { type: "button", class: "link", onclick: () => this.onOpen(kept.row) }) : el("span");
    });
    const boxes = this.columns.map((column, index) =>
      el(index ? "td" : "th", { scope: index ? false : "row", role: index ? "cell" : "rowheader", class: column.number ? "number" : false, "data-title": column.title }, kept.cells[index]));
    kept.line = el("tr", { role: "row" }, boxes);
    return kept;
  }
}
