// @ts-check
/** Transactions: what each transactional ID is doing and where, and what that makes of the last stable offset. */
import { h, render, span } from "../dom.js";
import { partitionsOf } from "../objects.js";
import { absentTransactions, drawAbsentTransactions } from "./absent.js";
import { drawMachine, TRANSACTION } from "./machine.js";

/** @param {HTMLElement} root @param {any} lab */
export function create(root, lab) {
  root.classList.add("transactions");
  let chosen = "";

  function draw() {
    const { view } = lab.store;
    if (!view) return;
    const all = Object.values(view.transactions ?? {});
    const current =
      all.find((one) => one.transactional_id === chosen) ?? all.find((one) => one.state === "Ongoing") ?? all[0];
    render(root, [
      h("div.view-bar", { key: "bar" }, [
        h("h3", { key: "h" }, "Transactions"),
        h(
          "button.button.small",
          {
            key: "+",
            type: "button",
            on: { click: () => lab.actions.open("CreateProducer", { transactional_id: fresh(view) }) },
          },
          "+ Transactional producer",
        ),
        h(
          "button.button.small",
          {
            key: "c",
            type: "button",
            on: { click: () => lab.actions.open("CreateConsumer", { isolation: "read_committed" }) },
          },
          "+ read_committed consumer",
        ),
      ]),
      drawAbsentTransactions(view),
      current
        ? drawMachine(TRANSACTION, current.state, `State of ${current.transactional_id}`)
        : h(
            "p.empty",
            { key: "none", hidden: absentTransactions(view).length > 0 },
            "No transactional ID yet. Create a transactional producer here; then its menu begins a transaction, sends records in it, and commits or aborts it. What a read_committed consumer sees meanwhile shows below.",
          ),
      all.length ? list(view, all, current, choose) : null,
      stable(view),
      readers(view),
    ]);
  }

  /** @param {string} id */
  function choose(id) {
    chosen = id;
    draw();
  }
  return { draw, choose };
}

/** @param {any} view */
function fresh(view) {
  for (let number = 1; ; number++) if (!view.transactions?.[`tx-${number}`]) return `tx-${number}`;
}

/** @param {any} view @param {string} id the producer that has this transactional.id */
export const producerOf = (view, id) =>
  Object.values(view.producers).find((producer) => producer.configs["transactional.id"] === id);

/** @param {string} state */
export function stateTone(state) {
  if (state === "Ongoing") return "leo";
  if (state.startsWith("Prepare")) return "lagging";
  if (state === "CompleteAbort") return "offline";
  return state === "CompleteCommit" ? "isr" : "quiet";
}

/** @param {any} view @param {any[]} all @param {any} current @param {(id: string) => void} choose */
function list(view, all, current, choose) {
  const heads = [
    "Transactional ID",
    "State",
    "Open for",
    "Producer ID, epoch",
    "Partitions",
    "Coordinator",
    "Producer",
  ];
  return h("div.scroll", { key: "list", tabindex: "0", role: "region", "aria-label": "Transactional IDs" }, [
    h("table", { key: "t" }, [
      h(
        "thead",
        { key: "h" },
        h(
          "tr",
          {},
          heads.map((name) => h("th", { key: name, scope: "col" }, name)),
        ),
      ),
      h(
        "tbody",
        { key: "b" },
        all.map((one) => {
          const producer = producerOf(view, one.transactional_id);
          const open = one.state === "Ongoing" && one.start_us >= 0;
          const age = view.now_us - one.start_us;
          return h("tr", { key: one.transactional_id }, [
            h(
              "th",
              { key: "id", scope: "row" },
              h(
                "button.object",
                {
                  type: "button",
                  "aria-pressed": String(one === current),
                  on: { click: () => choose(one.transactional_id) },
                },
                one.transactional_id,
              ),
            ),
            h("td", { key: "s", class: `tone-${stateTone(one.state)}` }, h("b", {}, one.state)),
            h("td", { key: "o" }, open ? [h("span", { key: "a" }, span(age)), limit(age, one)] : "–"),
            h("td.num", { key: "p" }, `${one.producer_id}, ${one.producer_epoch}`),
            h("td", { key: "l" }, places(one)),
            h("td", { key: "c" }, `broker ${one.coordinator}`),
            h(
              "td",
              { key: "w" },
              producer
                ? h(
                    "button.object",
                    { type: "button", "data-object": producer.name, "aria-haspopup": "menu" },
                    producer.name,
                  )
                : "gone",
            ),
          ]);
        }),
      ),
    ]),
  ]);
}

/** How much of transaction.timeout.ms is used up. @param {number} age @param {any} one */
const limit = (age, one) =>
  h("span.muted", { key: "l" }, [
    " of ",
    span(one.timeout_ms * 1000),
    h("progress", {
      key: "m",
      max: one.timeout_ms,
      value: Math.min(age / 1000, one.timeout_ms),
      "aria-label": `${one.transactional_id}: used of transaction.timeout.ms`,
    }),
  ]);

/** @param {any} one */
function places(one) {
  if (!one.partitions.length) return "–";
  const prepared = one.state.startsWith("Prepare");
  return h(
    "span.places",
    {},
    one.partitions.map((/** @type {string} */ place) => {
      const waits = prepared && one.unmarked.includes(place);
      return h(
        "span.place",
        {
          key: place,
          class: prepared ? (waits ? "tone-lagging" : "tone-isr") : "",
          title: prepared ? (waits ? "its marker is not written yet" : "its marker is written") : null,
        },
        `${prepared ? (waits ? "◌ " : "✓ ") : ""}${place}`,
      );
    }),
  );
}

