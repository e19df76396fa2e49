// Markdown as a tree of plain values: no markup is ever made from text, so nothing in it can become markup.
//
// Blocks: paragraph, heading, code, list, quote, table, rule. Inlines: text, strong, emphasis, strike, code,
// link, break. Raw HTML is text. A picture is a link to it: nothing is loaded from elsewhere.

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*).*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])(\s+)(.*)$/;
const QUOTE = /^ {0,3}>\s?(.*)$/;
const TABLE_RULE = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const DEPTH_MAX = 12;

/** Read Markdown into blocks. */
export function parseMarkdown(text) {
  return parseBlocks(text.replace(/\r\n?/g, "\n").split("\n"), 0);
}

function parseBlocks(lines, depth) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    if (line.trim() === "") {
      at += 1;
      continue;
    }
    const read = readFence(lines, at) ?? readSimple(line, at) ?? readNested(lines, at, depth) ?? readTable(lines, at);
    const [block, next] = read ?? readParagraph(lines, at);
    blocks.push(block);
    at = next;
  }
  return blocks;
}

function readFence(lines, at) {
  const opened = FENCE.exec(lines[at]);
  if (opened === null) return null;
  const closes = new RegExp(`^ {0,3}${opened[1][0]}{${opened[1].length},}\\s*$`);
  let end = at + 1;
  while (end < lines.length && !closes.test(lines[end])) end += 1;
  // A fence that is not closed yet is being written: what is there is code already.
  return [{ type: "code", language: opened[2], text: lines.slice(at + 1, end).join("\n") }, end + 1];
}

function readSimple(line, at) {
  const heading = HEADING.exec(line);
  if (heading !== null) {
    return [{ type: "heading", level: heading[1].length, children: parseInline(heading[2]) }, at + 1];
  }
  return RULE.test(line) ? [{ type: "rule" }, at + 1] : null;
}

function readNested(lines, at, depth) {
  if (depth >= DEPTH_MAX) return null;
  if (QUOTE.test(lines[at])) {
    let end = at;
    const inner = [];
    while (end < lines.length && QUOTE.test(lines[end])) inner.push(QUOTE.exec(lines[end++])[1]);
    return [{ type: "quote", children: parseBlocks(inner, depth + 1) }, end];
  }
  return ITEM.test(lines[at]) ? readList(lines, at, depth) : null;
}

function readList(lines, at, depth) {
  const first = ITEM.exec(lines[at]);
  const isOrdered = /\d/.test(first[2]);
  const indent = first[1].length;
  const items = [];
  let end = at;
  while (end < lines.length) {
    const item = ITEM.exec(lines[end]);
    const begins = item !== null && item[1].length <= indent + 1 && /\d/.test(item[2]) === isOrdered;
    if (begins && !RULE.test(lines[end])) {
      items.push({ inset: item[1].length + item[2].length + Math.min(item[3].length, 4), lines: [item[4]] });
    } else if (lines[end].trim() === "") {
      const next = lines.slice(end + 1).find((line) => line.trim() !== "");
      if (next === undefined || !(/^\s{2,}/.test(next) || continues(next, indent, isOrdered))) break;
      items.at(-1).lines.push("");
    } else if (/^\s{2,}/.test(lines[end])) {
      const current = items.at(-1);
      const margin = /^\s*/.exec(lines[end])[0].length;
      current.lines.push(lines[end].slice(Math.min(margin, current.inset)));
    } else {
      break;
    }
    end += 1;
  }
  const list = {
    type: "list",
    isOrdered,
    start: isOrdered ? Number.parseInt(first[2], 10) : null,
    items: items.map((item) => parseBlocks(item.lines, depth + 1)),
  };
  return [list, end];
}

function continues(line, indent, isOrdered) {
  const item = ITEM.exec(line);
  return item !== null && item[1].length <= indent + 1 && /\d/.test(item[2]) === isOrdered;
}

