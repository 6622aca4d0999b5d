"""What is kept of a password: scrypt's digest (RFC 7914), and how a choice is judged."""

import asyncio
import hashlib
import hmac
import secrets
import unicodedata

from examples.portal.families import Family, bare

COST, BLOCK_SIZE, PARALLELISM = 2**15, 8, 3
"""N, r, p: 32 MiB and some tenths of a second, one of the settings that OWASP calls equal."""
MEMORY_BYTES = 64 * 1024 * 1024
"""What OpenSSL may take: 128·N·r, and some room."""
SALT_BYTES = 16
MIN_CHARS, MAX_CHARS = 12, 200
"""Long rather than complicated: a short sentence is easy to keep in mind. Nobody types 200."""
AT_ONCE = asyncio.Semaphore(2)
"""Digests computed at a time: sign-ins must not take the whole machine."""
TOO_SHORT = f"Choisissez au moins {MIN_CHARS} caractères."
TOO_LONG = f"Choisissez {MAX_CHARS} caractères au plus."
TOO_CLOSE = "Votre mot de passe ne doit contenir ni votre nom, ni votre numéro de dossier."
TOO_PLAIN = "Ce mot de passe répète trop les mêmes caractères : choisissez-en un plus varié."
MIN_DIFFERENT_CHARS = 5


def fault(password: str, family: Family) -> str | None:
    """What is wrong with a chosen password, told to the family; None if nothing is."""
    if len(password) < MIN_CHARS:
        return TOO_SHORT
    if len(password) > MAX_CHARS:
        return TOO_LONG
    if len(set(password)) < MIN_DIFFERENT_CHARS:
        return TOO_PLAIN
    told = "".join(bare(password).split())
    if any("".join(bare(known).split()) in told for known in (family.name, family.account)):
        return TOO_CLOSE
    return None


async def digest(password: str) -> str:
    """Digest a password with a salt of its own, to be kept."""
    salt = secrets.token_bytes(SALT_BYTES)
    return f"{salt.hex()}${(await _scrypt(password, salt)).hex()}"


async def is_right(password: str, kept: str | None) -> bool:
    """Whether a password is the one kept; takes as long where none is."""
    salt, _, expected = (kept or UNKNOWN).partition("$")
    computed = await _scrypt(password[:MAX_CHARS], bytes.fromhex(salt))
    return hmac.compare_digest(computed.hex(), expected)


UNKNOWN = f"{bytes(SALT_BYTES).hex()}$"
"""Compared with where a dossier has no password; no digest is empty."""


async def _scrypt(password: str, salt: bytes) -> bytes:
    typed = unicodedata.normalize("NFKC", password).encode()
    async with AT_ONCE:
        return await asyncio.to_thread(
            hashlib.scrypt, typed, salt=salt, n=COST, r=BLOCK_SIZE, p=PARALLELISM, maxmem=MEMORY_BYTES
        )
