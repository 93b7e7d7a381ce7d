// @ts-check
/**
 * Each command that needs more than a click: its title, its fields, and how its answers become the command.
 */

/**
 * @typedef {{name: string, label: string, kind?: "text" | "number" | "select" | "check" | "pairs" | "list", value?: any, hint?: string,
 *   options?: (view: any) => string[], none?: string, min?: number, max?: number, step?: "any",
 *   optional?: boolean, required?: boolean, config?: string}} Field
 * @typedef {{title: string, submit: string, fields: Field[]}} Form
 */

/** @param {any} view */
const topics = (view) => Object.keys(view?.topics ?? {});
/** @param {any} view */
const machines = (view) => Object.keys(view?.nodes ?? {});
/** @param {any} view */
const others = (view) => ["*", ...machines(view)];

/** @param {any} view */
const own = (view) => topics(view).filter((name) => !view.topics[name].internal);

/** The first of these names that nothing has yet, then "name-2", "name-3", … @param {string[]} taken @param {string[]} wishes */
function free(taken, ...wishes) {
  const wish = wishes.find((name) => !taken.includes(name));
  if (wish) return wish;
  for (let number = 2; ; number++) if (!taken.includes(`${wishes[0]}-${number}`)) return `${wishes[0]}-${number}`;
}

/** What a value begins with: fixed, or what suits the cluster as it stands. @param {Field} field @param {any} view */
export const begun = (field, view) => (typeof field.value === "function" ? field.value(view) : (field.value ?? ""));

const PROTOCOLS = ["classic", "consumer"];
const ASSIGNORS = ["", "range", "roundrobin", "sticky", "cooperative-sticky"];
const QUOTAS = ["producer_byte_rate", "consumer_byte_rate", "request_percentage"];
const RESOURCES = ["topic", "group", "cluster", "transactional-id"];
const OPERATIONS = [
  "read",
  "write",
  "describe",
  "create",
  "delete",
  "alter",
  "describe-configs",
  "alter-configs",
  "idempotent-write",
  "all",
];

const WORKERS = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((number) => `worker-${number}`);

/** What the application of a share consumer says of its records, with explicit acknowledgement. @type {Field[]} */
const VERDICTS = [
  {
    name: "release_every",
    label: "Release every n-th",
    kind: "number",
    value: 0,
    min: 0,
    max: 1000,
    hint: "explicit only; 0: none",
  },
  { name: "reject_every", label: "Reject every n-th", kind: "number", value: 0, min: 0, max: 1000 },
  { name: "fail_on", label: "Fail at records with", value: "", hint: "in their value; explicit only" },
];

