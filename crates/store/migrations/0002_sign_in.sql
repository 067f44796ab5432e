-- Clients, passwords, what people allowed, and our own keys of service accounts.

ALTER TABLE signing_key ADD COLUMN signs_from BIGINT NOT NULL DEFAULT 0;
UPDATE signing_key SET signs_from = created;

-- PKCS#8 of a managed key. A user's key has none.
ALTER TABLE service_account_key ADD COLUMN secret BYTEA;
ALTER TABLE service_account_key ADD COLUMN disabled BOOLEAN NOT NULL DEFAULT FALSE;

ALTER TABLE person ADD COLUMN password TEXT;

CREATE TABLE oauth_client (
    id           TEXT PRIMARY KEY,
    project      TEXT NOT NULL,
    display_name TEXT NOT NULL,
    kind         TEXT NOT NULL,
    secret       TEXT,
    created      BIGINT NOT NULL
);

CREATE TABLE sign_in_session (
    hash          TEXT PRIMARY KEY,
    accounts      TEXT NOT NULL,
    expires       BIGINT NOT NULL,
    loopback_only BOOLEAN NOT NULL
);
CREATE INDEX sign_in_session_by_expires ON sign_in_session (expires);

CREATE TABLE iap_settings (
    resource TEXT PRIMARY KEY,
    settings TEXT NOT NULL
);

-- All that is issued from a grant refers to it and goes with it. "ends" is the latest end of what was issued; there is none
-- once a refresh token was. So grants of which nothing is left are found without looking at those that are in use.
CREATE TABLE person_grant (
    id        TEXT PRIMARY KEY,
    client    TEXT NOT NULL REFERENCES oauth_client (id) ON DELETE CASCADE,
    subject   TEXT NOT NULL,
    scopes    TEXT NOT NULL,
    audience  TEXT,
    nonce     TEXT,
    offline   BOOLEAN NOT NULL,
    cred_ref  BOOLEAN NOT NULL,
    auth_time BIGINT NOT NULL,
    created   BIGINT NOT NULL,
    ends      BIGINT
);
CREATE INDEX person_grant_by_person ON person_grant (client, subject, created);
CREATE INDEX person_grant_by_ends ON person_grant (ends) WHERE ends IS NOT NULL;

CREATE TABLE authorization_code (
    hash         TEXT PRIMARY KEY,
    grant_id     TEXT NOT NULL REFERENCES person_grant (id) ON DELETE CASCADE,
    redirect_uri TEXT NOT NULL,
    challenge    TEXT,
    expires      BIGINT NOT NULL,
    taken        BOOLEAN NOT NULL
);
CREATE INDEX authorization_code_by_grant ON authorization_code (grant_id);
CREATE INDEX authorization_code_by_expires ON authorization_code (expires);

CREATE TABLE refresh_token (
    hash     TEXT PRIMARY KEY,
    grant_id TEXT NOT NULL REFERENCES person_grant (id) ON DELETE CASCADE,
    rotated  BOOLEAN NOT NULL
);
CREATE INDEX refresh_token_by_grant ON refresh_token (grant_id);

-- Undecided, or decided: with a grant it is a yes, without one a no.
CREATE TABLE device_code (
    hash      TEXT PRIMARY KEY,
    user_code TEXT NOT NULL UNIQUE,
    client    TEXT NOT NULL REFERENCES oauth_client (id) ON DELETE CASCADE,
    scopes    TEXT NOT NULL,
    expires   BIGINT NOT NULL,
    polled    BIGINT,
    decided   BOOLEAN NOT NULL,
    grant_id  TEXT REFERENCES person_grant (id) ON DELETE CASCADE
);
CREATE INDEX device_code_by_client ON device_code (client);
CREATE INDEX device_code_by_expires ON device_code (expires);
CREATE INDEX device_code_by_grant ON device_code (grant_id);

-- Most access tokens are those of programs, which nobody granted: they cost the index nothing.
ALTER TABLE access_token ADD COLUMN grant_id TEXT REFERENCES person_grant (id) ON DELETE CASCADE;
ALTER TABLE access_token ADD COLUMN client TEXT;
CREATE INDEX access_token_by_grant ON access_token (grant_id) WHERE grant_id IS NOT NULL;
