// @ts-check
/** A state machine, drawn: its states as boxes, its transitions as arrows, and the state it is in lit up. */
import { h } from "../dom.js";

/**
 * @typedef {{name: string, x: number, y: number, w?: number, means?: string}} State
 * @typedef {{from: string, to: string, label?: string, bend?: number}} Step
 * @typedef {{width: number, height: number, states: State[], steps: Step[]}} Machine
 */

const HEIGHT = 26;
const EMPTY = "no members; what it has committed stays for offsets.retention.minutes (7 days by default).";
const DEAD = "deleted; nothing of it is left.";

/** @type {Record<string, Machine>} As Kafka's coordinators have them, by the type of the group. */
export const GROUPS = {
  classic: {
    width: 640,
    height: 138,
    states: [
      { name: "Empty", x: 40, y: 20, w: 76, means: EMPTY },
      {
        name: "PreparingRebalance",
        x: 255,
        y: 20,
        w: 150,
        means:
          "the coordinator waits until every member has joined again, and drops who has not within its rebalance timeout. A group that was empty waits group.initial.rebalance.delay.ms for more.",
      },
      {
        name: "CompletingRebalance",
        x: 530,
        y: 20,
        w: 158,
        means: "all have joined; the member that leads computes the assignment and hands it in (SyncGroup).",
      },
      {
        name: "Stable",
        x: 530,
        y: 118,
        w: 80,
        means: "every member knows its partitions; who sends no heartbeat for session.timeout.ms is put out.",
      },
      { name: "Dead", x: 40, y: 118, w: 70, means: DEAD },
    ],
    steps: [
      { from: "Empty", to: "PreparingRebalance", label: "a member joins" },
      { from: "PreparingRebalance", to: "CompletingRebalance", label: "all have joined" },
      { from: "CompletingRebalance", to: "Stable", label: "the leader dealt" },
      { from: "Stable", to: "PreparingRebalance", label: "joins, leaves, expires" },
      { from: "PreparingRebalance", to: "Empty", bend: 16 },
      { from: "Empty", to: "Dead", label: "deleted" },
    ],
  },
  consumer: {
    width: 640,
    height: 138,
    states: [
      { name: "Empty", x: 40, y: 20, w: 76, means: EMPTY },
      {
        name: "Assigning",
        x: 255,
        y: 20,
        w: 96,
        means: "the group’s epoch is newer than its target: the coordinator is to compute a new one.",
      },
      {
        name: "Reconciling",
        x: 530,
        y: 20,
        w: 106,
        means:
          "the members follow the new target one by one; nobody gets a partition before its owner has confirmed that it gave it up.",
      },
      { name: "Stable", x: 530, y: 118, w: 80, means: "every member has what the target gives it." },
      { name: "Dead", x: 40, y: 118, w: 70, means: DEAD },
    ],
    steps: [
      { from: "Empty", to: "Assigning", label: "a member joins" },
      { from: "Assigning", to: "Reconciling", label: "new target" },
      { from: "Reconciling", to: "Stable", label: "all follow it" },
      { from: "Stable", to: "Assigning", label: "joins, leaves, expires" },
      { from: "Assigning", to: "Empty", bend: 16 },
      { from: "Empty", to: "Dead", label: "deleted" },
    ],
  },
  share: {
    width: 560,
    height: 56,
    states: [
      { name: "Empty", x: 60, y: 24, w: 76 },
      { name: "Stable", x: 280, y: 24, w: 80 },
      { name: "Dead", x: 480, y: 24, w: 70 },
    ],
    steps: [
      { from: "Empty", to: "Stable", label: "a member joins" },
      { from: "Stable", to: "Empty", bend: 16 },
      { from: "Stable", to: "Dead" },
    ],
  },
};

