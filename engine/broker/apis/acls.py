"""DescribeAcls (29), CreateAcls (30), DeleteAcls (31): the controller's to answer, where there is an authorizer at all.

Versions: v1 brought prefixed patterns (KIP-290). Source: ``AclApis``.
"""

from __future__ import annotations

from engine.broker.apis import forwarding
from engine.broker.state import Broker
from engine.messages.admin import AdminResponse
from engine.messages.base import Request
from engine.messages.security import DescribeAclsRequest, DescribeAclsResponse
from engine.sim.outbox import Outbox

DISABLED = "SECURITY_DISABLED"
NO_AUTHORIZER = "No Authorizer is configured."


def handle(broker: Broker, source: str, request: Request, out: Outbox) -> None:
    if broker.authorizer.enabled:
        forwarding.handle(broker, source, request, out)
    elif isinstance(request, DescribeAclsRequest):
        out.send(source, DescribeAclsResponse(request.correlation_id, DISABLED, (), NO_AUTHORIZER))
    else:
        out.send(source, AdminResponse(request.correlation_id, DISABLED, (), NO_AUTHORIZER))
