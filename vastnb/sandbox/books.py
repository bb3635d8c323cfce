"""Who rents in the sandbox, what they hold, and what they owe: accounts, instances and a ledger.

Money is kept in whole micro-dollars, so that bills add up to the cent; it becomes a float only in an answer.
"""

import hashlib
import hmac
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

METRICS = ("allowed", "needs-machine", "refused")
"""What an account may see of the market's metrics: all, nothing for want of a machine of its own, or a 403."""
MICRO_USD = 1_000_000
"""Micro-dollars in a dollar."""
FIRST_SSH_KEY_ID = 400_001
_KEY_TYPES = ("ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-")


@dataclass(frozen=True)
class Account:
    """One renter."""

    id: int
    email: str
    api_key: str
    credit_usd: float
    username: str = "sandbox"
    key_id: int = 1
    ssh_key: str = ""
    can_pay: bool = True
    host_agreement_accepted: bool = False
    metrics: str = METRICS[0]

    def __repr__(self) -> str:
        return f"Account(id={self.id}, email={self.email!r}, credit_usd={self.credit_usd})"


@dataclass(frozen=True)
class BillLine:
    """One charge (positive) or credit (negative) of an account."""

    account_id: int
    at: float
    """Epoch seconds of the sandbox's clock."""
    kind: str
    """``deposit``, or ``prepay`` and ``refund`` for what moves between an account and one of its contracts."""
    micro_usd: int
    instance_id: int | None = None
    note: str = ""


