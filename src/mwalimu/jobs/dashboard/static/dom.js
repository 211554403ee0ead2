// Elements are made of text alone: what a user, a teacher or a student wrote is never read as markup.

const SVG = "http://www.w3.org/2000/svg";

export function el(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, { on = {}, ...attributes } = {}, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  for (const [event, listener] of Object.entries(on)) element.addEventListener(event, listener);
  element.append(...wanted(children));
  return element;
}

export function put(element, ...children) {
  element.replaceChildren(...wanted(children));
  return element;
}

function wanted(children) {
  return children.flat(Infinity).filter((child) => child != null && child !== false);
}

/** What somebody else wrote: its direction of writing does not leak into what stands around it. */
export function said(text, attributes = {}) {
  return el("bdi", attributes, String(text ?? ""));
}

export function link(href, ...children) {
  return el("a", { href }, ...children);
}

/** For screen readers alone. */
export function unseen(...children) {
  return el("span", { class: "unseen" }, ...children);
}

/** Said aloud by a screen reader when it has a moment. */
export function announce(text) {
  document.getElementById("live").textContent = text;
}

/** Calls `act` now and every so many seconds until `signal`; not while nobody looks. */
export async function every(seconds, signal, act) {
  while (!signal.aborted) {
    if (!document.hidden && (await act()) === false) return;
    await pause(seconds, signal);
  }
}

export function pause(seconds, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
  });
}
