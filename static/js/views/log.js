// @ts-check
/** One partition's logs beneath each other: batches as cells coloured by leader epoch, high watermark, log end and segments. */
import { bytesText, h, render, spoken } from "../dom.js";
import { mark, partitionsOf, partitionTone, replicaState, withRecords } from "../objects.js";

const CELL = 40;
const ROW = 34;

/** @param {HTMLElement} root @param {any} lab */
export function create(root, lab) {
  root.classList.add("logs");
  let chosen = "";

  function draw() {
    const { view } = lab.store;
    if (!view) return;
    const parts = partitionsOf(view);
    const current = parts.find(({ id }) => id === chosen) ?? withRecords(parts);
    if (!current) {
      render(root, h("p.empty", null, "No topic yet: create one, and its partitions' logs lie here."));
      return;
    }
    const { topic, partition } = current;
    render(root, [
      h("div.view-bar", { key: "bar" }, [
        h("label", { key: "label" }, [
          "Partition ",
          h(
            "select",
            {
              key: "select",
              value: current.id,
              on: {
                change: (/** @type {Event} */ event) => {
                  chosen = /** @type {HTMLSelectElement} */ (event.target).value;
                  draw();
                },
              },
            },
            parts.map(({ id }) => h("option", { key: id, value: id, selected: id === current.id }, id)),
          ),
        ]),
        h("span.fact", { key: "leader" }, [
          mark("leader"),
          partition.leader < 0 ? "no leader" : `broker ${partition.leader}`,
        ]),
        h("span.fact", { key: "epoch" }, `leader epoch ${partition.leader_epoch}`),
        h("span.fact", { key: "isr" }, [mark("isr"), `ISR ${partition.isr.join(", ") || "empty"}`]),
        h("span.fact", { key: "min" }, `min.insync.replicas ${partition.min_isr}`),
        partition.elr.length ? h("span.fact", { key: "elr" }, `ELR ${partition.elr.join(", ")}`) : null,
        h("span.fact", { key: "st", class: `tone-${partitionTone(partition.status)}` }, partition.status),
        topic.configs["cleanup.policy"]
          ? h("span.fact", { key: "policy" }, `cleanup.policy ${topic.configs["cleanup.policy"]}`)
          : null,
      ]),
      h(
        "div.log-rows",
        { key: "rows", tabindex: "0", role: "region", "aria-label": `Logs of ${current.id}` },
        rows(lab, current.id, topic, partition),
      ),
      h("p.caption", { key: "caption" }, [
        h("span", { key: "hw" }, [mark("hw"), " high watermark: consumers read up to here"]),
        h("span", { key: "leo" }, [mark("leo"), " log end: the next offset"]),
        partition.last_stable_offset < partition.high_watermark
          ? h("span.tone-isr", { key: "lso" }, "LSO: read_committed consumers stop here")
          : null,
        h("span", { key: "rest" }, "colours are leader epochs; click a batch to see its bytes"),
      ]),
    ]);
  }
  return {
    draw,
    /** @param {string} id */
    choose(id) {
      chosen = id;
      draw();
    },
  };
}

