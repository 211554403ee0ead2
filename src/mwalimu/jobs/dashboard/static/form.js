// Controls made from the JSON schema of a config; an empty one means the default.

import { el } from "./dom.js";
import { t } from "./i18n.js";
import { field, option } from "./widgets.js";

// Most want to see these first, and a job cannot do without those that are required.
const FIRST = [
  "task",
  "data.train",
  "data.validation",
  "data.test",
  "teacher.model",
  "student.model",
];
const REQUIRED = new Set(["task", "teacher.model", "student.model"]);

/** What goes along as a text, by the ending of its name; of "" several, as a folder. */
const ALONG = {
  "prompts.personas": ".txt",
  "prompts.template": ".yaml",
  "prompts.documents": "",
  "generate.json_schema": ".json",
  "curate.json_schema": ".json",
  "evaluate.tasks_file": ".yaml",
};

/** What the service refuses from anybody: docs/service.md. */
const NEVER = /(^|\.)(trust_remote_code|api_key_env|base_url)$/;

/**
 * A form over a schema: `controls` by dotted path, `element`. `names(path)` lists what a control may
 * hold, as suggestions.
 */
export function schemaForm(schema, names) {
  const controls = new Map();
  const make = (path, found) => made(path, found, controls, names);
  const first = FIRST.map((path) => make(path, lookUp(schema, path)));
  const sections = Object.entries(schema.properties).map(([name, found]) =>
    sectionOf(schema, name, resolved(schema, found), make),
  );
  const element = el(
    "div",
    {},
    el("div", { class: "grid" }, first),
    el("h2", {}, t("submit.settings")),
    sections,
  );
  return { element, controls };
}

function sectionOf(schema, name, found, make) {
  const inner = Object.entries(found.properties ?? {}).filter(
    ([key]) => !skipped(`${name}.${key}`),
  );
  if (!inner.length)
    return FIRST.includes(name) ? null : el("div", { class: "grid" }, make(name, found));
  return el(
    "details",
    { class: "section" },
    el(
      "summary",
      {},
      el("code", {}, name),
      found.description && el("small", {}, firstLine(found.description)),
    ),
    el(
      "div",
      { class: "grid" },
      inner.map(([key, one]) => make(`${name}.${key}`, resolved(schema, one))),
    ),
  );
}

const skipped = (path) => FIRST.includes(path) || NEVER.test(path);
const firstLine = (text) => text.split("\n")[0];

function made(path, found, controls, names) {
  const along = path in ALONG;
  const control = along ? el("textarea", { rows: 1 }) : controlFor(found, names(path));
  control.name = path;
  control.required = REQUIRED.has(path);
  control.dataset.kind = along ? "along" : kindOf(found);
  controls.set(path, control);
  const element = field(path, control, found.description && firstLine(found.description));
  if (along) element.append(chooser(path, control));
  return element;
}

/** Reads files of this machine into the control: one as it is, documents as JSON by name. */
function chooser(path, control) {
  const one = ALONG[path] !== "";
  const read = async ({ target: { files } }) => {
    const texts = await Promise.all([...files].map((file) => file.text()));
    const byName = texts.map((text, at) => [files[at].name.replace(/[^A-Za-z0-9._-]/g, "-"), text]);
    control.value = one ? (texts[0] ?? "") : JSON.stringify(Object.fromEntries(byName), null, 1);
    control.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const label = t("submit.file.one", { path });
  return el("input", { type: "file", multiple: !one, "aria-label": label, on: { change: read } });
}

function kindOf({ enum: choices, type }) {
  if (choices && type !== "array") return "choice";
  return ["boolean", "integer", "number", "string"].includes(type) ? type : "json";
}

function controlFor(found, suggested) {
  const kind = kindOf(found);
  const hint =
    found.default === undefined || found.default === null
      ? ""
      : JSON.stringify(found.default).replace(/^"|"$/g, "");
  if (kind === "choice" || kind === "boolean")
    return choice(kind === "boolean" ? [true, false] : found.enum, hint);
  if (kind === "json") return el("textarea", { rows: 1, placeholder: hint, spellcheck: "false" });
  const limits = {
    min: found.minimum ?? found.exclusiveMinimum,
    max: found.maximum ?? found.exclusiveMaximum,
  };
  const numeric = { type: "number", step: kind === "integer" ? 1 : "any", ...limits };
  const control = el("input", {
    placeholder: hint,
    spellcheck: "false",
    ...(kind !== "string" && numeric),
  });
  if (!suggested.length) return control;
  const list = el(
    "datalist",
    { id: `names-${(lists += 1)}` },
    suggested.map((one) => el("option", { value: one })),
  );
  control.setAttribute("list", list.id);
  document.body.append(list);
  return control;
}

let lists = 0;

function choice(choices, hint) {
  return el(
    "select",
    {},
    option("", hint ? t("submit.default", { value: hint }) : "–"),
    choices.map((one) => option(JSON.stringify(one), String(one))),
  );
}

function lookUp(schema, path) {
  return path.split(".").reduce((found, key) => resolved(schema, found.properties[key]), schema);
}

/** References followed, and "or null" left out: a control can be empty anyway. */
function resolved(schema, found) {
  const { $ref: ref, anyOf, ...own } = found;
  if (ref) return { ...schema.$defs[ref.split("/").at(-1)], ...own };
  const choices = anyOf?.filter(({ type }) => type !== "null");
  return choices?.length === 1
    ? { ...resolved(schema, choices[0]), ...own }
    : { ...own, ...(anyOf && { type: "any" }) };
}

/** The config that the controls say, without what is empty or the default. Throws RangeError. */
export function configOf(controls) {
  const config = {};
  for (const [path, control] of controls) {
    const value = valueOf(path, control);
    if (value !== undefined) set(config, path.split("."), value);
  }
  return config;
}

function valueOf(path, control) {
  const text = control.value.trim();
  if (text === "" || (text === control.placeholder && !control.required)) return undefined;
  const { kind } = control.dataset;
  if (kind === "along") return `file:${path}${ALONG[path]}`;
  if (kind === "string") return text;
  if (kind === "integer" || kind === "number") return Number(text);
  return parsed(path, text);
}

function parsed(path, text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new RangeError(t("submit.not.json", { path }));
  }
}

/** The texts that go along, by the names that the config has for them. Throws RangeError. */
export function filesOf(controls) {
  const written = Object.entries(ALONG).filter(([path]) => controls.get(path)?.value.trim());
  return Object.fromEntries(
    written.map(([path, ending]) => {
      const { value } = controls.get(path);
      return [path + ending, ending ? value : parsed(path, value)];
    }),
  );
}

function set(config, [key, ...rest], value) {
  if (rest.length) set((config[key] ??= {}), rest, value);
  else config[key] = value;
}

/**
 * Puts a config and the files it names into the controls; what has no control stays out, and its
 * path is returned.
 */
export function fillIn(controls, config, files = {}) {
  for (const control of controls.values()) control.value = "";
  const left = [];
  const along = (value) => {
    const found = files[String(value).replace(/^file:/, "")] ?? "";
    return typeof found === "string" ? found : JSON.stringify(found, null, 1);
  };
  const walk = (value, path) => {
    const control = controls.get(path);
    if (control?.dataset.kind === "along") control.value = along(value);
    else if (control) control.value = control.dataset.kind === "string" ? value : JSON.stringify(value);
    else if (value !== null && typeof value === "object" && !Array.isArray(value))
      for (const key of Object.keys(value)) walk(value[key], path ? `${path}.${key}` : key);
    else left.push(path);
  };
  walk(config, "");
  return left;
}
