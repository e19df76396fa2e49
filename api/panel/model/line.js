// The line of a session as far as it is known here: turns by position, in stretches that were fetched.

export const PAGE = 100;

/** A line of `count` turns, of which some are known. */
export function newLine(count, turns) {
  return { count, turns: new Map(turns.map((turn) => [turn.position, turn])) };
}

/** The line after a change: everything from `from` on is as `turns` say, or not known yet. */
export function changedFrom(line, { count, from, turns }) {
  if (from === null && count === line.count) return line;
  const kept = new Map();
  for (const [position, turn] of line.turns) {
    if (position < count && (from === null || position < from)) kept.set(position, turn);
  }
  for (const turn of turns) kept.set(turn.position, turn);
  return { count, turns: kept };
}

/** The line with a further stretch known. */
export function filledWith(line, turns) {
  const known = new Map(line.turns);
  for (const turn of turns) if (turn.position < line.count) known.set(turn.position, turn);
  return { count: line.count, turns: known };
}

/** The pages, by the position they begin at, that are needed to know every turn in [first, end). */
export function missingPages(line, first, end) {
  const pages = new Set();
  for (let position = Math.max(0, first); position < Math.min(end, line.count); position += 1) {
    if (!line.turns.has(position)) pages.add(position - (position % PAGE));
  }
  return [...pages];
}

/** The last turn in effect that a person said something in; null when none is known. */
export function lastSaid(line, cursor) {
  for (let position = cursor - 1; position >= 0 && line.turns.has(position); position -= 1) {
    if (line.turns.get(position).user_message !== null) return line.turns.get(position);
  }
  return null;
}

/** The turn that is being answered or waits for a decision; undefined when there is none, or it is not known yet. */
export function activeTurn({ header, line }) {
  return [...line.turns.values()].find((turn) => turn.id === header.active_turn_id);
}

/** Whether a turn can never change again. */
export function isFinal(turn) {
  return turn.state === "completed" || turn.state === "failed" || turn.state === "cancelled";
}

/** How long a turn's calls took, all together; null when none has said. */
export function latencyOf(turn) {
  const known = turn.steps.filter((step) => step.latency_ms !== null);
  return known.length === 0 ? null : known.reduce((sum, step) => sum + step.latency_ms, 0);
}
