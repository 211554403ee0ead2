// The stages as a timeline, the data funnel, what was spent, what came out.

import { ask, at } from "../../api.js";
import { el, every, said, svg } from "../../dom.js";
import { duration, interval, money, number, whole } from "../../format.js";
import { named, t } from "../../i18n.js";
import { isMoving } from "../../states.js";
import { bar, empty, facts, loaded, section, table } from "../../widgets.js";

const EVERY = 5; // seconds

export function show(body, { name, job, signal, listen }) {
  const places = { progress: el("div"), spend: el("div"), funnel: el("div"), summary: el("div") };
  const load = (what, draw) =>
    loaded(places[what], () => ask(at("jobs", name, what), { signal }), draw);
  const slow = () => Promise.all([load("spend", spend), load("funnel", funnel)]);
  const all = () => Promise.all([load("progress", timeline), slow()]);
  body.append(
    section(t("overview.stages"), places.progress),
    Object.keys(job.summary ?? {}).length
      ? section(t("overview.summary"), summary(job.summary))
      : "",
    section(t("overview.spend"), places.spend),
    section(t("overview.funnel"), places.funnel),
  );
  const heard = new Set(); // labels that are new to the page: the stages are asked for again
  let moving = isMoving(job.state);
  listen(({ kind, data }) => {
    if (kind === "progress" && !moved(places.progress, data) && !heard.has(data.stage)) {
      heard.add(data.stage);
      load("progress", timeline);
    }
    if (kind !== "state") return;
    moving = isMoving(data.state);
    all();
  });
  return all().then(() => void every(EVERY, signal, () => moving && slow()));
}

function timeline({ stages }) {
  if (!stages.length) return empty(t("overview.no.stages"));
  return el("ol", { class: "timeline" }, stages.map(stage));
}

const MARKS = { done: "✓", running: "●", waiting: "○" };

function stage({ stage: name, state, done, total, note, parts, summary: found }) {
  return el(
    "li",
    { class: state, "data-stage": name },
    el("span", { class: "mark", "aria-hidden": "true" }, MARKS[state] ?? "○"),
    el(
      "div",
      {},
      el("strong", {}, named("stage", name)),
      el("small", {}, named("progress", state)),
      el("div", { class: "moving" }, moving({ stage: name, done, total, note }, state)),
      state === "running" ? parts.map(part) : [],
      found && brief(found),
    ),
  );
}

/** What a stage tells of under a label of its own, as an arm that learns or answers. */
function part({ label, done, total }) {
  return el(
    "small",
    { "data-label": label },
    said(label),
    el("span", {}, ` ${whole(done)} / ${whole(total)}`),
  );
}

function moving({ stage: name, done, total, note }, state) {
  if (state !== "running") return [];
  return [
    total > 0 && bar(done, total, named("stage", name)),
    el("small", {}, total > 0 && `${whole(done)} / ${whole(total)} `, note && said(note)),
  ];
}

/** A progress event moves the bar, or the part, that is there; false where it is neither's. */
function moved(place, data) {
  const of = (name) =>
    [...place.querySelectorAll(`[data-${name}]`)].find((one) => one.dataset[name] === data.stage);
  const told = of("label")?.querySelector("span");
  if (told) {
    told.textContent = ` ${whole(data.done)} / ${whole(data.total)}`;
    return true;
  }
  const item = of("stage");
  if (!item) return false;
  item.className = "running";
  item.querySelector(".mark").textContent = MARKS.running;
  item.querySelector("small").textContent = named("progress", "running");
  item.querySelector(".moving").replaceChildren(...moving(data, "running").filter(Boolean));
  return true;
}

/** The plain values of a stage's summary. */
function brief(found) {
  const plain =
    typeof found === "object"
      ? Object.entries(found).filter(([, value]) => ["number", "string"].includes(typeof value))
      : [];
  return (
    plain.length > 0 &&
    el(
      "small",
      { class: "brief" },
      plain
        .slice(0, 6)
        .map(([key, value]) =>
          el(
            "span",
            {},
            said(key.replaceAll("_", " ")),
            " ",
            typeof value === "number" ? number(value) : said(value),
          ),
        ),
    )
  );
}

function spend({ usd, budget_usd: budget, requests, tokens }) {
  const over = budget != null && usd != null;
  return [
    over && bar(usd, budget, t("overview.spend")),
    facts([
      [
        t("spend.usd"),
        over ? t("spend.of", { usd: money(usd), budget: money(budget) }) : money(usd),
      ],
      [t("spend.requests"), whole(requests)],
      [t("spend.tokens"), tokenCount(tokens)],
    ]),
  ];
}

function tokenCount(tokens) {
  return whole(
    tokens !== null && typeof tokens === "object"
      ? Object.values(tokens).reduce((a, b) => a + b, 0)
      : tokens,
  );
}

function funnel({ steps }) {
  if (!steps.length) return empty(t("funnel.none"));
  const most = Math.max(...steps.map((step) => step.in), 1);
  return el(
    "ol",
    { class: "funnel" },
    steps.map((step) => funnelStep(step, most)),
  );
}

function funnelStep({ stage: name, in: taken, out, rejects }, most) {
  const reasons = Object.entries(rejects ?? {}).sort(([, a], [, b]) => b - a);
  return el(
    "li",
    {},
    el(
      "div",
      { class: "row" },
      el("strong", {}, named("stage", name)),
      el("span", {}, t("funnel.kept", { out: whole(out), in: whole(taken) })),
    ),
    svg(
      "svg",
      { class: "flow", width: "100%", height: 10, "aria-hidden": "true" },
      svg("rect", { class: "in", width: `${(100 * taken) / most}%`, height: 10, rx: 3 }),
      svg("rect", { class: "out", width: `${(100 * out) / most}%`, height: 10, rx: 3 }),
    ),
    reasons.length > 0 &&
      table(
        t("funnel.reasons", { stage: named("stage", name) }),
        [[t("funnel.reason")], [t("funnel.rows"), "number"]],
        reasons.map(([reason, count]) => [said(reason), whole(count)]),
      ),
  );
}

function summary(found) {
  return facts(
    Object.entries(found).map(([key, value]) => [
      said(key.replaceAll("_", " ")),
      shown(key, value),
    ]),
  );
}

function shown(key, value) {
  if (typeof value === "number") return /seconds$|_s$/.test(key) ? duration(value) : number(value);
  if (typeof value?.mean === "number") return interval(value);
  return said(typeof value === "object" ? JSON.stringify(value) : value);
}
