"""The column tables of what else the service tells: templates, benchmarks, market metrics, volumes, ssh keys, the account."""

from __future__ import annotations

from dataclasses import replace

from vastnb.vast.types.columns import FIELDS, OFFERS, Ask, Column

__all__ = ["ACCOUNT", "BENCHMARKS", "LOCATIONS", "METRICS", "SSH_KEYS", "TEMPLATES", "TRENDS", "VOLUMES"]


def _text(name: str, source: str, meaning: str, *, ask: str = "", head: str = "", form: str = "") -> Column:
    return Column(name, "str", meaning, source=source, ask=Ask(ask, "text") if ask else None, head=head, form=form)


def _count(name: str, source: str, meaning: str, *, ask: str = "", head: str = "") -> Column:
    return Column(name, "Int64", meaning, source=source, ask=Ask(ask, "integer") if ask else None, head=head, form=",d")


def _flag(name: str, source: str, meaning: str, *, ask: str = "", head: str = "") -> Column:
    return Column(name, "boolean", meaning, source=source, ask=Ask(ask, "flag") if ask else None, head=head)


def _time(name: str, source: str, meaning: str, *, head: str = "") -> Column:
    return Column(name, "datetime64[us, UTC]", meaning, "UTC", source, head=head)


def _usd(name: str, source: str, meaning: str, *, head: str = "", unit: str = "$/h") -> Column:
    return Column(name, "float64", meaning, unit, source, head=head, form="usd", low=0)


TEMPLATES: tuple[Column, ...] = (
    replace(_count("template_id", "id", "the template", ask="id", head="Template"), form="d"),
    _text("name", "name", "as shown", ask="name", head="Name"),
    _text("image", "image", "Docker image", ask="image", head="Image"),
    _text("tag", "tag", "version of the image", ask="tag", head="Tag"),
    _text("hash_id", "hash_id", "what a rental names it by", ask="hash_id"),
    _flag("recommended", "recommended", "whether Vast recommends it", ask="recommended", head="Recommended"),
    _flag("private", "private", "yours alone", ask="private"),
    _flag("ssh", "use_ssh", "whether it starts an ssh server", ask="use_ssh", head="ssh"),
    _flag("ssh_direct", "ssh_direct", "ssh without a proxy", ask="ssh_direct"),
    _flag("jupyter_direct", "jup_direct", "Jupyter without a proxy", ask="jup_direct"),
    Column("disk_gb", "float64", "disk that is recommended", "GB", "recommended_disk_space",
           ask=Ask("recommended_disk_space", unit="disk"), head="Disk", form=".0f", low=0),
    _count("rentals", "count_created", "machines made from it", ask="count_created", head="Rentals"),
    replace(_count("creator_id", "creator_id", "who made it", ask="creator_id"), form="d"),
    _time("created_at", "created_at", "when it was made"),
    _time("last_rented_at", "recent_create_date", "when a machine was last made from it"),
    _text("runtype", "runtype", "ssh, jupyter or args"),
    _text("description", "desc", "in its maker's words"),
)  # fmt: skip
"""Columns of ``show("templates")``."""

BENCHMARKS: tuple[Column, ...] = (
    replace(_count("benchmark_id", "id", "the measurement", ask="id"), form="d"),
    Column("gpu_name", "str", "GPU model", source="gpu_name", ask=Ask("gpu_name", "gpu"), head="GPU"),
    _count("num_gpus", "num_gpus", "GPUs that were used", ask="num_gpus", head="GPUs"),
    _text("type", "type", "what was measured", ask="type", head="Kind"),
    Column("value", "float64", "the result; its unit is that of the kind", "", "value", ask=Ask("value"), head="Result", form=",.2f"),
    _usd("gpu_usd_per_hour", "dph_base", "price of the GPUs at the time", head="Price"),
    _text("image", "image", "Docker image that was run", ask="image"),
    _text("launch_args", "launch_args", "how it was run"),
    _time("measured_at", "last_update", "when", head="Measured"),
    replace(_count("machine_id", "machine_id", "the machine", ask="machine_id", head="Machine"), form="d"),
    replace(_count("contract_id", "contract_id", "the rental it ran in", ask="contract_id"), form="d"),
    replace(_count("template_id", "template_id", "the template", ask="template_id"), form="d"),
    _text("template_hash", "template_hash", "the template's hash", ask="template_hash"),
)  # fmt: skip
"""Columns of ``show("benchmarks")``."""

METRICS: tuple[Column, ...] = (
    _text("gpu_name", "gpu_name", "GPU model", head="GPU"),
    _count("machines", "total", "machines with it", head="Machines"),
    _count("available", "available", "of them free", head="Free"),
    _count("available_verified", "avail_verified", "free and verified"),
    _count("available_unverified", "avail_unverified", "free and not verified"),
    _count("rented_verified", "rented_verified", "rented and verified"),
    _count("rented_unverified", "rented_unverified", "rented and not verified"),
    Column("usage", "float64", "share that is rented now", "0..1", "usage", 0.01, head="Rented", form=".0%"),
    Column(
        "usage_30d",
        "float64",
        "share that was rented in the last 30 days",
        "0..1",
        "usage_30d",
        0.01,
        head="30 days",
        form=".0%",
    ),
    _usd("usd_per_gpu_hour_p10", "price_p10", "a tenth is cheaper", head="10 %"),
    _usd("usd_per_gpu_hour_p25", "price_p25", "a quarter is cheaper"),
    _usd("usd_per_gpu_hour_median", "price_median", "half is cheaper", head="Median"),
    _usd("usd_per_gpu_hour_p75", "price_p75", "three quarters are cheaper"),
    _usd("usd_per_gpu_hour_p90", "price_p90", "nine tenths are cheaper", head="90 %"),
    Column("dlperf", "float64", "Vast's deep learning score of one GPU", "score", "dlperf", head="DLPerf", form=".0f"),
    Column("tflops", "float64", "peak of one GPU, 32 bit", "TFLOPS", "tflops", head="TFLOPS", form=".0f"),
    Column(
        "dlperf_per_usd",
        "float64",
        "`dlperf` for a dollar an hour",
        "",
        "dlperf_per_dollar",
        head="DLPerf/$",
        form=".0f",
    ),
    Column("tflops_per_usd", "float64", "`tflops` for a dollar an hour", "", "tflops_per_dollar", form=".0f"),
)
"""Columns of ``show("metrics")``."""

