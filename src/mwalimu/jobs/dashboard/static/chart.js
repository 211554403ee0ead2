// Curves in SVG: axes, the values under the pointer or the arrow keys, and the same as a table.

import { el, put, svg } from "./dom.js";
import { number, whole } from "./format.js";
import { t } from "./i18n.js";
import { table } from "./widgets.js";

const HEIGHT = 200;
const MARGIN = { top: 10, right: 12, bottom: 24, left: 56 };
const TABLE_ROWS = 40;

/**
 * A figure that can be drawn again with other points. A series is {name, points: [[x, y], ...]} with
 * x in order; all share both axes.
 */
export function chart({ title, unit = "", across = t("curves.step") }) {
  const drawing = svg("svg", { class: "chart", tabindex: "0", role: "img", height: HEIGHT });
  const reading = el("p", { class: "reading", "aria-live": "polite" });
  const values = el("details", {}, el("summary", {}, t("curves.table")));
  const figure = el(
    "figure",
    {},
    el("figcaption", {}, title, unit && el("small", {}, ` ${unit}`)),
    drawing,
    reading,
    values,
  );
  const state = { series: [], at: null, width: 0, title, across };
  const draw = () => redraw(drawing, reading, state);
  new ResizeObserver(([entry]) => {
    state.width = Math.round(entry.contentRect.width);
    draw();
  }).observe(figure);
  drawing.addEventListener("pointermove", (event) => {
    state.at = nearest(state, event.clientX - drawing.getBoundingClientRect().left);
    draw();
  });
  drawing.addEventListener("pointerleave", () => ((state.at = null), draw()));
  drawing.addEventListener("keydown", (event) => {
    if (!stepped(state, event.key)) return;
    event.preventDefault();
    draw();
  });
  values.addEventListener("toggle", () => values.open && fillTable(values, state));
  figure.update = (series) => {
    state.series = series.filter(({ points }) => points.length);
    drawing.setAttribute("aria-label", summary(state));
    if (values.open) fillTable(values, state);
    draw();
  };
  return figure;
}

function redraw(drawing, reading, state) {
  if (!state.width) return;
  drawing.setAttribute("width", state.width);
  if (!state.series.length) {
    put(
      drawing,
      svg("text", { x: state.width / 2, y: HEIGHT / 2, class: "none" }, t("curves.none")),
    );
    return;
  }
  const scale = scaled(state);
  put(
    drawing,
    ticks(scale.y0, scale.y1, 4).map((value) => across(scale, value)),
    ticks(scale.x0, scale.x1, Math.max(2, state.width / 120)).map((value) => under(scale, value)),
    state.series.map(({ points }, i) => curve(scale, points, i)),
    state.at !== null && cursor(scale, state),
  );
  put(reading, state.at === null ? legend(state) : read(state));
}

function scaled({ series, width }) {
  const points = series.flatMap((one) => one.points);
  const xs = points.map(([x]) => x);
  const ys = points.map(([, y]) => y);
  const [x0, x1] = apart(least(xs), most(xs));
  const [y0, y1] = apart(least(ys), most(ys));
  const inner = { w: width - MARGIN.left - MARGIN.right, h: HEIGHT - MARGIN.top - MARGIN.bottom };
  return {
    x0,
    x1,
    y0,
    y1,
    width,
    x: (value) => MARGIN.left + ((value - x0) / (x1 - x0)) * inner.w,
    y: (value) => MARGIN.top + (1 - (value - y0) / (y1 - y0)) * inner.h,
  };
}

const least = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const most = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);
const apart = (low, high) =>
  low < high ? [low, high] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];

/** Round values between two, about as many as asked for. */
function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

function across(scale, value) {
  const y = scale.y(value);
  return [
    svg("line", { class: "grid", x1: MARGIN.left, x2: scale.width - MARGIN.right, y1: y, y2: y }),
    svg("text", { class: "tick y", x: MARGIN.left - 8, y: y + 4 }, number(value)),
  ];
}

