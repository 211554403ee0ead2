// Two jobs next to each other: scores, what differs in their settings, whether it matters.

import { ask } from "../api.js";
import { arms, comparisonTable } from "../arms.js";
import { el, link, said } from "../dom.js";
import { named, t } from "../i18n.js";
import { go, heading, pageTitle, to } from "../router.js";
import { empty, field, loaded, option, section, table } from "../widgets.js";

export async function show(main, { query, signal }) {
  const chosen = (query.get("jobs") ?? "").split(",").filter(Boolean);
  const place = el("div");
  main.append(heading(pageTitle("compare")), await choice(chosen, signal), place);
  if (chosen.length !== 2) return place.append(empty(t("compare.choose")));
  await loaded(
    place,
    () => ask("/v1/compare", { query: { jobs: chosen.join(",") }, signal }),
    (found) => drawn(found, chosen),
  );
}

async function choice(chosen, signal) {
  const { jobs } = await ask("/v1/jobs", { query: { state: "Completed", limit: 200 }, signal });
  const names = new Map([
    ...chosen.map((name) => [name, name]),
    ...jobs.map(({ name, display_name: title }) => [name, title ? `${title} (${name})` : name]),
  ]);
  const selects = [0, 1].map((i) =>
    el(
      "select",
      {},
      option("", t("compare.none")),
      [...names].map(([name, title]) => option(name, title, name === chosen[i])),
    ),
  );
  const open = (event) => {
    event.preventDefault();
    go(["compare"], {
      jobs: selects
        .map(({ value }) => value)
        .filter(Boolean)
        .join(","),
    });
  };
  return el(
    "form",
    { class: "inline", on: { submit: open } },
    field(t("compare.first"), selects[0]),
    field(t("compare.second"), selects[1]),
    el("button", { class: "primary" }, t("jobs.compare")),
  );
}

function drawn({ scores, settings, test }, names) {
  return [
    section(t("scores.real"), verdict(test, names)),
    el(
      "div",
      { class: "beside" },
      names.map((name) =>
        el(
          "div",
          {},
          el("h2", {}, link(to(["jobs", name]), said(name))),
          scores[name]?.arms?.length ? arms(scores[name]) : empty(t("scores.none")),
        ),
      ),
    ),
    section(t("compare.settings"), differing(settings, names)),
  ];
}

function verdict({ why_not: why, ...test }, [first, second]) {
  if (why) return empty(named("why", why));
  return comparisonTable([{ arm: first, against: second, ...test }]);
}

function differing(settings, names) {
  if (!settings.length) return empty(t("compare.same"));
  const columns = [[t("compare.setting")], ...names.map((name) => [said(name)])];
  const cells = settings.map(({ key, values }) => [
    said(key),
    ...values.map((value) => el("code", {}, said(value))),
  ]);
  return table(t("compare.settings"), columns, cells, { wide: true });
}
