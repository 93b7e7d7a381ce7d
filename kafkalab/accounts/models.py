"""Owners: whoever sandboxes and progress belong to.

An owner is first a browser. A person who later signs in claims it by `user`, and what it made comes along.
"""

import uuid

from django.conf import settings
from django.db import models


class Owner(models.Model):
    """One browser, and perhaps the person behind it. Its id is what the visitor cookie holds."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, null=True, blank=True, related_name="owners")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return str(self.id)
