"""Inputs that lead far: a seek or a change of branch may replay hundreds of thousands of deliveries, and goes slice by slice.

The lab's lock is held meanwhile, so that nobody acts in between; the other labs and the pages go on.
"""

from __future__ import annotations

from engine import limits
from kafkalab.sandbox.inputs import AnyInput, Sought, Switched, settle, slice_to, work_of
from kafkalab.sandbox.live import Live
from kafkalab.sandbox.share_of_core import ShareOfCore


async def travel(core: ShareOfCore, live: Live, until_us: int) -> None:
    """Lets a lab's time pass in slices, past breakpoints."""
    while not await core.slice(lambda deadline: slice_to(live.lab, until_us, deadline)):
        pass


async def make_way(core: ShareOfCore, live: Live, given: AnyInput) -> None:
    """Does the long part of ``given``, so that ``live.do`` only has to finish it. Raises EngineError, having changed nothing."""
    lab = live.lab
    if isinstance(given, Sought):
        settle(lab)
        lab.approach(given.at_us)
        until_us = given.at_us
    elif isinstance(given, Switched) and given.branch != lab.branch:
        settle(lab)
        line = lab.branches.get(given.branch)
        lab.turn_to(given.branch)
        if line is not None:
            live.departed = (line.parent, line.forked_at_us)
        until_us = lab.end_us
    else:
        return
    live.stale = True
    before = work_of(lab)
    await travel(core, live, until_us)
    live.spent += limits.CHECKPOINT_EVERY_DELIVERIES + max(work_of(lab) - before, 0)
