// @ts-check
/** Two futures of one lab side by side: totals of both ledgers, where they differ, and the facts of their partitions. */
import { clockText, h, need, render, span } from "./dom.js";
import { partitionsOf } from "./objects.js";
import { Socket } from "./socket.js";
import { Store } from "./store.js";
import { lastStops } from "./views/groups.js";
import { FATE, fateClass } from "./views/ledger.js";
import { shortName } from "./views/metrics.js";

const EVERY_MS = 700;

class Side {
  /** @param {HTMLElement} root @param {string} path */
  constructor(root, path) {
    this.root = root;
    this.store = new Store();
    this.socket = new Socket(path);
    /** @type {any} */
    this.ledger = null;
    for (const type of ["view", "diff"]) {
      this.socket.addEventListener(type, (/** @type {any} */ event) => {
        if (this.store.accept(event.detail)) this.socket.send({ t: "ack", to: event.detail.to });
        else this.socket.send({ t: "view" });
      });
    }
  }

  async refresh() {
    if (this.socket.state !== "live") return;
    const answer = await this.socket.request("ledger", {});
    this.ledger = answer.ledger ?? answer.result ?? answer;
  }
}

const config = JSON.parse(need("#twin-config").textContent ?? "{}");
const sides = [new Side(need("#twin-left"), config.left), new Side(need("#twin-right"), config.right)];

function draw() {
  sides.forEach((side, index) => {
    const other = sides[1 - index];
    const { view, clock } = side.store;
    if (!view) return;
    const totals = side.ledger?.totals ?? {};
    const theirs = other.ledger?.totals ?? {};
    render(side.root, [
      h("p.twin-clock", { key: "clock" }, [
        h("b", { key: "b" }, clockText(view.now_us)),
        clock.running ? ` running at ${clock.speed < 0 ? "full speed" : `${clock.speed}×`}` : " paused",
      ]),
      h("table.twin-ledger", { key: "ledger" }, [
        h("caption", { key: "c" }, "Delivery ledger"),
        h(
          "tbody",
          { key: "b" },
          Object.keys(FATE).map((fate) => {
            const differs = (totals[fate] ?? 0) !== (theirs[fate] ?? 0);
            return h(
              "tr",
              { key: fate, class: `${differs ? "differs" : ""} ${totals[fate] ? "" : "none"}`, "data-fate": fate },
              [
                h(
                  "th",
                  { key: "f", scope: "row" },
                  h("span.fate", { class: fateClass(fate) }, `${FATE[fate][0]} ${fate}`),
                ),
                h("td.num", { key: "n" }, String(totals[fate] ?? 0)),
              ],
            );
          }),
        ),
      ]),
      h("table", { key: "parts" }, [
        h("caption", { key: "c" }, "Partitions"),
        h(
          "thead",
          { key: "h" },
          h(
            "tr",
            {},
            ["Partition", "Leader", "Epoch", "ISR", "HW", "LEO"].map((name) =>
              h("th", { key: name, scope: "col" }, name),
            ),
          ),
        ),
        h(
          "tbody",
          { key: "b" },
          partitionsOf(view)
            .filter(({ topic }) => !topic.internal)
            .map(({ id, partition }) => {
              const twin = other.store.view?.topics[partition.topic]?.partitions[partition.partition];
              return h("tr", { key: id }, [
                h("th", { key: "p", scope: "row" }, id),
                ...[
                  ["leader", partition.leader],
                  ["leader_epoch", partition.leader_epoch],
                  ["isr", partition.isr.join(", ")],
                  ["high_watermark", partition.high_watermark],
                  ["log_end_offset", partition.log_end_offset],
                ].map(([name, value]) => {
                  const theirs = twin ? (name === "isr" ? twin.isr.join(", ") : twin[name]) : value;
                  return h("td", { key: name, class: theirs === value ? "" : "differs" }, String(value));
                }),
              ]);
            }),
        ),
      ]),
      groupsTable(view, other.store.view),
      metricsTable(view, other.store.view),
      Object.keys(view.producers).length > 0 &&
        h("table", { key: "producers" }, [
          h("caption", { key: "c" }, "Producers"),
          h(
            "thead",
            { key: "h" },
            h(
              "tr",
              {},
              ["Producer", "acks", "Sent", "Acked", "Failed"].map((name) => h("th", { key: name, scope: "col" }, name)),
            ),
          ),
          h(
            "tbody",
            { key: "b" },
            Object.values(view.producers).map((item) =>
              h(
                "tr",
                { key: item.name },
                [item.name, item.configs.acks ?? "all", item.sent, item.acknowledged, item.failed].map(
                  (value, column) =>
                    h(column ? "td" : "th", { key: String(column), scope: column ? null : "row" }, String(value)),
                ),
              ),
            ),
          ),
        ]),
    ]);
  });
}

