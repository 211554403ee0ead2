// What several pages are made of.

import { announce, el, put, said } from "./dom.js";
import { named, t } from "./i18n.js";

const MARKS = {
  Queued: "○",
  NotStarted: "○",
  Starting: "◔",
  Preparing: "◔",
  Running: "●",
  Finalizing: "◕",
  Completed: "✓",
  Failed: "✕",
  Canceled: "⊘",
  Paused: "‖",
  CancelRequested: "⊘",
  PauseRequested: "‖",
  NotResponding: "?",
};

/** A state as a mark and a word, never as a colour alone. */
export function badge(state) {
  return el(
    "span",
    { class: `badge ${state in MARKS ? state : ""}` },
    el("span", { "aria-hidden": "true", class: "mark" }, MARKS[state] ?? "?"),
    named("state", state),
  );
}

export function bar(done, total, label) {
  const share = total > 0 ? Math.min(done / total, 1) : null;
  return el("progress", { max: 1, value: share, "aria-label": label });
}

/** What went wrong in the service's words: what, where, what to do. */
export function problem(error) {
  const { what, where, fix } = error;
  const offline = error instanceof TypeError;
  return el(
    "div",
    { class: "problem", role: "alert" },
    el("strong", {}, offline ? t("problem.offline") : said(what || error.message)),
    where && el("span", { class: "where" }, said(where)),
    fix && el("span", { class: "fix" }, said(fix)),
  );
}

/** Does `act` and shows what went wrong in `place`; true if nothing did. */
export async function attempt(place, act) {
  put(place);
  try {
    await act();
    return true;
  } catch (error) {
    if (error.name !== "AbortError") put(place, problem(error));
    return false;
  }
}

/**
 * A table with a caption. `columns` are [title, "" or "number"]; a row is a list of cells. The roles
 * are written out, as a narrow screen shows rows as blocks.
 */
export function table(caption, columns, rows, { wide = false, narrow = "scrolls" } = {}) {
  return el(
    "div",
    { class: `scroll ${narrow}`, tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      { role: "table", class: wide && "wide" },
      el("caption", { class: "unseen" }, caption),
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, columns.map(columnTitle))),
      el(
        "tbody",
        { role: "rowgroup" },
        rows.map((cells) => tableRow(columns, cells)),
      ),
    ),
  );
}

function columnTitle([title, kind = ""]) {
  return el("th", { scope: "col", role: "columnheader", class: kind }, title);
}

export function tableRow(columns, cells) {
  return el(
    "tr",
    { role: "row" },
    cells.map((cell, i) =>
      el("td", { role: "cell", class: columns[i][1], "data-label": label(columns[i][0]) }, cell),
    ),
  );
}

const label = (title) => title.textContent ?? title;

export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value != null && value !== "" && value !== false);
  return el(
    "dl",
    { class: "facts" },
    shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))),
  );
}

export function section(title, ...children) {
  return el("section", {}, el("h2", {}, title), children);
}

export const note = (...children) => el("p", { class: "note" }, children);
export const empty = (text) => el("p", { class: "empty" }, text);

export function button(text, act, attributes = {}) {
  return el("button", { type: "button", ...attributes, on: { click: act } }, text);
}

let count = 0;
export const fresh = (prefix) => `${prefix}-${(count += 1)}`;

/** A control under its label; `about` is said with it. */
export function field(label, control, about) {
  control.id ||= fresh("field");
  const told = about && el("small", { id: `${control.id}-about` }, about);
  if (told) control.setAttribute("aria-describedby", told.id);
  return el("div", { class: "field" }, el("label", { for: control.id }, label), control, told);
}

/** A choice without a visible label; `options` is {value: text}. */
export function select(label, options, value, changed) {
  return el(
    "select",
    { "aria-label": label, on: { change: (event) => changed(event.target.value) } },
    Object.entries(options).map(([key, text]) => option(key, text, key === value)),
  );
}

export const option = (value, text, selected = false) => el("option", { value, selected }, text);

/** Asks before something that cannot be taken back; true if the answer is yes. */
export function confirmed(question, yes, { about = "", danger = false } = {}) {
  return new Promise((answer) => {
    const title = fresh("question");
    const dialog = el(
      "dialog",
      { "aria-labelledby": title },
      el("h2", { id: title }, question),
      about && el("p", {}, about),
      el(
        "div",
        { class: "actions" },
        button(t("no"), () => dialog.close("")),
        button(yes, () => dialog.close("yes"), { class: danger ? "danger" : "primary" }),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (document.activeElement === document.body) document.querySelector("h1").focus();
      answer(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Puts what `load` answers into `place`, which says that it waits until then. */
export async function loaded(place, load, draw) {
  place.setAttribute("aria-busy", "true");
  try {
    put(place, draw(await load()));
  } catch (error) {
    if (error.name !== "AbortError") put(place, problem(error));
  } finally {
    place.removeAttribute("aria-busy");
  }
}

/** Shown for a while and said aloud. */
export function told(text) {
  announce(text);
  const shown = el("div", { class: "toast", "aria-hidden": "true" }, text);
  document.body.append(shown);
  setTimeout(() => shown.remove(), 4000);
}
