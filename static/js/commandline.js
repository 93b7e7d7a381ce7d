// @ts-check
/** What a person would type at a real cluster for a command of the lab; the machine's own tools where Kafka has none. */

const AT = "--bootstrap-server localhost:9092";

/** What a person would type. @param {any} c a command @returns {string} */
export function cli(c) {
  /** @param {Record<string, string>} map */
  const settings = (map) => Object.entries(map ?? {}).map(([name, value]) => `${name}=${value}`);
  switch (c.type) {
    case "KillNode":
      return `kill -KILL $(cat ${c.node}.pid)`;
    case "StopNode":
      return c.node.startsWith("broker") ? `kafka-server-stop.sh   # on ${c.node}` : `kill -TERM $(cat ${c.node}.pid)`;
    case "StartNode":
      return `kafka-server-start.sh config/${c.node}.properties`;
    case "PauseNode":
      return `kill -STOP $(cat ${c.node}.pid)`;
    case "ResumeNode":
      return `kill -CONT $(cat ${c.node}.pid)`;
    case "LosePower":
      return `ipmitool -H ${c.node} chassis power off`;
    case "CutNetwork":
      return c.target === "*"
        ? `ip link set eth0 down   # on ${c.source}`
        : `iptables -A INPUT -s ${c.source} -j DROP   # on ${c.target}`;
    case "HealNetwork":
      return "iptables -F INPUT; tc qdisc del dev eth0 root";
    case "DegradeNetwork":
      return `tc qdisc add dev eth0 root netem delay ${c.delay_ms}ms loss ${c.loss_percent}%   # ${c.source}, ${c.target}`;
    case "SlowDisk":
      return `dmsetup create slow --table "… delay ${c.write_delay_ms}"   # on ${c.node}`;
    case "FillDisk":
      return `fallocate -l "$(df --output=avail -B1 /var/lib/kafka | tail -1)" /var/lib/kafka/filler   # on ${c.node}`;
    case "FreeDisk":
      return `rm /var/lib/kafka/filler   # on ${c.node}`;
    case "WipeDisk":
      return `rm -rf /var/lib/kafka/*   # on ${c.node}`;
    case "CorruptDisk":
      return `printf '\\xff' | dd of=${c.topic}-${c.partition}/….log conv=notrunc   # on ${c.node}`;
    case "CreateTopic":
      return [
        `kafka-topics.sh ${AT} --create --topic ${c.topic} --partitions ${c.partitions} --replication-factor ${c.replication_factor}`,
        ...settings(c.configs).map((setting) => `--config ${setting}`),
      ].join(" ");
    case "DeleteTopic":
      return `kafka-topics.sh ${AT} --delete --topic ${c.topic}`;
    case "AddPartitions":
      return `kafka-topics.sh ${AT} --alter --topic ${c.topic} --partitions ${c.count}`;
    case "AlterConfig": {
      const entity = `--entity-type ${c.resource_type}s ${c.resource_name ? `--entity-name ${c.resource_name}` : "--entity-default"}`;
      const add = settings(c.set);
      return [
        `kafka-configs.sh ${AT} ${entity} --alter`,
        add.length ? `--add-config ${add.join(",")}` : "",
        c.remove?.length ? `--delete-config ${c.remove.join(",")}` : "",
      ]
        .filter(Boolean)
        .join(" ");
    }
    case "ElectLeader":
      return `kafka-leader-election.sh ${AT} --election-type ${c.election} ${c.topic ? `--topic ${c.topic} --partition ${c.partition ?? 0}` : "--all-topic-partitions"}`;
    case "ReassignPartition":
      return c.replicas
        ? `kafka-reassign-partitions.sh ${AT} --execute   # ${c.topic}-${c.partition} → ${c.replicas.join(",")}`
        : `kafka-reassign-partitions.sh ${AT} --cancel   # ${c.topic}-${c.partition}`;
    case "CreateProducer":
    case "CreateConsumer":
      return `${c.type === "CreateProducer" ? "new KafkaProducer" : "new KafkaConsumer"}({${settings(c.configs).join(", ")}})`;
    case "CreateShareConsumer":
      return `new KafkaShareConsumer({${settings(c.configs).join(", ")}})`;
    case "SetVerdicts":
      return `consumer.acknowledge(record, …)   // in ${c.name}`;
    case "Produce":
      return `${c.count > 1 ? `for n in $(seq 0 ${c.count - 1}); do ` : ""}echo ${c.key ? `'${c.key}:${c.value}'` : `'${c.value ?? ""}'`} | kafka-console-producer.sh ${AT} --topic ${c.topic}${c.key ? " --property parse.key=true --property key.separator=:" : ""}${c.count > 1 ? "; done" : ""}`;
    case "StartWorkload":
      return `kafka-producer-perf-test.sh --topic ${c.topic} --throughput ${c.records_per_second} --record-size ${c.value_bytes} --num-records ${c.limit || -1}`;
    case "SetProcessing":
      return `Thread.sleep(${c.processing_ms})   // for each record, in ${c.name}`;
    case "CommitOffsets":
      return `consumer.commitSync()   // in ${c.name}`;
    case "BeginTransaction":
    case "CommitTransaction":
    case "AbortTransaction":
      return `producer.${c.type[0].toLowerCase()}${c.type.slice(1)}()   // in ${c.producer}`;
    case "AbortHangingTransaction":
      return `kafka-transactions.sh ${AT} abort --topic ${c.topic} --partition ${c.partition} --producer-id ${c.producer_id} --producer-epoch ${c.producer_epoch} --coordinator-epoch ${c.coordinator_epoch ?? -1}`;
    case "DeleteRecords":
      return `kafka-delete-records.sh ${AT} --offset-json-file /dev/stdin <<< '{"partitions": [{"topic": "${c.topic}", "partition": ${c.partition}, "offset": ${c.offset}}]}'`;
    case "AlterGroupOffsets":
      return `kafka-consumer-groups.sh ${AT} --reset-offsets --group ${c.group} ${c.offsets.map((/** @type {any} */ at) => `--topic ${at.topic}:${at.partition} --to-offset ${at.offset}`).join(" ")} --execute`;
    case "DeleteGroupOffsets":
      return `kafka-consumer-groups.sh ${AT} --delete-offsets --group ${c.group} ${c.partitions.map((/** @type {any} */ at) => `--topic ${at.topic}:${at.partition}`).join(" ")}`;
    case "DeleteGroup":
      return `kafka-consumer-groups.sh ${AT} --delete --group ${c.group}`;
    case "AlterQuota": {
      const who = [
        ["users", c.user],
        ["clients", c.client_id],
      ]
        .filter(([, name]) => name !== null && name !== undefined)
        .map(([kind, name]) => `--entity-type ${kind} ${name ? `--entity-name ${name}` : "--entity-default"}`);
      const add = settings(c.set);
      return [
        `kafka-configs.sh ${AT} --alter`,
        ...who,
        add.length ? `--add-config ${add.join(",")}` : "",
        c.remove?.length ? `--delete-config ${c.remove.join(",")}` : "",
      ]
        .filter(Boolean)
        .join(" ");
    }
    case "AlterUser":
      return c.password
        ? `kafka-configs.sh ${AT} --alter --entity-type users --entity-name ${c.name} --add-config '${c.mechanism}=[password=${c.password}]'`
        : `kafka-configs.sh ${AT} --alter --entity-type users --entity-name ${c.name} --delete-config ${c.mechanism}`;
    case "CreateAcl":
    case "DeleteAcl": {
      const on = c.resource_type === "cluster" ? "--cluster" : `--${c.resource_type} '${c.resource_name}'`;
      const pattern = c.pattern_type === "prefixed" ? " --resource-pattern-type prefixed" : "";
      const verb = c.type === "CreateAcl" ? "--add" : "--remove --force";
      return `kafka-acls.sh ${AT} ${verb} --${c.permission}-principal ${c.principal} --operation ${c.operation} ${on}${pattern}`;
    }
    case "SeekConsumer":
      return c.offset < 0
        ? `consumer.${c.offset === -1 ? "seekToEnd" : "seekToBeginning"}(${c.topic}-${c.partition})`
        : `consumer.seek(${c.topic}-${c.partition}, ${c.offset})`;
    case "PauseConsumer":
      return c.paused === false ? "consumer.resume(consumer.assignment())" : "consumer.pause(consumer.assignment())";
    case "StopWorkload":
      return "Ctrl-C";
    case "CloseClient":
      return `${c.name}.close()`;
    default:
      return "";
  }
}
