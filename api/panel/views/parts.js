// Small things that every view uses.

import { Component, createContext, h, html, useContext, useEffect, useLayoutEffect, useRef, useState } from "../vendor/htm-preact-standalone.js";

export { Component, h, html, useEffect, useRef, useState };

/** Take the focus, and the like, in the moment in which it is drawn: a key that follows goes to the right place. */
export { useLayoutEffect as useAtOnce };

const PanelContext = createContext(null);
export const PanelProvider = PanelContext.Provider;

/** The panel, for what a view can do. */
export function usePanel() {
  return useContext(PanelContext);
}

/** A view that is drawn again only when what it is given is another. */
export function memo(view) {
  return class Memo extends Component {
    shouldComponentUpdate(next) {
      const names = new Set([...Object.keys(this.props), ...Object.keys(next)]);
      return [...names].some((name) => this.props[name] !== next[name]);
    }

    render(props) {
      return h(view, props);
    }
  };
}

const PATHS = {
  plus: "M8 3v10M3 8h10",
  search: "M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10ZM11 11l3 3",
  send: "M8 13V3M4 7l4-4 4 4",
  stop: "M4.5 4.5h7v7h-7z",
  edit: "M10.5 3.5l2 2L6 12l-2.6.6L4 10l6.5-6.5Z",
  again: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v2.8h-2.8",
  rewind: "M3 6h6.5a3.5 3.5 0 1 1 0 7H6M3 6l3-3M3 6l3 3",
  copy: "M6 6h7v7H6zM10 6V3H3v7h3",
  check: "M3.5 8.5l3 3 6-7",
  fork: "M5 3v10M5 8c0-3 6-1 6-5M3.6 3a1.4 1.4 0 1 0 2.8 0 1.4 1.4 0 0 0-2.8 0Z",
  inspect: "M2 8s2.2-4 6-4 6 4 6 4-2.2 4-6 4-6-4-6-4ZM8 9.6a1.6 1.6 0 1 0 0-3.2 1.6 1.6 0 0 0 0 3.2Z",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  close: "M4 4l8 8M12 4l-8 8",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  beside: "M2.5 3.5h11v9h-11zM9.5 3.5v9",
  start: "M3.5 3v10M13 8H6.5M9.5 5l-3 3 3 3",
  branch: "M5 2.5v11M5 9c0-3.5 6-1.5 6-6",
  coins: "M8 5.5c2.8 0 5-.8 5-1.8S10.8 2 8 2 3 2.7 3 3.7s2.2 1.8 5 1.8ZM3 3.7v8.6c0 1 2.2 1.7 5 1.7s5-.7 5-1.7V3.7M3 8c0 1 2.2 1.7 5 1.7S13 9 13 8",
  down: "M8 3v10M4 9l4 4 4-4",
  forward: "M3 8h10M9 4l4 4-4 4",
  back: "M13 8H3M7 4L3 8l4 4",
  gear: "M8 10a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM8 1.8v2M8 12.2v2M1.8 8h2M12.2 8h2M3.6 3.6l1.4 1.4M11 11l1.4 1.4M3.6 12.4L5 11M11 5l1.4-1.4",
  filter: "M2.5 4h11M4.5 8h7M6.5 12h3",
  trash: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5",
  end: "M4 3v10M4 4h8l-2 2.5L12 9H4",
  file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
  ask: "M8 13.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11ZM6.4 6.6a1.6 1.6 0 1 1 2.3 1.5c-.5.2-.7.5-.7 1M8 11h.01",
  warning: "M8 2.5l6 10.5H2zM8 6.5v3M8 11.3h.01",
};

