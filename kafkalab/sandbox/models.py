"""What a sandbox leaves on disk: its origin, the journal of what was done, checkpoints that shorten a restore, and share links."""

from __future__ import annotations

from django.db import models


class Sandbox(models.Model):
    """One learner's cluster. The live lab is on the shelf of the process that holds the lease; this row says how to make it again."""

    id = models.CharField(primary_key=True, max_length=36)
    owner = models.CharField(max_length=64, db_index=True)
    lesson = models.CharField(max_length=80, blank=True, default="")
    title = models.CharField(max_length=120)
    spec = models.BinaryField()
    seed = models.BigIntegerField()
    engine_version = models.CharField(max_length=20)
    created = models.DateTimeField(auto_now_add=True)
    last_used = models.DateTimeField(db_index=True)
    speed = models.FloatField(default=1.0)
    playing = models.BooleanField(default=True)
    twin_of = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="twins")
    twin_change = models.CharField(max_length=300, blank=True, default="")
    last_seq = models.IntegerField(default=0)
    replay_deliveries = models.BigIntegerField(default=0)
    stopped = models.TextField(blank=True, default="")
    lease_owner = models.CharField(max_length=120, blank=True, default="")
    lease_until = models.FloatField(default=0)

    class Meta:
        ordering = ["-last_used"]

    def __str__(self) -> str:
        return f"{self.title} ({self.id})"


class JournalEntry(models.Model):
    """One acknowledged input: given at virtual ``at_us``, after everything due by then had been done."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.CASCADE, related_name="journal")
    seq = models.IntegerField()
    at_us = models.BigIntegerField()
    kind = models.CharField(max_length=20)
    body = models.BinaryField()

    class Meta:
        ordering = ["seq"]
        constraints = [models.UniqueConstraint(fields=["sandbox", "seq"], name="journal_seq")]

    def __str__(self) -> str:
        return f"{self.seq} {self.kind} at {self.at_us} µs"


class Checkpoint(models.Model):
    """The lab after entry ``seq``. ``plain``: the lab had no branches and no future then, so nothing is lost by starting here."""

    sandbox = models.ForeignKey(Sandbox, on_delete=models.CASCADE, related_name="checkpoints")
    seq = models.IntegerField()
    at_us = models.BigIntegerField()
    replay_deliveries = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    engine_version = models.CharField(max_length=20)
    plain = models.BooleanField()
    breakpoints = models.BinaryField()
    content = models.BinaryField()

    class Meta:
        ordering = ["seq"]
        constraints = [models.UniqueConstraint(fields=["sandbox", "seq"], name="checkpoint_seq")]

    def __str__(self) -> str:
        return f"after {self.seq}"


class Share(models.Model):
    """A link to a moment: the file that it downloads as, and a checkpoint so that opening it costs nothing."""

    id = models.CharField(primary_key=True, max_length=36)
    owner = models.CharField(max_length=64, db_index=True)
    created = models.DateTimeField(auto_now_add=True)
    title = models.CharField(max_length=120)
    lesson = models.CharField(max_length=80, blank=True, default="")
    blob = models.BinaryField()
    checkpoint = models.BinaryField()

    class Meta:
        ordering = ["-created"]

    def __str__(self) -> str:
        return self.title
