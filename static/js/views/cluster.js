// @ts-check
/** The cluster as machines: producers above, brokers with their replicas, consumers, and the controllers' quorum below. */
import { bytesText, h, render, span, spoken } from "../dom.js";
import { mark, nodeState, nodesOf, partitionsOf, replicaState } from "../objects.js";
import { domain, logBar } from "./bar.js";
import { stateTone } from "./transactions.js";

const MANY = 14;

/** @param {HTMLElement} root @param {any} lab */
export function create(root, lab) {
  // A box of its own: the layer on which messages travel lies beside it, and is not redrawn with it.
  const inner = document.createElement("div");
  inner.className = "cluster";
  inner.append(...root.childNodes);
  root.append(inner);
  let internal = false;
  let everything = false;

  function draw() {
    const { view } = lab.store;
    if (!view) return;
    const parts = partitionsOf(view);
    const shown = parts.filter(({ topic }) => internal || !topic.internal);
    const crowded = shown.length > MANY && !everything;
    const few = crowded ? shown.slice(0, MANY) : shown;
    render(inner, [
      h("div.band", { key: "producers" }, [
        h("h3.band-name", { key: "h" }, "Producers"),
        Object.values(view.producers).map((producer) => producerChip(view, producer)),
        h("button.ghost", { key: "+", type: "button", on: { click: makeProducer } }, "+ Producer"),
        h("button.ghost", { key: "produce", type: "button", on: { click: produce } }, "Produce…"),
      ]),
      h(
        "div.machines",
        { key: "machines" },
        nodesOf(view, "broker").map((node) => machine(node, few)),
      ),
      h("div.band.below", { key: "aside" }, [
        parts.length === 0
          ? h("p.empty", { key: "none" }, "No topic yet. Create one to give the brokers something to keep.")
          : null,
        h("button.ghost", { key: "+t", type: "button", on: { click: makeTopic } }, "+ Topic"),
        Object.values(view.topics).some((topic) => topic.internal)
          ? toggle("internal", "Internal topics", internal, () => {
              internal = !internal;
              draw();
            })
          : null,
        shown.length > MANY
          ? toggle("all", `All ${shown.length} partitions`, everything, () => {
              everything = !everything;
              draw();
            })
          : null,
      ]),
      h("div.band", { key: "consumers" }, [
        h("h3.band-name", { key: "h" }, "Consumers"),
        Object.values(view.consumers).map((consumer) => consumerChip(view, consumer)),
        h("button.ghost", { key: "+", type: "button", on: { click: makeConsumer } }, "+ Consumer"),
        h("button.ghost", { key: "+s", type: "button", on: { click: makeSharer } }, "+ Share consumer"),
      ]),
      h("div.band.quorum", { key: "controllers" }, [
        h("h3.band-name", { key: "h" }, "Controllers"),
        nodesOf(view, "controller").map((node) => controllerChip(view, node)),
      ]),
    ]);
  }

  const makeProducer = () => lab.actions.open("CreateProducer", {});
  const makeConsumer = () => lab.actions.open("CreateConsumer", {});
  const makeSharer = () => lab.actions.open("CreateShareConsumer", {});
  const makeTopic = () => lab.actions.open("CreateTopic", {});
  const produce = () => lab.actions.open("Produce", {});
  return { draw };
}

/** @param {string} key @param {string} label @param {boolean} on @param {() => void} click */
const toggle = (key, label, on, click) =>
  h("button.ghost", { key, type: "button", "aria-pressed": String(on), on: { click } }, label);

/** @param {any} node @param {any[]} parts */
function machine(node, parts) {
  const [shape, tone, words] = nodeState(node);
  const mine = parts.filter(({ partition }) => partition.logs[node.id] ?? partition.replicas.includes(node.id));
  return h(
    "article.machine",
    { key: node.name, class: `is-${words}`, "data-anchor": node.name, "data-concerns": node.name },
    [
      h("button.machine-head", { key: "head", type: "button", "data-object": node.name, "aria-haspopup": "menu" }, [
        mark(shape, tone),
        h("strong", { key: "name" }, spoken(node.name)),
        node.rack ? h("span.rack", { key: "rack" }, node.rack) : null,
        h("span.state", { key: "state", class: `tone-${tone}` }, words),
        h("span.leads", { key: "leads" }, node.leader_count ? `leads ${node.leader_count}` : ""),
      ]),
      h("div.replicas", { key: "replicas" }, [
        mine.map(({ id, topic, partition }) => replicaRow(node, id, topic, partition)),
        mine.length === 0 ? h("p.empty", { key: "none" }, "no replicas") : null,
      ]),
      disk(node),
    ],
  );
}

