// Which page is shown, by the fragment of the address, and the keys that all of them use.
import { banner, el } from "./dom.js";
import * as fleet from "./fleet.js";
import { install } from "./keys.js";
import * as knowledge from "./knowledge.js";
import { closePanel } from "./panel.js";
import * as playground from "./playground.js";
import * as requests from "./requests.js";
import * as tenants from "./tenants.js";

const PAGES = { playground, fleet, requests, tenants, knowledge };
let shown = new AbortController();

function route(moved = true) {
  const name = location.hash.slice(1) in PAGES ? location.hash.slice(1) : "playground";
  shown.abort();
  shown = new AbortController();
  closePanel();
  banner("");
  const { title, page } = PAGES[name];
  document.title = `${title} · Ragfleet`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const heading = el("h1", { tabindex: "-1" }, title);
  document.getElementById("main").replaceChildren(heading, page(shown.signal));
  document.body.dataset.page = name;
  if (moved) heading.focus({ preventScroll: true });
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the fragment names the page
  document.getElementById("main").focus();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.getElementById("keys").open) closePanel();
});
install(() => route(false));
addEventListener("hashchange", () => route());
route(false);
