// The page: it shows texts as texts, and asks the worker for answers.
const at = (id) => document.getElementById(id);
const [status, bar, log, form, box] = ["status", "bar", "log", "form", "question"].map(at);
const [send, stop, again, system] = ["send", "stop", "again", "system"].map(at);

/** A worker from a blob lives under this page's content security policy, whatever the server. */
function startWorker() {
  const script = `import ${JSON.stringify(new URL("worker.js", document.baseURI).href)};`;
  const url = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  return new Worker(url, { type: "module" });
}

const worker = startWorker();
let messages = [];
let answering = null;
let total = 0;

function show(ready) {
  send.disabled = !ready;
  again.disabled = !ready;
  stop.disabled = !answering;
}

/** One turn of the log; its text can change. */
function addTurn(role, text) {
  const turn = document.createElement("article");
  turn.className = role;
  const head = document.createElement("h3");
  head.textContent = { user: "You", assistant: "Student" }[role];
  const body = document.createElement("p");
  body.textContent = text;
  turn.append(head, body);
  log.append(turn);
  turn.scrollIntoView({ block: "end" });
  return body;
}

function ask() {
  const question = box.value;
  if (send.disabled || !question.trim()) return;
  box.value = "";
  messages.push({ role: "user", content: question });
  addTurn("user", question);
  answering = addTurn("assistant", "");
  log.setAttribute("aria-busy", "true");
  show(false);
  status.textContent = "The student answers.";
  const told = system.value.trim() ? [{ role: "system", content: system.value }] : [];
  worker.postMessage({ type: "answer", messages: [...told, ...messages] });
}

function finish(words) {
  answering = null;
  log.setAttribute("aria-busy", "false");
  status.textContent = words;
  show(true);
  box.focus();
}

const heard = {
  progress({ bytes }) {
    bar.value = total ? Math.min(1, bytes / total) : 0;
    status.textContent = `Loading the student: ${megabytes(bytes)} of ${megabytes(total)}.`;
  },
  ready({ backend }) {
    bar.hidden = true;
    at("runs").textContent = backend === "webgpu" ? "your GPU (WebGPU)" : "your processor (WebAssembly)";
    finish("Ready.");
  },
  text({ text }) {
    answering.textContent = text;
    log.lastElementChild.scrollIntoView({ block: "end" });
  },
  done({ ids, text, ended, seconds }) {
    messages.push({ role: "assistant", content: text });
    answering.textContent = text;
    const rate = (ids.length / seconds).toFixed(1);
    const words = `${ids.length} tokens in ${seconds.toFixed(1)} s (${rate} a second)`;
    finish(ended ? `Ready. ${words}.` : `Ready. The answer was cut short: ${words}.`);
  },
  failed({ during, message }) {
    if (during === "answer") {
      messages.pop();
      answering.parentElement.remove();
      finish("Ready.");
    } else {
      bar.hidden = true;
      status.textContent = "The student could not be loaded.";
    }
    fail(message);
  },
};

function fail(message) {
  at("error").textContent = message;
  at("error").hidden = false;
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

worker.onmessage = ({ data }) => heard[data.type](data);
worker.onerror = (event) => heard.failed({ during: "load", message: event.message });

form.addEventListener("submit", (event) => {
  event.preventDefault();
  at("error").hidden = true;
  ask();
});
box.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && answering) stop.click();
});
stop.addEventListener("click", () => worker.postMessage({ type: "stop" }));
again.addEventListener("click", () => {
  messages = [];
  log.replaceChildren();
  box.focus();
});

async function start() {
  const [made, facts] = await Promise.all(
    ["export.json", "student.json"].map(async (name) => (await fetch(name)).json()),
  );
  const backend = new URLSearchParams(location.search).get("backend") ?? undefined;
  at("name").textContent = made.name;
  at("architecture").textContent = facts.architecture;
  at("parameters").textContent = facts.parameters.toLocaleString("en");
  at("precision").textContent = made.precision;
  at("context").textContent = `${made.context.toLocaleString("en")} tokens`;
  total = facts.bytes[backend === "webgpu" ? "webgpu" : "wasm"];
  at("size").textContent = megabytes(total);
  worker.postMessage({ type: "load", backend });
}

show(false);
start().catch((error) => heard.failed({ during: "load", message: error.message }));
