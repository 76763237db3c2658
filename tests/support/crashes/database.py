"""A PostgreSQL database that can be put back to how it was: its rows are kept in a schema of their own beside it."""

from __future__ import annotations

import psycopg


class KeptDatabase:
    """A new, empty database `name` on a server; `url` is the program's. Every call is one connection of its own."""

    def __init__(self, server_url: str, name: str) -> None:
        base = server_url.replace("+psycopg", "")
        self.url = f"{base.rpartition('/')[0]}/{name}"
        with psycopg.connect(base, autocommit=True) as admin:
            admin.execute(f"CREATE DATABASE {name}")

    def keep(self) -> None:
        """What is in it now is what `restore` brings back."""
        with psycopg.connect(self.url) as database:
            database.execute("CREATE SCHEMA kept")
            for table in self._tables(database):
                database.execute(f"CREATE TABLE kept.{table} AS TABLE public.{table}")

    def restore(self) -> None:
        """Rows as they were kept, whoever may still be connected put out first."""
        with psycopg.connect(self.url) as database:
            others = "pid <> pg_backend_pid() AND datname = current_database()"
            database.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {others}")
            tables = self._tables(database)
            database.execute("SET session_replication_role = replica")  # foreign keys fit as they did
            database.execute(f"TRUNCATE {', '.join(f'public.{table}' for table in tables)} CASCADE")
            for table in tables:
                database.execute(f"INSERT INTO public.{table} OVERRIDING SYSTEM VALUE TABLE kept.{table}")

    @staticmethod
    def _tables(database: psycopg.Connection) -> list[str]:
        found = database.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        return [name for (name,) in found]
