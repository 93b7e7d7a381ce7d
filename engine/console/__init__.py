"""The Kafka command-line tools on a lab: their grammar, their output, their exit statuses, and nothing of a shell beyond."""
