// A new job: a form from the config's schema, or its text; what it will cost; then the job.

import { ask } from "../api.js";
import { el, put } from "../dom.js";
import { estimate } from "../estimate.js";
import { configOf, filesOf, fillIn, schemaForm } from "../form.js";
import { t } from "../i18n.js";
import { go, heading, pageTitle } from "../router.js";
import { attempt, button, field, note, problem, section, told } from "../widgets.js";
import { yaml } from "../yaml.js";

const QUICK = "quickstart-";

export async function show(main, { signal }) {
  const [schema, registry, { datasets }, { models }] = await Promise.all(
    ["/v1/schema", "/v1/registry", "/v1/datasets", "/v1/models"].map((path) =>
      ask(path, { signal }),
    ),
  );
  const form = schemaForm(schema, suggestions(registry, datasets, models));
  const job = jobControls();
  const text = el("textarea", { class: "raw", rows: 16, spellcheck: "false" });
  const view = {
    form,
    job,
    text,
    signal,
    raw: false,
    review: el("div", { "aria-live": "polite" }),
    trouble: el("div"),
  };
  const asked = (event) => {
    event.preventDefault();
    review(view);
  };
  const quick = quickstart(registry.quickstart, datasets, models);
  view.sheet = el("div", {}, form.element);
  const whole = el(
    "form",
    { class: "submit", on: { submit: asked, input: () => put(view.review) } },
    quick &&
      el(
        "p",
        { class: "card" },
        t("submit.quickstart.about"),
        " ",
        button(
          t("submit.quickstart"),
          () => (view.raw && swap(view), fillIn(form.controls, quick), put(view.review)),
        ),
      ),
    el("div", { class: "grid" }, job.elements),
    view.sheet,
    el(
      "div",
      { class: "actions sticky" },
      el("button", { class: "primary" }, t("submit.estimate")),
      button(t("submit.raw"), () => swap(view), { "aria-pressed": "false", id: "raw" }),
    ),
  );
  main.append(
    heading(pageTitle("submit")),
    note(t("submit.about")),
    whole,
    view.trouble,
    view.review,
  );
}

function suggestions({ teachers, students }, datasets, models) {
  const files = [...new Set(datasets.map(({ name }) => `dataset:${name}`))];
  const made = [...new Set(models.map(({ name }) => `model:${name}`))];
  const names = (known) => known.map((one) => one.name ?? one);
  return (path) => {
    if (path.startsWith("data.")) return files;
    if (path === "teacher.model") return [...names(teachers), ...made];
    return path === "student.model" ? [...names(students), ...made] : [];
  };
}

/** The quickstart over its own data sets, if the service has them. */
function quickstart(settings, datasets, models) {
  const here = new Set(datasets.map(({ name }) => name));
  if (!here.has(`${QUICK}train`)) return null;
  const parts = ["train", "validation", "test", "labelled"].filter((part) =>
    here.has(QUICK + part),
  );
  const model = (part) =>
    models.some(({ name }) => name === QUICK + part) ? { model: `model:${QUICK}${part}` } : {};
  return {
    ...settings,
    data: Object.fromEntries(parts.map((part) => [part, `dataset:${QUICK}${part}`])),
    teacher: { ...settings.teacher, ...model("teacher") },
    student: { ...settings.student, ...model("student") },
  };
}

function jobControls() {
  const controls = {
    display_name: el("input", { maxlength: 255 }),
    experiment_name: el("input", { maxlength: 255 }),
    name: el("input", { maxlength: 255, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*" }),
    tags: el("input", { placeholder: "team=support, round=2" }),
    registers: el("input", { placeholder: "phi-4-mini-distilled, phi-4-mini-baseline" }),
    resource: el("input", { placeholder: "cpu" }),
    priority: el("input", { type: "number", step: 1, min: -1000, max: 1000, placeholder: "0" }),
    webhook: el("input", { type: "url" }),
  };
  const always = ["display_name", "experiment_name"];
  const shown = (key) => field(t(`submit.${key}`), controls[key]);
  const rest = Object.keys(controls).filter((key) => !always.includes(key));
  return {
    controls,
    elements: [
      ...always.map(shown),
      el(
        "details",
        { class: "section across" },
        el("summary", {}, t("submit.job")),
        el("div", { class: "grid" }, rest.map(shown)),
      ),
    ],
  };
}

/** Only what was filled in: the service knows the defaults. */
function submission(view) {
  if (view.raw) return JSON.parse(view.text.value);
  const { display_name, experiment_name, name, tags, registers, resource, priority, webhook } =
    view.job.controls;
  const list = (control) =>
    control.value
      .split(",")
      .map((one) => one.trim())
      .filter(Boolean);
  const given = {
    display_name: display_name.value.trim(),
    experiment_name: experiment_name.value.trim(),
    name: name.value.trim(),
    tags: Object.fromEntries(
      list(tags).map((one) =>
        one
          .split(/=(.*)/s)
          .slice(0, 2)
          .map((part) => part.trim()),
      ),
    ),
    registers: list(registers),
    resource: resource.value.trim(),
    priority: Number(priority.value),
    webhook: webhook.value.trim(),
    files: filesOf(view.form.controls),
    config: configOf(view.form.controls),
  };
  return Object.fromEntries(
    Object.entries(given).filter(
      ([, value]) => value && (typeof value !== "object" || Object.keys(value).length),
    ),
  );
}

/** Between the form and the submission's text. */
function swap(view) {
  return attempt(view.trouble, async () => {
    const now = submission(view);
    view.raw = !view.raw;
    if (view.raw) view.text.value = JSON.stringify(now, null, 2);
    else takeBack(view, now);
    put(
      view.sheet,
      view.raw ? field(t("submit.text"), view.text, t("submit.text.about")) : view.form.element,
    );
    for (const element of view.job.elements) element.hidden = view.raw;
    document.getElementById("raw").setAttribute("aria-pressed", view.raw);
    put(view.review);
  });
}

function takeBack(view, { config = {}, files = {}, tags = {}, registers = [], ...rest }) {
  const { controls } = view.job;
  for (const [key, control] of Object.entries(controls)) control.value = rest[key] ?? "";
  controls.tags.value = Object.entries(tags)
    .map((pair) => pair.join("="))
    .join(", ");
  controls.registers.value = registers.join(", ");
  const left = fillIn(view.form.controls, config, files);
  if (left.length) throw new RangeError(t("submit.left", { paths: left.join(", ") }));
}

async function review(view) {
  let asked;
  const found = {};
  put(view.review, note(t("submit.estimating")));
  const done = await attempt(view.trouble, async () => {
    asked = submission(view);
    found.estimate = await ask("/v1/jobs/estimate", {
      method: "POST",
      body: asked,
      signal: view.signal,
    });
  });
  if (!done) return void put(view.review);
  const last = button(t("submit.go"), () => submit(view, asked), { class: "primary" });
  put(
    view.review,
    section(
      t("submit.review"),
      estimate(found.estimate),
      el(
        "details",
        {},
        el("summary", {}, t("submit.what")),
        el("pre", { tabindex: "0" }, yaml(asked)),
      ),
      el("div", { class: "actions" }, last),
    ),
  );
  last.focus();
}

async function submit(view, asked) {
  try {
    const job = await ask("/v1/jobs", { method: "POST", body: asked, signal: view.signal });
    told(t("submit.done", { name: job.display_name || job.name }));
    go(["jobs", job.name]);
  } catch (error) {
    put(view.trouble, problem(error));
  }
}
