// Markdown on the page: every node is made from a value, none from text that is read as markup.

import { parseMarkdown } from "../model/markdown.js";
import { CopyButton, h, html, memo } from "./parts.js";

/** A reply as its speaker meant it to look. */
export const Markdown = memo(({ text }) => html`<div class="prose">${parseMarkdown(text).map(block)}</div>`);

const BLOCKS = {
  paragraph: ({ children }) => html`<p>${children.map(inline)}</p>`,
  // The page has headings of its own; those of a reply come below them.
  heading: ({ level, children }) => h(`h${Math.min(6, level + 3)}`, { class: `size-${level}` }, children.map(inline)),
  code: ({ language, text }) => html`<${Code} language=${language} text=${text} />`,
  quote: ({ children }) => html`<blockquote>${children.map(block)}</blockquote>`,
  rule: () => html`<hr />`,
  list: ({ isOrdered, start, items }) =>
    h(isOrdered ? "ol" : "ul", isOrdered && start !== 1 ? { start } : {}, items.map((item) => h("li", {}, listItem(item)))),
  table: ({ aligns, head, rows }) => html`<div class="table" tabindex="0" role="group" aria-label="Table">
    <table>
      <thead><tr>${head.map((cell, at) => html`<th scope="col" class=${aligns[at]}>${cell.map(inline)}</th>`)}</tr></thead>
      <tbody>${rows.map((row) => html`<tr>${row.map((cell, at) => html`<td class=${aligns[at]}>${cell.map(inline)}</td>`)}</tr>`)}</tbody>
    </table>
  </div>`,
};

const INLINES = {
  text: ({ text }) => text,
  code: ({ text }) => html`<code>${text}</code>`,
  strong: ({ children }) => html`<strong>${children.map(inline)}</strong>`,
  emphasis: ({ children }) => html`<em>${children.map(inline)}</em>`,
  strike: ({ children }) => html`<s>${children.map(inline)}</s>`,
  span: ({ children }) => html`<span>${children.map(inline)}</span>`,
  break: () => html`<br />`,
  link: ({ href, children }) =>
    html`<a href=${href} target="_blank" rel="noopener noreferrer nofollow">${children.map(inline)}</a>`,
};

function Code({ language, text }) {
  return html`<figure class="code">
    <figcaption><span>${language || "text"}</span><${CopyButton} text=${text} label="Copy code" /></figcaption>
    <pre tabindex="0"><code>${text}</code></pre>
  </figure>`;
}

function block(node) {
  return BLOCKS[node.type](node);
}

function inline(node) {
  return INLINES[node.type](node);
}

/** A point of a list that is one paragraph is shown without its margins. */
function listItem(blocks) {
  if (blocks[0]?.type !== "paragraph") return blocks.map(block);
  return [blocks[0].children.map(inline), ...blocks.slice(1).map(block)];
}
