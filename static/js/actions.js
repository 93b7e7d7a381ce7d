// @ts-check
/**
 * What can be done with an object: a click, a right-click, Enter or the Menu key on anything that carries `data-object` opens its menu;
 * every entry shows what one would type at a real cluster, and entries that need more open a dialog.
 */
import { cli } from "./commandline.js";
import { h, need, render, spoken } from "./dom.js";
import { begun, build, FORMS } from "./forms.js";

/** @typedef {{label: string, command?: any, form?: string, preset?: any, run?: () => void, rule?: boolean}} Entry */

export class Actions {
  /** @param {any} lab */
  constructor(lab) {
    this.lab = lab;
    this.menu = need("#object-menu");
    this.dialog = /** @type {HTMLDialogElement} */ (need("#command-dialog"));
    /** @type {HTMLElement | null} */
    this.from = null;
    const stage = document.querySelector("[data-stage]") ?? document.body;
    stage.addEventListener("click", (event) => this.asked(event));
    stage.addEventListener("contextmenu", (event) => this.asked(event));
    this.menu.addEventListener("keydown", (event) => this.keys(event));
    this.menu.addEventListener("toggle", (event) => {
      if (/** @type {ToggleEvent} */ (event).newState === "closed" && this.menu.contains(document.activeElement))
        this.from?.focus();
    });
    need("[data-close]", this.dialog).addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.from?.focus());
  }

  /** @param {Event} event */
  asked(event) {
    const target = event.target instanceof Element ? event.target.closest("[data-object]") : null;
    if (!(target instanceof HTMLElement)) return;
    event.preventDefault();
    const entries = entriesFor(target.dataset.object ?? "", this.lab);
    if (entries.length) this.show(target, spoken(target.dataset.object ?? ""), entries);
  }

  /** @param {HTMLElement} target @param {string} title @param {Entry[]} entries */
  show(target, title, entries) {
    this.from = target;
    // What one would type stands beside the entry, which it describes: the entry's name is its label alone.
    const items = entries.map((entry, index) => {
      if (entry.rule) return h("hr", { key: `rule${index}` });
      const typed = entry.command ? cli(entry.command) : "";
      return h("div.entry", { key: `${title}-${entry.label}`, role: "none" }, [
        h(
          "button",
          {
            key: "item",
            type: "button",
            role: "menuitem",
            tabindex: "-1",
            "aria-describedby": typed ? `typed-${index}` : null,
            on: { click: () => this.choose(entry) },
          },
          entry.label,
        ),
        typed ? h("span.typed", { key: "typed", id: `typed-${index}` }, typed) : null,
      ]);
    });
    render(this.menu, [
      h("p.menu-title", { key: "title" }, title),
      h("div", { key: "menu", role: "menu", "aria-label": `Actions for ${title}` }, items),
    ]);
    const box = target.getBoundingClientRect();
    if (!this.menu.matches(":popover-open")) this.menu.showPopover();
    const { offsetWidth: width, offsetHeight: height } = this.menu;
    const below = box.bottom + 4 + height <= innerHeight;
    const top = below ? box.bottom + 4 : Math.max(8, Math.min(box.top - 4 - height, innerHeight - height - 8));
    this.menu.style.setProperty("top", `${Math.max(8, top)}px`);
    this.menu.style.setProperty("left", `${Math.max(8, Math.min(box.left, innerWidth - width - 8))}px`);
    /** @type {HTMLElement | null} */ (this.menu.querySelector('[role="menuitem"]'))?.focus();
  }

  /** @param {KeyboardEvent} event */
  keys(event) {
    const items = /** @type {HTMLElement[]} */ ([...this.menu.querySelectorAll('[role="menuitem"]')]);
    const at = items.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      items[(to + items.length) % items.length]?.focus();
    } else if (event.key === "Tab") this.hide();
  }

  hide() {
    if (this.menu.matches(":popover-open")) this.menu.hidePopover();
  }

  /** @param {Entry} entry */
  choose(entry) {
    this.hide();
    this.from?.focus();
    if (entry.command) this.lab.act(entry.command);
    else if (entry.form) this.open(entry.form, entry.preset ?? {});
    else entry.run?.();
  }

  /** @param {string} type @param {any} preset */
  open(type, preset) {
    this.ask(
      FORMS[type],
      preset,
      (read) => cli(build(type, read)),
      (read) => this.lab.submit(build(type, read)),
    );
  }

  /**
   * @param {import("./forms.js").Form} form @param {any} preset
   * @param {(read: (name: string) => any) => string} preview @param {(read: (name: string) => any) => Promise<any>} send
   */
  ask(form, preset, preview, send) {
    const view = this.lab.store.view;
    if (document.activeElement instanceof HTMLElement && !this.dialog.contains(document.activeElement))
      this.from = document.activeElement;
    need("[data-title]", this.dialog).textContent = form.title;
    const body = need("[data-body]", this.dialog);
    body.replaceChildren();
    const element = document.createElement("form");
    element.noValidate = false;
    element.className = "dialog-body";
    body.append(element);
    const read = (/** @type {string} */ name) => {
      const control = /** @type {any} */ (element.elements.namedItem(name));
      return control.type === "checkbox" ? control.checked : control.value;
    };
    const say = () => {
      try {
        need("[data-cli]", element).textContent = preview(read);
      } catch {
        // Somebody is in the middle of a line; what is wrong is said when it is sent.
      }
    };
    render(element, [
      form.fields.map((field) => control(field, preset[field.name] ?? begun(field, view), view)),
      h("code.cli.wide", { key: "cli", "data-cli": "" }, ""),
      h("p.problem.wide", { key: "problem", role: "alert", "data-problem": "" }, ""),
      h("div.row.wide", { key: "row" }, [h("button.button.primary", { type: "submit", key: "go" }, form.submit)]),
    ]);
    element.addEventListener("input", say);
    element.addEventListener("submit", async (event) => {
      event.preventDefault();
      try {
        await send(read);
        this.dialog.close();
      } catch (error) {
        need("[data-problem]", element).textContent = error instanceof Error ? error.message : String(error);
        const field = /** @type {any} */ (error).field;
        /** @type {HTMLElement | null} */ (element.querySelector(`#field-${CSS.escape(field || "none")}`))?.focus();
      }
    });
    say();
    this.dialog.showModal();
    const first = /** @type {HTMLElement | null} */ (element.querySelector("input, select, textarea"));
    first?.focus();
  }
}

