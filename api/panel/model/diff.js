// What differs between two texts, word by word.

const CELLS_MAX = 4_000_000;

/** Compare two texts: pieces `{ kind: "same" | "left" | "right", text }` in order, joined where equal in kind. */
export function diffWords(left, right) {
  const a = words(left);
  const b = words(right);
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end += 1;
  const pieces = [];
  add(pieces, "same", a.slice(0, start));
  compare(a.slice(start, a.length - end), b.slice(start, b.length - end), pieces);
  add(pieces, "same", a.slice(a.length - end));
  return joined(pieces);
}

/** How alike two texts are, 0 to 1, by the share of words that both have. */
export function likeness(pieces) {
  const count = { same: 0, left: 0, right: 0 };
  for (const piece of pieces) count[piece.kind] += words(piece.text).filter((word) => word.trim() !== "").length;
  const all = 2 * count.same + count.left + count.right;
  return all === 0 ? 1 : (2 * count.same) / all;
}

function words(text) {
  return text.match(/\s+|[\p{L}\p{N}_'’]+|[^\s\p{L}\p{N}_]/gu) ?? [];
}

function compare(a, b, pieces) {
  if (a.length * b.length > CELLS_MAX) {
    // Two long texts with nothing in common at either end: shown whole, one after the other.
    add(pieces, "left", a);
    add(pieces, "right", b);
    return;
  }
  const width = b.length + 1;
  const common = new Uint32Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      common[i * width + j] =
        a[i] === b[j]
          ? common[(i + 1) * width + j + 1] + 1
          : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
    }
  }
  let i = 0;
  let j = 0;
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) {
      add(pieces, "same", [a[i]]);
      i += 1;
      j += 1;
    } else if (common[(i + 1) * width + j] >= common[i * width + j + 1]) {
      add(pieces, "left", [a[i]]);
      i += 1;
    } else {
      add(pieces, "right", [b[j]]);
      j += 1;
    }
  }
  add(pieces, "left", a.slice(i));
  add(pieces, "right", b.slice(j));
}

/** Pieces in which changes that only white space lies between are one change, the left before the right. */
function joined(pieces) {
  const found = [];
  let left = "";
  let right = "";
  const flush = () => {
    add(found, "left", left === "" ? [] : [left]);
    add(found, "right", right === "" ? [] : [right]);
    left = "";
    right = "";
  };
  pieces.forEach((piece, at) => {
    const isGap = piece.kind === "same" && piece.text.trim() === "" && at > 0 && at < pieces.length - 1;
    if (piece.kind !== "right" && (piece.kind === "left" || isGap)) left += piece.text;
    if (piece.kind !== "left" && (piece.kind === "right" || isGap)) right += piece.text;
    if (piece.kind === "same" && !isGap) {
      flush();
      found.push(piece);
    }
  });
  flush();
  return found;
}

function add(pieces, kind, tokens) {
  if (tokens.length === 0) return;
  const last = pieces.at(-1);
  if (last?.kind === kind) last.text += tokens.join("");
  else pieces.push({ kind, text: tokens.join("") });
}