/** @param {any} lab @param {string} id @param {any} topic @param {any} partition */
function rows(lab, id, topic, partition) {
  const brokers = [...new Set([...partition.replicas, ...Object.keys(partition.logs).map(Number)])];
  let low = Number.POSITIVE_INFINITY;
  let high = 0;
  for (const log of Object.values(partition.logs)) {
    for (const batch of log.tail) low = Math.min(low, batch.base_offset);
    high = Math.max(high, log.log_end_offset);
  }
  if (!Number.isFinite(low)) low = Math.max(0, high - 24);
  const cell = high - low > 120 ? 6 : high - low > 48 ? 14 : high - low > 24 ? 26 : CELL;
  const width = (high - low + 2) * cell;
  return brokers.map((broker) => {
    const log = partition.logs[broker];
    if (!log) return null;
    const [shape, tone] = replicaState(log);
    /** @param {number} offset */
    const x = (offset) => (offset - low) * cell;
    const leads = partition.leader === broker;
    const stable = partition.last_stable_offset;
    return h("div.log-row", { key: String(broker), class: `role-${log.role}` }, [
      h("button.log-name", { key: "name", type: "button", "data-object": `${id}@${broker}`, "aria-haspopup": "menu" }, [
        mark(leads ? "leader" : "follower"),
        h("strong", { key: "n" }, spoken(`broker-${broker}`)),
        h("span", { key: "st", class: `tone-${tone}` }, [mark(shape, tone), log.state]),
        h(
          "span.muted",
          { key: "size" },
          `${bytesText(log.size_bytes)}, ${log.segments.length} segment${log.segments.length === 1 ? "" : "s"}`,
        ),
        log.log_start_offset > 0 ? h("span.muted", { key: "from" }, `starts at ${log.log_start_offset}`) : null,
      ]),
      log.role === "offline"
        ? h(
            "p.empty.unseen",
            { key: "off" },
            "The process is down: what lies on its disk is seen when it starts again.",
          )
        : h("div.log-body", { key: "body" }, [
            h(
              "svg.log-line",
              { key: "svg", width: width + 70, height: ROW + 26, role: "img", "aria-label": describe(broker, log) },
              [
                log.segments.map((/** @type {any} */ segment) =>
                  segment.base_offset >= low
                    ? h("g.segment", { key: `s${segment.base_offset}` }, [
                        h("line", { x1: x(segment.base_offset), x2: x(segment.base_offset), y1: 2, y2: ROW + 12 }),
                        h(
                          "text",
                          { x: x(segment.base_offset) + 3, y: ROW + 22 },
                          `segment ${String(segment.base_offset).padStart(20, "0").slice(-6)}${segment.active ? " active" : ""}`,
                        ),
                      ])
                    : null,
                ),
                log.tail.map((/** @type {any} */ batch) => {
                  const w = (batch.last_offset - batch.base_offset + 1) * cell;
                  const name =
                    batch.base_offset === batch.last_offset
                      ? `${batch.base_offset}`
                      : `${batch.base_offset}–${batch.last_offset}`;
                  return h(
                    "g.batch",
                    {
                      key: `b${batch.base_offset}`,
                      class: [
                        `epoch-${batch.leader_epoch % 6}`,
                        batch.last_offset < log.high_watermark ? "done" : "open",
                        batch.control ? "control" : batch.kind,
                      ].join(" "),
                      on: { click: () => lab.openBytes(broker, topic.name, partition.partition, batch.base_offset) },
                    },
                    [
                      h(
                        "title",
                        {},
                        `Offsets ${name}, leader epoch ${batch.leader_epoch}, ${batch.records} records, ${batch.size_bytes} bytes${KINDS[batch.kind] ?? ""}` +
                          (batch.tombstones ? `, ${batch.tombstones} tombstones` : ""),
                      ),
                      h("rect", {
                        key: "box",
                        x: x(batch.base_offset) + 1,
                        y: 6,
                        width: Math.max(w - 2, 1),
                        height: ROW - 6,
                        rx: 3,
                      }),
                      cell >= 14 && whole(batch)
                        ? Array.from({ length: batch.last_offset - batch.base_offset }, (_, index) =>
                            h("line.between", {
                              key: `l${index}`,
                              x1: x(batch.base_offset + index + 1),
                              x2: x(batch.base_offset + index + 1),
                              y1: ROW - 7,
                              y2: ROW,
                            }),
                          )
                        : null,
                      w >= label(batch, name).length * 7.4 + 4
                        ? h(
                            "text",
                            { x: x(batch.base_offset) + w / 2, y: ROW - 8, "text-anchor": "middle" },
                            label(batch, name),
                          )
                        : null,
                    ],
                  );
                }),
                h("g.at-leo", { key: "leo" }, [
                  h("line", { x1: x(log.log_end_offset), x2: x(log.log_end_offset), y1: 2, y2: ROW + 4 }),
                  h("text", { x: x(log.log_end_offset) + 5, y: 17 }, `LEO ${log.log_end_offset}`),
                ]),
                log.high_watermark >= low
                  ? h("g.at-hw", { key: "hw" }, [
                      h("line", { x1: x(log.high_watermark), x2: x(log.high_watermark), y1: 0, y2: ROW + 8 }),
                      h("text", { x: x(log.high_watermark) + 5, y: ROW + 6 }, `HW ${log.high_watermark}`),
                    ])
                  : null,
                leads && stable < log.high_watermark && stable >= low
                  ? h("g.at-lso", { key: "lso" }, [
                      h("line", { x1: x(stable), x2: x(stable), y1: 0, y2: ROW + 8 }),
                      h("text", { x: x(stable) + 5, y: ROW + 6 }, `LSO ${stable}`),
                    ])
                  : null,
                log.log_start_offset > low
                  ? h("g.at-start", { key: "start" }, [
                      h("rect.before", { x: 0, y: 3, width: x(log.log_start_offset), height: ROW }),
                      h("line", { x1: x(log.log_start_offset), x2: x(log.log_start_offset), y1: 0, y2: ROW + 8 }),
                      h("text", { x: x(log.log_start_offset) + 4, y: ROW + 11 }, `log start ${log.log_start_offset}`),
                    ])
                  : null,
              ],
            ),
            log.cleaner ? cleaner(log) : null,
          ]),
    ]);
  });
}

