use std::time::Duration;

use doorward_control::callers::{ApiCaller, Callers};
use doorward_core::account::UniqueId;
use doorward_core::entropy::random_base64url;
use doorward_core::grant::{AccessGrant, Subject, TokenHash};
use doorward_wire::jose::encode_base64url;
use doorward_wire::oauth::Scopes;
use serde_json::{Value, json};

use crate::robots::{CLOUD, OTHER, ROBOT, with};
use crate::{PEER, START, Stack, cause};

const HOST: &str = "iamcredentials.googleapis.com";
const IAM: &str = "https://www.googleapis.com/auth/iam";

impl Stack {
    pub(crate) fn callers(&self) -> Callers {
        let store = self.store.clone();
        Callers::new(Some(TokenHash::of("doorward_admin_x")), store, self.publisher.cell(), self.clock.clone())
    }

    /// An access token, good for ten seconds.
    pub(crate) async fn access_token(&self, subject: &UniqueId, scope: &str) -> String {
        let token = format!("doorward_at_{}", random_base64url(&*self.entropy, 32).unwrap());
        let grant = AccessGrant {
            subject: Subject::Account(subject.clone()),
            scopes: Scopes::parse(scope).unwrap(),
            expires: self.now() + Duration::from_secs(10),
            person_grant: None,
        };
        assert!(self.store.add_access_token(&TokenHash::of(&token), &grant, self.now()).await.unwrap());
        token
    }

    pub(crate) async fn api_caller(&self, subject: &UniqueId, scope: &str) -> ApiCaller {
        let token = self.access_token(subject, scope).await;
        self.callers().account(Some(&token), HOST).await.unwrap()
    }

    /// Who calls: `user:` or `serviceAccount:` and whether the credential opens the IAM APIs; or the cause of the refusal.
    async fn caller(&self, bearer: Option<&str>, host: &str) -> String {
        match self.callers().account(bearer, host).await {
            Ok(caller) if caller.opens_cloud_apis() => caller.member(),
            Ok(caller) => format!("{} elsewhere", caller.member()),
            Err(error) => cause(&error),
        }
    }
}

#[tokio::test]
async fn whoever_is_proven_may_ask_and_only_the_bearer_of_the_administration_token_is_the_operator() {
    let stack = Stack::new().await;
    let alice = stack.add_person("alice").await;
    let of_alice = stack.access_token(&alice, CLOUD).await;
    let narrow = stack.access_token(&alice, "openid email").await;
    let outcome = async |bearer| match stack.callers().admin(bearer, HOST, PEER, Some("gcloud/1\n")).await {
        Ok(admin) => admin.member(),
        Err(error) => cause(&error),
    };
    let hash = TokenHash::of("doorward_admin_x").0;
    #[rustfmt::skip]
    let cases = [
        (Some("doorward_admin_x"),  "operator"),
        (Some(of_alice.as_str()),   "user:alice@example.com"),
        (Some(narrow.as_str()),     "InsufficientScope"),
        (Some("doorward_admin_y"),  "Invalid"),
        (Some("doorward_admin_x "), "Invalid"),
        (Some(hash.as_str()),       "Invalid"),
        (Some(""),                  "Invalid"),
        (None,                      "Missing"),
    ];
    for (bearer, expected) in cases {
        assert_eq!(outcome(bearer).await, expected, "{bearer:?}");
    }
    stack.clock.advance(Duration::from_secs(10));
    assert_eq!(outcome(Some(&of_alice)).await, "Invalid", "an access token that has ended proves nobody");
}

#[tokio::test]
async fn an_access_token_proves_its_account_while_that_is_there_and_enabled() {
    let stack = Stack::new().await;
    let alice = stack.add_person("alice").await;
    let gone = stack.add_user("gone@example.com", true).await;
    let robot = stack.create_account("robot1").await.unique_id;
    let disabled = stack.create_disabled().await.unique_id;
    let nobody = UniqueId("999".to_owned());
    let of_robot = format!("serviceAccount:{ROBOT}");
    #[rustfmt::skip]
    let cases = [
        (&alice,    CLOUD,    "user:alice@example.com"),
        (&alice,    "openid", "user:alice@example.com elsewhere"),
        (&robot,    IAM,      of_robot.as_str()),
        (&gone,     CLOUD,    "Invalid"),
        (&disabled, CLOUD,    "Invalid"),
        (&nobody,   CLOUD,    "Invalid"),
    ];
    for (row, (subject, scope, expected)) in cases.into_iter().enumerate() {
        let token = stack.access_token(subject, scope).await;
        assert_eq!(stack.caller(Some(&token), HOST).await, expected, "row {row}");
    }
    assert_eq!(stack.caller(Some("doorward_admin_x"), HOST).await, "NotAnAccount");
    assert_eq!(stack.caller(None, HOST).await, "Missing");
}

