// The log as it is written.

import { at, send } from "../../api.js";
import { el, put } from "../../dom.js";
import { pieces, whileSeen } from "../../events.js";
import { t } from "../../i18n.js";
import { problem } from "../../widgets.js";

const MOST = 400_000; // characters kept on the page; the file has all
const NEAR = 40; // pixels from the end within which reading counts as following

export function show(body, { name, signal }) {
  const log = el("pre", {
    class: "log",
    tabindex: "0",
    role: "log",
    "aria-live": "off",
    "aria-label": t("part.logs"),
  });
  const following = el("input", { type: "checkbox", checked: true, id: "follow" });
  log.addEventListener(
    "scroll",
    () => (following.checked = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR),
  );
  const trouble = el("div");
  body.append(
    el("div", { class: "row" }, el("label", { for: "follow" }, following, ` ${t("logs.follow")}`)),
    trouble,
    log,
  );
  read(name, signal, (text) => add(log, following, text)).catch((error) => {
    if (!signal.aborted) put(trouble, problem(error));
  });
}

async function read(name, signal, add) {
  const decoder = new TextDecoder();
  let after = 0;
  await whileSeen(signal, async (stop) => {
    const query = { after, follow: true };
    const response = await send(at("jobs", name, "logs"), { query, signal: stop });
    for await (const bytes of pieces(response.body)) {
      after += bytes.length;
      add(decoder.decode(bytes, { stream: true }));
    }
  });
}

function add(log, following, text) {
  const end = following.checked;
  log.append(text);
  for (let size = log.textContent.length; size > MOST && log.childNodes.length > 1;) {
    size -= log.firstChild.length;
    log.firstChild.remove();
  }
  if (end) log.scrollTop = log.scrollHeight;
}
