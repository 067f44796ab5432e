-- Pools of identities from elsewhere, and who vouches for them.

CREATE TABLE workload_identity_pool (
    id           TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    description  TEXT NOT NULL,
    disabled     BOOLEAN NOT NULL
);

-- "name" is POOL/PROVIDER. "generation" is another after each change, and is never given again.
CREATE TABLE workload_identity_provider (
    name              TEXT PRIMARY KEY,
    pool              TEXT NOT NULL REFERENCES workload_identity_pool (id) ON DELETE CASCADE,
    id                TEXT NOT NULL,
    generation        TEXT NOT NULL,
    display_name      TEXT NOT NULL,
    description       TEXT NOT NULL,
    disabled          BOOLEAN NOT NULL,
    mapping           TEXT NOT NULL,
    condition         TEXT,
    issuer            TEXT NOT NULL,
    allowed_audiences TEXT NOT NULL,
    jwks              TEXT,
    insecure_loopback BOOLEAN NOT NULL
);
CREATE INDEX workload_identity_provider_by_pool ON workload_identity_provider (pool);

-- A token of an identity from elsewhere has an empty subject, and goes with the provider that vouched for it.
ALTER TABLE access_token ADD COLUMN provider TEXT REFERENCES workload_identity_provider (name) ON DELETE CASCADE;
ALTER TABLE access_token ADD COLUMN federated TEXT;
CREATE INDEX access_token_by_provider ON access_token (provider) WHERE provider IS NOT NULL;

-- One row. Whoever writes a policy, and whoever makes or removes something that policies name, locks it before looking at
-- anything: so that no policy names what is not there, and what is counted stays true.
CREATE TABLE name_lock (id BIGINT PRIMARY KEY);
INSERT INTO name_lock (id) VALUES (1);
