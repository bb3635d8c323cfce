"""Whether a machine does what it should: its state against what was asked of it, what answers on it, its GPUs, disk, time and cost.

1. Whoever calls has looked at the machine again, or tried to.
2. `_reached` tries its ports, all at once and with little patience. Behind a machine of the practice market there may be nothing: then none
   of a stranger's ports is tried instead.
3. `judged` makes checks of it. It is pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from vastnb.errors import VastError
from vastnb.infra import probes
from vastnb.services.checks import PATIENCE, Check, HealthReport, Tried, failed, fine, left_out, odd, together
from vastnb.services.instances.looks import per_hour
from vastnb.services.instances.spending import usd_per_hour_now
from vastnb.services.instances.states import DEAD, Phase, phase_of
from vastnb.services.journal import Rental
from vastnb.vast.client import Client
from vastnb.vast.client.external import status_from
from vastnb.vast.render import plain, source_of
from vastnb.vast.types.records import InstanceRecord

__all__ = ["Sighting", "checked", "judged"]

_GREETINGS = 3
_JUPYTER = "8080/tcp"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_DISK_NEARLY_FULL, _GPU_HOT_C, _UNRELIABLE = 0.9, 88.0, 0.9
_WORSE = {"inet_down_mbps": 0.5, "inet_up_mbps": 0.5, "dlperf": 0.8, "reliability": 0.95}
"""Below this share of what was advertised a figure is worth a word: measurements differ by themselves."""
_SOON_S = 3600.0
_STUCK_S = 900.0
_LATE_S = 300.0
"""A machine that should have ended itself so long ago did not."""
_DEARER = 1.001


class Sighting(NamedTuple):
    """A machine as it was last seen."""

    record: InstanceRecord | None
    """None if it is gone, or not listed yet."""
    row: Rental | None
    """What the journal holds of it; None if vastnb did not make it."""
    now: float
    """The service's clock, seconds since 1970."""
    problem: VastError | None = None
    """Why it could not be looked at again."""

    @property
    def phase(self) -> Phase | None:
        """What it does; None if it is not there."""
        record = self.record
        return None if record is None else phase_of(record, was_stopped=self.row is not None and self.row.was_stopped)


def checked(client: Client, called: str, sighting: Sighting) -> HealthReport:
    """The report on a machine; takes some seconds at most."""
    tries = _reached(sighting, client.settings.timeout_s * PATIENCE, practice=client.settings.local)
    practice = client.settings.profile == "sandbox"
    about = {"source": "sandbox" if practice else "vast", "url": client.settings.url, "account": client.account_name}
    return HealthReport(
        subject=called,
        checks=tuple(judged(sighting, tries)),
        at=datetime.fromtimestamp(sighting.now, UTC),
        source=source_of(about),
    )


def _reached(sighting: Sighting, patience_s: float, *, practice: bool) -> Mapping[str, Tried]:
    """What came of trying its ports; those that are not tried are missing."""
    record = sighting.record
    if record is None or sighting.phase != "running":
        return {}
    ways: dict[str, Callable[[], Any]] = {}
    if record.ssh_host and record.ssh_port and _may_try(record.ssh_host, practice=practice):
        host, port = record.ssh_host, record.ssh_port
        ways["ssh"] = lambda: [probes.greeting(host, port, timeout_s=patience_s) for _ in range(_GREETINGS)]
    url = _jupyter_url(record)
    if url is not None and _may_try(record.public_ip or "", practice=practice):
        ways["jupyter"] = lambda: status_from(url, timeout_s=patience_s)
    return together(ways, within_s=2 * patience_s) if ways else {}


def _may_try(host: str, *, practice: bool) -> bool:
    return host in _LOOPBACK or not practice


def _jupyter_url(record: InstanceRecord) -> str | None:
    """Where its Jupyter is, if its port is open."""
    found = (record.ports or {}).get(_JUPYTER)
    port = found[0].get("HostPort") if isinstance(found, list) and found and isinstance(found[0], dict) else None
    ip = (record.public_ip or "").strip()
    if not ip or not str(port).isdecimal():
        return None
    return f"{'http' if ip in _LOOPBACK else 'https'}://{ip}:{port}/api"


# -------------------------------------------------------- judging


