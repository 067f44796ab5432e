//! The record of decisions: who was let in by what, who was refused and why, and never a token.

use doorward_tests::{Dev, Process, Request, run};
use serde_json::{Value, json};

/// Reads records as they come, until there are `count` decisions.
fn follow(process: &Process, count: usize) -> Vec<Value> {
    let mut decisions = Vec::new();
    while decisions.len() < count {
        let line = process.next_line().expect("it goes on until it is stopped");
        let record: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
        if record["type"] == "decision" {
            decisions.push(record);
        }
    }
    decisions
}

#[test]
fn a_decision_is_recorded_with_its_reason_and_without_its_token() {
    let dev = Dev::start(&[]);
    let (robot, stranger) = (dev.id_token("robot"), dev.id_token("stranger"));
    let following = Process::start(&mut dev.command(&["decisions", "--json", "--follow", "--limit", "1000"]));
    let ask = |path: &str, token: Option<&str>| {
        let request = Request::get(&dev.app(path)).header("Accept", "application/json").header("User-Agent", "a test");
        if let Some(token) = token { request.bearer(token).send() } else { request.send() }
    };
    let answers = [
        ask("/admitted?secret=query", Some(&robot)),
        ask("/denied", Some(&stranger)),
        ask("/nobody", None),
        ask("/garbage", Some("garbage-token")),
        ask("/a%2fb", Some(&robot)),
    ];
    let decisions = follow(&following, answers.len());
    let member = |name: &str| format!("serviceAccount:{}", dev.text(&format!("/service_accounts/{name}/email")));
    let (robot_member, stranger_member) = (member("robot"), member("stranger"));
    // path, status, caller, reason
    #[rustfmt::skip]
    let rows = [
        ("/admitted", 200, Some(&robot_member),    None),
        ("/denied",   403, Some(&stranger_member), Some("permission_denied")),
        ("/nobody",   401, None,                   Some("no_credential")),
        ("/garbage",  401, None,                   Some("invalid_token")),
        ("/a%2fb",    400, None,                   Some("bad_path")),
    ];
    for (((path, status, caller, reason), record), answer) in rows.into_iter().zip(&decisions).zip(&answers) {
        assert_eq!(answer.status, status, "{path}");
        assert_eq!((&record["path"], &record["status"]), (&path.into(), &status.into()), "{record}");
        assert_eq!((&record["method"], &record["host"]), (&"GET".into(), &dev.app_authority().into()), "{record}");
        assert_eq!(record["caller"].as_str(), caller.map(String::as_str), "{record}");
        assert!(
            record["time"].is_i64() && record["latency_micros"].is_u64() && record["sequence"].is_i64(),
            "{record}"
        );
        assert_eq!(record["client"], "127.0.0.1", "{record}");
        match reason {
            None => {
                assert_eq!(record["outcome"], "allowed", "{record}");
                assert_eq!(record["binding_resource"], dev.text("/app/resource"), "{record}");
                assert_eq!(record["role"], "roles/iap.httpsResourceAccessor", "{record}");
                assert_eq!(record["member"], robot_member.as_str(), "{record}");
                assert_eq!(record["resource"], dev.text("/app/resource"), "{record}");
                // What a policy that is only proposed is asked about again.
                assert_eq!(record["version"], format!("{}/versions/bs_0", dev.text("/app/resource")), "{record}");
                assert_eq!(record["oauth_client"], dev.text("/app/client_id"), "{record}");
                assert_eq!((&record["scheme"], &record["user_agent"]), (&"http".into(), &"a test".into()), "{record}");
            }
            Some(reason) => {
                assert_eq!((&record["outcome"], &record["reason"]), (&"refused".into(), &reason.into()), "{record}");
                assert_eq!(answer.reason(), Some(reason), "{path}");
                assert_eq!(record["id"].as_str(), answer.header("x-doorward-decision-id"), "{path}");
            }
        }
    }

    // The same list, by the command, by the page for programs and by the one for people.
    let listed = run(&mut dev.command(&["decisions", "--json", "--limit", "1000"]));
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    let records: Vec<Value> = listed.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for decision in &decisions {
        assert!(records.contains(decision), "{decision}");
    }
    let page = format!("{}/decisions", dev.text("/api_url"));
    let admin = |url: &str| Request::get(url).bearer(dev.text("/admin_token")).send().expect(200).text();
    let human = run(&mut dev.command(&["decisions", "--limit", "1000"]));
    let everywhere = [listed.stdout, human.stdout, admin(&page), admin(&format!("{page}?format=json"))];
    for text in everywhere {
        assert!(text.contains("/admitted") && text.contains("permission_denied"), "{text}");
        for secret in [&robot, &stranger, "garbage-token", "secret=query", "eyJ", dev.text("/admin_token")] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}

#[test]
fn a_token_without_an_e_mail_passes_with_a_note_or_is_refused_in_googles_words() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dev = Dev::start_in(dir.path(), &[]);
    let email = dev.text("/service_accounts/target/email").to_owned();
    let caller = dev.account("caller").access_token("https://www.googleapis.com/auth/iam");
    let [without_email, with_email] = [false, true].map(|include_email| {
        let body = json!({"audience": dev.text("/app/client_id"), "includeEmail": include_email});
        let made = dev.iam_credentials(&caller, &email, "generateIdToken", &body).expect(200).json();
        made["token"].as_str().expect("a token").to_owned()
    });
    assert_eq!(dev.stop("TERM").code, Some(0));
    // flags, token => status and note
    let note = "Google's IAP would refuse this token: it has no email claim";
    let strict = &["--email-claim", "required"][..];
    #[rustfmt::skip]
    let rows = [
        (&[][..], &with_email,    200, None),
        (&[],     &without_email, 200, Some(note)),
        (strict,  &with_email,    200, None),
        (strict,  &without_email, 401, None),
    ];
    for (flags, token, status, note) in rows {
        let dev = Dev::start_in(dir.path(), flags);
        let answer = Request::get(&dev.app("/")).bearer(token).send().expect(status);
        if status == 200 {
            assert_eq!(answer.json()["identity"]["email"], email.as_str(), "{flags:?}");
        } else {
            assert_eq!(answer.text(), "Invalid IAP credentials: JWT 'email' claim isn't a string");
            assert_eq!(answer.reason(), Some("missing_email"));
        }
        // Stopped, so that everything is written down.
        assert_eq!(dev.stop("TERM").code, Some(0));
        let dev = Dev::start_in(dir.path(), &[]);
        let listed = run(&mut dev.command(&["decisions", "--json", "--limit", "1"])).stdout;
        let record: Value = serde_json::from_str(&listed).unwrap_or_else(|error| panic!("{error} in {listed}"));
        assert_eq!((&record["type"], &record["status"]), (&"decision".into(), &status.into()), "{record}");
        assert_eq!(record.get("note").and_then(Value::as_str), note, "{flags:?} {record}");
        assert_eq!(dev.stop("TERM").code, Some(0));
    }
}

