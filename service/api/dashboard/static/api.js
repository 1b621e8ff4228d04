// The service's REST interface. The admin token lives in this variable only: not in storage, a cookie or an address.

let token = null;

export class Problem extends Error {
  constructor(status, code, detail) {
    super(detail);
    Object.assign(this, { status, code });
  }
}

export const hasToken = () => token !== null;
export const forgetToken = () => { token = null; };

/** Take a token if the service says that it is the right one. Throws Problem. */
export async function useToken(text) {
  await ask("dashboard/token", { headers: { Authorization: `Bearer ${text}` } });
  token = text;
}

/** A JSON document, with its ETag if it has one. Throws Problem, also without an answer. */
export async function get(path, query = {}) {
  const response = await ask(path + (Object.keys(query).length ? `?${new URLSearchParams(query)}` : ""));
  return response.json();
}

/** Send a decision made at `revision`. Throws Problem. */
export async function decide(method, path, revision, body) {
  const headers = { "Content-Type": "application/json", "If-Match": `"${revision}"` };
  const response = await ask(`${path}?wait=true&timeout=10`, { method, headers, body: JSON.stringify(body) });
  return response.json();
}

export const modelPath = (model, rest = "") => `v1/models/${encodeURIComponent(model)}${rest}`;

async function ask(path, { headers = {}, ...options } = {}) {
  const admin = token === null ? {} : { Authorization: `Bearer ${token}` };
  let response;
  try {
    response = await fetch(path, { cache: "no-store", credentials: "omit", ...options, headers: { ...admin, ...headers } });
  } catch {
    throw new Problem(0, "unreachable", "The service does not answer; the page goes on asking.");
  }
  if (!response.ok) throw await problemOf(response);
  return response;
}

async function problemOf(response) {
  const document = await response.json().catch(() => ({}));
  const places = (document.errors ?? []).map((each) => each.msg ?? each.message).filter(Boolean).join("; ");
  const detail = document.detail ?? `The service answered with status ${response.status}.`;
  return new Problem(response.status, document.code ?? "unknown", places ? `${detail} ${places}` : detail);
}
