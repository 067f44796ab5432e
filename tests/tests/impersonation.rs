//! Acting as a service account (`iamcredentials.googleapis.com`): who may, through whom, and what comes of it.

use doorward_tests::{Dev, Request, Response, now_seconds, run};
use serde_json::{Value, json};

const IAM: &str = "https://www.googleapis.com/auth/iam";
const METHODS: [&str; 4] = ["generateIdToken", "generateAccessToken", "signJwt", "signBlob"];

fn email<'a>(dev: &'a Dev, name: &str) -> &'a str {
    dev.text(&format!("/service_accounts/{name}/email"))
}

/// A body that each method takes.
fn body(dev: &Dev, method: &str) -> Value {
    match method {
        "generateIdToken" => json!({"audience": dev.text("/app/client_id"), "includeEmail": true}),
        "generateAccessToken" => json!({"scope": ["openid", "email"], "lifetime": "600s"}),
        "signJwt" => json!({"payload": "{\"a\":1}"}),
        _ => json!({"payload": "AAEC"}),
    }
}

/// An access token of a person, of a browser that is signed in.
fn access_token_of(dev: &Dev, person: &str) -> String {
    let gcloud =
        [("client_id", "32555940559.apps.googleusercontent.com"), ("client_secret", "ZmssLNjJy2998hD4CTg2ejr2")];
    let refresh_token = dev.person(person).text("gcloud_refresh_token");
    let more = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    let answer = dev.token(&[gcloud, more].concat()).expect(200).json();
    answer["access_token"].as_str().expect("an access_token").to_owned()
}

fn bearer(dev: &Dev, name: &str) -> String {
    match name {
        "alice" | "bob" => access_token_of(dev, &format!("{name}@example.com")),
        _ => dev.account(name).access_token(IAM),
    }
}

fn denied(permission: &str) -> Value {
    json!({"error": {
        "code": 403,
        "message": format!("Permission '{permission}' denied on resource (or it may not exist)."),
        "status": "PERMISSION_DENIED",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "IAM_PERMISSION_DENIED",
            "domain": "iam.googleapis.com", "metadata": {"permission": permission},
        }],
    }})
}

fn policy(dev: &Dev, verb: &str, account: &str, member: &str, role: &str) {
    let member = format!("{}:{member}", if member.ends_with("example.com") { "user" } else { "serviceAccount" });
    let arguments = ["service-account", "policy", verb, "--account", account, "--member", &member, "--role", role];
    let finished = run(&mut dev.command(&arguments));
    assert_eq!(finished.code, Some(0), "{arguments:?}: {}", finished.stderr);
}

#[test]
fn in_dev_caller_and_alice_act_as_target_and_nobody_else_does() {
    let dev = Dev::start(&[]);
    let target = email(&dev, "target");
    for (who, good) in [("caller", true), ("alice", true), ("robot", false), ("stranger", false), ("bob", false)] {
        let bearer = bearer(&dev, who);
        for (method, permission) in METHODS.into_iter().zip(["getOpenIdToken", "getAccessToken", "signJwt", "signBlob"])
        {
            // By its address and by its number.
            for account in [target, dev.text("/service_accounts/target/unique_id")] {
                let answer = dev.iam_credentials(&bearer, account, method, &body(&dev, method));
                if good {
                    assert_eq!(answer.status, 200, "{who} {method}: {}", answer.text());
                    assert_eq!(answer.header("cache-control"), Some("no-store"), "{method}");
                } else {
                    let expected = denied(&format!("iam.serviceAccounts.{permission}"));
                    assert_eq!((answer.status, answer.json()), (403, expected), "{who} {method}");
                }
            }
        }
    }
    // An account that is not there is not told from one that may not be acted as.
    let nobody = "nobody@doorward-dev.iam.gserviceaccount.com";
    let answer =
        dev.iam_credentials(&bearer(&dev, "caller"), nobody, "generateIdToken", &body(&dev, "generateIdToken"));
    assert_eq!(answer.expect(403).json(), denied("iam.serviceAccounts.getOpenIdToken"));
}

