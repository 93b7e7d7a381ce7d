// @ts-check
/**
 * Groups and transactional IDs whose coordinator cannot be asked: it is down, is loading what it is to know, or was never reached.
 * What is known of them then is what their clients know.
 */
import { h, span } from "../dom.js";

const GROUPS = "__consumer_offsets";
const TRANSACTIONS = "__transaction_state";
const OUTSIDE = new Set(["assigned by hand", "left", "fatal"]);

/** Java's String.hashCode, by which Kafka spreads its coordinators. @param {string} text */
export function hashCode(text) {
  let hash = 0;
  for (let index = 0; index < text.length; index++) hash = (Math.imul(hash, 31) + text.charCodeAt(index)) | 0;
  return hash;
}

/** Where a coordinator's state lies and why it cannot be asked. @param {any} view @param {string} topic @param {string} key @returns {string} */
function whyAbsent(view, topic, key) {
  const partitions = view.topics[topic]?.partitions ?? {};
  const count = Object.keys(partitions).length;
  if (!count) return `It has no coordinator yet: the first that asks for one has ${topic} created.`;
  const number = (hashCode(key) & 0x7fffffff) % count;
  const leader = partitions[number]?.leader ?? -1;
  const state = `Its state lies in ${topic}-${number}`;
  if (leader < 0) return `${state}, which has no leader: it has no coordinator until a replica in sync is back.`;
  const node = view.nodes[`broker-${leader}`];
  if (node?.status !== "up")
    return `${state}. The coordinator, broker ${leader}, is ${node?.status ?? "gone"}: another one takes over when the controller has elected it.`;
  return `${state}. Broker ${leader} leads it and is reading it, or nobody has reached it yet.`;
}

/** @param {any} view @returns {Array<{id: string, consumers: any[]}>} groups that have members and that no coordinator shows */
export function absentGroups(view) {
  /** @type {Map<string, any[]>} */
  const found = new Map();
  for (const consumer of Object.values(view.consumers)) {
    const { group } = consumer;
    if (!group?.group || view.groups?.[group.group] || OUTSIDE.has(group.state)) continue;
    if (view.nodes[consumer.name]?.status === "down") continue;
    found.set(group.group, [...(found.get(group.group) ?? []), consumer]);
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([id, consumers]) => ({ id, consumers }));
}

/** @param {any} view @param {{id: string, consumers: any[]}} group */
export function drawAbsent(view, group) {
  return h("div.absent", { key: "absent", "data-absent": group.id }, [
    h("p", { key: "why" }, whyAbsent(view, GROUPS, group.id)),
    h("p.muted", { key: "so" }, "Its members go on reading what they have; nobody can join, commit or be put out."),
    h("div.scroll", { key: "scroll", tabindex: "0", role: "region", "aria-label": `Members of ${group.id}` }, [
      h("table", { key: "t" }, [
        h(
          "thead",
          { key: "h" },
          h(
            "tr",
            {},
            ["Member", "As it sees itself", "Reads", "Stopped by rebalances"].map((name) =>
              h("th", { key: name, scope: "col" }, name),
            ),
          ),
        ),
        h(
          "tbody",
          { key: "b" },
          group.consumers.map((consumer) =>
            h("tr", { key: consumer.name, "data-concerns": consumer.name }, [
              h(
                "th",
                { key: "n", scope: "row" },
                h(
                  "button.object",
                  { type: "button", "data-object": consumer.name, "aria-haspopup": "menu" },
                  consumer.name,
                ),
              ),
              h("td", { key: "s" }, [consumer.group.state, consumer.group.error].filter(Boolean).join(", ")),
              h("td", { key: "p" }, reads(consumer)),
              h("td.num", { key: "st" }, consumer.group.stopped_us ? span(consumer.group.stopped_us) : "–"),
            ]),
          ),
        ),
      ]),
    ]),
  ]);
}

/** @param {any} consumer */
const reads = (consumer) =>
  consumer.positions.map((/** @type {any} */ at) => `${at.topic}-${at.partition} at ${at.position}`).join(", ") ||
  (consumer.share?.assigned ?? []).join(", ") ||
  "nothing";

/** Transactional IDs that a producer has and no coordinator shows. @param {any} view @returns {string[]} */
export const absentTransactions = (view) =>
  Object.values(view.producers)
    .map((producer) => producer.configs["transactional.id"])
    .filter((id) => id && !view.transactions?.[id])
    .sort();

/** @param {any} view */
export function drawAbsentTransactions(view) {
  const absent = absentTransactions(view);
  if (!absent.length) return null;
  return h(
    "ul.absent",
    { key: "absent" },
    absent.map((id) =>
      h("li", { key: id, "data-absent": id }, [
        h("b", { key: "b" }, id),
        `: its coordinator cannot be asked. ${whyAbsent(view, TRANSACTIONS, id)}`,
      ]),
    ),
  );
}