/** A small drawing; says nothing to a screen reader, the words beside it do. */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d=${PATHS[name]} /></svg>`;
}

/** A button that shows a drawing and is called by its words. */
export function IconButton({ icon, label, onClick, text = false, ...more }) {
  return html`<button type="button" class=${`quiet${text ? "" : " square"}`} title=${text ? undefined : label}
    aria-label=${text ? undefined : label} onClick=${onClick} ...${more}>
    <${Icon} name=${icon} />${text ? html`<span>${label}</span>` : null}
  </button>`;
}

/** A button that copies text and says so. */
export function CopyButton({ text, label = "Copy", withWords = false }) {
  const [isCopied, setCopied] = useState(false);
  const timer = useRef(null);
  useEffect(() => () => clearTimeout(timer.current), []);
  const copy = async () => {
    await writeClipboard(typeof text === "function" ? text() : text);
    setCopied(true);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setCopied(false), 1_600);
  };
  return html`<${IconButton} icon=${isCopied ? "check" : "copy"} label=${isCopied ? "Copied" : label} text=${withWords}
    onClick=${copy} />`;
}

async function writeClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without a secure context, or without leave, there is the old way.
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "visually-hidden";
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

/** A menu of actions behind a button: arrows move, Escape and a click elsewhere close. */
export function Menu({ icon = "more", label, items, className = "" }) {
  const [isOpen, setOpen] = useState(false);
  const root = useRef(null);
  useLayoutEffect(() => {
    if (!isOpen) return undefined;
    root.current.querySelector("[role=menuitem]")?.focus();
    const close = (event) => {
      if (!root.current.contains(event.target)) setOpen(false);
    };
    addEventListener("pointerdown", close);
    return () => removeEventListener("pointerdown", close);
  }, [isOpen]);
  const shut = () => {
    setOpen(false);
    root.current.querySelector("button").focus();
  };
  const onKeyDown = (event) => {
    if (!isOpen) return;
    const entries = [...root.current.querySelectorAll("[role=menuitem]")];
    const at = entries.indexOf(document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1 + entries.length, Home: 0, End: entries.length - 1 }[event.key];
    if (event.key === "Escape") shut();
    else if (event.key === "Tab") setOpen(false);
    else if (to !== undefined) entries[to % entries.length].focus();
    else return;
    if (event.key !== "Tab") event.preventDefault();
    event.stopPropagation();
  };
  return html`<div class=${`menu ${className}`} ref=${root} onKeyDown=${onKeyDown}>
    <${IconButton} icon=${icon} label=${label} aria-haspopup="menu" aria-expanded=${String(isOpen)}
      onClick=${() => setOpen(!isOpen)} />
    ${isOpen &&
    html`<div class="menu-list" role="menu" aria-label=${label}>
      ${items.filter(Boolean).map(
        (item) => html`<button type="button" role="menuitem" tabindex="-1" class=${item.isDangerous ? "danger" : ""}
          onClick=${() => {
            shut();
            item.act();
          }}><${Icon} name=${item.icon} /><span>${item.label}</span></button>`,
      )}
    </div>`}
  </div>`;
}

/** A dialog of the browser's own: it keeps the focus and gives it back, and Escape closes it. */
export function Dialog({ title, onClose, children, className = "" }) {
  const dialog = useRef(null);
  const isGone = useRef(false);
  useLayoutEffect(() => {
    const { current } = dialog;
    current.showModal();
    return () => {
      // Closed before it is removed: as long as it is open nothing else can have the focus.
      isGone.current = true;
      if (current.open) current.close();
    };
  }, []);
  // At once, and not with the browser's own word, which comes later: the next key is meant for what is behind.
  const leave = () => {
    if (isGone.current) return;
    isGone.current = true;
    dialog.current.close();
    onClose();
  };
  return html`<dialog ref=${dialog} class=${className} aria-labelledby="dialog-title" onCancel=${leave} onClose=${leave} onClick=${(event) => event.target === dialog.current && leave()}>
    <div class="dialog-body">
      <header><h2 id="dialog-title">${title}</h2>
        <${IconButton} icon="close" label="Close" onClick=${leave} /></header>
      ${children}
    </div>
  </dialog>`;
}