def judged(sighting: Sighting, tries: Mapping[str, Tried]) -> list[Check]:
    """The checks of a machine.

    Parameters
    ----------
    sighting
        As it was last seen.
    tries
        What came of trying ``ssh`` and ``jupyter``.
    """
    record, problem = sighting.record, sighting.problem
    if record is None:
        return [_absent(problem)]
    return [
        *([_unseen(problem)] if problem is not None else []),
        _state(sighting, record),
        _ssh(sighting, tries.get("ssh")),
        _web(sighting, tries.get("jupyter"), record),
        _gpu(sighting, record),
        _disk(record),
        _figures(record, sighting.row),
        _quoted(record, sighting.row),
        _time(sighting, record),
        _cost(sighting, record),
    ]


def _unseen(problem: VastError) -> Check:
    return failed("service", f"it could not be looked at again: {problem.message}", problem.hint or "%vast health")


def _absent(problem: VastError | None) -> Check:
    if problem is not None:
        return failed("state", problem.message, problem.hint or "%vast audit shows what there is")
    return left_out("state", "it is not listed yet; a new machine may be missing for some seconds")


def _state(sighting: Sighting, record: InstanceRecord) -> Check:
    phase, row = sighting.phase, sighting.row
    if phase == "running":
        return fine("state", "running, as was asked")
    if phase == "stopped" and row is not None and row.was_stopped:
        return fine("state", "stopped, as was asked; its disk is billed")
    if phase in DEAD:
        said = f" ({plain(record.status_msg)})" if record.status_msg and phase in ("failed", "exited") else ""
        return failed("state", f"{phase}{said}; it will not run by itself", _REMEDIES[phase])
    if phase in ("provisioning", "loading"):
        return _beginning(phase, sighting.now - (row.sent_at if row is not None else record.start_date or sighting.now))
    return odd(
        "state",
        str(phase),
        "it waits for GPUs that somebody else has, perhaps for ever: take another" if phase == "queued" else "wait",
    )


def _beginning(phase: str, for_s: float) -> Check:
    said = f"{phase} for {for_s / 60:.0f} min"
    if for_s > _STUCK_S:
        return odd(
            "state", f"{said}, which is too long", "%vast destroy, and take another; its disk is billed meanwhile"
        )
    return fine("state", f"{said}, as a machine does at first")


_REMEDIES: Mapping[str | None, str] = {
    "exited": "%vast reboot starts its container again; %vast destroy ends it",
    "failed": "destroy it and launch with an image that exists and fits",
    "unknown": "its host is silent: wait a little, or destroy it and take another",
    "offline": "its host is gone; nothing is billed meanwhile. Take another for what is urgent",
    "stopped": "%vast start, or %vast destroy: its disk is billed",
    "outbid": "%vast bid NAME USD raises the bid, or %vast destroy: its disk is billed",
}


def _not_running(name: str, sighting: Sighting) -> Check | None:
    return None if sighting.phase == "running" else left_out(name, f"it is {sighting.phase}")


def _ssh(sighting: Sighting, found: Tried | None) -> Check:
    if (missing := _not_running("ssh", sighting)) is not None:
        return missing
    if found is None:
        return left_out("ssh", "it has no SSH port, or is a practice machine with nothing behind it")
    if found.error is not None:
        return failed(
            "ssh",
            found.error.message,
            "it may still be starting; then %vast reboot, and port 22 must not be closed in its image",
        )
    ms, lines = [each for each, _ in found.value], {line for _, line in found.value}
    if any(not line.startswith(b"SSH-") for line in lines):
        return failed(
            "ssh",
            "something else than SSH answers on its port",
            "%vast reboot; if that does not help take another machine",
            ms,
        )
    return fine("ssh", f"{plain(min(lines).decode('ascii', 'replace'), 60)} answers", ms)


def _web(sighting: Sighting, found: Tried | None, record: InstanceRecord) -> Check:
    if (missing := _not_running("jupyter", sighting)) is not None:
        return missing
    if found is None:
        asked = "jupyter" in (record.runtype or "")
        return left_out("jupyter", "a practice machine with nothing behind it" if asked else "it has no Jupyter")
    if found.error is not None:
        return odd("jupyter", found.error.message, "it may still be starting; %vast logs says more")
    if found.value >= 500:
        return odd("jupyter", f"it answers with status {found.value}", "%vast logs says more", [found.ms])
    return fine("jupyter", "answers", [found.ms])


def _gpu(sighting: Sighting, record: InstanceRecord) -> Check:
    if (missing := _not_running("gpu", sighting)) is not None:
        return missing
    if record.gpu_util is None and record.gpu_temp_c is None:
        return odd(
            "gpu",
            "no figures of its GPUs have come yet",
            "a minute after the start they should: does nvidia-smi work there?",
        )
    parts = [
        ("{:.0%} in use", record.gpu_util), ("{:.1f} GB of memory", record.gpu_ram_used_gb), ("{:.0f} °C", record.gpu_temp_c)
    ]  # fmt: skip
    said = f"{_gpus(record)}: {', '.join(form.format(value) for form, value in parts if value is not None)}"
    if record.gpu_temp_c is not None and record.gpu_temp_c > _GPU_HOT_C:
        return odd("gpu", said, "so hot they slow down: another machine may be quicker")
    return fine("gpu", said)


