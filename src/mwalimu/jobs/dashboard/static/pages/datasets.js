// Files of rows: checked, uploaded, listed, deleted.

import { ask, at } from "../api.js";
import { el, put, said } from "../dom.js";
import { bytes, when, whole } from "../format.js";
import { t } from "../i18n.js";
import { heading, pageTitle } from "../router.js";
import {
  attempt,
  button,
  confirmed,
  empty,
  field,
  loaded,
  option,
  problem,
  section,
  table,
  told,
} from "../widgets.js";

const NAME = "[A-Za-z0-9]([A-Za-z0-9._\\-]*[A-Za-z0-9_\\-])?";

export async function show(main, { signal }) {
  const list = el("div");
  const trouble = el("div");
  const load = () =>
    loaded(
      list,
      () => ask("/v1/datasets", { signal }),
      ({ datasets }) => drawn(datasets, trouble, load),
    );
  main.append(
    heading(pageTitle("datasets")),
    section(t("datasets.upload"), await upload(load, signal)),
    section(t("datasets.here"), trouble, list),
  );
  await load();
}

async function upload(load, signal) {
  const { properties } = await ask("/v1/schema", { signal });
  const file = el("input", { type: "file", accept: ".jsonl", required: true });
  const name = el("input", { required: true, pattern: NAME, maxlength: 255, spellcheck: "false" });
  const task = el(
    "select",
    {},
    (properties.task.enum ?? ["generic"]).map((one) => option(one, one, one === "generic")),
  );
  const found = el("div", { "aria-live": "polite" });
  file.addEventListener(
    "change",
    () =>
      (name.value ||= (file.files[0]?.name ?? "")
        .replace(/\.[^.]*$/, "")
        .replaceAll(/[^A-Za-z0-9._-]+/g, "-")),
  );
  const sent = (path, method, said) => async () => {
    put(found);
    try {
      said(await ask(path(), { method, query: { task: task.value }, body: file.files[0], signal }));
    } catch (error) {
      put(found, problem(error), badRows(error));
    }
  };
  const keep = sent(
    () => at("datasets", name.value),
    "PUT",
    ({ version, rows }) => {
      told(t("datasets.kept", { name: name.value, version, rows: whole(rows) }));
      load();
    },
  );
  const check = sent(
    () => "/v1/datasets/validate",
    "POST",
    () => told(t("datasets.good")),
  );
  const submit = (event) => {
    event.preventDefault();
    keep();
  };
  return el(
    "form",
    { class: "inline", on: { submit } },
    field(t("datasets.file"), file),
    field(t("datasets.name"), name),
    field(t("datasets.task"), task),
    el(
      "div",
      { class: "actions" },
      el("button", { class: "primary" }, t("datasets.upload")),
      button(t("datasets.check"), () => file.reportValidity() && check()),
    ),
    found,
  );
}

/** Every bad row that the service names. */
function badRows({ rows = [] }) {
  if (!rows.length) return null;
  const columns = [
    [t("datasets.line"), "number"],
    [t("datasets.field")],
    [t("datasets.why")],
    [t("datasets.fix")],
  ];
  return table(
    t("datasets.bad"),
    columns,
    rows.map(({ line, field, problem: why, fix }) => [
      whole(line),
      said(field),
      said(why),
      said(fix),
    ]),
  );
}

function drawn(datasets, trouble, load) {
  if (!datasets.length) return empty(t("datasets.none"));
  const columns = [
    [t("datasets.name")],
    [t("models.version"), "number"],
    [t("datasets.rows"), "number"],
    [t("files.size"), "number"],
    [t("datasets.task")],
    [t("jobs.owner")],
    [t("models.created")],
    [t("action.delete")],
  ];
  const cells = datasets.map((one) => [
    said(one.name),
    String(one.version),
    whole(one.rows),
    bytes(one.size),
    said(one.task),
    said(one.owner),
    when(one.created),
    button(t("action.delete"), () => erase(one, trouble, load), {
      class: "danger",
      "aria-label": t("datasets.delete.one", { name: one.name }),
    }),
  ]);
  return table(t("datasets.here"), columns, cells, { wide: true });
}

async function erase({ name }, trouble, load) {
  if (!(await confirmed(t("ask.delete", { name }), t("action.delete"), { danger: true }))) return;
  if (!(await attempt(trouble, () => ask(at("datasets", name), { method: "DELETE" })))) return;
  told(t("done.delete", { name }));
  load();
}
