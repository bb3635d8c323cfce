"""Every endpoint of the official client (vastai 1.9.1), the webhooks that it lacks, and whether the sandbox serves it.

The routes, the strict limits and the table in the docs are made from this one. An endpoint that is not served answers
as the real service does for a path it does not know: with the console's HTML page.
"""

import re
from typing import NamedTuple

_SERVED, _LATER = "served", "not served yet"
_RECORDED, _DOCUMENTED, _CLIENT = "recorded", "documented", "client only"


class Endpoint(NamedTuple):
    """One method and path."""

    method: str
    path: str
    """With trailing slash (both are accepted) and ``{id}`` for what varies."""
    what: str
    state: str
    """``served`` or ``not served yet``."""
    basis: str
    """Where the answer's shape is known from: ``recorded``, ``documented`` or ``client only`` (its source)."""
    min_interval_s: float = 0.0
    """Documented seconds between two requests of one identity, 0 if none is documented; see :mod:`limits`."""


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", "/api/v0/asks/bulk/", "create instances", _SERVED, _CLIENT),
    Endpoint("PUT", "/api/v0/asks/{id}/", "create instance", _SERVED, _DOCUMENTED, 4.5),
    Endpoint("GET", "/api/v0/audit_logs/", "show audit logs", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/auth/apikeys/", "show api keys", _SERVED, _DOCUMENTED, 1),
    Endpoint("POST", "/api/v0/auth/apikeys/", "create api-key", _SERVED, _DOCUMENTED, 2),
    Endpoint("DELETE", "/api/v0/auth/apikeys/{id}/", "delete api key", _SERVED, _DOCUMENTED, 2),
    Endpoint("GET", "/api/v0/auth/apikeys/{id}/", "show api key", _SERVED, _CLIENT),
    Endpoint("GET", "/api/v0/autojobs/", "show workergroups", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/autojobs/", "create workergroup", _LATER, _CLIENT),
    Endpoint("DELETE", "/api/v0/autojobs/{id}/", "delete workergroup", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/autojobs/{id}/", "update workergroup", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/benchmarks/", "search benchmarks", _SERVED, _DOCUMENTED, 3),
    Endpoint("GET", "/api/v0/bundles/", "search offers, as old clients ask", _SERVED, _CLIENT),
    Endpoint("POST", "/api/v0/bundles/", "search offers", _SERVED, _RECORDED),
    Endpoint("GET", "/api/v0/charges/", "show charges", _SERVED, _DOCUMENTED, 1),
    Endpoint("DELETE", "/api/v0/cluster/", "delete cluster", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/cluster/", "create cluster", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/cluster/", "join cluster", _LATER, _CLIENT),
    Endpoint("DELETE", "/api/v0/cluster/remove_machine/", "remove machine from cluster", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/clusters/", "show clusters", _LATER, _CLIENT),
    Endpoint("DELETE", "/api/v0/commands/copy_direct/", "cancel copy", _LATER, _DOCUMENTED),
    Endpoint("PUT", "/api/v0/commands/copy_direct/", "copy", _LATER, _DOCUMENTED),
    Endpoint("DELETE", "/api/v0/commands/rclone/", "cancel sync", _LATER, _DOCUMENTED),
    Endpoint("POST", "/api/v0/commands/rclone/", "cloud copy", _LATER, _DOCUMENTED),
    Endpoint("PUT", "/api/v0/commands/reset_apikey/", "reset api key", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/commands/rsync/", "copy between instances", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/commands/schedule_job/", "show scheduled jobs", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/commands/schedule_job/", "create scheduled job", _LATER, _CLIENT),
    Endpoint("DELETE", "/api/v0/commands/schedule_job/{id}/", "delete scheduled job", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/commands/schedule_job/{id}/", "update scheduled job", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/commands/transfer_credit/", "transfer credit", _LATER, _DOCUMENTED, 2.5),
    Endpoint("POST", "/api/v0/contracts/fetch/", "fetch contracts", _SERVED, _CLIENT),
    Endpoint("DELETE", "/api/v0/deployment/{id}/", "delete deployment", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/deployment/{id}/", "show deployment", _LATER, _DOCUMENTED, 3),
    Endpoint("GET", "/api/v0/deployment/{id}/download_url/", "download deployment", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/deployment/{id}/heartbeat/", "keep deployment alive", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/deployment/{id}/start/", "start deployment", _LATER, _DOCUMENTED, 2),
    Endpoint("POST", "/api/v0/deployment/{id}/stop/", "stop deployment", _LATER, _DOCUMENTED, 2),
    Endpoint("GET", "/api/v0/deployment/{id}/versions/", "show deployment versions", _LATER, _CLIENT),
    Endpoint("DELETE", "/api/v0/deployments/", "delete deployment by name", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/deployments/", "show deployments", _LATER, _DOCUMENTED, 3),
    Endpoint("PUT", "/api/v0/deployments/", "create or update deployment", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/endptjobs/", "show endpoints", _LATER, _DOCUMENTED, 3),
    Endpoint("POST", "/api/v0/endptjobs/", "create endpoint", _LATER, _DOCUMENTED, 4),
    Endpoint("DELETE", "/api/v0/endptjobs/{id}/", "delete endpoint", _LATER, _DOCUMENTED, 3),
    Endpoint("GET", "/api/v0/endptjobs/{id}/", "show endpoint", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/endptjobs/{id}/", "update endpoint", _LATER, _DOCUMENTED, 2),
    Endpoint("GET", "/api/v0/gpu_names/unique/", "list GPU names", _SERVED, _RECORDED),
    Endpoint("GET", "/api/v0/gpu_types/", "list GPU types with memory", _SERVED, _CLIENT),
    Endpoint("GET", "/api/v0/instance_backups/", "show instance backups", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/instance_backups/{id}/download/", "instance backup files", _LATER, _CLIENT),
    Endpoint("DELETE", "/api/v0/instances/", "destroy instances", _SERVED, _CLIENT),
    Endpoint("GET", "/api/v0/instances/", "list instances, deprecated: answers 410", _SERVED, _RECORDED),
    Endpoint("PUT", "/api/v0/instances/", "start or stop instances", _SERVED, _CLIENT),
    Endpoint("PUT", "/api/v0/instances/accept-price-increase/", "accept price increase", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/instances/balance/{id}/", "show deposit", _SERVED, _DOCUMENTED, 3),
    Endpoint("PUT", "/api/v0/instances/bid_price/{id}/", "change bid", _SERVED, _DOCUMENTED, 5.5),
    Endpoint("PUT", "/api/v0/instances/command/{id}/", "execute", _SERVED, _DOCUMENTED, 1.5),
    Endpoint("GET", "/api/v0/instances/filters/", "show instance filters", _SERVED, _CLIENT),
    Endpoint("GET", "/api/v0/instances/pending-price-increases/", "list pending price increases", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/instances/prepay/{id}/", "prepay instance", _SERVED, _DOCUMENTED, 2),
    Endpoint("PUT", "/api/v0/instances/reboot/{id}/", "reboot instance", _SERVED, _DOCUMENTED, 1),
    Endpoint("PUT", "/api/v0/instances/recycle/{id}/", "recycle instance", _SERVED, _DOCUMENTED, 1),
    Endpoint("PUT", "/api/v0/instances/reject-price-increase/", "reject price increase", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/instances/request_logs/{id}/", "show logs", _SERVED, _DOCUMENTED),
    Endpoint("POST", "/api/v0/instances/start/", "start instances", _SERVED, _DOCUMENTED, 2),
    Endpoint("POST", "/api/v0/instances/take_snapshot/{id}/", "take snapshot", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/instances/update_template/{id}/", "update instance", _LATER, _CLIENT),
    Endpoint("DELETE", "/api/v0/instances/{id}/", "destroy instance", _SERVED, _DOCUMENTED, 3),
    Endpoint("GET", "/api/v0/instances/{id}/", "show instance", _SERVED, _RECORDED, 2),
    Endpoint("PUT", "/api/v0/instances/{id}/", "manage instance", _SERVED, _DOCUMENTED, 1),
    Endpoint("GET", "/api/v0/instances/{id}/ssh/", "show attached ssh-keys", _SERVED, _DOCUMENTED),
    Endpoint("POST", "/api/v0/instances/{id}/ssh/", "attach ssh-key", _SERVED, _DOCUMENTED),
    Endpoint("DELETE", "/api/v0/instances/{id}/ssh/{id}/", "detach ssh-key", _SERVED, _DOCUMENTED, 2),
    Endpoint("GET", "/api/v0/invoices/", "search invoices", _SERVED, _CLIENT),
    Endpoint("PUT", "/api/v0/launch_instance/", "launch instance", _SERVED, _CLIENT, 5),
    Endpoint("GET", "/api/v0/machines/", "show machines", _LATER, _DOCUMENTED),
    Endpoint("PUT", "/api/v0/machines/create_asks/", "list machine", _LATER, _DOCUMENTED),
    Endpoint("PUT", "/api/v0/machines/create_bids/", "set defjob", _LATER, _DOCUMENTED, 2.8),
    Endpoint("PUT", "/api/v0/machines/defrag_offers/", "defrag machines", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/machines/maintenances/", "show maints", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/machines/{id}/", "show machine", _LATER, _CLIENT),
    Endpoint("DELETE", "/api/v0/machines/{id}/asks/", "unlist machine", _LATER, _DOCUMENTED, 1.8),
    Endpoint("PUT", "/api/v0/machines/{id}/cancel_maint/", "cancel maint", _LATER, _DOCUMENTED),
    Endpoint("PUT", "/api/v0/machines/{id}/cleanup/", "cleanup machine", _LATER, _DOCUMENTED, 8),
    Endpoint("DELETE", "/api/v0/machines/{id}/defjob/", "remove defjob", _LATER, _DOCUMENTED, 1.2),
    Endpoint("PUT", "/api/v0/machines/{id}/dnotify/", "schedule maint", _LATER, _DOCUMENTED, 2.5),
    Endpoint("POST", "/api/v0/machines/{id}/force_delete/", "delete machine", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/machines/{id}/minbid/", "set min-bid", _LATER, _DOCUMENTED, 1.5),
    Endpoint("GET", "/api/v0/machines/{id}/reports/", "show reports", _LATER, _DOCUMENTED, 1.2),
    Endpoint("GET", "/api/v0/metrics/gpu/current/", "show gpu metrics", _SERVED, _DOCUMENTED, 3),
    Endpoint("GET", "/api/v0/metrics/gpu/history/", "show gpu trends", _SERVED, _DOCUMENTED, 3),
    Endpoint("GET", "/api/v0/metrics/gpu/locations/", "show gpu locations", _SERVED, _DOCUMENTED, 3),
    Endpoint("GET", "/api/v0/network_disk/", "show network disks", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/network_disk/", "add network disk", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/network_volumes/", "list network volume", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/network_volumes/", "create network volume", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/network_volumes/search/", "search network volumes", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/network_volumes/unlist/", "unlist network volume", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/notification-types/", "list notification types", _SERVED, _DOCUMENTED),
    Endpoint("DELETE", "/api/v0/overlay/", "delete overlay", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/overlay/", "show overlays", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/overlay/", "create overlay", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/overlay/", "join overlay", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/search/asks/", "search offers, new form", _SERVED, _CLIENT),
    Endpoint("DELETE", "/api/v0/secrets/", "delete env var", _SERVED, _DOCUMENTED, 3),
    Endpoint("GET", "/api/v0/secrets/", "show env vars", _SERVED, _DOCUMENTED, 5),
    Endpoint("POST", "/api/v0/secrets/", "create env-var", _SERVED, _DOCUMENTED, 3),
    Endpoint("PUT", "/api/v0/secrets/", "update env var", _SERVED, _DOCUMENTED, 3),
    Endpoint("GET", "/api/v0/ssh/", "show ssh keys", _SERVED, _DOCUMENTED),
    Endpoint("POST", "/api/v0/ssh/", "create ssh-key", _SERVED, _DOCUMENTED, 1),
    Endpoint("DELETE", "/api/v0/ssh/{id}/", "delete ssh key", _SERVED, _DOCUMENTED),
    Endpoint("PUT", "/api/v0/ssh/{id}/", "update ssh key", _SERVED, _DOCUMENTED, 1),
    Endpoint("GET", "/api/v0/subaccounts/", "show subaccounts", _LATER, _DOCUMENTED, 2.1),
    Endpoint("DELETE", "/api/v0/team/", "destroy team", _LATER, _DOCUMENTED),
    Endpoint("POST", "/api/v0/team/", "create team", _LATER, _DOCUMENTED),
    Endpoint("POST", "/api/v0/team/invite/", "invite team member", _LATER, _DOCUMENTED),
    Endpoint("GET", "/api/v0/team/members/", "show team members", _LATER, _DOCUMENTED),
    Endpoint("DELETE", "/api/v0/team/members/{id}/", "remove team member", _LATER, _DOCUMENTED, 3),
    Endpoint("GET", "/api/v0/team/roles-full/", "show team roles", _LATER, _DOCUMENTED),
    Endpoint("POST", "/api/v0/team/roles/", "create team role", _LATER, _DOCUMENTED),
    Endpoint("DELETE", "/api/v0/team/roles/{id}/", "remove team role", _LATER, _DOCUMENTED, 3),
    Endpoint("GET", "/api/v0/team/roles/{id}/", "show team role", _LATER, _DOCUMENTED),
    Endpoint("PUT", "/api/v0/team/roles/{id}/", "update team role", _LATER, _DOCUMENTED),
    Endpoint("DELETE", "/api/v0/template/", "delete template", _SERVED, _DOCUMENTED),
    Endpoint("GET", "/api/v0/template/", "search templates", _SERVED, _DOCUMENTED, 3),
    Endpoint("POST", "/api/v0/template/", "create template", _SERVED, _DOCUMENTED),
    Endpoint("DELETE", "/api/v0/tfa/", "tfa delete", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/tfa/", "tfa login", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/tfa/authorize-new-method/", "tfa authorize new method", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/tfa/authorize-new-method/", "tfa confirm new method", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/tfa/confirm-new/", "tfa activate", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/tfa/email/", "tfa send email", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/tfa/regen-backup-codes/", "tfa regen codes", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/tfa/sms/", "tfa send sms", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/tfa/sms/resend/", "tfa resend sms", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/tfa/status/", "tfa status", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/tfa/totp-setup/", "tfa totp setup", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/tfa/update/", "tfa update", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/users/", "create subaccount", _LATER, _DOCUMENTED, 3),
    Endpoint("PUT", "/api/v0/users/", "set user", _LATER, _DOCUMENTED, 5),
    Endpoint("GET", "/api/v0/users/cloud_integrations/", "show connections", _LATER, _DOCUMENTED, 2.9),
    Endpoint("GET", "/api/v0/users/current/", "show user", _SERVED, _DOCUMENTED),
    Endpoint("GET", "/api/v0/users/me/invoices/", "show invoices", _SERVED, _CLIENT),
    Endpoint("GET", "/api/v0/users/me/ipaddrs/", "show ipaddrs", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/users/me/machine-earnings/", "show earnings", _LATER, _CLIENT),
    Endpoint("GET", "/api/v0/users/{id}/ipaddrs/", "show ipaddrs", _LATER, _DOCUMENTED, 2.9),
    Endpoint("GET", "/api/v0/users/{id}/machine-earnings/", "show earnings", _LATER, _DOCUMENTED, 2),
    Endpoint("DELETE", "/api/v0/volumes/", "delete volume", _SERVED, _DOCUMENTED),
    Endpoint("GET", "/api/v0/volumes/", "list volumes", _SERVED, _DOCUMENTED, 5.5),
    Endpoint("POST", "/api/v0/volumes/", "list volume", _LATER, _CLIENT),
    Endpoint("PUT", "/api/v0/volumes/", "rent volume", _SERVED, _DOCUMENTED, 5.5),
    Endpoint("POST", "/api/v0/volumes/copy/", "clone volume", _LATER, _CLIENT),
    Endpoint("POST", "/api/v0/volumes/search/", "search volumes", _SERVED, _DOCUMENTED),
    Endpoint("POST", "/api/v0/volumes/unlist/", "unlist volume", _LATER, _DOCUMENTED),
    Endpoint("GET", "/api/v0/webhooks/", "list webhooks", _SERVED, _DOCUMENTED),
    Endpoint("POST", "/api/v0/webhooks/", "create webhook", _SERVED, _DOCUMENTED),
    Endpoint("DELETE", "/api/v0/webhooks/{id}/", "delete webhook", _SERVED, _DOCUMENTED),
    Endpoint("PUT", "/api/v0/webhooks/{id}/", "update webhook", _SERVED, _DOCUMENTED),
    Endpoint("POST", "/api/v0/webhooks/{id}/rotate-secret/", "rotate webhook secret", _SERVED, _DOCUMENTED),
    Endpoint("POST", "/api/v0/webhooks/{id}/test/", "test webhook", _SERVED, _DOCUMENTED),
    Endpoint("GET", "/api/v0/workergroups/", "show workergroup", _LATER, _DOCUMENTED, 2),
    Endpoint("POST", "/api/v0/workergroups/", "create workergroup", _LATER, _DOCUMENTED, 4),
    Endpoint("DELETE", "/api/v0/workergroups/{id}/", "delete workergroup", _LATER, _DOCUMENTED, 3),
    Endpoint("PUT", "/api/v0/workergroups/{id}/", "update workergroup", _LATER, _DOCUMENTED, 2),
    Endpoint("GET", "/api/v1/instances/", "show instances", _SERVED, _DOCUMENTED, 1),
    Endpoint("GET", "/api/v1/invoices/", "show invoices", _SERVED, _DOCUMENTED, 3),
    Endpoint("PUT", "/api/v1/template/", "update template", _LATER, _CLIENT),
)
"""By path, then method. ``users/me`` paths are what the client sends for the documented ``users/{user_id}``."""


def find(method: str, path: str) -> Endpoint | None:
    """Return the endpoint that a request is for, or ``None``; a fixed path goes before one with ``{id}``."""
    path = path.rstrip("/") + "/"
    for endpoint in _BY_METHOD.get(method, ()):
        if _PATTERNS[endpoint.path].fullmatch(path):
            return endpoint
    return None


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.escape(path).replace(r"\{id\}", "[^/]+"))


_PATTERNS = {endpoint.path: _pattern(endpoint.path) for endpoint in ENDPOINTS}
_BY_METHOD = {
    method: sorted((e for e in ENDPOINTS if e.method == method), key=lambda e: e.path.count("{id}"))
    for method in ("GET", "POST", "PUT", "DELETE")
}
