use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use doorward_control::callers::ApiCaller;
use doorward_core::account::{ServiceAccount, UniqueId};
use doorward_core::audit::TokenMethod;
use doorward_core::policy::Binding;
use doorward_wire::iam_credentials::{
    GenerateAccessTokenRequest, GenerateIdTokenRequest, SignBlobRequest, SignJwtRequest,
};
use doorward_wire::jose::{Algorithm, TOKEN_LIMIT, Unverified, VerifyingKey};
use serde_json::json;

use crate::robots::{CLOUD, DISABLED};
use crate::{APP_CLIENT, PEER, START, Stack, cause};

const TOKEN_CREATOR: &str = "roles/iam.serviceAccountTokenCreator";
const OPEN_ID_CREATOR: &str = "roles/iam.serviceAccountOpenIdTokenCreator";
pub(crate) const WORKLOAD_USER: &str = "roles/iam.workloadIdentityUser";
const TARGET: &str = "target1@dev-project.iam.gserviceaccount.com";

fn name(account: &str) -> String {
    format!("projects/-/serviceAccounts/{account}")
}

fn address(id: &str) -> String {
    format!("{id}@dev-project.iam.gserviceaccount.com")
}

impl Stack {
    /// Lets a member hold a role on an account, or on the project if none is given.
    pub(crate) async fn let_act(&self, on: Option<&UniqueId>, role: &str, members: &[&str]) {
        let resource = match on {
            Some(account) => format!("projects/123/serviceAccounts/{}", account.0),
            None => "projects/123".to_owned(),
        };
        let members = members.iter().map(|member| member.parse().unwrap()).collect();
        self.store
            .replace_policy(&resource, &[Binding { role: role.parse().unwrap(), members, condition: None }], None, &[])
            .await
            .unwrap();
        self.publisher.refresh().await.unwrap();
    }

    /// What came of each of the four methods.
    async fn four(&self, caller: &ApiCaller, name: &str, delegates: &[String]) -> [String; 4] {
        let delegates = || delegates.to_vec();
        let id_token =
            GenerateIdTokenRequest { audience: APP_CLIENT.to_owned(), delegates: delegates(), ..Default::default() };
        let access_token =
            GenerateAccessTokenRequest { scope: vec![CLOUD.to_owned()], delegates: delegates(), lifetime: None };
        let jwt = SignJwtRequest { payload: "{}".to_owned(), delegates: delegates() };
        let blob = SignBlobRequest { payload: "YWJj".to_owned(), delegates: delegates() };
        let told = |outcome: Result<(), _>| outcome.map_or_else(|error| cause(&error), |()| "ok".to_owned());
        [
            told(self.credentials.generate_id_token(caller, name, id_token, PEER).await.map(|_| ())),
            told(self.credentials.generate_access_token(caller, name, access_token, PEER).await.map(|_| ())),
            told(self.credentials.sign_jwt(caller, name, jwt, PEER).await.map(|_| ())),
            told(self.credentials.sign_blob(caller, name, blob, PEER).await.map(|_| ())),
        ]
    }

    /// An account for which alice may do everything, and alice.
    async fn target_of_alice(&self) -> (ServiceAccount, ApiCaller) {
        let target = self.create_account("target1").await;
        let alice = self.add_person("alice").await;
        self.let_act(Some(&target.unique_id), TOKEN_CREATOR, &["user:alice@example.com"]).await;
        let caller = self.api_caller(&alice, CLOUD).await;
        (target, caller)
    }
}

