"""What several nodes agree on: the metadata quorum (Raft); groups and transactions join it here."""
