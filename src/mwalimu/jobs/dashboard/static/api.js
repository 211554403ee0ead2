// The service's HTTP interface. The token lives in this tab alone, and in no address.

const KEY = "mwalimu.token";

export class Problem extends Error {
  constructor(status, { what = "", where = "", fix = "", rows = [] } = {}) {
    super(what);
    Object.assign(this, { status, what, where, fix, rows });
  }
}

/** Takes the token out of `#token=...`, so that neither the history nor a screenshot has it. */
export function takeToken() {
  const found = /^#token=(.+)$/.exec(location.hash);
  if (!found) return;
  signIn(decodeURIComponent(found[1]));
  history.replaceState(null, "", location.pathname);
}

export const signIn = (token) => sessionStorage.setItem(KEY, token);
export const signOut = () => sessionStorage.removeItem(KEY);
export const signedIn = () => sessionStorage.getItem(KEY) !== null;

/** The answer's JSON, null if it is empty. Throws a Problem, or TypeError if nobody answers. */
export async function ask(path, options = {}) {
  const response = await send(path, options);
  return response.status === 204 ? null : response.json();
}

/** As `ask`, but the response itself, whose body may still be coming. */
export async function send(path, { method = "GET", query = {}, body, signal } = {}) {
  const file = body instanceof Blob;
  const response = await fetch(path + search(query), {
    method,
    signal,
    headers: {
      Authorization: `Bearer ${sessionStorage.getItem(KEY)}`,
      ...(body !== undefined && {
        "Content-Type": file ? "application/jsonl" : "application/json",
      }),
    },
    body: file || body === undefined ? body : JSON.stringify(body),
  });
  if (response.ok) return response;
  if (response.status === 401) {
    signOut();
    dispatchEvent(new Event("signed-out"));
  }
  throw new Problem(response.status, await told(response));
}

async function told(response) {
  try {
    return (await response.json()).error;
  } catch {
    return { what: response.statusText || String(response.status) };
  }
}

function search(query) {
  const given = Object.entries(query).filter(([, value]) => value != null && value !== "");
  return given.length ? `?${new URLSearchParams(given)}` : "";
}

/** A path of names, each of which stays one piece of it. */
export function at(...names) {
  return `/v1/${names.map((name) => encodeURIComponent(name)).join("/")}`;
}

/** Saves what an address answers under a name; the token goes in the header, not into a link. */
export async function download(path, name, signal) {
  const response = await send(path, { signal });
  const anchor = document.createElement("a");
  anchor.href = URL.createObjectURL(await response.blob());
  anchor.download = name;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}
