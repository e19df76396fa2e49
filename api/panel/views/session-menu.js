// What can be done to a session as a whole.

import { Menu, html, usePanel } from "./parts.js";

const MARKDOWN = { format: "markdown", suffix: "md" };
const JSON_FILE = { format: "json", suffix: "json" };

export function SessionMenu({ session, label = "Session actions" }) {
  const panel = usePanel();
  const ask = (kind) => () => panel.dispatch({ type: "dialog", dialog: { kind, session } });
  return html`<${Menu} label=${label} items=${[
    session.state === "open" && { icon: "edit", label: "Rename", act: ask("rename") },
    { icon: "file", label: "Export as Markdown", act: () => panel.exportSession(session, MARKDOWN) },
    { icon: "file", label: "Export as JSON", act: () => panel.exportSession(session, JSON_FILE) },
    session.state === "open" && { icon: "end", label: "End session", act: ask("end") },
    { icon: "trash", label: "Delete", act: ask("delete"), isDangerous: true },
  ]} />`;
}