#[test]
fn text_of_strangers_cannot_forge_a_line_of_the_record() {
    let dev = Dev::start(&[]);
    let following = Process::start(&mut dev.command(&["decisions", "--follow"]));
    let hostile = "evil\u{1b}[2J.example";
    let mut connection = doorward_tests::Connection::open(dev.app_authority());
    connection.send(format!("GET /%0d%0aallow HTTP/1.1\r\nHost: {hostile}\r\nConnection: close\r\n\r\n").as_bytes());
    assert!((400..500).contains(&connection.response().status));
    Request::get(&dev.app("/after")).send().expect(302);
    loop {
        let line = following.next_line().expect("it goes on until it is stopped");
        assert!(!line.contains('\u{1b}') && !line.starts_with("allow"), "{line:?}");
        if line.contains("/after") {
            break;
        }
    }
}

#[test]
fn a_stop_loses_no_record() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let dev = Dev::start_in(dir.path(), &[]);
    for number in 0..50 {
        Request::get(&dev.app(&format!("/{number}"))).send().expect(302);
    }
    assert_eq!(dev.stop("TERM").code, Some(0));
    let dev = Dev::start_in(dir.path(), &[]);
    let listed = run(&mut dev.command(&["decisions", "--json", "--limit", "1000"])).stdout;
    let paths: Vec<Value> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .filter(|record| record["type"] == "decision")
        .map(|record| record["path"].clone())
        .collect();
    assert_eq!(paths, (0..50).map(|number| format!("/{number}")).collect::<Vec<_>>());
}
