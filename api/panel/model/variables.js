// What became of an agent's variables in a turn.

/** Compare variables by name: `[{ name, before, after, kind }]`, the names that stand afterwards first.
 *
 * `kind` is "same", "added", "changed" or "removed"; what is not there is undefined.
 */
export function variableChanges(before, after) {
  const names = [...Object.keys(after), ...Object.keys(before).filter((name) => !Object.hasOwn(after, name))];
  return names.map((name) => {
    const isBefore = Object.hasOwn(before, name);
    const isAfter = Object.hasOwn(after, name);
    const isSame = isBefore && isAfter && isEqual(before[name], after[name]);
    const kind = isSame ? "same" : isBefore && isAfter ? "changed" : isAfter ? "added" : "removed";
    return { name, before: before[name], after: after[name], kind };
  });
}

/** Whether two values are the same as JSON, in whatever order their fields stand. */
function isEqual(left, right) {
  if (left === right) return true;
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return false;
  if (Array.isArray(left) !== Array.isArray(right)) return false;
  const names = Object.keys(left);
  if (names.length !== Object.keys(right).length) return false;
  return names.every((name) => Object.hasOwn(right, name) && isEqual(left[name], right[name]));
}