/** @param {import("./forms.js").Field} field @param {any} value @param {any} view */
function control(field, value, view) {
  const common = {
    name: field.name,
    id: `field-${field.name}`,
    "aria-describedby": field.hint ? `hint-${field.name}` : null,
  };
  const options = field.options?.(view) ?? [];
  const input =
    field.kind === "select"
      ? h(
          "select",
          { ...common, key: "c" },
          options.map((option) =>
            h("option", { key: option, value: option, selected: option === value }, option || field.none),
          ),
        )
      : field.kind === "pairs" || field.kind === "list"
        ? h("textarea.mono", { ...common, key: "c", rows: 2, spellcheck: "false", required: field.required, value })
        : field.kind === "check"
          ? h("input", { ...common, key: "c", type: "checkbox", checked: Boolean(value) })
          : h("input", {
              ...common,
              key: "c",
              type: field.kind ?? "text",
              value,
              min: field.min,
              max: field.max,
              autocomplete: "off",
              step: field.step,
              required: field.required || (field.kind === "number" && !field.optional),
            });
  const wide = field.kind === "pairs" || field.kind === "list" || field.kind === "check";
  return h("div.field", { key: field.name, class: wide ? "wide" : "" }, [
    h("label", { key: "l", for: common.id }, field.label),
    input,
    field.hint ? h("small", { key: "h", id: `hint-${field.name}` }, field.hint) : null,
  ]);
}

/** @param {string} id @param {any} lab @returns {Entry[]} */
export function entriesFor(id, lab) {
  const view = lab.store.view;
  if (!view) return [];
  if (id.includes(">")) return linkEntries(id, view);
  if (id.startsWith("group:")) return groupEntries(id.slice(6), lab);
  const replica = /^(.+)-(\d+)@(\d+)$/.exec(id);
  if (replica) return replicaEntries(replica[1], Number(replica[2]), Number(replica[3]), lab);
  const node = view.nodes[id];
  if (view.producers[id]) return [...producerEntries(id, view), { label: "", rule: true }, ...processEntries(node)];
  if (view.consumers[id]) return [...consumerEntries(id, view), { label: "", rule: true }, ...processEntries(node)];
  return node ? [...processEntries(node), { label: "", rule: true }, ...machineEntries(node)] : [];
}

/** @param {any} node @returns {Entry[]} */
function processEntries(node) {
  if (!node) return [];
  const { name, status } = node;
  if (status === "down") return [{ label: "Start", command: { type: "StartNode", node: name } }];
  const pause =
    status === "paused"
      ? { label: "Resume", command: { type: "ResumeNode", node: name } }
      : { label: "Pause (as a long garbage collection)", command: { type: "PauseNode", node: name } };
  /** @type {Entry[]} */
  const entries = [{ label: "Kill", command: { type: "KillNode", node: name } }, pause];
  if (node.kind === "broker" || node.kind === "controller") {
    entries.splice(1, 0, {
      label: node.kind === "broker" ? "Stop politely (controlled shutdown)" : "Stop",
      command: { type: "StopNode", node: name },
    });
    entries.push({ label: "Lose power", command: { type: "LosePower", node: name } });
  }
  return entries;
}

