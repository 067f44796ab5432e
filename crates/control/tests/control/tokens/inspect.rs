use std::time::Duration;

use doorward_control::tokens::{Inspected, Issued, TokenInfo};
use doorward_core::audit::TokenMethod;
use doorward_wire::jose::encode_base64url;
use doorward_wire::oauth::{AuthorizeRequest, JwtBearerRequest, TokenRequest};
use serde_json::{Value, json};

use crate::people::kinds;
use crate::robots::{CLOUD, ROBOT, with};
use crate::{ISSUER, PEER, START, Stack, cause};

impl Stack {
    /// What `/tokeninfo` says, or the cause of the refusal.
    async fn look_at(&self, token: Option<Inspected<'_>>) -> Value {
        match self.tokens.token_info(token, PEER).await {
            Ok(TokenInfo::IdToken(claims)) => Value::Object(claims),
            Ok(TokenInfo::AccessToken(info)) => serde_json::to_value(*info).unwrap(),
            Err(error) => cause(&error).into(),
        }
    }

    /// What userinfo says, or the cause of the refusal.
    async fn user(&self, token: Option<&str>) -> Value {
        match self.tokens.user_info(token, PEER).await {
            Ok(user) => serde_json::to_value(user).unwrap(),
            Err(error) => cause(&error).into(),
        }
    }

    /// An access token of the robot for these scopes.
    async fn robots_access_token(&self, scope: &str) -> String {
        let key = self.create_key(ROBOT).await;
        let claims = json!({
            "iss": ROBOT, "aud": "https://oauth2.googleapis.com/token", "iat": START, "exp": START + 3600, "scope": scope,
        });
        let request = TokenRequest::JwtBearer(JwtBearerRequest { assertion: key.assert_claims(&claims) });
        match self.tokens.redeem(Ok(request), PEER).await.unwrap() {
            Issued::AccessToken { token, .. } => token,
            issued => panic!("{issued:?}"),
        }
    }
}

#[tokio::test]
async fn an_id_token_is_shown_with_every_claim_as_a_text_and_its_header() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let id_token = stack.tokens_for(&desktop, &alice).await.id.unwrap();
    let claims = stack.id_token_claims(&id_token);
    let snapshot = stack.publisher.cell().current();
    let kid = &snapshot.keys.published(doorward_core::keys::KeyPurpose::IdToken, stack.now())[0].kid;
    let expected = json!({
        "alg": "RS256",
        "kid": kid,
        "typ": "JWT",
        "iss": ISSUER,
        "azp": desktop.id,
        "aud": desktop.id,
        "sub": alice.subject().0,
        "email": "alice@example.com",
        "email_verified": "true",
        "hd": "example.com",
        "at_hash": claims["at_hash"],
        "iat": START.to_string(),
        "exp": (START + 3600).to_string(),
    });
    assert_eq!(stack.look_at(Some(Inspected::IdToken(&id_token))).await, expected);
    assert_eq!(stack.look_at(Some(Inspected::Bearer(&id_token))).await, expected);
    let event = stack.last_event();
    assert_eq!(
        (event.method, event.account.as_deref(), event.audience.as_deref(), event.issued.as_deref()),
        (TokenMethod::TokenInfo, Some("alice@example.com"), Some(desktop.id.as_str()), Some("token_info"))
    );
    stack.clock.advance(Duration::from_secs(3629));
    assert_eq!(stack.look_at(Some(Inspected::IdToken(&id_token))).await, expected, "the grace of clocks");
    stack.clock.advance(Duration::from_secs(1));
    assert_eq!(stack.look_at(Some(Inspected::IdToken(&id_token))).await, "Invalid");
}

#[tokio::test]
async fn what_is_no_token_of_ours_is_not_shown() {
    let stack = Stack::new().await;
    let (robot, key) = stack.robot().await;
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let tokens = stack.tokens_for(&desktop, &alice).await;
    let id_token = tokens.id.clone().unwrap();
    let snapshot = stack.publisher.cell().current();
    let claims = stack.id_token_claims(&id_token);
    let keys = &snapshot.keys;
    let sign = |purpose, claims: &Value| keys.sign(purpose, claims.as_object().unwrap(), stack.now()).unwrap();
    let id = doorward_core::keys::KeyPurpose::IdToken;
    let (input, _) = id_token.rsplit_once('.').unwrap();
    let stranger = with(claims.clone(), &json!({"sub": "999"}));
    let issuer = with(claims.clone(), &json!({"iss": "https://example.com"}));
    let forged = key.assert(&json!({"alg": "RS256", "kid": keys.published(id, stack.now())[0].kid}), &claims);
    let own = key.assert_claims(&with(claims.clone(), &json!({"sub": robot.unique_id.0})));
    #[rustfmt::skip]
    let cases = [
        (None,                                                             "Missing"),
        (Some(Inspected::IdToken("")),                                     "Invalid"),
        (Some(Inspected::IdToken(&tokens.access)),                         "Invalid"),
        (Some(Inspected::AccessToken(&id_token)),                          "Invalid"),
        (Some(Inspected::AccessToken("doorward_at_none")),                 "Invalid"),
        (Some(Inspected::AccessToken(tokens.refresh.as_deref().unwrap())), "Invalid"),
        (Some(Inspected::Bearer("doorward_at_none")),                      "Invalid"),
    ];
    for (row, (token, expected)) in cases.into_iter().enumerate() {
        assert_eq!(stack.look_at(token).await, expected, "row {row}");
        assert_eq!(stack.last_reason(), if row == 0 { "invalid_request" } else { "invalid_bearer" }, "row {row}");
    }
    #[rustfmt::skip]
    let texts = [
        sign(id, &stranger),
        sign(id, &issuer),
        sign(doorward_core::keys::KeyPurpose::Assertion, &claims),
        forged,
        own,
        format!("{input}.{}", encode_base64url(&[0; 256])),
    ];
    for (row, token) in texts.iter().enumerate() {
        assert_eq!(stack.look_at(Some(Inspected::IdToken(token))).await, "Invalid", "row {row}");
    }
    assert!(stack.look_at(Some(Inspected::IdToken(&sign(id, &claims)))).await.is_object());
}

