// The arms with their intervals, and whether the differences are real.

import { ask, at } from "../../api.js";
import { t } from "../../i18n.js";
import { empty, loaded } from "../../widgets.js";
import { arms, comparisons } from "../../arms.js";

export function show(body, { name, signal }) {
  return loaded(body, () => ask(at("jobs", name, "scores"), { signal }), drawn);
}

function drawn(scores) {
  if (!scores.arms?.length) return empty(t("scores.none"));
  return [arms(scores), comparisons(scores)];
}
