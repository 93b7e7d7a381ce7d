"""The Django app of the lessons."""

from __future__ import annotations

from django.apps import AppConfig


class LearnConfig(AppConfig):
    name = "kafkalab.learn"
    default_auto_field = "django.db.models.BigAutoField"