#[tokio::test]
async fn an_access_token_tells_whose_it_is_as_far_as_its_scopes_go() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let robot = stack.create_account("robot1").await.unique_id.0;
    let persons = stack.tokens_for(&desktop, &alice).await.access;
    let code = stack.code_for(&AuthorizeRequest { scope: Some("openid".to_owned()), ..desktop.asks() }, &alice).await;
    let bare = stack.redeem_code(desktop.redeems(&code)).await.unwrap().access;
    let cloud = stack.robots_access_token(CLOUD).await;
    let mail = stack.robots_access_token("https://www.googleapis.com/auth/userinfo.email").await;
    let alice_id = alice.subject().0.as_str();
    let info = |client: &str, sub: &str, scope: &str, access_type: &str| {
        json!({
            "azp": client, "aud": client, "sub": sub, "scope": scope, "exp": (START + 3600).to_string(),
            "expires_in": "3590", "access_type": access_type,
        })
    };
    let email = |email: &str| json!({"email": email, "email_verified": "true"});
    let user = |email: &str| json!({"email": email, "email_verified": true});
    let long = "https://www.googleapis.com/auth/userinfo.email";
    stack.clock.advance(Duration::from_secs(10));
    #[rustfmt::skip]
    let cases = [
        (&persons, with(info(&desktop.id, alice_id, "openid email", "offline"), &email("alice@example.com")),
                   with(json!({"sub": alice_id, "hd": "example.com"}), &user("alice@example.com"))),
        (&bare,    info(&desktop.id, alice_id, "openid", "offline"), json!({"sub": alice_id})),
        (&cloud,   info(&robot, &robot, CLOUD, "online"),            json!("Invalid")),
        (&mail,    with(info(&robot, &robot, long, "online"), &email(ROBOT)),
                   with(json!({"sub": robot}), &user(ROBOT))),
    ];
    for (row, (token, expected, expected_user)) in cases.into_iter().enumerate() {
        assert_eq!(stack.look_at(Some(Inspected::AccessToken(token))).await, expected, "row {row}");
        assert_eq!(stack.look_at(Some(Inspected::Bearer(token))).await, expected, "row {row}");
        assert_eq!(stack.user(Some(token)).await, expected_user, "row {row}");
        assert_eq!(stack.last_event().method, TokenMethod::UserInfo);
        assert_eq!(stack.last_event().reason.is_some(), expected_user == "Invalid", "row {row}");
    }
    assert_eq!(stack.user(None).await, "Missing");
    assert_eq!(stack.user(Some("doorward_at_none")).await, "Invalid");
    stack.accounts.delete(&stack.admin, "-", ROBOT).await.unwrap();
    assert_eq!(stack.look_at(Some(Inspected::AccessToken(&mail))).await, "Invalid");
    stack.clock.advance(Duration::from_secs(3590));
    assert_eq!(stack.look_at(Some(Inspected::AccessToken(&persons))).await, "Invalid");
    assert_eq!(stack.user(Some(&persons)).await, "Invalid");
}

#[tokio::test]
async fn a_revoked_token_takes_all_that_its_person_allowed_with_it() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let other = stack.tokens_for(&desktop, &alice).await;
    for by_refresh_token in [true, false] {
        let tokens = stack.tokens_for(&desktop, &alice).await;
        let refresh = tokens.refresh.unwrap();
        let more = stack.refresh(desktop.refreshes(&refresh)).await.unwrap();
        let presented = if by_refresh_token { &refresh } else { &more.access };
        stack.tokens.revoke(presented, PEER).await.unwrap();
        let event = stack.last_event();
        assert_eq!((event.method, event.issued.as_deref()), (TokenMethod::Revoke, Some("revocation")));
        assert_eq!(event.account.as_deref(), Some("alice@example.com"));
        assert_eq!(event.client.as_deref(), Some(desktop.id.as_str()));
        assert!(!stack.is_live(&tokens.access).await && !stack.is_live(&more.access).await);
        assert_eq!(kinds(&stack.refresh(desktop.refreshes(&refresh)).await), "TokenUnknown");
        for gone in [&refresh, &more.access] {
            assert_eq!(cause(&stack.tokens.revoke(gone, PEER).await.unwrap_err()), "TokenUnknown");
            assert_eq!(stack.last_reason(), "unknown_grant");
        }
    }
    assert!(stack.is_live(&other.access).await);

    stack.create_account("robot1").await;
    let robots = stack.robots_access_token(CLOUD).await;
    stack.tokens.revoke(&robots, PEER).await.unwrap();
    assert_eq!(stack.last_event().account.as_deref(), Some(ROBOT));
    assert!(!stack.is_live(&robots).await);
    for unknown in ["", "doorward_at_none", other.id.as_deref().unwrap()] {
        assert_eq!(cause(&stack.tokens.revoke(unknown, PEER).await.unwrap_err()), "TokenUnknown");
    }
}
