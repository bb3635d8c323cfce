"""Whether all is well: the way to the service, the account, what is kept on this computer, the notebook.

1. `measuring.look` tries everything at once, each with little patience, and none stops another: five requests at most.
2. `judging.judged` makes checks of what was seen. It is pure.
3. `health` makes a report of them, whatever was missing: without a key, without a network, with settings that cannot be read.

A machine's own checks are in `services.instances.checking`: they come of the same parts.
"""

from vastnb.services.health.reporting import health

__all__ = ["health"]
