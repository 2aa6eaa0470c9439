// The gateway's own API, with the keys of this tab.
import { key, mayAsk } from "./keys.js";

const SECONDS = 10;

/** What a request was refused with, in the gateway's words. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

function headers(kind) {
  const held = key(kind);
  return held ? { authorization: `Bearer ${held}` } : {};
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  const wait = response.headers.get("retry-after");
  const words = body.error?.message ?? `The gateway answered ${response.status}.`;
  return new Refused(response.status, wait ? `${words} Try again in ${wait} s.` : words);
}

/** GET as JSON. kind: "user" or "admin". Throws Refused, or TypeError where nobody answers. */
export async function get(kind, path) {
  if (!mayAsk(kind)) throw new Refused(401, kind === "admin" ? "An administrator’s key is needed here." : "A key is needed here.");
  const signal = AbortSignal.timeout(SECONDS * 1000);
  const response = await fetch(path, { headers: headers(kind), signal, cache: "no-store" });
  if (!response.ok) throw await refusal(response);
  return response.json();
}

/** POST a streamed chat; gives each event's object, and the request's id first. Throws as `get`, and Refused for an event with an error. */
export async function* chat(body, signal) {
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { ...headers("user"), "content-type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  yield { requestId: response.headers.get("x-request-id") };
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trim()).join("\n");
      if (data === "[DONE]") return;
      if (!data) continue;
      const found = JSON.parse(data);
      if (found.error) throw new Refused(200, found.error.message);
      yield found;
    }
  }
  throw new TypeError("The connection ended before the answer did.");
}

/** Call `look` now and every `seconds` while the page is seen, until `signal`. Looks never overlap. */
export function poll(seconds, signal, look) {
  let timer = 0;
  let looking = false;
  const turn = async () => {
    clearTimeout(timer);
    if (signal.aborted || looking) return;
    if (!document.hidden) {
      looking = true;
      await look();
      looking = false;
    }
    if (!signal.aborted) timer = setTimeout(turn, seconds * 1000);
  };
  document.addEventListener("visibilitychange", turn, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  turn();
}