function readTable(lines, at) {
  const rule = lines[at + 1];
  if (!lines[at].includes("|") || rule === undefined || !rule.includes("-") || !TABLE_RULE.test(rule)) return null;
  const aligns = cells(rule).map((cell) => {
    if (/^:-+:$/.test(cell)) return "center";
    return cell.endsWith(":") ? "right" : "left";
  });
  const head = cells(lines[at]);
  if (head.length !== aligns.length) return null;
  let end = at + 2;
  const rows = [];
  while (end < lines.length && lines[end].includes("|")) rows.push(cells(lines[end++]).slice(0, head.length));
  return [{ type: "table", aligns, head: head.map(parseInline), rows: rows.map((row) => row.map(parseInline)) }, end];
}

function cells(line) {
  const inner = line.trim().replace(/^\|/, "").replace(/\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function readParagraph(lines, at) {
  let end = at + 1;
  while (end < lines.length && lines[end].trim() !== "" && !interrupts(lines[end])) end += 1;
  return [{ type: "paragraph", children: parseInline(lines.slice(at, end).join("\n")) }, end];
}

function interrupts(line) {
  const item = ITEM.exec(line);
  return FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || (item !== null && item[4] !== "");
}

const INLINE = [
  [/^\\([\\`*_{}[\]()#+\-.!>~|])/, (found) => ({ type: "text", text: found[1] })],
  [/^(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)/, (found) => ({ type: "code", text: found[2].replace(/\n/g, " ") })],
  [/^!?\[([^\]\n]*)\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*)>?(?:\s+"[^"]*")?\s*\)/, linkFrom],
  [/^<((?:https?:\/\/|mailto:)[^\s<>]+)>/, (found) => ({ type: "link", href: found[1], children: [plain(found[1])] })],
  [/^\*\*(?=\S)([\s\S]*?\S)\*\*(?!\*)/, (found, depth) => nested("strong", found[1], depth)],
  [/^__(?=\S)([\s\S]*?\S)__(?![\w_])/, (found, depth) => nested("strong", found[1], depth)],
  [/^~~(?=\S)([\s\S]*?\S)~~/, (found, depth) => nested("strike", found[1], depth)],
  [/^\*(?=[^\s*])([\s\S]*?[^\s*])\*(?!\*)/, (found, depth) => nested("emphasis", found[1], depth)],
  [/^_(?=[^\s_])([\s\S]*?[^\s_])_(?![\w_])/, (found, depth) => nested("emphasis", found[1], depth)],
  [/^https?:\/\/[^\s<>]*[^\s<>.,;:!?'")\]]/, (found) => ({ type: "link", href: found[0], children: [plain(found[0])] })],
  [/^(?: {2,}|\\)\n/, () => ({ type: "break" })],
];
const OPENERS = /[\\`![<*_~h\n ]/;

/** Read the inside of a block. */
export function parseInline(text, depth = 0) {
  const found = [];
  let rest = text;
  let before = "";
  while (rest !== "") {
    const node = depth < DEPTH_MAX ? readInline(rest, before, depth) : null;
    if (node !== null) {
      found.push(node.value);
      before = rest[node.length - 1];
      rest = rest.slice(node.length);
      continue;
    }
    const next = rest.slice(1).search(OPENERS);
    const length = next < 0 ? rest.length : next + 1;
    const last = found.at(-1);
    if (last?.type === "text") last.text += rest.slice(0, length);
    else found.push(plain(rest.slice(0, length)));
    before = rest[length - 1];
    rest = rest.slice(length);
  }
  return found;
}

function readInline(rest, before, depth) {
  // Within a word these are letters: snake_case, and the middle of an address.
  if ((rest[0] === "_" || rest[0] === "h") && /\w/.test(before)) return null;
  for (const [pattern, make] of INLINE) {
    const found = pattern.exec(rest);
    if (found === null) continue;
    const value = make(found, depth);
    if (value !== null) return { value, length: found[0].length };
  }
  return null;
}

function linkFrom(found, depth) {
  const href = safeHref(found[2]);
  const children = parseInline(found[1] || found[2], depth + 1);
  // An address of another kind (javascript:, data:) is no link: the words stay.
  return href === null ? { type: "span", children } : { type: "link", href, children };
}

/** The address, if it is of a kind that only leads somewhere; else null. */
export function safeHref(href) {
  return /^(?:https?:\/\/|mailto:)/i.test(href) ? href : null;
}

function nested(type, text, depth) {
  return { type, children: parseInline(text, depth + 1) };
}

function plain(text) {
  return { type: "text", text };
}
