// Keeps the open session as the service has it: reads it, follows its stream, reads what has changed.

import { NoAnswer, Problem, explain } from "../core/problems.js";
import { follow } from "../core/stream.js";
import { missingPages, PAGE } from "../model/line.js";
import { doubtful } from "../model/tree.js";

const FIRST_TURNS = 60;
const AGAIN_MS = 1_000;
const FUTURES_MAX = 1_000;
const POINTS_MAX = 24;
const POINTS_TRIES_MAX = 4;
const SETTLE_MS = 60;

export class Conversation {
  constructor(panel, id) {
    this.panel = panel;
    this.id = id;
    this.path = `/v1/sessions/${encodeURIComponent(id)}`;
    this.closing = new AbortController();
    this.syncing = null;
    this.isStale = false;
    this.asked = new Map();
    this.readingFutures = new Map();
    this.settling = null;
  }

  get open() {
    const { open } = this.panel.store.state;
    return open !== null && open.id === this.id ? open : null;
  }

  get api() {
    return this.panel.api;
  }

  dispatch(action) {
    this.panel.store.dispatch({ ...action, id: this.id });
  }

  /** Read the session, then follow it until it is closed. */
  async run() {
    for (;;) {
      try {
        const document = await this.get("", { last_turns: FIRST_TURNS, include: "live" });
        this.dispatch({ type: "session/opened", document });
        break;
      } catch (error) {
        if (this.closing.signal.aborted) return;
        const isMissing = error instanceof Problem && error.status === 404;
        this.dispatch({
          type: "session/failed",
          phase: isMissing ? "missing" : "failed",
          failure: explain(error),
        });
        if (error instanceof Problem && !error.isPassing) return;
        await rest(AGAIN_MS, this.closing.signal);
      }
    }
    if (this.open === null) return;
    this.panel.opened(this);
    this.readFutures();
    await follow(this.api, `${this.path}/events`, {
      after: this.open.header.revision,
      signal: this.closing.signal,
      mayRest: () => this.open === null || (this.open.header.active_turn_id === null && this.open.sending === null),
      onEvent: (event) => this.hear(event),
      onState: (state, pause) => {
        this.dispatch({ type: "session/connection", state, pause });
        // What happened while nobody listened comes with the stream, but a lost event would stay lost.
        if (state === "live") this.sync();
      },
    });
  }

  /** Stop following. */
  close() {
    this.closing.abort(new DOMException("closed", "AbortError"));
  }

  get(path, query) {
    return this.api.get(this.path + path, query, { signal: this.closing.signal });
  }

  hear({ type, data }) {
    if (this.open === null) return;
    if (type === "turn.delta") {
      const { turn_id: turnId, step_id: stepId, offset, text } = data;
      this.dispatch({ type: "session/said", turnId, stepId, offset, text });
    } else if (type === "turn.restarted") {
      this.dispatch({ type: "session/restarted", turnId: data.turn_id, stepId: data.step_id });
    } else if (type === "end") {
      if (data.reason === "session_deleted") this.dispatch({ type: "session/failed", phase: "missing", failure: "" });
      else this.sync();
    } else if (type === "resync" || data.revision > this.open.header.revision) {
      this.sync();
    }
  }

  /** Read what has changed; called while it is being read, it is read once more. */
  sync() {
    this.isStale = true;
    this.syncing ??= this.readChanges().finally(() => {
      this.syncing = null;
    });
    return this.syncing;
  }

  async readChanges() {
    while (this.isStale && this.open?.phase === "ready") {
      this.isStale = false;
      const before = this.open.header;
      try {
        this.apply(await this.get("", { since_revision: before.revision }));
      } catch (error) {
        if (this.closing.signal.aborted) return;
        if (error instanceof Problem && error.status === 404) {
          this.dispatch({ type: "session/failed", phase: "missing", failure: "" });
          return;
        }
        this.isStale = true;
        await rest(AGAIN_MS, this.closing.signal);
      }
    }
  }

  /** Take in what a call or a reading says has changed. */
  apply(delta) {
    const { open } = this;
    if (open === null || open.header === null) return;
    if (delta.since_revision > open.header.revision) {
      this.sync();
      return;
    }
    if (delta.revision === open.header.revision) return;
    this.dispatch({ type: "session/changed", delta });
    // A restore gives the future's ordinal up and makes another one, so the count says that something moved.
    if (delta.discarded_count !== open.header.discarded_count) this.readFutures();
    this.panel.sessionChanged(this, open.header, delta);
    this.settle();
  }

