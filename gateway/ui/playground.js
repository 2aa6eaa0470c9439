// Ask the fleet, with or without the knowledge base, and see which instance answers.
import { get } from "./api.js";
import { announce, el } from "./dom.js";
import { ask as askForKeys, key } from "./keys.js";
import { closePanel } from "./panel.js";
import { Turn } from "./turn.js";

const ALL = "rag";
const option = (value, words = value) => el("option", { value }, words);

export const title = "Playground";

/** The page; it ends with `signal`. */
export function page(signal) {
  const field = (id, label, control) => el("div", { class: "field" }, el("label", { for: id }, label), control);
  const model = el("select", { id: "model", onchange: chosen, "aria-describedby": "model-hint" });
  const store = el("select", { id: "store" });
  const purpose = el("p", { class: "hint", id: "model-hint" });
  const system = el("textarea", { id: "system", rows: "3", maxlength: "20000" });
  const tokens = el("input", { id: "tokens", type: "number", min: "1", max: "32768", value: "256", inputmode: "numeric" });
  const warmth = el("input", { id: "temperature", type: "number", min: "0", max: "2", step: "0.1", placeholder: "default", inputmode: "decimal" });
  const more = el("textarea", { id: "more", rows: "5", spellcheck: "false", placeholder: '{"response_format": {"type": "json_object"}}', "aria-describedby": "more-hint" });
  const question = el("textarea", { id: "question", rows: "3", required: true, placeholder: "Ask something", "aria-describedby": "question-hint" });
  const send = el("button", { type: "submit", class: "main" }, "Ask");
  const stop = el("button", { type: "button", disabled: true, onclick: () => running?.abort() }, "Stop");
  const fresh = el("button", { type: "button", class: "quiet", onclick: restart }, "New conversation");
  const turns = el("section", { class: "turns", "aria-label": "Conversation" });
  const wrong = el("p", { class: "failed", role: "alert", hidden: true });
  let messages = [];
  let running = null;
  let assistants = new Map();
  let stores = [];
  let everything = false; // whether all stores can be asked at once

  question.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  const form = el("form", { class: "ask", onsubmit: submit },
    el("label", { for: "question", class: "unseen" }, "Question"), question,
    el("div", { class: "buttons" }, send, stop, fresh, el("span", { class: "hint", id: "question-hint" }, "Enter asks, Shift+Enter begins a line")), wrong);
  const settings = el("section", { class: "settings", "aria-label": "Settings" },
    el("div", { class: "field" }, el("label", { for: "model" }, "Model"), model, purpose), field("store", "Knowledge", store), field("system", "System prompt", system),
    el("div", { class: "pair" }, field("tokens", "Tokens at most", tokens), field("temperature", "Temperature", warmth)),
    el("details", {}, el("summary", {}, "More parameters"), field("more", "JSON, as the API takes it", more),
      el("p", { class: "hint", id: "more-hint" }, "For example tools, response_format, seed, stop.")));

  function body() {
    const extra = more.value.trim() ? JSON.parse(more.value) : {};
    if (typeof extra !== "object" || extra === null || Array.isArray(extra)) throw new SyntaxError("it is no object");
    const asked = {
      model: store.value === ALL ? ALL : model.value,
      ...(tokens.value === "" ? {} : { max_tokens: Number(tokens.value) || 256 }),
      ...(warmth.value === "" ? {} : { temperature: Number(warmth.value) }),
      ...extra,
      messages: [...(system.value.trim() ? [{ role: "system", content: system.value }] : []), ...messages],
      stream: true,
      stream_options: { include_usage: true, include_attempts: true },
    };
    if (store.value && store.value !== ALL) asked.tools = [{ type: "file_search", vector_store_ids: [store.value] }, ...(extra.tools ?? [])];
    return asked;
  }

  async function submit(event) {
    event.preventDefault();
    const words = question.value.trim();
    if (!words || running) return;
    question.value = "";
    await answer([{ role: "user", content: words }], words);
  }

  async function answer(added, words) {
    const before = messages;
    messages = [...messages, ...added];
    let asked;
    try {
      asked = body();
    } catch (error) {
      messages = before;
      question.value = words ?? "";
      wrong.hidden = false;
      wrong.textContent = `“More parameters” cannot be read as JSON: ${error.message}`;
      return;
    }
    wrong.hidden = true;
    const turn = new Turn(words, (results) => answer(results, null));
    turns.append(turn.element);
    turn.element.scrollIntoView({ block: "end" });
    running = new AbortController();
    stop.disabled = false;
    send.disabled = true;
    announce("Asked.");
    const message = await turn.ask(asked, running.signal);
    messages = message ? [...messages, message] : before;
    running = null;
    stop.disabled = true;
    send.disabled = false;
  }

  function restart() {
    running?.abort();
    messages = [];
    turns.replaceChildren();
    closePanel();
    question.focus();
  }

  /** A model answers from the store that is chosen; an assistant as its profile says, where nothing else is. */
  function chosen() {
    const assistant = assistants.get(model.value);
    const choices = assistant ? [option("", assistant.knowledge ? "Its own" : "None")] : [option("", "None: the model alone"), ...(everything ? [option(ALL, "All stores")] : [])];
    store.replaceChildren(...choices, ...(assistant && !assistant.knowledge ? [] : stores.map((name) => option(name))));
    store.disabled = Boolean(assistant) && !assistant.knowledge;
    if (!assistant && stores.length) store.value = stores[0];
    tokens.placeholder = assistant ? "its own" : "default";
    tokens.value = assistant ? "" : tokens.value || "256";
    const example = assistant?.example;
    const use = () => {
      question.value = example;
      question.focus();
    };
    purpose.replaceChildren(...(assistant ? [assistant.description, example ? el("button", { type: "button", class: "link", onclick: use }, `Example: ${example}`) : ""] : []));
  }

  async function fill() {
    try {
      const { data } = await get("user", "/v1/models");
      const chats = data.filter((each) => each.type === "chat");
      assistants = new Map(chats.filter((each) => each.assistant).map((each) => [each.id, each.assistant]));
      stores = chats.filter((each) => each.id.startsWith("rag:")).map((each) => each.id.slice(4));
      const plain = chats.filter((each) => each.id !== ALL && !each.id.startsWith("rag:") && !each.assistant);
      model.replaceChildren(...plain.map((each) => option(each.id)), el("optgroup", { label: "Assistants" }, [...assistants.keys()].map((id) => option(id, id.replace(/^assistant:/, "")))));
      everything = chats.some((each) => each.id === ALL);
      chosen();
    } catch (error) {
      if (signal.aborted) return;
      model.replaceChildren();
      store.replaceChildren();
      wrong.hidden = false;
      const needed = error.status === 401 && !key("user");
      wrong.textContent = error.status ? error.message : "The gateway does not answer.";
      if (needed) askForKeys();
    }
  }

  signal.addEventListener("abort", () => running?.abort());
  fill();
  return el("div", { class: "playground" }, settings, el("div", { class: "talk" }, turns, form));
}