/** @param {any} node */
function disk(node) {
  const state = node.disk;
  if (!state) return null;
  const faults = [
    state.failed ? "log directory offline" : "",
    state.full ? "disk full" : "",
    state.write_delay_us ? `disk slow ${span(state.write_delay_us)}` : "",
  ].filter(Boolean);
  return h("p.disk", { key: "disk", class: faults.length ? "tone-lagging" : "" }, [
    faults.length ? faults.join(" · ") : `disk ${bytesText(state.used_bytes)}`,
    state.unsynced_bytes ? ` · ${bytesText(state.unsynced_bytes)} not synced` : "",
  ]);
}

/** @param {any} node @param {string} id @param {any} topic @param {any} partition */
function replicaRow(node, id, topic, partition) {
  const leads = partition.leader === node.id;
  const log = partition.logs[node.id] ?? {
    role: "none",
    state: "catching up",
    tail: [],
    log_end_offset: -1,
    high_watermark: -1,
  };
  const [shape, tone] = replicaState(log);
  const inIsr = partition.isr.includes(node.id);
  const eligible = partition.elr.includes(node.id);
  const role = leads ? "leader" : log.role === "offline" ? "offline" : "follower";
  return h(
    "button.replica",
    {
      key: id,
      type: "button",
      class: `${leads ? "leads" : ""} role-${role}`,
      "data-object": `${id}@${node.id}`,
      "data-concerns": `${id} ${topic.name}`,
      "aria-haspopup": "menu",
    },
    [
      h("span.line", { key: "line" }, [
        mark(leads ? "leader" : "follower"),
        h("span.sr", { key: "role" }, `${role} of `),
        h("span.part", { key: "part" }, [h("span.topic", { key: "t" }, topic.name), `-${partition.partition}`]),
        " ",
        leads ? h("span.epoch", { key: "epoch" }, `epoch ${partition.leader_epoch}`) : null,
        h("span.badge", { key: "badge", class: `tone-${tone}`, "data-isr": inIsr ? `${id}@${node.id}` : null }, [
          mark(shape, tone),
          inIsr ? "ISR" : eligible ? "ELR" : log.state,
        ]),
      ]),
      h("span.measure", { key: "measure" }, [
        logBar(log, domain(partition), leads),
        h("span.numbers", { key: "n" }, [
          h("span.leo", { key: "leo" }, ["LEO ", h("b", { key: "b" }, text(log.log_end_offset))]),
          h("span.hw", { key: "hw" }, ["HW ", h("b", { key: "b" }, text(log.high_watermark))]),
        ]),
      ]),
    ],
  );
}

/** @param {number} offset */
const text = (offset) => (offset < 0 ? "–" : String(offset));

/** @param {any} view @param {any} producer */
function producerChip(view, producer) {
  const node = view.nodes[producer.name];
  const down = node && node.status !== "up";
  const acks = producer.configs.acks ?? "all";
  return h(
    "button.chip",
    {
      key: producer.name,
      type: "button",
      class: down ? "is-down" : "",
      "data-object": producer.name,
      "data-anchor": producer.name,
      "data-concerns": producer.name,
      "aria-haspopup": "menu",
    },
    [
      h("strong", { key: "name" }, producer.name),
      down ? h("span.tone-offline", { key: "st" }, node.status) : null,
      h("span.setting", { key: "acks" }, `acks=${acks === "-1" ? "all" : acks}`),
      String(producer.configs["enable.idempotence"]) === "false"
        ? h("span.setting", { key: "idem" }, "idempotence off")
        : null,
      h("span.count", { key: "count" }, [
        h("b", { key: "b" }, String(producer.acknowledged)),
        producer.acknowledged === producer.sent ? " acked" : ` of ${producer.sent} acked`,
      ]),
      producer.buffered_records ? h("span.count", { key: "buf" }, `${producer.buffered_records} waiting`) : null,
      producer.configs["transactional.id"]
        ? h("span.setting", { key: "tx", class: `tone-${stateTone(transaction(view, producer))}` }, [
            producer.configs["transactional.id"],
            ` ${transaction(view, producer)}`,
          ])
        : null,
      producer.throttled_until_us > view.now_us ? h("span.count.tone-lagging", { key: "thr" }, "throttled") : null,
      producer.retries ? h("span.count.tone-lagging", { key: "retry" }, `${producer.retries} retries`) : null,
      producer.failed ? h("span.count.tone-offline", { key: "fail" }, `${producer.failed} failed`) : null,
      producer.workloads
        .filter((/** @type {any} */ load) => load.running)
        .map((/** @type {any} */ load) =>
          h("span.setting", { key: load.name }, `${load.records_per_second}/s → ${load.topic}`),
        ),
    ],
  );
}

