//! gcloud makes pools and providers, and signs a workload in by them without any secret.

use doorward_core::entropy::generate_private_key;
use doorward_tests::{Dev, now_seconds};
use doorward_wire::jose::{Algorithm, SigningKey};
use serde_json::{Value, json};

use super::super::service_account;
use super::{Gcloud, NOWHERE};

const ISSUER: &str = "https://issuer.elsewhere.example";

/// gcloud as the administrator, in JSON.
struct Operator<'a> {
    gcloud: &'a Gcloud<'a>,
    environment: [(&'static str, String); 3],
}

impl<'a> Operator<'a> {
    fn new(dev: &Dev, gcloud: &'a Gcloud<'a>) -> Self {
        let token = gcloud.folder.path().join("admin_token");
        std::fs::write(&token, dev.text("/admin_token")).expect("the token is written");
        let environment = [
            ("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", token.display().to_string()),
            ("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAM", gcloud.side.google("iam.googleapis.com/")),
            ("CLOUDSDK_CORE_PROJECT", dev.text("/project/id").to_owned()),
        ];
        Operator { gcloud, environment }
    }

    /// `gcloud iam ... --format=json`
    fn iam(&self, arguments: &[&str]) -> Value {
        let mut command = self.gcloud.command(&[&["iam"], arguments, &["--format=json"]].concat());
        let printed = super::succeed(command.envs(self.environment.clone()));
        if printed.trim().is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"))
    }

    fn pools(&self, arguments: &[&str]) -> Value {
        self.iam(&[&["workload-identity-pools"], arguments, &["--location=global"]].concat())
    }
}

#[test]
fn a_workload_gets_in_by_a_pool_that_gcloud_made_and_no_more_when_it_is_gone() {
    let dev = Dev::start(&[]);
    let [side] = dev.sides()[..] else { panic!("one side without --tls") };
    let gcloud = Gcloud::new(side, NOWHERE);
    let operator = Operator::new(&dev, &gcloud);
    let file = |name: &str| gcloud.folder.path().join(name).display().to_string();
    // The workload acts as the caller, who may act as the target.
    let (caller, target) = (service_account(&dev, "caller"), service_account(&dev, "target"));
    let pool = format!("projects/{}/locations/global/workloadIdentityPools/build", dev.text("/project/number"));

    let key = generate_private_key(Algorithm::Es256).expect("a key");
    let key = SigningKey::from_pkcs8("elsewhere-1", Algorithm::Es256, &key).expect("a key");
    let keys = json!({"keys": [key.public_jwk()]}).to_string();
    std::fs::write(file("keys.json"), &keys).expect("the keys are written");

    operator.pools(&["create", "build", "--display-name=Builds"]);
    operator.pools(&["update", "build", "--description=In another cloud"]);
    let shown = json!({"name": pool, "displayName": "Builds", "description": "In another cloud", "state": "ACTIVE"});
    assert_eq!(operator.pools(&["describe", "build"]), shown);
    assert_eq!(operator.pools(&["list"]), json!([shown]));
    let within = "--workload-identity-pool=build";
    operator.pools(&[
        "providers",
        "create-oidc",
        "issuer",
        within,
        &format!("--issuer-uri={ISSUER}"),
        &format!("--jwk-json-path={}", file("keys.json")),
        "--attribute-mapping=google.subject=assertion.sub,attribute.repository=assertion.repository",
        "--attribute-condition=assertion.repository == 'acme/web'",
    ]);
    let shown = json!({
        "name": format!("{pool}/providers/issuer"),
        "state": "ACTIVE",
        "attributeMapping": {"google.subject": "assertion.sub", "attribute.repository": "assertion.repository"},
        "attributeCondition": "assertion.repository == 'acme/web'",
        "oidc": {"issuerUri": ISSUER, "jwksJson": keys},
    });
    assert_eq!(operator.pools(&["providers", "describe", "issuer", within]), shown);
    assert_eq!(operator.pools(&["providers", "list", within]), json!([shown]));
    let binding = [
        "--role=roles/iam.workloadIdentityUser",
        &format!("--member=principalSet://iam.googleapis.com/{pool}/attribute.repository/acme/web"),
    ];
    operator.iam(&[&["service-accounts", "add-iam-policy-binding", caller], &binding[..]].concat());

    let audience = format!("//iam.googleapis.com/{pool}/providers/issuer");
    let now = now_seconds();
    let claims = json!({
        "iss": ISSUER, "aud": audience, "sub": "repo:acme/web", "repository": "acme/web", "iat": now, "exp": now + 600,
    });
    let token = key.sign(claims.as_object().expect("an object")).expect("a token");
    std::fs::write(file("token.jwt"), token).expect("the token is written");
    let account = format!("iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{caller}:generateAccessToken");
    let credential = json!({
        "type": "external_account",
        "audience": audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": side.google("sts.googleapis.com/v1/token"),
        "service_account_impersonation_url": side.google(&account),
        "credential_source": {"file": file("token.jwt")},
    });
    std::fs::write(file("elsewhere.json"), credential.to_string()).expect("the credential is written");
    gcloud.run(&["auth", "login", &format!("--cred-file={}", file("elsewhere.json"))]);
    let audiences = format!("--audiences={}", dev.text("/app/client_id"));
    let impersonate = format!("--impersonate-service-account={target}");
    let print = ["auth", "print-identity-token", &audiences, &impersonate];
    gcloud.ask(&gcloud.run(&print)).is_of(target);

    operator.pools(&["providers", "delete", "issuer", within]);
    let refused = gcloud.fail(&print);
    assert!(refused.contains("invalid_target"), "{refused}");
    operator.pools(&["delete", "build"]);
    assert_eq!(operator.pools(&["list"]), json!([]));
}
