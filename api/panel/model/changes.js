// What others did, in words.

const DID = {
  "session.created": "opened the session",
  "session.updated": "changed the name or the metadata",
  "session.rewound": "rewound the conversation",
  "session.restored": "restored a discarded future",
  "session.ended": "ended the session",
  "turn.created": "added a turn",
  "turn.awaiting_approval": "A turn waits for an approval",
  "turn.completed": "A turn was answered",
  "turn.failed": "A turn failed",
  "turn.cancelled": "stopped a turn",
  "approval.decided": "decided an approval",
};

/** Who issued a command: a person that was named, another holder of a key, or the service itself. */
export function whoIs(actor) {
  if (actor.on_behalf_of) return actor.on_behalf_of;
  if (actor.process) return "The service";
  return "Someone";
}

/** One change as a sentence. */
export function sentence(change) {
  const did = DID[change.type] ?? change.type;
  if (/^A /.test(did)) return `${did}.`;
  return `${whoIs(change.actor)} ${did}.`;
}

/** Changes as sentences, equal ones in a row counted. */
export function summarize(changes) {
  const lines = [];
  for (const change of changes) {
    const text = sentence(change);
    const last = lines.at(-1);
    if (last?.text === text) {
      last.count += 1;
      last.at = change.at;
      last.turnId = change.turn_id ?? last.turnId;
    } else {
      lines.push({ text, count: 1, at: change.at, turnId: change.turn_id, revision: change.revision });
    }
  }
  return lines;
}
