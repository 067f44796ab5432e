-- Secrets are sealed, and events get their numbers from a row of ours.

-- One row, 1: a known text under the key that seals secrets. "signing_key.secret" and "service_account_key.secret" are sealed from
-- here on; what was not is sealed when this is applied.
CREATE TABLE sealing (
    id    BIGINT PRIMARY KEY,
    value BYTEA NOT NULL
);

-- One row, 1: the number of the newest event that there ever was. Whoever appends holds it to the end of the change, so that
-- numbers have no gaps and appear in their order, however many append.
CREATE TABLE audit_head (
    id   BIGINT PRIMARY KEY,
    last BIGINT NOT NULL
);
INSERT INTO audit_head (id, last)
VALUES (1, /*sqlite*/ COALESCE((SELECT seq FROM sqlite_sequence WHERE name = 'audit_event'), 0) /*pg 0*/);
