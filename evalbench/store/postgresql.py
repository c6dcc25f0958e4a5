"""What PostgreSQL itself asks of whoever appends an event: who they are, their role, the chain."""

from __future__ import annotations

from sqlalchemy import Connection, text

from evalbench.errors import LedgerError
from evalbench.schema import ROLES

REFUSE = " BEGIN RAISE EXCEPTION 'the ledger is append-only'; END "
_OWNER = "(SELECT relowner FROM pg_class WHERE oid = 'event'::regclass)"
_OWNS = f"pg_has_role(session_user, {_OWNER}, 'MEMBER')"
# As Python writes JSON in ASCII, so that both compute the same hash.
_ESCAPE = r"""
DECLARE made text := to_json(value)::text; sign text; code int;
BEGIN
  FOR sign IN SELECT DISTINCT each[1] FROM regexp_matches(made, '[^ -~]', 'g') AS each LOOP
    code := ascii(sign);
    made := replace(made, sign, CASE WHEN code < 65536 THEN '\u' || lpad(to_hex(code), 4, '0')
      ELSE '\u' || to_hex(55296 + ((code - 65536) >> 10))
        || '\u' || to_hex(56320 + ((code - 65536) & 1023)) END);
  END LOOP;
  RETURN made;
END """
_LOCK = f"""
DECLARE last event_head;
BEGIN
  IF NOT {_OWNS} AND NOT EXISTS (
    SELECT FROM event_grant JOIN event_role USING (role) WHERE member = session_user
  ) THEN
    RAISE EXCEPTION '% may only read this ledger; ask an owner of it: evalbench grant % ROLE',
      session_user, session_user;
  END IF;
  SELECT * INTO last FROM event_head FOR UPDATE;
  RETURN last;
END """
_CHECK = f"""
DECLARE last event_head; refused text; role_for text; fields text;
BEGIN
  IF NEW.actor <> session_user AND (NOT {_OWNS} OR EXISTS (SELECT FROM event_grant)) THEN
    RAISE EXCEPTION 'the ledger knows you as %, and takes no event of % from you; leave the user '
      'out, or connect as %', session_user, NEW.actor, NEW.actor;
  END IF;
  IF NOT {_OWNS} THEN
    SELECT kind INTO refused FROM unnest(ARRAY[NEW.kind, CASE
      WHEN NEW.body::jsonb->>'annotator' <> session_user THEN 'labels.imported' END]) AS asked(kind)
    WHERE kind IS NOT NULL AND NOT EXISTS (
      SELECT FROM event_grant JOIN event_role AS allowed USING (role)
      WHERE member = session_user AND allowed.kind = asked.kind
    );
    IF refused IS NOT NULL THEN
      SELECT min(role) INTO role_for FROM event_role AS allowed WHERE allowed.kind = refused;
      RAISE EXCEPTION '% may not append %; ask an owner of the ledger%', session_user, refused,
        coalesce(': evalbench grant ' || session_user || ' ' || role_for, ' to do it');
    END IF;
  END IF;
  SELECT * INTO last FROM event_head FOR UPDATE;
  SELECT string_agg(escape_event(field), ',' ORDER BY place) INTO fields FROM unnest(ARRAY[
    NEW.at, NEW.actor, NEW.kind, NEW.subject, NEW.body, NEW.previous_hash
  ]) WITH ORDINALITY AS each(field, place);
  IF (NEW.seq, NEW.previous_hash, NEW.hash) IS DISTINCT FROM (last.seq + 1, last.hash, encode(
    sha256(convert_to('[' || NEW.seq || ',' || fields || ']', 'UTF8')), 'hex')) THEN
    RAISE EXCEPTION 'event % does not follow the last of the chain', NEW.seq;
  END IF;
  UPDATE event_head SET seq = NEW.seq, hash = NEW.hash;
  RETURN NEW;
END """
_CHECK_TEXT = """
BEGIN
  IF (SELECT event.body::jsonb->>'sealed' FROM event WHERE seq = NEW.seq) IS DISTINCT FROM
    encode(sha256(convert_to(NEW.salt || NEW.body, 'UTF8')), 'hex') THEN
    RAISE EXCEPTION 'this text is not the one that event % has sealed', NEW.seq;
  END IF;
  RETURN NEW;
END """
# Each function by its head, with its text; what it reads is the ledger's own, whoever calls it.
FUNCTIONS = {
    "refuse_ledger_change() RETURNS trigger": REFUSE,
    "escape_event(value text) RETURNS text": _ESCAPE,
    "lock_ledger() RETURNS event_head": _LOCK,
    "check_event() RETURNS trigger": _CHECK,
    "check_event_text() RETURNS trigger": _CHECK_TEXT,
}
TRIGGERS = {
    "event_change": "BEFORE UPDATE OR DELETE OR TRUNCATE ON event "
    "FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()",
    "event_check": "BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION check_event()",
    "event_text_check": "BEFORE INSERT ON event_text "
    "FOR EACH ROW EXECUTE FUNCTION check_event_text()",
}
# What the catalogue says of the triggers: when they fire, and what they do then.
INSTALLED = {
    "event_change": f"58{REFUSE}",
    "event_check": f"7{_CHECK}",
    "event_text_check": f"7{_CHECK_TEXT}",
}
READ_TRIGGERS = (
    "SELECT tgname, CASE WHEN tgenabled = 'O' THEN tgtype || prosrc ELSE '' END "
    "FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid WHERE NOT tgisinternal "
    "AND tgrelid IN ('event'::regclass, 'event_head'::regclass, 'event_text'::regclass)"
)


