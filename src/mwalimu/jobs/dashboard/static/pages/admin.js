// Tokens and the audit log, for admins.

import { ask, at } from "../api.js";
import { el, put, said } from "../dom.js";
import { exact, when } from "../format.js";
import { t } from "../i18n.js";
import { heading, pageTitle } from "../router.js";
import {
  attempt,
  button,
  confirmed,
  empty,
  field,
  loaded,
  option,
  section,
  table,
  told,
} from "../widgets.js";

const ROLES = ["viewer", "submitter", "admin"];
const PAGE = 100;

export async function show(main, { signal }) {
  const tokens = el("div");
  const trouble = el("div");
  const audit = el("div");
  const load = () =>
    loaded(
      tokens,
      () => ask("/v1/tokens", { signal }),
      (found) => tokenTable(found.tokens, trouble, load),
    );
  main.append(
    heading(pageTitle("admin")),
    section(t("admin.tokens"), trouble, tokens, newToken(load, signal)),
    section(t("admin.audit"), audit),
  );
  await Promise.all([load(), showAudit(audit, 0, signal)]);
}

function tokenTable(tokens, trouble, load) {
  const columns = [
    [t("admin.name")],
    [t("admin.role")],
    [t("models.created")],
    [t("admin.expires")],
    [t("action.delete")],
  ];
  const cells = tokens.map(({ name, role, created, expires }) => [
    said(name),
    t(`role.${role}`),
    when(created),
    expires == null ? t("admin.never") : when(expires),
    button(t("action.delete"), () => erase(name, trouble, load), {
      class: "danger",
      "aria-label": t("admin.delete.one", { name }),
    }),
  ]);
  return table(t("admin.tokens"), columns, cells);
}

function newToken(load, signal) {
  const name = el("input", { required: true, maxlength: 255, autocomplete: "off" });
  const role = el(
    "select",
    {},
    ROLES.map((one) => option(one, t(`role.${one}`))),
  );
  const days = el("input", { type: "number", min: 1, placeholder: t("admin.never") });
  const shown = el("div", { "aria-live": "polite" });
  const make = (event) => {
    event.preventDefault();
    attempt(shown, async () => {
      const expires = days.value ? Date.now() / 1000 + days.value * 86400 : null;
      const made = await ask("/v1/tokens", {
        method: "POST",
        body: { name: name.value, role: role.value, expires },
        signal,
      });
      load();
      put(shown, once(made.token));
    });
  };
  return el(
    "form",
    { class: "inline", on: { submit: make } },
    field(t("admin.name"), name),
    field(t("admin.role"), role),
    field(t("admin.days"), days),
    el("button", { class: "primary" }, t("admin.make")),
    shown,
  );
}

function once(token) {
  const copy = () => navigator.clipboard.writeText(token).then(() => told(t("copied")));
  return el(
    "div",
    { class: "card" },
    el("p", {}, t("admin.once")),
    el("code", { class: "token" }, token),
    button(t("copy"), copy),
  );
}

async function erase(name, trouble, load) {
  if (
    !(await confirmed(t("ask.delete", { name }), t("action.delete"), {
      about: t("admin.delete.about"),
      danger: true,
    }))
  )
    return;
  if (await attempt(trouble, () => ask(at("tokens", name), { method: "DELETE" }))) load();
}

async function showAudit(place, after, signal) {
  await loaded(
    place,
    () => ask("/v1/audit", { query: { after, limit: PAGE }, signal }),
    ({ entries }) => {
      if (!entries.length) return empty(t("admin.no.audit"));
      const columns = [
        ["#", "number"],
        [t("events.time")],
        [t("admin.who")],
        [t("admin.what")],
        [t("admin.on")],
        [t("admin.status"), "number"],
      ];
      const cells = entries.map(({ number, time, who, what, on, status }) => [
        String(number),
        exact(new Date(time * 1000)),
        said(who),
        said(what),
        said(on),
        String(status),
      ]);
      const next =
        entries.length === PAGE &&
        button(t("paging.newer"), () => showAudit(place, entries.at(-1).number, signal));
      const first = after > 0 && button(t("paging.first"), () => showAudit(place, 0, signal));
      return [
        table(t("admin.audit"), columns, cells, { wide: true }),
        el("nav", { class: "paging", "aria-label": t("paging") }, first, next),
      ];
    },
  );
}
