"""The Django app of the lessons; makes sandboxes that belong to a lesson push its goals."""

from __future__ import annotations

from django.apps import AppConfig


class LearnConfig(AppConfig):
    name = "kafkalab.learn"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from kafkalab.learn.runs import goals_message
        from kafkalab.sandbox.hooks import LESSONS, add_extra

        add_extra(goals_message)
        LESSONS.append(_is_taught)


def _is_taught(slug: str) -> bool:
    from kafkalab.learn.catalogue import find_lesson

    return find_lesson(slug) is not None
