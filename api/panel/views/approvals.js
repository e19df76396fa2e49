// What waits for a person, in the conversation.

import { html } from "./parts.js";

/** The questions of one turn. */
export function Approvals({ approvals, turnId }) {
  const asked = approvals.filter((approval) => approval.turn_id === turnId);
  if (asked.length === 0) return html`<div class="notice"><p>This turn waits for an approval.</p></div>`;
  return null;
}
