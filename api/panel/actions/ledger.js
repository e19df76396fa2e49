// What the open session has cost, from the ledger: each call once, and what became of its turn.

import { NoAnswer, Problem, explain } from "../core/problems.js";

const PAGE = 1_000;

export class Ledger {
  constructor(panel, conversation) {
    this.panel = panel;
    this.conversation = conversation;
    this.reading = null;
    this.isWanted = false;
  }

  /** Read the rows that are not known yet, and the turns of futures, which tell what was discarded. */
  read() {
    this.isWanted = true;
    this.reading ??= this.readAll().finally(() => {
      this.reading = null;
    });
    return this.reading;
  }

  async readAll() {
    while (this.isWanted && this.conversation.open?.phase === "ready") {
      this.isWanted = false;
      try {
        await this.readRows();
        for (const future of this.conversation.open?.futures ?? []) {
          await this.conversation.readFuture(future, { isAll: true });
        }
      } catch (error) {
        this.conversation.tolerate(error);
        if (error instanceof Problem) this.conversation.dispatch({ type: "session/ledger-trouble", trouble: explain(error) });
        if (error instanceof NoAnswer || error instanceof Problem) return;
      }
    }
  }

  async readRows() {
    const { conversation } = this;
    let known = conversation.open?.ledger ?? { entries: [], next: 0, isAll: false };
    for (;;) {
      const page = await this.panel.api.get("/v1/usage/entries", {
        session_id: conversation.id,
        after: known.next,
        limit: PAGE,
      });
      const isAll = page.items.length < PAGE;
      known = { entries: [...known.entries, ...page.items], next: page.next, isAll };
      conversation.dispatch({ type: "session/ledger", ledger: known });
      if (isAll || conversation.open === null) return;
    }
  }
}
