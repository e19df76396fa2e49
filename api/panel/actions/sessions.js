// The list of sessions, and what is done to sessions as a whole.

import { newIdempotencyKey } from "../core/api.js";
import { Once } from "../core/once.js";
import { NoAnswer, Problem, explain } from "../core/problems.js";
import { withCost } from "../model/list.js";
import { sinceOf } from "../model/time.js";

const PAGE = 40;
const COSTS_AT_ONCE = 4;
const FOUND_MIN = 12;
const SEARCHED_MAX = 400;
const TYPING_MS = 180;

export class Sessions {
  constructor(panel) {
    this.panel = panel;
    this.reading = null;
    this.typing = null;
    this.wanted = 0;
    this.creating = new Once();
  }

  get list() {
    return this.panel.store.state.list;
  }

  dispatch(part) {
    this.panel.store.dispatch({ type: "list", part });
  }

  /** Narrow the list down; typing is waited for. */
  filter(part) {
    this.dispatch({ filter: { ...this.list.filter, ...part } });
    clearTimeout(this.typing);
    this.typing = setTimeout(() => this.refresh({ isNew: true }), "q" in part ? TYPING_MS : 0);
  }

  /** Read the first page again. */
  async refresh({ isNew = false } = {}) {
    const asked = (this.wanted += 1);
    if (isNew) this.dispatch({ phase: "loading" });
    try {
      const page = await this.read(null);
      if (asked !== this.wanted) return;
      // What was read further down stays, unless the filter changed.
      const known = new Set(page.items.map((item) => item.id));
      const isLong = !isNew && this.list.items.length > PAGE;
      const rest = isLong ? this.list.items.slice(PAGE).filter((item) => !known.has(item.id)) : [];
      this.dispatch({
        items: [...page.items, ...rest],
        nextToken: isLong ? this.list.nextToken : page.next_page_token,
        phase: "ready",
        trouble: null,
      });
      await this.readCosts();
    } catch (error) {
      if (asked !== this.wanted) return;
      if (!(error instanceof NoAnswer || error instanceof Problem)) throw error;
      this.dispatch({ phase: this.list.items.length > 0 ? "ready" : "failed", trouble: explain(error) });
    }
  }

  /** Read the next page. */
  async more() {
    if (this.list.nextToken === null) return;
    try {
      const page = await this.read(this.list.nextToken);
      this.dispatch({ items: [...this.list.items, ...page.items], nextToken: page.next_page_token });
      await this.readCosts();
    } catch (error) {
      this.dispatch({ trouble: explain(error) });
    }
  }

  read(token) {
    const { q, state, agentId, period } = this.list.filter;
    return this.panel.api.get("/v1/sessions", {
      limit: PAGE,
      page_token: token,
      q: q.trim(),
      state,
      agent_id: agentId,
      active_since: sinceOf(period),
    });
  }

  /** What the sessions have cost, which their list does not say: asked for only while it is filtered by. */
  async readCosts() {
    const { filter } = this.list;
    if (filter.cost === "") return;
    const missing = this.list.items.filter((item) => this.list.costs[item.id]?.revision !== item.revision);
    const next = async () => {
      for (let item = missing.shift(); item !== undefined; item = missing.shift()) {
        const path = `/v1/sessions/${encodeURIComponent(item.id)}`;
        const read = await this.panel.api.get(path, { last_turns: 0, include: "live" }).catch(() => null);
        if (read === null) continue;
        const { cost } = read.live.usage;
        this.panel.store.dispatch({ type: "list/cost", id: item.id, revision: item.revision, cost });
      }
    };
    await Promise.all(Array.from({ length: COSTS_AT_ONCE }, next));
    // The dear ones may stand far below; looked for until some are found, or it has been enough.
    const isDone = this.list.nextToken === null || this.list.items.length >= SEARCHED_MAX;
    const found = withCost(this.list).length;
    if (this.list.filter === filter && !isDone && found < FOUND_MIN) await this.more();
  }

  /** Open a session; gives its id. */
  async create({ agentId, version, name, context }) {
    const body = { agent_id: agentId };
    if (version !== null) body.agent_version = version;
    if (name.trim() !== "") body.name = name.trim();
    if (Object.keys(context).length > 0) body.context = context;
    const made = await this.creating.make(JSON.stringify(body), (idempotencyKey) =>
      this.panel.api.change("POST", "/v1/sessions", body, { idempotencyKey }),
    );
    this.refresh();
    return made.id;
  }

  /** Give a session another name, or none. */
  rename(session, name) {
    return this.change(session, "PATCH", "", { name: name.trim() === "" ? null : name.trim() });
  }

  /** End a session for good. */
  end(session, resolution) {
    const body = resolution.trim() === "" ? {} : { resolution: resolution.trim() };
    return this.change(session, "POST", "/end", body, newIdempotencyKey());
  }

  /** Remove a session's text for good. */
  async remove(session) {
    await this.change(session, "DELETE", "", undefined);
  }

  async change(session, method, suffix, body, idempotencyKey) {
    const path = `/v1/sessions/${encodeURIComponent(session.id)}${suffix}`;
    const delta = await this.panel.api.change(method, path, body, { revision: session.revision, idempotencyKey });
    if (delta !== null) this.panel.tookIn(session.id, delta);
    this.refresh();
  }

  /** Hand a whole session over as a file, as the service writes it. */
  async export(session, { format, suffix }) {
    const path = `/v1/sessions/${encodeURIComponent(session.id)}/export?format=${format}`;
    const response = await this.panel.api.open("GET", path);
    const name = (session.name ?? session.id).replace(/[^\p{L}\p{N}._-]+/gu, "-").slice(0, 80);
    download(`${name}.${suffix}`, await response.blob());
  }
}

function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
