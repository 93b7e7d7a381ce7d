"""The controller's decisions, one file per matter. Each takes a ``Decision`` and writes records into it; none sends a message."""
