// Asks for the token.

import { signIn } from "../api.js";
import { el } from "../dom.js";
import { t } from "../i18n.js";
import { heading } from "../router.js";
import { field, note } from "../widgets.js";

export function show(main) {
  const token = el("input", {
    type: "password",
    autocomplete: "off",
    required: true,
    spellcheck: "false",
  });
  const enter = (event) => {
    event.preventDefault();
    signIn(token.value.trim());
    dispatchEvent(new Event("signed-in"));
  };
  main.append(
    el(
      "form",
      { class: "login card", on: { submit: enter } },
      heading(t("login.title")),
      note(t("login.about")),
      field(t("login.token"), token),
      el("button", { class: "primary" }, t("login.enter")),
    ),
  );
}
