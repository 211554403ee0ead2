// Numbers, money, times and sizes as people read them; what is unknown is a dash.

import { el } from "./dom.js";
import { language, t } from "./i18n.js";

export const NONE = "–";

const known = (value) => typeof value === "number" && Number.isFinite(value);

const made = new Map();

/** To make a formatter takes longer than to format a column of values. */
function formatter(Kind, options) {
  const key = `${Kind.name} ${language} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new Kind(language, options));
  return made.get(key);
}

function format(value, options) {
  return known(value) ? formatter(Intl.NumberFormat, options).format(value) : NONE;
}

/** Three digits that count. */
export function number(value) {
  const tiny = value !== 0 && Math.abs(value) < 0.001;
  return format(value, { maximumSignificantDigits: 3, notation: tiny ? "scientific" : "standard" });
}

export const whole = (value) => format(value, { maximumFractionDigits: 0 });
export const percent = (value) => format(value, { style: "percent", maximumFractionDigits: 1 });

export function money(value) {
  const digits = Math.abs(value) >= 1 || value === 0 ? 2 : 4;
  return known(value)
    ? `$${format(value, { minimumFractionDigits: digits, maximumFractionDigits: digits })}`
    : NONE;
}

export function bytes(value) {
  if (!known(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = value < 1 ? 0 : Math.min(Math.floor(Math.log2(value) / 10), units.length - 1);
  return `${number(value / 2 ** (10 * step))} ${units[step]}`;
}

export function duration(seconds) {
  if (!known(seconds)) return NONE;
  if (seconds < 60) return `${number(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

const STEPS = [
  ["day", 86400],
  ["hour", 3600],
  ["minute", 60],
];

/** How long ago, with the exact moment as its title. */
export function when(seconds) {
  if (!known(seconds)) return NONE;
  const moment = new Date(seconds * 1000);
  const ago = seconds - Date.now() / 1000;
  const [unit, size] = STEPS.find(([, length]) => Math.abs(ago) >= length) ?? [];
  const text = unit
    ? formatter(Intl.RelativeTimeFormat, { numeric: "auto" }).format(Math.round(ago / size), unit)
    : t("time.now");
  return el("time", { datetime: moment.toISOString(), title: exact(moment) }, text);
}

export function exact(moment) {
  return formatter(Intl.DateTimeFormat, { dateStyle: "medium", timeStyle: "medium" }).format(
    moment,
  );
}

/** `81.2 % [78.9 %, 83.3 %]` of {mean, low, high}. */
export function interval(found) {
  if (!known(found?.mean)) return NONE;
  return `${percent(found.mean)} [${percent(found.low)}, ${percent(found.high)}]`;
}
