// Calls that are made again because nobody knows whether they were done.

import { newIdempotencyKey } from "./api.js";
import { NoAnswer } from "./problems.js";

/** Gives a call that got no answer the same idempotency key when it is made again, so that it happens once. */
export class Once {
  constructor() {
    this.unanswered = null;
  }

  /** Make a call under a key; `what` says which call it is, and what it was made of. */
  async make(what, call) {
    const key = this.unanswered?.what === what ? this.unanswered.key : newIdempotencyKey();
    try {
      const answer = await call(key);
      this.unanswered = null;
      return answer;
    } catch (error) {
      this.unanswered = error instanceof NoAnswer ? { what, key } : null;
      throw error;
    }
  }
}
