//! What a client gets for a person, keeps, and loses: codes, refresh tokens, revocation, and what tokens tell.

use doorward_tests::{Client, Dev, Request, Response};
use serde_json::{Value, json};

const LOOPBACK: &str = "http://localhost:4444";
const ANDROID: &str = "com.example.app:/back";
const ALICE: &str = "alice@example.com";
/// RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const S256: [(&str, &str); 2] = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];

type Parameters<'a> = &'a [(&'a str, &'a str)];

fn redeem(dev: &Dev, client: Client<'_>, code: &str, redirect_uri: &str, more: &[(&str, &str)]) -> Response {
    let grant = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", redirect_uri)];
    dev.token(&client.form(&[&grant, more].concat()))
}

fn refresh(dev: &Dev, client: Client<'_>, refresh_token: &str, more: &[(&str, &str)]) -> Response {
    let grant = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    dev.token(&client.form(&[&grant, more].concat()))
}

/// The tokens of alice for the desktop client, which asked for these scopes.
fn signed_in(dev: &Dev, scope: &str) -> Value {
    let desktop = dev.client("desktop");
    let every = [("response_type", "code"), ("redirect_uri", LOOPBACK), ("access_type", "offline")];
    let answer = dev.person(ALICE).authorize(&[&every[..], &[("client_id", desktop.id), ("scope", scope)]].concat());
    let location = answer.expect(302).header("location").expect("an address").to_owned();
    let code = doorward_tests::query_of(&location).into_iter().find(|(name, _)| name == "code").expect("a code").1;
    redeem(dev, desktop, &code, LOOPBACK, &[]).expect(200).json()
}

/// A code of alice's for an Android client, redeemed.
fn on_a_phone(dev: &Dev) -> Value {
    let android = dev.client("android");
    let code = dev.person(ALICE).code(android, ANDROID, &S256);
    redeem(dev, android, &code, ANDROID, &[("code_verifier", VERIFIER)]).expect(200).json()
}

fn text<'a>(answer: &'a Value, member: &str) -> &'a str {
    answer[member].as_str().unwrap_or_else(|| panic!("{member} in {answer}"))
}

/// Google's sentence for a refusal of the token endpoint.
fn refused(answer: Response, status: u16, code: &str, sentence: &str) {
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.expect(status).json(), json!({"error": code, "error_description": sentence}));
}

fn lives(dev: &Dev, access_token: &str) -> bool {
    let info = dev.google("openidconnect.googleapis.com/v1/userinfo");
    match Request::get(&info).bearer(access_token).send().status {
        200 => true,
        401 => false,
        status => panic!("{status}"),
    }
}

#[test]
fn an_id_token_of_a_person_says_who_they_are_for_whom_and_through_whom() {
    let dev = Dev::start(&[]);
    let (desktop, iap, alice) = (dev.client("desktop"), dev.text("/app/client_id"), dev.person(ALICE));
    for (audience, aud) in [(None, desktop.id), (Some(iap), iap)] {
        let more: Vec<(&str, &str)> = audience.map(|audience| ("audience", audience)).into_iter().collect();
        let code = alice.code(desktop, LOOPBACK, &[("nonce", "n-0S6"), ("state", "s")]);
        let answer = redeem(&dev, desktop, &code, LOOPBACK, &more).expect(200).json();
        let claims = dev.claims(text(&answer, "id_token"));
        let iat = claims["iat"].as_i64().expect("iat");
        let expected = json!({
            "iss": "https://accounts.google.com", "aud": aud, "azp": desktop.id, "sub": claims["sub"], "hd": "example.com",
            "email": ALICE, "email_verified": true, "at_hash": claims["at_hash"], "nonce": "n-0S6",
            "iat": iat, "exp": iat + 3600,
        });
        assert_eq!(claims, expected);
        assert_eq!((text(&claims, "sub").len(), text(&claims, "at_hash").len()), (21, 22));
        let access_token = json!({
            "access_token": answer["access_token"], "expires_in": 3599, "refresh_token": answer["refresh_token"],
            "scope": "openid email", "token_type": "Bearer", "id_token": answer["id_token"],
        });
        assert_eq!(answer, access_token);
        // The nonce belongs to the sign-in.
        let later = refresh(&dev, desktop, text(&answer, "refresh_token"), &more).expect(200).json();
        let claims = dev.claims(text(&later, "id_token"));
        assert_eq!((claims.get("nonce"), &claims["aud"]), (None, &json!(aud)));
    }
}

