// What teacher and student answered, next to each other.

import { ask, at } from "../../api.js";
import { el, said } from "../../dom.js";
import { t } from "../../i18n.js";
import { empty, loaded } from "../../widgets.js";

const LIMIT = 50;

export function show(body, { name, signal }) {
  return loaded(
    body,
    () => ask(at("jobs", name, "samples"), { query: { limit: LIMIT }, signal }),
    drawn,
  );
}

function drawn({ samples }) {
  if (!samples.length) return empty(t("samples.none"));
  return samples.map(sample);
}

function sample({ id, prompt, reference, answers }) {
  const shown = Object.entries(answers ?? {});
  return el(
    "article",
    { class: "sample card" },
    el("h2", {}, said(id)),
    text(t("samples.prompt"), prompt),
    reference != null && text(t("samples.reference"), reference),
    el(
      "div",
      { class: "beside" },
      shown.map(([arm, answer]) => text(said(arm), answer)),
    ),
  );
}

function text(title, value) {
  const words =
    typeof value === "string"
      ? value
      : ((value ?? []).map?.(({ role, content }) => `${role}: ${content}`).join("\n\n") ??
        JSON.stringify(value));
  return el(
    "div",
    { class: "answer" },
    el("h3", {}, title),
    el("p", { class: "text", dir: "auto" }, words),
  );
}
