// @ts-check
/** A group: its state machine, who owns which partition, who has read what since when, what stood still, and the lag. */
import { clockText, h, render, span, spoken } from "../dom.js";
import { mark } from "../objects.js";
import { absentGroups, drawAbsent } from "./absent.js";
import { drawMachine, GROUPS } from "./machine.js";
import { chart, keepFitting } from "./plot.js";
import { inFlight, settledOrNot, unsettled } from "./shares.js";

const WINDOW_US = 120_000_000;
const TOGETHER_US = 10_000_000;
const TONES = ["--leader", "--isr", "--lagging", "--hw", "--leo", "--offline"];
const MAX_CURVES = 6;
const MARKS = [
  "● owns it",
  "◌ is to get it",
  "▸ is to give it up",
  "✕ nobody reads it: it has no owner, or a dead one",
];
const KINDS = { classic: "classic protocol", consumer: "consumer protocol (KIP-848)", share: "share group (KIP-932)" };

/** @param {HTMLElement} root @param {any} lab */
export function create(root, lab) {
  root.classList.add("groups");
  const top = document.createElement("div");
  const lagRoom = document.createElement("div");
  lagRoom.className = "charts lag-charts";
  const foot = document.createElement("div");
  root.append(top, lagRoom, foot);
  let chosen = "";
  /** @type {Map<string, {plot: any, box: HTMLElement}>} */
  const plots = new Map();

  function draw() {
    const { view } = lab.store;
    if (!view) return;
    const groups = Object.values(view.groups ?? {});
    const absent = absentGroups(view);
    const lost = absent.find(({ id }) => id === chosen);
    const group = lost ? undefined : (groups.find(({ id }) => id === chosen) ?? groups[0]);
    const missing = lost ?? (group ? undefined : absent[0]);
    chosen = group?.id ?? missing?.id ?? chosen;
    const picker = h(
      "select",
      {
        key: "select",
        "aria-label": "Group",
        value: chosen,
        on: {
          change: (/** @type {Event} */ event) => {
            chosen = /** @type {HTMLSelectElement} */ (event.target).value;
            draw();
          },
        },
      },
      groups.map(({ id }) => h("option", { key: id, value: id, selected: id === chosen }, id)),
      absent.map(({ id }) => h("option", { key: id, value: id, selected: id === chosen }, `${id} (no coordinator)`)),
    );
    const shared = group?.type === "share";
    const join = [
      shared ? null : adder("+ Consumer in a group", "CreateConsumer", { group_id: group?.id ?? "readers" }),
      shared || !group ? adder("+ Share consumer", "CreateShareConsumer", { group_id: group?.id ?? "workers" }) : null,
    ];
    /** @param {string} label @param {string} form @param {any} preset */
    function adder(label, form, preset) {
      const click = () => lab.actions.open(form, { ...preset, ...like(view, group) });
      return h("button.button.small", { key: label, type: "button", on: { click } }, label);
    }
    if (!group) {
      lag(null);
      render(top, [
        h("div.view-bar", { key: "bar" }, [
          h("h3", { key: "h" }, missing ? "Group" : "Groups"),
          missing ? picker : null,
          join,
          missing ? h("span.fact.tone-offline", { key: "lost" }, "coordinator cannot be asked") : null,
        ]),
        missing
          ? drawAbsent(view, missing)
          : h(
              "p.empty",
              { key: "none" },
              "No group yet, or none whose coordinator answers. Start a consumer in a group here, then a second one: consumers with the same group.id share out the partitions of what they subscribe to; share consumers share the records in each.",
            ),
      ]);
      render(foot, []);
      return;
    }
    render(top, [
      h("div.view-bar", { key: "bar" }, [
        h("h3", { key: "h" }, "Group"),
        picker,
        h(
          "button.button.small",
          { key: "do", type: "button", "data-object": `group:${group.id}`, "aria-haspopup": "menu" },
          "Actions…",
        ),
        join,
        facts(group).map((fact, index) => h("span.fact", { key: `f${index}` }, fact)),
      ]),
      h("div.group-top", { key: "top", "data-concerns": `group:${group.id}` }, [
        drawMachine(
          GROUPS[/** @type {"classic"} */ (group.type)] ?? GROUPS.classic,
          group.state,
          `State of ${group.id}`,
        ),
        shared ? settledOrNot(group) : stopped(view, group),
      ]),
      h("div.group-body", { key: "body" }, [
        matrix(view, group),
        shared ? inFlight(group, (consumer) => members(group).indexOf(consumer)) : strip(view, group),
      ]),
    ]);
    lag(group);
    render(foot, shared ? [] : history(group));
  }

  /** Curves of lag: each partition that the group has committed, the most behind first. @param {any} group */
  function lag(group) {
    const { samples } = lab.store;
    const places = [...(group?.offsets ?? [])]
      .sort((a, b) => b.lag - a.lag)
      .slice(0, MAX_CURVES)
      .map((at) => `${at.topic}-${at.partition}`)
      .sort();
    const wanted = places.length ? `${group.id} ${places.join(" ")}` : "";
    for (const [key, { plot, box }] of plots) {
      if (key === wanted) continue;
      plot.destroy();
      box.remove();
      plots.delete(key);
    }
    if (!wanted) return;
    const data = [
      samples.map((/** @type {any} */ sample) => sample.at_us / 1e6),
      ...places.map((place) => samples.map((/** @type {any} */ sample) => sample.lags[`${group.id} ${place}`] ?? null)),
    ];
    const known = plots.get(wanted);
    if (known) known.plot.setData(data);
    else {
      const lines = places.map((label, index) => ({ label, tone: TONES[index % TONES.length] }));
      const made = chart(lagRoom, "Lag: records behind the high watermark, as committed", wanted, data, lines);
      const key = document.createElement("p");
      key.className = "caption";
      render(
        key,
        lines.map(({ label, tone }) =>
          h("span", { key: label }, [
            h("span.swatch", { key: "s", style: { background: `var(${tone})` } }),
            ` ${label}`,
          ]),
        ),
      );
      made.box.append(key);
      plots.set(wanted, made);
    }
  }

  const again = () => {
    for (const { plot, box } of plots.values()) {
      plot.destroy();
      box.remove();
    }
    plots.clear();
    if (!root.hidden) draw();
  };
  keepFitting(lagRoom, () => plots.values(), again);
  return {
    draw,
    /** @param {string} id */
    choose(id) {
      chosen = id;
      draw();
    },
  };
}

