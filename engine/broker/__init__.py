"""A broker: replicas and their leaders, the APIs that clients and followers call, and the life of its process."""