/** What becomes of its transactional ID. @param {any} view @param {any} producer */
const transaction = (view, producer) => view.transactions?.[producer.configs["transactional.id"]]?.state ?? "";

/** Its group, and what keeps its application. @param {any} view @param {any} consumer */
function membership(view, consumer) {
  const { group } = consumer;
  if (!group) return null;
  const busy = consumer.application === "processing" && consumer.in_hand > 0;
  return [
    h(
      "span.setting",
      { key: "group" },
      `${consumer.share ? "shares " : ""}${group.group} ${group.state === "stable" ? "" : group.state}`,
    ),
    busy
      ? h("span.count", { key: "busy" }, `works on ${consumer.in_hand}, ${span(consumer.since_poll_us)} since poll`)
      : null,
    group.error ? h("span.count.tone-offline", { key: "err" }, group.error) : null,
    consumer.share
      ? h(
          "span.count",
          { key: "says" },
          [
            `${consumer.share.accepted} accepted`,
            consumer.share.released ? `${consumer.share.released} released` : "",
            consumer.share.rejected ? `${consumer.share.rejected} rejected` : "",
            consumer.share.refused ? `${consumer.share.refused} too late` : "",
          ]
            .filter(Boolean)
            .join(", "),
        )
      : null,
    consumer.application === "crashed" ? h("span.count.tone-offline", { key: "crash" }, "its application ended") : null,
    consumer.throttled_until_us > view.now_us ? h("span.count.tone-lagging", { key: "thr" }, "throttled") : null,
  ];
}

/** @param {any} view @param {any} consumer */
function consumerChip(view, consumer) {
  const node = view.nodes[consumer.name];
  const down = node && node.status !== "up";
  return h(
    "button.chip",
    {
      key: consumer.name,
      type: "button",
      class: down ? "is-down" : "",
      "data-object": consumer.name,
      "data-anchor": consumer.name,
      "data-concerns": consumer.name,
      "aria-haspopup": "menu",
    },
    [
      h("strong", { key: "name" }, consumer.name),
      consumer.paused ? h("span.tone-lagging", { key: "paused" }, "paused") : null,
      down ? h("span.tone-offline", { key: "st" }, node.status) : null,
      membership(view, consumer),
      h("span.count", { key: "n" }, [h("b", { key: "b" }, String(consumer.consumed)), " read"]),
      consumer.positions
        .slice(0, 6)
        .map((/** @type {any} */ at) =>
          h("span.setting", { key: `${at.topic}-${at.partition}` }, [
            `${at.topic}-${at.partition} @${at.position}`,
            at.error ? ` ${at.error}` : ` lag ${Math.max(at.lag, 0)}`,
          ]),
        ),
      consumer.last.length
        ? h("span.last", { key: "last" }, `last “${consumer.last[consumer.last.length - 1].value ?? "null"}”`)
        : null,
    ],
  );
}

/** @param {any} view @param {any} node */
function controllerChip(view, node) {
  const [shape, tone, words] = nodeState(node);
  const leads = view.quorum.leader === node.id && node.status === "up";
  return h(
    "button.chip",
    {
      key: node.name,
      type: "button",
      class: `${leads ? "leads" : ""} is-${words}`,
      "data-object": node.name,
      "data-anchor": node.name,
      "data-concerns": node.name,
      "aria-haspopup": "menu",
    },
    [
      leads ? mark("leader") : mark(shape, tone),
      h("strong", { key: "name" }, [h("span.sr", { key: "kind" }, "controller "), String(node.id)]),
      h("span.setting", { key: "role" }, node.status === "up" ? node.role || "unattached" : node.status),
      node.epoch >= 0 ? h("span.count", { key: "epoch" }, `epoch ${node.epoch}`) : null,
      node.log_end_offset >= 0
        ? h("span.count", { key: "leo" }, `LEO ${node.log_end_offset} HW ${node.high_watermark}`)
        : null,
    ],
  );
}
