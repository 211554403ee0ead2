// JSON values as YAML, for people to read and to keep as distill.yaml.

const PLAIN = /^[A-Za-z][A-Za-z0-9_./-]*( [A-Za-z0-9_./-]+)*$/;
const WORDS = /^(true|false|null|yes|no|on|off|y|n)$/i; // that some readers take for something else

export function yaml(value, indent = "") {
  return nested(value) ? block(value, indent) : `${scalar(value)}\n`;
}

const nested = (value) =>
  value !== null && typeof value === "object" && Object.keys(value).length > 0;

function block(value, indent) {
  const list = Array.isArray(value);
  return Object.entries(value)
    .map(([key, inner]) => `${indent}${list ? "-" : `${scalar(key)}:`}${below(inner, indent)}`)
    .join("");
}

function below(inner, indent) {
  return nested(inner) ? `\n${block(inner, `${indent}  `)}` : ` ${scalar(inner)}\n`;
}

function scalar(value) {
  if (typeof value === "string")
    return PLAIN.test(value) && !WORDS.test(value) ? value : quoted(value);
  if (typeof value === "number") return number(value);
  return JSON.stringify(value);
}

/** JSON is YAML but for characters that YAML does not print. */
function quoted(text) {
  return JSON.stringify(text).replace(
    /[\u007f-\u009f\u2028\u2029\ufeff\ufffe\uffff]/g,
    (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

/** `1e-7` has no dot, and so is text to YAML 1.1. */
function number(value) {
  const text = String(value);
  return /^-?\d+e/.test(text) ? text.replace("e", ".0e") : text;
}
