// Server-sent events over fetch, which can carry a token; taken up again where they broke off.

import { Problem, send } from "./api.js";
import { pause } from "./dom.js";

const FULL = 429; // as many streams as may be: one of them will close

/**
 * Calls `heard(event)` for each until `signal`, of one job or of all. `opened()` is awaited once the
 * stream first stands: what is loaded in it misses nothing.
 */
export async function follow({ job, signal, opened, heard }) {
  let after;
  let wait = 1;
  const listen = async (stop) => {
    const query = { follow: true, job, after };
    const response = await send("/v1/events", { query, signal: stop });
    connection(true);
    if (after === undefined) await opened();
    for await (const { id, event } of messages(response.body)) {
      wait = 1;
      after = id ?? after;
      if (event) heard(event);
    }
  };
  while (!signal.aborted) {
    try {
      await whileSeen(signal, listen);
    } catch (error) {
      if (error instanceof Problem && error.status < 500 && error.status !== FULL) throw error;
    }
    if (!signal.aborted) connection(false);
    await pause(wait, signal);
    wait = Math.min(2 * wait, 15);
  }
}

/**
 * Calls `act(stop)`; a page that nobody sees stops it, and calls it again when it is seen. So tabs in
 * the background hold no connection, of which a browser has few.
 */
export async function whileSeen(signal, act) {
  for (;;) {
    await shown(signal);
    if (signal.aborted) return;
    const hidden = whenHidden();
    try {
      return await act(AbortSignal.any([signal, hidden.signal]));
    } catch (error) {
      if (!hidden.signal.aborted) throw error;
    } finally {
      hidden.forget();
    }
  }
}

function connection(up) {
  dispatchEvent(new CustomEvent("connection", { detail: up }));
}

/** A stream's messages as {id, event}; a comment is neither. */
export async function* messages(body) {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const bytes of pieces(body)) {
    rest += decoder.decode(bytes, { stream: true });
    const whole = rest.split("\n\n");
    rest = whole.pop();
    yield* whole.map(read);
  }
}

function read(message) {
  const lines = message.split("\n");
  const of = (field) =>
    lines.find((line) => line.startsWith(`${field}: `))?.slice(field.length + 2);
  return { id: of("id"), event: of("data") && JSON.parse(of("data")) };
}

/** A body's bytes as they come. */
export async function* pieces(body) {
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function shown(signal) {
  if (!document.hidden) return Promise.resolve();
  return new Promise((done) => {
    document.addEventListener("visibilitychange", done, { once: true, signal });
    signal.addEventListener("abort", done, { once: true });
  });
}

function whenHidden() {
  const stop = new AbortController();
  const look = () => document.hidden && stop.abort();
  document.addEventListener("visibilitychange", look);
  return {
    signal: stop.signal,
    forget: () => document.removeEventListener("visibilitychange", look),
  };
}
