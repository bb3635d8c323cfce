"""What happens, kept until every handler has dealt with it.

1. `Queue.add` writes events, each once by its id, to disk before it returns. Webhook endpoint and watcher do so in any process.
2. A handler sees what was written after it was first named, of the kinds it asked for; it is known by its name, in all kernels together.
3. Its thread in a `Bus` claims one event at a time, runs the handler, and notes that it is done. A claim whose process died is taken again.
4. A handler that raises is tried again with growing pauses; after the last the event is left as dead, with the reason.

A handler has a thread of its own, so a slow or failing one delays no other. Nothing here knows of machines: `handlers` does.
"""

from vastnb.services.events.bus import Bus, default_bus, on
from vastnb.services.events.queue import Event, Handler, Queue, queue_of
from vastnb.services.events.table import events

__all__ = ["Bus", "Event", "Handler", "Queue", "default_bus", "events", "on", "queue_of"]