#[test]
fn a_mobile_sdk_asks_for_the_audience_where_it_signs_in() {
    let dev = Dev::start(&[]);
    let (android, iap) = (dev.client("android"), dev.text("/app/client_id"));
    let more = [&S256[..], &[("audience", iap)]].concat();
    let code = dev.person(ALICE).code(android, ANDROID, &more);
    let answer = redeem(&dev, android, &code, ANDROID, &[("code_verifier", VERIFIER)]).expect(200).json();
    let id_token = text(&answer, "id_token");
    let claims = dev.claims(id_token);
    assert_eq!([&claims["aud"], &claims["azp"]], [iap, android.id]);
    let echo = Request::get(&dev.app("/")).bearer(id_token).send().expect(200).json();
    assert_eq!(echo["identity"]["email"], ALICE);
}

#[test]
fn a_challenge_is_demanded_of_public_clients_and_held_against_everybody_who_sent_one() {
    let dev = Dev::start(&[]);
    let (desktop, android) = (dev.client("desktop"), dev.client("android"));
    let plain = [("code_challenge", VERIFIER), ("code_challenge_method", "plain")];
    let unsaid = [("code_challenge", VERIFIER)];
    let good = Some(VERIFIER);
    let wrong = Some(CHALLENGE);
    let short = Some("short");
    // client, challenge, verifier => whether the code is redeemed
    #[rustfmt::skip]
    let rows: [(Client<'_>, &str, Parameters<'_>, Option<&str>, bool); 15] = [
        (desktop, LOOPBACK, &[],     None,  true),
        (desktop, LOOPBACK, &S256,   good,  true),
        (desktop, LOOPBACK, &plain,  good,  true),
        (desktop, LOOPBACK, &unsaid, good,  true),
        (android, ANDROID,  &S256,   good,  true),
        (android, ANDROID,  &plain,  good,  true),
        (desktop, LOOPBACK, &S256,   None,  false),
        (desktop, LOOPBACK, &S256,   wrong, false),
        (desktop, LOOPBACK, &S256,   short, false),
        (desktop, LOOPBACK, &S256,   Some(""), false),
        // A plain one is no hash, and the other way round.
        (desktop, LOOPBACK, &plain,  wrong, false),
        // A verifier without a challenge: somebody took the challenge out of the request.
        (desktop, LOOPBACK, &[],     good,  false),
        (android, ANDROID,  &S256,   None,  false),
        (android, ANDROID,  &S256,   wrong, false),
        (android, ANDROID,  &plain,  wrong, false),
    ];
    for (number, (client, uri, challenge, verifier, good)) in rows.into_iter().enumerate() {
        let code = dev.person(ALICE).code(client, uri, challenge);
        let more: Vec<(&str, &str)> = verifier.map(|verifier| ("code_verifier", verifier)).into_iter().collect();
        let answer = redeem(&dev, client, &code, uri, &more);
        if good {
            assert_eq!(answer.status, 200, "{number}: {}", answer.text());
        } else {
            refused(answer, 400, "invalid_grant", "Invalid code verifier.");
        }
    }
    let none = dev.person(ALICE).authorize(&[
        ("client_id", android.id),
        ("response_type", "code"),
        ("scope", "openid"),
        ("redirect_uri", ANDROID),
    ]);
    let location = none.expect(302).header("location").expect("an address").to_owned();
    assert!(location.starts_with(&format!("{ANDROID}?error=invalid_request")), "{location}");
}

