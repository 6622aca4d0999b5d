"""The documented schema: what pg_dump says of a database that was migrated. `make schema` writes it."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Final

from worker.embedded import Embedded, postgres_programs
from worker.store.migrate import migrate

DOCUMENTED: Final = Path(__file__).parents[1] / "docs" / "schema.sql"
HEADER: Final = (
    "-- What the migrations in worker/store/migrations make. Written by `make schema`; a test keeps it true.\n\n"
)
# Settings of the restoring session, versions, and the names of pg_dump's own sections.
NOISE: Final = re.compile(r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict.*)\n", re.MULTILINE)


async def documented_from(database_url: str) -> str:
    """The schema of a database, as docs/schema.sql has it."""
    dump = await asyncio.create_subprocess_exec(
        postgres_programs() / "pg_dump",
        *("--schema-only", "--no-owner", "--no-privileges", f"--dbname={database_url}"),
        stdout=asyncio.subprocess.PIPE,
        env={"LC_ALL": "C", "PATH": os.defpath},
    )
    output, _ = await dump.communicate()
    assert dump.returncode == 0, "pg_dump failed"
    return HEADER + re.sub(r"\n{3,}", "\n\n", NOISE.sub("", output.decode())).strip() + "\n"


async def write() -> None:
    """Migrate an empty database of its own and print its schema."""
    with tempfile.TemporaryDirectory() as folder, Embedded(Path(folder)) as embedded:
        address = (await asyncio.to_thread(embedded.start, valkey=False)).database_url
        await migrate(address)
        sys.stdout.write(await documented_from(address))


if __name__ == "__main__":
    asyncio.run(write())
