// Runs the student beside the page, so that the page stays quick while it computes.
import { bestBackend } from "./runtime.js";
import { loadStudent } from "./student.js";

let student;
let stopped = false;
const say = (type, rest = {}) => self.postMessage({ type, ...rest });

/** Lets messages in between two tokens: WebAssembly holds the worker while it computes. */
const breathe = () =>
  new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => resolve(port1.close());
    port2.postMessage(null);
  });

/** Reads files of this folder and tells how many bytes of them have come. */
function reader() {
  let bytes = 0;
  return async (name) => {
    const response = await fetch(new URL(name, import.meta.url));
    if (!response.ok) throw new Error(`${name} cannot be read: the server says ${response.status}`);
    const chunks = [];
    for (const stream = response.body.getReader(); ; ) {
      const { done, value } = await stream.read();
      if (done) break;
      chunks.push(value);
      say("progress", { bytes: (bytes += value.length) });
    }
    return new Uint8Array(await new Blob(chunks).arrayBuffer());
  };
}

async function load(wanted) {
  const backend = wanted ?? (await bestBackend());
  try {
    student = await loadStudent(reader(), backend);
    return say("ready", { backend });
  } catch (error) {
    if (backend === "wasm" || wanted) throw error;
    console.warn("the GPU cannot run this student, so the processor does", error);
  }
  student = await loadStudent(reader(), "wasm");
  say("ready", { backend: "wasm" });
}

async function answer(messages) {
  stopped = false;
  const began = performance.now();
  let last = { ids: [], text: "", ended: false };
  for await (last of student.answer(messages)) {
    say("text", { text: last.text });
    await breathe();
    if (stopped) break;
  }
  const seconds = (performance.now() - began) / 1000;
  say("done", { ids: last.ids, text: last.text, ended: last.ended, seconds });
}

const actions = {
  load: ({ backend }) => load(backend),
  answer: ({ messages }) => answer(messages),
  stop: async () => void (stopped = true),
};

self.onmessage = async ({ data }) => {
  try {
    await actions[data.type](data);
  } catch (error) {
    say("failed", { during: data.type, message: String(error?.message ?? error) });
  }
};