#[test]
fn a_code_is_for_one_client_one_address_and_one_time() {
    let dev = Dev::start(&[]);
    let (desktop, web, alice) = (dev.client("desktop"), dev.client("web"), dev.person(ALICE));
    let code = || alice.code(desktop, LOOPBACK, &[]);
    let unknown = Client { id: "1-nobody.apps.googleusercontent.com", secret: Some("x") };
    let wrong = Client { secret: web.secret, ..desktop };
    let none = Client { secret: None, ..desktop };
    let longer = format!("{}x", code());
    // client, code, redirect URI => status, code, sentence
    #[rustfmt::skip]
    let rows = [
        (unknown, code(),            LOOPBACK,            401, "invalid_client", "The OAuth client was not found."),
        (wrong,   code(),            LOOPBACK,            401, "invalid_client", "Unauthorized"),
        (none,    code(),            LOOPBACK,            401, "invalid_client", "Unauthorized"),
        (web,     code(),            LOOPBACK,            400, "invalid_grant",  "Bad Request"),
        (desktop, longer,            LOOPBACK,            400, "invalid_grant",  "Bad Request"),
        (desktop, "garbage".into(),  LOOPBACK,            400, "invalid_grant",  "Malformed auth code."),
        (desktop, code(),            "http://localhost:1", 400, "redirect_uri_mismatch", "Bad Request"),
        (desktop, code(),            "",                  400, "redirect_uri_mismatch", "Bad Request"),
    ];
    for (client, code, uri, status, error, sentence) in rows {
        refused(redeem(&dev, client, &code, uri, &[]), status, error, sentence);
    }
    // Another client that tries does not spend it.
    let tried = code();
    refused(redeem(&dev, web, &tried, LOOPBACK, &[]), 400, "invalid_grant", "Bad Request");
    redeem(&dev, desktop, &tried, LOOPBACK, &[]).expect(200);
    // An audience that cannot be costs no sign-in either.
    let kept = code();
    #[rustfmt::skip]
    let audiences = [
        ("nonsense",                               "Audience is not a valid client ID."),
        ("32555940559.apps.googleusercontent.com", "The audience client and the client need to be in the same project."),
    ];
    for (audience, sentence) in audiences {
        let answer = redeem(&dev, desktop, &kept, LOOPBACK, &[("audience", audience)]);
        refused(answer, 400, "invalid_audience", sentence);
    }
    redeem(&dev, desktop, &kept, LOOPBACK, &[]).expect(200);
}

#[test]
fn a_code_that_is_used_twice_ends_what_it_gave() {
    let dev = Dev::start(&[]);
    let desktop = dev.client("desktop");
    let code = dev.person(ALICE).code(desktop, LOOPBACK, &[]);
    let first = redeem(&dev, desktop, &code, LOOPBACK, &[]).expect(200).json();
    let other = signed_in(&dev, "openid email");
    assert!(lives(&dev, text(&first, "access_token")));
    refused(redeem(&dev, desktop, &code, LOOPBACK, &[]), 400, "invalid_grant", "Bad Request");
    assert!(!lives(&dev, text(&first, "access_token")));
    let answer = refresh(&dev, desktop, text(&first, "refresh_token"), &[]);
    refused(answer, 400, "invalid_grant", "Token has been expired or revoked.");
    // Another sign-in of the same person is not touched.
    assert!(lives(&dev, text(&other, "access_token")));
    refresh(&dev, desktop, text(&other, "refresh_token"), &[]).expect(200);
}

#[test]
fn of_many_who_come_at_once_with_one_code_or_one_refresh_token_at_most_one_gets_something_and_it_ends() {
    let dev = Dev::start(&[]);
    let (desktop, android) = (dev.client("desktop"), dev.client("android"));
    let code = dev.person(ALICE).code(desktop, LOOPBACK, &[]);
    let phone = on_a_phone(&dev);
    let by_code = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", LOOPBACK)];
    let by_refresh_token = [("grant_type", "refresh_token"), ("refresh_token", text(&phone, "refresh_token"))];
    for form in [desktop.form(&by_code), android.form(&by_refresh_token)] {
        let request = Request::post_form(&dev.google("oauth2.googleapis.com/token"), &form);
        let all: Vec<_> = (0..16)
            .map(|_| {
                let request = request.clone();
                std::thread::spawn(move || request.send())
            })
            .collect();
        let answers: Vec<Response> = all.into_iter().map(|one| one.join().expect("an answer")).collect();
        let given: Vec<Value> = answers.iter().filter(|answer| answer.status == 200).map(Response::json).collect();
        // None, if a second one came before the first had its answer.
        assert!(given.len() <= 1, "{given:?}");
        assert!(answers.iter().all(|answer| [200, 400].contains(&answer.status)), "{answers:?}");
        for tokens in given {
            assert!(!lives(&dev, text(&tokens, "access_token")));
        }
    }
}

