// The public API, and nothing else: JSON over fetch, with the key, revisions and idempotency keys.

import { NoAnswer, Problem } from "./problems.js";

const ANSWER_MS_MAX = 30_000;
const READING_MS_MAX = 15_000;

export class Api {
  /** `person` is told to the service as whom the key acts for; `onUnauthorized` when the key is not known. */
  constructor({ key, person, onUnauthorized }) {
    this.key = key;
    this.person = person;
    this.onUnauthorized = onUnauthorized;
  }

  /** Read something. */
  async get(path, query = {}, { signal } = {}) {
    return (await this.send("GET", path + queryString(query), { signal })).data;
  }

  /** Change something; `revision` is the one that the person has seen. */
  async change(method, path, body, { revision, idempotencyKey, prefer } = {}) {
    const headers = {};
    if (revision !== undefined) headers["If-Match"] = `"${revision}"`;
    if (idempotencyKey !== undefined) headers["Idempotency-Key"] = idempotencyKey;
    if (prefer !== undefined) headers.Prefer = prefer;
    return (await this.send(method, path, { body, headers })).data;
  }

  /** Send one request; the answer's body is read as JSON. */
  async send(method, path, { body, headers = {}, signal } = {}) {
    const limit = AbortSignal.timeout(method === "GET" ? READING_MS_MAX : ANSWER_MS_MAX);
    const response = await this.open(method, path, {
      body,
      headers,
      signal: signal === undefined ? limit : AbortSignal.any([signal, limit]),
    });
    try {
      const text = await response.text();
      return { status: response.status, data: text === "" ? null : JSON.parse(text) };
    } catch (error) {
      throw new NoAnswer(error);
    }
  }

  /** Send one request and give the response with its body unread; problems are thrown. */
  async open(method, path, { body, headers = {}, signal } = {}) {
    const sent = { Authorization: `Bearer ${this.key}`, ...headers };
    if (body !== undefined) sent["Content-Type"] = "application/json";
    if (method !== "GET" && this.person.trim() !== "") sent["Turnledger-On-Behalf-Of"] = headerText(this.person.trim());
    let response;
    try {
      response = await fetch(path, {
        method,
        headers: sent,
        body: body === undefined ? undefined : JSON.stringify(body),
        signal,
        cache: "no-store",
      });
    } catch (error) {
      if (signal?.aborted && signal.reason?.name === "AbortError") throw signal.reason;
      throw new NoAnswer(error);
    }
    if (response.ok) return response;
    const problem = new Problem(response.status, await response.json().catch(() => ({})));
    if (response.status === 401) this.onUnauthorized(problem);
    throw problem;
  }
}

/** Make a key under which a call happens once, however often it is sent. */
export function newIdempotencyKey() {
  // randomUUID is there only where the page came over TLS or from this machine.
  if (crypto.randomUUID !== undefined) return `panel-${crypto.randomUUID()}`;
  return `panel-${Array.from(crypto.getRandomValues(new Uint32Array(4)), (word) => word.toString(16)).join("-")}`;
}

/** Any text as a header field can hold it: its UTF-8 bytes, each a character. */
function headerText(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

function queryString(query) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return given.length === 0 ? "" : `?${new URLSearchParams(given)}`;
}
