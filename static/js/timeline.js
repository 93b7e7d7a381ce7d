// @ts-check
/** Time in the learner's hand: play, pause, step, speed, the scrubber with its events, fork, branches and "pause when…". */
import { clockText, h, need, render } from "./dom.js";

export const SPEEDS = [
  [0.01, "0.01×"],
  [0.1, "0.1×"],
  [1, "1×"],
  [10, "10×"],
  [100, "100×"],
  [-1, "max"],
];
const WHENS = [
  ["LeaderChanged", "a leader changes"],
  ["IsrChanged", "an ISR changes"],
  ["BrokerFenced", "a broker is fenced"],
  ["RecordsAppended", "a leader appends records"],
  ["RecordsReplicated", "a follower replicates records"],
  ["ProduceAcknowledged", "a broker acknowledges records"],
  ["HighWatermarkAdvanced", "a high watermark advances"],
  ["ReplicaTruncated", "a replica truncates its log"],
  ["ProduceRefused", "a produce request is refused"],
  ["RecordsFailed", "a producer gives up"],
  ["RecordsConsumed", "a consumer reads records"],
  ["QuorumLeaderElected", "the quorum elects a leader"],
];
const MAX_TICKS = 160;

/** @param {any} lab */
export function start(lab) {
  const root = need("#timeline");
  const { store, socket } = lab;
  /** @type {number | null} */
  let dragging = null;
  let seeking = false;
  let speed = 1;

  /** @param {string} type @param {any} [content] */
  const ask = (type, content) => lab.ask(type, content);
  /** Until the lab answers, its pushes still tell of the old speed. */
  let choosing = 0;
  /** @param {number} factor */
  async function choose(factor) {
    choosing += 1;
    if (factor !== 0) speed = factor;
    await ask("speed", { speed: factor < 0 ? "max" : factor });
    choosing -= 1;
  }
  lab.play = () => choose(speed);
  const playPause = () => choose(store.clock.running ? 0 : speed);

  /** @param {number} at */
  async function seek(at) {
    if (seeking) return;
    seeking = true;
    await ask("seek", { at_us: Math.round(at) });
    seeking = false;
  }

  function draw() {
    const { clock } = store;
    if (clock.speed !== 0 && !choosing) speed = clock.speed;
    const behind = clock.end_us - clock.now_us > 1;
    const reach = Math.max(clock.end_us, clock.begin_us + 1);
    render(root, [
      h("div.transport", { key: "transport", role: "group", "aria-label": "Time" }, [
        button("begin", "To the beginning", "M3 3h2v10H3zm10 0v10L6 8z", () => seek(clock.begin_us)),
        clock.running
          ? button("pause", "Pause (space)", "M4 3h3v10H4zm5 0h3v10H9z", playPause)
          : button("play", "Play (space)", "M4 2.5v11l9-5.5z", playPause),
        button("step", "One step (.)", "M3 3v10l7-5zm8 0h2v10h-2z", () => ask("step", {})),
        behind
          ? button("end", "To the newest moment", "M3 3v10l7-5zm8 0h2v10h-2zM13 3h1v10h-1z", () => seek(clock.end_us))
          : null,
      ]),
      h("output.clock", { key: "clock", "aria-live": "off" }, clockText(dragging ?? store.now())),
      h("fieldset.speeds", { key: "speeds" }, [
        h("legend.sr", { key: "l" }, "Speed"),
        SPEEDS.map(([factor, label]) =>
          h("label", { key: String(label) }, [
            h("input", {
              key: "i",
              type: "radio",
              name: "speed",
              value: String(factor),
              checked: speed === factor,
              on: { change: () => choose(Number(factor)) },
            }),
            h("span", { key: "s" }, String(label)),
          ]),
        ),
      ]),
      h("div.scrub", { key: "scrub" }, [
        h(
          "svg.ticks",
          { key: "ticks", viewBox: "0 0 1000 16", preserveAspectRatio: "none", "aria-hidden": "true" },
          ticks(store, reach),
        ),
        h("input", {
          key: "range",
          type: "range",
          min: clock.begin_us,
          max: reach,
          step: 1,
          value: dragging ?? Math.min(store.now(), reach),
          "aria-label": "Moment in history",
          "aria-valuetext": clockText(dragging ?? clock.now_us),
          on: { input: drag, change: drop, keydown: nudge },
        }),
      ]),
      h("div.branching", { key: "branching" }, [
        h("span.notice", { key: "note" }, notice(store, behind)),
        branches(clock).length > 1
          ? h("label.branch", { key: "branch" }, [
              h("span.sr", { key: "t" }, "Branch"),
              h(
                "select",
                {
                  key: "s",
                  value: String(clock.branch),
                  on: {
                    change: (/** @type {Event} */ e) =>
                      ask("branch", { branch: Number(/** @type {HTMLSelectElement} */ (e.target).value) }),
                  },
                },
                branches(clock).map((/** @type {any} */ branch) =>
                  h(
                    "option",
                    {
                      key: String(branch.id),
                      value: String(branch.id),
                      selected: String(branch.id) === String(clock.branch),
                    },
                    `branch ${branch.id}${branch.parent >= 0 ? ` from ${clockText(branch.forked_at_us)}` : ""}`,
                  ),
                ),
              ),
            ])
          : null,
        h("button.button.small", { key: "fork", type: "button", on: { click: () => lab.fork() } }, "Fork here"),
        h(
          "button.button.small",
          { key: "when", type: "button", popovertarget: "breakpoints", "aria-haspopup": "dialog" },
          [
            "Pause when…",
            clock.breakpoints?.length ? h("b.pill", { key: "n" }, String(clock.breakpoints.length)) : null,
          ],
        ),
      ]),
    ]);
    breakpoints();
  }

  /** @param {Event} event */
  function drag(event) {
    dragging = Number(/** @type {HTMLInputElement} */ (event.target).value);
    need(".clock", root).textContent = clockText(dragging);
  }

  /** @param {Event} event */
  async function drop(event) {
    const at = Number(/** @type {HTMLInputElement} */ (event.target).value);
    await seek(at);
    dragging = null;
    draw();
  }

  /** Arrow keys go from event to event: a microsecond is too small a step for a hand. @param {KeyboardEvent} event */
  function nudge(event) {
    const now = store.clock.now_us;
    const times = store.sentences
      .filter((/** @type {any} */ s) => s.level !== "trace")
      .map((/** @type {any} */ s) => s.at_us);
    const second = event.shiftKey ? 10_000_000 : 1_000_000;
    /** @type {Record<string, number | undefined>} */
    const to = {
      ArrowLeft: times.filter((/** @type {number} */ at) => at < now).pop() ?? now - 1000,
      ArrowRight: times.find((/** @type {number} */ at) => at > now) ?? now + 1000,
      PageDown: now - second,
      PageUp: now + second,
      Home: store.clock.begin_us,
      End: store.clock.end_us,
    };
    const at = to[event.key];
    if (at === undefined) return;
    event.preventDefault();
    seek(Math.max(store.clock.begin_us, Math.min(store.clock.end_us, at)));
  }

  function breakpoints() {
    const list = need("[data-breakpoints]");
    render(
      list,
      (store.clock.breakpoints ?? []).map((/** @type {any} */ point) =>
        h("li", { key: String(point.id) }, [
          h("span", { key: "t" }, [
            WHENS.find(([name]) => name === point.event)?.[1] ?? point.event,
            point.topic ? ` (${point.topic}${point.partition >= 0 ? `-${point.partition}` : ""})` : "",
          ]),
          h(
            "button.icon",
            {
              key: "x",
              type: "button",
              "aria-label": "Remove",
              on: { click: () => ask("breakpoint", { remove: point.id }) },
            },
            "✕",
          ),
        ]),
      ),
    );
  }

  render(
    need("[data-when]"),
    WHENS.map(([name, words]) => h("option", { key: name, value: name }, words)),
  );
  need("[data-breakpoint-form]").addEventListener("submit", (event) => {
    event.preventDefault();
    ask("breakpoint", { event: /** @type {HTMLSelectElement} */ (need("[data-when]")).value });
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (event.key === " " && event.target === document.body) {
      event.preventDefault();
      playPause();
    } else if (event.key === "." && event.target === document.body) ask("step", {});
  });
  store.addEventListener("draw", draw);
  socket.addEventListener("state", draw);
  const tick = () => {
    if (store.clock.running && dragging === null && !document.hidden) {
      const text = root.querySelector(".clock");
      if (text) text.textContent = clockText(store.now());
    }
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  draw();
}

/** @param {EventTarget | null} target */
const typing = (target) => target instanceof Element && target.closest("input, textarea, select, dialog") !== null;

/** All branches, the one that is open now among them. @param {any} clock @returns {any[]} */
function branches(clock) {
  const found = [...(clock.branches ?? [])];
  if (!found.some((branch) => String(branch.id) === String(clock.branch))) {
    found.push({ id: Number(clock.branch), parent: -1, forked_at_us: 0, end_us: clock.end_us });
  }
  return found.sort((a, b) => a.id - b.id);
}

/** @param {string} key @param {string} label @param {string} path @param {() => void} click */
function button(key, label, path, click) {
  return h(
    "button.icon",
    { key, type: "button", "aria-label": label, title: label, "data-transport": key, on: { click } },
    [
      h(
        "svg",
        { key: "svg", viewBox: "0 0 16 16", "aria-hidden": "true" },
        h("path", { d: path, fill: "currentColor" }),
      ),
    ],
  );
}

/** @param {any} store @param {boolean} behind */
function notice(store, behind) {
  const { clock } = store;
  if (clock.paused_by) return `Paused: ${clock.paused_by}`;
  if (behind) return "In the past: acting here starts a new branch.";
  if (clock.running && clock.speed > 0 && clock.actual_speed && clock.actual_speed < clock.speed * 0.8) {
    return `running at ${+clock.actual_speed.toPrecision(2)}×`;
  }
  return "";
}

/** @param {any} store @param {number} reach */
function ticks(store, reach) {
  const { begin_us, now_us } = store.clock;
  const width = Math.max(reach - begin_us, 1);
  const major = store.sentences
    .filter((/** @type {any} */ s) => s.level === "major" && s.at_us >= begin_us)
    .slice(-MAX_TICKS);
  return [
    ...major.map((/** @type {any} */ s) => {
      const x = ((s.at_us - begin_us) / width) * 1000;
      const yours = s.kind === "CommandGiven";
      return h("line", { key: String(s.id), x1: x, x2: x, y1: yours ? 0 : 4, y2: 16, class: yours ? "yours" : "" });
    }),
    h("line.now", {
      key: "now",
      x1: ((now_us - begin_us) / width) * 1000,
      x2: ((now_us - begin_us) / width) * 1000,
      y1: 0,
      y2: 16,
    }),
  ];
}
