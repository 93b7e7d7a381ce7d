"""A partition's log: record batches as real v2 bytes, segments and indexes on a simulated disk, leader epochs,
producer state.
"""
