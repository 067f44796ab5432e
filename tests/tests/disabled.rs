//! What ends with a disabled account, a disabled key and a deleted account, and when: with the next request.

use doorward_tests::{Dev, Request, now_seconds};
use serde_json::{Value, json};

const CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";

fn accounts(dev: &Dev) -> String {
    format!("iam.googleapis.com/v1/projects/{}/serviceAccounts", dev.text("/project/id"))
}

/// What the account can still do: use an ID token, a JWT of its own and an access token that it has, and get another one.
fn abilities(dev: &Dev, name: &str, id_token: &str, access_token: &str) -> [u16; 4] {
    let account = dev.account(name);
    let now = now_seconds();
    let own = account.sign(&json!({
        "iss": account.email, "sub": account.email, "aud": dev.app("/*"), "iat": now, "exp": now + 600
    }));
    let call = |token: &str| Request::get(&dev.app("/")).bearer(token).send().status;
    let target = dev.text("/service_accounts/target/email");
    let acted = dev.iam_credentials(access_token, target, "generateIdToken", &json!({"audience": "a"})).status;
    let new = account.exchange(&account.claims("target_audience", "a")).status;
    [call(id_token), call(&own), acted, new]
}

/// Lets `caller` in, and gives an ID token and an access token of it.
fn prepare(dev: &Dev) -> (String, String) {
    let resource = dev.text("/app/resource");
    let mut policy = dev.policy(resource, "getIamPolicy", &json!({})).expect(200).json();
    let member = format!("serviceAccount:{}", dev.text("/service_accounts/caller/email"));
    policy["bindings"][0]["members"].as_array_mut().expect("members").push(member.into());
    dev.policy(resource, "setIamPolicy", &json!({"policy": policy})).expect(200);
    (dev.id_token("caller"), dev.account("caller").access_token(CLOUD))
}

#[test]
fn a_disabled_account_can_do_nothing_until_it_is_enabled() {
    let dev = Dev::start(&[]);
    let (id_token, access_token) = prepare(&dev);
    let url = format!("{}/{}", accounts(&dev), dev.text("/service_accounts/caller/email"));
    let target = format!("{}/{}", accounts(&dev), dev.text("/service_accounts/target/email"));
    let now = || abilities(&dev, "caller", &id_token, &access_token);
    let turn = |account: &str, verb: &str| {
        assert_eq!(
            dev.admin("POST", &format!("{account}:{verb}"), Some(&json!({}))).send().expect(200).json(),
            json!({})
        );
        dev.admin("GET", account, None).send().expect(200).json()["disabled"].clone()
    };
    assert_eq!(now(), [200; 4]);
    assert_eq!(turn(&url, "disable"), true);
    assert_eq!(now(), [401, 401, 401, 400]);
    let refused = dev.account("caller").exchange(&dev.account("caller").claims("target_audience", "a"));
    assert_eq!(refused.json()["error_description"], "Invalid grant: account not found");
    assert_eq!(turn(&url, "enable"), Value::Null);
    assert_eq!(now(), [200; 4]);
    // Who may act as an account acts as nobody while it is disabled.
    assert_eq!(turn(&target, "disable"), true);
    assert_eq!(now(), [200, 200, 403, 200]);
    assert_eq!(turn(&target, "enable"), Value::Null);
    for account in ["nobody@doorward-dev.iam.gserviceaccount.com", "1"] {
        dev.admin("POST", &format!("{}/{account}:disable", accounts(&dev)), Some(&json!({}))).send().expect(404);
    }
    // `caller` administers accounts; `stranger` does not.
    let stranger = dev.account("stranger").access_token(CLOUD);
    let disable = dev.google(&format!("{url}:disable"));
    Request::post(&disable, "application/json", b"{}").bearer(&stranger).send().expect(403);
    assert_eq!(now(), [200; 4]);
}

#[test]
fn a_disabled_key_signs_nothing_that_is_accepted_and_is_not_published() {
    let dev = Dev::start(&[]);
    let (id_token, access_token) = prepare(&dev);
    let email = dev.text("/service_accounts/caller/email");
    let listed = |disabled: Value| {
        let keys = dev.admin("GET", &format!("{}/{email}/keys", accounts(&dev)), None).send().expect(200).json();
        let published = dev.google(&format!("www.googleapis.com/robot/v1/metadata/x509/{email}"));
        let published = Request::get(&published).send().expect(200).json();
        assert_eq!(keys["keys"][0]["disabled"], disabled, "{keys}");
        published.as_object().expect("certificates").len()
    };
    let key = dev.admin("GET", &format!("{}/{email}/keys", accounts(&dev)), None).send().expect(200).json();
    let name = key["keys"][0]["name"].as_str().expect("a name").to_owned();
    let turn = |verb: &str| {
        dev.admin("POST", &format!("iam.googleapis.com/v1/{name}:{verb}"), Some(&json!({}))).send().expect(200);
    };
    let now = || abilities(&dev, "caller", &id_token, &access_token);
    assert_eq!((now(), listed(Value::Null)), ([200; 4], 1));
    turn("disable");
    // What was issued before lives on: it was not the key that was asked for it.
    assert_eq!((now(), listed(true.into())), ([200, 401, 200, 400], 0));
    turn("enable");
    assert_eq!((now(), listed(Value::Null)), ([200; 4], 1));
}

#[test]
fn a_new_account_of_a_deleted_ones_address_inherits_nothing() {
    let dev = Dev::start(&[]);
    let (id_token, access_token) = prepare(&dev);
    let email = dev.text("/service_accounts/caller/email");
    assert_eq!(abilities(&dev, "caller", &id_token, &access_token), [200; 4]);
    dev.admin("DELETE", &format!("{}/{email}", accounts(&dev)), None).send().expect(200);
    let target = format!("{}/{}:getIamPolicy", accounts(&dev), dev.text("/service_accounts/target/email"));
    for _ in 0..2 {
        let policies = [
            dev.policy(dev.text("/app/resource"), "getIamPolicy", &json!({})).expect(200).text(),
            dev.admin("POST", &target, Some(&json!({}))).send().expect(200).text(),
        ];
        assert!(policies.iter().all(|policy| !policy.contains(email)), "{policies:?}");
        assert_eq!(abilities(&dev, "caller", &id_token, &access_token), [401, 401, 401, 400]);
        // The same address again, and another number.
        dev.admin("POST", &accounts(&dev), Some(&json!({"accountId": "dev-caller"}))).send();
    }
}
