-- The words are those that SQLite and PostgreSQL share: TEXT, BIGINT, BOOLEAN, BYTEA. Times are microseconds since the Unix
-- epoch, JSON is TEXT that only Rust reads, and addresses are stored in the lower case in which they are compared. TEXT is
-- compared by its bytes: on PostgreSQL each such column gets COLLATE "C". Where the engines differ, PostgreSQL reads what is in
-- the comments that begin with its name instead of what is before them.

CREATE TABLE service_account (
    unique_id    TEXT PRIMARY KEY,
    email        TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    description  TEXT NOT NULL,
    disabled     BOOLEAN NOT NULL
);

CREATE TABLE service_account_key (
    id         TEXT PRIMARY KEY,
    account    TEXT NOT NULL REFERENCES service_account (unique_id) ON DELETE CASCADE,
    public_jwk TEXT NOT NULL,
    created    BIGINT NOT NULL
);
CREATE INDEX service_account_key_by_account ON service_account_key (account, created);

CREATE TABLE person (
    unique_id TEXT PRIMARY KEY,
    email     TEXT NOT NULL UNIQUE,
    disabled  BOOLEAN NOT NULL
);

CREATE TABLE application (
    name       TEXT PRIMARY KEY,
    service_id TEXT NOT NULL UNIQUE,
    client_id  TEXT NOT NULL UNIQUE
);

CREATE TABLE policy (
    resource TEXT PRIMARY KEY,
    bindings TEXT NOT NULL,
    etag     BIGINT NOT NULL
);

CREATE TABLE signing_key (
    id      TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    secret  BYTEA NOT NULL,
    created BIGINT NOT NULL
);

-- No reference to an account: the subject is a program or a person.
CREATE TABLE access_token (
    hash    TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    scopes  TEXT NOT NULL,
    expires BIGINT NOT NULL
);
CREATE INDEX access_token_by_subject ON access_token (subject);
CREATE INDEX access_token_by_expires ON access_token (expires);

CREATE TABLE used_assertion (
    issuer  TEXT NOT NULL,
    jti     TEXT NOT NULL,
    expires BIGINT NOT NULL,
    PRIMARY KEY (issuer, jti)
);
CREATE INDEX used_assertion_by_expires ON used_assertion (expires);

-- AUTOINCREMENT: a number is not given again when the newest event was pruned.
CREATE TABLE audit_event (
    sequence /*sqlite*/ INTEGER PRIMARY KEY AUTOINCREMENT /*pg BIGINT PRIMARY KEY*/,
    event    TEXT NOT NULL
);
