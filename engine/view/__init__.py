"""The lab's state as plain data for any screen, the difference between two such states, and events as sentences."""
