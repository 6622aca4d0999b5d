"""What a migration may say: PostgreSQL's own parser reads each, and nothing in it needs to be outside a transaction."""

from __future__ import annotations

from typing import Final

import pytest
from pglast import ast, parse_sql

from worker.store.migrate import Migration, load

OUTSIDE_TRANSACTIONS: Final = (
    ast.AlterSystemStmt,
    ast.CreatedbStmt,
    ast.CreateSubscriptionStmt,
    ast.CreateTableSpaceStmt,
    ast.DropdbStmt,
    ast.DropSubscriptionStmt,
    ast.DropTableSpaceStmt,
    ast.ReindexStmt,
    ast.TransactionStmt,
    ast.VacuumStmt,
)


def faults(text: str) -> list[str]:
    """Kinds of the statements that cannot run in a migration's transaction, or would end it."""
    statements = [parsed.stmt for parsed in parse_sql(text)]
    return [
        type(statement).__name__
        for statement in statements
        if isinstance(statement, OUTSIDE_TRANSACTIONS) or getattr(statement, "concurrent", False)
    ]


@pytest.mark.parametrize("migration", load(), ids=lambda migration: migration.name)
def test_each_migration_runs_in_one_transaction(migration: Migration) -> None:
    """No migration commits in its middle, or has a statement that PostgreSQL refuses within a transaction."""
    assert faults(migration.text) == []


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE INDEX CONCURRENTLY i ON t (c)",
        "DROP INDEX CONCURRENTLY i",
        "REINDEX TABLE t",
        "BEGIN",
        "COMMIT",
        "VACUUM t",
        "ALTER SYSTEM SET fsync = off",
        "CREATE DATABASE d",
    ],
)
def test_the_linter_finds(statement: str) -> None:
    """Each such statement is found among others."""
    assert len(faults(f"CREATE TABLE t (c integer); {statement}; SELECT 1;")) == 1
