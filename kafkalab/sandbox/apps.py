"""The Django app of the sandboxes."""

from __future__ import annotations

from django.apps import AppConfig


class SandboxConfig(AppConfig):
    name = "kafkalab.sandbox"
    default_auto_field = "django.db.models.BigAutoField"
