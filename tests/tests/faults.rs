//! A full disk: refused while it is full, nothing lost, served again as soon as there is room.

mod needs_prlimit {
    use std::process::Command;

    use doorward_tests::{Dev, Request, Upstream, run};
    use serde_json::json;

    /// A limit on the size of files stands for a full disk: every write beyond it fails. It is lifted from outside.
    const LIMITED: [&str; 4] = ["sh", "-c", "trap '' XFSZ; ulimit -S -f 4096; exec \"$@\"", "limited"];

    #[test]
    fn while_the_disk_is_full_nothing_is_let_through_and_afterwards_everything_acknowledged_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let application = Upstream::start();
        let dev = Dev::start_under(&LIMITED, &dir.path().join("state"), &["--to", application.url()]);
        let token = dev.id_token("robot");
        let ask = || Request::get(&dev.app("/")).bearer(&token).send();

        let mut admitted = 0;
        let refused = loop {
            let response = ask();
            if response.status != 200 {
                break response.expect(503);
            }
            admitted += 1;
            assert!(admitted < 20_000, "the limit is never met");
        };
        assert_eq!(refused.reason(), Some("cannot_record"));
        application.take();
        ask().expect(503);
        assert_eq!(application.take(), [], "what cannot be recorded is not forwarded");
        // A refusal is a decision too, and nobody gets a token of which there is no record.
        let unproven = Request::get(&dev.app("/")).send().expect(503);
        assert_eq!(unproven.reason(), Some("cannot_record"));
        let robot = dev.account("robot");
        let issued = robot.exchange(&robot.claims("target_audience", dev.text("/app/client_id")));
        assert!(issued.status >= 500 && issued.json().get("id_token").is_none(), "{} {}", issued.status, issued.text());

        let lifted = run(Command::new("prlimit").args(["--fsize=unlimited:unlimited", "--pid", &dev.id().to_string()]));
        assert_eq!(lifted.code, Some(0), "{}", lifted.stderr);
        // It tries again every second; each request takes about a millisecond.
        let recovered = (0..200_000).any(|_| ask().status == 200);
        assert!(recovered, "requests pass again");
        let accounts = "iam.googleapis.com/v1/projects/doorward-dev/serviceAccounts";
        dev.admin("POST", accounts, Some(&json!({"accountId": "new-account"}))).send().expect(200);

        let (mut allowed, mut after) = (0, 0);
        loop {
            let page = format!("{}/decisions?format=json&limit=1000&after={after}", dev.text("/api_url"));
            let page = Request::get(&page).bearer(dev.text("/admin_token")).send().expect(200).json();
            let events = page["events"].as_array().expect("a list of events");
            if events.is_empty() {
                break;
            }
            allowed += events.iter().filter(|event| event["outcome"] == "allowed" && event["status"] == 200).count();
            after = page["next"].as_i64().expect("a number");
        }
        // One more than before it was full: the request that found it served again.
        assert_eq!(allowed, admitted + 1, "every answer of 200 is in the record, and nothing else is");
    }
}
