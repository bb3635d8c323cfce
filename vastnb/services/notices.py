"""What a door wants to be told while something takes its time: only a door may show anything.

Imports nothing, so that a door can say so before anything heavy is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__: list[str] = []

announce: Callable[[Any], None] | None = None
"""Told of each wait before it (a `vastnb.infra.calls.Wait`)."""
show_progress: Callable[[Any], None] | None = None
"""Told how far a machine is (a `vastnb.services.instances.Progress`)."""
show_output: Callable[[str, str], None] | None = None
"""Told ``stdout`` or ``stderr``, and what a command on a machine has just printed there."""
show_message: Callable[[str, dict[str, Any]], None] | None = None
"""Told the type and content of a Jupyter message: what a cell on a machine shows."""
