// @ts-check
/** A replica's log as a bar: batches as cells up to the log end, the committed part solid, the high watermark as a line. */
import { h } from "../dom.js";

const HEIGHT = 14;
const SHOWN = 32;

/** The offsets that all bars of one partition show, so that they can be compared. @param {any} partition @returns {[number, number]} */
export function domain(partition) {
  let end = partition.log_end_offset;
  for (const log of Object.values(partition.logs)) end = Math.max(end, log.log_end_offset);
  const high = Math.max(8, Math.ceil((end + 1) / 8) * 8);
  return [Math.max(0, high - SHOWN), high];
}

/** @param {any} replica @param {[number, number]} range @param {boolean} leads */
export function logBar(replica, range, leads) {
  const [low, high] = range;
  const step = 1000 / (high - low);
  /** @param {number} offset */
  const x = (offset) => Math.min(1000, Math.max(0, (offset - low) * step));
  const start = Math.max(replica.log_start_offset, 0);
  const end = Math.max(replica.log_end_offset, start);
  const hw = Math.min(Math.max(replica.high_watermark, start), end);
  const tone = replica.role === "offline" ? "gone" : leads ? "leader" : "follower";
  const cuts = replica.tail
    .map((/** @type {any} */ batch) => batch.base_offset)
    .filter((/** @type {number} */ offset) => offset > Math.max(low, start) && offset < end);
  return h(
    "svg.bar",
    { class: `tone-${tone}`, viewBox: `0 0 1000 ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    [
      h("rect.bar-room", { key: "room", x: 0, y: 3, width: 1000, height: HEIGHT - 6 }),
      h("rect.bar-open", {
        key: "open",
        x: x(start),
        y: 1.5,
        width: Math.max(0, x(end) - x(start)),
        height: HEIGHT - 3,
      }),
      h("rect.bar-done", { key: "done", x: x(start), y: 1, width: Math.max(0, x(hw) - x(start)), height: HEIGHT - 2 }),
      ...cuts.map((/** @type {number} */ offset) =>
        h("line.bar-cut", { key: `c${offset}`, x1: x(offset), x2: x(offset), y1: 0, y2: HEIGHT }),
      ),
      end > low && replica.role !== "offline"
        ? h("line.bar-leo", { key: "leo", x1: x(end), x2: x(end), y1: 0, y2: HEIGHT })
        : null,
      replica.high_watermark >= 0 && replica.role !== "offline"
        ? h("line.bar-hw", { key: "hw", x1: x(hw), x2: x(hw), y1: -2, y2: HEIGHT + 2 })
        : null,
    ],
  );
}