  /** Soon read what moves without a revision; several changes in a row are one reading. */
  settle() {
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.readUsage(), SETTLE_MS);
  }

  async readUsage() {
    try {
      const document = await this.get("", { last_turns: 0, include: "live" });
      this.dispatch({ type: "session/usage", usage: document.live.usage });
    } catch (error) {
      if (!(error instanceof NoAnswer || error instanceof Problem || this.closing.signal.aborted)) throw error;
    }
  }

  /** Read which futures there are, and of those in doubt where they hang. */
  async readFutures() {
    try {
      let futures = [];
      for (let tries = 1; tries <= POINTS_TRIES_MAX; tries += 1) {
        futures = await this.readAll("/discarded-futures", FUTURES_MAX);
        futures.reverse();
        const points = await this.readPoints(futures);
        this.dispatch({ type: "session/futures", futures, points: points ?? {} });
        if (points !== null || this.open === null) break;
        // A turn has ended in between, for instance: where they hang is asked again of what there is now.
        await this.sync();
      }
      for (const future of futures) this.readFuture(future, { isAll: false });
    } catch (error) {
      this.tolerate(error);
    }
  }

  /** Where the futures in doubt leave the line, by ordinal; null when the session has moved on meanwhile. */
  async readPoints(futures) {
    const points = {};
    for (const { ordinal } of doubtful(futures).slice(0, POINTS_MAX)) {
      const preview = await this.get("/restore-preview", { ordinal });
      if (preview.revision !== this.open?.header.revision) return null;
      points[ordinal] = this.open.header.turn_count - preview.turn_count;
    }
    return points;
  }

  async readAll(path, countMax) {
    const items = [];
    let token;
    do {
      const page = await this.get(path, { limit: 200, page_token: token });
      items.push(...page.items);
      token = page.next_page_token;
    } while (token !== null && items.length < countMax);
    return items;
  }

  /** Read turns of a discarded future: the first page, or all. What was read is not read again. */
  async readFuture(future, { isAll }) {
    const before = this.readingFutures.get(future.ordinal);
    const reading = (before ?? Promise.resolve()).then(() => this.readFutureTurns(future, { isAll }));
    this.readingFutures.set(future.ordinal, reading);
    return reading;
  }

  async readFutureTurns(future, { isAll }) {
    if (!this.open?.futures.some((one) => one.ordinal === future.ordinal)) return [];
    const known = this.open?.futureTurns[future.ordinal];
    const isSame = known !== undefined && known.turns[0]?.position === future.branch_point;
    if (isSame && (known.isAll || !isAll)) return known.turns;
    const turns = isSame ? [...known.turns] : [];
    try {
      while (turns.length < future.turn_count) {
        const page = await this.get(`/discarded-futures/${future.ordinal}/turns`, {
          from: future.branch_point + turns.length,
          limit: isAll ? 200 : PAGE,
        });
        turns.push(...page.items);
        if (!isAll || page.items.length === 0) break;
      }
    } catch (error) {
      this.tolerate(error);
      return turns;
    }
    const isComplete = turns.length >= future.turn_count;
    this.dispatch({ type: "session/future-turns", ordinal: future.ordinal, turns, isAll: isComplete });
    return turns;
  }

  /** Where on the line a turn stands; null when it does not. */
  async positionOf(turnId) {
    const isIt = (turn) => turn.id === turnId;
    const known = [...this.open.line.turns.values()].find(isIt);
    if (known !== undefined) return known.position;
    try {
      const { position } = await this.get(`/turns/${encodeURIComponent(turnId)}`);
      await this.ensure(position, position + 1);
      return this.open !== null && this.open.line.turns.get(position)?.id === turnId ? position : null;
    } catch (error) {
      this.tolerate(error);
      return null;
    }
  }

  /** Have the turns in [first, end) known; pages that are under way are not asked for again. */
  async ensure(first, end) {
    const { open } = this;
    if (open === null || open.phase !== "ready") return;
    await Promise.all(missingPages(open.line, first, end).map((from) => this.readPage(from)));
  }

  async readPage(from) {
    const wanted = `${from}@${this.open.header.revision}`;
    if (this.asked.has(from) && this.asked.get(from) === wanted) return;
    this.asked.set(from, wanted);
    try {
      const page = await this.get("/turns", { from, limit: PAGE });
      this.dispatch({ type: "session/turns", page });
      if (this.open !== null && page.revision > this.open.header.revision) this.sync();
    } catch (error) {
      this.tolerate(error);
    } finally {
      this.asked.delete(from);
    }
  }

  tolerate(error) {
    // The stream's state tells people that the service is away; what is missing is read when it is back.
    if (!(error instanceof NoAnswer || error instanceof Problem || this.closing.signal.aborted)) throw error;
  }
}

function rest(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
