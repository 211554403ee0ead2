// What `mwalimu estimate` says of a submission.

import { el, said } from "./dom.js";
import { bytes, duration, money, whole } from "./format.js";
import { named, t } from "./i18n.js";
import { facts, note, table } from "./widgets.js";

export function estimate({ rows, teachers = [], total, budget = [], training, terms = [] }) {
  const memory = training?.memory;
  return [
    facts([
      [
        t("estimate.rows"),
        rows &&
          Object.entries(rows)
            .map(([split, count]) => `${split} ${whole(count)}`)
            .join(", "),
      ],
      [t("estimate.usd"), span(total?.usd, money)],
      [t("estimate.minutes"), span(total?.minutes, (minutes) => duration(60 * minutes))],
      [t("estimate.requests"), span(total?.requests, whole)],
      [t("estimate.training"), span(training?.tokens, whole)],
      [
        t("estimate.memory"),
        memory && el("span", {}, span(memory.needed, bytes), " ", said(memory.verdict)),
      ],
    ]),
    teachers.length > 1 && byTeacher(teachers),
    budget.map(({ name, cap, verdict }) =>
      note(el("strong", {}, `budget.${name} ${cap}: `), said(verdict)),
    ),
    terms.map((term) => note(said(term))),
  ];
}

function byTeacher(teachers) {
  const columns = [
    [t("estimate.stage")],
    [t("estimate.teacher")],
    [t("estimate.requests"), "number"],
    [t("estimate.usd"), "number"],
  ];
  return table(
    t("estimate.teachers"),
    columns,
    teachers.map(({ stage, model, requests, usd }) => [
      named("stage", stage),
      said(model),
      span(requests, whole),
      span(usd, money),
    ]),
  );
}

/** The middle and the range of {mid, low, high}; unknown is said to be. */
function span(found, shown) {
  if (found == null) return t("estimate.unknown");
  const { mid, low, high } = found;
  return low === high ? shown(mid) : `${shown(mid)} (${shown(low)} – ${shown(high)})`;
}