/** @type {Record<string, Form>} */
export const FORMS = {
  Produce: {
    title: "Produce records",
    submit: "Send",
    fields: [
      { name: "topic", label: "Topic", kind: "select", options: topics },
      { name: "value", label: "Value", value: "hello {n}", hint: "{n} becomes the running number" },
      { name: "key", label: "Key", optional: true, hint: "equal keys go to one partition" },
      { name: "count", label: "How many", kind: "number", value: 1, min: 1, max: 1000 },
      {
        name: "producer",
        label: "Producer",
        required: true,
        value: "producer",
        hint: "a new name makes one with Kafka’s defaults",
      },
      {
        name: "partition",
        label: "Partition",
        kind: "number",
        optional: true,
        min: 0,
        hint: "empty: the partitioner chooses",
      },
    ],
  },
  CreateTopic: {
    title: "Create a topic",
    submit: "Create",
    fields: [
      {
        name: "topic",
        label: "Name",
        required: true,
        value: (/** @type {any} */ view) => free(topics(view), "orders", "payments", "clicks", "returns"),
      },
      { name: "partitions", label: "Partitions", kind: "number", value: 1, min: 1, max: 64 },
      { name: "replication_factor", label: "Replication factor", kind: "number", value: 3, min: 1, max: 9 },
      {
        name: "configs",
        label: "Settings",
        kind: "pairs",
        value: "",
        hint: "one per line, such as min.insync.replicas=2",
      },
    ],
  },
  AlterConfig: {
    title: "Alter configuration",
    submit: "Apply",
    fields: [
      { name: "resource_type", label: "Of", kind: "select", options: () => ["topic", "broker", "group"] },
      { name: "resource_name", label: "Name", hint: "a broker’s number, or empty for all brokers" },
      { name: "set", label: "Set", kind: "pairs", value: "", hint: "one per line, such as min.insync.replicas=2" },
      { name: "remove", label: "Back to the default", kind: "list", value: "", hint: "names, one per line" },
    ],
  },
  CreateProducer: {
    title: "Create a producer",
    submit: "Create",
    fields: [
      {
        name: "name",
        label: "Name",
        required: true,
        value: (/** @type {any} */ view) => free(machines(view), "producer"),
      },
      {
        name: "transactional_id",
        label: "Transactional ID",
        optional: true,
        config: "transactional.id",
        hint: "empty: no transactions",
      },
      {
        name: "configs",
        label: "Settings",
        kind: "pairs",
        value: "acks=all",
        hint: "the Java client’s names; defaults are Kafka’s",
      },
    ],
  },
  CreateConsumer: {
    title: "Create a consumer",
    submit: "Create",
    fields: [
      {
        name: "name",
        label: "Name",
        required: true,
        value: (/** @type {any} */ view) => free(machines(view), "app-1", "app-2", "app-3", "app-4"),
      },
      {
        name: "topics",
        label: "Topics",
        required: true,
        kind: "list",
        value: (/** @type {any} */ view) => topics(view).find((name) => !view.topics[name].internal) ?? "",
        hint: "one per line",
      },
      {
        name: "group_id",
        label: "Group",
        optional: true,
        config: "group.id",
        hint: "empty: it reads all their partitions, alone",
      },
      {
        name: "protocol",
        label: "Protocol",
        kind: "select",
        options: () => PROTOCOLS,
        config: "group.protocol",
        hint: "consumer: KIP-848, the broker assigns",
      },
      {
        name: "assignor",
        label: "Assignor",
        kind: "select",
        options: () => ASSIGNORS,
        config: "partition.assignment.strategy",
        none: "default: range first",
        hint: "of the classic protocol only",
      },
      {
        name: "isolation",
        label: "Isolation",
        kind: "select",
        options: () => ["read_uncommitted", "read_committed"],
        config: "isolation.level",
      },
      {
        name: "processing_ms",
        label: "Processing per record, ms",
        kind: "number",
        value: 0,
        min: 0,
        max: 3600000,
      },
      {
        name: "commit_each_poll",
        label: "commitSync at each poll",
        kind: "select",
        options: () => ["", "before", "after"],
        none: "as enable.auto.commit says",
        hint: "before or after it processes",
      },
      { name: "configs", label: "Settings", kind: "pairs", value: "auto.offset.reset=earliest" },
    ],
  },
  CreateShareConsumer: {
    title: "Create a share consumer",
    submit: "Create",
    fields: [
      {
        name: "name",
        label: "Name",
        required: true,
        value: (/** @type {any} */ view) => free(machines(view), ...WORKERS),
      },
      {
        name: "topics",
        label: "Topics",
        required: true,
        kind: "list",
        value: (/** @type {any} */ view) => own(view)[0] ?? "",
        hint: "one per line",
      },
      {
        name: "group_id",
        label: "Share group",
        required: true,
        value: "workers",
        config: "group.id",
        hint: "begins at the end of the log, unless share.auto.offset.reset of the group says earliest",
      },
      {
        name: "mode",
        label: "Acknowledgement",
        kind: "select",
        options: () => ["implicit", "explicit"],
        config: "share.acknowledgement.mode",
        hint: "implicit: the next poll accepts everything",
      },
      {
        name: "processing_ms",
        label: "Processing per record, ms",
        kind: "number",
        value: 0,
        min: 0,
        max: 3600000,
        hint: "a lock lasts 30 s",
      },
      ...VERDICTS,
      { name: "configs", label: "Settings", kind: "pairs", value: "" },
    ],
  },
  SetVerdicts: {
    title: "What its application says",
    submit: "Apply",
    fields: [{ name: "name", label: "Share consumer" }, ...VERDICTS],
  },
  SetProcessing: {
    title: "Processing time",
    submit: "Apply",
    fields: [
      { name: "name", label: "Consumer" },
      {
        name: "processing_ms",
        label: "Each record takes, ms",
        kind: "number",
        value: 1000,
        min: 0,
        max: 3600000,
        hint: "longer between two polls than max.poll.interval.ms, and it is out of its group",
      },
    ],
  },
  DeleteRecords: {
    title: "Delete records",
    submit: "Delete",
    fields: [
      { name: "topic", label: "Topic", kind: "select", options: own },
      { name: "partition", label: "Partition", kind: "number", value: 0, min: 0 },
      {
        name: "offset",
        label: "All before offset",
        kind: "number",
        value: -1,
        min: -1,
        hint: "-1: up to the high watermark",
      },
    ],
  },
  AlterGroupOffsets: {
    title: "Set a group’s offset",
    submit: "Set",
    fields: [
      { name: "group", label: "Group", required: true, hint: "it must have no members" },
      { name: "topic", label: "Topic", kind: "select", options: own },
      { name: "partition", label: "Partition", kind: "number", value: 0, min: 0 },
      { name: "offset", label: "Offset", kind: "number", value: 0, min: 0, hint: "the next record that it is to read" },
    ],
  },
  AlterQuota: {
    title: "Set a quota",
    submit: "Set",
    fields: [
      { name: "user", label: "User", optional: true, hint: "empty: not part of it; *: any user" },
      { name: "client_id", label: "Client", optional: true, value: "producer", hint: "empty: not part of it; *: any" },
      { name: "quota", label: "Limit on", kind: "select", options: () => QUOTAS },
      {
        name: "limit",
        label: "At most",
        kind: "number",
        value: 1024,
        min: 0.01,
        step: "any",
        hint: "bytes per second and broker, or %",
      },
    ],
  },
  AlterUser: {
    title: "Create a user",
    submit: "Create",
    fields: [
      {
        name: "name",
        label: "Name",
        required: true,
        value: "alice",
        hint: "a client logs in with sasl.username and sasl.password among its settings",
      },
      { name: "password", label: "Password", required: true, value: "alice-secret" },
      {
        name: "mechanism",
        label: "Mechanism",
        kind: "select",
        options: () => ["SCRAM-SHA-512", "SCRAM-SHA-256"],
      },
    ],
  },
  CreateAcl: {
    title: "Add an ACL",
    submit: "Add",
    fields: [
      { name: "principal", label: "Principal", required: true, value: "User:alice", hint: "User:*: everybody" },
      { name: "permission", label: "Permission", kind: "select", options: () => ["allow", "deny"] },
      { name: "operation", label: "Operation", kind: "select", options: () => OPERATIONS },
      { name: "resource_type", label: "On a", kind: "select", options: () => RESOURCES },
      {
        name: "resource_name",
        label: "Named",
        required: true,
        value: "orders",
        hint: "*: all; a cluster is kafka-cluster",
      },
      { name: "pattern_type", label: "Pattern", kind: "select", options: () => ["literal", "prefixed"] },
    ],
  },
  StartWorkload: {
    title: "Start a workload",
    submit: "Start",
    fields: [
      { name: "name", label: "Name", required: true, value: "load" },
      { name: "topic", label: "Topic", kind: "select", options: topics },
      { name: "producer", label: "Producer", required: true, value: "producer" },
      { name: "records_per_second", label: "Records per second", kind: "number", value: 10, min: 1, max: 5000 },
      { name: "keys", label: "Different keys", kind: "number", value: 0, min: 0, max: 100000, hint: "0: without keys" },
      { name: "value_bytes", label: "Bytes per value", kind: "number", value: 100, min: 1, max: 10000 },
      { name: "skew_percent", label: "Skew to one key, %", kind: "number", value: 0, min: 0, max: 100 },
      { name: "limit", label: "Stop after", kind: "number", value: 0, min: 0, hint: "records; 0: until stopped" },
      {
        name: "transaction_records",
        label: "Commit every",
        kind: "number",
        value: 0,
        min: 0,
        max: 10000,
        hint: "records, in a transaction; 0: no transactions",
      },
    ],
  },
  SeekConsumer: {
    title: "Seek",
    submit: "Seek",
    fields: [
      { name: "name", label: "Consumer" },
      { name: "topic", label: "Topic", kind: "select", options: topics },
      { name: "partition", label: "Partition", kind: "number", value: 0, min: 0 },
      { name: "offset", label: "Offset", kind: "number", value: -2, min: -2, hint: "-2: the beginning, -1: the end" },
    ],
  },
  CutNetwork: {
    title: "Cut the network",
    submit: "Cut",
    fields: [
      { name: "source", label: "From", kind: "select", options: machines },
      { name: "target", label: "To", kind: "select", options: others, hint: "*: everybody" },
      { name: "one_way", label: "One way only", kind: "check" },
    ],
  },
  DegradeNetwork: {
    title: "Delay or lose messages",
    submit: "Apply",
    fields: [
      { name: "source", label: "Between", kind: "select", options: machines },
      { name: "target", label: "And", kind: "select", options: machines },
      { name: "delay_ms", label: "Added delay, ms", kind: "number", value: 200, min: 0, max: 60000 },
      { name: "loss_percent", label: "Lost, %", kind: "number", value: 0, min: 0, max: 100 },
    ],
  },
  SlowDisk: {
    title: "Slow the disk",
    submit: "Apply",
    fields: [
      { name: "node", label: "Machine", kind: "select", options: machines },
      {
        name: "write_delay_ms",
        label: "Each write takes, ms",
        kind: "number",
        value: 200,
        min: 0,
        max: 60000,
        hint: "0: as new",
      },
    ],
  },
  AddPartitions: {
    title: "Add partitions",
    submit: "Add",
    fields: [
      { name: "topic", label: "Topic", kind: "select", options: topics },
      {
        name: "count",
        label: "New total",
        kind: "number",
        value: 2,
        min: 1,
        max: 64,
        hint: "keys will map to other partitions",
      },
    ],
  },
  ReassignPartition: {
    title: "Move the replicas",
    submit: "Move",
    fields: [
      { name: "topic", label: "Topic", kind: "select", options: topics },
      { name: "partition", label: "Partition", kind: "number", value: 0, min: 0 },
      { name: "replicas", label: "Brokers", kind: "list", value: "1 2 3", hint: "preferred leader first" },
    ],
  },
};