function under(scale, value) {
  return svg("text", { class: "tick x", x: scale.x(value), y: HEIGHT - 6 }, whole(value));
}

function curve(scale, points, i) {
  const kept = thinned(points, scale.width);
  const path = kept.map(
    ([x, y], k) => `${k ? "L" : "M"}${scale.x(x).toFixed(1)} ${scale.y(y).toFixed(1)}`,
  );
  const dots =
    points.length <= 40 &&
    points.map(([x, y]) =>
      svg("circle", { class: `dot c${i}`, cx: scale.x(x), cy: scale.y(y), r: 2.5 }),
    );
  return [svg("path", { class: `curve c${i}`, d: path.join("") }), dots];
}

/** The lowest and highest point of each stretch of a pixel: the same picture of fewer points. */
function thinned(points, width) {
  if (points.length <= 2 * width) return points;
  const size = Math.ceil(points.length / width);
  const found = [];
  for (let i = 0; i < points.length; i += size) {
    const stretch = points.slice(i, i + size);
    const low = stretch.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = stretch.reduce((a, b) => (b[1] > a[1] ? b : a));
    found.push(...(low[0] <= high[0] ? [low, high] : [high, low]));
  }
  return found;
}

function cursor(scale, { at, series }) {
  const x = scale.x(at);
  const dots = series.map(({ points }, i) => {
    const [px, py] = closest(points, at);
    return svg("circle", { class: `dot c${i}`, cx: scale.x(px), cy: scale.y(py), r: 4 });
  });
  return [
    svg("line", { class: "cursor", x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom }),
    dots,
  ];
}

function closest(points, at) {
  return points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a));
}

function nearest(state, pixel) {
  if (!state.series.length) return null;
  const { x0, x1 } = scaled(state);
  const inner = state.width - MARGIN.left - MARGIN.right;
  const value = x0 + ((pixel - MARGIN.left) / inner) * (x1 - x0);
  return closest(state.series[0].points, value)[0];
}

function stepped(state, key) {
  const xs = state.series[0]?.points.map(([x]) => x) ?? [];
  const here = state.at === null ? -1 : xs.indexOf(state.at);
  const far = Math.max(1, Math.round(xs.length / 50));
  const next = { ArrowRight: here + far, ArrowLeft: here - far, Home: 0, End: xs.length - 1 }[key];
  if (next === undefined || !xs.length) return false;
  state.at = xs[Math.min(Math.max(next, 0), xs.length - 1)];
  return true;
}

function legend({ series }) {
  if (series.length === 1) return t("curves.last", { value: number(series[0].points.at(-1)[1]) });
  return series.map(({ name, points }, i) => keyed(name, points.at(-1)[1], i));
}

function read({ series, at, across }) {
  const found = series.map(({ name, points }, i) => keyed(name, closest(points, at)[1], i));
  return [el("span", {}, `${across} ${whole(at)}`), found];
}

function keyed(name, value, i) {
  return el(
    "span",
    { class: "key" },
    el("i", { class: `c${i}`, "aria-hidden": "true" }),
    `${name} ${number(value)}`,
  );
}

function summary({ title, series }) {
  const parts = series.map(({ name, points }) => {
    const values = { name, first: number(points[0][1]), last: number(points.at(-1)[1]) };
    return t("curves.summary", values);
  });
  return `${title}. ${parts.join(" ") || t("curves.none")}`;
}

function fillTable(values, { series, title, across }) {
  const longest = series.reduce((a, b) => (b.points.length > a.points.length ? b : a), {
    points: [],
  });
  const every = Math.ceil(longest.points.length / TABLE_ROWS);
  const xs = longest.points.map(([x]) => x).filter((_, i) => i % every === 0);
  const rows = xs.map((x) => [
    whole(x),
    ...series.map(({ points }) => number(closest(points, x)[1])),
  ]);
  const columns = [[across, "number"], ...series.map(({ name }) => [name, "number"])];
  values.querySelector(".scroll")?.remove();
  values.append(table(title, columns, rows));
}