#[test]
fn a_client_with_a_secret_keeps_its_refresh_token_and_a_public_one_gets_a_new_one_each_time() {
    let dev = Dev::start(&[]);
    let (desktop, android) = (dev.client("desktop"), dev.client("android"));
    let kept = signed_in(&dev, "openid email");
    for _ in 0..3 {
        let answer = refresh(&dev, desktop, text(&kept, "refresh_token"), &[]).expect(200).json();
        assert_eq!(answer.get("refresh_token"), None, "{answer}");
    }
    let first = on_a_phone(&dev);
    let second = refresh(&dev, android, text(&first, "refresh_token"), &[]).expect(200).json();
    let third = refresh(&dev, android, text(&second, "refresh_token"), &[]).expect(200).json();
    let tokens = [&first, &second, &third].map(|answer| text(answer, "refresh_token"));
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2], "{tokens:?}");
    // Two have the first one: which of them is the owner is not known.
    let reused = refresh(&dev, android, tokens[0], &[]);
    refused(reused, 400, "invalid_grant", "Token has been expired or revoked.");
    let newest = refresh(&dev, android, tokens[2], &[]);
    refused(newest, 400, "invalid_grant", "Token has been expired or revoked.");
    assert!(!lives(&dev, text(&third, "access_token")));
}

#[test]
fn a_refresh_token_gives_no_more_than_the_person_allowed_and_to_nobody_else() {
    let dev = Dev::start(&[]);
    let (desktop, web) = (dev.client("desktop"), dev.client("web"));
    let signed_in = signed_in(&dev, "openid email");
    let token = text(&signed_in, "refresh_token");
    let less = refresh(&dev, desktop, token, &[("scope", "openid")]).expect(200).json();
    assert_eq!(less["scope"], "openid");
    let info = Request::get(&dev.google("openidconnect.googleapis.com/v1/userinfo"));
    let info = info.bearer(text(&less, "access_token")).send().expect(200).json();
    assert_eq!(info, json!({"sub": dev.claims(text(&signed_in, "id_token"))["sub"]}));
    let scope = "Invalid OAuth scope or ID token audience provided.";
    let foreign = "The audience client and the client need to be in the same project.";
    let of_gcloud = dev.person(ALICE).text("gcloud_refresh_token");
    let cloud = ("scope", "openid https://www.googleapis.com/auth/cloud-platform");
    #[rustfmt::skip]
    let rows: [(Client<'_>, &str, Parameters<'_>, &str, &str); 6] = [
        (desktop, token,            &[cloud],                  "invalid_scope",    scope),
        (desktop, token,            &[("audience", "x")],      "invalid_audience", "Audience is not a valid client ID."),
        (desktop, token,            &[("audience", "909320924072.apps.googleusercontent.com")], "invalid_audience", foreign),
        (desktop, "doorward_rt_x",  &[],                       "invalid_grant",    "Token has been expired or revoked."),
        (web,     token,            &[],                       "invalid_grant",    "Bad Request"),
        (desktop, of_gcloud,        &[],                       "invalid_grant",    "Bad Request"),
    ];
    for (client, token, more, code, sentence) in rows {
        refused(refresh(&dev, client, token, more), 400, code, sentence);
    }
    refresh(&dev, desktop, token, &[]).expect(200);
}

#[test]
fn revoking_any_token_of_a_client_ends_all_that_the_person_allowed_it() {
    let dev = Dev::start(&[]);
    let desktop = dev.client("desktop");
    let revoke = dev.google("oauth2.googleapis.com/revoke");
    let by_query = |token: &str| Request::post(&format!("{revoke}?token={token}"), "text/plain", b"").send();
    let by_form = |token: &str| Request::post_form(&revoke, &[("token", token)]).send();
    for (member, call) in [("refresh_token", &by_form as &dyn Fn(&str) -> Response), ("access_token", &by_query)] {
        let tokens = signed_in(&dev, "openid email");
        let again = refresh(&dev, desktop, text(&tokens, "refresh_token"), &[]).expect(200).json();
        assert_eq!(call(text(&tokens, member)).expect(200).json(), json!({}), "{member}");
        for access_token in [text(&tokens, "access_token"), text(&again, "access_token")] {
            assert!(!lives(&dev, access_token), "{member}");
        }
        let answer = refresh(&dev, desktop, text(&tokens, "refresh_token"), &[]);
        refused(answer, 400, "invalid_grant", "Token has been expired or revoked.");
        refused(call(text(&tokens, member)), 400, "invalid_token", "Token expired or revoked");
    }
    refused(by_form("garbage"), 400, "invalid_token", "Token expired or revoked");
}

