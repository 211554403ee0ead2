// node check.mjs : whether the tokenizer of this folder works here as it did in training.
import { read } from "./files.mjs";
import { Speech } from "./speech.js";

try {
  new Speech(JSON.parse(await read("tokenizer.json")), JSON.parse(await read("speech.json")));
} catch (error) {
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 1;
}