/** @type {Machine} */
export const TRANSACTION = {
  width: 560,
  height: 150,
  states: [
    {
      name: "Empty",
      x: 60,
      y: 74,
      w: 76,
      means: "the producer has its ID and epoch, and has not sent anything in a transaction yet.",
    },
    {
      name: "Ongoing",
      x: 200,
      y: 74,
      w: 88,
      means:
        "records are being written; read_committed consumers wait at the first of them until it is committed or aborted.",
    },
    {
      name: "PrepareCommit",
      x: 350,
      y: 30,
      w: 122,
      means: "decided, whoever crashes now: the coordinator has a commit marker written into each partition.",
    },
    {
      name: "CompleteCommit",
      x: 495,
      y: 30,
      w: 126,
      means: "every partition has its marker: read_committed consumers read what was sent. The next may begin.",
    },
    {
      name: "PrepareAbort",
      x: 350,
      y: 118,
      w: 112,
      means: "decided, whoever crashes now: the coordinator has an abort marker written into each partition.",
    },
    {
      name: "CompleteAbort",
      x: 495,
      y: 118,
      w: 118,
      means:
        "every partition has its marker: read_committed consumers skip what was sent, though it stays in the log. The next may begin.",
    },
  ],
  steps: [
    { from: "Empty", to: "Ongoing" },
    { from: "Ongoing", to: "PrepareCommit" },
    { from: "PrepareCommit", to: "CompleteCommit" },
    { from: "Ongoing", to: "PrepareAbort" },
    { from: "PrepareAbort", to: "CompleteAbort" },
  ],
};

/** @param {Machine} machine @param {string} current @param {string} label what the picture is of */
export function drawMachine(machine, current, label) {
  const at = new Map(machine.states.map((state) => [state.name, state]));
  const means = at.get(current)?.means;
  const picture = h("div.scroll", { key: "picture", tabindex: "0", role: "region", "aria-label": label }, [
    h(
      "svg.automaton",
      {
        key: "svg",
        width: machine.width,
        height: machine.height,
        viewBox: `0 0 ${machine.width} ${machine.height}`,
        role: "img",
        "aria-label": `${label}: ${current}`,
      },
      [
        machine.steps.map((step) => arrow(at, step)),
        machine.states.map((state) => {
          const w = state.w ?? 90;
          return h("g.a-state", { key: state.name, class: state.name === current ? "now" : "" }, [
            h("rect", { key: "r", x: state.x - w / 2, y: state.y - HEIGHT / 2, width: w, height: HEIGHT, rx: 13 }),
            h("text", { key: "t", x: state.x, y: state.y + 4, "text-anchor": "middle" }, state.name),
          ]);
        }),
      ],
    ),
  ]);
  return h("div.machine-room", { key: "machine" }, [
    picture,
    means ? h("p.meaning", { key: "means" }, [h("b", { key: "b" }, current), `: ${means}`]) : null,
  ]);
}

/** @param {Map<string, State>} at @param {Step} step */
function arrow(at, step) {
  const from = /** @type {State} */ (at.get(step.from));
  const to = /** @type {State} */ (at.get(step.to));
  const bend = step.bend ?? 0;
  const [x1, y1] = edge(from, to, bend);
  const [x2, y2] = edge(to, from, bend);
  const angle = Math.atan2(y2 - y1, x2 - x1);
  /** @param {number} turn */
  const wing = (turn) => `${x2 - 8 * Math.cos(angle + turn)},${y2 - 8 * Math.sin(angle + turn)}`;
  const middle = [(x1 + x2) / 2, (y1 + y2) / 2];
  const upright = Math.abs(x2 - x1) < 4;
  const slanted = !upright && Math.abs(y2 - y1) > 20;
  return h("g.a-step", { key: `${step.from}>${step.to}` }, [
    h("line", { key: "l", x1, y1, x2, y2 }),
    h("polygon", { key: "p", points: `${x2},${y2} ${wing(0.45)} ${wing(-0.45)}` }),
    step.label
      ? h(
          "text",
          {
            key: "t",
            x: middle[0] + (upright ? 6 : slanted ? -10 : 0),
            y: middle[1] + (upright ? 4 : slanted ? 12 : -6),
            "text-anchor": upright ? "start" : slanted ? "end" : "middle",
          },
          step.label,
        )
      : null,
  ]);
}

/** Where the line from one box to another leaves it. @param {State} box @param {State} other @param {number} shift @returns {[number, number]} */
function edge(box, other, shift) {
  const w = (box.w ?? 90) / 2;
  const dx = other.x - box.x;
  const dy = other.y - box.y;
  if (Math.abs(dy) < 8) return [box.x + Math.sign(dx) * w, box.y + shift * 0.5];
  if (Math.abs(dx) < 8) return [box.x + shift, box.y + (Math.sign(dy) * HEIGHT) / 2];
  const scale = Math.min(w / Math.abs(dx), HEIGHT / 2 / Math.abs(dy));
  return [box.x + dx * scale, box.y + dy * scale];
}
