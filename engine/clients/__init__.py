"""The simulated clients: producer, consumer and admin, with the behaviour and the defaults of Kafka's Java client 4.x."""
