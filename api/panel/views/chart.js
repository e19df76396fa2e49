// Tokens, cost and latency over the turns: three small rows of bars on one axis.

import { showAmount, showCount, showMilliseconds, toNumber } from "../model/money.js";
import { html, memo, usePanel, useState } from "./parts.js";

const WIDTH = 300;
const HEIGHT = 46;
const BAR_MAX = 14;

const ROWS = [
  { name: "Cost", of: (point) => toNumber(point.cost), show: (point) => showAmount(point.cost) },
  { name: "Tokens", of: (point) => point.tokens, show: (point) => `${showCount(point.inputTokens)} in, ${showCount(point.outputTokens)} out` },
  { name: "Latency", of: (point) => point.latency, show: (point) => showMilliseconds(point.latency) },
];

export const Chart = memo(({ points }) => {
  const panel = usePanel();
  const [at, setAt] = useState(null);
  if (points.length === 0) return html`<p class="faint">As soon as a turn has cost something, it is drawn here.</p>`;
  const point = points[Math.min(at ?? points.length - 1, points.length - 1)];
  const step = Math.min(BAR_MAX + 3, WIDTH / points.length);
  const move = (event) => {
    const to = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      setAt(Math.max(0, Math.min(points.length - 1, (at ?? points.length - 1) + to)));
    } else if (event.key === "Enter") panel.showTurn(point.position);
  };
  const over = (event) => {
    const box = event.currentTarget.getBoundingClientRect();
    setAt(Math.max(0, Math.min(points.length - 1, Math.floor(((event.clientX - box.left) / box.width) * (WIDTH / step)))));
  };
  return html`<figure class="chart">
    <figcaption><strong>Turn ${point.position + 1}</strong><span>${points.length > 1 ? `of turns ${points[0].position + 1} to ${points.at(-1).position + 1}` : ""}</span></figcaption>
    <div class="chart-rows" tabindex="0" role="slider" aria-label="Turn in the chart" aria-valuemin="1" aria-valuemax=${points.length}
      aria-valuenow=${(at ?? points.length - 1) + 1} aria-valuetext=${`Turn ${point.position + 1}: ${ROWS.map((row) => `${row.name} ${row.show(point)}`).join(", ")}`}
      onKeyDown=${move} onMouseLeave=${() => setAt(null)}>
      ${ROWS.map((row) => html`<div class="chart-row"><p><span>${row.name}</span><strong>${row.show(point)}</strong></p>
        <svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true" onMouseMove=${over} onClick=${() => panel.showTurn(point.position)}>
          ${bars(points, row, step).map((bar, index) => html`<rect class=${`${bar.state}${bar.isInEffect ? "" : " out"}${points[index] === point && at !== null ? " is-at" : ""}`} x=${index * step} width=${Math.max(1, step - 3)} y=${HEIGHT - bar.height} height=${bar.height} rx="1.5" />`)}
        </svg></div>`)}
    </div>
  </figure>`;
});

function bars(points, row, step) {
  const most = Math.max(...points.map(row.of), 0);
  return points.map((point) => ({
    state: point.state,
    isInEffect: point.isInEffect,
    height: most === 0 ? 1 : Math.max(1, (row.of(point) / most) * HEIGHT),
    step,
  }));
}