/** A new member begins as the others are. @param {any} view @param {any} group */
function like(view, group) {
  const member = group?.members.find((/** @type {any} */ one) => view.consumers[one.consumer]?.group);
  const configs = member ? view.consumers[member.consumer].configs : null;
  if (!configs) return {};
  if (group.type === "share")
    return { topics: member.topics.join("\n"), mode: configs["share.acknowledgement.mode"] ?? "implicit" };
  const assignors = (configs["partition.assignment.strategy"] ?? "").split(",");
  const short = /\.(Range|RoundRobin|Sticky|CooperativeSticky)Assignor$/.exec(assignors[0])?.[1] ?? "";
  const names = { Range: "range", RoundRobin: "roundrobin", Sticky: "sticky", CooperativeSticky: "cooperative-sticky" };
  return {
    topics: member.topics.join("\n"),
    protocol: configs["group.protocol"] ?? "classic",
    assignor: assignors.length === 1 ? (names[/** @type {"Range"} */ (short)] ?? "") : "",
  };
}

/** @param {any} group @returns {any[]} */
export function facts(group) {
  const lags = group.offsets.filter((/** @type {any} */ at) => at.lag >= 0);
  const total = lags.reduce((/** @type {number} */ sum, /** @type {any} */ at) => sum + at.lag, 0);
  return [
    KINDS[/** @type {"classic"} */ (group.type)] ?? group.type,
    group.protocol ? `assignor ${group.protocol}` : null,
    group.type === "classic"
      ? `generation ${group.epoch}`
      : `epoch ${group.epoch}${group.assignment_epoch >= 0 ? `, target of epoch ${group.assignment_epoch}` : ""}`,
    `coordinator: broker ${group.coordinator}`,
    lags.length ? `lag ${total}` : null,
    group.type === "share"
      ? `lag ${group.share_partitions.reduce((/** @type {number} */ sum, /** @type {any} */ part) => sum + unsettled(part), 0)}`
      : null,
  ].filter(Boolean);
}

// -- what stood still -----------------------------------------------------------------------------

/** @param {any} stop @param {number} now */
const lasted = (stop, now) => (stop.until_us < 0 ? now : stop.until_us) - stop.from_us;

