"""What brokers and controllers both know: metadata records, the image that they add up to, and Kafka's configuration tables."""
