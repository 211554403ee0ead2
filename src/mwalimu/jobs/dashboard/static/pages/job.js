// One job: what it is now, what may be done with it, and a part of it at a time.

import { ask, at } from "../api.js";
import { announce, el, every, put, said } from "../dom.js";
import { follow } from "../events.js";
import { duration, when } from "../format.js";
import { named, t } from "../i18n.js";
import { go, heading, to } from "../router.js";
import { verbs } from "../states.js";
import { attempt, badge, button, confirmed, facts, problem, told } from "../widgets.js";

const PARTS = ["overview", "curves", "samples", "scores", "logs", "events", "files", "config"];

export async function show(main, { names, signal }) {
  const [name, part = PARTS[0]] = names;
  const job = await ask(at("jobs", name), { signal });
  const view = {
    name,
    job,
    signal,
    title: job.display_name || job.name,
    head: el("div", { class: "job-head" }),
    trouble: el("div"),
    body: el("div", { class: "part" }),
    took: el("span"),
    listeners: [],
  };
  main.append(heading(view.title), view.head, view.trouble, parts(name, part), view.body);
  drawHead(view);
  every(1, signal, () => tick(view));
  const shown = await import(`./job/${PARTS.includes(part) ? part : PARTS[0]}.js`);
  if (signal.aborted) return;
  await shown.show(view.body, { name, job, signal, listen: (heard) => view.listeners.push(heard) });
  follow({
    job: name,
    signal,
    opened: () => refresh(view),
    heard: (event) => heard(view, event),
  }).catch((error) => put(view.trouble, problem(error)));
}

function tick({ took, job }) {
  put(took, duration((job.ended ?? Date.now() / 1000) - job.started));
}

function parts(name, current) {
  const tab = (part) =>
    el(
      "a",
      { href: to(["jobs", name, part]), "aria-current": part === current && "page" },
      t(`part.${part}`),
    );
  return el("nav", { class: "tabs", "aria-label": t("job.parts") }, PARTS.map(tab));
}

async function refresh(view) {
  const job = await ask(at("jobs", view.name), { signal: view.signal });
  if (JSON.stringify(job) === JSON.stringify(view.job)) return;
  view.job = job;
  drawHead(view);
}

function heard(view, event) {
  for (const listener of view.listeners) listener(event);
  if (event.kind !== "state" || event.data.state === view.job.state) return;
  announce(t("jobs.now", { job: view.title, state: named("state", event.data.state) }));
  refresh(view).catch(() => {});
}

/** Whoever stands on a button stays on it, or goes to the heading if it is gone. */
function drawHead(view) {
  const { job } = view;
  const on = view.head.contains(document.activeElement) && document.activeElement.textContent;
  put(
    view.head,
    el("div", { class: "row" }, badge(job.state), el("div", { class: "actions" }, actions(view))),
    job.error && problem(job.error),
    facts([
      [t("job.name"), said(job.name)],
      [t("jobs.owner"), said(job.owner)],
      [t("jobs.kind"), named("kind", job.kind)],
      [t("job.experiment"), job.experiment_name && said(job.experiment_name)],
      [t("jobs.created"), when(job.created)],
      [t("job.took"), job.started && view.took],
      [t("job.attempts"), job.attempts > 1 && String(job.attempts)],
      [t("job.resource"), said(job.resource)],
      [t("job.tags"), tags(job.tags)],
    ]),
  );
  const same = [...view.head.querySelectorAll("button")].find((one) => one.textContent === on);
  if (on) (same ?? document.querySelector("h1")).focus();
}

function tags(given) {
  const shown = Object.entries(given ?? {}).map(([key, value]) =>
    el("span", { class: "tag" }, said(`${key}: ${value}`)),
  );
  return shown.length ? shown : null;
}

function actions(view) {
  const { state } = view.job;
  const asked = verbs(state).map((verb) =>
    button(t(`action.${verb}`), () => (verb === "delete" ? erase(view) : act(view, verb)), {
      class: { resume: "primary", delete: "danger" }[verb],
    }),
  );
  return [
    asked,
    state === "Completed" &&
      el(
        "a",
        { class: "button", href: to(["playground"], { job: view.name }) },
        t("page.playground"),
      ),
  ];
}

async function act(view, action) {
  const values = { name: view.title };
  const sure =
    action === "resume" ||
    (await confirmed(t(`ask.${action}`, values), t(`action.${action}`), {
      about: t(`about.${action}`),
      danger: action === "cancel",
    }));
  if (!sure) return;
  const done = await attempt(view.trouble, async () => {
    view.job = await ask(at("jobs", view.name, action), { method: "POST", signal: view.signal });
    drawHead(view);
  });
  if (done) told(t(`done.${action}`, values));
}

async function erase(view) {
  const values = { name: view.title };
  if (
    !(await confirmed(t("ask.delete", values), t("action.delete"), {
      about: t("about.delete"),
      danger: true,
    }))
  )
    return;
  const done = await attempt(view.trouble, () => ask(at("jobs", view.name), { method: "DELETE" }));
  if (!done) return;
  told(t("done.delete", values));
  go(["jobs"]);
}
