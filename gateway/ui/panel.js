// The panel beside the page: a source, a request, a store. Escape closes it, and gives the focus back.
import { el } from "./dom.js";

let opener = null;

export function openPanel(title, ...content) {
  const before = document.getElementById("panel");
  if (!before) opener = document.activeElement;
  const heading = el("h2", { tabindex: "-1", id: "panel-title" }, title);
  const close = el("button", { type: "button", class: "quiet", onclick: closePanel }, "Close");
  const panel = el("aside", { id: "panel", "aria-labelledby": "panel-title" }, el("div", { class: "panel-head" }, heading, close), ...content);
  panel.addEventListener("keydown", (event) => {
    if (event.key === "Escape") closePanel();
  });
  if (before) before.replaceWith(panel);
  else document.getElementById("main").after(panel);
  document.body.classList.add("with-panel");
  heading.focus({ preventScroll: true });
  panel.querySelector("mark")?.scrollIntoView({ block: "center" });
  return panel;
}

export function closePanel() {
  const panel = document.getElementById("panel");
  if (!panel) return;
  panel.remove();
  document.body.classList.remove("with-panel");
  if (opener?.isConnected) opener.focus();
  opener = null;
}
