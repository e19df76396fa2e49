// An open session as this tab knows it, and what every message from the service makes of it.

import { changedFrom, filledWith, newLine } from "./line.js";

/** A session of which nothing is known yet. */
export function unopened(id, draft = "") {
  return {
    id,
    phase: "loading", // loading | ready | missing | failed
    failure: null,
    header: null,
    line: newLine(0, []),
    changedAt: 0, // the lowest position that the last change touched
    futures: [],
    futureTurns: {}, // by ordinal: { turns, isAll }
    points: {}, // by ordinal: where a future leaves the line, for the doubtful ones
    usage: null,
    ledger: null, // { entries, next, isAll }
    ledgerTrouble: null, // why it cannot be read
    said: {}, // by turn: the steps of a running turn with what they have said
    connection: { state: "connecting", at: 0, pause: 0 },
    draft,
    sending: null, // { text, key, state: "sent" | "unanswered" }
    conflict: null, // { text, problem }: a refused message
    intent: null, // what the person is about to do, with its preview
    undo: null, // { label, kind: "cursor" | "restore", turnId, ordinal }
    trouble: null, // what went wrong with the last command, in words
    focus: null, // { position, part }: a turn to bring into view, or that part of it
    inspected: null, // the turn in the inspector
    details: { events: {}, calls: {}, before: {} }, // what the inspector has read
  };
}

const HANDLERS = {
  "session/opened": (open, { document }) => ({
    ...open,
    phase: "ready",
    failure: null,
    header: headerOf(document),
    line: newLine(document.turn_count, document.turns),
    changedAt: 0,
    futures: document.discarded_futures,
    usage: document.live?.usage ?? open.usage,
  }),
  "session/failed": (open, { phase, failure }) => ({ ...open, phase, failure }),
  "session/changed": changed,
  "session/turns": (open, { page }) =>
    page.revision < open.header.revision ? open : { ...open, line: filledWith(open.line, page.items) },
  "session/futures": (open, { futures, points }) => {
    // A restored future is one no longer, and its turns are on the line again.
    const kept = futures.map(({ ordinal }) => ordinal).filter((ordinal) => ordinal in open.futureTurns);
    const futureTurns = Object.fromEntries(kept.map((ordinal) => [ordinal, open.futureTurns[ordinal]]));
    return { ...open, futures, points, futureTurns };
  },
  "session/future-turns": (open, { ordinal, turns, isAll }) => ({
    ...open,
    futureTurns: { ...open.futureTurns, [ordinal]: { turns, isAll } },
  }),
  "session/usage": (open, { usage }) => ({ ...open, usage }),
  "session/ledger": (open, { ledger }) => ({ ...open, ledger, ledgerTrouble: null }),
  "session/ledger-trouble": (open, { trouble }) => ({ ...open, ledgerTrouble: trouble }),
  "session/said": said,
  "session/restarted": (open, { turnId, stepId }) => ({
    ...open,
    said: { ...open.said, [turnId]: (open.said[turnId] ?? []).filter((step) => step.id !== stepId) },
  }),
  "session/connection": (open, { state, pause }) => ({
    ...open,
    connection: { state, pause, at: state === open.connection.state ? open.connection.at : Date.now() },
  }),
  "session/draft": (open, { text }) => ({ ...open, draft: text }),
  "session/sending": (open, { sending }) => ({ ...open, sending, trouble: null }),
  "session/conflict": (open, { conflict }) => ({ ...open, conflict, sending: null }),
  "session/intent": (open, { intent }) => ({ ...open, intent }),
  "session/intent-part": (open, { part }) =>
    open.intent === null ? open : { ...open, intent: { ...open.intent, ...part } },
  "session/undo": (open, { undo }) => ({ ...open, undo }),
  "session/trouble": (open, { trouble }) => ({ ...open, trouble }),
  "session/focus": (open, { position, part = null }) => ({ ...open, focus: { position, part } }),
  "session/focused": (open, { focus }) => (open.focus === focus ? { ...open, focus: null } : open),
  "session/inspect": (open, { turnId }) => ({ ...open, inspected: turnId }),
  "session/details": (open, { kind, key, value }) => ({
    ...open,
    details: { ...open.details, [kind]: { ...open.details[kind], [key]: value } },
  }),
};

/** The open session after an action that is about it. */
export function reduceSession(open, action) {
  const handle = HANDLERS[action.type];
  if (handle === undefined || open === null || (action.id !== undefined && action.id !== open.id)) return open;
  return handle(open, action);
}

/** What a running turn has said so far, all its steps together. */
export function saidBy(open, turnId) {
  const texts = (open.said[turnId] ?? []).map((step) => step.text);
  return texts.filter((text) => text !== "").join("\n\n");
}

/** The text of a turn that is not final: what it had said when it last waited for a person, and since. */
export function unfinishedText(turn, said) {
  const parked = turn.replies.map((reply) => reply.text).join("\n\n");
  if (said === "" || parked.startsWith(said)) return parked;
  return parked === "" || said.startsWith(parked) ? said : `${parked}\n\n${said}`;
}

function changed(open, { delta }) {
  // Older than what is known, or with a gap between: the next reading will tell.
  if (open.header === null || delta.revision < open.header.revision) return open;
  if (delta.since_revision > open.header.revision) return open;
  const line = changedFrom(open.line, { count: delta.turn_count, from: delta.line_from, turns: delta.turns });
  const finished = new Set(delta.turns.filter((turn) => turn.finished_at !== null).map((turn) => turn.id));
  const stillSaid = Object.entries(open.said).filter(([turnId]) => !finished.has(turnId));
  return {
    ...open,
    header: headerOf(delta),
    line,
    changedAt: delta.line_from ?? open.changedAt,
    said: Object.fromEntries(stillSaid),
    ledger: open.ledger === null ? null : { ...open.ledger, isAll: false },
  };
}

function said(open, { turnId, stepId, offset, text }) {
  const steps = open.said[turnId] ?? [];
  const known = steps.find((step) => step.id === stepId) ?? { id: stepId, text: "", length: 0 };
  const points = Array.from(text);
  // Pieces come in order; after a reconnection the first may repeat what is known.
  const repeated = known.length - offset;
  if (repeated < 0 || repeated >= points.length) {
    if (repeated !== 0) return open;
  }
  const fresh = repeated > 0 ? points.slice(repeated).join("") : text;
  const next = { id: stepId, text: known.text + fresh, length: offset + points.length };
  const others = steps.filter((step) => step.id !== stepId);
  return { ...open, said: { ...open.said, [turnId]: [...others, next] } };
}

function headerOf(document) {
  const header = { ...document };
  for (const name of ["turns", "discarded_futures", "live", "since_revision", "line_from", "more", "turn_id"]) {
    delete header[name];
  }
  return header;
}
