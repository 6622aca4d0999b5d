"""What the portal remembers by itself: passwords, sessions, failed tries, whose payment is whose. A small SQLite file.

Each call is one lookup or one short transaction of microseconds, made on the event loop. Times are seconds since 1970,
passed in.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

SCHEMA = Path(__file__).with_name("memory.sql")
NOWHERE = ":memory:"
"""Where nothing is configured: families choose their passwords again after a restart."""
TOKEN_BYTES = 32
IDLE_SECONDS = 60 * 60
"""Longer than the half hour that a payment may take at the bank, so that nobody comes back signed out."""
LONGEST_SECONDS = 12 * 60 * 60
ATTEMPTS_SECONDS = 15 * 60
"""How long a failed try counts."""
ATTEMPTS_OF_A_DOSSIER = 8
ATTEMPTS_OF_AN_ADDRESS = 40
"""More: a library's or a town hall's computers share one address."""

READ = ("regie", "number", "account", "state", "version", "amount_cents", "means")
HEARD = ("regie", "number", "account", "state", "version")
"""What is kept of an invoice as read, and as told by a notification."""
May = Literal["choose_password", "everything"]


@dataclass(frozen=True)
class Session:
    """Who is signed in, and whether the password is still to be chosen."""

    account: str
    may: May


class Memory:
    """The portal's own file. `path` None: nothing outlives the process."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)  # passwords' digests are nobody else's to read
        self._db = sqlite3.connect(str(path or NOWHERE), isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")  # a crash of the machine may cost the last seconds
        self._db.executescript(SCHEMA.read_text(encoding="utf-8"))

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # passwords

    def password(self, account: str) -> str | None:
        """The digest of a family's password; None if it has none yet."""
        row = self._db.execute("SELECT digest FROM passwords WHERE account = ?", (account,)).fetchone()
        return row[0] if row else None

    def keep_password(self, account: str, digest: str) -> bool:
        """Keep a family's first password; False if it has one, perhaps of the other parent a moment ago."""
        kept = self._db.execute("INSERT OR IGNORE INTO passwords VALUES (?, ?)", (account, digest))
        return kept.rowcount == 1

    def forget(self, account: str) -> bool:
        """Forget a family's password and end its sessions; False if it had none."""
        self._db.execute("DELETE FROM sessions WHERE account = ?", (account,))
        return self._db.execute("DELETE FROM passwords WHERE account = ?", (account,)).rowcount == 1

    # sessions

    def open_session(self, account: str, may: May, now: float) -> str:
        """Begin a session and return its cookie's value."""
        self._db.execute(
            "DELETE FROM sessions WHERE seen_at < ? OR began_at < ?", (now - IDLE_SECONDS, now - LONGEST_SECONDS)
        )
        token = secrets.token_urlsafe(TOKEN_BYTES)
        self._db.execute("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", (_kept(token), account, may, now, now))
        return token

    def session(self, token: str, now: float) -> Session | None:
        """The session of a cookie, while it lasts; looking keeps it alive."""
        row = self._db.execute(
            "UPDATE sessions SET seen_at = ?1 WHERE token = ?2 AND seen_at > ?3 AND began_at > ?4"
            " RETURNING account, may",
            (now, _kept(token), now - IDLE_SECONDS, now - LONGEST_SECONDS),
        ).fetchone()
        return Session(*row) if row else None

    def close_session(self, token: str) -> None:
        """End a session for good."""
        self._db.execute("DELETE FROM sessions WHERE token = ?", (_kept(token),))

    # tries to sign in

    def try_once(self, account: str, address: str, now: float) -> bool:
        """Count one try of a dossier from an address, before it is judged; False if there were too many."""
        self._db.execute("DELETE FROM attempts WHERE at < ?", (now - ATTEMPTS_SECONDS,))
        limits = {f"dossier {account}": ATTEMPTS_OF_A_DOSSIER, f"address {address}": ATTEMPTS_OF_AN_ADDRESS}
        if any(self._attempts(who) >= limit for who, limit in limits.items()):
            return False
        self._db.executemany("INSERT INTO attempts VALUES (?, ?)", [(who, now) for who in limits])
        return True

    def _attempts(self, who: str) -> int:
        count: int = self._db.execute("SELECT count(*) FROM attempts WHERE who = ?", (who,)).fetchone()[0]
        return count

    def forgive(self, account: str, address: str) -> None:
        """Forget the tries of a dossier that has signed in, and of its address the last: the others may be guesses."""
        self._db.execute("DELETE FROM attempts WHERE who = ?", (f"dossier {account}",))
        self._db.execute(
            "DELETE FROM attempts WHERE rowid = (SELECT max(rowid) FROM attempts WHERE who = ?)",
            (f"address {address}",),
        )

    # payments

    def keep_payment(self, regie: str, reference: str, account: str) -> None:
        """Remember who pays, before Lettrage is asked to start the payment."""
        self._db.execute("INSERT OR IGNORE INTO payments VALUES (?, ?, ?)", (regie, reference, account))

    def payer(self, regie: str, reference: str) -> str | None:
        """Who began a payment here; None if that is not remembered."""
        row = self._db.execute(
            "SELECT account FROM payments WHERE regie = ? AND reference = ?", (regie, reference)
        ).fetchone()
        return row[0] if row else None

    # what was last heard of invoices

    def read(self, regie: Mapping[str, Any], invoices: Iterable[Mapping[str, Any]]) -> None:
        """Keep what Lettrage has just answered: it is at least as new as what is known at the same version."""
        self._db.execute("INSERT OR REPLACE INTO regies VALUES (?, ?)", (regie["code"], regie["label"]))
        self._db.executemany(
            "INSERT INTO invoices VALUES (:regie, :number, :account, :state, :version, :amount_cents, :means)"
            " ON CONFLICT DO UPDATE SET account = excluded.account, state = excluded.state,"
            " version = excluded.version, amount_cents = excluded.amount_cents, means = excluded.means"
            " WHERE excluded.version >= version",
            [{key: invoice[key] for key in READ} for invoice in invoices],
        )

    def hear(self, told: Mapping[str, Any]) -> bool:
        """Keep what a notification says of an invoice; whether it is news: an older one, or the same again, is none."""
        done = self._db.execute(
            "INSERT INTO invoices VALUES (:regie, :number, :account, :state, :version, NULL, NULL)"
            " ON CONFLICT DO UPDATE SET account = coalesce(excluded.account, account), state = excluded.state,"
            " version = excluded.version WHERE excluded.version > version",
            {key: told[key] for key in HEARD},
        )
        return done.rowcount > 0

    def label(self, regie: str) -> str:
        """What a régie was last called; its code if that was never read."""
        row = self._db.execute("SELECT label FROM regies WHERE code = ?", (regie,)).fetchone()
        return row[0] if row else regie

    def payable(self, regie: str, account: str) -> list[dict[str, Any]]:
        """What a family can pay online, by what is known; amounts in cents, None where unknown."""
        rows = self._db.execute(
            "SELECT number, amount_cents FROM invoices WHERE regie = ? AND account = ? AND state = 'payable'"
            " AND means IS NOT 'direct_debit' ORDER BY number",
            (regie, account),
        )
        return [{"number": number, "amount_cents": cents} for number, cents in rows]


def _kept(token: str) -> str:
    return sha256(token.encode()).hexdigest()
