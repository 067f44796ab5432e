//! Identities from elsewhere: a pipeline and a cluster whose tokens are exchanged, and issuers whose ID tokens are callers.

use std::fs;

use doorward_tests::{Dev, Issuer, KeysAnswer, Request, Response, key, now_seconds, run};
use doorward_wire::jose::Algorithm;
use serde_json::{Value, json};

const CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A world with the pool `ci-pool` and a provider of it, and the provider's issuer.
struct Pipeline {
    dev: Dev,
    issuer: Issuer,
}

fn done(dev: &Dev, arguments: &[&str]) -> String {
    let finished = run(&mut dev.command(arguments));
    assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
    finished.stdout
}

impl Pipeline {
    /// As GitHub Actions: the claims that its tokens have, a mapping and a condition over them.
    fn github() -> Self {
        let (dev, issuer) = (Dev::start(&[]), Issuer::start("", Algorithm::Rs256));
        done(&dev, &["workload-identity-pool", "create", "ci-pool"]);
        let arguments = [
            &["workload-identity-provider", "create", "github", "--pool", "ci-pool", "--insecure-loopback"][..],
            &["--issuer", issuer.url(), "--map", "attribute.repository=assertion.repository"],
            &["--map", "google.groups=assertion.teams", "--condition", "assertion.repository_owner == 'octo-org'"],
        ];
        done(&dev, &arguments.concat());
        Pipeline { dev, issuer }
    }

    fn name(&self) -> String {
        let number = self.dev.text("/project/number");
        format!(
            "//iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/ci-pool/providers/github"
        )
    }

    fn member(&self, kind: &str, inside: &str) -> String {
        let number = self.dev.text("/project/number");
        let pool = format!("//iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/ci-pool");
        format!("{kind}:{pool}/{inside}")
    }

    fn claims(&self) -> Value {
        let now = now_seconds();
        json!({
            "iss": self.issuer.url(), "aud": format!("https:{}", self.name()), "sub": "repo:octo-org/app:ref:refs/heads/main",
            "repository": "octo-org/app", "repository_owner": "octo-org", "teams": ["release"], "iat": now, "exp": now + 600,
        })
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        match value {
            Value::Null => claims.as_object_mut().expect("claims").remove(name),
            value => claims.as_object_mut().expect("claims").insert(name.to_owned(), value),
        };
        claims
    }

    fn exchange(&self, token: &str) -> Response {
        self.exchange_for(&self.name(), token)
    }

