"""What the tests of the site share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from asgiref.sync import sync_to_async
from django.db import connections

from kafkalab.sandbox import limiter
from kafkalab.sandbox.shelf import stop
from tests.web.visitors import Visitor


@pytest.fixture
async def visitor(transactional_db: None) -> AsyncIterator[Visitor]:
    """A visitor, on a shelf and with rate limits that no other test has used."""
    for each in (limiter.WRITES, limiter.CREATIONS, limiter.ADDRESSES):
        each.buckets.clear()
    limiter.WORK.accounts.clear()
    yield Visitor()
    await stop()
    await sync_to_async(connections.close_all)()


@pytest.fixture
def stranger(visitor: Visitor) -> Visitor:
    """Another browser."""
    return Visitor()