#[tokio::test]
async fn a_role_opens_its_methods_and_no_others() {
    let stack = Stack::new().await;
    let target = stack.create_account("target1").await;
    let alice = stack.add_person("alice").await;
    let caller = stack.api_caller(&alice, CLOUD).await;
    let who = "user:alice@example.com";
    let roles = [TOKEN_CREATOR, OPEN_ID_CREATOR, WORKLOAD_USER, "roles/iap.httpsResourceAccessor"];
    let mut shown = Vec::new();
    for role in roles {
        for on in [Some(&target.unique_id), None] {
            stack.let_act(on, role, &[who]).await;
            let outcome = stack.four(&caller, &name(TARGET), &[]).await;
            let place = if on.is_some() { "account" } else { "project" };
            let short = role.rsplit('.').next().unwrap();
            shown.push(format!("{short} {place}: {}", outcome.join(" ")));
            stack.let_act(on, role, &[]).await;
        }
    }
    shown.push(format!("none: {}", stack.four(&caller, &name(TARGET), &[]).await.join(" ")));
    let expected = [
        "serviceAccountTokenCreator account: ok ok ok ok",
        "serviceAccountTokenCreator project: ok ok ok ok",
        "serviceAccountOpenIdTokenCreator account: ok Denied Denied Denied",
        "serviceAccountOpenIdTokenCreator project: ok Denied Denied Denied",
        "workloadIdentityUser account: ok ok Denied Denied",
        "workloadIdentityUser project: ok ok Denied Denied",
        "httpsResourceAccessor account: Denied Denied Denied Denied",
        "httpsResourceAccessor project: Denied Denied Denied Denied",
        "none: Denied Denied Denied Denied",
    ];
    assert_eq!(shown, expected);
}

#[tokio::test]
async fn every_link_of_a_chain_must_hold() {
    let stack = Stack::new().await;
    let (target, caller) = stack.target_of_alice().await;
    let (first, second) = (stack.create_account("delegate1").await, stack.create_account("delegate2").await);
    stack.create_disabled().await;
    let member = |account: &ServiceAccount| format!("serviceAccount:{}", account.email);
    let creator = TOKEN_CREATOR;
    // alice -> first -> second -> target, and alice -> target.
    stack.let_act(Some(&first.unique_id), creator, &["user:alice@example.com"]).await;
    stack.let_act(Some(&second.unique_id), creator, &[&member(&first)]).await;
    let on_target = ["user:alice@example.com".to_owned(), member(&second)];
    stack.let_act(Some(&target.unique_id), creator, &on_target.each_ref().map(String::as_str)).await;
    let (one, two) = (address("delegate1"), address("delegate2"));
    let number = second.unique_id.0.clone();
    let eleven = vec![one.as_str(); 11];
    #[rustfmt::skip]
    let cases = [
        (vec![],                                   "ok"),
        (vec![one.as_str(), &two],                 "ok"),
        (vec![one.as_str(), &number],              "ok"),
        (vec![one.as_str()],                       "Denied"),
        (vec![two.as_str()],                       "Denied"),
        (vec![two.as_str(), &one],                 "Denied"),
        (vec![one.as_str(), DISABLED, &two],       "Denied"),
        (vec![one.as_str(), "nobody@example.com"], "Denied"),
        (vec![one.as_str(), &one, &two],           "Chain"),
        (vec![one.as_str(), &two, &number],        "Chain"),
        (eleven,                                   "Chain"),
        (vec![""],                                 "Name"),
    ];
    for (delegates, expected) in cases {
        let names: Vec<String> = delegates.iter().map(|delegate| name(delegate)).collect();
        assert_eq!(stack.four(&caller, &name(TARGET), &names).await, [expected; 4], "{delegates:?}");
        let event = stack.last_event();
        let mut chain = vec!["user:alice@example.com".to_owned()];
        chain.extend(delegates.iter().map(|delegate| (*delegate).to_owned()));
        assert_eq!((event.chain, event.account.as_deref()), (chain, Some(TARGET)), "{delegates:?}");
        assert_eq!(event.method, TokenMethod::SignBlob);
    }
    // A delegate that may make ID tokens only passes nothing on.
    stack.let_act(Some(&first.unique_id), OPEN_ID_CREATOR, &["user:alice@example.com"]).await;
    let names = [name(&one), name(&two)];
    assert_eq!(stack.four(&caller, &name(TARGET), &names).await, ["Denied"; 4]);
    assert_eq!(stack.last_reason(), "permission_denied");
    let plain = format!("projects/123/serviceAccounts/{one}");
    assert_eq!(stack.four(&caller, &name(TARGET), &[plain]).await, ["Name"; 4]);
}

