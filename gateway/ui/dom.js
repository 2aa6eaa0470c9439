// Elements out of data. Text becomes text nodes, never markup; the page's policy (Trusted Types) would refuse anything else.

/** el("button", {type: "button", onclick}, "Save"): properties starting with "on" are listeners, the others attributes; false and null leave one out. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  set(made, attributes);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false).map(node));
  return made;
}

export function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  set(made, attributes);
  made.append(...children);
  return made;
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value === true ? "" : value);
  }
}

const node = (child) => (child instanceof Node ? child : document.createTextNode(String(child)));

/** Replace what is in an element, unless it is the same text already: selections and screen readers are left alone. */
export function show(element, ...children) {
  if (children.length === 1 && !(children[0] instanceof Node)) {
    if (element.textContent !== String(children[0])) element.textContent = String(children[0]);
    return;
  }
  element.replaceChildren(...children.map(node));
}

let said = "";
/** Tell screen readers, politely. */
export function announce(text) {
  if (text === said) return;
  said = text;
  document.getElementById("status").textContent = text;
}

/** A line across the page while something is wrong; an empty one takes it away. */
export function banner(text) {
  const line = document.getElementById("banner");
  line.hidden = !text;
  if (line.textContent !== text) line.textContent = text;
}
