//! The token endpoint and its kin.

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

/// The tokens of a person who signed in by way of the desktop client.
async fn signed_in(world: &World) -> Value {
    let mut visit = Visit::to(world);
    let page = visit.get(&authorize_path(&[])).await;
    let answer = visit.sign_in(&page, "alice@example.com").await;
    let code = query(answer.location())["code"].clone();
    let body = form(&[
        ("grant_type", "authorization_code"),
        ("client_id", DESKTOP),
        ("client_secret", SECRET),
        ("code", &code),
        ("redirect_uri", "http://localhost:4444"),
    ]);
    let answer = world.post("/oauth2.googleapis.com/token", &[], &body).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    answer.json()
}

fn token_of<'a>(tokens: &'a Value, name: &str) -> &'a str {
    tokens[name].as_str().unwrap_or_else(|| panic!("{name} {tokens}"))
}

#[tokio::test]
async fn a_code_becomes_tokens_at_each_address_of_the_token_endpoint() {
    let world = World::new().await;
    let tokens = signed_in(&world).await;
    assert_eq!((&tokens["scope"], &tokens["token_type"]), (&json!("openid email"), &json!("Bearer")));
    assert!(tokens["expires_in"].is_i64() && tokens["id_token"].is_string(), "{tokens}");
    let body = form(&[("grant_type", "refresh_token"), ("refresh_token", token_of(&tokens, "refresh_token"))]);
    let basic = format!("Basic {}", STANDARD.encode(format!("{DESKTOP}:{SECRET}")));
    for path in
        ["/oauth2.googleapis.com/token", "/www.googleapis.com/oauth2/v4/token", "/accounts.google.com/o/oauth2/token"]
    {
        let answer = world.post(path, &[("authorization", &basic)], &body).await;
        assert_eq!(answer.status, StatusCode::OK, "{path} {}", answer.body);
        assert_eq!(answer.json()["refresh_token"], Value::Null, "clients with a secret keep the one that they have");
    }
}

#[tokio::test]
async fn a_refusal_has_googles_status_code_and_words_and_is_recorded() {
    let world = World::new().await;
    let tokens = signed_in(&world).await;
    let refresh = token_of(&tokens, "refresh_token");
    let by = |id: &str, secret: &str, more: &[(&str, &str)]| {
        form(&[&[("client_id", id), ("client_secret", secret)][..], more].concat())
    };
    let refreshing = [("grant_type", "refresh_token"), ("refresh_token", refresh)];
    let with_audience = |audience| by(DESKTOP, SECRET, &[refreshing[0], refreshing[1], ("audience", audience)]);
    let of_code = |code| {
        by(
            DESKTOP,
            SECRET,
            &[("grant_type", "authorization_code"), ("code", code), ("redirect_uri", "http://localhost:4444")],
        )
    };
    let unknown = "Token has been expired or revoked.";
    #[rustfmt::skip]
    let cases = [
        (by("nobody", SECRET, &refreshing),  401, "invalid_client",   "The OAuth client was not found.", TokenReason::InvalidClient),
        (by(DESKTOP, "wrong", &refreshing),  401, "invalid_client",   "Unauthorized",                    TokenReason::InvalidClient),
        (by(DESKTOP, "", &refreshing),       401, "invalid_client",   "Unauthorized",                    TokenReason::InvalidClient),
        (by(GCLOUD, SECRET, &refreshing),    400, "invalid_grant",    "Bad Request",                     TokenReason::UnknownGrant),
        (by(DESKTOP, SECRET, &[refreshing[0], ("refresh_token", "x")]), 400, "invalid_grant", unknown,     TokenReason::UnknownGrant),
        (of_code("4/x"),                     400, "invalid_grant",    "Malformed auth code.",            TokenReason::InvalidRequest),
        (with_audience("nobody"),            400, "invalid_audience", "Audience is not a valid client ID.", TokenReason::InvalidAudience),
        (with_audience(GCLOUD),              400, "invalid_audience", "The audience client and the client need to be in the same project.", TokenReason::InvalidAudience),
        (by(DESKTOP, SECRET, &[]),           400, "invalid_request",  "Required parameter is missing: grant_type", TokenReason::InvalidRequest),
        (form(&refreshing),                  400, "invalid_request",  "Could not determine client ID from request.", TokenReason::InvalidRequest),
        (by(DESKTOP, SECRET, &[refreshing[0]]), 400, "invalid_request", "Missing required parameter: refresh_token", TokenReason::InvalidRequest),
        (by(DESKTOP, SECRET, &[refreshing[0], refreshing[1], refreshing[1]]), 400, "invalid_request", "Bad Request", TokenReason::InvalidRequest),
        (by("a\0b", SECRET, &refreshing),    400, "invalid_request",  "Bad Request",                     TokenReason::InvalidRequest),
        (form(&[("grant_type", "password")]), 400, "unsupported_grant_type", "Invalid grant_type: password", TokenReason::InvalidRequest),
    ];
    for (body, status, error, description, reason) in cases {
        let answer = world.post("/oauth2.googleapis.com/token", &[], &body).await;
        assert_eq!(answer.json(), json!({"error": error, "error_description": description}), "{body}");
        assert_eq!(answer.status.as_u16(), status, "{body}");
        assert_eq!(answer.headers.get("www-authenticate").is_some(), status == 401, "{body}");
        assert_eq!(world.last_reason().await, Some(reason), "{body}");
    }
}

