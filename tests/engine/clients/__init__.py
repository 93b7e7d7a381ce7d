"""The simulated clients."""
