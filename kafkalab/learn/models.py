"""What a visitor has reached: in one sandbox of a lesson (a run), and in the lesson altogether (progress)."""

from __future__ import annotations

from django.db import models

from kafkalab.sandbox.models import Sandbox


class Progress(models.Model):
    """One visitor in one lesson. ``step``: the furthest that was reached; ``goals``: name → true once it was met; ``predictions``: id →
    what was said first, how sure, and what the engine said."""

    visitor = models.CharField(max_length=64)
    lesson = models.CharField(max_length=80)
    step = models.IntegerField(default=0)
    goals = models.JSONField(default=dict)
    predictions = models.JSONField(default=dict)
    done = models.BooleanField(default=False)
    updated = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["visitor", "lesson"], name="progress_of_visitor")]

    def __str__(self) -> str:
        return f"{self.visitor} in {self.lesson}"


class Run(models.Model):
    """One sandbox of a lesson. ``step`` is the one at work; ``begins``: the virtual time at which each step so far began; ``hints``: step →
    how many are shown; ``solutions``: the steps whose solution is shown."""

    sandbox = models.OneToOneField(Sandbox, on_delete=models.CASCADE, primary_key=True, related_name="run")
    step = models.IntegerField(default=0)
    begins = models.JSONField(default=list)
    goals = models.JSONField(default=dict)
    predictions = models.JSONField(default=dict)
    hints = models.JSONField(default=dict)
    solutions = models.JSONField(default=list)

    def __str__(self) -> str:
        return f"step {self.step} of {self.sandbox_id}"