/** A second lab that parts from this one here. @type {Form} */
export const FORK = {
  title: "Fork here",
  submit: "Fork",
  fields: [
    {
      name: "of",
      label: "What differs",
      kind: "select",
      options: changeable,
      hint: "the twin has had this setting from its start",
    },
    {
      name: "configs",
      label: "Its setting",
      kind: "pairs",
      value: otherwise,
      hint: "one per line; not read when nothing differs",
    },
    { name: "replay", label: "Let the twin meet all that happened here since", kind: "check", value: true },
  ],
};

const NOTHING = "nothing";

/** A setting that makes a difference to what the form names first. @param {any} view */
function otherwise(view) {
  const producer = Object.values(view?.producers ?? {})[0];
  if (!producer) return "min.insync.replicas=2";
  return ["all", "-1"].includes(String(producer.configs.acks ?? "all")) ? "acks=1" : "acks=all";
}

/** @param {any} view */
function changeable(view) {
  const internal = (/** @type {string} */ name) => view.topics[name].internal;
  return [
    ...Object.keys(view?.producers ?? {}).map((name) => `producer ${name}`),
    ...topics(view)
      .filter((name) => !internal(name))
      .map((name) => `topic ${name}`),
    ...Object.keys(view?.consumers ?? {}).map((name) => `consumer ${name}`),
    "broker (all)",
    NOTHING,
  ];
}

