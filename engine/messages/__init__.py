"""What nodes say to each other: typed, frozen, free of wire versions (only ``engine.wire`` knows those).

Field names are those of Kafka's message definitions in snake case. An ``error`` is the name of an entry of ``engine.errors``
("NONE" where all is well). ``correlation_id`` pairs a response with its request, per sender.
"""
