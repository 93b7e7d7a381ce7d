"""Sandboxes: a learner's own cluster, kept alive, journalled, watched and shared."""
