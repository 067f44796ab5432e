//! Clients that nobody here wrote, and what the application saw of each.
//!
//! A module names what it needs of the system: `cargo xtask test` leaves it out, and says so, where that is missing.

use doorward_tests::{Dev, Finished, run};
use serde_json::Value;

/// What a caller is told whose token is for `other_app`. Clients parse it.
fn wrong_audience(dev: &Dev) -> String {
    let (sent, expected) = (dev.text("/other_app/client_id"), dev.text("/app/client_id"));
    format!(
        "Invalid IAP credentials: JWT audience doesn't match this application \
         ('aud' claim ({sent}) doesn't match expected value ({expected}))"
    )
}

/// The e-mail address that the application verified in a successful answer of the echo application.
fn verified_email(body: &str) -> String {
    let echo: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {body}"));
    echo["identity"]["email"].as_str().unwrap_or_else(|| panic!("no identity in {body}")).to_owned()
}

fn add_binding(dev: &Dev, account: &str) {
    let member = format!("serviceAccount:{}", dev.text(&format!("/service_accounts/{account}/email")));
    let Finished { code, stderr, .. } = run(&mut dev.command(&["policy", "add", "--app", "app", "--member", &member]));
    assert_eq!(code, Some(0), "{stderr}");
}

mod needs_curl {
    use std::process::Command;

    use doorward_tests::{Dev, Finished, Process, doorward, run};

    use super::{add_binding, verified_email};

    fn curl(arguments: &[&str]) -> String {
        let mut command = Command::new("curl");
        let Finished { code, stdout, stderr } = run(command.args(["--silent", "--show-error"]).args(arguments));
        assert_eq!(code, Some(0), "{stderr}");
        stdout
    }

    /// The status and the body, as curl shows them.
    fn status(arguments: &[&str]) -> (String, String) {
        let answer = curl(&[&["--write-out", "\n%{http_code}"], arguments].concat());
        let (body, status) = answer.rsplit_once('\n').expect("the status is on the last line");
        (status.to_owned(), body.to_owned())
    }

    #[test]
    fn the_printed_line_works_when_it_is_pasted() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut command = doorward();
        command.args(["dev", "--dir"]).arg(dir.path());
        for port in ["--app-listen", "--other-app-listen", "--api-listen"] {
            command.args([port, "127.0.0.1:0"]);
        }
        let server = Process::start(&mut command);
        let line = loop {
            let line = server.next_line().expect("a curl line before the end");
            if let Some(at) = line.find("curl -H") {
                break line[at..].to_owned();
            }
        };
        // Pasted anywhere: in a directory that knows nothing of the server's, without a PATH to it.
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        let pasted = run(Command::new("sh").args(["-c", &line]).current_dir(&elsewhere));
        assert_eq!(pasted.code, Some(0), "{line}: {}", pasted.stderr);
        let description = std::fs::read(dir.path().join("dev.json")).expect("dev.json");
        let description: serde_json::Value = serde_json::from_slice(&description).expect("JSON");
        assert_eq!(verified_email(&pasted.stdout), description["service_accounts"]["robot"]["email"]);
    }

    #[test]
    fn a_caller_without_a_credential_is_sent_to_the_sign_in_page_or_told_401() {
        let dev = Dev::start(&[]);
        let url = dev.app("/path?q=1");
        assert_eq!(status(&[&url]), ("302".into(), "Invalid IAP credentials: empty token".into()));
        let json = status(&["--header", "Accept: application/json", &url]);
        assert_eq!(json, ("401".into(), "Invalid IAP credentials: empty token".into()));
        let garbage = status(&["--header", "Authorization: Bearer null", &url]);
        assert_eq!(garbage, ("401".into(), "Invalid IAP credentials: Unable to parse JWT".into()));
    }

    #[test]
    fn a_stranger_is_refused_until_a_binding_is_added() {
        let dev = Dev::start(&[]);
        let token = run(&mut dev.command(&["token", "--app", "app", "--as", "stranger"]));
        assert_eq!(token.code, Some(0), "{}", token.stderr);
        let header = format!("Authorization: Bearer {}", token.stdout.trim());
        let refused = status(&["--header", &header, &dev.app("/")]);
        let email = dev.text("/service_accounts/stranger/email");
        assert_eq!(refused.0, "403");
        assert!(refused.1.ends_with(&format!(": Access denied. For user {email}.")), "{}", refused.1);
        add_binding(&dev, "stranger");
        let admitted = status(&["--header", &header, &dev.app("/")]);
        assert_eq!((admitted.0.as_str(), verified_email(&admitted.1).as_str()), ("200", email));
    }
}

