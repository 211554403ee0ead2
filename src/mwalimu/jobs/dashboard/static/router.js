// The address after `#` says which page is shown; each is loaded when it is first asked for.

import { signedIn } from "./api.js";
import { el, put } from "./dom.js";
import { t } from "./i18n.js";
import { problem } from "./widgets.js";

export const PAGES = ["jobs", "models", "compare", "playground", "datasets", "submit", "admin"];

let leave = new AbortController();

/** The page, the names after it and what is asked: `#/jobs/NAME/logs?x=1`. */
export function place() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, ...names] = path.split("/").map(decoded);
  return {
    page: PAGES.includes(page) ? page : PAGES[0],
    names,
    query: new URLSearchParams(query),
  };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** An address of the dashboard. */
export function to(names, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== "");
  const path = names.map((name) => encodeURIComponent(name)).join("/");
  return `#/${path}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
}

export function go(names, query) {
  location.hash = to(names, query);
}

/** Shows the page of the address; what the page before still did is stopped. */
export async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const main = document.getElementById("main");
  main.setAttribute("aria-busy", "true");
  const where = place();
  const name = signedIn()
    ? where.page === "jobs" && where.names[0]
      ? "job"
      : where.page
    : "login";
  try {
    const page = await import(`./pages/${name}.js`);
    if (signal.aborted) return;
    put(main);
    await page.show(main, { ...where, signal });
  } catch (error) {
    if (signal.aborted || error.name === "AbortError" || error.status === 401) return;
    main.append(problem(error));
  } finally {
    if (!signal.aborted) main.removeAttribute("aria-busy");
  }
}

/** A page's heading: it names the tab, and reading goes on from it. */
export function heading(text, ...beside) {
  document.title = `${text} · mwalimu`;
  const title = el("h1", { tabindex: "-1" }, el("bdi", {}, text));
  queueMicrotask(() => title.focus({ preventScroll: true }));
  return el("div", { class: "heading" }, title, ...beside);
}

export const pageTitle = (name) => t(`page.${name}`);
