// Chat templates as Python renders them. The engine's strip, lstrip and rstrip take white space
// alone off a text; Python's take the characters that they are given, and Qwen 3's template gives
// them.
import { Template } from "./vendor/jinja.js";

const STRIPS = {
  strip: (text, characters) => right(left(text, characters), characters),
  lstrip: left,
  rstrip: right,
};

/** A function of the template's variables that gives its text, or throws as the template does. */
export function compile(source) {
  const template = new Template(source);
  callStrips(template.parsed);
  return (items) => template.render({ ...items, ...STRIPS });
}

/** Turns text.lstrip(characters) into lstrip(text, characters), everywhere below a node. */
function callStrips(node) {
  if (node === null || typeof node !== "object") return;
  Object.values(node).forEach(callStrips);
  const { callee } = node;
  if (node.type !== "CallExpression" || callee.type !== "MemberExpression") return;
  if (callee.computed || !node.args.length || !(callee.property.value in STRIPS)) return;
  node.args.unshift(callee.object);
  node.callee = callee.property;
}

function left(text, characters) {
  const rest = [...text];
  const kept = rest.findIndex((one) => !characters.includes(one));
  return kept < 0 ? "" : rest.slice(kept).join("");
}

function right(text, characters) {
  const rest = [...text];
  const kept = rest.findLastIndex((one) => !characters.includes(one));
  return rest.slice(0, kept + 1).join("");
}