/** @param {(name: string) => any} read @returns {any} what the lab is asked for */
export function forkOf(read) {
  const [resource, name] = String(read("of")).split(" ");
  if (resource === NOTHING) return { replay: false };
  return {
    change: { resource, name: resource === "broker" ? "" : name, configs: pairs(read("configs")) },
    replay: read("replay"),
  };
}

/** @param {string} text @param {string} [field] where it stands @returns {Record<string, string>} */
export function pairs(text, field = "configs") {
  /** @type {Record<string, string>} */
  const found = Object.create(null);
  for (const line of text.split("\n")) {
    const at = line.indexOf("=");
    if (at > 0) found[line.slice(0, at).trim()] = line.slice(at + 1).trim();
    else if (line.trim()) throw Object.assign(new Error(`“${line.trim()}” is not name=value.`), { field });
  }
  return found;
}

/** @param {string} text */
const words = (text) => text.split(/[\s,]+/).filter(Boolean);

/** @param {string} type @param {(name: string) => any} read @returns {any} the command */
export function build(type, read) {
  /** @type {any} */
  const command = { type };
  /** @type {Record<string, string>} */
  const configs = Object.create(null);
  for (const field of FORMS[type].fields) {
    const raw = read(field.name);
    if (field.config) {
      if (raw !== "" && raw !== DEFAULTS[field.config]) configs[field.config] = raw;
      continue;
    }
    if (field.optional && raw === "") continue;
    if (field.kind === "number") command[field.name] = Number(raw);
    else if (field.kind === "pairs") command[field.name] = pairs(raw, field.name);
    else if (field.kind === "list")
      command[field.name] = field.name === "replicas" ? words(raw).map(Number) : words(raw);
    else command[field.name] = raw;
  }
  if (command.configs) command.configs = { ...withoutGroup(configs), ...command.configs };
  return SHAPES[type]?.(command) ?? command;
}