// -- the last stable offset -----------------------------------------------------------------------

const ROOM = 300;

/** @param {any} view */
function stable(view) {
  const internal = (/** @type {any} */ topic) => topic.internal;
  const rows = partitionsOf(view).filter(
    ({ topic, partition }) => partition.log_end_offset > 0 && (!internal(topic) || partition.open_transactions.length),
  );
  if (!rows.length) return null;
  return h("div.scroll", { key: "stable", tabindex: "0", role: "region", "aria-label": "Last stable offsets" }, [
    h("table.stable", { key: "t" }, [
      h("caption", { key: "c" }, "Last stable offset against high watermark: what read_committed consumers may read"),
      h(
        "thead",
        { key: "h" },
        h("tr", {}, [
          h("th", { key: "p", scope: "col" }, "Partition"),
          h("th.num", { key: "l", scope: "col" }, "LSO"),
          h("th.num", { key: "h", scope: "col" }, "HW"),
          h("th.num", { key: "e", scope: "col" }, "LEO"),
          h("th", { key: "b", scope: "col" }, "Log: stable, then held back"),
          h("th", { key: "w", scope: "col" }, "Held back by"),
        ]),
      ),
      h(
        "tbody",
        { key: "b" },
        rows.map(({ id, partition }) => stableRow(view, id, partition)),
      ),
    ]),
  ]);
}

/** @param {any} view @param {string} id @param {any} partition */
function stableRow(view, id, partition) {
  const { last_stable_offset: lso, high_watermark: hw, log_end_offset: leo } = partition;
  const held = Math.max(hw - lso, 0);
  const start = Math.max(partition.log_start_offset, leo - 60, 0);
  /** @param {number} offset */
  const x = (offset) => ((Math.max(offset, start) - start) / Math.max(leo - start, 1)) * ROOM;
  return h("tr", { key: id, "data-concerns": id, class: held ? "held" : "" }, [
    h("th", { key: "p", scope: "row" }, id),
    h("td.num.lso", { key: "l" }, String(lso)),
    h("td.num.hw", { key: "h" }, String(hw)),
    h("td.num", { key: "e" }, String(leo)),
    h(
      "td",
      { key: "b" },
      h("svg.lso-bar", { width: ROOM, height: 16, viewBox: `0 0 ${ROOM} 16`, "aria-hidden": "true" }, [
        h("rect.room", { key: "r", x: 0, y: 3, width: ROOM, height: 10 }),
        h("rect.stable", { key: "s", x: 0, y: 2, width: x(lso), height: 12 }),
        h("rect.unstable", { key: "u", x: x(lso), y: 2, width: Math.max(x(hw) - x(lso), 0), height: 12 }),
        h("line.at-lso", { key: "l", x1: x(lso), x2: x(lso), y1: 0, y2: 16 }),
        h("line.at-hw-line", { key: "h", x1: x(hw), x2: x(hw), y1: 0, y2: 16 }),
      ]),
    ),
    h("td", { key: "w" }, held ? [`${held} record${held === 1 ? "" : "s"}: `, holders(view, partition)] : "–"),
  ]);
}

/** @param {any} view @param {any} partition */
function holders(view, partition) {
  if (!partition.open_transactions.length) return "a marker that is not replicated yet";
  return partition.open_transactions
    .slice()
    .sort((/** @type {any} */ a, /** @type {any} */ b) => a.first_offset - b.first_offset)
    .map((/** @type {any} */ open) => {
      const known = Object.values(view.transactions).find((one) => one.producer_id === open.producer_id);
      const hangs = !known?.partitions.includes(`${partition.topic}-${partition.partition}`);
      return `${known ? known.transactional_id : `producer ${open.producer_id}`} since offset ${open.first_offset}${hangs ? " (hanging)" : ""}`;
    })
    .join(", ");
}

/** Consumers by what they may see. @param {any} view */
function readers(view) {
  const all = Object.values(view.consumers).filter((consumer) => consumer.positions.length);
  if (!all.length) return null;
  return h(
    "div.scroll",
    { key: "readers", tabindex: "0", role: "region", "aria-label": "Consumers and their isolation level" },
    [
      h("table", { key: "t" }, [
        h(
          "thead",
          { key: "h" },
          h(
            "tr",
            {},
            ["Consumer", "isolation.level", "Read", "Stands at"].map((name) =>
              h("th", { key: name, scope: "col" }, name),
            ),
          ),
        ),
        h(
          "tbody",
          { key: "b" },
          all.map((consumer) => {
            const committed = consumer.configs["isolation.level"] === "read_committed";
            return h("tr", { key: consumer.name, "data-concerns": consumer.name }, [
              h(
                "th",
                { key: "n", scope: "row" },
                h(
                  "button.object",
                  { type: "button", "data-object": consumer.name, "aria-haspopup": "menu" },
                  consumer.name,
                ),
              ),
              h("td.mono", { key: "i" }, consumer.configs["isolation.level"] ?? "read_uncommitted"),
              h("td.num", { key: "r" }, String(consumer.consumed)),
              h(
                "td",
                { key: "p" },
                consumer.positions
                  .map((/** @type {any} */ at) => {
                    const partition = view.topics[at.topic]?.partitions[at.partition];
                    const waits =
                      committed &&
                      partition &&
                      at.position >= partition.last_stable_offset &&
                      at.position < partition.high_watermark;
                    return `${at.topic}-${at.partition} at ${at.position}${waits ? " (waits at the LSO)" : ""}`;
                  })
                  .join(", "),
              ),
            ]);
          }),
        ),
      ]),
    ],
  );
}