def _gpus(record: InstanceRecord) -> str:
    return f"{record.num_gpus} x {plain(record.gpu_name or '?')}"


def _disk(record: InstanceRecord) -> Check:
    used, size = record.disk_used_gb, record.disk_gb
    if used is None or not size:
        return left_out("disk", "how full it is is not told")
    said = f"{used:,.1f} of {size:,.0f} GB used"
    if used > size * _DISK_NEARLY_FULL:
        return odd("disk", said, "remove something: a full disk breaks what runs, and it cannot be made larger")
    return fine("disk", said)


def _figures(record: InstanceRecord, row: Rental | None) -> Check:
    """What the service measures of the host now, beside what its offer said when it was rented."""
    parts = [
        ("{:,.0f} Mbit/s down", record.inet_down_mbps), ("{:,.0f} up", record.inet_up_mbps), ("DLPerf {:,.0f}", record.dlperf),
        ("reliability {:.1%}", record.reliability),
    ]  # fmt: skip
    said = ", ".join(form.format(value) for form, value in parts if value is not None)
    if not said:
        return left_out("figures", "none are told")
    if record.inet_down_mbps is not None and record.inet_down_mbps <= 0:
        return odd("figures", said, "no download was measured: try one before you rely on it")
    worse = _worse(record, row.quote.get("advertised", {}) if row is not None else {})
    if worse:
        return odd("figures", f"{said}; its offer said {worse}", "if it matters to you, %vast destroy and take another")
    if record.reliability is not None and record.reliability < _UNRELIABLE:
        return odd("figures", said, "save your work elsewhere often: machines of this host vanish")
    return fine("figures", said)


def _worse(record: InstanceRecord, advertised: Mapping[str, float]) -> str:
    """What was advertised and is clearly less now, in words."""
    return ", ".join(
        f"{name} {said:,.4g}"
        for name, said in advertised.items()
        if (now := getattr(record, name, None)) is not None and now < said * _WORSE.get(name, 0.0)
    )


def _quoted(record: InstanceRecord, row: Rental | None) -> Check:
    """Whether it is the machine, and at the price, that was agreed."""
    if row is None or not row.quote:
        return left_out("quote", "vastnb did not rent it, or on another computer")
    name, count = row.quote.get("gpu_name"), row.quote.get("num_gpus")
    if (name, count) != (record.gpu_name, record.num_gpus):
        quoted = f"{count} x {plain(str(name))}"
        return failed("quote", f"{_gpus(record)}, and {quoted} was quoted", "%vast destroy, and tell Vast's support")
    now = record.usd_per_hour
    if now is not None and now > row.usd_per_hour * _DEARER:
        return odd(
            "quote",
            f"{per_hour(now)}, and {per_hour(row.usd_per_hour)} was agreed",
            "has its host raised the price? %vast destroy ends it",
        )
    return fine("quote", f"{_gpus(record)} for {per_hour(row.usd_per_hour)}, as quoted")


def _time(sighting: Sighting, record: InstanceRecord) -> Check:
    row, now = sighting.row, sighting.now
    ends = row.ends_at if row is not None else None
    if ends is not None and now - ends > _LATE_S:
        return failed("time", f"it should have ended itself {_moment(ends)}", "%vast destroy ends it")
    ends = min((moment for moment in (ends, record.end_date) if moment is not None), default=None)
    if ends is None:
        return fine("time", "nothing ends it but you")
    who = "its host takes it back" if ends == record.end_date else "it ends itself"
    said = f"{who} {_moment(ends)}, in {max(0.0, ends - now) / 3600:,.1f} h"
    return (
        odd("time", said, "fetch what you need; %vast extend moves an end of its own")
        if ends - now < _SOON_S
        else fine("time", said)
    )


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def _cost(sighting: Sighting, record: InstanceRecord) -> Check:
    usd = usd_per_hour_now(record, phase_of(record))
    if usd is None:
        return odd("cost", "its price is not known", "Vast's console shows it")
    row = sighting.row
    most = f", at most ${row.most_usd:,.2f} in all" if row is not None and row.most_usd is not None else ""
    return fine("cost", f"{per_hour(usd)} as it is now{most}")
