// What became of the money: each call of the ledger counted where its turn ended up.

import { addAmounts, addUsage } from "./money.js";

export const FATES = ["active", "discarded", "cancelled", "failed"];

/** Sum the ledger by what became of each call's turn. */
export function costsByFate(open) {
  const discarded = discardedTurns(open);
  const states = new Map([...open.line.turns.values()].map((turn) => [turn.id, turn.state]));
  const groups = Object.fromEntries(FATES.map((fate) => [fate, []]));
  const entries = open.ledger?.entries ?? [];
  // Of a turn far up the line only the ledger is known: the turn ended as its last call did.
  const endings = new Map(entries.filter(isCall).map((entry) => [entry.turn_id, entry.outcome]));
  for (const entry of entries) groups[fateOf(entry.turn_id, discarded, states, endings)].push(entry);
  return Object.fromEntries(
    FATES.map((fate) => [fate, { calls: groups[fate].filter(isCall).length, ...addUsage(groups[fate]) }]),
  );
}

/** The newest turns of the line with what each took: for a chart. */
export function perTurn(open, countMax) {
  const points = [];
  const first = Math.max(0, open.line.count - countMax);
  for (let position = first; position < open.line.count; position += 1) {
    const turn = open.line.turns.get(position);
    if (turn === undefined || turn.usage === null) continue;
    points.push({
      position,
      turnId: turn.id,
      isInEffect: position < open.header.cursor,
      state: turn.state,
      tokens: turn.usage.input_tokens + turn.usage.output_tokens,
      inputTokens: turn.usage.input_tokens,
      outputTokens: turn.usage.output_tokens,
      cost: turn.usage.cost,
      latency: turn.steps.reduce((sum, step) => sum + (step.latency_ms ?? 0), 0),
    });
  }
  return points;
}

/** What a stretch of turns took, all together. */
export function sumOf(turns) {
  const usage = addUsage(turns.map((turn) => turn.usage));
  const latency = turns.flatMap((turn) => turn.steps).reduce((sum, step) => sum + (step.latency_ms ?? 0), 0);
  return { ...usage, latency };
}

/** The total of all fates; equals what the service says of the session. */
export function totalOf(costs) {
  return addAmounts(FATES.map((fate) => costs[fate].cost).filter((cost) => cost !== null));
}

function discardedTurns(open) {
  const line = new Set([...open.line.turns.values()].map((turn) => turn.id));
  const ids = new Set();
  for (const { turns } of Object.values(open.futureTurns)) for (const turn of turns) ids.add(turn.id);
  // Between a restore and the next reading of the futures its turns are known in both places.
  for (const id of line) ids.delete(id);
  return ids;
}

function fateOf(turnId, discarded, states, endings) {
  if (discarded.has(turnId)) return "discarded";
  const ending = states.get(turnId) ?? endings.get(turnId);
  return ending === "failed" || ending === "cancelled" ? ending : "active";
}

/** A correction is a row of its own, and no call. */
function isCall(entry) {
  return entry.corrects_id === null;
}
