// The list of jobs: filters, pages, live state.

import { ask, at } from "../api.js";
import { announce, el, link, put, said, unseen } from "../dom.js";
import { follow } from "../events.js";
import { money, when } from "../format.js";
import { named, t } from "../i18n.js";
import { go, heading, pageTitle, to } from "../router.js";
import { isHeld, stateNames } from "../states.js";
import {
  badge,
  bar,
  button,
  empty,
  loaded,
  problem,
  select,
  table,
  tableRow,
} from "../widgets.js";

const SIZES = { 50: "50", 200: "200", 500: "500" };
const AT_ONCE = 100; // rows drawn in one go
const KINDS = ["distillation", "evaluation"];

export function show(main, { query, signal }) {
  const list = el("div", { class: "list", "aria-busy": "true" });
  const view = { list, query, signal, rows: new Map(), chosen: new Set() };
  view.compare = button(
    t("jobs.compare"),
    () => go(["compare"], { jobs: [...view.chosen].join(",") }),
    { disabled: true },
  );
  main.append(
    heading(
      pageTitle("jobs"),
      el("a", { class: "button primary", href: to(["submit"]) }, pageTitle("submit")),
    ),
    filters(query, view.compare),
    list,
  );
  follow({ signal, opened: () => load(view), heard: (event) => heard(view, event) }).catch(
    (error) => put(list, problem(error)),
  );
}

function filters(query, compare) {
  const set = (name, value) =>
    go(["jobs"], { ...Object.fromEntries(query), before: null, [name]: value });
  const of = (kind, names) =>
    Object.fromEntries([
      ["", t(`jobs.any.${kind}`)],
      ...names.map((name) => [name, named(kind, name)]),
    ]);
  const owner = el("input", {
    type: "search",
    "aria-label": t("jobs.owner"),
    placeholder: t("jobs.owner"),
    value: query.get("owner"),
    on: { change: (event) => set("owner", event.target.value.trim()) },
  });
  return el(
    "div",
    { class: "filters", role: "search", "aria-label": t("jobs.filters") },
    select(t("jobs.state"), of("state", stateNames()), query.get("state") ?? "", (value) =>
      set("state", value),
    ),
    select(t("jobs.kind"), of("kind", KINDS), query.get("kind") ?? "", (value) =>
      set("kind", value),
    ),
    owner,
    select(t("jobs.limit"), SIZES, query.get("limit") ?? "50", (value) => set("limit", value)),
    compare,
  );
}

async function load(view) {
  const { list, query, signal } = view;
  const asked = { limit: 50, ...Object.fromEntries(query) };
  let rest = [];
  await loaded(
    list,
    () => ask("/v1/jobs", { query: asked, signal }),
    ({ jobs, next }) => {
      rest = jobs.slice(AT_ONCE);
      return drawn(view, { jobs: jobs.slice(0, AT_ONCE), next });
    },
  );
  await drawRest(view, rest);
  for (const [name, row] of view.rows) if (isHeld(row.state)) progressOf(view, name, row);
}

function drawn(view, { jobs, next }) {
  view.rows.clear();
  if (!jobs.length) return empty(t("jobs.none"));
  view.columns = [
    [unseen(t("jobs.choose"))],
    [t("jobs.job")],
    [t("jobs.state")],
    [t("jobs.progress")],
    [t("jobs.spent"), "number"],
    [t("jobs.owner")],
    [t("jobs.created")],
  ];
  const rows = jobs.map((job) => cells(view, job));
  return [
    table(t("jobs.caption"), view.columns, rows, { narrow: "cards" }),
    el(
      "nav",
      { class: "paging", "aria-label": t("paging") },
      view.query.get("before") && button(t("paging.newer"), () => history.back()),
      next !== null &&
        link(to(["jobs"], { ...Object.fromEntries(view.query), before: next }), t("paging.older")),
    ),
  ];
}

/** A long list comes in pieces, and the page reacts between them. */
async function drawRest(view, jobs) {
  const body = view.list.querySelector("tbody");
  for (let at = 0; at < jobs.length && body.isConnected; at += AT_ONCE) {
    await new Promise(requestAnimationFrame);
    body.append(
      ...jobs.slice(at, at + AT_ONCE).map((job) => tableRow(view.columns, cells(view, job))),
    );
  }
}

function cells(view, job) {
  const row = {
    state: job.state,
    mark: el("span", {}, badge(job.state)),
    progress: el("div", { class: "progress" }),
    spent: el("span", {}, money(job.spent_usd)),
  };
  view.rows.set(job.name, row);
  const title = job.display_name || job.name;
  const choose = el("input", {
    type: "checkbox",
    "aria-label": t("jobs.choose.one", { name: title }),
    on: { change: (event) => chosen(view, job.name, event.target.checked) },
  });
  return [
    choose,
    el(
      "div",
      { class: "named" },
      link(to(["jobs", job.name]), said(title)),
      el(
        "small",
        {},
        job.display_name ? said(job.name) : named("kind", job.kind),
        job.experiment_name && [" · ", said(job.experiment_name)],
        Object.entries(job.tags ?? {}).map(([key, value]) =>
          el("span", { class: "tag" }, said(`${key}: ${value}`)),
        ),
      ),
    ),
    row.mark,
    row.progress,
    row.spent,
    said(job.owner),
    when(job.created),
  ];
}

function chosen(view, name, on) {
  view.chosen[on ? "add" : "delete"](name);
  view.compare.disabled = view.chosen.size !== 2;
}

async function progressOf(view, name, row) {
  const found = await ask(at("jobs", name, "progress"), { signal: view.signal }).catch(() => null);
  const running = found?.stages.find(({ state }) => state === "running");
  if (running) progress(row, running);
}

function progress(row, { stage, done, total, note }) {
  const label = named("stage", stage);
  put(
    row.progress,
    el("small", {}, label, note && [" · ", said(note)]),
    total > 0 && bar(done, total, label),
  );
}

function heard(view, { job, kind, data }) {
  const row = view.rows.get(job);
  if (!row) {
    if (kind === "state" && data.before === "NotStarted" && !view.query.get("before")) load(view);
    return;
  }
  if (kind === "progress") progress(row, data);
  if (kind === "spent") put(row.spent, money(data.usd));
  if (kind !== "state") return;
  row.state = data.state;
  put(row.mark, badge(data.state));
  if (!isHeld(data.state)) put(row.progress);
  announce(t("jobs.now", { job, state: named("state", data.state) }));
}
