"""Work on a machine: commands, files, logs. Through the computer's own OpenSSH and rsync.

``address`` (where a machine is reached), ``failures`` (what ssh's words mean) and ``scripts`` (what runs over there) are pure;
``connection`` is the one place where ssh is started; ``running`` follows a command, ``jobs`` are those that run by themselves.
Knows records of machines, and nothing of renting.
"""

from vastnb.services.remote.address import Address, address_of
from vastnb.services.remote.config import forget_entry, write_entry
from vastnb.services.remote.connection import Connection
from vastnb.services.remote.files import Copied, Copy, Moving, Way
from vastnb.services.remote.jobs import Job, find_job, jobs_frame, read_jobs
from vastnb.services.remote.keys import key_file, public_key
from vastnb.services.remote.running import OnOutput, Ran, follow

__all__ = [
    "Address",
    "Connection",
    "Copied",
    "Copy",
    "Job",
    "Moving",
    "OnOutput",
    "Ran",
    "Way",
    "address_of",
    "find_job",
    "follow",
    "forget_entry",
    "jobs_frame",
    "key_file",
    "public_key",
    "read_jobs",
    "write_entry",
]