mod needs_jq_openssl_curl {
    use std::process::Command;

    use doorward_tests::{Dev, Finished, Process, run};
    use serde_json::Value;

    use super::{add_binding, verified_email, wrong_audience};

    const SCRIPT: &str = include_str!("../clients/service-account.sh");
    const TOKEN_URL: &str = "https://www.googleapis.com/oauth2/v4/token";

    /// Replaces one text that must occur `times`.
    fn replace(script: &str, times: usize, from: &str, to: &str) -> String {
        assert_eq!(script.matches(from).count(), times, "{from}");
        script.replace(from, to)
    }

    /// Runs the published script with its three variables and its URLs replaced and not one other byte.
    fn call(dev: &Dev, account: &str, client_id: &str, own_audience: bool) -> Finished {
        let key_file = dev.text(&format!("/service_accounts/{account}/key_file"));
        let script = replace(SCRIPT, 1, "\"service_account_key_file_path\"", &format!("\"{key_file}\""));
        let script = replace(&script, 1, "\"iap_client_id\"", &format!("\"{client_id}\""));
        let script = replace(&script, 1, "\"application_url\"", &format!("\"{}\"", dev.app("/")));
        let own = dev.google("www.googleapis.com/oauth2/v4/token");
        let script = if own_audience {
            replace(&script, 2, TOKEN_URL, &own)
        } else {
            replace(&script, 1, &format!("\n{TOKEN_URL}"), &format!("\n{own}"))
        };
        let file = dev.dir().join("service-account.sh");
        std::fs::write(&file, script).expect("the script is written");
        let finished = run(Command::new("bash").arg(&file));
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
        finished
    }

    #[test]
    fn the_published_bash_script_gets_in() {
        let dev = Dev::start(&[]);
        for own_audience in [false, true] {
            let echo = call(&dev, "robot", dev.text("/app/client_id"), own_audience).stdout;
            assert_eq!(verified_email(&echo), dev.text("/service_accounts/robot/email"));
        }
    }

    #[test]
    fn the_published_bash_script_is_refused_until_a_binding_is_added() {
        let dev = Dev::start(&[]);
        let email = dev.text("/service_accounts/stranger/email");
        let refused = call(&dev, "stranger", dev.text("/app/client_id"), false).stdout;
        assert!(refused.ends_with(&format!(": Access denied. For user {email}.")), "{refused}");
        add_binding(&dev, "stranger");
        assert_eq!(verified_email(&call(&dev, "stranger", dev.text("/app/client_id"), false).stdout), email);
    }

    #[test]
    fn the_published_bash_script_is_told_which_audience_is_wanted() {
        let dev = Dev::start(&[]);
        let following = Process::start(&mut dev.command(&["decisions", "--json", "--follow"]));
        let refused = call(&dev, "robot", dev.text("/other_app/client_id"), false).stdout;
        assert_eq!(refused, wrong_audience(&dev));
        // The script shows no status.
        let decision = loop {
            let record: Value = serde_json::from_str(&following.next_line().expect("a decision")).expect("JSON");
            if record["type"] == "decision" {
                break record;
            }
        };
        assert_eq!((&decision["status"], &decision["reason"]), (&401.into(), &"wrong_audience".into()), "{decision}");
    }
}

mod needs_python {
    use doorward_tests::{Dev, Finished, Process, Request, python, run, tampered};
    use serde_json::{Value, json};

    use super::{add_binding, verified_email, wrong_audience};