/** @param {any} node @returns {Entry[]} */
function machineEntries(node) {
  const { name } = node;
  /** @type {Entry[]} */
  const entries = [
    { label: "Cut off from everybody", command: { type: "CutNetwork", source: name, target: "*" } },
    { label: "Cut from one other…", form: "CutNetwork", preset: { source: name } },
    { label: "Delay or lose messages…", form: "DegradeNetwork", preset: { source: name } },
    { label: "Heal its network", command: { type: "HealNetwork", source: name, target: "*" } },
  ];
  if (!node.disk) return entries;
  entries.push({ label: "", rule: true }, { label: "Slow disk…", form: "SlowDisk", preset: { node: name } });
  entries.push(
    node.disk.full
      ? { label: "Free the disk", command: { type: "FreeDisk", node: name } }
      : { label: "Fill the disk", command: { type: "FillDisk", node: name } },
  );
  if (node.status === "down") entries.push({ label: "Wipe the disk", command: { type: "WipeDisk", node: name } });
  if (node.kind === "broker") {
    entries.push(
      { label: "", rule: true },
      {
        label: "Alter broker config…",
        form: "AlterConfig",
        preset: { resource_type: "broker", resource_name: String(node.id) },
      },
    );
  }
  return entries;
}

/** @param {string} topic @param {number} partition @param {number} broker @param {any} lab @returns {Entry[]} */
function replicaEntries(topic, partition, broker, lab) {
  const view = lab.store.view;
  const part = view.topics[topic]?.partitions[partition];
  /** @type {Entry[]} */
  const entries = [
    { label: "Produce…", form: "Produce", preset: { topic } },
    { label: "Start a workload…", form: "StartWorkload", preset: { topic } },
    { label: "Consume…", form: "CreateConsumer", preset: { topics: topic } },
    { label: "", rule: true },
    { label: "Show its log", run: () => lab.openLog(`${topic}-${partition}`) },
    {
      label: "Under the microscope",
      run: () => lab.openBytes(broker, topic, partition, Math.max(0, (part?.logs[broker]?.log_end_offset ?? 1) - 1)),
    },
    { label: "", rule: true },
    { label: "Elect the preferred leader", command: { type: "ElectLeader", election: "preferred", topic, partition } },
    { label: "Elect uncleanly", command: { type: "ElectLeader", election: "unclean", topic, partition } },
    {
      label: "Move the replicas…",
      form: "ReassignPartition",
      preset: { topic, partition, replicas: part?.replicas.join(" ") },
    },
    { label: "", rule: true },
    {
      label: `Alter config of ${topic}…`,
      form: "AlterConfig",
      preset: { resource_type: "topic", resource_name: topic },
    },
    {
      label: "Add partitions…",
      form: "AddPartitions",
      preset: { topic, count: Object.keys(view.topics[topic]?.partitions ?? {}).length + 1 },
    },
    {
      label: "Delete records…",
      form: "DeleteRecords",
      preset: { topic, partition, offset: Math.max(part?.high_watermark ?? 0, 0) },
    },
    { label: `Delete ${topic}`, command: { type: "DeleteTopic", topic } },
  ];
  for (const open of part?.open_transactions ?? []) entries.push(...hangingEntries(topic, partition, open, view));
  const node = view.nodes[`broker-${broker}`];
  if (node?.status === "down")
    entries.push({
      label: "Flip a byte on its disk",
      command: { type: "CorruptDisk", node: node.name, topic, partition },
    });
  return entries;
}

/** A transaction that its coordinator does not mean to end. @param {string} topic @param {number} partition @param {any} open @param {any} view @returns {Entry[]} */
function hangingEntries(topic, partition, open, view) {
  const known = Object.values(view.transactions).find((one) => one.producer_id === open.producer_id);
  if (known?.partitions.includes(`${topic}-${partition}`)) return [];
  const { producer_id, producer_epoch } = open;
  return [
    {
      label: `Abort the hanging transaction of producer ${producer_id}`,
      command: { type: "AbortHangingTransaction", topic, partition, producer_id, producer_epoch },
    },
  ];
}