/** @type {Record<string, string>} what a field means that is left as it is */
const DEFAULTS = {
  "group.protocol": "classic",
  "isolation.level": "read_uncommitted",
  "share.acknowledgement.mode": "implicit",
};

/** Without a group there is no protocol and no assignor; the broker's own assignor is no client's. @param {Record<string, string>} configs */
function withoutGroup(configs) {
  const { "group.protocol": protocol, "partition.assignment.strategy": assignor, ...others } = configs;
  if (!configs["group.id"]) return others;
  if (protocol === "consumer") return { ...others, "group.protocol": protocol };
  return assignor ? { ...others, "partition.assignment.strategy": assignor } : others;
}

/** @param {string | undefined} name "*" is the default of its kind */
const anybody = (name) => (name === undefined ? null : name === "*" ? "" : name);

/** What a form's answers become, where fields are not the command's own. @type {Record<string, (answers: any) => any>} */
const SHAPES = {
  Produce: (c) => (c.value === undefined ? { ...c, value: null } : c),
  AlterQuota: ({ type, user, client_id, quota, limit }) => ({
    type,
    user: anybody(user),
    client_id: anybody(client_id),
    set: { [quota]: limit },
  }),
  AlterGroupOffsets: ({ type, group, topic, partition, offset }) => ({
    type,
    group,
    offsets: [{ topic, partition, offset }],
  }),
};
