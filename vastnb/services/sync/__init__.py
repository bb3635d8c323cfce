"""Keeping up with the account and the market where nobody can call us: looks again and again, and publishes what changed.

1. `looking` takes from a listing what matters, and compares two of them; pure.
2. `Watcher` looks at the machines. A look and its events are written in one transaction, and only if nobody else was quicker: so
   nothing is missed and nothing comes twice, whoever looks.
3. `Sampler` looks at the market, by a plan, for the history and for price alerts; in a thread of its own, so that it delays no look.
4. Of all kernels and daemons of a user one does both: it holds a `Lease` in the state folder, and another takes it when that one dies.
5. What cannot be read changes nothing: an error is never taken for an empty list.

`running` is this process's part in it, `status` what is so now, whoever does it.
"""

from vastnb.services.sync.looking import Machine, Snapshot, changes, snapshot
from vastnb.services.sync.running import look_now, start_watching, stop_watching, watch
from vastnb.services.sync.sampler import Plan, Sampler, plan_of, put_plan
from vastnb.services.sync.status import SyncStatus, last_look, sync_status
from vastnb.services.sync.watcher import INTERVAL_S, Watcher

__all__ = [
    "INTERVAL_S",
    "Machine",
    "Plan",
    "Sampler",
    "Snapshot",
    "SyncStatus",
    "Watcher",
    "changes",
    "last_look",
    "look_now",
    "plan_of",
    "put_plan",
    "snapshot",
    "start_watching",
    "stop_watching",
    "sync_status",
    "watch",
]
