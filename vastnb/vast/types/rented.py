"""The column tables of what is rented: machines, and everything that costs."""

from __future__ import annotations

from vastnb.vast.types.columns import Column, number

__all__ = ["AUDIT", "INSTANCES"]

INSTANCES: tuple[Column, ...] = (
    Column("instance_id", "Int64", "the machine", head="Machine", form="d"),
    Column("name", "str", "what vastnb calls it", head="Name"),
    Column("state", "str", "what it does: provisioning, loading, running, stopping, stopped, outbid, queued, exited, failed, unknown or "
           "offline", head="State"),
    Column("gpu_name", "str", "GPU model", head="GPU"),
    Column("num_gpus", "Int64", "its GPUs", head="GPUs", form="d"),
    number("usd_per_hour", "", "what it costs as it is now: GPUs and disk, or the disk of a stopped one", "$/h", head="Costs", form="usd"),
    number("gpu_util", "", "share of its GPUs' time in use, 0 to 1", "", head="GPU use", form=".0%"),
    number("disk_used_gb", "", "disk in use", "GB"),
    number("disk_gb", "", "its disk", "GB", head="Disk", form=".0f"),
    Column("ends_at", "datetime64[us, UTC]", "when it ends itself; NA if nothing ends it", "UTC", head="Ends itself"),
    Column("note", "str", "what should be known about it", head="Note", form="long"),
    Column("ours", "boolean", "whether vastnb made it"),
    Column("rental", "str", "on-demand or bid"),
    number("disk_usd_per_hour", "", "its disk alone", "$/h"),
    number("min_bid_usd_per_hour", "", "what must be bid now, for all its GPUs", "$/h"),
    number("gpu_temp_c", "", "temperature of its GPUs", "°C"),
    Column("image", "str", "Docker image"),
    Column("label", "str", "its label, whole"),
    Column("status_msg", "str", "the service's words about it"),
    Column("geolocation", "str", "where it is"),
    Column("machine_id", "Int64", "the host's machine"),
    Column("ssh", "str", "how to reach it"),
    Column("started_at", "datetime64[us, UTC]", "when it was made", "UTC"),
    Column("host_ends_at", "datetime64[us, UTC]", "when its host takes it back", "UTC"),
    Column("seen_at", "datetime64[us, UTC]", "the service's clock", "UTC"),
)  # fmt: skip
"""Columns of `vastnb.instances`."""

AUDIT: tuple[Column, ...] = (
    Column("what", "str", "machine, stopped machine, volume, or a rental whose answer was lost", head="What"),
    Column("id", "Int64", "its number", head="Id", form="d"),
    Column("name", "str", "what vastnb calls it", head="Name"),
    number("usd_per_hour", "", "what it costs as it is now", "$/h", head="Costs", form="usd"),
    number("usd_per_day", "", "the same for 24 hours", "$/day", head="A day", form=".2f"),
    Column("since", "datetime64[us, UTC]", "since when it exists", "UTC", head="Since"),
    Column("why", "str", "why it looks forgotten, if it does", head="Why", form="long"),
    Column("end", "str", "the line that ends it", head="Ends it", form="long"),
    Column("ours", "boolean", "whether vastnb made it"),
    Column("ends_at", "datetime64[us, UTC]", "when it ends itself; NA if nothing ends it", "UTC"),
)
"""Columns of `vastnb.audit`."""

JOBS: tuple[Column, ...] = (
    Column("job_id", "str", "its name", head="Job"),
    Column("state", "str", "running, done, failed (its exit status is not 0), stopped, or lost (the machine was started anew)", head="State"),
    Column("code", "Int64", "exit status; NA while it runs, and if it is not known", head="Status", form="d"),
    Column("command", "str", "what it runs", head="Command", form="long"),
    Column("began_at", "datetime64[us, UTC]", "the machine's clock when it began", "UTC", head="Began"),
    Column("ended_at", "datetime64[us, UTC]", "the machine's clock when it ended", "UTC", head="Ended"),
    Column("stdout_bytes", "Int64", "what it printed so far", "bytes", head="Printed", form=",d"),
    Column("stderr_bytes", "Int64", "of errors", "bytes"),
)  # fmt: skip
"""Columns of `Instance.jobs`."""

KEEPS: tuple[Column, ...] = (
    Column("source", "str", "the folder on the machine", head="Folder"),
    Column("to", "str", "the last whole copy of it, here", head="Copy"),
    Column("state", "str", "kept (copied while the machine runs), job over, lost (its host is not heard of), leaving (it is given up, and another "
           "machine is looked for), arriving (another one is rented), or over (the machine is gone)", head="State"),
    Column("copied_at", "datetime64[us, UTC]", "the service's clock at the last whole copy; NA if there was none", "UTC", head="Copied"),
    Column("next_at", "datetime64[us, UTC]", "when the next one is due; NA if none is to come, or it is the first", "UTC", head="Next"),
    Column("files", "Int64", "files of the last whole copy", head="Files", form=",d"),
    number("size_gb", "", "their size", "GB", head="Size", form=".3g"),
    number("every_s", "", "how long from copy to copy", "s"),
    Column("instance_id", "Int64", "the machine that it is on now", head="Machine", form="d"),
    Column("name", "str", "what it is called", head="Name"),
    number("usd", "", "the traffic of all copies", "$", head="Traffic", form="usd"),
    Column("moves", "Int64", "how often it was moved to another machine", head="Moves", form="d"),
    Column("problem", "str", "why the last try failed; empty if it did not", head="Problem", form="long"),
)  # fmt: skip
"""Columns of `Instance.keeps`."""
