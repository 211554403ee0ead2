// The words of the interface. What the service says (errors, notes, names) is shown as it says it.

const KEY = "mwalimu.language";
export const LANGUAGES = { en: "English", sw: "Kiswahili" };

let words = {};
export let language = "en";

export async function speak(wanted) {
  language = wanted in LANGUAGES ? wanted : "en";
  words = (await import(`./${language}.js`)).default;
  document.documentElement.lang = language;
}

export function chosenLanguage() {
  return localStorage.getItem(KEY) ?? navigator.language.split("-")[0];
}

export async function choose(wanted) {
  localStorage.setItem(KEY, wanted);
  await speak(wanted);
}

/** The words for a key, `{name}` filled in; a key that is not known is shown as it is. */
export function t(key, values = {}) {
  const text = words[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** The words for what the service names, such as a state; the name itself where there are none. */
export function named(kind, name) {
  return words[`${kind}.${name}`] ?? String(name);
}
