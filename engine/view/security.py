"""Quotas, ACLs and users as the stage shows them: what the metadata says, and what each broker measures of it."""

from __future__ import annotations

from engine.broker.node import BrokerNode
from engine.metadata.client_quotas import CLIENT_ID, USER
from engine.metadata.image import MetadataImage
from engine.sim.kernel import Kernel
from engine.view.tree import AclView, QuotaUsageView, QuotaView, SecurityView


def security_view(kernel: Kernel, image: MetadataImage) -> SecurityView:
    nodes = [host.node for host in kernel.hosts.values() if isinstance(host.node, BrokerNode)]
    view = SecurityView(authorizer=any(node.authorizer.enabled for node in nodes))
    if image.acls:
        view.acls = [
            AclView(acl.principal, acl.permission, acl.operation, acl.resource_type, acl.resource_name, acl.pattern_type, acl.host)
            for acl in image.acls.values()
        ]
    for who, limits in image.quotas.items():
        parts = dict(who)
        user = (parts[USER] or "") if USER in parts else None
        client_id = (parts[CLIENT_ID] or "") if CLIENT_ID in parts else None
        view.quotas.append(QuotaView(user, client_id, dict(limits)))
    view.users = sorted({user for user, _ in image.scram})
    for node in nodes:
        if node.usage:
            view.usage += _usage(node, kernel.now)
    return view


def _usage(node: BrokerNode, now_us: int) -> list[QuotaUsageView]:
    settings, found = node.settings, []
    for (quota, user, client_id), usage in node.usage.items():
        rate = usage.peek(now_us // 1000, settings.quota_window_num, settings.quota_window_ms)
        left_ms = max(usage.throttled_us + usage.throttle_time_ms * 1000 - now_us, 0) // 1000 if usage.throttled_us else 0
        found.append(QuotaUsageView(node.broker_id, quota, user, client_id, round(rate, 3), usage.limit, left_ms))
    return found
