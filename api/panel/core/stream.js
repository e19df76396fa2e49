// An event stream that is followed for as long as the session is open: it reconnects where it left off.

import { Problem } from "./problems.js";

// The service says something at least every 15 s; a longer silence is a connection that died unnoticed.
const SILENCE_MS_MAX = 40_000;
// A browser keeps few connections to one host open, all tabs together: a tab that nobody sees gives its own back.
const UNSEEN_MS_MAX = 30_000;
const PAUSE_MS_MIN = 500;
const PAUSE_MS_MAX = 15_000;

/** Follow `path` until `signal` is aborted or the stream says that it is over.
 *
 * `after` is the revision behind which it begins. `onEvent({ id, type, data })` gets every event in order;
 * `onState("connecting" | "live" | "waiting" | "resting" | "over", milliseconds)` how it stands. While nobody sees
 * the page and `mayRest()` says that nothing is awaited, nothing is followed.
 */
export async function follow(api, path, { after, onEvent, onState, mayRest, signal }) {
  let lastId = null;
  let failures = 0;
  while (!signal.aborted) {
    if (document.hidden && lastId !== null && mayRest()) {
      onState("resting", 0);
      await untilSeen(signal);
      continue;
    }
    onState("connecting", 0);
    const watch = silenceWatch(signal, mayRest);
    try {
      const headers = { Accept: "text/event-stream" };
      if (lastId !== null) headers["Last-Event-ID"] = lastId;
      const address = lastId === null ? `${path}?after=${after}` : path;
      const response = await api.open("GET", address, { headers, signal: watch.signal });
      onState("live", 0);
      for await (const event of readEvents(response.body, watch.heard)) {
        failures = 0;
        if (event.id !== null) lastId = event.id;
        if (event.type === null) continue;
        onEvent(event);
        if (event.type === "end") {
          onState("over", 0);
          return;
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (watch.hasRested()) continue;
      if (error instanceof Problem && (error.status === 401 || error.status === 404)) {
        onState("over", 0);
        return;
      }
      failures += 1;
    } finally {
      watch.end();
    }
    if (signal.aborted) return;
    if (watch.hasRested()) continue;
    const pause = pauseAfter(failures);
    onState("waiting", pause);
    await restOrWake(pause, signal);
  }
}

/** Read server-sent events (WHATWG HTML 9.2.6); `heard` is called for every piece that arrives. */
export async function* readEvents(body, heard = () => {}) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let event = { id: null, type: null, data: "" };
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      heard();
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (event.id !== null || event.data !== "") {
            yield { ...event, data: event.data === "" ? null : JSON.parse(event.data) };
          }
          event = { id: null, type: null, data: "" };
          continue;
        }
        const colon = line.indexOf(":");
        const field = colon < 0 ? line : line.slice(0, colon);
        const content = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
        if (field === "id") event.id = content;
        else if (field === "event") event.type = content;
        else if (field === "data") event.data += content;
      }
    }
  } finally {
    // Whoever stops reading closes the connection.
    reader.cancel().catch(() => {});
  }
}

/** How long to wait before the next attempt: at once after a stream that worked, then ever longer. */
export function pauseAfter(failures) {
  if (failures === 0) return PAUSE_MS_MIN / 2;
  return Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** (failures - 1)) * (0.75 + Math.random() / 2);
}

/** Notices when a connection is dead without saying so; `end` when it is no longer needed. */
function silenceWatch(signal, mayRest) {
  const dead = new AbortController();
  let isResting = false;
  const unseen = setInterval(() => {
    if (!document.hidden || !mayRest()) return;
    isResting = true;
    dead.abort();
  }, UNSEEN_MS_MAX);
  const die = () => dead.abort();
  let timer = setTimeout(die, SILENCE_MS_MAX);
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(die, SILENCE_MS_MAX);
  };
  // When the network goes, a service on this machine answers again at once, and any other does not.
  addEventListener("offline", die);
  const end = () => {
    clearTimeout(timer);
    clearInterval(unseen);
    removeEventListener("offline", die);
  };
  return { signal: AbortSignal.any([signal, dead.signal]), heard, end, hasRested: () => isResting };
}

/** Wait until somebody looks at the page. */
function untilSeen(signal) {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !signal.aborted) return;
      document.removeEventListener("visibilitychange", look);
      signal.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    signal.addEventListener("abort", look);
  });
}

/** Rest, unless there is reason to believe that it works again: the network is back, or someone looks. */
function restOrWake(milliseconds, signal) {
  return new Promise((resolve) => {
    const wake = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", wake);
      removeEventListener("online", wake);
      removeEventListener("focus", wake);
      removeEventListener("turnledger:reconnect", wake);
      resolve();
    };
    const timer = setTimeout(wake, milliseconds);
    signal.addEventListener("abort", wake);
    addEventListener("online", wake);
    addEventListener("focus", wake);
    addEventListener("turnledger:reconnect", wake);
  });
}

/** Try again now, whoever waits. */
export function reconnectNow() {
  dispatchEvent(new Event("turnledger:reconnect"));
}
