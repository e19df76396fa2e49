// What the inspector shows beside the turn itself: where the agent stood before it, its events, and what its calls
// were told and answered.

import { explain } from "../core/problems.js";

const EVENTS_BACK = 200;

export class Inspection {
  constructor(panel, conversation) {
    this.panel = panel;
    this.conversation = conversation;
  }

  /** Read what the turn at hand does not tell. */
  read(turn) {
    this.readBefore(turn);
    this.readEvents(turn);
  }

  /** Read with which node and variables a turn began: any number of turns before it may have set them. */
  async readBefore(turn) {
    try {
      const { before } = await this.conversation.get(`/turns/${encodeURIComponent(turn.id)}`);
      this.conversation.dispatch({ type: "session/details", kind: "before", key: turn.id, value: before });
    } catch (error) {
      this.conversation.tolerate(error);
    }
  }

  /** Read the events of a turn: those up to the one that last changed it. */
  async readEvents(turn) {
    try {
      const page = await this.conversation.get("/events", {
        after: Math.max(0, turn.revision - EVENTS_BACK),
        limit: EVENTS_BACK,
      });
      const events = page.items.filter((event) => event.effects.some((effect) => effect.turn_id === turn.id));
      this.conversation.dispatch({ type: "session/details", kind: "events", key: turn.id, value: events });
    } catch (error) {
      this.conversation.tolerate(error);
    }
  }

  /** Read one call, prompt and answer included. */
  async readCall(stepId) {
    let value;
    try {
      value = { value: await this.panel.api.get(`/v1/interactions/${encodeURIComponent(stepId)}`) };
    } catch (error) {
      value = { trouble: explain(error) };
    }
    this.conversation.dispatch({ type: "session/details", kind: "calls", key: stepId, value });
  }
}
