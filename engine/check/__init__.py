"""Judges of a lab: the ledger of every record's fate, and the checks that hunt for wrong ones."""
