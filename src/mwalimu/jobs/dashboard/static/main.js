// Starts the dashboard: the bar at the top, the language, the colours, the page.

import { ask, signOut, signedIn, takeToken } from "./api.js";
import { announce, el, put } from "./dom.js";
import { choose, chosenLanguage, language, LANGUAGES, speak, t } from "./i18n.js";
import { PAGES, pageTitle, place, show, to } from "./router.js";
import { learnStates } from "./states.js";
import { select } from "./widgets.js";

const THEME = "mwalimu.theme";
let me = null;

function colours(theme) {
  document.documentElement.dataset.theme = theme;
  localStorage.setItem(THEME, theme);
}

async function draw() {
  if (signedIn() && me === null) me = await ask("/v1/me").catch(() => null);
  if (!signedIn()) me = null;
  document.getElementById("skip").textContent = t("skip");
  put(document.getElementById("top"), bar());
  if (me) await learnStates().catch(() => {});
  await show();
}

function bar() {
  const pages = PAGES.filter((page) => page !== "admin" || me?.role === "admin");
  return [
    el("a", { class: "brand", href: to(["jobs"]) }, "mwalimu"),
    el("nav", { "aria-label": t("nav") }, me && pages.map(tab)),
    el(
      "div",
      { class: "settings" },
      me && el("span", { class: "connection", id: "connection", title: t("live.up") }),
      select(t("language"), LANGUAGES, language, (wanted) => choose(wanted).then(draw)),
      select(t("theme"), themes(), localStorage.getItem(THEME) ?? "auto", colours),
      me && el("span", { class: "who" }, el("bdi", {}, me.name), ` · ${t(`role.${me.role}`)}`),
      me && el("button", { type: "button", class: "plain", on: { click: leave } }, t("sign.out")),
    ),
  ];
}

function tab(page) {
  const current = place().page === page;
  return el("a", { href: to([page]), "aria-current": current && "page" }, pageTitle(page));
}

const themes = () => ({ auto: t("theme.auto"), light: t("theme.light"), dark: t("theme.dark") });

function leave() {
  signOut();
  draw();
}

function connected({ detail: up }) {
  const mark = document.getElementById("connection");
  if (!mark || mark.classList.contains("down") === !up) return;
  mark.classList.toggle("down", !up);
  mark.title = up ? t("live.up") : t("live.down");
  announce(mark.title);
}

function moved() {
  takeToken();
  draw();
}

/** The fragment is the page's address, so that this link moves the focus alone. */
function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

document.getElementById("skip").addEventListener("click", skip);
addEventListener("hashchange", moved);
addEventListener("signed-out", draw);
addEventListener("signed-in", draw);
addEventListener("connection", connected);
colours(localStorage.getItem(THEME) ?? "auto");
takeToken();
await speak(chosenLanguage());
await draw();
