"""The simulated world under the nodes: virtual time, network, disks, randomness and checkpoints."""