#[test]
fn each_method_gives_what_it_says() {
    let dev = Dev::start(&[]);
    let (target, unique_id) = (email(&dev, "target"), dev.text("/service_accounts/target/unique_id"));
    let (caller, client_id) = (bearer(&dev, "caller"), dev.text("/app/client_id"));
    let call = |method: &str, body: Value| dev.iam_credentials(&caller, target, method, &body).expect(200).json();
    // what is asked for => azp, and whether the e-mail is told
    #[rustfmt::skip]
    let rows = [
        (json!({"audience": client_id}),                                                        unique_id, false),
        (json!({"audience": client_id, "includeEmail": false, "delegates": null}),              unique_id, false),
        (json!({"audience": client_id, "includeEmail": true, "delegates": []}),                 unique_id, true),
        (json!({"audience": client_id, "includeEmail": "true", "useEmailAzp": "true"}),         target,    true),
        (json!({"audience": client_id, "include_email": true, "use_email_azp": true, "x": 1}),  target,    true),
    ];
    for (body, azp, with_email) in rows {
        let answer = call("generateIdToken", body.clone());
        let token = answer["token"].as_str().expect("a token");
        assert_eq!(answer, json!({"token": token}));
        let claims = dev.claims(token);
        let iat = claims["iat"].as_i64().expect("iat");
        let mut expected = json!({
            "iss": "https://accounts.google.com", "aud": client_id, "azp": azp, "sub": unique_id, "iat": iat,
            "exp": iat + 3600,
        });
        if with_email {
            expected["email"] = target.into();
            expected["email_verified"] = true.into();
        }
        assert_eq!(claims, expected, "{body}");
        Request::get(&dev.app("/")).bearer(token).send().expect(200);
    }

    let answer = call("generateAccessToken", json!({"scope": ["openid", "email"], "lifetime": "600s"}));
    let (token, expires) = (&answer["accessToken"], answer["expireTime"].as_str().expect("a time"));
    assert_eq!(answer, json!({"accessToken": token, "expireTime": expires}));
    assert!(expires.len() == "2026-11-26T00:00:00Z".len() && expires.ends_with('Z'), "{expires}");
    let info = dev.google("oauth2.googleapis.com/tokeninfo");
    let info = Request::get(&info).bearer(token.as_str().expect("a token")).send().expect(200).json();
    let expected = [&json!(target), &json!("openid email"), &json!("online")];
    assert_eq!([&info["email"], &info["scope"], &info["access_type"]], expected, "{info}");

    let signed = call("signJwt", json!({"payload": "{\"a\": [1, \"b\"]}"}));
    let blob = call("signBlob", json!({"payload": "AAEC"}));
    assert_eq!(signed["keyId"], blob["keyId"], "one key of the account, kept by us");
    let url = dev.google(&format!("www.googleapis.com/service_accounts/v1/jwk/{target}"));
    let published = Request::get(&url).send().expect(200).text();
    assert!(published.contains(signed["keyId"].as_str().expect("a key")), "{published}");

    let locations =
        dev.google(&format!("iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{target}/allowedLocations"));
    let locations = Request::get(&locations).bearer(&caller).send().expect(200).json();
    assert_eq!(locations["encodedLocations"], "0x0", "{locations}");
}

#[test]
fn each_link_of_a_chain_must_hold() {
    let dev = Dev::start(&[]);
    let [robot, stranger, caller, target] = ["robot", "stranger", "caller", "target"].map(|name| email(&dev, name));
    let creator = "roles/iam.serviceAccountTokenCreator";
    let bearer = bearer(&dev, "robot");
    let name = |account: &str| format!("projects/-/serviceAccounts/{account}");
    let call = |delegates: &[&str]| {
        let delegates: Vec<String> = delegates.iter().map(|delegate| name(delegate)).collect();
        let body = json!({"audience": dev.text("/app/client_id"), "delegates": delegates, "includeEmail": true});
        dev.iam_credentials(&bearer, target, "generateIdToken", &body)
    };
    let delegation = denied("iam.serviceAccounts.implicitDelegation");
    let last = denied("iam.serviceAccounts.getOpenIdToken");
    // robot has no right to caller, who has one to target.
    assert_eq!(call(&[caller]).expect(403).json(), delegation);
    policy(&dev, "add", caller, robot, creator);
    call(&[caller]).expect(200);
    // The right does not pass by itself.
    assert_eq!(call(&[]).expect(403).json(), last);
    // robot -> stranger -> caller -> target: every link is needed.
    assert_eq!(call(&[stranger, caller]).expect(403).json(), delegation);
    policy(&dev, "add", stranger, robot, creator);
    assert_eq!(call(&[stranger, caller]).expect(403).json(), delegation);
    policy(&dev, "add", caller, stranger, creator);
    let answer = call(&[stranger, caller]).expect(200).json();
    let claims = dev.claims(answer["token"].as_str().expect("a token"));
    assert_eq!(claims["email"], target);
    assert_eq!(call(&[caller, stranger]).expect(403).json(), delegation, "the order counts");
    // The record names the whole chain.
    let event =
        dev.token_events().into_iter().rfind(|event| event["issued"] == "id_token" && event["account"] == target);
    let chain = event.unwrap_or_else(|| panic!("{:?}", dev.token_events()))["chain"].clone();
    assert_eq!(chain, json!([format!("serviceAccount:{robot}"), stranger, caller]));
    // A right that is taken away ends the chain.
    policy(&dev, "remove", caller, stranger, creator);
    assert_eq!(call(&[stranger, caller]).expect(403).json(), delegation);
    for delegates in [&[caller, caller][..], &[target]] {
        let answer = call(delegates);
        assert!([400, 403].contains(&answer.status), "{}", answer.text());
    }
    let twice = call(&[caller, target]);
    assert_eq!(twice.expect(400).json()["error"]["status"], "INVALID_ARGUMENT");
}

