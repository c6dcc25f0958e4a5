"""How PostgreSQL guards a ledger, by the functions of ``postgresql.sql``, and who may append."""

from __future__ import annotations

import re
from pathlib import Path

from sqlalchemy import Connection, text

from evalbench.errors import LedgerError
from evalbench.schema import ROLES

FUNCTIONS = Path(__file__).with_suffix(".sql").read_text("utf-8")
TRIGGERS = {
    "event_change": "BEFORE UPDATE OR DELETE OR TRUNCATE ON event "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()",
    "event_check": "BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION check_event()",
    "event_text_check": "BEFORE INSERT ON event_text "
    "FOR EACH ROW EXECUTE FUNCTION check_event_text()",
}
_BODIES = dict(re.findall(r"(?s)FUNCTION (\w+\(\)) [^;]*?AS \$\$(.*?)\$\$;", FUNCTIONS))
# What the catalogue says of the triggers: when they fire (58 and 7 are sums of bits), and the text.
INSTALLED = {
    name: f"{58 if 'STATEMENT' in when else 7}{_BODIES[when.split()[-1]]}"
    for name, when in TRIGGERS.items()
}
READ_TRIGGERS = (
    "SELECT tgname, CASE WHEN tgenabled = 'O' THEN tgtype || prosrc ELSE '' END "
    "FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE NOT tgisinternal "
    "AND tgrelid IN ('event'::regclass, 'event_head'::regclass, 'event_text'::regclass)"
)
_PATH = "SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true)"
TABLES = "event, event_head, event_text, event_version, event_role, event_grant"


def make_functions(connection: Connection) -> None:
    """Make the tables of roles, and the functions, in the schema of the ledger's tables."""
    connection.exec_driver_sql(_PATH)
    connection.connection.cursor().execute(FUNCTIONS)


def require_owner(connection: Connection, what: str) -> None:
    """Raise LedgerError unless who is connected owns the ledger; on SQLite everybody does."""
    owner = "(SELECT relowner FROM pg_class WHERE oid = 'event'::regclass)"
    owns = text(f"SELECT pg_has_role(session_user, {owner}, 'MEMBER')")
    if connection.dialect.name == "postgresql" and not connection.scalar(owns):
        raise LedgerError(f"only the owner of the ledger's tables {what}: connect as them")


def grant_role(connection: Connection, member: str, role: str) -> None:
    """Let a user of the database append what a role may; "reader" takes all roles away."""
    require_owner(connection, "grants roles")
    known = text("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = :member")
    name = connection.scalar(known, {"member": member})
    if name is None:
        raise LedgerError(f"the database has no user {member}; make it: CREATE ROLE {member} LOGIN")
    kinds = [{"role": each, "kind": kind} for each, kinds in ROLES.items() for kind in kinds]
    connection.exec_driver_sql("DELETE FROM event_role")
    connection.execute(text("INSERT INTO event_role VALUES (:role, :kind)"), kinds)
    who = {"member": member, "role": role}
    if role == "reader":
        connection.execute(text("DELETE FROM event_grant WHERE member = :member"), who)
    added = "INSERT INTO event_grant VALUES (:member, :role) ON CONFLICT DO NOTHING"
    connection.execute(text(added), who)
    schema = connection.scalar(text("SELECT quote_ident(current_schema())"))
    rights = f"USAGE ON SCHEMA {schema}", f"SELECT ON {TABLES}", "INSERT ON event, event_text"
    for right in rights:
        connection.exec_driver_sql(f"GRANT {right} TO {name}")
