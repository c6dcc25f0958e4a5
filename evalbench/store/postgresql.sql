-- What PostgreSQL itself asks of whoever appends an event: who they are, their role, the chain.
-- All of it may be run again.
-- Functions run as the ledger's owner, and see no table of another schema, nor a temporary one.

CREATE TABLE IF NOT EXISTS event_role (role text, kind text, PRIMARY KEY (role, kind));
CREATE TABLE IF NOT EXISTS event_grant (member text, role text, PRIMARY KEY (member, role));

CREATE OR REPLACE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$;

CREATE OR REPLACE FUNCTION owns_ledger() RETURNS boolean LANGUAGE sql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
SELECT pg_has_role(session_user, relowner, 'MEMBER') FROM pg_class WHERE oid = 'event'::regclass
$$;

-- As Python writes JSON in ASCII, so that both compute the same hash.
CREATE OR REPLACE FUNCTION escape_event(value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE made text := to_json(value)::text; sign text; code int;
BEGIN
  FOR sign IN SELECT DISTINCT each[1] FROM regexp_matches(made, '[^ -~]', 'g') AS each LOOP
    code := ascii(sign);
    made := replace(made, sign, CASE WHEN code < 65536 THEN '\u' || lpad(to_hex(code), 4, '0')
      ELSE '\u' || to_hex(55296 + ((code - 65536) >> 10))
        || '\u' || to_hex(56320 + ((code - 65536) & 1023)) END);
  END LOOP;
  RETURN made;
END $$;

CREATE OR REPLACE FUNCTION lock_ledger() RETURNS event_head LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE last event_head;
BEGIN
  IF NOT owns_ledger() AND NOT EXISTS (
    SELECT FROM event_grant JOIN event_role USING (role) WHERE member = session_user
  ) THEN
    RAISE EXCEPTION '% may only read this ledger; ask an owner of it: evalbench grant % ROLE',
      session_user, session_user;
  END IF;
  SELECT * INTO last FROM event_head FOR UPDATE;
  RETURN last;
END $$;

CREATE OR REPLACE FUNCTION check_event() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE last event_head; refused text; role_for text; fields text;
BEGIN
  IF NEW.actor <> session_user AND (NOT owns_ledger() OR EXISTS (SELECT FROM event_grant)) THEN
    RAISE EXCEPTION 'the ledger knows you as %, and takes no event of % from you; leave the user '
      'out, or connect as %', session_user, NEW.actor, NEW.actor;
  END IF;
  IF NOT owns_ledger() THEN
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
END $$;

CREATE OR REPLACE FUNCTION check_event_text() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
  IF (SELECT event.body::jsonb->>'sealed' FROM event WHERE seq = NEW.seq) IS DISTINCT FROM
    encode(sha256(convert_to(NEW.salt || NEW.body, 'UTF8')), 'hex') THEN
    RAISE EXCEPTION 'this text is not the one that event % has sealed', NEW.seq;
  END IF;
  RETURN NEW;
END $$;
