// @ts-check
/** The marks of the visual language: one shape and one colour per meaning, the same in every view and in the legend. */
import { h } from "./dom.js";

/** @type {Record<string, string>} */
const PATHS = {
  leader: "M1.5 12.5h13v-1.6h-13zM1.3 4.2l3.4 2.7L8 2l3.3 4.9 3.4-2.7-1.2 5.7h-11z",
  follower: "M8 2.2a5.8 5.8 0 1 0 0 11.6A5.8 5.8 0 0 0 8 2.2m0 1.9a3.9 3.9 0 1 1 0 7.8 3.9 3.9 0 0 1 0-7.8",
  isr: "M8 1.6a6.4 6.4 0 1 0 0 12.8A6.4 6.4 0 0 0 8 1.6m-.9 9.3L3.9 7.8l1.2-1.2 2 1.9 3.8-3.9L12 5.8z",
  lagging: "M8 1.8 15 14H1zM7.2 6.2v4h1.6v-4zm0 5v1.6h1.6v-1.6z",
  offline: "m3.7 2.3 4.3 4.3 4.3-4.3 1.4 1.4L9.4 8l4.3 4.3-1.4 1.4L8 9.4l-4.3 4.3-1.4-1.4L6.6 8 2.3 3.7z",
  hw: "M7 1h2v14H7zM9 1h6l-2 2.5L15 6H9z",
  leo: "M7 1h2v3H7zm0 5h2v3H7zm0 5h2v4H7zM1 5.2 6 8l-5 2.8z",
  up: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2",
  paused: "M3.5 2.5h3.2v11H3.5zm5.8 0h3.2v11H9.3z",
  fenced: "M5 7V5a3 3 0 0 1 6 0v2h1.2v7H3.8V7zm1.6 0h2.8V5a1.4 1.4 0 0 0-2.8 0z",
  stopping: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M7.2 4.5h1.6v3.3l2.4 1.6-.9 1.3-3.1-2z",
};

/** @param {string} name @param {string} [tone] */
export function mark(name, tone = name) {
  return h("svg.mark", { key: `mark-${name}`, class: `tone-${tone}`, viewBox: "0 0 16 16", "aria-hidden": "true" }, [
    h("path", { d: PATHS[name] ?? PATHS.up, fill: "currentColor", "fill-rule": "evenodd" }),
  ]);
}

/** @param {{status: string, fenced: boolean, kind: string}} node what its machine shows: [mark, tone, words] */
export function nodeState(node) {
  if (node.status === "down") return ["offline", "offline", "down"];
  if (node.status === "paused") return ["paused", "lagging", "paused"];
  if (node.status === "stopping") return ["stopping", "lagging", "stopping"];
  if (node.kind === "broker" && node.fenced) return ["fenced", "lagging", "fenced"];
  return ["up", "isr", "up"];
}

/** @param {{state: string, role: string}} replica [mark, tone] */
export function replicaState(replica) {
  switch (replica.state) {
    case "in sync":
      return ["isr", "isr"];
    case "offline":
      return ["offline", "offline"];
    default:
      return ["lagging", "lagging"];
  }
}

/** @param {string} status */
export function partitionTone(status) {
  if (status === "ok") return "isr";
  return status === "offline" || status === "under-min-isr" ? "offline" : "lagging";
}

/** @param {any} view @returns {Array<{id: string, topic: any, partition: any}>} learner's topics first, then internal ones */
export function partitionsOf(view) {
  const topics = Object.values(view.topics ?? {}).sort(
    (a, b) => Number(a.internal) - Number(b.internal) || (a.name < b.name ? -1 : 1),
  );
  return topics.flatMap((topic) =>
    Object.values(topic.partitions)
      .sort((a, b) => a.partition - b.partition)
      .map((partition) => ({ id: `${topic.name}-${partition.partition}`, topic, partition })),
  );
}

/** Where to look first: the first partition that has records. @template {{partition: any}} P @param {P[]} parts @returns {P | undefined} */
export const withRecords = (parts) =>
  parts.find(({ partition }) => Object.values(partition.logs).some((log) => log.log_end_offset > 0)) ?? parts[0];

/** @param {any} view @param {string} kind */
export function nodesOf(view, kind) {
  return Object.values(view.nodes ?? {})
    .filter((node) => node.kind === kind)
    .sort((a, b) => a.id - b.id || (a.name < b.name ? -1 : 1));
}
