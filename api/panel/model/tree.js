// Where discarded futures hang: on the line, or on another discarded future that took their stem away.

/** Arrange futures as a tree.
 *
 * `pointsOnLine` says, by ordinal, where a future leaves the present line, for those that were asked for. A
 * future whose branch point lies behind that place hangs on another one. Gives `[{ future, children }]`,
 * by branch point.
 */
export function arrange(futures, pointsOnLine) {
  const nodes = new Map(futures.map((future) => [future.ordinal, { future, children: [] }]));
  const roots = [];
  for (const node of nodes.values()) {
    const parent = parentOf(node.future, futures, pointsOnLine);
    (parent === null ? roots : nodes.get(parent.ordinal).children).push(node);
  }
  const inOrder = (a, b) => a.future.branch_point - b.future.branch_point || a.future.ordinal - b.future.ordinal;
  for (const node of nodes.values()) node.children.sort(inOrder);
  return roots.sort(inOrder);
}

/** The futures of which only the service can say where they leave the line: another one might hold their stem. */
export function doubtful(futures) {
  return futures.filter((future) => candidates(future, futures).length > 0);
}

function parentOf(future, futures, pointsOnLine) {
  const point = pointsOnLine[future.ordinal];
  if (point === undefined || point >= future.branch_point) return null;
  const possible = candidates(future, futures).filter(
    (other) => other.branch_point === point || pointsOnLine[other.ordinal] === point,
  );
  // The nearest in time is the one that took the stem away.
  return possible.reduce((best, other) => (best === null || other.ordinal < best.ordinal ? other : best), null);
}

function candidates(future, futures) {
  return futures.filter(
    (other) =>
      other.ordinal > future.ordinal &&
      other.branch_point < future.branch_point &&
      other.branch_point + other.turn_count >= future.branch_point,
  );
}