/** @param {any} view @param {any} group the stops of the last rebalance, and those that go on */
export function lastStops(view, group) {
  const open = group.members.length ? group.stops.filter((/** @type {any} */ stop) => stop.until_us < 0) : [];
  const over = group.stops.filter((/** @type {any} */ stop) => stop.until_us >= 0);
  const end = Math.max(...over.map((/** @type {any} */ stop) => stop.until_us), 0);
  const last = over.filter((/** @type {any} */ stop) => stop.until_us > end - TOGETHER_US);
  /** @param {any[]} stops */
  const longest = (stops) => Math.max(...stops.map((stop) => lasted(stop, view.now_us)), 0);
  /** @param {any[]} stops */
  const sum = (stops) => stops.reduce((all, stop) => all + lasted(stop, view.now_us), 0);
  return { open, last, longestOpen: longest(open), longestLast: longest(last), sumLast: sum(last), sumAll: sum(over) };
}

/** @param {any} view @param {any} group */
function stopped(view, group) {
  const { open, last, longestOpen, longestLast, sumLast, sumAll } = lastStops(view, group);
  return h("div.stopped", { key: "stopped" }, [
    h("h4", { key: "h" }, "Stopped in rebalances"),
    open.length
      ? h("p.tone-offline", { key: "now", "data-stopped": "now" }, [
          h("b", { key: "b" }, span(longestOpen)),
          ` so far: nobody reads ${names(open)}`,
        ])
      : null,
    last.length
      ? h("p", { key: "last", "data-stopped": "last" }, [
          h("b", { key: "b" }, span(longestLast)),
          ` the last time, at most: ${last.length} partition${last.length === 1 ? "" : "s"}, ${span(sumLast)} together`,
        ])
      : open.length
        ? null
        : h(
            "p.muted",
            { key: "last" },
            group.owners.length
              ? "Nothing has stood still since the first assignment."
              : "No partition has been given to anybody yet.",
          ),
    sumAll > sumLast ? h("p.muted", { key: "all" }, `${span(sumAll)} of partitions in all that is kept`) : null,
  ]);
}

/** @param {any[]} stops */
const names = (stops) => [...new Set(stops.map((stop) => stop.partition))].sort(byPlace).join(", ");

// -- members × partitions -------------------------------------------------------------------------

/** "orders-10" after "orders-9". @param {string} a @param {string} b */
function byPlace(a, b) {
  const [x, y] = [a, b].map((name) => /^(.*)-(\d+)$/.exec(name) ?? ["", name, "0"]);
  return x[1] < y[1] ? -1 : x[1] > y[1] ? 1 : Number(x[2]) - Number(y[2]);
}

/** @param {any} view @param {any} group @returns {string[]} */
function partitionsOf(view, group) {
  /** @type {Set<string>} */
  const found = new Set();
  for (const member of group.members) {
    for (const topic of member.topics)
      for (const number of Object.keys(view.topics[topic]?.partitions ?? {})) found.add(`${topic}-${number}`);
    for (const name of [...member.partitions, ...member.target]) found.add(name);
  }
  for (const at of [...group.offsets, ...group.share_partitions]) found.add(`${at.topic}-${at.partition}`);
  return [...found].sort(byPlace);
}

/** @param {any} group the members' colours, the same in the matrix and in the strip; @returns {string[]} */
const members = (group) =>
  [
    ...new Set([
      ...group.members.map((/** @type {any} */ member) => member.consumer),
      ...group.owners.map((/** @type {any} */ owner) => owner.consumer),
    ]),
  ].sort();

/** @param {any} view @param {any} group */
function matrix(view, group) {
  const places = partitionsOf(view, group);
  const colours = members(group);
  const committed = new Map(group.offsets.map((/** @type {any} */ at) => [`${at.topic}-${at.partition}`, at]));
  const owned = new Set(group.members.flatMap((/** @type {any} */ member) => member.partitions));
  const table = h(
    "div.scroll",
    { key: "matrix", tabindex: "0", role: "region", "aria-label": "Members and their partitions" },
    [
      h("table.matrix.members", { key: "t" }, [
        h("caption.sr", { key: "c" }, "Which member (rows) has which partition (columns)"),
        h("thead", { key: "h" }, [
          h("tr", {}, [
            h("th", { key: "m", scope: "col" }, "Member"),
            h("th", { key: "s", scope: "col" }, group.type === "classic" ? "Rebalance" : "Epoch"),
            places.map((place) => h("th", { key: `p ${place}`, scope: "col" }, place)),
          ]),
        ]),
        h("tbody", { key: "b" }, [
          group.members
            .slice()
            .sort((/** @type {any} */ a, /** @type {any} */ b) => (a.consumer < b.consumer ? -1 : 1))
            .map((/** @type {any} */ member) =>
              memberRow(view, group, member, places, colours.indexOf(member.consumer)),
            ),
          group.members.length
            ? h("tr.nobody", { key: "nobody" }, [
                h("th", { key: "m", scope: "row" }, "nobody"),
                h("td", { key: "s" }, ""),
                places.map((place) =>
                  h(
                    "td",
                    { key: `p ${place}`, class: owned.has(place) ? "" : "tone-offline" },
                    owned.has(place) ? "" : h("span", { title: "nobody reads it" }, "✕"),
                  ),
                ),
              ])
            : h("tr.nobody", { key: "none" }, [
                h("th", { key: "m", scope: "row" }, "no members"),
                h("td", { key: "s" }, ""),
                places.map((place) => h("td", { key: `p ${place}` }, "")),
              ]),
        ]),
        group.offsets.length
          ? h("tfoot", { key: "f" }, [
              footRow(
                "committed",
                places,
                committed,
                (at) => at.committed,
                (at) => at.pending,
              ),
              footRow("log end", places, committed, (at) => at.log_end_offset),
              footRow("lag", places, committed, (at) => at.lag),
            ])
          : null,
      ]),
    ],
  );
  return h("div.members-room", { key: "members" }, [
    table,
    group.members.length
      ? h(
          "p.caption",
          { key: "marks" },
          (group.type === "share" ? ["● reads it"] : MARKS).map((text) => h("span", { key: text }, text)),
        )
      : null,
  ]);
}