#[test]
fn a_role_gives_its_permissions_and_no_others() {
    let dev = Dev::start(&[]);
    let (target, stranger) = (email(&dev, "target"), email(&dev, "stranger"));
    let bearer = bearer(&dev, "stranger");
    let allowed = |dev: &Dev| {
        METHODS.map(|method| dev.iam_credentials(&bearer, target, method, &body(dev, method)).status == 200)
    };
    // role => generateIdToken, generateAccessToken, signJwt, signBlob
    #[rustfmt::skip]
    let rows = [
        ("roles/iam.serviceAccountTokenCreator",       [true,  true,  true,  true]),
        ("roles/iam.serviceAccountOpenIdTokenCreator", [true,  false, false, false]),
        ("roles/iam.workloadIdentityUser",             [true,  true,  false, false]),
    ];
    for (role, expected) in rows {
        assert_eq!(allowed(&dev), [false; 4], "before {role}");
        policy(&dev, "add", target, stranger, role);
        assert_eq!(allowed(&dev), expected, "{role}");
        policy(&dev, "remove", target, stranger, role);
    }
    let unknown =
        ["service-account", "policy", "add", "--account", target, "--member", "user:a@b.c", "--role", "roles/owner"];
    assert_ne!(run(&mut dev.command(&unknown)).code, Some(0));
}

#[test]
fn the_policy_of_an_account_is_read_and_written_as_gcloud_does() {
    let dev = Dev::start(&[]);
    let (target, bob) = (email(&dev, "target"), access_token_of(&dev, "bob@example.com"));
    let ask = || dev.iam_credentials(&bob, target, "generateIdToken", &body(&dev, "generateIdToken")).status;
    let url = format!("iam.googleapis.com/v1/projects/{}/serviceAccounts/{target}", dev.text("/project/id"));
    let get = || {
        let method = format!("{url}:getIamPolicy?options.requestedPolicyVersion=3");
        dev.admin("POST", &method, None).send().expect(200).json()
    };
    let before = get();
    assert_eq!(ask(), 403);
    let mut changed = before.clone();
    changed["bindings"][0]["members"].as_array_mut().expect("members").push("user:bob@example.com".into());
    let set = format!("{url}:setIamPolicy");
    dev.admin("POST", &set, Some(&json!({"policy": changed}))).send().expect(200);
    assert_eq!(get()["bindings"], changed["bindings"]);
    assert_eq!(ask(), 200);
    let stale = dev.admin("POST", &set, Some(&json!({"policy": before}))).send().expect(409).json();
    assert_eq!(stale["error"]["status"], "ABORTED");
    assert_eq!(ask(), 200);
    // Whoever may act as an account may not say who else may.
    let asked = json!({"policy": changed}).to_string();
    let by_bob = Request::post(&dev.google(&set), "application/json", asked.as_bytes()).bearer(&bob).send();
    assert_eq!(by_bob.expect(403).json()["error"]["status"], "PERMISSION_DENIED");
    let role = json!({"bindings": [{"role": "roles/iap.httpsResourceAccessor", "members": ["allUsers"]}]});
    dev.admin("POST", &set, Some(&json!({"policy": role}))).send().expect(400);
}

