"""Every bound in one place, each with its reason. A bound that a person meets is named in the error that refuses.

Sizes are in bytes, times in milliseconds or microseconds as the name says.
"""

from __future__ import annotations

MAX_BROKERS = 9
"""A stage for the eye: more brokers than nine are a table, and cost memory for every learner."""
MAX_CONTROLLERS = 5
"""Kafka's documentation advises three or five."""
MAX_PARTITIONS_PER_TOPIC = 64
"""A lesson's horizon; each partition costs a fetch entry per poll of each follower."""
MAX_PARTITIONS = 200
"""Over all topics of one lab, so that a lab stays within its memory share."""
MAX_TOPICS = 50
MAX_CLIENTS = 40
"""Producers and consumers of one lab."""
MAX_WORKLOADS = 20
MAX_PROCESSING_MS = 3_600_000
"""What an application may take for one record: an hour is longer than every timeout of a group."""
MAX_TOPIC_NAME = 249
"""Kafka's own limit: the name becomes a directory's."""
MAX_ACLS = 200
"""Every question that is new to a broker looks at all of them."""
MAX_QUOTA_ENTITIES = 100
MAX_SCRAM_CREDENTIALS = 50
MAX_PRINCIPAL = 100
MAX_MUTED_REQUESTS = 1_000
"""Requests that wait in the socket of one throttled client; more are lost as in a full socket."""
MAX_CLIENT_NAME = 60
MAX_KEY_BYTES = 1_000
MAX_VALUE_BYTES = 100_000
"""Typed or sent by the hand of a learner; Kafka's own bound is max.message.bytes (1 MiB)."""
MAX_HEADERS = 20
MAX_DIGITS = 8
"""Of the running number that replaces "{n}": more records than that do not fit into one history."""
MAX_RECORDS_PER_COMMAND = 1_000
MAX_BUFFERED_RECORDS = 100_000
"""Given to the producers of one lab and not yet on the wire: a paused lab or a full buffer.memory lets them pile up."""
MAX_BUFFERED_BYTES = 64 * 1024 * 1024
"""Of the same: two producers may fill the buffer.memory that Kafka gives them."""
MAX_RECORDS_PER_SECOND = 5_000
"""Per workload: two workloads at this rate keep one core busy at speed 1."""
MAX_WORKLOAD_BYTES_PER_SECOND = 10_000_000
"""All workloads of one lab: what they add between two looks at the disks must not be much."""
STOCKTAKING_EVERY_US = 1_000_000
"""So often, in virtual time, a lab with workloads looks at what its disks and producers hold."""
MAX_CONFIG_VALUE = 1_000
MAX_CONFIGS_PER_COMMAND = 50
MAX_LOG_BYTES_PER_LAB = 64 * 1024 * 1024
"""What all disks of one lab hold together; the shelf keeps hundreds of labs."""
MAX_ADVANCE_US = 30 * 86_400 * 1_000_000
"""One leap in time: thirty virtual days."""
MAX_NOW_US = 10 * 365 * 86_400 * 1_000_000
MAX_START_MS = 253_402_300_799_000 - MAX_NOW_US // 1000
"""The clocks of a lab end with the year 9999, the last that a date can be written for."""
MAX_RACK_NAME = 100
MAX_DELAY_US = 60_000_000
MAX_INPUTS = 20_000
"""Commands in one history; the journal and a share link hold them all."""
MAX_HISTORY_EVENTS = 20_000
"""What the timeline and Why? can reach back to; older events fall off and the timeline shows where it begins."""
MAX_CHECKPOINTS = 24
"""Kept for seeking; thinned out from the oldest, each costs about 50 KiB of an idle lab."""
CHECKPOINT_EVERY_DELIVERIES = 4_000
"""A seek replays at most this many deliveries (about 0.1 s) where the checkpoints are dense."""
MAX_BRANCHES = 12
MAX_BREAKPOINTS = 20
MAX_HELD_MESSAGES = 20_000
"""Deliveries waiting at one paused node; more means that something floods it, and the oldest are lost as in a full socket."""
MAX_QUEUE = 200_000
"""Deliveries in the kernel's queue; beyond it a lab is stopped with a clear error rather than eat the machine."""
MAX_GROUP_ID = 200
MAX_GROUPS = 100
"""That a lab was ever told of and that nobody deleted: each is looked at for every view."""
MAX_TRANSACTIONAL_IDS = 200
"""That a lab was ever told of: coordinators remember each for a week (transactional.id.expiration.ms)."""
MAX_CONSOLE_LINE = 4_000
MAX_CONSOLE_FILES = 20
MAX_DISK_QUEUE_US = 5_000_000
"""Writes waiting for a slow disk: when so much is queued, the page cache takes the rest and the disk is as slow as this, not slower."""
MAX_IN_FLIGHT_SHOWN = 200
MAX_LOG_TAIL_SHOWN = 24
"""Batches of one replica on the stage."""
MAX_LEDGER_ROWS = 5_000