    fn exchange_for(&self, audience: &str, token: &str) -> Response {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("audience", audience),
            ("scope", CLOUD),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("subject_token", token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        Request::post_form(&self.dev.google("sts.googleapis.com/v1/token"), &form).send()
    }

    /// The access token of an identity.
    fn federated(&self, claims: &Value) -> String {
        let answer = self.exchange(&self.issuer.sign(claims)).expect(200).json();
        answer["access_token"].as_str().expect("an access_token").to_owned()
    }

    fn allow(&self, member: &str) {
        let role = "roles/iam.workloadIdentityUser";
        done(
            &self.dev,
            &["service-account", "policy", "add", "--account", "target", "--member", member, "--role", role],
        );
    }

    /// `:generateIdToken` of `target` for the application.
    fn impersonate(&self, bearer: &str) -> Response {
        let body = json!({"audience": self.dev.text("/app/client_id"), "includeEmail": true});
        self.dev.iam_credentials(bearer, self.dev.text("/service_accounts/target/email"), "generateIdToken", &body)
    }
}

#[test]
fn a_pipeline_gets_in_without_any_secret() {
    let pipeline = Pipeline::github();
    let answer = pipeline.exchange(&pipeline.issuer.sign(&pipeline.claims())).expect(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let answer = answer.json();
    let token = answer["access_token"].as_str().expect("an access_token");
    let expires_in = answer["expires_in"].as_i64().expect("a number");
    assert!((1..=600).contains(&expires_in), "not beyond the token that was exchanged: {answer}");
    let expected = json!({
        "access_token": token, "expires_in": expires_in, "token_type": "Bearer",
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
    });
    assert_eq!(answer, expected);

    pipeline.impersonate(token).expect(403);
    let subject = pipeline.member("principal", "subject/repo:octo-org/app:ref:refs/heads/main");
    pipeline.allow(&subject);
    let id_token = pipeline.impersonate(token).expect(200).json()["token"].as_str().expect("a token").to_owned();
    let seen = Request::get(&pipeline.dev.app("/")).bearer(&id_token).send().expect(200).json();
    assert_eq!(seen["identity"]["email"], pipeline.dev.text("/service_accounts/target/email"));

    // The federated token itself opens no application, as with Google.
    let refused = Request::get(&pipeline.dev.app("/")).bearer(token).send();
    assert_eq!((refused.status, refused.reason()), (401, Some("wrong_token_kind")));
    // And the record names who acted.
    let events = pipeline.dev.token_events();
    let acted = events.iter().rfind(|event| event["method"] == "generate_id_token").expect("an event");
    assert_eq!(acted["chain"], json!([subject]));
    let exchanged = events.iter().find(|event| event["method"] == "token_exchange").expect("an event");
    assert_eq!((&exchanged["account"], &exchanged["refused"]), (&json!(subject), &Value::Null));
}

#[test]
fn a_set_of_identities_is_let_in_by_its_attribute_its_group_or_as_the_whole_pool() {
    for inside in ["attribute.repository/octo-org/app", "group/release", "*"] {
        let pipeline = Pipeline::github();
        let (mine, other) = (pipeline.claims(), pipeline.with("repository", json!("octo-org/other")));
        let mut other = other;
        other["teams"] = json!(["docs"]);
        let bearers = [&mine, &other].map(|claims| pipeline.federated(claims));
        pipeline.allow(&pipeline.member("principalSet", inside));
        let outsider = if inside == "*" { 200 } else { 403 };
        assert_eq!(bearers.map(|bearer| pipeline.impersonate(&bearer).status), [200, outsider], "{inside}");
    }
}

#[test]
fn a_subject_token_that_does_not_hold_gives_nothing_and_the_record_says_why() {
    let pipeline = Pipeline::github();
    let now = now_seconds();
    let sign = |claims: &Value| pipeline.issuer.sign(claims);
    let with = |name: &str, value: Value| sign(&pipeline.with(name, value));
    let foreign_key = key("issuer-key-1", Algorithm::Rs256);
    let unknown_key = key("issuer-key-2", Algorithm::Rs256);
    let by = |key: &doorward_wire::jose::SigningKey| {
        key.sign(pipeline.claims().as_object().expect("claims")).expect("the key signs")
    };
    let own = pipeline.dev.id_token("robot");
    #[rustfmt::skip]
    let cases = [
        // what, token, status, error, reason
        ("wrong issuer",        with("iss", json!("https://evil.example")),      400, "invalid_grant", "invalid_subject_token"),
        ("issuer with a slash", with("iss", json!(format!("{}/", pipeline.issuer.url()))), 400, "invalid_grant", "invalid_subject_token"),
        ("no issuer",           with("iss", Value::Null),                        400, "invalid_grant", "invalid_subject_token"),
        ("wrong audience",      with("aud", json!("https://other.example")),     400, "invalid_grant", "invalid_subject_token"),
        ("no audience",         with("aud", Value::Null),                        400, "invalid_grant", "invalid_subject_token"),
        ("expired",             with("exp", json!(now - 31)),                    400, "invalid_grant", "invalid_subject_token"),
        ("no exp",              with("exp", Value::Null),                        400, "invalid_grant", "invalid_subject_token"),
        ("issued ahead",        with("iat", json!(now + 300)),                   400, "invalid_grant", "invalid_subject_token"),
        ("another's key",       by(&foreign_key),                                400, "invalid_grant", "invalid_subject_token"),
        ("unknown key",         by(&unknown_key),                                400, "invalid_grant", "invalid_subject_token"),
        ("our own ID token",    own,                                             400, "invalid_grant", "invalid_subject_token"),
        ("no token",            "garbage".to_owned(),                            400, "invalid_grant", "invalid_subject_token"),
        ("condition false",     with("repository_owner", json!("evil")),         400, "unauthorized_client", "attribute_condition"),
        ("condition fails",     with("repository_owner", Value::Null),           400, "unauthorized_client", "attribute_condition"),
        ("subject missing",     with("sub", Value::Null),                        400, "unauthorized_client", "attribute_mapping"),
        ("subject empty",       with("sub", json!("")),                          400, "unauthorized_client", "attribute_mapping"),
        ("subject a number",    with("sub", json!(7)),                           400, "unauthorized_client", "attribute_mapping"),
        ("subject too long",    with("sub", json!("s".repeat(128))),             400, "invalid_request", "attribute_mapping"),
        ("attribute missing",   with("repository", Value::Null),                 400, "unauthorized_client", "attribute_mapping"),
        ("mapped too large",    with("repository", json!("r".repeat(8 * 1024))), 400, "invalid_request", "attribute_mapping"),
    ];
    for (what, token, status, error, reason) in cases {
        let answer = pipeline.exchange(&token);
        assert_eq!((answer.status, &answer.json()["error"]), (status, &json!(error)), "{what}: {}", answer.text());
        let event = pipeline.dev.token_events().pop().expect("an event");
        assert_eq!((&event["method"], &event["reason"]), (&json!("token_exchange"), &json!(reason)), "{what}: {event}");
    }
    let longest = pipeline.with("sub", json!("s".repeat(127)));
    pipeline.exchange(&sign(&longest)).expect(200);
    let name = pipeline.name();
    for (audience, error) in [
        (name.replace("github", "gitlab"), "invalid_target"),
        (name.replace("ci-pool", "other"), "invalid_target"),
        (format!("https:{name}"), "invalid_request"),
    ] {
        let answer = pipeline.exchange_for(&audience, &sign(&pipeline.claims()));
        assert_eq!((answer.status, &answer.json()["error"]), (400, &json!(error)), "{audience}");
    }
}

#[test]
fn what_was_given_ends_with_the_provider_and_the_pool_and_their_bindings() {
    for gone in [
        &["workload-identity-provider", "delete", "github", "--pool", "ci-pool"][..],
        &["workload-identity-pool", "delete", "ci-pool"],
    ] {
        let pipeline = Pipeline::github();
        let bearer = pipeline.federated(&pipeline.claims());
        pipeline.allow(&pipeline.member("principalSet", "*"));
        pipeline.impersonate(&bearer).expect(200);
        done(&pipeline.dev, gone);
        pipeline.impersonate(&bearer).expect(401);
        let answer = pipeline.exchange(&pipeline.issuer.sign(&pipeline.claims()));
        assert_eq!(answer.json()["error"], "invalid_target", "{gone:?}");
        if gone[0] == "workload-identity-pool" {
            let shown = done(&pipeline.dev, &["service-account", "policy", "get", "--account", "target"]);
            assert!(!shown.contains("principalSet"), "nobody inherits what a pool of that id had: {shown}");
        }
    }
}

#[test]
fn a_cluster_with_keys_of_its_own_needs_no_connection_to_it() {
    // As Kubernetes: the audience is a list, the subject names namespace and account, and the keys were given.
    let (dev, cluster) = (Dev::start(&[]), Issuer::start("/cluster", Algorithm::Es256));
    cluster.answer_keys(KeysAnswer::Down);
    let keys = dev.dir().join("keys.json");
    fs::write(&keys, cluster.jwks().to_string()).expect("the directory is ours");
    done(&dev, &["workload-identity-pool", "create", "clusters"]);
    let keys = keys.to_str().expect("text");
    let arguments = [
        &["provider", "create", "kube", "--pool", "clusters", "--jwks-file", keys, "--insecure-loopback"][..],
        &["--issuer", cluster.url(), "--audience", "https://doorward.example"],
        &["--map", "google.subject=assertion.sub.extract('system:serviceaccount:{account}')"],
    ];
    done(&dev, &arguments.concat());
    let now = now_seconds();
    let token = cluster.sign(&json!({
        "iss": cluster.url(), "aud": ["https://doorward.example", "https://kubernetes.default.svc"],
        "sub": "system:serviceaccount:jobs:nightly", "iat": now, "exp": now + 3600,
        "kubernetes.io": {"namespace": "jobs", "serviceaccount": {"name": "nightly"}},
    }));
    let number = dev.text("/project/number");
    // In JSON, as Google's own documentation of the service shows it.
    let request = json!({
        "grantType": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": format!("//iam.googleapis.com/projects/{number}/locations/global/workloadIdentityPools/clusters/providers/kube"),
        "scope": CLOUD, "subjectToken": token,
        "requestedTokenType": "urn:ietf:params:oauth:token-type:access_token",
        "subjectTokenType": "urn:ietf:params:oauth:token-type:jwt",
    });
    let url = dev.google("sts.googleapis.com/v1/token");
    Request::post(&url, "application/json", request.to_string().as_bytes()).send().expect(200);
    let event = dev.token_events().pop().expect("an event");
    let account = event["account"].as_str().expect("text");
    assert!(account.ends_with("/workloadIdentityPools/clusters/subject/jobs:nightly"), "{account}");
    assert_eq!(cluster.fetched(), 0, "keys that were given are not fetched");
}

#[test]
fn an_issuer_whose_keys_cannot_be_had_lets_nobody_in() {
    use KeysAnswer::{Down, Huge, Redirect, Wrong};
    for answer in [Down, Redirect, Huge, Wrong] {
        let pipeline = Pipeline::github();
        pipeline.issuer.answer_keys(answer);
        let refused = pipeline.exchange(&pipeline.issuer.sign(&pipeline.claims()));
        let told = json!({
            "error": "invalid_grant", "error_description": "Error connecting to the given credential's issuer.",
        });
        assert_eq!((refused.status, refused.json()), (400, told), "{answer:?}");
        let event = pipeline.dev.token_events().pop().expect("an event");
        assert_eq!(event["reason"], "keys_unavailable", "{answer:?}");
    }
    // And one that was there for a while is not missed while its keys are good.
    let pipeline = Pipeline::github();
    pipeline.federated(&pipeline.claims());
    pipeline.issuer.answer_keys(Down);
    pipeline.federated(&pipeline.claims());
    assert_eq!(pipeline.issuer.fetched(), 1);
}

/// A world in which `corp` vouches for its own people, and `other` for nobody's addresses.
struct Trusting {
    dev: Dev,
    corp: Issuer,
    other: Issuer,
}

impl Trusting {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let (corp, other) = (Issuer::start("", Algorithm::Rs256), Issuer::start("/tenant", Algorithm::Es256));
        let entry = |id: &str, issuer: &Issuer, more: &str| {
            format!(
                "[[trusted_issuer]]\nid = \"{id}\"\nissuer = \"{}\"\naudiences = [\"wiki\"]\ninsecure_loopback = true\n{more}\n",
                issuer.url()
            )
        };
        let list = folder.path().join("issuers.toml");
        let text = entry("corp", &corp, "email_domains = [\"corp.example\"]\ngroups_claim = \"teams\"")
            + &entry("other", &other, "");
        fs::write(&list, text).expect("the directory is ours");
        let dev = Dev::start(&["--trusted-issuers", list.to_str().expect("text")]);
        Trusting { dev, corp, other }
    }

    fn claims(issuer: &Issuer) -> Value {
        let now = now_seconds();
        json!({
            "iss": issuer.url(), "aud": "wiki", "sub": "4711", "email": "ann@corp.example", "email_verified": true,
            "iat": now, "exp": now + 600,
        })
    }

    fn get(&self, token: &str) -> Response {
        Request::get(&self.dev.app("/")).bearer(token).send()
    }

    fn allow(&self, member: &str) {
        done(&self.dev, &["policy", "add", "--app", "app", "--member", member]);
    }
}

#[test]
fn an_issuer_vouches_for_its_own_people_and_for_nobody_else() {
    let world = Trusting::start();
    let token = world.corp.sign(&Trusting::claims(&world.corp));
    let by_other = world.other.sign(&Trusting::claims(&world.other));
    for token in [&token, &by_other] {
        assert_eq!(world.get(token).expect(403).reason(), Some("permission_denied"));
    }
    world.allow("user:ann@corp.example");
    let seen = world.get(&token).expect(200).json();
    assert_eq!(seen["headers"]["x-goog-authenticated-user-id"], "issuer/corp:4711", "{seen}");
    assert_eq!(seen["headers"]["x-goog-authenticated-user-email"], "issuer/corp:ann@corp.example");
    // The same address from another issuer is nobody's.
    world.get(&by_other).expect(403);
    world.allow("principal://doorward/trustedIssuers/other/subject/4711");
    let seen = world.get(&by_other).expect(200).json();
    assert_eq!(seen["headers"]["x-goog-authenticated-user-id"], "issuer/other:4711");
    assert_eq!(seen["headers"].get("x-goog-authenticated-user-email"), None);
}

#[test]
fn the_groups_that_an_issuer_names_are_sets_of_its_own() {
    let world = Trusting::start();
    let of = |issuer: &Issuer, teams: Value| {
        let mut claims = Trusting::claims(issuer);
        claims["teams"] = teams;
        issuer.sign(&claims)
    };
    let ops = of(&world.corp, json!(["dev", "ops"]));
    world.get(&ops).expect(403);
    world.allow("principalSet://doorward/trustedIssuers/corp/group/ops");
    world.get(&ops).expect(200);
    world.get(&of(&world.corp, json!("ops"))).expect(200);
    world.get(&of(&world.corp, json!(["dev", "Ops"]))).expect(403);
    world.get(&world.corp.sign(&Trusting::claims(&world.corp))).expect(403);
    // Of whom no claim is read, and of whose groups nothing was said.
    world.get(&of(&world.other, json!(["ops"]))).expect(403);
    // A claim that holds no names is no claim of groups, and no reading of a part of it.
    assert_eq!(world.get(&of(&world.corp, json!(["ops", 7]))).status, 401);
}

#[test]
fn a_foreign_token_never_becomes_one_of_ours() {
    let world = Trusting::start();
    done(&world.dev, &["policy", "add", "--app", "app", "--member", "allAuthenticatedUsers"]);
    let sign = |name: &str, value: Value| {
        let mut claims = Trusting::claims(&world.corp);
        claims[name] = value;
        world.corp.sign(&claims)
    };
    let robot = world.dev.text("/service_accounts/robot/email");
    let unique_id = world.dev.text("/service_accounts/robot/unique_id");
    #[rustfmt::skip]
    let cases = [
        ("allAuthenticatedUsers are ours",  sign("sub", json!("4711")),                    403, "permission_denied"),
        ("one of our people",               sign("email", json!("alice@example.com")),     403, "permission_denied"),
        ("one of our programs",             sign("email", json!(robot)),                   403, "permission_denied"),
        ("the number of one",               sign("sub", json!(unique_id)),                 403, "permission_denied"),
        ("our own issuer",                  sign("iss", json!("https://accounts.google.com")), 401, "invalid_token"),
        ("the other's name",                sign("iss", json!(world.other.url())),         401, "invalid_token"),
        ("another audience",                sign("aud", json!(world.dev.text("/app/client_id"))), 401, "wrong_audience"),
        ("expired",                         sign("exp", json!(now_seconds() - 31)),        401, "expired_token"),
        ("good for a month",                sign("exp", json!(now_seconds() + 2_592_000)), 401, "invalid_token"),
    ];
    for (what, token, status, reason) in cases {
        let answer = world.get(&token);
        assert_eq!((answer.status, answer.reason()), (status, Some(reason)), "{what}: {}", answer.text());
    }
}

#[test]
fn without_the_keys_of_its_issuer_a_token_is_neither_good_nor_bad() {
    let world = Trusting::start();
    world.allow("user:ann@corp.example");
    let token = world.corp.sign(&Trusting::claims(&world.corp));
    world.corp.answer_keys(KeysAnswer::Down);
    assert_eq!(world.get(&token).expect(503).reason(), Some("keys_unavailable"));
}

#[test]
fn a_list_that_would_confuse_issuers_stops_the_start_and_says_what_to_mend() {
    let folder = tempfile::tempdir().expect("a directory");
    let list = folder.path().join("issuers.toml");
    let own = "[[trusted_issuer]]\nid = \"g\"\nissuer = \"https://accounts.google.com\"\naudiences = [\"a\"]\n";
    for (text, told) in
        [(own, "is the issuer of our own tokens"), ("[[trusted_issuer]]\nid = 1\n", "issuers.toml:2:6: ")]
    {
        fs::write(&list, text).expect("the directory is ours");
        let world = folder.path().join("world");
        let flags = ["--trusted-issuers", list.to_str().expect("text")];
        let finished = Dev::launch(&world, &flags).finish();
        assert_eq!(finished.code, Some(1), "{text}");
        assert!(finished.stderr.contains(told), "{text}: {}", finished.stderr);
    }
}