/** @param {string} caption @param {string[]} heads @param {any} rows */
const table = (caption, heads, rows) =>
  h("table", { key: caption }, [
    h("caption", { key: "c" }, caption),
    h(
      "thead",
      { key: "h" },
      h(
        "tr",
        {},
        heads.map((name) => h("th", { key: name, scope: "col" }, name)),
      ),
    ),
    h("tbody", { key: "b" }, rows),
  ]);

/** @param {string} name @param {any} value @param {any} theirs */
const cell = (name, value, theirs) =>
  h("td", { key: name, class: theirs === undefined || theirs === value ? "" : "differs" }, String(value));

/** @param {any} view @param {any} twin */
function groupsTable(view, twin) {
  const groups = Object.values(view.groups ?? {});
  if (!groups.length) return null;
  /** @param {any} one @param {any} its */
  const told = (one, its) => ({
    State: one.state,
    Epoch: one.epoch,
    Members: one.members.length,
    Lag: one.offsets.reduce((/** @type {number} */ sum, /** @type {any} */ at) => sum + Math.max(at.lag, 0), 0),
    Stopped: span(lastStops(its, one).longestLast),
  });
  return table(
    "Groups",
    ["Group", "State", "Epoch", "Members", "Lag", "Stopped"],
    groups.map((group) => {
      const theirs = twin?.groups?.[group.id];
      const mine = told(group, view);
      /** @type {any} */
      const other = theirs ? told(theirs, twin) : {};
      return h("tr", { key: group.id }, [
        h("th", { key: "g", scope: "row" }, group.id),
        Object.entries(mine).map(([name, value]) => cell(name, value, other[name])),
      ]);
    }),
  );
}

const MOST_METRICS = 16;
const ALWAYS = [/name=MessagesInPerSec$/, /name=UnderReplicatedPartitions$/, /name=IsrShrinksPerSec$/];

/** What came out most differently, and what one would look at anyway. @param {any} view @param {any} twin */
function metricsTable(view, twin) {
  const mine = view.metrics ?? {};
  const theirs = twin?.metrics ?? {};
  /** @param {string} name how far apart, from 0 to 1 */
  const apart = (name) => {
    const [a, b] = [mine[name] ?? 0, theirs[name] ?? 0];
    return a === b ? 0 : Math.abs(a - b) / Math.max(Math.abs(a), Math.abs(b));
  };
  const names = [...new Set([...Object.keys(mine), ...Object.keys(theirs)])];
  const usual = names.filter((name) => ALWAYS.some((like) => like.test(name)));
  const differing = twin
    ? names
        .filter((name) => !usual.includes(name) && apart(name) > 0)
        .sort((a, b) => apart(b) - apart(a) || (a < b ? -1 : 1))
        .slice(0, MOST_METRICS)
        .sort()
    : [];
  return table(
    "Metrics: the usual, and what differs most",
    ["Metric", "Value"],
    [...usual, ...differing].map((name) =>
      h("tr", { key: name }, [
        h("th.metric-name", { key: "n", scope: "row", title: name }, `${shortName(name)}${labels(name)}`),
        cell("v", round(mine[name]), twin ? round(theirs[name]) : undefined),
      ]),
    ),
  );
}

/** @param {number | undefined} value */
const round = (value) => (value === undefined ? "–" : Number.isInteger(value) ? String(value) : value.toFixed(2));

/** What tells one of several metrics of the same name. @param {string} name */
const labels = (name) =>
  [...name.matchAll(/,(broker|client-id|group|topic|partition|request)=([^,]+)/g)]
    .map(([, label, value]) => `, ${label === "client-id" ? "" : `${label} `}${value}`)
    .join("");

for (const side of sides) {
  side.store.addEventListener("draw", draw);
  side.socket.connect();
}
setInterval(async () => {
  await Promise.allSettled(sides.map((side) => side.refresh()));
  draw();
}, EVERY_MS);

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("[data-both]") : null;
  if (!(button instanceof HTMLElement)) return;
  const message = JSON.parse(button.dataset.both ?? "{}");
  for (const side of sides) side.socket.request(message.t, message).catch(() => {});
});
