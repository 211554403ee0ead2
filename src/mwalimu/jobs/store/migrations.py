"""The schema as steps in order; which of them a file has seen is written in the file itself."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator

from mwalimu.errors import RunError

MIGRATIONS: tuple[tuple[str, str], ...] = (
    (
        "jobs",
        """
        CREATE TABLE jobs (
            name TEXT PRIMARY KEY,
            owner TEXT NOT NULL,
            state TEXT NOT NULL,
            kind TEXT NOT NULL,
            spec TEXT NOT NULL,
            priority INTEGER NOT NULL,
            resource TEXT NOT NULL,
            created REAL NOT NULL,
            changed REAL NOT NULL,
            started REAL,
            ended REAL,
            attempts INTEGER NOT NULL DEFAULT 0,
            error TEXT,
            summary TEXT NOT NULL DEFAULT '{}',
            spent_usd REAL
        ) STRICT;
        CREATE INDEX jobs_waiting ON jobs (resource, priority DESC, created) WHERE state = 'Queued';
        CREATE INDEX jobs_by_state ON jobs (state, created);
        CREATE INDEX jobs_by_owner ON jobs (owner, created);
        CREATE TABLE leases (
            job TEXT PRIMARY KEY REFERENCES jobs (name) ON DELETE CASCADE,
            token TEXT NOT NULL,
            slot TEXT NOT NULL UNIQUE,
            expires REAL NOT NULL
        ) STRICT;
        CREATE TABLE events (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            job TEXT NOT NULL REFERENCES jobs (name) ON DELETE CASCADE,
            time REAL NOT NULL,
            kind TEXT NOT NULL,
            data TEXT NOT NULL
        ) STRICT;
        CREATE INDEX events_of_job ON events (job, number);
        """,
    ),
    (
        "tokens, datasets, models, audit",
        """
        CREATE TABLE tokens (
            name TEXT PRIMARY KEY,
            role TEXT NOT NULL,
            digest BLOB NOT NULL UNIQUE,
            created REAL NOT NULL,
            expires REAL,
            last_used REAL
        ) STRICT;
        CREATE TABLE versions (of TEXT PRIMARY KEY, newest INTEGER NOT NULL) STRICT;
        CREATE TABLE datasets (
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            sha256 TEXT NOT NULL,
            rows INTEGER NOT NULL,
            size INTEGER NOT NULL,
            task TEXT NOT NULL,
            file TEXT NOT NULL,
            owner TEXT NOT NULL,
            created REAL NOT NULL,
            PRIMARY KEY (name, version)
        ) STRICT;
        CREATE INDEX datasets_of_file ON datasets (file);
        CREATE INDEX datasets_of_owner ON datasets (owner);
        CREATE TABLE models (
            name TEXT NOT NULL,
            version INTEGER NOT NULL,
            job TEXT NOT NULL,
            folder TEXT NOT NULL,
            created REAL NOT NULL,
            properties TEXT NOT NULL,
            PRIMARY KEY (name, version),
            UNIQUE (name, job)
        ) STRICT;
        CREATE INDEX models_of_job ON models (job);
        CREATE TABLE audit (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            time REAL NOT NULL,
            who TEXT NOT NULL,
            what TEXT NOT NULL,
            "on" TEXT NOT NULL,
            status INTEGER NOT NULL,
            address TEXT NOT NULL
        ) STRICT;
        CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
        CREATE TRIGGER audit_is_not_dropped BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END;
        """,
    ),
    (
        "quotas, repeated submits, retention",
        """
        ALTER TABLE jobs ADD COLUMN key TEXT;
        ALTER TABLE jobs ADD COLUMN reserved_usd REAL NOT NULL DEFAULT 0.0;
        ALTER TABLE jobs ADD COLUMN vanished INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE leases ADD COLUMN seconds REAL NOT NULL DEFAULT 30.0;
        UPDATE jobs SET reserved_usd = coalesce(json_extract(spec, '$.config.budget.usd'), 0.0);
        CREATE UNIQUE INDEX jobs_by_key ON jobs (owner, key) WHERE key IS NOT NULL;
        CREATE INDEX jobs_by_created ON jobs (created);
        CREATE INDEX jobs_by_kind ON jobs (kind, created);
        CREATE INDEX jobs_by_end ON jobs (ended) WHERE ended IS NOT NULL;
        CREATE INDEX jobs_by_money ON jobs (owner, state, started, reserved_usd, spent_usd);
        CREATE TABLE spent_before (owner TEXT PRIMARY KEY, usd REAL NOT NULL) STRICT;
        """,
    ),
    (
        "webhooks",
        """
        CREATE TABLE webhook_cursor (number INTEGER NOT NULL) STRICT;
        INSERT INTO webhook_cursor SELECT COALESCE(MAX(number), 0) FROM events;
        CREATE TABLE webhooks (
            number INTEGER PRIMARY KEY,
            job TEXT NOT NULL,
            owner TEXT NOT NULL,
            url TEXT NOT NULL,
            body TEXT NOT NULL,
            state TEXT NOT NULL DEFAULT 'waiting',
            attempts INTEGER NOT NULL DEFAULT 0,
            due REAL,
            error TEXT NOT NULL DEFAULT ''
        ) STRICT;
        CREATE INDEX webhooks_due ON webhooks (due, number) WHERE due IS NOT NULL;
        """,
    ),
    (
        "what a full store looks like",
        # Rows, and rows of one key: the planner's choices are those of a store with many jobs,
        # whatever is in it, so that they are the same everywhere.
        """
        DROP INDEX jobs_by_money;
        CREATE INDEX jobs_by_money
            ON jobs (owner, state, created, started, reserved_usd, spent_usd);
        ANALYZE;
        DELETE FROM sqlite_stat1;
        INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
            ('jobs', 'jobs_by_owner', '100000 1000 1'),
            ('jobs', 'jobs_by_state', '100000 10000 1'),
            ('jobs', 'jobs_by_kind', '100000 50000 1'),
            ('jobs', 'jobs_by_created', '100000 1'),
            ('jobs', 'jobs_by_money', '100000 1000 200 1 1 1 1'),
            ('events', 'events_of_job', '1000000 20 1'),
            ('leases', 'sqlite_autoindex_leases_1', '8 1');
        ANALYZE sqlite_schema;
        """,
    ),
    (
        "whose trace a job is of",
        """
        ALTER TABLE jobs ADD COLUMN trace TEXT NOT NULL DEFAULT '{}';
        """,
    ),
)


def migrate(connection: sqlite3.Connection, *, where: str) -> None:
    """Brings the file to the newest schema, all of it or nothing.

    Raises RunError for a file that a newer mwalimu has brought further.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, time REAL) STRICT"
        )
        seen = {name for (name,) in connection.execute("SELECT name FROM migrations")}
        if newer := seen - {name for name, _ in MIGRATIONS}:
            raise RunError(
                f"was written by a newer mwalimu (it knows {min(newer)!r})",
                where=where,
                fix="install that version, or name another workspace",
            )
        for name, script in MIGRATIONS:
            if name not in seen:
                for statement in _statements(script):
                    connection.execute(statement)
                connection.execute("INSERT INTO migrations VALUES (?, ?)", (name, time.time()))
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """`executescript` would commit what is open."""
    held = ""
    for part in script.split(";")[:-1]:
        held += part + ";"
        if sqlite3.complete_statement(held):
            yield held
            held = ""