    fn script(name: &str) -> std::path::PathBuf {
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name)
    }

    fn parsed(Finished { code, stdout, stderr }: Finished) -> Value {
        assert_eq!(code, Some(0), "{stderr}");
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
    }

    /// `service_account.IDTokenCredentials.from_service_account_file`, with nothing overridden.
    fn call(dev: &Dev, account: &str, client_id: &str) -> (u64, String) {
        let key_file = dev.text(&format!("/service_accounts/{account}/key_file"));
        let arguments = [key_file, client_id, &dev.app("/")];
        let answer = parsed(run(python().arg(script("call_application.py")).args(arguments)));
        (answer["status"].as_u64().expect("a status"), answer["body"].as_str().expect("a body").to_owned())
    }

    #[test]
    fn the_python_library_gets_in() {
        let dev = Dev::start(&[]);
        let (status, echo) = call(&dev, "robot", dev.text("/app/client_id"));
        assert_eq!((status, verified_email(&echo).as_str()), (200, dev.text("/service_accounts/robot/email")));
    }

    #[test]
    fn the_python_library_is_refused_until_a_binding_is_added() {
        let dev = Dev::start(&[]);
        let email = dev.text("/service_accounts/stranger/email");
        let (status, body) = call(&dev, "stranger", dev.text("/app/client_id"));
        assert!(status == 403 && body.ends_with(&format!(": Access denied. For user {email}.")), "{status} {body}");
        add_binding(&dev, "stranger");
        let (status, echo) = call(&dev, "stranger", dev.text("/app/client_id"));
        assert_eq!((status, verified_email(&echo).as_str()), (200, email));
    }

    #[test]
    fn the_python_library_is_told_which_audience_is_wanted() {
        let dev = Dev::start(&[]);
        let refused = call(&dev, "robot", dev.text("/other_app/client_id"));
        assert_eq!(refused, (401, wrong_audience(&dev)));
    }

    #[test]
    fn a_python_backend_accepts_our_signed_header_and_refuses_every_other() {
        let (dev, other) = (Dev::start(&[]), Dev::start(&[]));
        let assertion = |dev: &Dev| {
            let echo = Request::get(&dev.app("/")).bearer(&dev.id_token("robot")).send().expect(200).json();
            echo["headers"]["x-goog-iap-jwt-assertion"].as_str().expect("an assertion").to_owned()
        };
        let (good, foreign) = (assertion(&dev), assertion(&other));
        let (audience, wrong_audience) = (dev.text("/app/audience"), dev.text("/other_app/audience"));
        // token, audience, seconds later => accepted, or what each of the two libraries says
        #[rustfmt::skip]
        let rows = [
            (good.clone(),    audience,       0,    None),
            (good.clone(),    audience,       500,  None),
            (good.clone(),    audience,       900,  Some(["Token expired",                    "Signature has expired"])),
            (good.clone(),    wrong_audience, 0,    Some(["Token has wrong audience",         "Audience doesn't match"])),
            (tampered(&good), audience,       0,    Some(["Could not verify token signature", "Signature verification failed"])),
            (foreign,         audience,       0,    Some(["Certificate for key id",           "Unable to find a signing key"])),
        ];
        let documents =
            ["public_key", "public_key-jwk"].map(|name| dev.google(&format!("www.gstatic.com/iap/verify/{name}")));
        let rows =
            || documents.iter().enumerate().flat_map(|(index, url)| rows.iter().map(move |row| (index, url, row)));
        let cases: Vec<Value> = rows()
            .map(|(_, url, (token, audience, later, _))| {
                json!({"token": token, "audience": audience, "keys_url": url, "seconds_later": later})
            })
            .collect();
        let input = Value::from(cases).to_string();
        let process = Process::start_with_input(python().arg(script("verify_assertion.py")), &input);
        let outcomes = parsed(process.finish());
        for (at, (index, url, (_, audience, later, refused))) in rows().enumerate() {
            let outcome = &outcomes[at];
            let what = format!("{url} {audience} {later}: {outcome}");
            match refused {
                None => {
                    assert_eq!(outcome["claims"]["email"], dev.text("/service_accounts/robot/email"), "{what}");
                    assert_eq!(outcome["claims"]["iss"], "https://cloud.google.com/iap", "{what}");
                }
                Some(messages) => {
                    let message = outcome["message"].as_str().unwrap_or_else(|| panic!("accepted: {what}"));
                    assert!(message.starts_with(messages[index]), "{what}");
                }
            }
        }
    }
}
