// @ts-check
/** Small charts over virtual time (uPlot), in the colours of the theme: one look for metrics and for lag. */
import uPlot from "../../vendor/uplot-1.6.32/uPlot.esm.js";
import { need } from "../dom.js";

/** A custom property as the colour that this theme gives it. @param {string} property */
export function colour(property) {
  const probe = need("#probe");
  probe.style.setProperty("color", `var(${property})`);
  return getComputedStyle(probe).color;
}

const SIZE = 130;

/**
 * @param {HTMLElement} room @param {string} caption @param {string} title @param {any} data @param {{label: string, tone: string}[]} lines
 */
export function chart(room, caption, title, data, lines) {
  const box = document.createElement("figure");
  const words = document.createElement("figcaption");
  words.textContent = caption;
  words.title = title;
  box.append(words);
  room.append(box);
  const ink = colour("--ink-2");
  const grid = { stroke: colour("--line"), width: 1 };
  const font = "11px system-ui";
  const plot = new /** @type {any} */ (uPlot)(
    {
      width: Math.max(box.clientWidth - 2, 120),
      height: SIZE,
      legend: { show: false },
      cursor: { y: false },
      scales: {
        x: { time: false },
        y: {
          range: (/** @type {any} */ _u, /** @type {number} */ low, /** @type {number} */ high) => [
            Math.min(0, low ?? 0),
            Math.max(1, (high ?? 0) * 1.15),
          ],
        },
      },
      axes: [
        {
          stroke: ink,
          grid,
          font,
          ticks: grid,
          space: 60,
          size: 26,
          values: (/** @type {any} */ _u, /** @type {number[]} */ at) => at.map((s) => `${+s.toFixed(2)} s`),
        },
        { stroke: ink, grid, font, ticks: grid, size: 44, space: 30 },
      ],
      series: [
        {},
        ...lines.map(({ label, tone }) => ({
          label,
          stroke: colour(tone),
          width: 1.8,
          points: { show: false },
          fill: lines.length === 1 ? colour(tone.replace(/$/, "-tint")) : undefined,
        })),
      ],
    },
    data,
    box,
  );
  return { plot, box };
}

/** Redraws when the theme changes and fits charts to their room. @param {HTMLElement} room @param {() => Iterable<{plot: any, box: HTMLElement}>} plots @param {() => void} again */
export function keepFitting(room, plots, again) {
  document.addEventListener("themechange", again);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  new ResizeObserver(() => {
    for (const { plot, box } of plots()) plot.setSize({ width: Math.max(box.clientWidth - 2, 120), height: SIZE });
  }).observe(room);
}
