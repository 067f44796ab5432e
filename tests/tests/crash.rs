//! `kill -9` while it writes: whatever was answered with success is there afterwards.

use std::sync::mpsc::{Sender, channel};
use std::thread;

use doorward_tests::{Account, Dev, PATIENCE, Request};
use doorward_wire::jose::decode_base64url;
use serde_json::{Value, json};

/// Something that the server said it has done.
enum Acknowledged {
    Account { email: String },
    Key(Box<Account>),
    Member(String),
    Token(String),
}

/// What a writer needs to know. It outlives the server.
#[derive(Clone)]
struct Writer {
    api_url: String,
    admin_token: String,
    project: String,
    resource: String,
    client_id: String,
    acknowledged: Sender<Acknowledged>,
}

impl Writer {
    /// One call; `None` once the server is dead.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let url = format!("{}/{path}", self.api_url);
        let request = match body {
            Some(body) => Request::post(&url, "application/json", body.to_string().as_bytes()),
            None => Request::new(method, &url),
        };
        Some(request.bearer(&self.admin_token).try_send().ok()?.expect(200).json())
    }

    fn acknowledge(&self, what: Acknowledged) {
        // The test may have seen enough.
        let _ = self.acknowledged.send(what);
    }

    /// Accounts, each with a key, each with a token.
    fn write_accounts(&self, name: &str) -> Option<()> {
        for number in 0.. {
            let accounts = format!("iam.googleapis.com/v1/projects/{}/serviceAccounts", self.project);
            let account = self.call("POST", &accounts, Some(&json!({"accountId": format!("{name}-{number}")})))?;
            let email = account["email"].as_str().expect("an email").to_owned();
            self.acknowledge(Acknowledged::Account { email: email.clone() });
            let key = self.call("POST", &format!("{accounts}/{email}/keys"), Some(&json!({})))?;
            let file = key["privateKeyData"].as_str().expect("a key file").replace('+', "-").replace('/', "_");
            let key = Account::from_key_file(&decode_base64url(file.trim_end_matches('=')).expect("base64"));
            let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
            let assertion = key.sign(&key.claims("target_audience", &self.client_id));
            let token_url = key.token_uri.clone();
            self.acknowledge(Acknowledged::Key(Box::new(key)));
            let form = [("grant_type", grant), ("assertion", assertion.as_str())];
            let issued = Request::post_form(&token_url, &form).try_send().ok()?.expect(200).json();
            self.acknowledge(Acknowledged::Token(issued["id_token"].as_str().expect("an id_token").to_owned()));
        }
        None
    }

    /// One member after the other, each added to what is there.
    fn write_policy(&self, name: &str) -> Option<()> {
        let method = |verb: &str| format!("iap.googleapis.com/v1/{}:{verb}", self.resource);
        for number in 0.. {
            let mut policy = self.call("POST", &method("getIamPolicy"), Some(&json!({})))?;
            let member = format!("user:{name}-{number}@example.com");
            policy["bindings"][0]["members"].as_array_mut().expect("members").push(json!(member));
            self.call("POST", &method("setIamPolicy"), Some(&json!({"policy": policy})))?;
            self.acknowledge(Acknowledged::Member(member));
        }
        None
    }
}

/// Starts writers, kills the server after `count` acknowledgements and gives all that were received, those of the last
/// moment too.
fn write_until_killed(dev: &Dev, round: usize, count: usize) -> Vec<Acknowledged> {
    let (sender, acknowledged) = channel();
    let writer = Writer {
        api_url: dev.text("/api_url").to_owned(),
        admin_token: dev.text("/admin_token").to_owned(),
        project: dev.text("/project/id").to_owned(),
        resource: dev.text("/app/resource").to_owned(),
        client_id: dev.text("/app/client_id").to_owned(),
        acknowledged: sender,
    };
    let accounts = (0..3).map(|number| (writer.clone(), format!("round{round}-{number}")));
    let mut writers: Vec<_> =
        accounts.map(|(writer, name)| thread::spawn(move || writer.write_accounts(&name))).collect();
    writers.push(thread::spawn(move || writer.write_policy(&format!("round{round}"))));
    let next = || acknowledged.recv_timeout(PATIENCE).expect("the server writes");
    let mut received: Vec<Acknowledged> = (0..count).map(|_| next()).collect();
    dev.signal("KILL");
    for writer in writers {
        writer.join().expect("a writer ends with the server, and never with a refusal");
    }
    received.extend(acknowledged.try_iter());
    received
}

fn assert_kept(dev: &Dev, acknowledged: &[Acknowledged]) {
    let project = dev.text("/project/id");
    let policy = dev.policy(dev.text("/app/resource"), "getIamPolicy", &json!({})).expect(200).json();
    let members = policy["bindings"][0]["members"].as_array().expect("members");
    for what in acknowledged {
        match what {
            Acknowledged::Account { email } => {
                let path = format!("iam.googleapis.com/v1/projects/{project}/serviceAccounts/{email}");
                assert_eq!(dev.admin("GET", &path, None).send().expect(200).json()["email"], email.as_str());
            }
            Acknowledged::Key(key) => {
                // Its file names the port of then.
                let assertion = key.sign(&key.claims("target_audience", dev.text("/app/client_id")));
                let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
                let form = [("grant_type", grant), ("assertion", assertion.as_str())];
                Request::post_form(&dev.google("oauth2.googleapis.com/token"), &form).send().expect(200);
            }
            Acknowledged::Member(member) => assert!(members.contains(&json!(member)), "{member} in {policy}"),
            // Known, and without a role: the token is still good.
            Acknowledged::Token(token) => {
                let refused = Request::get(&dev.app("/")).bearer(token).send();
                assert_eq!((refused.status, refused.reason()), (403, Some("permission_denied")));
            }
        }
    }
}

#[test]
fn nothing_that_was_answered_with_success_is_lost_by_kill_9() {
    let mut dev = Dev::start(&[]);
    let mut acknowledged = Vec::new();
    for round in 0..5 {
        acknowledged.extend(write_until_killed(&dev, round, 8 + 5 * round));
        dev = dev.restart(&[]);
        assert_kept(&dev, &acknowledged);
    }
    let kind = |wanted: fn(&Acknowledged) -> bool| acknowledged.iter().filter(|what| wanted(what)).count();
    let counts = [
        kind(|what| matches!(what, Acknowledged::Account { .. })),
        kind(|what| matches!(what, Acknowledged::Key(_))),
        kind(|what| matches!(what, Acknowledged::Member(_))),
        kind(|what| matches!(what, Acknowledged::Token(_))),
    ];
    assert!(counts.iter().all(|count| *count > 0), "every kind was written: {counts:?}");
}
