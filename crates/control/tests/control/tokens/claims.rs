use doorward_control::instance::IdentityRequest;
use doorward_core::policy::Binding;
use doorward_wire::iam_credentials::GenerateIdTokenRequest;
use doorward_wire::jose::encode_base64url;
use doorward_wire::oauth::{AuthorizeRequest, JwtBearerRequest, TokenRequest};
use serde_json::{Value, json};

use crate::robots::{ROBOT, with};
use crate::{APP_CLIENT, ISSUER, PEER, START, Stack};

/// The claims that every ID token has.
fn common(azp: &str, sub: &str) -> Value {
    json!({"iss": ISSUER, "aud": APP_CLIENT, "azp": azp, "sub": sub, "iat": START, "exp": START + 3600})
}

#[tokio::test]
async fn an_id_token_for_an_account_has_the_claims_of_its_kind_and_no_others() {
    let stack = Stack::new().await;
    let (robot, key) = stack.robot().await;
    let alice = stack.alice().await;
    let id = robot.unique_id.0.as_str();
    let email = json!({"email": ROBOT, "email_verified": true});

    let assertion = key.assert_claims(&json!({
        "iss": ROBOT, "aud": "https://oauth2.googleapis.com/token", "iat": START, "exp": START + 3600,
        "target_audience": APP_CLIENT,
    }));
    let request = TokenRequest::JwtBearer(JwtBearerRequest { assertion });
    let Ok(doorward_control::tokens::Issued::IdToken(asserted)) = stack.tokens.redeem(Ok(request), PEER).await else {
        panic!("an ID token")
    };
    assert_eq!(stack.id_token_claims(&asserted), with(common(ROBOT, id), &email));

    let binding = Binding {
        role: "roles/iam.serviceAccountOpenIdTokenCreator".parse().unwrap(),
        members: vec!["user:alice@example.com".parse().unwrap()],
        condition: None,
    };
    stack.store.replace_policy(&format!("projects/123/serviceAccounts/{id}"), &[binding], None, &[]).await.unwrap();
    stack.publisher.refresh().await.unwrap();
    let caller = stack.api_caller(alice.subject(), crate::robots::CLOUD).await;
    let name = format!("projects/-/serviceAccounts/{ROBOT}");
    #[rustfmt::skip]
    let impersonated = [
        (false, false, common(id, id)),
        (true,  false, with(common(id, id), &email)),
        (true,  true,  with(common(ROBOT, id), &email)),
        (false, true,  common(ROBOT, id)),
    ];
    for (include_email, use_email_azp, expected) in impersonated {
        let audience = APP_CLIENT.to_owned();
        let request = GenerateIdTokenRequest { audience, include_email, use_email_azp, ..Default::default() };
        let token = stack.credentials.generate_id_token(&caller, &name, request, PEER).await.unwrap();
        assert_eq!(stack.id_token_claims(&token), expected, "{include_email} {use_email_azp}");
    }

    let instance = stack.instance(&robot.unique_id);
    let machine = |extra: Value| {
        let compute_engine = with(
            json!({
                "project_id": "dev-project",
                "project_number": 123,
                "zone": "us-central1-a",
                "instance_id": "4711",
                "instance_name": "dev-instance",
                "instance_creation_timestamp": START,
                "instance_confidentiality": 0,
            }),
            &extra,
        );
        with(with(common(id, id), &email), &json!({"google": {"compute_engine": compute_engine}}))
    };
    for (format, expected) in [
        ((None, None), common(id, id)),
        ((Some("standard"), Some("TRUE")), common(id, id)),
        ((Some("full"), None), machine(json!({}))),
        ((Some("full"), Some("TRUE")), machine(json!({"license_id": []}))),
    ] {
        let (format, licenses) = format;
        let request = IdentityRequest { audience: Some(APP_CLIENT), format, licenses };
        let token = instance.identity(request, PEER).await.unwrap();
        assert_eq!(stack.id_token_claims(&token), expected);
    }
}

#[tokio::test]
async fn an_id_token_for_a_person_tells_what_the_scopes_allow() {
    let stack = Stack::new().await;
    let alice = stack.alice().await;
    let desktop = stack.desktop().await;
    let email = json!({"email": "alice@example.com", "email_verified": true, "hd": "example.com"});
    #[rustfmt::skip]
    let cases = [
        ("openid email", None,      with(common(&desktop.id, &alice.subject().0), &email)),
        ("openid",       Some("n"), with(common(&desktop.id, &alice.subject().0), &json!({"nonce": "n"}))),
        ("https://www.googleapis.com/auth/userinfo.email", None, with(common(&desktop.id, &alice.subject().0), &email)),
    ];
    for (scope, nonce, expected) in cases {
        let request = AuthorizeRequest {
            scope: Some(scope.to_owned()),
            nonce: nonce.map(str::to_owned),
            audience: Some(APP_CLIENT.to_owned()),
            ..desktop.asks()
        };
        let code = stack.code_for(&request, &alice).await;
        let tokens = stack.redeem_code(desktop.redeems(&code)).await.unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, tokens.access.as_bytes());
        let at_hash = encode_base64url(&digest.as_ref()[..16]);
        let claims = stack.id_token_claims(&tokens.id.unwrap());
        assert_eq!(claims, with(expected, &json!({"at_hash": at_hash})), "{scope}");
    }
}
