"""Brokers in a small world: the real kernel, a controller that does as it is told, clients that note their answers."""
