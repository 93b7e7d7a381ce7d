// @ts-check
/** The byte microscope: one batch as it lies in a segment, byte by byte, and what each stretch of bytes means. */
import { h, render } from "../dom.js";
import { partitionsOf, withRecords } from "../objects.js";

const PER_LINE = 16;
const MAX_BYTES = 4096;

/** @typedef {{start: number, end: number, name: string, value: string, note: string, depth: number, packed: boolean}} Span */

/** @param {HTMLElement} root @param {any} lab */
export function create(root, lab) {
  root.classList.add("bytes");
  let broker = 0;
  let part = "";
  let offset = 0;
  /** @type {ReturnType<typeof read> | null} */
  let seen = null;
  let problem = "";
  let lit = -1;
  let asked = "";

  async function look() {
    const { view } = lab.store;
    const current = partitionsOf(view).find(({ id }) => id === part);
    if (!current) return;
    asked = `${broker}/${part}/${offset}`;
    const mine = asked;
    try {
      const answer = await lab.socket.request("bytes", {
        broker,
        topic: current.topic.name,
        partition: current.partition.partition,
        offset,
      });
      if (mine !== asked) return;
      seen = read(answer.bytes ?? answer.result ?? answer);
      problem = "";
    } catch (error) {
      seen = null;
      problem = error instanceof Error ? error.message : String(error);
    }
    lit = -1;
    draw();
  }

  /** @param {() => void} change @returns {(event: Event) => void} */
  const choose = (change) => () => {
    change();
    look();
  };

  function draw() {
    const { view } = lab.store;
    if (!view) return;
    const parts = partitionsOf(view);
    const current = parts.find(({ id }) => id === part) ?? withRecords(parts);
    if (!current) {
      render(root, h("p.empty", null, "No topic yet: there are no bytes to look at."));
      return;
    }
    part = current.id;
    const holders = Object.values(current.partition.logs).filter((log) => log.role !== "none");
    if (!holders.some((log) => log.broker === broker))
      broker = current.partition.leader > 0 ? current.partition.leader : (holders[0]?.broker ?? 0);
    const log = current.partition.logs[broker];
    const end = log?.log_end_offset ?? 0;
    if (asked === "" && end > 0) {
      offset = end - 1;
      look();
    }
    render(root, [
      h("div.view-bar", { key: "bar" }, [
        h("label", { key: "p" }, [
          "Partition ",
          h(
            "select",
            {
              key: "s",
              value: part,
              on: {
                change: (/** @type {Event} */ e) =>
                  choose(() => {
                    part = /** @type {HTMLSelectElement} */ (e.target).value;
                  })(e),
              },
            },
            parts.map(({ id }) => h("option", { key: id, value: id, selected: id === part }, id)),
          ),
        ]),
        h("label", { key: "b" }, [
          "Broker ",
          h(
            "select",
            {
              key: "s",
              value: String(broker),
              on: {
                change: (/** @type {Event} */ e) =>
                  choose(() => {
                    broker = Number(/** @type {HTMLSelectElement} */ (e.target).value);
                  })(e),
              },
            },
            holders.map((item) =>
              h(
                "option",
                { key: String(item.broker), value: String(item.broker), selected: item.broker === broker },
                String(item.broker),
              ),
            ),
          ),
        ]),
        h("label", { key: "o" }, [
          "Offset ",
          h("input", {
            key: "i",
            type: "number",
            min: 0,
            max: Math.max(0, end - 1),
            value: offset,
            on: {
              change: (/** @type {Event} */ e) =>
                choose(() => {
                  offset = Number(/** @type {HTMLInputElement} */ (e.target).value);
                })(e),
            },
          }),
        ]),
        h("span.muted", { key: "r" }, end > 0 ? `this log ends at ${end}` : "this log is empty"),
        seen?.file ? h("code.file", { key: "file" }, `${seen.file} @ ${seen.position}`) : null,
      ]),
      end > 0 || problem
        ? null
        : h(
            "p.empty",
            { key: "none" },
            "No record has been written here yet. Produce one, and its bytes lie here as they lie on the disk.",
          ),
      problem ? h("p.problem", { key: "problem", role: "alert" }, problem) : null,
      seen
        ? h("div.microscope", { key: "m" }, [h("div.left", { key: "left" }, [hex(seen), records(seen)]), table(seen)])
        : null,
    ]);
  }

  /** @param {number} index */
  const light = (index) => {
    if (lit === index) return;
    lit = index;
    draw();
  };

  /** @param {NonNullable<typeof seen>} what */
  function hex(what) {
    const owner = new Int16Array(what.bytes.length).fill(-1);
    what.spans.forEach((item, index) => {
      if (!item.packed) owner.fill(index, item.start, Math.min(item.end, owner.length));
    });
    const chosen = what.spans[lit];
    const lines = [];
    for (let start = 0; start < what.bytes.length; start += PER_LINE) {
      const cells = [];
      let ascii = "";
      for (let at = start; at < Math.min(start + PER_LINE, what.bytes.length); at++) {
        const byte = what.bytes[at];
        const on = chosen && !chosen.packed && at >= chosen.start && at < chosen.end;
        const index = owner[at];
        cells.push(
          h(
            "span.byte",
            {
              key: String(at),
              class: `${on ? "on" : ""} hue-${index < 0 ? "none" : index % 6}`,
              on: { mouseenter: () => light(index), click: () => light(index) },
            },
            byte.toString(16).padStart(2, "0"),
          ),
        );
        ascii += byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·";
      }
      lines.push(
        h("div.hex-line", { key: String(start) }, [
          h("span.address", { key: "a" }, start.toString(16).padStart(4, "0")),
          h("span.cells", { key: "c" }, cells),
          h("span.ascii", { key: "t" }, ascii),
        ]),
      );
    }
    return h(
      "div.hex.scroll",
      { key: "hex", tabindex: "0", role: "region", "aria-label": "Bytes in hexadecimal" },
      lines,
    );
  }

  /** @param {NonNullable<typeof seen>} what */
  function records(what) {
    return h("table.records", { key: "records" }, [
      h(
        "caption",
        { key: "c" },
        `${what.records.length} record${what.records.length === 1 ? "" : "s"} in ${what.size} bytes`,
      ),
      h(
        "thead",
        { key: "h" },
        h(
          "tr",
          {},
          ["Offset", "Key", "Value"].map((name) => h("th", { key: name, scope: "col" }, name)),
        ),
      ),
      h(
        "tbody",
        { key: "b" },
        what.records.map((/** @type {any} */ record) =>
          h("tr", { key: String(record.offset) }, [
            h("td.num", { key: "o" }, String(record.offset)),
            h("td.mono.clip", { key: "k" }, record.key ?? "null"),
            h("td.mono.clip", { key: "v" }, record.value ?? "null"),
          ]),
        ),
      ),
    ]);
  }

  /** @param {NonNullable<typeof seen>} what */
  function table(what) {
    return h("div.scroll.spans", { key: "spans", tabindex: "0", role: "region", "aria-label": "Fields" }, [
      h("table", { key: "t" }, [
        h(
          "thead",
          { key: "h" },
          h(
            "tr",
            {},
            ["Bytes", "Field", "Value"].map((name) => h("th", { key: name, scope: "col" }, name)),
          ),
        ),
        h(
          "tbody",
          { key: "b" },
          what.spans.map((item, index) =>
            h("tr", { key: String(index), class: index === lit ? "on" : "", on: { mouseenter: () => light(index) } }, [
              h(
                "td.num",
                { key: "b" },
                item.packed
                  ? "unpacked"
                  : item.end - item.start > 1
                    ? `${item.start}–${item.end - 1}`
                    : String(item.start),
              ),
              h(
                "td",
                { key: "n" },
                h(
                  "button.span-name",
                  {
                    type: "button",
                    class: `hue-${index % 6} depth-${Math.min(item.depth, 3)}`,
                    "aria-pressed": String(index === lit),
                    on: { click: () => light(index), focus: () => light(index) },
                  },
                  item.name,
                ),
              ),
              h("td", { key: "v" }, [
                h("span.mono", { key: "x" }, item.value),
                item.note ? h("small.muted", { key: "note" }, ` ${item.note}`) : null,
              ]),
            ]),
          ),
        ),
      ]),
    ]);
  }

  return {
    draw,
    /** @param {number} atBroker @param {string} topic @param {number} partition @param {number} at */
    choose(atBroker, topic, partition, at) {
      broker = atBroker;
      part = `${topic}-${partition}`;
      offset = at;
      look();
    },
  };
}

/** @param {any} answer an engine.view.microscope.BatchBytes */
function read(answer) {
  const text = String(answer.hex ?? "").replaceAll(/\s/g, "");
  const bytes = [];
  for (let at = 0; at + 1 < text.length && bytes.length < MAX_BYTES; at += 2)
    bytes.push(Number.parseInt(text.slice(at, at + 2), 16));
  /** @type {Span[]} */
  const spans = [];
  for (const item of answer.spans ?? []) {
    const packed = item.section !== "batch";
    spans.push({
      start: item.start,
      end: item.end,
      name: item.name,
      value: item.value,
      note: item.note,
      depth: item.level,
      packed,
    });
    for (const [name, value, note] of item.bits)
      spans.push({ start: item.start, end: item.end, name, value, note, depth: item.level + 1, packed });
  }
  return {
    bytes,
    spans,
    file: `${answer.path}`,
    position: answer.position,
    records: answer.records,
    size: answer.size_bytes,
  };
}
