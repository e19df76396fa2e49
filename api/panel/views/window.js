// A list of any length of which only what can be seen is on the page. It keeps its place while heights become
// known, and stays at its end while the end grows, unless the reader has scrolled away.

import { Heights } from "../model/heights.js";
import { Component, html } from "./parts.js";

const ESTIMATE = 170;
const OVERSCAN = 900;
const AT_END = 60;
/** How far down the view the eye is, as a part of its height, as long as nothing can be read in it. */
const EYE_LINE = 1 / 3;
const AIM_TRIES = 12;

export class WindowedList extends Component {
  constructor(props) {
    super(props);
    this.heights = new Heights(props.count, ESTIMATE);
    this.isAtEnd = true;
    this.aim = null;
    this.state = { first: Math.max(0, props.count - 12), end: props.count, isAtEnd: true };
    this.observer = new ResizeObserver((entries) => {
      this.keepPlace(this.measure(entries.map((entry) => [entry.target, entry.borderBoxSize[0].blockSize])));
    });
    this.observed = new Set();
    /** Items that could be read when it was drawn last. */
    this.known = new Set();
  }

  componentDidMount() {
    this.observer.observe(this.scroller);
    this.observer.observe(this.footer);
    this.afterDraw();
    if (this.props.focus === null) this.toEnd();
    else this.aimAt(this.props.focus);
  }

  componentWillUnmount() {
    this.observer.disconnect();
  }

  componentWillReceiveProps(next) {
    if (next.count !== this.props.count) this.heights.resize(next.count);
    if (next.focus !== null && next.focus !== this.props.focus) this.aimAt(next.focus);
  }

  componentDidUpdate() {
    this.afterDraw();
    if (this.isAtEnd && this.aim === null) this.toEnd();
    this.lookAgain();
  }

  afterDraw() {
    const slots = new Set(this.inner.querySelectorAll("[data-position]"));
    for (const slot of this.observed) {
      if (!slots.has(slot)) {
        this.observer.unobserve(slot);
        this.observed.delete(slot);
      }
    }
    for (const slot of slots) {
      if (!this.observed.has(slot)) {
        this.observer.observe(slot);
        this.observed.add(slot);
      }
    }
    // At once: the observer tells of what is drawn in answer to it a frame late, and until then all would have jumped.
    const change = this.measure([...slots].map((slot) => [slot, slot.getBoundingClientRect().height]));
    if (change.hasGrown) this.keepPlace(change);
    this.known = new Set([...slots].filter((slot) => !slot.querySelector(":scope > .unknown")).map((slot) => Number(slot.dataset.position)));
    this.props.onRange(this.state.first, this.state.end);
  }

  /** Take note of how high elements are: pairs of both, from top to bottom. Gives by how much has grown what lies above. */
  measure(seen) {
    const above = this.scroller.scrollTop - this.inner.offsetTop;
    const view = this.scroller.clientHeight;
    const items = seen
      .filter(([node]) => node.isConnected && node.dataset.position !== undefined)
      .map(([node, height]) => ({ index: Number(node.dataset.position), height }));
    // What can be read stays where it is while that before it becomes known.
    const isRead = ({ index }) => this.known.has(index) && this.heights.offset(index + 1) > above && this.heights.offset(index) < above + view;
    const read = items.find(isRead);
    const eye = read === undefined ? above + view * EYE_LINE : this.heights.offset(read.index);
    // Where each of them was, before any of them has grown.
    for (const item of items) item.isAbove = this.heights.offset(item.index + 1) <= (this.known.has(item.index) ? above : eye) + 1;
    let grownAbove = 0;
    let hasGrown = false;
    for (const item of items) {
      const grown = this.heights.set(item.index, item.height);
      if (grown !== 0) hasGrown = true;
      if (item.isAbove) grownAbove += grown;
    }
    return { grownAbove, hasGrown };
  }

  /** After something has got another height, what is looked at is where it was. */
  keepPlace({ grownAbove, hasGrown }) {
    if (this.aim !== null) this.takeAim();
    else if (this.isAtEnd) this.toEnd();
    else if (grownAbove !== 0) this.scroller.scrollTop += grownAbove;
    if (hasGrown) this.lookAgain(true);
  }

  /** Bring an item to the top of the view, or a part of it; heights on the way may still be guesses, so look again. */
  aimAt(focus) {
    this.isAtEnd = false;
    this.aim = { focus, tries: AIM_TRIES };
    requestAnimationFrame(() => this.takeAim());
  }

  takeAim() {
    if (this.aim === null) return;
    const { position, part } = this.aim.focus;
    const slot = this.inner.querySelector(`[data-position="${position}"]`);
    const target = (part === null ? null : slot?.querySelector(part)) ?? slot?.querySelector("article");
    const top = slot === null ? this.heights.offset(position) + this.inner.offsetTop : this.topOf(target);
    const wanted = Math.max(0, top - 24);
    const isThere = slot !== null && Math.abs(this.scroller.scrollTop - Math.min(wanted, this.room)) < 2;
    this.scroller.scrollTop = wanted;
    this.aim.tries -= 1;
    if (isThere || this.aim.tries <= 0) {
      this.props.onFocused(this.aim.focus);
      this.aim = null;
      target?.focus({ preventScroll: true });
    } else {
      this.lookAgain();
      requestAnimationFrame(() => this.takeAim());
    }
  }

  topOf(node) {
    return node.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top + this.scroller.scrollTop;
  }

  get room() {
    return this.scroller.scrollHeight - this.scroller.clientHeight;
  }

  toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  onScroll() {
    const isAtEnd = this.room - this.scroller.scrollTop < AT_END;
    this.isAtEnd = isAtEnd && this.aim === null;
    this.lookAgain();
    if (isAtEnd !== this.state.isAtEnd) this.setState({ isAtEnd });
  }

  lookAgain(isForced = false) {
    const top = this.scroller.scrollTop - this.inner.offsetTop;
    const { count } = this.props;
    const first = count === 0 ? 0 : this.heights.find(Math.max(0, top - OVERSCAN));
    const end = count === 0 ? 0 : this.heights.find(top + this.scroller.clientHeight + OVERSCAN) + 1;
    if (isForced || first !== this.state.first || end !== this.state.end) this.setState({ first, end });
  }

  render({ count, draw, label, footer, isBusy }, { first, end, isAtEnd }) {
    const last = Math.min(end, count);
    const from = Math.min(first, last);
    const items = [];
    for (let position = from; position < last; position += 1) items.push(draw(position));
    return html`<div class="window">
      <div class="scroller" ref=${(node) => { this.scroller = node ?? this.scroller; }} onScroll=${() => this.onScroll()}
        tabindex="0" role="region" aria-label=${label}>
        <div class="feed" role=${count > 0 ? "feed" : undefined} aria-label=${count > 0 ? "Turns" : undefined} aria-busy=${String(isBusy)} ref=${(node) => { this.inner = node ?? this.inner; }}>
          <div class="spacer" style=${{ height: `${this.heights.offset(from)}px` }}></div>
          ${items}
          <div class="spacer" style=${{ height: `${Math.max(0, this.heights.total - this.heights.offset(last))}px` }}></div>
        </div>
        <div class="feed-foot" ref=${(node) => { this.footer = node ?? this.footer; }}>${footer}</div>
      </div>
      ${!isAtEnd && html`<button type="button" class="to-end" aria-label="Newest" title="Newest" onClick=${() => { this.isAtEnd = true; this.aim = null; this.toEnd(); this.lookAgain(); }}>
        <svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d="M8 3v10M4 9l4 4 4-4" /></svg></button>`}
    </div>`;
  }
}
