"""What a visitor has reached in a lesson."""

from __future__ import annotations

from django.db import models


class Progress(models.Model):
    """One visitor in one lesson. ``goals``: name → true once it was met; ``predictions``: id → what was said and what the engine said."""

    visitor = models.CharField(max_length=64)
    lesson = models.CharField(max_length=80)
    step = models.IntegerField(default=0)
    goals = models.JSONField(default=dict)
    predictions = models.JSONField(default=dict)
    hints = models.JSONField(default=dict)
    done = models.BooleanField(default=False)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["visitor", "lesson"], name="progress_of_visitor")]

    def __str__(self) -> str:
        return f"{self.visitor} in {self.lesson}"