/** @param {string} name @param {any} lab @returns {Entry[]} */
function groupEntries(name, lab) {
  const view = lab.store.view;
  const group = view.groups[name];
  if (!group) return [];
  const at = group.offsets[0];
  const topic = group.members[0]?.topics[0] ?? at?.topic;
  /** @type {Entry[]} */
  const entries = [
    { label: "Show the group", run: () => lab.openGroup(name) },
    {
      label: "A consumer more…",
      form: group.type === "share" ? "CreateShareConsumer" : "CreateConsumer",
      preset: { group_id: name, ...(topic ? { topics: topic } : {}) },
    },
    {
      label: "Describe it in the console",
      run: () =>
        lab.runLine(`kafka-${group.type === "share" ? "share" : "consumer"}-groups.sh --describe --group ${name}`),
    },
  ];
  if (group.type === "share")
    entries.push({
      label: "Settings of the group…",
      form: "AlterConfig",
      preset: { resource_type: "group", resource_name: name, set: "share.auto.offset.reset=earliest" },
    });
  if (group.members.length) return entries;
  if (group.type === "share")
    return [
      ...entries,
      { label: "", rule: true },
      { label: "Delete the group", command: { type: "DeleteGroup", group: name } },
    ];
  entries.push(
    { label: "", rule: true },
    {
      label: "Set an offset…",
      form: "AlterGroupOffsets",
      preset: { group: name, topic, partition: at?.partition ?? 0, offset: Math.max(at?.committed ?? 0, 0) },
    },
    { label: "Delete the group", command: { type: "DeleteGroup", group: name } },
  );
  return entries;
}

/** @param {string} name @param {any} view @returns {Entry[]} */
function producerEntries(name, view) {
  const running = view.producers[name].workloads.filter((/** @type {any} */ load) => load.running);
  const transactional = view.producers[name].configs["transactional.id"];
  /** @type {Entry[]} */
  const calls = transactional
    ? [
        { label: "Begin a transaction", command: { type: "BeginTransaction", producer: name } },
        { label: "Commit it", command: { type: "CommitTransaction", producer: name } },
        { label: "Abort it", command: { type: "AbortTransaction", producer: name } },
        { label: "", rule: true },
      ]
    : [];
  return [
    ...calls,
    { label: "Produce…", form: "Produce", preset: { producer: name } },
    { label: "Start a workload…", form: "StartWorkload", preset: { producer: name, name: `${name}-load` } },
    ...running.map((/** @type {any} */ load) => ({
      label: `Stop workload ${load.name}`,
      command: { type: "StopWorkload", name: load.name },
    })),
    { label: "Quota…", form: "AlterQuota", preset: { client_id: clientId(view.producers[name]) } },
    { label: "Close", command: { type: "CloseClient", name } },
  ];
}

/** @param {any} client */
const clientId = (client) => client.configs["client.id"] || client.name;

/** @param {string} name @param {any} view @returns {Entry[]} */
function consumerEntries(name, view) {
  const consumer = view.consumers[name];
  const at = consumer.positions[0];
  if (consumer.share || view.nodes[name]?.kind === "share-consumer") return shareConsumerEntries(name, consumer);
  return [
    {
      label: consumer.paused ? "Resume reading" : "Pause reading",
      command: { type: "PauseConsumer", name, paused: !consumer.paused },
    },
    { label: "Seek…", form: "SeekConsumer", preset: { name, topic: at?.topic, partition: at?.partition ?? 0 } },
    {
      label: "Processing time…",
      form: "SetProcessing",
      preset: { name, processing_ms: consumer.processing_ms || 1000 },
    },
    ...(consumer.group ? [{ label: "Commit its offsets", command: { type: "CommitOffsets", name } }] : []),
    {
      label: "Quota…",
      form: "AlterQuota",
      preset: { client_id: clientId(consumer), quota: "consumer_byte_rate" },
    },
    { label: "Close", command: { type: "CloseClient", name } },
  ];
}

/** @param {string} name @param {any} consumer @returns {Entry[]} */
function shareConsumerEntries(name, consumer) {
  const { release_every, reject_every, fail_on, mode } = consumer.share ?? {};
  return [
    {
      label: "Processing time…",
      form: "SetProcessing",
      preset: { name, processing_ms: consumer.processing_ms || 1000 },
    },
    ...(mode === "explicit"
      ? [
          {
            label: "Release, reject, fail…",
            form: "SetVerdicts",
            preset: { name, release_every, reject_every, fail_on },
          },
        ]
      : []),
    { label: "Quota…", form: "AlterQuota", preset: { client_id: clientId(consumer), quota: "consumer_byte_rate" } },
    { label: "Close", command: { type: "CloseClient", name } },
  ];
}

/** @param {string} id @param {any} view @returns {Entry[]} */
function linkEntries(id, view) {
  const [source, target] = id.split(">");
  const worn = view.links[id] ?? view.links[`${target}>${source}`];
  return [
    { label: "Cut both ways", command: { type: "CutNetwork", source, target } },
    { label: "Cut this way only", command: { type: "CutNetwork", source, target, one_way: true } },
    { label: "Delay or lose messages…", form: "DegradeNetwork", preset: { source, target } },
    ...(worn ? [{ label: "Heal", command: { type: "HealNetwork", source, target } }] : []),
  ];
}
