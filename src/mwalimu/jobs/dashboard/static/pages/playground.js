// The same question to teacher and student, their answers next to each other.

import { ask, at } from "../api.js";
import { announce, el, link, put, said } from "../dom.js";
import { duration } from "../format.js";
import { t } from "../i18n.js";
import { heading, pageTitle, to } from "../router.js";
import { attempt, empty, field, note, option } from "../widgets.js";

export async function show(main, { query, signal }) {
  const { jobs } = await ask("/v1/jobs", {
    query: { state: "Completed", kind: "distillation", limit: 200 },
    signal,
  });
  main.append(heading(pageTitle("playground")));
  if (!jobs.length) return main.append(empty(t("playground.none")));
  const job = el(
    "select",
    {},
    jobs.map(({ name, display_name: title }) =>
      option(name, title || name, name === query.get("job")),
    ),
  );
  const system = el("textarea", { rows: 2 });
  const question = el("textarea", { rows: 4, required: true });
  const most = el("input", { type: "number", min: 1, max: 4096, value: 256 });
  const pay = el("input", { type: "checkbox", id: "pay" });
  const send = el("button", { class: "primary" }, t("playground.ask"));
  const trouble = el("div");
  const answers = el("div", { class: "beside", "aria-live": "polite" });
  const asked = async (event) => {
    event.preventDefault();
    send.disabled = true;
    put(answers, note(t("playground.waiting")));
    const done = await attempt(trouble, async () => {
      const body = {
        messages: messages(system.value, question.value),
        max_tokens: Number(most.value),
        pay: pay.checked,
      };
      const found = await ask(at("jobs", job.value, "ask"), { method: "POST", body, signal });
      put(
        answers,
        answer(t("playground.teacher"), found.teacher, pay.checked && found.note),
        answer(t("playground.student"), found.student),
      );
      announce(t("playground.done"));
    });
    if (!done) put(answers);
    send.disabled = false;
  };
  const keys = (event) =>
    event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.form?.requestSubmit();
  main.append(
    el(
      "form",
      { class: "stack", on: { submit: asked, keydown: keys } },
      field(t("playground.job"), job),
      el(
        "details",
        {},
        el("summary", {}, t("playground.more")),
        field(t("playground.system"), system),
        field(t("playground.most"), most),
        el("label", { for: "pay" }, pay, ` ${t("playground.pay")}`),
      ),
      field(t("playground.question"), question, t("playground.keys")),
      el("div", { class: "actions" }, send, link(to(["models"]), pageTitle("models"))),
      trouble,
    ),
    answers,
  );
}

function messages(system, question) {
  const first = system.trim() ? [{ role: "system", content: system }] : [];
  return [...first, { role: "user", content: question }];
}

function answer(title, found, why) {
  return el(
    "article",
    { class: "card answer" },
    el("h2", {}, title, found && el("small", {}, ` ${duration(found.seconds)}`)),
    found
      ? el("p", { class: "text", dir: "auto" }, said(found.text))
      : note(why ? said(why) : t("playground.costs")),
  );
}