#[tokio::test]
async fn one_who_guesses_a_secret_is_told_when_to_come_back() {
    let world = World::new().await;
    let body = form(&[
        ("client_id", DESKTOP),
        ("client_secret", "wrong"),
        ("grant_type", "refresh_token"),
        ("refresh_token", "doorward_rt_x"),
    ]);
    let mut answer = world.post("/oauth2.googleapis.com/token", &[], &body).await;
    for _ in 0..5 {
        answer = world.post("/oauth2.googleapis.com/token", &[], &body).await;
    }
    assert_eq!((answer.status.as_u16(), &answer.json()["error"]), (429, &json!("slow_down")));
    assert_eq!(answer.headers["retry-after"], "1");
    assert_eq!(world.last_reason().await, Some(TokenReason::Throttled));
}

#[tokio::test]
async fn a_client_names_itself_in_one_place() {
    let world = World::new().await;
    let tokens = signed_in(&world).await;
    let basic = |id: &str, secret: &str| format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    let (good, other) = (basic(DESKTOP, SECRET), basic("other", SECRET));
    let body = form(&[("grant_type", "refresh_token"), ("refresh_token", token_of(&tokens, "refresh_token"))]);
    let secret_again = format!("{body}&client_secret={SECRET}");
    #[rustfmt::skip]
    let cases: [(Vec<&str>, &str, u16); 5] = [
        (vec![&good],             &body,         200),
        (vec![&good, &other],     &body,         400),
        (vec![&good, &good],      &body,         400),
        (vec![&good],             &secret_again, 400),
        (vec!["Basic ***"],       &body,         400),
    ];
    for (headers, body, status) in cases {
        let fields: Vec<_> = headers.iter().map(|value| ("authorization", *value)).collect();
        let answer = world.post("/oauth2.googleapis.com/token", &fields, body).await;
        assert_eq!(answer.status.as_u16(), status, "{headers:?} {body}");
    }
}