#[tokio::test]
async fn who_is_not_there_cannot_be_told_from_who_is_not_allowed() {
    let stack = Stack::new().await;
    let alice = stack.add_person("alice").await;
    let caller = stack.api_caller(&alice, CLOUD).await;
    stack.create_account("target1").await;
    stack.create_disabled().await;
    stack.let_act(None, OPEN_ID_CREATOR, &["user:bob@example.com"]).await;
    let mut texts = Vec::new();
    for account in [TARGET, "nobody@dev-project.iam.gserviceaccount.com", DISABLED, "alice@example.com", &alice.0] {
        assert_eq!(stack.four(&caller, &name(account), &[]).await, ["Denied"; 4], "{account}");
        texts.push(stack.last_event().refused.unwrap().replace(&format!("on {account},"), "on X,"));
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    stack.let_act(None, TOKEN_CREATOR, &["user:alice@example.com"]).await;
    assert_eq!(stack.four(&caller, &name(TARGET), &[]).await, ["ok"; 4]);
    for account in [DISABLED, &alice.0, "alice@example.com"] {
        assert_eq!(stack.four(&caller, &name(account), &[]).await, ["Denied"; 4], "{account}");
    }
    for wrong in [TARGET.to_owned(), format!("projects/123/serviceAccounts/{TARGET}"), name(""), name("a/b")] {
        assert_eq!(stack.four(&caller, &wrong, &[]).await, ["Name"; 4], "{wrong}");
    }
    let narrow = stack.api_caller(&alice, "openid email").await;
    assert_eq!(stack.four(&narrow, &name(TARGET), &[]).await, ["InsufficientScope"; 4]);
    assert_eq!(stack.last_reason(), "insufficient_scope");
}

#[tokio::test]
async fn an_access_token_lives_as_long_as_was_asked_and_an_hour_at_most() {
    let stack = Stack::new().await;
    let (target, caller) = stack.target_of_alice().await;
    let wide = format!("{CLOUD} openid");
    #[rustfmt::skip]
    let cases = [
        (vec![CLOUD],             None,             Ok(3600)),
        (vec![CLOUD, "openid"],   Some("3600s"),    Ok(3600)),
        (vec![CLOUD],             Some("1s"),       Ok(1)),
        (vec![wide.as_str()],     Some("60s"),      Ok(60)),
        (vec![CLOUD],             Some("3601s"),    Err("Lifetime")),
        (vec![CLOUD],             Some("0s"),       Err("Lifetime")),
        (vec![CLOUD],             Some("-1s"),      Err("Lifetime")),
        (vec![CLOUD],             Some("3600"),     Err("Lifetime")),
        (vec![CLOUD],             Some("s"),        Err("Lifetime")),
        (vec![CLOUD],             Some("1h"),       Err("Lifetime")),
        (vec![CLOUD],             Some("99999999999999999999s"), Err("Lifetime")),
        (vec![],                  None,             Err("Scope")),
        (vec!["nonsense"],        None,             Err("Scope")),
        (vec![CLOUD, "nonsense"], None,             Err("Scope")),
    ];
    for (scope, lifetime, expected) in cases {
        let shown = format!("{scope:?} {lifetime:?}");
        let request = GenerateAccessTokenRequest {
            scope: scope.into_iter().map(str::to_owned).collect(),
            delegates: vec![],
            lifetime: lifetime.map(str::to_owned),
        };
        match stack.credentials.generate_access_token(&caller, &name(TARGET), request, PEER).await {
            Ok(made) => {
                assert_eq!(Ok(made.expires.since(stack.now()).as_secs()), expected, "{shown}");
                let hash = doorward_core::grant::TokenHash::of(&made.token);
                let grant = stack.store.access_token(&hash, stack.now()).await.unwrap().unwrap();
                assert_eq!(
                    (grant.subject, grant.expires),
                    (doorward_core::grant::Subject::Account(target.unique_id.clone()), made.expires)
                );
            }
            Err(error) => assert_eq!(Err(cause(&error).as_str()), expected, "{shown}"),
        }
    }
    for audience in [String::new(), "a".repeat(2049)] {
        let request = GenerateIdTokenRequest { audience, ..Default::default() };
        let error = stack.credentials.generate_id_token(&caller, &name(TARGET), request, PEER).await.unwrap_err();
        assert_eq!((cause(&error).as_str(), stack.last_reason()), ("Audience", "invalid_audience"));
    }
}

#[tokio::test]
async fn a_payload_is_signed_as_it_is_with_a_key_that_is_published() {
    let stack = Stack::new().await;
    let (_, caller) = stack.target_of_alice().await;
    let hours = |hours: i64| START + hours * 3600;
    #[rustfmt::skip]
    let cases = [
        ("{}".to_owned(),                                            "ok"),
        (json!({"iss": "anybody", "exp": hours(12)}).to_string(),    "ok"),
        (json!({"exp": START}).to_string(),                          "ok"),
        (" {\"a\" : 1}\n".to_owned(),                                "ok"),
        (json!({"exp": hours(12) + 1}).to_string(),                  "Payload"),
        (json!({"exp": START - 1}).to_string(),                      "Payload"),
        (json!({"exp": hours(1).to_string()}).to_string(),           "Payload"),
        (json!({"exp": 1.5}).to_string(),                            "Payload"),
        (json!({"exp": null}).to_string(),                           "Payload"),
        ("[]".to_owned(),                                            "Payload"),
        ("{\"a\": 1, \"a\": 2}".to_owned(),                          "Payload"),
        ("{'a': 1}".to_owned(),                                      "Payload"),
        (String::new(),                                              "Payload"),
    ];
    let mut keys = Vec::new();
    for (payload, expected) in cases {
        let request = SignJwtRequest { payload: payload.clone(), delegates: vec![] };
        match stack.credentials.sign_jwt(&caller, &name(TARGET), request, PEER).await {
            Ok(signed) => {
                assert_eq!(expected, "ok", "{payload}");
                let published = stack.accounts.published_keys(TARGET).await.unwrap();
                let key = published.keys.iter().find(|key| key.kid == signed.key_id).unwrap();
                let unverified = Unverified::parse(&signed.text, TOKEN_LIMIT, &[Algorithm::Rs256]).unwrap();
                let claims = unverified.verify(&VerifyingKey::from_jwk(key).unwrap()).unwrap();
                assert_eq!(
                    serde_json::to_value(claims.as_object()).unwrap(),
                    serde_json::from_str::<serde_json::Value>(&payload).unwrap()
                );
                keys.push(signed.key_id);
            }
            Err(error) => assert_eq!(cause(&error), expected, "{payload}"),
        }
    }
    keys.dedup();
    assert_eq!(keys.len(), 1, "one key serves until it is old");
    assert!(stack.publisher.cell().current().account_key(&keys[0]).is_some(), "the data plane knows it");

    let blob = |payload: &str| SignBlobRequest { payload: payload.to_owned(), delegates: vec![] };
    let signed = stack.credentials.sign_blob(&caller, &name(TARGET), blob("YWJj"), PEER).await.unwrap();
    let published = stack.accounts.published_keys(TARGET).await.unwrap();
    let key = published.keys.iter().find(|key| key.kid == signed.key_id).unwrap();
    let signature = STANDARD.decode(&signed.text).unwrap();
    assert!(VerifyingKey::from_jwk(key).unwrap().verifies(b"abc", &signature));
    for broken in ["*", "YWJ", "YW Jj"] {
        let error = stack.credentials.sign_blob(&caller, &name(TARGET), blob(broken), PEER).await.err().unwrap();
        assert_eq!((cause(&error).as_str(), stack.last_reason()), ("Payload", "invalid_request"), "{broken}");
    }
}

#[tokio::test]
async fn a_managed_key_is_replaced_after_two_weeks_and_the_one_before_it_stays_published() {
    let stack = Stack::new().await;
    let (target, _) = stack.target_of_alice().await;
    let alice = stack.publisher.cell().current();
    let alice = alice.account_entry(&UniqueId(format!("{:0>21}", 100))).unwrap().0.clone();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let caller = stack.api_caller(&alice, CLOUD).await;
        let request = SignJwtRequest { payload: "{}".to_owned(), delegates: vec![] };
        ids.push(stack.credentials.sign_jwt(&caller, &name(TARGET), request, PEER).await.unwrap().key_id);
        let keys = stack.store.service_account_keys(&target.unique_id).await.unwrap();
        let listed: Vec<&String> = keys.iter().map(|key| &key.id).collect();
        let expected: Vec<&String> = ids.iter().skip(ids.len().saturating_sub(2)).collect();
        assert_eq!(listed, expected);
        stack.clock.advance(Duration::from_secs(14 * 24 * 3600));
    }
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 3);
}
