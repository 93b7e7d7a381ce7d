// @ts-check
/** The stage in words: the same facts as tables, for screen readers and for anybody who would rather read. Drawn at most once a second. */
import { clockText, h, render, span, spoken } from "../dom.js";
import { nodeState, nodesOf, partitionsOf } from "../objects.js";
import { lastStops } from "./groups.js";
import { entity } from "./security.js";

const EVERY_MS = 1000;

/** @param {HTMLElement} root @param {any} lab */
export function create(root, lab) {
  root.classList.add("words");
  let last = 0;
  let timer = 0;
  let shown = "";

  function draw() {
    if (shown !== lab.shown) {
      shown = lab.shown;
      last = 0;
    }
    const wait = EVERY_MS - (performance.now() - last);
    if (wait > 0 && last) {
      if (!timer) timer = window.setTimeout(paint, wait);
    } else paint();
  }

  function paint() {
    timer = 0;
    last = performance.now();
    const { view, clock } = lab.store;
    if (!view) return;
    // Unseen, for screen readers only, it holds no stops for the Tab key: focus must never go where the eye cannot follow.
    const seen = lab.shown === "text";
    /** @param {string} id @param {string} label */
    const object = (id, label) =>
      seen ? h("button.object", { type: "button", "data-object": id, "aria-haspopup": "menu" }, label) : label;
    /** @param {string} caption @param {string[]} head @param {any[][]} rows */
    const table = (caption, head, rows) => tableOf(seen, caption, head, rows);
    render(root, [
      h("h3", { key: "h" }, "The stage in words"),
      h("p", { key: "when" }, `Virtual time ${clockText(view.now_us)}, ${clock.running ? "running" : "paused"}.`),
      table(
        "Machines",
        ["Machine", "State", "Role"],
        [...nodesOf(view, "broker"), ...nodesOf(view, "controller")].map((node) => [
          object(node.name, spoken(node.name)),
          nodeState(node)[2],
          node.kind === "broker"
            ? `leads ${node.leader_count}, holds ${node.replica_count} replicas`
            : `${node.role || "unattached"}, epoch ${node.epoch}, log end ${node.log_end_offset}`,
        ]),
      ),
      table(
        "Partitions",
        ["Partition", "Status", "Leader", "Epoch", "ISR", "ELR", "High watermark", "Log end"],
        partitionsOf(view).map(({ id, partition }) => [
          id,
          partition.status,
          partition.leader < 0 ? "none" : String(partition.leader),
          String(partition.leader_epoch),
          partition.isr.join(", ") || "empty",
          partition.elr.join(", ") || "none",
          String(partition.high_watermark),
          String(partition.log_end_offset),
        ]),
      ),
      table(
        "Replicas",
        ["Replica", "Role", "State", "Log", "High watermark"],
        partitionsOf(view).flatMap(({ id, partition }) =>
          Object.values(partition.logs).map((log) => [
            object(`${id}@${log.broker}`, `${id} on broker ${log.broker}`),
            log.role,
            log.state,
            `${log.log_start_offset} to ${log.log_end_offset}`,
            String(log.high_watermark),
          ]),
        ),
      ),
      table(
        "Producers",
        ["Producer", "acks", "Sent", "Acknowledged", "Failed"],
        Object.values(view.producers).map((item) => [
          object(item.name, item.name),
          item.configs.acks ?? "all",
          String(item.sent),
          String(item.acknowledged),
          String(item.failed),
        ]),
      ),
      table(
        "Consumers",
        ["Consumer", "Read", "Positions"],
        Object.values(view.consumers).map((item) => [
          object(item.name, item.name),
          String(item.consumed),
          item.share
            ? `shares ${item.share.assigned.join(", ") || "nothing yet"}; ${item.share.accepted} accepted, ${item.share.released} released, ${item.share.rejected} rejected`
            : item.positions
                .map((/** @type {any} */ at) => `${at.topic}-${at.partition} at ${at.position}, lag ${at.lag}`)
                .join("; "),
        ]),
      ),
      table(
        "Groups",
        [
          "Group",
          "Protocol",
          "State",
          "Generation or epoch",
          "Coordinator",
          "Members",
          "Stopped the last time, at most",
        ],
        Object.values(view.groups ?? {}).map((group) => [
          object(`group:${group.id}`, group.id),
          [group.type, group.protocol].filter(Boolean).join(", "),
          group.state,
          String(group.epoch),
          `broker ${group.coordinator}`,
          String(group.members.length),
          span(lastStops(view, group).longestLast),
        ]),
      ),
      table(
        "Members of groups",
        ["Member", "Group", "Owns", "Is to own", "Epoch", "State", "Stopped by rebalances"],
        Object.values(view.groups ?? {}).flatMap((group) =>
          group.members.map((/** @type {any} */ member) => [
            member.consumer || member.client_id,
            group.id,
            member.partitions.join(", ") || "nothing",
            member.target.join(", "),
            member.epoch < 0 ? "" : String(member.epoch),
            [member.leader ? "leader" : "", member.state].filter(Boolean).join(", "),
            span(view.consumers[member.consumer]?.group?.stopped_us ?? 0),
          ]),
        ),
      ),
      table(
        "Committed offsets",
        ["Partition", "Group", "Committed", "Log end", "Lag", "Owner"],
        Object.values(view.groups ?? {}).flatMap((group) =>
          group.offsets.map((/** @type {any} */ at) => [
            `${at.topic}-${at.partition}`,
            group.id,
            String(at.committed),
            String(at.log_end_offset),
            String(at.lag),
            at.consumer || "nobody",
          ]),
        ),
      ),
      table(
        "Records of share groups in flight",
        ["Partition", "Group", "Offsets", "State", "Deliveries", "Consumer"],
        Object.values(view.groups ?? {}).flatMap((group) =>
          group.share_partitions.flatMap((/** @type {any} */ part) =>
            part.runs
              .slice(0, 12)
              .map((/** @type {any} */ run) => [
                `${part.topic}-${part.partition}`,
                group.id,
                `${run.first_offset} to ${run.last_offset}`,
                run.state,
                String(run.deliveries),
                run.consumer,
              ]),
          ),
        ),
      ),
      table(
        "Partitions that stood still",
        ["Partition", "Group", "From", "For"],
        Object.values(view.groups ?? {}).flatMap((group) =>
          group.stops
            .slice(-12)
            .map((/** @type {any} */ stop) => [
              stop.partition,
              group.id,
              clockText(stop.from_us),
              stop.until_us < 0 ? `${span(view.now_us - stop.from_us)} so far` : span(stop.until_us - stop.from_us),
            ]),
        ),
      ),
      table(
        "Transactions",
        ["Transactional ID", "State", "Partitions", "Coordinator"],
        Object.values(view.transactions ?? {}).map((one) => [
          one.transactional_id,
          one.state,
          one.partitions.join(", ") || "none",
          `broker ${one.coordinator}`,
        ]),
      ),
      table(
        "Partitions that a transaction holds back",
        ["Partition", "Last stable offset", "High watermark"],
        partitionsOf(view)
          .filter(({ partition }) => partition.last_stable_offset < partition.high_watermark)
          .map(({ id, partition }) => [id, String(partition.last_stable_offset), String(partition.high_watermark)]),
      ),
      table(
        "Quotas",
        ["Of", "Limits"],
        (view.security?.quotas ?? []).map((/** @type {any} */ quota) => [
          entity(quota),
          Object.entries(quota.limits)
            .map(([name, limit]) => `${name} ${limit}`)
            .join(", "),
        ]),
      ),
      table(
        "ACLs",
        ["Principal", "May", "On"],
        (view.security?.acls ?? []).map((/** @type {any} */ acl) => [
          acl.principal,
          `${acl.permission} ${acl.operation}`,
          `${acl.resource_type} ${acl.resource_name} (${acl.pattern_type})`,
        ]),
      ),
      table(
        "Links that are not as new",
        ["From", "To", "State"],
        Object.values(view.links).map((link) => [
          spoken(link.source),
          spoken(link.target),
          link.cut ? "cut" : `delay ${link.delay_us} µs, loses ${link.loss_ppm / 10_000} %`,
        ]),
      ),
    ]);
  }
  return { draw };
}

/** @param {boolean} seen @param {string} caption @param {string[]} head @param {any[][]} rows */
function tableOf(seen, caption, head, rows) {
  if (!rows.length) return null;
  return h(
    seen ? "div.scroll" : "div",
    { key: caption, tabindex: seen ? "0" : null, role: "region", "aria-label": caption },
    [
      h("table", { key: "t" }, [
        h("caption", { key: "c" }, caption),
        h(
          "thead",
          { key: "h" },
          h(
            "tr",
            {},
            head.map((name) => h("th", { key: name, scope: "col" }, name)),
          ),
        ),
        h(
          "tbody",
          { key: "b" },
          rows.map((row, index) =>
            h(
              "tr",
              { key: String(index) },
              row.map((cell, column) =>
                column === 0 ? h("th", { key: "0", scope: "row" }, cell) : h("td", { key: String(column) }, cell),
              ),
            ),
          ),
        ),
      ]),
    ],
  );
}
