// @ts-check
/** The delivery ledger: what became of every record, in totals and row by row; a row's `why?` leads to the event that decided it. */
import { clockText, h, render } from "../dom.js";

const ROW = 32;
const FATES = [
  "delivered",
  "acknowledged",
  "in flight",
  "invisible",
  "doubled",
  "skipped",
  "duplicated",
  "reordered",
  "failed",
  "lost",
];
/** @type {Record<string, [string, string]>} mark and meaning of each fate */
export const FATE = {
  delivered: ["●", "a consumer read it"],
  acknowledged: ["✓", "its producer was told that it is safe; nobody has read it yet"],
  "in flight": ["→", "sent, not yet acknowledged"],
  invisible: ["○", "in the log, above the high watermark: no consumer may read it yet"],
  doubled: ["↻", "a group's application worked on it more than once"],
  skipped: ["⤼", "committed by a group whose application never finished it"],
  duplicated: ["×2", "lies in the log more than once"],
  reordered: ["⇅", "lies behind a record that was sent after it"],
  failed: ["–", "its producer was told that it failed"],
  lost: ["✕", "acknowledged, and gone"],
};

/** @param {string} fate */
export const fateClass = (fate) => `fate-${fate.replace(" ", "-")}`;

/** @param {Record<string, number>} totals */
export function totalsStrip(totals) {
  return h(
    "ul.totals",
    { key: "totals" },
    FATES.map((fate) =>
      h("li", { key: fate, class: `${fateClass(fate)} ${totals[fate] ? "" : "none"}`, title: FATE[fate][1] }, [
        h("b", { key: "n" }, String(totals[fate] ?? 0)),
        h("span", { key: "f" }, [`${FATE[fate][0]} `, fate]),
      ]),
    ),
  );
}

/** @param {HTMLElement} root @param {any} lab */
export function create(root, lab) {
  root.classList.add("ledger");
  /** @type {any} */
  let ledger = null;
  let filter = "";
  let text = "";
  let asked = 0;
  let waiting = false;
  let top = 0;

  async function refresh() {
    if (waiting) return;
    waiting = true;
    asked = performance.now();
    try {
      const answer = await lab.socket.request("ledger", {});
      ledger = answer.ledger ?? answer.result ?? answer;
      paint();
    } catch {
      /* The next push asks again. */
    }
    waiting = false;
  }

  function draw() {
    if (performance.now() - asked > 400) refresh();
    else if (!waiting) {
      asked = performance.now();
      setTimeout(() => !root.hidden && refresh(), 400);
    }
  }

  function paint() {
    if (!ledger) return;
    const rows = ledger.rows.filter(
      (/** @type {any} */ row) =>
        (!filter || row.fate === filter) &&
        (!text || `${row.producer} ${row.topic} ${row.key} ${row.value} ${row.offset}`.toLowerCase().includes(text)),
    );
    const first = Math.max(0, Math.floor(top / ROW) - 6);
    const shown = rows.slice(first, first + 60);
    render(root, [
      h("div.view-bar", { key: "bar" }, [
        h("h3", { key: "h" }, "Delivery ledger"),
        h("label", { key: "fate" }, [
          "Fate ",
          h(
            "select",
            {
              key: "s",
              value: filter,
              on: {
                change: (/** @type {Event} */ e) => {
                  filter = /** @type {HTMLSelectElement} */ (e.target).value;
                  top = 0;
                  paint();
                },
              },
            },
            [
              h("option", { key: "", value: "" }, "all"),
              FATES.map((fate) => h("option", { key: fate, value: fate }, fate)),
            ],
          ),
        ]),
        h("label", { key: "find" }, [
          "Find ",
          h("input", {
            key: "i",
            type: "search",
            value: text,
            on: {
              input: (/** @type {Event} */ e) => {
                text = /** @type {HTMLInputElement} */ (e.target).value.toLowerCase();
                paint();
              },
            },
          }),
        ]),
        h(
          "span.muted",
          { key: "n" },
          `${rows.length} records${ledger.folded ? `, ${ledger.folded} older ones only counted` : ""}`,
        ),
      ]),
      totalsStrip(ledger.totals),
      h(
        "div.scroll.ledger-rows",
        {
          key: "rows",
          tabindex: "0",
          role: "region",
          "aria-label": "Records and their fates",
          on: { scroll: scrolled },
        },
        [
          h("table", { key: "t", "aria-rowcount": rows.length + 1 }, [
            h(
              "thead",
              { key: "h" },
              h(
                "tr",
                {},
                ["Fate", "Sent", "Producer", "To", "Offset", "Key", "Value", "Acked", "Read by", ""].map(
                  (name, index) =>
                    h(
                      index === 9 ? "td" : [1, 4, 7].includes(index) ? "th.num" : "th",
                      { key: `${index}`, scope: index === 9 ? null : "col" },
                      name,
                    ),
                ),
              ),
            ),
            h("tbody", { key: "b" }, [
              first
                ? h("tr.pad", { key: "above", style: { height: `${first * ROW}px` }, "aria-hidden": "true" })
                : null,
              shown.map((/** @type {any} */ row, /** @type {number} */ index) => line(lab, row, first + index + 2)),
              rows.length > first + 60
                ? h("tr.pad", {
                    key: "below",
                    style: { height: `${(rows.length - first - 60) * ROW}px` },
                    "aria-hidden": "true",
                  })
                : null,
            ]),
          ]),
          rows.length === 0 ? h("p.empty", { key: "none" }, "No record yet: produce one and follow it.") : null,
        ],
      ),
    ]);
  }

  /** @param {Event} event */
  function scrolled(event) {
    const now = /** @type {HTMLElement} */ (event.target).scrollTop;
    if (Math.abs(now - top) < ROW * 3) return;
    top = now;
    paint();
  }
  return { draw };
}

/** @param {any} lab @param {any} row @param {number} index */
function line(lab, row, index) {
  const place = row.partition < 0 ? row.topic : `${row.topic}-${row.partition}`;
  const event = row.events[row.events.length - 1];
  return h("tr", { key: String(row.record_id), "aria-rowindex": index }, [
    h("td", { key: "f" }, h("span.fate", { class: fateClass(row.fate) }, `${FATE[row.fate]?.[0] ?? ""} ${row.fate}`)),
    h("td.num", { key: "s" }, clockText(row.sent_us)),
    h("td", { key: "p" }, row.producer),
    h("td", { key: "t" }, place),
    h(
      "td.num",
      { key: "o" },
      row.offsets?.length > 1 ? row.offsets.join(", ") : row.offset < 0 ? "–" : String(row.offset),
    ),
    h("td.mono.clip", { key: "k" }, row.key ?? ""),
    h("td.mono.clip", { key: "v" }, row.value ?? (row.fate === "failed" && row.offset < 0 ? "–" : "null")),
    h("td.num", { key: "a" }, row.acked_us < 0 ? row.error || "–" : clockText(row.acked_us)),
    h("td", { key: "r" }, row.readers.join(", ")),
    h(
      "td",
      { key: "w" },
      event
        ? h(
            "button.why",
            {
              type: "button",
              "aria-label": `Why is record ${row.record_id} ${row.fate}?`,
              on: { click: () => lab.why(event) },
            },
            "why?",
          )
        : "",
    ),
  ]);
}
