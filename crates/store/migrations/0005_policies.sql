-- Whole policies and what they name, applications with their places, what changed when, and a record that shows what was done to it.

-- One row, 1: how often anything was written that readers keep a copy of, and what the newest write drew at random. Whoever
-- writes locks it last in a change and holds it to the end, so that revisions appear in their order.
CREATE TABLE revision (
    id          BIGINT PRIMARY KEY,
    value       BIGINT NOT NULL,
    mark        BIGINT NOT NULL,
    mark_before BIGINT NOT NULL
);
INSERT INTO revision (id, value, mark, mark_before) VALUES (1, 0, 0, 0);

-- Each row has the mark of its revision and that of the revision before: a reader sees whether the one leads to the other.
CREATE TABLE change_log (
    revision    BIGINT NOT NULL,
    place       BIGINT NOT NULL,
    mark        BIGINT NOT NULL,
    mark_before BIGINT NOT NULL,
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    member      TEXT,
    PRIMARY KEY (revision, place)
);

-- "region" of a global one is empty. "service" and "version" are App Engine's.
CREATE TABLE registered_application (
    service_id  TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    region      TEXT NOT NULL,
    service     TEXT,
    version     TEXT,
    client_id   TEXT NOT NULL,
    iap_enabled BOOLEAN NOT NULL,
    routes      TEXT NOT NULL,
    upstreams   TEXT NOT NULL,
    description TEXT NOT NULL,
    labels      TEXT NOT NULL,
    etag        BIGINT NOT NULL,
    UNIQUE (kind, region, name),
    UNIQUE (service, version)
);
CREATE INDEX registered_application_by_name ON registered_application (name, service_id);

INSERT INTO registered_application
SELECT service_id, name, 'backend_service', '', NULL, NULL, client_id, TRUE, '[]', '[]', '', '{}', 1 FROM application;
DROP TABLE application;

-- Settings in which nothing is set are as never written.
DELETE FROM iap_settings WHERE settings = '{}';

-- Every host and path prefix by which a request reaches an application.
CREATE TABLE application_place (
    host       TEXT NOT NULL,
    prefix     TEXT NOT NULL,
    service_id TEXT NOT NULL REFERENCES registered_application (service_id) ON DELETE CASCADE,
    PRIMARY KEY (host, prefix)
);
CREATE INDEX application_place_by_application ON application_place (service_id);

-- One row, 1.
CREATE TABLE brand (
    id                BIGINT PRIMARY KEY,
    application_title TEXT NOT NULL,
    support_email     TEXT NOT NULL,
    org_internal_only BOOLEAN NOT NULL
);

-- What is in it, as arrays of texts.
CREATE TABLE tunnel_dest_group (
    location TEXT NOT NULL,
    id       TEXT NOT NULL,
    cidrs    TEXT NOT NULL,
    fqdns    TEXT NOT NULL,
    PRIMARY KEY (location, id)
);

CREATE TABLE deny_policy (
    attachment   TEXT NOT NULL,
    id           TEXT NOT NULL,
    uid          TEXT NOT NULL,
    display_name TEXT NOT NULL,
    rules        TEXT NOT NULL,
    created      BIGINT NOT NULL,
    updated      BIGINT NOT NULL,
    etag         BIGINT NOT NULL,
    PRIMARY KEY (attachment, id)
);

CREATE TABLE custom_role (
    name        TEXT PRIMARY KEY,
    title       TEXT NOT NULL,
    description TEXT NOT NULL,
    stage       TEXT NOT NULL,
    permissions TEXT NOT NULL,
    deleted     BOOLEAN NOT NULL,
    etag        BIGINT NOT NULL
);

CREATE TABLE principal_group (
    email        TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    description  TEXT NOT NULL,
    etag         BIGINT NOT NULL
);

-- There may be a million.
CREATE TABLE group_member (
    group_email TEXT NOT NULL REFERENCES principal_group (email) ON DELETE CASCADE,
    member      TEXT NOT NULL,
    PRIMARY KEY (group_email, member)
) /*sqlite*/ WITHOUT ROWID /*pg */;
CREATE INDEX group_member_by_member ON group_member (member, group_email);

CREATE TABLE access_level (
    name        TEXT PRIMARY KEY,
    title       TEXT NOT NULL,
    description TEXT NOT NULL,
    definition  TEXT NOT NULL
);

-- A person goes with what they allowed.
CREATE INDEX person_grant_by_subject ON person_grant (subject);

-- Each event is chained to the one before by its hash. Those that have none yet get theirs when this is applied.
ALTER TABLE audit_event ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE audit_event ADD COLUMN time BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_event ADD COLUMN hash TEXT NOT NULL DEFAULT '';

-- The hash of the newest event; the number and the hash of the newest that is no more.
ALTER TABLE audit_head ADD COLUMN hash TEXT NOT NULL DEFAULT '0000000000000000000000000000000000000000000000000000000000000000';
ALTER TABLE audit_head ADD COLUMN start BIGINT NOT NULL DEFAULT 0;
ALTER TABLE audit_head ADD COLUMN start_hash TEXT NOT NULL DEFAULT '0000000000000000000000000000000000000000000000000000000000000000';
CREATE INDEX audit_event_by_id ON audit_event (id);
