// What waits for somebody's decision, over all sessions.

import { NoAnswer, Problem, explain } from "../core/problems.js";

const SHOWN_MAX = 100;

export class Approvals {
  constructor(panel) {
    this.panel = panel;
    this.asked = 0;
  }

  get known() {
    return this.panel.state.approvals;
  }

  dispatch(part) {
    this.panel.dispatch({ type: "approvals", part });
  }

  /** Read what is open now. */
  async refresh() {
    const asked = (this.asked += 1);
    try {
      const page = await this.panel.api.get("/v1/approvals", { state: "open", limit: SHOWN_MAX });
      if (asked !== this.asked) return;
      this.tellNew(page.items);
      this.dispatch({ items: page.items, hasMore: page.next_page_token !== null, trouble: null });
      await this.readNames(page.items);
    } catch (error) {
      if (!(error instanceof NoAnswer || error instanceof Problem)) throw error;
      if (asked === this.asked) this.dispatch({ trouble: explain(error) });
    }
  }

  /** Something has happened in a session; what waits in it may be other than it was. */
  sessionChanged(delta) {
    const isKnown = this.known.items?.some((approval) => approval.session_id === delta.id) === true;
    const isAsked = delta.turns.some((turn) => turn.state === "awaiting_approval");
    if (isKnown || isAsked) this.refresh();
  }

  tellNew(items) {
    const { items: known } = this.known;
    if (known === null) return;
    const ids = new Set(known.map((approval) => approval.id));
    const others = items.filter(({ id, session_id: session }) => !ids.has(id) && session !== this.panel.state.open?.id);
    if (others.length > 0) this.panel.announce("A tool call waits for a decision.");
  }

  /** Read the names of sessions that the list does not show. */
  async readNames(items) {
    const listed = new Set(this.panel.state.list.items.map((session) => session.id));
    const missing = new Set(items.map((approval) => approval.session_id).filter((id) => !listed.has(id) && !(id in this.known.names)));
    for (const id of missing) {
      const path = `/v1/sessions/${encodeURIComponent(id)}`;
      // It may have been deleted meanwhile; then its approvals are gone with the next look.
      const session = await this.panel.api.get(path, { last_turns: 0 }).catch(() => null);
      this.dispatch({ names: { ...this.known.names, [id]: session?.name ?? null } });
    }
  }
}