#[test]
fn what_cannot_be_done_as_it_is_asked_is_refused_in_googles_form() {
    let dev = Dev::start(&[]);
    let target = email(&dev, "target");
    let caller = bearer(&dev, "caller");
    let now = now_seconds();
    let audience = dev.text("/app/client_id");
    let exp = |exp: Value| json!({"payload": json!({"exp": exp}).to_string()});
    let status = |answer: &Response| {
        let body = answer.json();
        assert_eq!(body["error"]["code"], answer.status, "{body}");
        body["error"]["status"].as_str().expect("a status").to_owned()
    };
    #[rustfmt::skip]
    let rows = [
        ("generateIdToken",     json!({})),
        ("generateIdToken",     json!({"audience": ""})),
        ("generateIdToken",     json!({"audience": "a".repeat(4096)})),
        ("generateIdToken",     json!({"audience": audience, "includeEmail": "maybe"})),
        ("generateIdToken",     json!({"audience": audience, "delegates": "x"})),
        ("generateIdToken",     json!({"audience": audience, "delegates": ["dev-caller"]})),
        ("generateIdToken",     json!({"audience": audience, "delegates": [format!("projects/p/serviceAccounts/{target}")]})),
        ("generateAccessToken", json!({})),
        ("generateAccessToken", json!({"scope": []})),
        ("generateAccessToken", json!({"scope": ["nonsense"]})),
        ("generateAccessToken", json!({"scope": ["openid"], "lifetime": "3601s"})),
        ("generateAccessToken", json!({"scope": ["openid"], "lifetime": "0s"})),
        ("generateAccessToken", json!({"scope": ["openid"], "lifetime": "-1s"})),
        ("generateAccessToken", json!({"scope": ["openid"], "lifetime": "1h"})),
        ("signJwt",             json!({})),
        ("signJwt",             json!({"payload": "[]"})),
        ("signJwt",             json!({"payload": {"a": 1}})),
        ("signJwt",             exp(json!(now - 60))),
        ("signJwt",             exp(json!(now + 13 * 3600))),
        ("signJwt",             exp(json!("soon"))),
        ("signBlob",            json!({"payload": "not base64"})),
    ];
    for (method, body) in rows {
        let answer = dev.iam_credentials(&caller, target, method, &body);
        assert_eq!((answer.status, status(&answer).as_str()), (400, "INVALID_ARGUMENT"), "{method} {body}");
    }
    // The project is always a hyphen.
    let url = dev
        .google(&format!("iamcredentials.googleapis.com/v1/projects/doorward-dev/serviceAccounts/{target}:signBlob"));
    let named = Request::post(&url, "application/json", b"{\"payload\":\"AAEC\"}").bearer(&caller).send();
    assert_eq!((named.status, status(&named).as_str()), (400, "INVALID_ARGUMENT"));
    let unknown = dev.iam_credentials(&caller, target, "generateNothing", &json!({}));
    assert_eq!((unknown.status, status(&unknown).as_str()), (404, "NOT_FOUND"));
}

#[test]
fn a_bearer_must_be_an_accounts_and_for_this_api() {
    let dev = Dev::start(&[]);
    let target = email(&dev, "target");
    let caller = dev.account("caller");
    let now = now_seconds();
    let signed = |more: Value| {
        let mut claims = json!({"iss": caller.email, "sub": caller.email, "iat": now, "exp": now + 3600});
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        caller.sign(&claims)
    };
    let (cloud, api) = ("https://www.googleapis.com/auth/cloud-platform", "https://iamcredentials.googleapis.com/");
    let narrow = caller.access_token("openid email");
    let admin = dev.text("/admin_token").to_owned();
    let app = format!("{}/*", dev.text("/app/url"));
    // bearer => status, and Google's word for it
    #[rustfmt::skip]
    let rows = [
        (caller.access_token(cloud),                                200, ""),
        (caller.access_token(IAM),                                  200, ""),
        (signed(json!({"scope": cloud})),                           200, ""),
        (signed(json!({"aud": api})),                               200, ""),
        (narrow,                                                    403, "PERMISSION_DENIED"),
        (signed(json!({"scope": "openid email"})),                  403, "PERMISSION_DENIED"),
        (admin,                                                     403, "PERMISSION_DENIED"),
        (dev.id_token("caller"),                                    401, "UNAUTHENTICATED"),
        (signed(json!({"aud": app})),                               401, "UNAUTHENTICATED"),
        (signed(json!({"aud": "https://iap.googleapis.com/"})),     401, "UNAUTHENTICATED"),
        (signed(json!({"aud": api, "scope": cloud})),               401, "UNAUTHENTICATED"),
        (signed(json!({"scope": cloud, "exp": now + 7200})),        401, "UNAUTHENTICATED"),
        (signed(json!({"scope": cloud, "iss": target, "sub": target})), 401, "UNAUTHENTICATED"),
        (signed(json!({})),                                         401, "UNAUTHENTICATED"),
        ("garbage".into(),                                          401, "UNAUTHENTICATED"),
    ];
    for (number, (bearer, status, word)) in rows.into_iter().enumerate() {
        let answer = dev.iam_credentials(&bearer, target, "generateIdToken", &body(&dev, "generateIdToken"));
        assert_eq!(answer.status, status, "{number}: {}", answer.text());
        if status != 200 {
            assert_eq!(answer.json()["error"]["status"], word, "{number}");
        }
    }
    let narrow = caller.access_token("openid email");
    let answer = dev.iam_credentials(&narrow, target, "generateIdToken", &body(&dev, "generateIdToken")).json();
    assert_eq!(answer["error"]["details"][0]["reason"], "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "{answer}");
}
