// The training's curves as they grow.

import { ask, at } from "../../api.js";
import { chart } from "../../chart.js";
import { el, every, said } from "../../dom.js";
import { t } from "../../i18n.js";
import { isMoving } from "../../states.js";
import { empty, section } from "../../widgets.js";

const EVERY = 2; // seconds

const CHARTS = [
  ["loss", "nats", { loss: "loss", validation: "validation_loss" }],
  ["rate", "", { rate: "learning_rate" }],
  ["speed", "tokens/s", { speed: "tokens_per_second" }],
  ["memory", "MiB", { memory: "peak_memory_mib" }],
  ["norm", "", { norm: "grad_norm" }],
];

export function show(body, { name, job, signal, listen }) {
  const charts = CHARTS.map(([key, unit, series]) => ({
    figure: chart({ title: t(`curves.${key}`), unit }),
    series,
  }));
  const none = empty(t("curves.waiting"));
  const warnings = el("ul", { class: "warnings" });
  body.append(
    none,
    el(
      "div",
      { class: "charts" },
      charts.map(({ figure }) => figure),
    ),
    section(t("curves.warnings"), warnings),
  );
  let moving = isMoving(job.state);
  listen(({ kind, data }) => kind === "state" && (moving = isMoving(data.state)));
  const lines = [];
  let after = 0;
  const load = async () => {
    const found = await ask(at("jobs", name, "metrics"), { query: { after }, signal });
    const fresh = found.next !== after || found.lines.length;
    after = found.next;
    lines.push(...found.lines);
    none.hidden = lines.length > 0;
    if (fresh) for (const { figure, series } of charts) figure.update(read(lines, series));
    warnings.append(...found.lines.filter(({ event }) => event).map(warning));
    warnings.parentElement.hidden = !warnings.childElementCount;
  };
  return load().then(() => void every(EVERY, signal, () => moving && load().catch(() => {})));
}

function read(lines, series) {
  return Object.entries(series).map(([key, field]) => ({
    name: t(`curves.${key}`),
    points: lines
      .filter((line) => Number.isFinite(line[field]))
      .map((line) => [line.step, line[field]]),
  }));
}

function warning({ step, text }) {
  return el("li", {}, `${t("curves.step")} ${step}: `, said(text));
}
