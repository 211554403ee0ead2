// What happened, the newest first.

import { send } from "../../api.js";
import { el, said } from "../../dom.js";
import { messages } from "../../events.js";
import { exact } from "../../format.js";
import { named, t } from "../../i18n.js";
import { table, tableRow } from "../../widgets.js";

const MOST = 500;

export async function show(body, { name, signal, listen }) {
  const columns = [[t("events.time")], [t("events.kind")], [t("events.what")]];
  const shown = table(t("part.events"), columns, []);
  const rows = shown.querySelector("tbody");
  const add = (event) => {
    rows.prepend(tableRow(columns, cells(event)));
    if (rows.childElementCount > MOST) rows.lastChild.remove();
  };
  body.append(shown);
  const response = await send("/v1/events", { query: { after: 0, job: name }, signal });
  let newest = 0;
  for await (const { event } of messages(response.body)) {
    newest = event.number;
    add(event);
  }
  listen((event) => event.number > newest && add(event));
}

function cells({ time, kind, data }) {
  return [
    el("time", { datetime: new Date(time * 1000).toISOString() }, exact(new Date(time * 1000))),
    named("event", kind),
    what(kind, data),
  ];
}

function what(kind, data) {
  if (kind === "state") return `${named("state", data.before)} → ${named("state", data.state)}`;
  return said(
    Object.entries(data)
      .map(([key, value]) => `${key}: ${typeof value === "object" ? JSON.stringify(value) : value}`)
      .join(", "),
  );
}