def make_functions(connection: Connection) -> None:
    """Make the ledger's functions, which run as its owner and see no table of another schema."""
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    how = f"LANGUAGE plpgsql SECURITY DEFINER SET search_path = {schema}, pg_temp"
    for head, body in FUNCTIONS.items():
        made = f"CREATE OR REPLACE FUNCTION {head} {how} AS $${body}$$"
        connection.exec_driver_sql(made.replace("%", "%%"))


def owns_ledger(connection: Connection) -> bool:
    """Tell whether the user who is connected owns the ledger's tables."""
    return bool(connection.exec_driver_sql(f"SELECT {_OWNS}").scalar_one())


def grant_role(connection: Connection, member: str, role: str) -> None:
    """Let a user of the database append what a role may; "reader" takes all roles away.

    LedgerError where there is no such user, or who is connected does not own the ledger.
    """
    if not owns_ledger(connection):
        raise LedgerError("only the owner of the ledger's tables grants roles: connect as them")
    known = text("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = :member")
    name = connection.execute(known, {"member": member}).scalar()
    if name is None:
        raise LedgerError(f"the database has no user {member}; make it: CREATE ROLE {member} LOGIN")
    connection.exec_driver_sql("DELETE FROM event_role")
    kinds = [{"role": each, "kind": kind} for each, kinds in ROLES.items() for kind in kinds]
    connection.execute(text("INSERT INTO event_role VALUES (:role, :kind)"), kinds)
    if role == "reader":
        gone = "DELETE FROM event_grant WHERE member = :member"
        connection.execute(text(gone), {"member": member})
    added = text("INSERT INTO event_grant VALUES (:member, :role) ON CONFLICT DO NOTHING")
    connection.execute(added, {"member": member, "role": role})
    schema = connection.exec_driver_sql("SELECT quote_ident(current_schema())").scalar_one()
    tables = "event, event_head, event_text, event_version, event_role, event_grant"
    rights = f"USAGE ON SCHEMA {schema}", f"SELECT ON {tables}", "INSERT ON event, event_text"
    for right in rights:
        connection.exec_driver_sql(f"GRANT {right} TO {name}")
