// node sample.mjs "Where is my order?" : the same student and the same code as in the browser.
import { read } from "./files.mjs";
import { loadStudent } from "./student.js";

const student = await loadStudent(read);
let text = "";
for await (const part of student.answer([{ role: "user", content: process.argv[2] ?? "" }])) {
  text = part.text;
}
process.stdout.write(`${text}\n`);