/** @param {string} name @param {string[]} places @param {Map<any, any>} committed @param {(at: any) => number} value @param {(at: any) => boolean} [open] */
function footRow(name, places, committed, value, open) {
  return h("tr", { key: name }, [
    h("th", { key: "m", scope: "row" }, name),
    h("td", { key: "s" }, ""),
    places.map((place) => {
      const at = committed.get(place);
      const number = at ? value(at) : -1;
      const pending = Boolean(at && open?.(at));
      return h(
        "td.num",
        {
          key: `p ${place}`,
          class: pending ? "tone-lagging" : name === "lag" && number > 0 ? "behind" : "",
          title: pending ? "an open transaction is about to change it" : null,
        },
        number < 0 ? "–" : `${number}${pending ? "…" : ""}`,
      );
    }),
  ]);
}

/** @param {any} view @param {any} group @param {any} member @param {string[]} places @param {number} colour */
function memberRow(view, group, member, places, colour) {
  const node = view.nodes[member.consumer];
  const down = node && node.status !== "up";
  const inGroup = view.consumers[member.consumer]?.group;
  return h("tr", { key: member.member_id, class: down ? "is-down" : "", "data-concerns": member.consumer }, [
    h("th", { key: "m", scope: "row" }, [
      h(
        "button.member",
        {
          key: "b",
          type: "button",
          "data-object": view.consumers[member.consumer] ? member.consumer : null,
          "aria-haspopup": view.consumers[member.consumer] ? "menu" : null,
          title: member.member_id,
        },
        [
          h("span.swatch", { key: "s", class: `epoch-${colour % 6}` }),
          member.leader ? mark("leader") : null,
          member.leader ? h("span.sr", { key: "l" }, "leader of the group, ") : null,
          member.consumer || member.client_id,
          down ? h("span.tone-offline", { key: "d" }, ` ${node.status}`) : null,
        ],
      ),
      member.instance_id ? h("small.muted", { key: "i" }, `static: ${member.instance_id}`) : null,
      inGroup && inGroup.stopped_us > 0
        ? h(
            "small.muted",
            { key: "st", title: "how long rebalances kept it from reading anything" },
            `stopped ${span(inGroup.stopped_us)}`,
          )
        : null,
    ]),
    h(
      "td",
      { key: "s", class: member.state && member.state !== "stable" ? "tone-lagging" : "" },
      [member.epoch >= 0 ? `epoch ${member.epoch}` : "", member.state].filter(Boolean).join(", ") || "–",
    ),
    places.map((place) =>
      h("td", { key: `p ${place}` }, cell(member, place, down ? node.status : "", group.type, colour)),
    ),
  ]);
}

/** @param {any} member @param {string} place @param {string} status @param {string} type @param {number} colour */
function cell(member, place, status, type, colour) {
  const has = member.partitions.includes(place);
  const targeted = member.target.length > 0 || type === "consumer";
  const due = targeted && member.target.includes(place);
  if (has && status) return h("span.own.gone", { title: `${place} is ${member.consumer}’s, which is ${status}` }, "✕");
  if (has && targeted && !due)
    return h(
      "span.own.leaving",
      { class: `epoch-${colour % 6}`, title: `${member.consumer} is to give up ${place}` },
      "▸",
    );
  const verb = type === "share" ? "reads" : "owns";
  if (has) return h("span.own", { class: `epoch-${colour % 6}`, title: `${member.consumer} ${verb} ${place}` }, "●");
  if (due) return h("span.own.due", { title: `${member.consumer} is to get ${place}, once it is free` }, "◌");
  return "";
}

