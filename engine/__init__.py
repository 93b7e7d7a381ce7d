"""A whole Apache Kafka cluster in one process: deterministic, in virtual time, free of I/O.

``engine.lab.Lab`` is the front door; ``engine.commands`` says what may be asked, ``engine.events`` what can happen.
"""

ENGINE_VERSION = "1"
"""Changes when the same inputs no longer give the same history; journals carry it."""
