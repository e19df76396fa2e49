// Where in the panel one is; it stands in the fragment, so that Back, bookmarks and links work.

/** Read the place out of a fragment. */
export function routeOf(hash) {
  const parts = hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  if (parts[0] === "approvals") return { name: "approvals" };
  if (parts[0] !== "sessions" || !parts[1]) return { name: "start" };
  const ordinal = Number(parts[3]);
  if (parts[2] === "compare" && Number.isInteger(ordinal)) return { name: "compare", id: parts[1], ordinal };
  return { name: "session", id: parts[1], turnId: parts[2] === "turns" ? parts[3] : undefined };
}

/** The fragment of a session. */
export function sessionHash(id) {
  return `#/sessions/${encodeURIComponent(id)}`;
}

/** The fragment of a turn in its session. */
export function turnHash(id, turnId) {
  return `${sessionHash(id)}/turns/${encodeURIComponent(turnId)}`;
}

/** The fragment of a comparison with a discarded future. */
export function compareHash(id, ordinal) {
  return `${sessionHash(id)}/compare/${ordinal}`;
}

/** Go there. */
export function go(hash) {
  location.hash = hash;
}
