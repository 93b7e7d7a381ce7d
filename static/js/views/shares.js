// @ts-check
/** What only a share group has: records in flight, each with its state, its delivery count and the member that holds it. */
import { h } from "../dom.js";

const MAX_RUNS = 24;
const STATES = /** @type {const} */ (["acquired", "available", "acknowledged", "archived"]);
const WORDS = {
  acquired: "acquired",
  available: "available again",
  acknowledged: "accepted, waits for earlier ones",
  archived: "given up or rejected",
};
const SIGNS = { acquired: "●", available: "↺", acknowledged: "✓", archived: "✕" };

/** @param {any} run */
const size = (run) => run.last_offset - run.first_offset + 1;
/** @param {any} run */
const offsets = (run) =>
  run.first_offset === run.last_offset ? `${run.first_offset}` : `${run.first_offset}–${run.last_offset}`;

/** @param {any} part how many records of one share partition nobody is done with */
export function unsettled(part) {
  const done = part.runs.filter((/** @type {any} */ run) => run.state === "acknowledged" || run.state === "archived");
  const sum = done.reduce((/** @type {number} */ all, /** @type {any} */ run) => all + size(run), 0);
  return part.start_offset < 0 ? 0 : Math.max(part.high_watermark - part.start_offset - sum, 0);
}

/** @param {any} group @param {string} state @returns {number} records of all its partitions in this state */
export const inState = (group, state) =>
  group.share_partitions.reduce(
    (/** @type {number} */ sum, /** @type {any} */ part) =>
      sum +
      part.runs
        .filter((/** @type {any} */ run) => run.state === state)
        .reduce((/** @type {number} */ all, /** @type {any} */ run) => all + size(run), 0),
    0,
  );

/** Instead of what a rebalance stops: here it stops nothing. @param {any} group */
export function settledOrNot(group) {
  const waiting = group.share_partitions.reduce(
    (/** @type {number} */ sum, /** @type {any} */ part) => sum + unsettled(part),
    0,
  );
  return h("div.stopped", { key: "stopped" }, [
    h("h4", { key: "h" }, "Records"),
    h("p", { key: "n" }, [h("b", { key: "b" }, String(waiting)), " that nobody is done with"]),
    h("p.muted.run-key", { key: "key" }, [
      STATES.map((state) =>
        h("span", { key: state }, [
          h("span.run.small", { key: "s", class: state }, SIGNS[state]),
          ` ${inState(group, state)} ${WORDS[state]}`,
        ]),
      ),
    ]),
  ]);
}

/** @param {any} group @param {(consumer: string) => number} colour of a member @returns {any} */
export function inFlight(group, colour) {
  return h("div.strip", { key: "flight" }, [
    h("h4", { key: "h" }, "In flight: offsets, and how often they have been delivered"),
    group.share_partitions.length
      ? h("div.scroll", { key: "s", tabindex: "0", role: "region", "aria-label": "Records in flight" }, [
          h("table.flight-table", { key: "t" }, [
            h("thead", { key: "h" }, [
              h("tr", {}, [
                h("th", { key: "p", scope: "col" }, "Partition"),
                h("th.num", { key: "s", scope: "col" }, "Start"),
                h("th", { key: "r", scope: "col" }, "In flight"),
                h("th.num", { key: "w", scope: "col" }, "High watermark"),
              ]),
            ]),
            h(
              "tbody",
              { key: "b" },
              group.share_partitions.map((/** @type {any} */ part) => row(part, colour)),
            ),
          ]),
        ])
      : h("p.muted", { key: "none" }, "No partition has been fetched from yet."),
  ]);
}

/** @param {any} part @param {(consumer: string) => number} colour */
function row(part, colour) {
  const place = `${part.topic}-${part.partition}`;
  const more = part.runs.length - MAX_RUNS;
  return h("tr", { key: place, "data-concerns": place }, [
    h("th", { key: "p", scope: "row" }, place),
    h("td.num", { key: "s" }, part.start_offset < 0 ? "–" : String(part.start_offset)),
    h("td", { key: "r" }, [
      part.active ? null : h("span.muted", { key: "load" }, "its state is being read"),
      part.active && !part.runs.length ? h("span.muted", { key: "none" }, "nothing") : null,
      h(
        "ol.runs",
        { key: "o" },
        part.runs.slice(0, MAX_RUNS).map((/** @type {any} */ run) => box(run, colour)),
      ),
      more > 0 ? h("span.muted", { key: "more" }, `and ${more} runs more`) : null,
    ]),
    h("td.num", { key: "w" }, part.high_watermark < 0 ? "–" : String(part.high_watermark)),
  ]);
}

/** @param {any} run @param {(consumer: string) => number} colour */
function box(run, colour) {
  const state = /** @type {keyof typeof WORDS} */ (run.state);
  const who = run.state === "acquired" ? ` by ${run.consumer || "a member that is gone"}` : "";
  const times = run.deliveries === 1 ? "once" : `${run.deliveries} times`;
  const hue = run.state === "acquired" && run.consumer ? `epoch-${colour(run.consumer) % 6}` : "";
  return h(
    "li.run",
    {
      key: `${run.first_offset}`,
      class: `${run.state} ${hue}`,
      title: `${offsets(run)}: ${WORDS[state]}${who}, delivered ${times}`,
    },
    [
      h("span", { key: "s", "aria-hidden": "true" }, SIGNS[state]),
      h("span.sr", { key: "w" }, `${WORDS[state]}${who}, delivered ${times}: `),
      ` ${offsets(run)}`,
      run.deliveries > 1 ? h("b", { key: "d", "aria-hidden": "true" }, ` ${run.deliveries}×`) : null,
    ],
  );
}
