"""One module per Kafka API (or family that is handled alike), each opening with what its versions changed."""
