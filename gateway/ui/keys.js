// The two keys of this tab, in sessionStorage and nowhere else, and the dialog that asks for them.

const NAMES = { user: "ragfleet.user-key", admin: "ragfleet.admin-key" };
const WITHOUT = "ragfleet.without-key";
const byId = (id) => document.getElementById(id);

export const key = (kind) => sessionStorage.getItem(NAMES[kind]) ?? "";

/** Whether the gateway may be asked: with a key, or without one where the dialog was left empty, as for a gateway that asks for none. */
export const mayAsk = (kind) => Boolean(key(kind)) || sessionStorage.getItem(WITHOUT) === "yes";

function keep(kind, value) {
  if (value) sessionStorage.setItem(NAMES[kind], value);
  else sessionStorage.removeItem(NAMES[kind]);
}

async function opens(path, value) {
  if (!value) return "";
  try {
    // A key with other characters than these can be in no header, so it is nobody's.
    if (!/^[\x21-\x7e]+$/.test(value)) return "This is no key.";
    const response = await fetch(path, { headers: { authorization: `Bearer ${value}` }, signal: AbortSignal.timeout(10000) });
    if (response.ok) return "It opens this page.";
    return (await response.json()).error.message;
  } catch {
    return "The gateway does not answer.";
  }
}

/** Ask for keys. `changed` is called when they are others. */
export function install(changed) {
  const dialog = byId("keys");
  const inputs = { user: byId("user-key"), admin: byId("admin-key") };
  const paths = { user: "/v1/models", admin: "/admin/fleet" };
  byId("keys-button").addEventListener("click", ask);
  byId("keys-close").addEventListener("click", () => dialog.close());
  byId("keys-forget").addEventListener("click", () => {
    for (const kind of Object.keys(inputs)) {
      keep(kind, "");
      inputs[kind].value = "";
      byId(`${kind}-key-opens`).textContent = "";
    }
    sessionStorage.removeItem(WITHOUT);
    changed();
  });
  byId("keys-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const kinds = Object.keys(inputs);
    const said = await Promise.all(kinds.map((kind) => opens(paths[kind], inputs[kind].value.trim())));
    kinds.forEach((kind, index) => {
      const refused = said[index] !== "" && said[index] !== "It opens this page.";
      byId(`${kind}-key-opens`).textContent = said[index];
      inputs[kind].setAttribute("aria-invalid", String(refused));
      keep(kind, refused ? "" : inputs[kind].value.trim());
    });
    sessionStorage.setItem(WITHOUT, kinds.every((kind) => !inputs[kind].value.trim()) ? "yes" : "no");
    changed();
    const wrong = kinds.find((kind) => inputs[kind].getAttribute("aria-invalid") === "true");
    if (wrong) inputs[wrong].focus();
    else dialog.close();
  });
}

/** Open the dialog. */
export function ask() {
  for (const kind of Object.keys(NAMES)) byId(`${kind}-key`).value = key(kind);
  if (!byId("keys").open) byId("keys").showModal();
}
