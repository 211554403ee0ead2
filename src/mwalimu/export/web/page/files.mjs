// Reads this folder's files in node.
import { readFile } from "node:fs/promises";

export const read = (name) => readFile(new URL(name, import.meta.url));