TRENDS: tuple[Column, ...] = (
    _text("gpu_name", "gpu_name", "GPU model", head="GPU"),
    _time("at", "timestamp", "the moment", head="At"),
    _count("machines", "total", "machines with it", head="Machines"),
    _count("available_verified", "avail_verified", "free and verified", head="Free"),
    _count("available_unverified", "avail_unverified", "free and not verified"),
    _count("rented_verified", "rented_verified", "rented and verified", head="Rented"),
    _count("rented_unverified", "rented_unverified", "rented and not verified"),
    _usd("available_usd_per_gpu_hour_p10", "avail_p10", "of the free ones, a tenth is cheaper"),
    _usd("available_usd_per_gpu_hour_median", "avail_median", "of the free ones, half is cheaper", head="Median, free"),
    _usd("available_usd_per_gpu_hour_p90", "avail_p90", "of the free ones, nine tenths are cheaper"),
    _usd("rented_usd_per_gpu_hour_p10", "rented_p10", "of the rented ones, a tenth is cheaper"),
    _usd(
        "rented_usd_per_gpu_hour_median", "rented_median", "of the rented ones, half is cheaper", head="Median, rented"
    ),
    _usd("rented_usd_per_gpu_hour_p90", "rented_p90", "of the rented ones, nine tenths are cheaper"),
)
"""Columns of ``show("trends")``: one row a model and moment."""

LOCATIONS: tuple[Column, ...] = (
    _text("country", "country_code", "country, two letters", head="Country"),
    _text("city", "city", "city, where it is known", head="City"),
    _text("gpu_name", "gpu_name", "GPU model", head="GPU"),
    _count("num_gpus", "num_gpus", "GPUs in the machine", head="GPUs"),
    _flag("rented", "rented", "whether somebody rents it", head="Rented"),
    _flag("verified", "verified", "whether Vast has checked it", head="Verified"),
    _flag("datacenter", "datacenter", "whether it stands in a data centre", head="Data centre"),
    Column("latitude", "float64", "north of the equator", "°", "latitude", low=-90, high=90),
    Column("longitude", "float64", "east of Greenwich", "°", "longitude", low=-180, high=180),
)
"""Columns of ``show("locations")``: one row a machine."""

_OFFER = {column.name: column for column in (*OFFERS, *FIELDS)}
_OF_OFFERS = ("disk_mbps", "inet_down_mbps", "inet_up_mbps", "reliability", "geolocation", "verification", "static_ip",
              "driver_version", "cuda_max", "available_until", "duration_s", "machine_id", "host_id", "cpu_arch", "cpu_name",
              "cpu_ghz", "gpu_arch", "disk_name")  # fmt: skip
VOLUMES: tuple[Column, ...] = (
    replace(_count("volume_offer_id", "ask_contract_id", "the offer of disk", ask="id", head="Offer"), form="d"),
    Column("disk_max_gb", "float64", "largest volume you can ask for", "GB", "disk_space",
           ask=Ask("disk_space", unit="disk"), head="Up to", form=",.0f", low=0),
    Column("storage_usd_per_gb_month", "float64", "price", "$/GB/month", "storage_cost",
           ask=Ask("storage_cost", unit="money"), head="Price", form=".3f", low=0),
    _usd("usd_per_hour", "storage_total_cost", "price of the asked size"),
    *(replace(_OFFER[name], head={"disk_mbps": "Disk", "inet_down_mbps": "Down", "reliability": "Reliability",
                                  "geolocation": "Place", "machine_id": "Machine"}.get(name, ""))
      for name in _OF_OFFERS),
)  # fmt: skip
"""Columns of ``show("volumes")``."""

SSH_KEYS: tuple[Column, ...] = (
    replace(_count("ssh_key_id", "id", "the key", head="Key"), form="d"),
    _text("kind", "kind", "algorithm", head="Kind"),
    _text("comment", "comment", "as its maker named it", head="Comment"),
    _text("fingerprint", "fingerprint", "as `ssh-keygen -l` shows it", head="Fingerprint", form="long"),
    _time("created_at", "created_at", "when it was registered", head="Registered"),
    _text("public_key", "key", "the whole public key"),
)
"""Columns of ``show("ssh-keys")``."""

ACCOUNT: tuple[Column, ...] = (
    replace(_count("user_id", "id", "the account", head="User"), form="d"),
    _text("email", "email", "as registered", head="Email"),
    _text("username", "username", "as shown to others"),
    _usd("credit_usd", "credit", "prepaid", head="Credit", unit="$"),
    _usd("balance_usd", "balance", "owed or left, as the service counts", head="Balance", unit="$"),
)
"""Columns of ``show("user")``: one row."""
