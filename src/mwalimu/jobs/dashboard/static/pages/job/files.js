// What the run made, to take home.

import { ask, at, download } from "../../api.js";
import { el, said } from "../../dom.js";
import { bytes } from "../../format.js";
import { t } from "../../i18n.js";
import { attempt, button, empty, loaded, table } from "../../widgets.js";

export function show(body, { name, signal }) {
  const trouble = el("div");
  const list = el("div");
  body.append(trouble, list);
  const fetched = (path) =>
    attempt(trouble, () =>
      download(
        `${at("jobs", name, "artefacts")}/${path.split("/").map(encodeURIComponent).join("/")}`,
        path.split("/").at(-1),
        signal,
      ),
    );
  const drawn = ({ files }) => {
    if (!files.length) return empty(t("files.none"));
    const columns = [[t("files.path")], [t("files.size"), "number"], ["SHA-256"], [t("files.get")]];
    const cells = files.map(({ path, size, sha256 }) => [
      said(path),
      bytes(size),
      el("code", { title: sha256 }, String(sha256).slice(0, 12)),
      button(t("files.download"), () => fetched(path), {
        "aria-label": t("files.download.one", { path }),
      }),
    ]);
    return table(t("part.files"), columns, cells, { wide: true });
  };
  return loaded(list, () => ask(at("jobs", name, "artefacts"), { signal }), drawn);
}