/** @type {Record<string, string>} */
const PARTS = {
  clean: "below the first dirty offset: no key is there twice",
  mixed: "clean at its beginning, dirty behind",
  dirty: "not cleaned yet",
  waiting: "may not be cleaned yet: too young, or above the last stable offset",
  active: "the active segment, which the cleaner leaves alone",
};

/** How far compaction has come, segment by segment. @param {any} log */
function cleaner(log) {
  const { cleaner: state, segments } = log;
  const due = state.overdue || state.dirty_ratio > state.min_dirty_ratio;
  return h("div.cleaner", { key: "cleaner" }, [
    h("span", { key: "w" }, [
      state.cleaning ? "the cleaner is at work; " : "",
      `dirty ratio ${state.dirty_ratio} `,
      h("meter", {
        key: "m",
        min: 0,
        max: 1,
        high: state.min_dirty_ratio,
        value: Math.min(Math.max(state.dirty_ratio, 0), 1),
        "aria-label": `Dirty ratio ${state.dirty_ratio}, cleaned above ${state.min_dirty_ratio}`,
      }),
      ` of ${state.min_dirty_ratio}`,
      due ? ", due" : "",
      `; clean below ${state.first_dirty_offset}`,
      state.uncleanable ? `; uncleanable: ${state.uncleanable}` : "",
    ]),
    h(
      "ol.segments",
      { key: "s", "aria-label": "Segments, oldest first" },
      state.segments.map((/** @type {string} */ part, /** @type {number} */ index) =>
        h(
          "li",
          { key: String(segments[index]?.base_offset ?? index), class: part, title: PARTS[part] ?? part },
          `${segments[index]?.base_offset ?? "?"} ${part}`,
        ),
      ),
    ),
  ]);
}

/** @type {Record<string, string>} */
const KINDS = {
  commit: ", a marker: committed",
  abort: ", a marker: aborted",
  transactional: ", of a transaction",
};

/** Compaction has taken nothing from it. @param {any} batch */
const whole = (batch) => batch.control || batch.records > batch.last_offset - batch.base_offset;

/** What is written on a batch. @param {any} batch @param {string} name */
function label(batch, name) {
  if (batch.control) return batch.kind || "ctl";
  if (!whole(batch)) return `${name}: ${batch.records} left`;
  return batch.tombstones === batch.records && batch.records ? `†${name}` : name;
}

/** @param {number} broker @param {any} log */
const describe = (broker, log) =>
  `Broker ${broker}: log from ${log.log_start_offset} to ${log.log_end_offset}, high watermark ${log.high_watermark}, ` +
  `${log.tail.length} batches shown, ${log.segments.length} segments`;