#[tokio::test]
async fn a_jwt_that_an_account_signed_itself_is_a_bearer_for_the_scopes_or_the_api_that_it_names() {
    let stack = Stack::new().await;
    let (_, key) = stack.robot().await;
    stack.create_account("robot2").await;
    let other = stack.create_key(OTHER).await;
    let base = json!({"iss": ROBOT, "sub": ROBOT, "iat": START, "exp": START + 3600});
    let (known, elsewhere) = (format!("serviceAccount:{ROBOT}"), format!("serviceAccount:{ROBOT} elsewhere"));
    let api = format!("https://{HOST}/");
    #[rustfmt::skip]
    let cases = [
        (json!({"scope": CLOUD}),                                          known.as_str()),
        (json!({"scope": format!("openid {IAM}")}),                        &known),
        (json!({"aud": api}),                                              &known),
        (json!({"scope": CLOUD, "iss": ROBOT.to_uppercase()}),             &known),
        (json!({"scope": CLOUD, "iat": START + 30}),                       &known),
        (json!({"scope": CLOUD, "iat": START - 3600, "exp": START}),       &known),
        (json!({"scope": "openid"}),                                       &elsewhere),
        (json!({"scope": "nonsense"}),                                     "Invalid"),
        (json!({"scope": ""}),                                             "Invalid"),
        (json!({"scope": 7}),                                              "Invalid"),
        (json!({}),                                                        "Invalid"),
        // For an application or for the token endpoint, not for an API.
        (json!({"aud": "https://app.test/"}),                              "Invalid"),
        (json!({"aud": "https://oauth2.googleapis.com/token"}),            "Invalid"),
        (json!({"aud": "https://oauth2.googleapis.com/token", "scope": CLOUD}), "Invalid"),
        (json!({"aud": "https://iap.googleapis.com/"}),                    "Invalid"),
        (json!({"aud": [api]}),                                            "Invalid"),
        (json!({"aud": api, "scope": CLOUD}),                              "Invalid"),
        (json!({"scope": CLOUD, "target_audience": "x"}),                  "Invalid"),
        (json!({"scope": CLOUD, "sub": OTHER}),                            "Invalid"),
        (json!({"scope": CLOUD, "sub": null}),                             "Invalid"),
        (json!({"scope": CLOUD, "iss": OTHER}),                            "Invalid"),
        (json!({"scope": CLOUD, "iss": OTHER, "sub": OTHER}),              "Invalid"),
        (json!({"scope": CLOUD, "iss": "robot1"}),                         "Invalid"),
        (json!({"scope": CLOUD, "exp": START + 3601}),                     "Invalid"),
        (json!({"scope": CLOUD, "iat": START - 3630, "exp": START - 30}),  "Invalid"),
        (json!({"scope": CLOUD, "iat": START + 31, "exp": START + 3600}),  "Invalid"),
        (json!({"scope": CLOUD, "iat": null}),                             "Invalid"),
        (json!({"scope": CLOUD, "exp": null}),                             "Invalid"),
        (json!({"scope": CLOUD, "exp": format!("{}", START + 3600)}),      "Invalid"),
    ];
    for (changes, expected) in cases {
        let token = key.assert_claims(&with(base.clone(), &changes));
        assert_eq!(stack.caller(Some(&token), HOST).await, expected, "{changes}");
    }

    let claims = with(base, &json!({"scope": CLOUD}));
    let good = key.assert_claims(&claims);
    let (input, signature) = good.rsplit_once('.').unwrap();
    let header = |changes: Value| key.assert(&with(key.header(), &changes), &claims);
    #[rustfmt::skip]
    let broken = [
        other.assert(&key.header(), &claims),
        other.assert_claims(&claims),
        header(json!({"kid": null})),
        header(json!({"kid": other.id})),
        header(json!({"alg": "none"})),
        header(json!({"alg": "HS256"})),
        header(json!({"crit": ["b64"]})),
        format!("{input}."),
        format!("{input}.{}", encode_base64url(&[0; 256])),
        format!("{good}\n"),
        format!("{input}=.{signature}"),
    ];
    for (row, token) in broken.iter().enumerate() {
        assert_eq!(stack.caller(Some(token), HOST).await, "Invalid", "row {row}");
    }
    assert_eq!(stack.caller(Some(&good), HOST).await, known);
    stack.accounts.delete_key(&stack.admin, "-", ROBOT, &key.id).await.unwrap();
    assert_eq!(stack.caller(Some(&good), HOST).await, "Invalid");
}
