//! Google's APIs, our own, and what is published.

use super::*;
use serde_json::json;

const CREDENTIALS: &str = "/iamcredentials.googleapis.com/v1/projects/-/serviceAccounts";

#[tokio::test]
async fn a_caller_with_the_role_gets_tokens_and_signatures_of_the_account() {
    let world = World::new().await;
    let authorization = bearer(CLOUD_TOKEN);
    let fields = [("authorization", authorization.as_str())];
    let scope =
        r#"{"scope": ["https://www.googleapis.com/auth/cloud-platform"], "lifetime": "3600s", "delegates": null}"#;
    for account in [TARGET, &TARGET.replace('@', "%40"), "2002"] {
        let token = world
            .post(
                &format!("{CREDENTIALS}/{account}:generateIdToken"),
                &fields,
                r#"{"audience":"a","includeEmail":"true"}"#,
            )
            .await;
        assert_eq!(token.status, StatusCode::OK, "{account} {}", token.body);
        assert_eq!(token.headers["cache-control"], "no-store");
        let made = world.post(&format!("{CREDENTIALS}/{account}:generateAccessToken"), &fields, scope).await.json();
        assert_eq!(made["expireTime"], "2027-01-15T09:00:00Z", "no fraction of a second");
        for (method, payload) in [("signJwt", r#"{\"a\":1}"#), ("signBlob", "YWJj")] {
            let body = format!(r#"{{"payload": "{payload}"}}"#);
            let signed = world.post(&format!("{CREDENTIALS}/{account}:{method}"), &fields, &body).await;
            assert_eq!(signed.status, StatusCode::OK, "{method} {}", signed.body);
            assert_eq!(signed.json()["keyId"].as_str().map(str::len), Some(40));
        }
        let everywhere =
            world.call(Method::GET, &format!("{CREDENTIALS}/{account}/allowedLocations"), &fields, "").await;
        assert_eq!(everywhere.json(), json!({"locations": [], "encodedLocations": "0x0"}));
    }
    let admin = bearer(ADMIN);
    let keys = format!("/iam.googleapis.com/v1/projects/p/serviceAccounts/{TARGET}/keys");
    let listed = world.call(Method::GET, &keys, &[("authorization", &admin)], "").await.json();
    assert_eq!(listed["keys"][0]["keyType"], "SYSTEM_MANAGED", "{listed}");
}

#[tokio::test]
async fn one_who_may_not_act_as_an_account_is_told_what_google_tells() {
    let world = World::new().await;
    let denied = |permission: &str| {
        json!({"error": {
            "code": 403,
            "message": format!("Permission '{permission}' denied on resource (or it may not exist)."),
            "status": "PERMISSION_DENIED",
            "details": [{
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "IAM_PERMISSION_DENIED",
                "domain": "iam.googleapis.com",
                "metadata": {"permission": permission},
            }],
        }})
    };
    let insufficient = json!({"error": {
        "code": 403,
        "message": "Request had insufficient authentication scopes.",
        "status": "PERMISSION_DENIED",
        "details": [{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            "domain": "googleapis.com",
            "metadata": {"service": "iamcredentials.googleapis.com"},
        }],
    }});
    let invalid = json!({"error": {
        "code": 401,
        "message": "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other \
                    valid authentication credential. See \
                    https://developers.google.com/identity/sign-in/web/devconsole-project.",
        "status": "UNAUTHENTICATED",
    }});
    let id_token = ("generateIdToken", r#"{"audience":"a"}"#);
    #[rustfmt::skip]
    let cases = [
        (CLOUD_TOKEN,  CALLER,   id_token,                            denied("iam.serviceAccounts.getOpenIdToken"), TokenReason::PermissionDenied),
        (CLOUD_TOKEN,  "nobody@p.iam.gserviceaccount.com", id_token,  denied("iam.serviceAccounts.getOpenIdToken"), TokenReason::PermissionDenied),
        (CLOUD_TOKEN,  CALLER,   ("signJwt", r#"{"payload":"{}"}"#),  denied("iam.serviceAccounts.signJwt"),        TokenReason::PermissionDenied),
        (NARROW_TOKEN, TARGET,   id_token,                            insufficient,                                 TokenReason::InsufficientScope),
        ("unknown",    TARGET,   id_token,                            invalid,                                      TokenReason::InvalidBearer),
    ];
    for (token, account, (method, body), expected, reason) in cases {
        let path = format!("{CREDENTIALS}/{account}:{method}");
        let answer = world.post(&path, &[("authorization", &bearer(token))], body).await;
        assert_eq!(answer.json(), expected, "{token} {path}");
        assert_eq!(answer.status.as_u16(), expected["error"]["code"], "{token} {path}");
        assert_eq!(world.last_reason().await, Some(reason), "{token} {path}");
    }
    let (cloud, admin) = (bearer(CLOUD_TOKEN), bearer(ADMIN));
    let cloud = ("authorization", cloud.as_str());
    let target = format!("{CREDENTIALS}/{TARGET}:generateIdToken");
    let slash = format!("{CREDENTIALS}/x%2F{TARGET}:generateIdToken");
    let body = r#"{"audience":"a"}"#;
    #[rustfmt::skip]
    let cases: [(String, Fields<'_>, &str, u16); 9] = [
        (target.clone(),                             vec![],                              body, 401),
        (target.clone(),                             vec![cloud, cloud],                  body, 401),
        (target.clone(),                             vec![("authorization", &admin)],     body, 403),
        (target.replace("/-/", "/p/"),               vec![cloud],                         body, 400),
        (slash,                                      vec![cloud],                         body, 400),
        (target.clone(),                             vec![cloud],                         "{}", 400),
        (target.clone(),                             vec![cloud], r#"{"audience":"a","audience":"b"}"#, 400),
        (target.replace("generateIdToken", "other"), vec![cloud],                         body, 404),
        (target.replace(":generateIdToken", ""),     vec![cloud],                         body, 404),
    ];
    for (path, fields, body, status) in cases {
        let answer = world.post(&path, &fields, body).await;
        assert_eq!(answer.status.as_u16(), status, "{path} {fields:?} {body} {}", answer.body);
    }
}

#[tokio::test]
async fn who_may_act_as_an_account_is_read_and_written_at_the_account() {
    let world = World::new().await;
    let admin = bearer(ADMIN);
    let fields = [("authorization", admin.as_str())];
    let account = format!("/iam.googleapis.com/v1/projects/-/serviceAccounts/{CALLER}");
    let path = format!("{account}:getIamPolicy?options.requestedPolicyVersion=3");
    let policy = world.post(&path, &fields, "").await.json();
    assert_eq!(policy, json!({"etag": "ACAB"}));
    let bind = |role: &str| {
        json!({"policy": {"bindings": [{"role": role, "members": ["user:alice@example.com"]}], "etag": policy["etag"]}})
            .to_string()
    };
    let elsewhere =
        world.post(&format!("{account}:setIamPolicy"), &fields, &bind("roles/iap.httpsResourceAccessor")).await;
    assert_eq!(elsewhere.status, StatusCode::BAD_REQUEST, "{}", elsewhere.body);
    let creator = bind("roles/iam.serviceAccountTokenCreator");
    let set = world.post(&format!("{account}:setIamPolicy"), &fields, &creator).await;
    assert_eq!(set.status, StatusCode::OK, "{}", set.body);
    assert_eq!(world.post(&format!("{account}:setIamPolicy"), &fields, &creator).await.status, StatusCode::CONFLICT);
    let read = world.post(&format!("{account}:getIamPolicy"), &fields, "{}").await.json();
    assert_eq!(read["bindings"][0]["members"], json!(["user:alice@example.com"]));
    for method in ["getIamPolicy", "setIamPolicy"] {
        let refused =
            world.post(&format!("{account}:{method}"), &[("authorization", &bearer(CLOUD_TOKEN))], &creator).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        let event = world.last_admin_event().await;
        assert_eq!((event.code, event.permissions[0].granted), (7, false), "{event:?}");
    }
}

#[tokio::test]
async fn settings_are_read_and_written_at_the_resource() {
    let world = World::new().await;
    let admin = bearer(ADMIN);
    let fields = [("authorization", admin.as_str())];
    let path = "/iap.googleapis.com/v1/projects/p/iap_web/compute/services/app:iapSettings";
    let name = "projects/123/iap_web/compute/services/777";
    let read = world.call(Method::GET, path, &fields, "").await.json();
    assert_eq!(read, json!({"name": name}));
    let settings = json!({"name": name, "accessSettings": {"oauthSettings": {"programmaticClients": [DESKTOP]}}});
    let mask = "?updateMask=accessSettings.oauthSettings.programmaticClients";
    let set = world.call(Method::PATCH, &format!("{path}{mask}"), &fields, &settings.to_string()).await;
    assert_eq!(set.json(), settings);
    assert_eq!(world.call(Method::GET, path, &fields, "").await.json(), settings);
    let cors = json!({"accessSettings": {"corsSettings": {"allowHttpOptions": true}}}).to_string();
    #[rustfmt::skip]
    let cases = [
        (Method::PATCH, path.to_owned(),                        &fields[..], cors.as_str(), 400),
        (Method::PATCH, format!("{path}?updateMask=other"),     &fields[..], "{}",          400),
        (Method::PATCH, format!("{path}{mask}&updateMask=*"),   &fields[..], "{}",          400),
        (Method::PATCH, path.to_owned(),                        &[],         "{}",          401),
        (Method::GET,   path.replace("/app:", "/none:"),        &fields[..], "",            404),
        (Method::GET,   path.replace(":iapSettings", ""),       &fields[..], "",            404),
    ];
    for (method, path, fields, body, status) in cases {
        let answer = world.call(method.clone(), &path, fields, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {}", answer.body);
    }
    assert_eq!(world.call(Method::GET, path, &fields, "").await.json(), settings, "nothing of that was written");
}

#[tokio::test]
async fn clients_are_registered_shown_and_removed_and_a_secret_is_shown_once() {
    let world = World::new().await;
    let admin = bearer(ADMIN);
    let fields = [("authorization", admin.as_str())];
    let sha1 = ["AB"; 20].join(":");
    let android = json!({"displayName": "Phone", "type": "android", "packageName": "com.example.app", "sha1": sha1});
    let created =
        world.post("/v1/oauthClients", &fields, &json!({"displayName": "Desk", "type": "desktop"}).to_string()).await;
    assert_eq!(created.headers["cache-control"], "no-store");
    let created = created.json();
    let (id, first) = (created["clientId"].as_str().unwrap(), created["clientSecret"].as_str().unwrap());
    let shown = world.call(Method::GET, &format!("/v1/oauthClients/{id}"), &fields, "").await.json();
    let expected = json!({
        "clientId": id, "displayName": "Desk", "type": "desktop", "projectNumber": "123",
        "createTime": "2027-01-15T08:00:00Z",
    });
    assert_eq!(shown, expected);
    let reset = world.post(&format!("/v1/oauthClients/{id}:resetSecret"), &fields, "").await.json();
    assert_ne!(reset["clientSecret"].as_str().unwrap(), first);
    let phone = world.post("/v1/oauthClients", &fields, &android.to_string()).await.json();
    assert_eq!((&phone["clientSecret"], &phone["sha1"]), (&Value::Null, &json!(sha1)));
    let phone = phone["clientId"].as_str().unwrap();
    #[rustfmt::skip]
    let cases = [
        (Method::POST,   format!("/v1/oauthClients/{phone}:resetSecret"), String::new(),                                          400),
        (Method::POST,   "/v1/oauthClients".into(), json!({"displayName": "x", "type": "web"}).to_string(),                       400),
        (Method::POST,   "/v1/oauthClients".into(), json!({"displayName": "x", "type": "other"}).to_string(),                     400),
        (Method::POST,   "/v1/oauthClients".into(), json!({"displayName": "x", "type": "desktop", "sha1": "x"}).to_string(),      400),
        (Method::POST,   "/v1/oauthClients".into(), json!({"displayName": "x", "type": "desktop", "clientId": "x"}).to_string(),  400),
        (Method::POST,   "/v1/oauthClients".into(), json!({"displayName": "x", "type": "desktop", "other": 1}).to_string(),       400),
        (Method::DELETE, format!("/v1/oauthClients/{phone}"),             String::new(),                                          200),
        (Method::DELETE, format!("/v1/oauthClients/{phone}"),             String::new(),                                          404),
        (Method::GET,    format!("/v1/oauthClients/{phone}"),             String::new(),                                          404),
    ];
    for (method, path, body, status) in cases {
        let answer = world.call(method.clone(), &path, &fields, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {body} {}", answer.body);
    }
    let listed = world.call(Method::GET, "/v1/oauthClients", &fields, "").await;
    assert_eq!(listed.json()["oauthClients"].as_array().map(Vec::len), Some(3));
    assert!(!listed.body.contains("ecret"));
}

#[tokio::test]
async fn keys_are_listed_and_replaced_and_the_next_one_is_published_before_it_signs() {
    let world = World::new().await;
    let admin = bearer(ADMIN);
    let fields = [("authorization", admin.as_str())];
    let states = |listed: &Value| {
        let keys = listed["keys"].as_array().unwrap().iter().filter(|key| key["purpose"] == "id-token");
        keys.map(|key| key["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(&world.call(Method::GET, "/v1/keys", &fields, "").await.json()), ["active"]);
    let rotated = world.post("/v1/keys:rotate", &fields, r#"{"purpose": "id-token"}"#).await.json();
    assert_eq!(states(&rotated), ["next", "active"]);
    for path in ["/www.googleapis.com/oauth2/v3/certs", "/www.googleapis.com/oauth2/v1/certs"] {
        let published = world.get(path).await;
        assert_eq!(published.headers["cache-control"], "public, max-age=300, must-revalidate");
        let published = published.json();
        let count = published["keys"].as_array().map(Vec::len).unwrap_or(published.as_object().unwrap().len());
        assert_eq!(count, 2, "{path}");
    }
    assert_eq!(world.post("/v1/keys:rotate", &fields, "{}").await.status, StatusCode::BAD_REQUEST);
    world.clock.advance(std::time::Duration::from_secs(900));
    assert_eq!(states(&world.call(Method::GET, "/v1/keys", &fields, "").await.json()), ["active", "replaced"]);
    let gone = world.post("/v1/keys:rotate", &fields, r#"{"purpose": "id-token", "immediately": true}"#).await.json();
    assert_eq!(states(&gone), ["active"]);
    for body in [r#"{"purpose": "other"}"#, r#"{"purpose": "fixture"}"#, r#"{"other": 1}"#] {
        assert_eq!(world.post("/v1/keys:rotate", &fields, body).await.status, StatusCode::BAD_REQUEST, "{body}");
    }
}

#[tokio::test]
async fn what_is_ours_takes_the_administrator_and_nobody_else() {
    let world = World::new().await;
    let (cloud, admin) = (bearer(CLOUD_TOKEN), bearer(ADMIN));
    let calls = [
        (Method::GET, "/v1/oauthClients"),
        (Method::GET, "/v1/oauthClients/x"),
        (Method::DELETE, "/v1/oauthClients/x"),
        (Method::POST, "/v1/oauthClients/x:resetSecret"),
        (Method::GET, "/v1/keys"),
        (Method::POST, "/v1/keys:rotate"),
        (Method::GET, "/decisions"),
        (Method::GET, "/nothing"),
    ];
    #[rustfmt::skip]
    let credentials: [(Fields<'_>, u16); 5] = [
        (vec![],                                                          401),
        (vec![("authorization", "Bearer wrong")],                         401),
        (vec![("authorization", &admin), ("authorization", &admin)],      401),
        (vec![("cookie", "doorward_console=x; doorward_sign_in=x")],      401),
        (vec![("authorization", &cloud)],                                 403),
    ];
    for (method, path) in calls {
        for (fields, status) in &credentials {
            let answer = world.call(method.clone(), path, fields, "").await;
            assert_eq!(answer.status.as_u16(), *status, "{method} {path} {fields:?}");
        }
    }
}

#[tokio::test]
async fn an_accounts_keys_are_published_in_every_form() {
    let world = World::new().await;
    let body = r#"{"payload": "{}"}"#;
    let fields = [("authorization", bearer(CLOUD_TOKEN))];
    let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let signed = world.post(&format!("{CREDENTIALS}/{TARGET}:signJwt"), &fields, body).await.json();
    let kid = signed["keyId"].as_str().unwrap();
    for account in [TARGET, &TARGET.replace('@', "%40")] {
        for form in ["robot/v1/metadata/x509", "service_accounts/v1/metadata/x509"] {
            let published = world.get(&format!("/www.googleapis.com/{form}/{account}")).await.json();
            assert!(published[kid].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----\n"), "{published}");
        }
        for form in ["service_accounts/v1/metadata/jwk", "service_accounts/v1/jwk"] {
            let published = world.get(&format!("/www.googleapis.com/{form}/{account}")).await.json();
            assert_eq!(published["keys"][0]["kid"], kid);
        }
        let raw = world.get(&format!("/www.googleapis.com/service_accounts/v1/metadata/raw/{account}")).await.json();
        assert_eq!((&raw["keyvalues"][0]["keyid"], &raw["keyvalues"][0]["exponent"]), (&json!(kid), &json!("AQAB")));
        assert_eq!(raw["keyvalues"][0]["modulus"].as_str().map(str::len), Some(344));
    }
    let unknown = world.get("/www.googleapis.com/robot/v1/metadata/x509/nobody%40p.test").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn discovery_names_addresses_of_the_form_by_which_it_was_reached() {
    let world = World::new().await;
    // (tls, host, path) => issuer, authorization endpoint, token endpoint
    let (plain, https) = ("http://127.0.0.1:8081", "https://127.0.0.1:8444");
    let google = "https://accounts.google.com";
    let (document, rfc8414) = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server");
    #[rustfmt::skip]
    let cases = [
        (false, HOST,                  format!("/accounts.google.com{document}"), google, format!("{plain}/accounts.google.com/o/oauth2/v2/auth"), format!("{plain}/oauth2.googleapis.com/token")),
        (false, HOST,                  format!("/accounts.google.com{rfc8414}"),  google, format!("{plain}/accounts.google.com/o/oauth2/v2/auth"), format!("{plain}/oauth2.googleapis.com/token")),
        (true,  "localhost:8444",      format!("/accounts.google.com{document}"), google, format!("{https}/accounts.google.com/o/oauth2/v2/auth"), format!("{https}/oauth2.googleapis.com/token")),
        (true,  "accounts.google.com", document.to_owned(),                       google, format!("{google}/o/oauth2/v2/auth"),                    "https://oauth2.googleapis.com/token".to_owned()),
        (false, HOST,                  rfc8414.to_owned(),                        plain,  format!("{plain}/o/oauth2/v2/auth"),                     format!("{plain}/oauth2.googleapis.com/token")),
        (true,  "localhost:8444",      rfc8414.to_owned(),                        https,  format!("{https}/o/oauth2/v2/auth"),                     format!("{https}/oauth2.googleapis.com/token")),
    ];
    for (tls, host, path, issuer, authorization, token) in cases {
        let mut request = request(Method::GET, &path, &[("host", host)], "");
        request.extensions_mut().insert(Connection { peer: PEER.into(), tls });
        let said = world.send(request).await.json();
        assert_eq!(said["issuer"], issuer, "{host} {path}");
        assert_eq!((&said["authorization_endpoint"], &said["token_endpoint"]), (&json!(authorization), &json!(token)));
    }
}

#[tokio::test]
async fn a_request_that_no_listener_brought_is_answered_with_nothing() {
    let world = World::new().await;
    let mut request = request(Method::GET, "/v1/keys", &[("authorization", &bearer(ADMIN))], "");
    request.extensions_mut().remove::<Connection>();
    assert_eq!(world.send(request).await.status, StatusCode::INTERNAL_SERVER_ERROR);
}