class Books:
    """Accounts, instances and ledger of one sandbox run, safe to use from several threads."""

    def __init__(self, *accounts: Account) -> None:
        self._lock = threading.RLock()
        self._accounts: dict[bytes, Account] = {}
        self._lent: dict[bytes, tuple[int, int]] = {}
        self.charged: Callable[[int], int] = lambda account_id: 0
        """Returns what the contracts of an account have cost so far, in micro-dollars."""
        self.ledger: list[BillLine] = []
        self._ssh_keys: list[dict[str, Any]] = []
        self._admitted: dict[int, dict[int, str]] = {}
        self._secrets: dict[int, dict[str, str]] = {}
        self._last_ssh_key_id = FIRST_SSH_KEY_ID - 1
        for account in accounts:
            self.add(account)

    def add(self, account: Account, at: float = 0.0) -> None:
        """Open an account at ``at`` (epoch seconds); its credit becomes the first line of its bill."""
        with self._lock:
            self._accounts[_digest(account.api_key)] = account
            self.book(BillLine(account.id, at, "deposit", -micro_usd(account.credit_usd)))

    def account(self, api_key: str) -> Account | None:
        """Return the account of a key, or ``None``; the time this takes tells nothing about the keys."""
        wanted, found = _digest(api_key), None
        with self._lock:
            for digest, account in self._accounts.items():
                if hmac.compare_digest(digest, wanted):
                    found = account
        return found

    def by_id(self, account_id: int) -> Account:
        """Return the account of a number; a ``LookupError`` if there is none."""
        with self._lock:
            return next(account for account in self._accounts.values() if account.id == account_id)

    def accounts(self) -> list[Account]:
        """Return all accounts, oldest first."""
        with self._lock:
            found: dict[int, Account] = {}
            for account in self._accounts.values():
                found.setdefault(account.id, account)
            return list(found.values())

    def keys(self, account_id: int) -> list[Account]:
        """Return an account as each of its own keys sees it: they differ in ``api_key`` and ``key_id``."""
        with self._lock:
            return [account for account in self._accounts.values() if account.id == account_id]

    def add_key(self, account_id: int, api_key: str) -> int:
        """Let one more key act for an account, and return its number."""
        with self._lock:
            number = 1 + max(account.key_id for account in self._accounts.values())
            self._accounts[_digest(api_key)] = replace(self.by_id(account_id), api_key=api_key, key_id=number)
            return number

    def remove_key(self, api_key: str) -> None:
        """Let one of an account's keys act no more."""
        with self._lock:
            del self._accounts[_digest(api_key)]

    def lend(self, api_key: str, account_id: int, instance_id: int) -> None:
        """Let a key act for an account on one instance, and the account's public keys of now log in there."""
        with self._lock:
            self._lent[_digest(api_key)] = (account_id, instance_id)
            self._admitted[instance_id] = {row["id"]: row["key"] for row in self.ssh_keys(account_id)}

    def revoke(self, api_key: str) -> None:
        """Let a lent key act no more."""
        with self._lock:
            self._lent.pop(_digest(api_key), None)

    def instance_of(self, api_key: str) -> int | None:
        """Return the one instance that a lent key may act on, ``None`` for any other key."""
        with self._lock:
            return self._lent.get(_digest(api_key), (0, None))[1]

    def owner(self, api_key: str | None) -> Account:
        """Return the account of a key that has been checked, lent or its own; a ``LookupError`` if it was not."""
        with self._lock:
            lent = self._lent.get(_digest(api_key or ""))
        account = self.by_id(lent[0]) if lent else self.account(api_key or "")
        if account is None:
            raise LookupError("a handler of an account was called before the key was checked")
        return account

    def add_ssh_key(self, account_id: int, key: str, at: float) -> dict[str, Any]:
        """Register a public key, created at ``at`` (epoch seconds), and return it as Vast lists it."""
        created_at = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._lock:
            row = {"id": self._next_ssh_key_id(), "user_id": account_id, "key": public_key(key)}
            self._ssh_keys.append(row | {"created_at": created_at, "deleted_at": None})
            return dict(self._ssh_keys[-1])

    def change_ssh_key(self, account_id: int, number: int, key: str | None) -> dict[str, Any] | None:
        """Replace a public key, or remove it (``None``), and return how it was listed last, ``None`` if it was not."""
        with self._lock:
            found = next((r for r in self._ssh_keys if (r["id"], r["user_id"]) == (number, account_id)), None)
            if found is not None and key is None:
                self._ssh_keys.remove(found)
            elif found is not None:
                found["key"] = public_key(key or "")
            return dict(found) if found else None

    def ssh_keys(self, account_id: int) -> list[dict[str, Any]]:
        """Return an account's public keys, oldest first."""
        with self._lock:
            return [dict(row) for row in self._ssh_keys if row["user_id"] == account_id]

    def admitted(self, instance_id: int) -> dict[int, str]:
        """Return the public keys that may log in to an instance, by number."""
        with self._lock:
            return dict(self._admitted.get(instance_id, {}))

    def admit(self, instance_id: int, account_id: int, key: str) -> None:
        """Let a public key log in to an instance."""
        with self._lock:
            known = [row["id"] for row in self.ssh_keys(account_id) if row["key"] == public_key(key)]
            self._admitted[instance_id][known[0] if known else self._next_ssh_key_id()] = public_key(key)

    def turn_away(self, instance_id: int, number: int) -> bool:
        """Let a public key log in to an instance no more, and return whether it could."""
        with self._lock:
            return self._admitted.get(instance_id, {}).pop(number, None) is not None

    def secrets(self, account_id: int) -> dict[str, str]:
        """Return the variables of an account, which all its containers have."""
        with self._lock:
            return dict(self._secrets.get(account_id, {}))

    def set_secret(self, account_id: int, name: str, value: str | None) -> None:
        """Set a variable of an account, or remove it (``None``)."""
        with self._lock:
            known = self._secrets.setdefault(account_id, {})
            known.pop(name, None)
            if value is not None:
                known[name] = value

    def _next_ssh_key_id(self) -> int:
        self._last_ssh_key_id += 1
        return self._last_ssh_key_id

    def book(self, line: BillLine) -> None:
        """Add a line to the ledger."""
        with self._lock:
            self.ledger.append(line)

    def booked_micro_usd(self, account_id: int) -> int:
        """Return what an account would have left without its contracts' use."""
        with self._lock:
            return -sum(line.micro_usd for line in self.ledger if line.account_id == account_id)

    def credit_micro_usd(self, account_id: int) -> int:
        """Return what an account has left."""
        return self.booked_micro_usd(account_id) - self.charged(account_id)

    def user(self, account: Account) -> dict[str, Any]:
        """Return what ``users/current`` answers for an account: the documented fields, and those the client reads."""
        return {
            "balance": 0.0,
            "balance_threshold": 0.0,
            "balance_threshold_enabled": False,
            "can_pay": account.can_pay,
            "credit": self.credit_micro_usd(account.id) / MICRO_USD,
            "email": account.email,
            "email_verified": True,
            "fullname": "",
            "has_billing": account.can_pay,
            "has_payout": False,
            "host_agreement_accepted": account.host_agreement_accepted,
            "id": account.id,
            "key_id": account.key_id,
            "sid": f"sandbox-{account.id}",
            "ssh_key": account.ssh_key,
            "username": account.username,
        }


def public_key(key: str) -> str:
    """Return an SSH public key without blanks around it; a ``ValueError`` if it is none."""
    text = key.strip() if isinstance(key, str) else ""
    if "\n" in text or len(text.split()) < 2 or not text.startswith(_KEY_TYPES):
        # The text is not shown: it might be a private key.
        raise ValueError("an SSH key must be the one line of a .pub file, such as 'ssh-ed25519 AAAA... name'")
    return text


def micro_usd(usd: float) -> int:
    """Return dollars in whole micro-dollars, rounded to the nearest."""
    return round(usd * MICRO_USD)


def key_digest(api_key: str) -> str:
    """Return a short name for a key, by which two requests with the same key can be told."""
    return _digest(api_key).hex()[:12]


def _digest(api_key: str) -> bytes:
    return hashlib.sha256(api_key.encode()).digest()
