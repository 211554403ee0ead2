// The whole config of the job.

import { ask, at } from "../../api.js";
import { el } from "../../dom.js";
import { t } from "../../i18n.js";
import { button, loaded, told } from "../../widgets.js";
import { yaml } from "../../yaml.js";

export function show(body, { name, signal }) {
  return loaded(body, () => ask(at("jobs", name, "config"), { signal }), drawn);
}

function drawn(config) {
  const text = yaml(config);
  const copy = () => navigator.clipboard.writeText(text).then(() => told(t("copied")));
  return [
    el("div", { class: "row" }, button(t("copy"), copy)),
    el("pre", { tabindex: "0", "aria-label": t("part.config") }, text),
  ];
}
