// Registered models: how good they are, their versions, taking one home, evaluating one.

import { ask, at, download } from "../api.js";
import { arms, intervals } from "../arms.js";
import { el, link, said } from "../dom.js";
import { interval, number, when } from "../format.js";
import { t } from "../i18n.js";
import { go, heading, pageTitle, to } from "../router.js";
import {
  attempt,
  button,
  confirmed,
  empty,
  facts,
  field,
  loaded,
  note,
  option,
  section,
  table,
  told,
} from "../widgets.js";

const ARMS = ["student-distilled", "student-before"]; // in the order in which a job registers them
const MEASURED = 12; // jobs whose scores are asked for

export function show(main, { names, query, signal }) {
  return names[0] ? one(main, names[0], query.get("version"), signal) : all(main, signal);
}

async function all(main, signal) {
  const place = el("div");
  main.append(heading(pageTitle("models")), place);
  const load = async () => {
    const { models } = await ask("/v1/models", { signal });
    const jobs = [...new Set(models.map(({ job }) => job))].slice(0, MEASURED);
    const found = await Promise.all(jobs.map((job) => scoresOf(job, signal)));
    return list(models, new Map(jobs.map((job, i) => [job, found[i]])));
  };
  await loaded(place, load, (shown) => shown);
}

/** An arm's scores by the name under which its model is registered; none where the job is gone. */
async function scoresOf(job, signal) {
  try {
    const [{ registers }, { arms: all = [] }] = await Promise.all([
      ask(at("jobs", job), { signal }),
      ask(at("jobs", job, "scores"), { signal }),
    ]);
    return new Map(
      registers.map((name, i) => [name, all.find((arm) => arm.name === ARMS[i])?.accuracy]),
    );
  } catch {
    return new Map();
  }
}

function list(models, scores) {
  if (!models.length) return empty(t("models.none"));
  const accuracy = ({ name, job }) => scores.get(job)?.get(name);
  const measured = models.filter(accuracy);
  const columns = [
    [t("models.model")],
    [t("models.version"), "number"],
    [t("scores.accuracy"), "number"],
    [t("models.job")],
    [t("models.created")],
  ];
  const cells = models.map((model) => {
    const { name, version, job, created } = model;
    return [
      link(to(["models", name], { version }), said(name)),
      String(version),
      interval(accuracy(model)),
      link(to(["jobs", job]), said(job)),
      when(created),
    ];
  });
  return [
    measured.length > 0 &&
      el(
        "figure",
        {},
        el("figcaption", {}, t("models.accuracy")),
        intervals(
          measured.map((model) => ({
            name: `${model.name} ${model.version}`,
            accuracy: accuracy(model),
          })),
        ),
      ),
    table(t("models.caption"), columns, cells),
  ];
}

async function one(main, name, version, signal) {
  const model = await ask(at("models", name), { query: { version }, signal });
  const { models } = await ask("/v1/models", { signal });
  const versions = models.filter((other) => other.name === name && other.version !== model.version);
  const trouble = el("div");
  const fetched = () =>
    attempt(trouble, () =>
      download(
        at("models", name, String(model.version), "download"),
        `${name}-${model.version}.tar`,
        signal,
      ),
    );
  main.append(
    heading(`${name} ${model.version}`, button(t("models.download"), fetched)),
    trouble,
    facts([
      [t("models.job"), model.job && link(to(["jobs", model.job]), said(model.job))],
      [t("models.created"), when(model.created)],
      ...Object.entries(model.properties ?? {}).map(([key, value]) => [
        said(key.replaceAll("_", " ")),
        property(value),
      ]),
    ]),
    versions.length
      ? section(
          t("models.versions"),
          el(
            "ul",
            {},
            versions.map((other) =>
              el(
                "li",
                {},
                link(
                  to(["models", name], { version: other.version }),
                  t("models.number", { version: other.version }),
                ),
                " ",
                when(other.created),
              ),
            ),
          ),
        )
      : "",
    section(t("models.evaluate"), await evaluation(model, signal)),
    section(
      t("action.delete"),
      note(t("models.delete.about")),
      button(t("action.delete"), () => erase(model, trouble), { class: "danger" }),
    ),
  );
  const scores =
    model.job && (await ask(at("jobs", model.job, "scores"), { signal }).catch(() => null));
  if (scores?.arms?.length) main.append(arms(scores));
}

function property(value) {
  if (value?.mean !== undefined) return interval(value);
  return typeof value === "number"
    ? number(value)
    : said(typeof value === "object" ? JSON.stringify(value) : value);
}

async function evaluation({ name, version }, signal) {
  const { datasets } = await ask("/v1/datasets", { signal });
  if (!datasets.length) return note(t("models.no.datasets"));
  const dataset = el(
    "select",
    {},
    [...new Set(datasets.map((one) => one.name))].map((one) => option(one, one)),
  );
  const trouble = el("div");
  const begin = (event) => {
    event.preventDefault();
    attempt(trouble, async () => {
      const job = await ask(at("models", name, "evaluate"), {
        method: "POST",
        body: { version, dataset: dataset.value },
        signal,
      });
      go(["jobs", job.name]);
    });
  };
  return el(
    "form",
    { class: "inline", on: { submit: begin } },
    field(t("models.dataset"), dataset),
    el("button", { class: "primary" }, t("models.evaluate")),
    trouble,
  );
}

async function erase({ name, version }, trouble) {
  const values = { name: `${name} ${version}` };
  if (!(await confirmed(t("ask.delete", values), t("action.delete"), { danger: true }))) return;
  if (
    !(await attempt(trouble, () => ask(at("models", name, String(version)), { method: "DELETE" })))
  )
    return;
  told(t("done.delete", values));
  go(["models"]);
}
