// Arms of an evaluation: a table, and their intervals on one axis.

import { el, said, svg } from "./dom.js";
import { duration, interval, money, NONE, number, percent, whole } from "./format.js";
import { t } from "./i18n.js";
import { section, table } from "./widgets.js";

const MEASURES = [
  ["accuracy", interval],
  ["token_f1", number],
  ["bleu", number],
  ["rouge_l", number],
  ["agreement", percent],
  ["latency_p50_s", duration],
  ["tokens_per_s", number],
  ["peak_memory_mib", (value) => `${number(value)} MiB`],
  ["parameters", whole],
  ["usd_per_1k", money],
];

export function arms({ arms: all, rows }) {
  const measures = MEASURES.filter(([key]) => all.some((arm) => arm[key] != null));
  const columns = [[t("scores.arm")], ...measures.map(([key]) => [t(`scores.${key}`), "number"])];
  const cells = all.map((arm) => [
    said(arm.name),
    ...measures.map(([key, shown]) => (arm[key] == null ? NONE : shown(arm[key]))),
  ]);
  return section(
    t("scores.title", { rows: whole(rows) }),
    intervals(all),
    table(t("scores.caption"), columns, cells, { wide: true }),
  );
}

/** The table says the same in words. */
export function intervals(all) {
  const known = all.filter(({ accuracy }) => accuracy);
  const x = (share) => `${38 + 57 * share}%`;
  const height = 26 * known.length + 22;
  const marks = known.map(({ name, accuracy }, i) => {
    const y = 26 * i + 16;
    return [
      svg("text", { x: 0, y: y + 4, class: "arm" }, clipped(name)),
      svg("line", {
        class: `whisker c${i % 4}`,
        x1: x(accuracy.low),
        x2: x(accuracy.high),
        y1: y,
        y2: y,
      }),
      svg("circle", { class: `dot c${i % 4}`, cx: x(accuracy.mean), cy: y, r: 5 }),
    ];
  });
  const axis = [0, 0.25, 0.5, 0.75, 1].map((share) => [
    svg("line", { class: "grid", x1: x(share), x2: x(share), y1: 0, y2: height - 18 }),
    svg("text", { class: "tick x", x: x(share), y: height - 4 }, percent(share)),
  ]);
  return svg(
    "svg",
    { class: "intervals", width: "100%", height, "aria-hidden": "true" },
    axis,
    marks,
  );
}

/** The end tells more than the middle: a version, a method. */
const clipped = (name) => (name.length > 18 ? `${name.slice(0, 9)}…${name.slice(-8)}` : name);

export function comparisons({ comparisons: all = [] }) {
  if (!all.length) return null;
  return section(t("scores.real"), comparisonTable(all));
}

export function comparisonTable(all) {
  const columns = [
    [t("scores.comparison")],
    [t("scores.difference"), "number"],
    [t("scores.p"), "number"],
    [t("scores.test")],
  ];
  return table(t("scores.real"), columns, all.map(compared));
}

function compared({ arm, against, difference, p_value: p, p_adjusted: adjusted, test }) {
  return [
    el("span", {}, said(arm), ` ${t("scores.against")} `, said(against)),
    interval(difference),
    chance(adjusted ?? p),
    said(test),
  ];
}

function chance(p) {
  return p != null && p < 0.001 ? "< 0.001" : number(p);
}