#[test]
fn a_token_tells_of_itself_by_query_by_form_and_by_header() {
    let dev = Dev::start(&[]);
    let desktop = dev.client("desktop");
    let tokens = signed_in(&dev, "openid email");
    let (access_token, id_token) = (text(&tokens, "access_token"), text(&tokens, "id_token"));
    let url = dev.google("oauth2.googleapis.com/tokeninfo");
    let claims = dev.claims(id_token);
    let answers = [
        Request::get(&format!("{url}?access_token={access_token}")).send(),
        Request::post_form(&url, &[("access_token", access_token)]).send(),
        // As Node's library asks.
        Request::post_form(&url, &[]).bearer(access_token).send(),
    ];
    for answer in answers {
        let info = answer.expect(200).json();
        let expected = json!({
            "azp": desktop.id, "aud": desktop.id, "sub": claims["sub"], "scope": "openid email", "exp": info["exp"],
            "expires_in": info["expires_in"], "email": ALICE, "email_verified": "true", "access_type": "offline",
        });
        assert_eq!(info, expected);
        assert!(text(&info, "expires_in").parse::<u16>().is_ok_and(|seconds| (3500..=3600).contains(&seconds)));
    }
    for answer in [
        Request::get(&format!("{url}?id_token={id_token}")).send(),
        Request::post_form(&url, &[("id_token", id_token)]).send(),
    ] {
        let info = answer.expect(200).json();
        let mut expected = claims.clone();
        for (name, value) in [("alg", "RS256"), ("typ", "JWT"), ("kid", text(&info, "kid"))] {
            expected[name] = value.into();
        }
        for name in ["iat", "exp", "email_verified"] {
            expected[name] = expected[name].to_string().into();
        }
        assert_eq!(info, expected);
    }
    let tampered = doorward_tests::tampered(id_token);
    let bad = [
        Request::get(&url).send(),
        Request::get(&format!("{url}?access_token=garbage")).send(),
        Request::get(&format!("{url}?id_token={tampered}")).send(),
        Request::get(&format!("{url}?id_token={id_token}&access_token={access_token}")).send(),
        Request::get(&url).bearer("garbage").send(),
    ];
    for answer in bad {
        refused(answer, 400, "invalid_token", "Invalid Value");
    }
}

#[test]
fn user_information_is_what_the_scopes_tell() {
    let dev = Dev::start(&[]);
    let url = dev.google("openidconnect.googleapis.com/v1/userinfo");
    #[rustfmt::skip]
    let rows = [
        ("openid email",                                         json!({"email": ALICE, "email_verified": true, "hd": "example.com"})),
        ("openid https://www.googleapis.com/auth/userinfo.email", json!({"email": ALICE, "email_verified": true, "hd": "example.com"})),
        ("openid",                                               json!({})),
    ];
    for (scope, mut expected) in rows {
        let tokens = signed_in(&dev, scope);
        assert_eq!(tokens["scope"], scope, "as it was asked for");
        expected["sub"] = dev.claims(text(&tokens, "id_token"))["sub"].clone();
        let access_token = text(&tokens, "access_token");
        let answers = [
            Request::get(&url).bearer(access_token).send(),
            Request::post_form(&url, &[("access_token", access_token)]).send(),
        ];
        for answer in answers {
            assert_eq!(answer.expect(200).json(), expected, "{scope}");
        }
    }
    for request in [Request::get(&url), Request::get(&url).bearer("garbage")] {
        refused(request.send(), 401, "invalid_request", "Invalid Credentials");
    }
}