// -- who read what, when --------------------------------------------------------------------------

const ROW = 17;
const LEFT = 96;
const WIDTH = 620;

/** @param {any} view @param {any} group */
function strip(view, group) {
  const now = view.now_us;
  const begin = Math.max(0, now - WINDOW_US);
  const owners = group.owners.filter((/** @type {any} */ owner) => owner.until_us < 0 || owner.until_us > begin);
  if (!owners.length) return null;
  const stops = group.stops.filter((/** @type {any} */ stop) => stop.until_us < 0 || stop.until_us > begin);
  const colours = members(group);
  const places = [...new Set(owners.map((/** @type {any} */ owner) => owner.partition))].sort(byPlace);
  /** @param {number} at */
  const x = (at) => LEFT + ((Math.max(at, begin) - begin) / Math.max(now - begin, 1)) * (WIDTH - LEFT);
  /** @param {any} one */
  const width = (one) => Math.max(x(one.until_us < 0 ? now : one.until_us) - x(one.from_us), 0.8);
  return h("div.strip", { key: "strip" }, [
    h("h4", { key: "h" }, `Who read what, from ${clockText(begin)} to ${clockText(now)}`),
    h("div.scroll", { key: "s", tabindex: "0", role: "region", "aria-label": "Who read what, over time" }, [
      h(
        "svg.spans",
        {
          key: "svg",
          width: WIDTH,
          height: places.length * ROW + 4,
          viewBox: `0 0 ${WIDTH} ${places.length * ROW + 4}`,
          role: "img",
          "aria-label": `Owners of ${places.length} partitions over time; ${stops.length} gaps`,
        },
        places.map((place, row) => [
          h("text", { key: `n ${place}`, x: 0, y: row * ROW + 13 }, place),
          stops
            .filter((/** @type {any} */ stop) => stop.partition === place)
            .map((/** @type {any} */ stop) =>
              h("g.gap", { key: `g ${place} ${stop.from_us}` }, [
                h("rect", { key: "r", x: x(stop.from_us), y: row * ROW + 7, width: width(stop), height: 4 }),
                h(
                  "title",
                  { key: "t" },
                  `${place}: nobody for ${span(lasted(stop, now))}, from ${clockText(stop.from_us)}`,
                ),
              ]),
            ),
          owners
            .filter((/** @type {any} */ owner) => owner.partition === place)
            .map((/** @type {any} */ owner) =>
              h(
                "g",
                {
                  key: `o ${place} ${owner.consumer} ${owner.from_us}`,
                  class: `epoch-${colours.indexOf(owner.consumer) % 6}`,
                },
                [
                  h("rect", {
                    key: "r",
                    x: x(owner.from_us),
                    y: row * ROW + 2,
                    width: width(owner),
                    height: ROW - 4,
                    rx: 2,
                  }),
                  width(owner) > 46
                    ? h(
                        "text.who",
                        { key: "t", x: x(owner.from_us) + 5, y: row * ROW + 13 },
                        owner.consumer.slice(0, Math.floor(width(owner) / 8)),
                      )
                    : null,
                  h("title", { key: "w" }, `${place}: ${owner.consumer} from ${clockText(owner.from_us)}`),
                ],
              ),
            ),
        ]),
      ),
    ]),
  ]);
}

/** @param {any} group */
function history(group) {
  if (!group.rebalances.length) return [];
  return h("div.scroll", { key: "history", tabindex: "0", role: "region", "aria-label": "Rebalances" }, [
    h("table", { key: "t" }, [
      h(
        "thead",
        { key: "h" },
        h(
          "tr",
          {},
          ["Rebalance at", group.type === "classic" ? "Generation" : "Epoch", "Took", "Because"].map((name, index) =>
            h(index < 3 ? "th.num" : "th", { key: name, scope: "col" }, name),
          ),
        ),
      ),
      h(
        "tbody",
        { key: "b" },
        group.rebalances
          .slice()
          .reverse()
          .map((/** @type {any} */ one) =>
            h("tr", { key: `${one.at_us}` }, [
              h("td.num", { key: "a" }, clockText(one.at_us)),
              h("td.num", { key: "e" }, String(one.epoch)),
              h("td.num", { key: "t" }, span(one.took_us)),
              h("td", { key: "r" }, spoken(one.reason)),
            ]),
          ),
      ),
    ]),
  ]);
}