#[tokio::test]
async fn a_token_is_told_of_if_it_stands_in_one_place() {
    let world = World::new().await;
    let tokens = signed_in(&world).await;
    let (id_token, access) = (token_of(&tokens, "id_token"), token_of(&tokens, "access_token"));
    let bearer = format!("Bearer {access}");
    let (id, at) = (format!("id_token={id_token}"), format!("access_token={access}"));
    let none: Fields<'_> = vec![];
    let header = vec![("authorization", bearer.as_str())];
    let twice = vec![header[0], header[0]];
    let basic = vec![("authorization", "Basic x")];
    // (query, form, header) => told
    #[rustfmt::skip]
    let cases = [
        (id.as_str(), "",          none.clone(),    true),
        ("",          id.as_str(), none.clone(),    true),
        (at.as_str(), "",          none.clone(),    true),
        ("",          at.as_str(), none.clone(),    true),
        ("",          "",          header.clone(),  true),
        (at.as_str(), at.as_str(), none.clone(),    false),
        (at.as_str(), id.as_str(), none.clone(),    false),
        (at.as_str(), "",          header.clone(),  false),
        (at.as_str(), "",          twice.clone(),   false),
        (at.as_str(), "",          basic,           false),
        ("",          "",          twice,           false),
        ("",          "",          none.clone(),    false),
        ("access_token=x", "",     none.clone(),    false),
        ("id_token=x", "",         none.clone(),    false),
    ];
    for surface in ["/oauth2.googleapis.com/tokeninfo", "/www.googleapis.com/oauth2/v3/tokeninfo"] {
        for (query, body, fields, told) in &cases {
            let answer = world.post(&format!("{surface}?{query}"), fields, body).await;
            assert_eq!(answer.headers["cache-control"], "no-store");
            if *told {
                assert_eq!(answer.json()["email"], "alice@example.com", "{query} {body} {fields:?}");
            } else {
                let expected = json!({"error": "invalid_token", "error_description": "Invalid Value"});
                assert_eq!((answer.status.as_u16(), answer.json()), (400, expected), "{query} {body} {fields:?}");
                assert!(world.last_reason().await.is_some());
            }
        }
    }
    let shown = world.get(&format!("/oauth2.googleapis.com/tokeninfo?{id}")).await.json();
    assert!(shown.as_object().unwrap().values().all(Value::is_string), "{shown}");
    assert_eq!(shown["alg"], "RS256");
}

#[tokio::test]
async fn whose_a_token_is_and_that_it_is_revoked() {
    let world = World::new().await;
    let tokens = signed_in(&world).await;
    let access = token_of(&tokens, "access_token");
    let bearer = format!("Bearer {access}");
    let whose = ["/openidconnect.googleapis.com/v1/userinfo", "/www.googleapis.com/oauth2/v2/userinfo"];
    for path in whose {
        let told = world.call(Method::GET, path, &[("authorization", &bearer)], "").await.json();
        assert_eq!((&told["sub"], &told["email"]), (&json!("1001"), &json!("alice@example.com")));
        let in_query = format!("{path}?access_token={access}");
        let told = world.get(&in_query).await;
        assert_eq!(told.status, StatusCode::OK, "{path}");
        for (path, fields) in [
            (format!("{in_query}&access_token={access}"), vec![]),
            (in_query.clone(), vec![("authorization", bearer.as_str())]),
            (in_query.clone(), vec![("authorization", "Basic x")]),
            (path.to_owned(), vec![("authorization", bearer.as_str()); 2]),
            (path.to_owned(), vec![]),
        ] {
            let refused = world.call(Method::GET, &path, &fields, "").await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{path} {fields:?}");
            assert!(world.last_reason().await.is_some(), "{path} {fields:?}");
        }
    }
    for (path, status) in [("", 400), ("?token=x", 400), ("?token=x&token=y", 400)] {
        let refused = world.get(&format!("/oauth2.googleapis.com/revoke{path}")).await;
        assert_eq!(refused.status.as_u16(), status, "{path}");
        assert!(world.last_reason().await.is_some(), "{path}");
    }
    let body = form(&[("token", token_of(&tokens, "refresh_token"))]);
    let revoked = world.post("/oauth2.googleapis.com/revoke", &[], &body).await;
    assert_eq!((revoked.status, revoked.json()), (StatusCode::OK, json!({})));
    let again = world.get(&format!("/accounts.google.com/o/oauth2/revoke?{body}")).await;
    let expected = json!({"error": "invalid_token", "error_description": "Token expired or revoked"});
    assert_eq!((again.status.as_u16(), again.json()), (400, expected));
    for path in whose {
        let refused = world.call(Method::GET, path, &[("authorization", &bearer)], "").await;
        let expected = json!({"error": "invalid_request", "error_description": "Invalid Credentials"});
        assert_eq!((refused.status.as_u16(), refused.json()), (401, expected), "what it gave has ended too");
    }
}
