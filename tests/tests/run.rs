//! `doorward run` as a program in it, and whoever started it, meet it.

mod needs_namespaces {
    use std::collections::BTreeSet;
    use std::fs;
    use std::net::TcpListener;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use doorward_tests::{Dev, Finished, Process, Request, doorward, run};
    use serde_json::Value;
    use tempfile::TempDir;

    /// A state directory, not made yet.
    struct State(TempDir);

    impl State {
        fn new() -> Self {
            State(tempfile::tempdir().expect("a temporary directory"))
        }

        fn dir(&self) -> PathBuf {
            self.0.path().join("state")
        }

        /// `doorward run -- COMMAND` on it.
        fn command(&self, command: &[&str]) -> Command {
            let mut line = doorward();
            line.args(["run", "--dir"]).arg(self.dir()).arg("--").args(command);
            line
        }

        /// Runs a shell's line to its end, which must be a good one, and gives what it printed.
        fn shell(&self, line: &str) -> String {
            let Finished { code, stdout, stderr } = run(&mut self.command(&["sh", "-ec", line]));
            assert_eq!(code, Some(0), "{line}: {stdout}{stderr}");
            stdout
        }

        /// Runs a shell's line as [`State::shell`] does. In it `"$0"` is our own program, which keeps things in a folder of the state.
        fn shell_with_doorward(&self, line: &str) -> String {
            let binary = doorward().get_program().to_owned();
            let mut command = self.command(&["sh", "-ec", line]);
            command.arg(binary).env("DOORWARD_CONFIG", self.0.path().join("config"));
            let Finished { code, stdout, stderr } = run(&mut command);
            assert_eq!(code, Some(0), "{line}: {stdout}{stderr}");
            stdout
        }

        /// What the program finds at `$DOORWARD_DEV_JSON`.
        fn description(&self) -> Value {
            serde_json::from_str(&self.shell(r#"cat "$DOORWARD_DEV_JSON""#)).expect("JSON")
        }
    }

    /// What must be as it was: mounts, interfaces, and every process that has `mark` in its command line.
    fn machine(mark: &str) -> (String, String, BTreeSet<String>) {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let interfaces =
            read("/proc/net/dev").lines().filter_map(|line| Some(line.split_once(':')?.0.to_owned())).collect();
        let processes = fs::read_dir("/proc").expect("/proc").filter_map(|entry| {
            let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains(mark).then_some(line)
        });
        (read("/proc/self/mountinfo"), interfaces, processes.collect())
    }

    #[test]
    fn the_exit_code_is_the_programs_or_tells_why_there_is_none() {
        let state = State::new();
        let plain = state.0.path().join("plain");
        fs::write(&plain, "no program").expect("a file");
        let plain = plain.to_str().expect("UTF-8");
        #[rustfmt::skip]
        let cases: [(&[&str], i32, &str); 8] = [
            (&["true"],                     0,   ""),
            (&["sh", "-c", "exit 3"],       3,   ""),
            (&["sh", "-c", "exit 255"],     255, ""),
            (&["sh", "-c", "kill -TERM $$"], 143, ""),
            (&["sh", "-c", "kill -KILL $$"], 137, ""),
            (&["no-such-program", "-x"],    127, "doorward: cannot run no-such-program: No such file or directory (os error 2)\n"),
            (&[plain],                      126, "Permission denied (os error 13)\n"),
            (&["/"],                        126, "doorward: cannot run /: Permission denied (os error 13)\n"),
        ];
        for (command, code, stderr) in cases {
            let finished = run(&mut state.command(command));
            assert_eq!((finished.code, finished.stdout.as_str()), (Some(code), ""), "{command:?}: {}", finished.stderr);
            assert!(
                finished.stderr.ends_with(stderr) && (stderr.is_empty() == finished.stderr.is_empty()),
                "{}",
                finished.stderr
            );
        }
    }

    #[test]
    fn a_failure_of_our_own_is_125_and_one_line() {
        let state = State::new();
        let _dev = Dev::start_in(&state.dir(), &[]);
        let in_use = format!("doorward: {} is in use by another doorward", state.dir().display());
        let elsewhere = State::new();
        fs::write(elsewhere.dir(), "a file").expect("a file");
        let mut bad_to = doorward();
        bad_to.args(["run", "--to", "ftp://127.0.0.1:1", "--dir"]).arg(State::new().dir()).args(["--", "true"]);
        #[rustfmt::skip]
        let cases = [
            (state.command(&["true"]),     in_use.as_str()),
            (elsewhere.command(&["true"]), "doorward: cannot write "),
            (bad_to,                       "doorward: --to ftp://127.0.0.1:1: "),
        ];
        for (mut command, expected) in cases {
            let Finished { code, stdout, stderr } = run(&mut command);
            assert_eq!((code, stdout.as_str()), (Some(125), ""), "{stderr}");
            assert!(stderr.starts_with(expected) && stderr.lines().count() == 1, "{stderr}");
        }
        assert_eq!(run(doorward().args(["run"])).code, Some(2));
    }

    #[test]
    fn a_list_of_issuers_that_is_not_taken_is_named_once_whoever_reads_it() {
        let state = State::new();
        let list = state.0.path().join("issuers.toml");
        let named = list.to_str().expect("UTF-8");
        let malformed = "[[trusted_issuer]]\nid = \"A\"\nissuer = \"https://a.example\"\naudiences = [\"a\"]\n";
        let unread = format!("cannot read {named}: No such file or directory (os error 2)");
        let untaken = format!("{named}:2:6: \"A\": an id has 1 to 32 characters of a-z, 0-9 and '-'");
        for (text, told) in [(None, unread), (Some(malformed), untaken)] {
            if let Some(text) = text {
                fs::write(&list, text).expect("a file");
            }
            let mut inside = doorward();
            inside.args(["run", "--trusted-issuers", named, "--dir"]).arg(state.dir()).args(["--", "true"]);
            let outside = Dev::launch(&state.dir(), &["--trusted-issuers", named]);
            for (finished, code) in [(outside.finish(), 1), (run(&mut inside), 125)] {
                assert_eq!(finished.stderr, format!("doorward: --trusted-issuers {told}\n"));
                assert_eq!((finished.code, finished.stdout.as_str()), (Some(code), ""));
            }
        }
    }

    #[test]
    fn who_starts_the_inner_part_alone_is_told_so() {
        let Finished { code, stderr, .. } = run(doorward().args(["run-inner", "--", "true"]));
        assert_eq!(
            (code, stderr.as_str()),
            (Some(125), "doorward: run-inner is a part of `doorward run`, which starts it: use that\n")
        );
    }

    #[test]
    fn two_runs_on_one_directory_do_not_run_at_once() {
        let state = State::new();
        let first = Process::start(&mut state.command(&["sh", "-c", "echo ready; sleep 1000"]));
        assert_eq!(first.next_line().as_deref(), Some("ready"));
        let second = run(&mut state.command(&["true"]));
        assert_eq!(second.code, Some(125));
        assert!(second.stderr.contains("is in use by another doorward"), "{}", second.stderr);
        first.kill();
        // The one who was killed is gone with everything that it held.
        assert_eq!(run(&mut state.command(&["true"])).code, Some(0));
    }

    #[test]
    fn input_and_output_pass_through_and_nothing_is_added() {
        let state = State::new();
        let input = "one\ntwo \u{1b}[0m\n".repeat(1000);
        let process = Process::start_with_input(&mut state.command(&["sh", "-c", "cat; echo said >&2"]), &input);
        let Finished { code, stdout, stderr } = process.finish();
        assert_eq!((code, stdout.len(), stderr.as_str()), (Some(0), input.len(), "said\n"));
        assert_eq!(stdout, input);
    }

    /// A value with every key at every depth, and the kind of each leaf in its place.
    fn shape(value: &Value) -> Value {
        match value {
            Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), shape(value))).collect(),
            Value::Array(values) => values.iter().map(shape).collect(),
            Value::Null => "null".into(),
            Value::Bool(_) => "boolean".into(),
            Value::Number(_) => "number".into(),
            Value::String(_) => "text".into(),
        }
    }

    #[test]
    fn the_description_is_that_of_dev_with_addresses_of_googles_own() {
        let state = State::new();
        let inside = state.description();
        let dev = Dev::start_in(&state.dir(), &["--tls"]);
        let outside = dev.description();
        assert_eq!(shape(&inside), shape(outside));
        #[rustfmt::skip]
        let expected = [
            ("/api_url",            "http://doorward.internal"),
            ("/api_https_url",      "https://doorward.internal"),
            ("/metadata/host",      "metadata.google.internal"),
            ("/app/url",            "http://127.0.0.1:8080"),
            ("/app/https_url",      "https://127.0.0.1:8443"),
            ("/other_app/url",      "http://127.0.0.1:8082"),
            ("/other_app/https_url", "https://127.0.0.1:8445"),
        ];
        for (pointer, expected) in expected {
            assert_eq!(inside.pointer(pointer).and_then(Value::as_str), Some(expected), "{pointer}");
        }
        assert_eq!((&inside["names"], &outside["names"]), (&Value::Bool(true), &Value::Bool(false)));
        let same = ["/project", "/app/client_id", "/app/audience", "/admin_token", "/service_accounts/robot/unique_id"];
        for pointer in same {
            assert_eq!(inside.pointer(pointer), outside.pointer(pointer), "{pointer}");
        }
    }

    #[test]
    fn key_files_name_google_inside_and_dev_outside_and_neither_spoils_the_other() {
        let state = State::new();
        let file = |description: &Value, pointer: &str| -> Value {
            let path = description.pointer(pointer).and_then(Value::as_str).expect("a path");
            serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
        };
        let (key, impersonated) =
            ("/service_accounts/robot/key_file", "/credential_files/impersonated_service_account");
        let first = state.description();
        let named = file(&first, key);
        let dev = Dev::start_in(&state.dir(), &[]);
        let own = file(dev.description(), key);
        assert_eq!(own["token_uri"], dev.google("oauth2.googleapis.com/token"));
        dev.stop("TERM");
        let again = state.description();
        for (member, expected) in [
            ("token_uri", "https://oauth2.googleapis.com/token"),
            ("auth_uri", "https://accounts.google.com/o/oauth2/auth"),
            ("auth_provider_x509_cert_url", "https://www.googleapis.com/oauth2/v1/certs"),
        ] {
            assert_eq!(named[member], expected);
        }
        assert_eq!(file(&again, key), named);
        // One key in both, and dev's file as dev left it.
        assert_eq!((&own["private_key_id"], &own["private_key"]), (&named["private_key_id"], &named["private_key"]));
        let left: Value =
            serde_json::from_slice(&fs::read(state.dir().join("robot-key.json")).expect("a file")).expect("JSON");
        assert_eq!(left, own);
        let url = file(&again, impersonated)["service_account_impersonation_url"].clone();
        let url = url.as_str().expect("a URL");
        assert!(url.starts_with("https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"), "{url}");
        assert_eq!(fs::metadata(state.dir().join("names")).expect("a folder").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn variables_lead_to_what_is_trusted_and_none_leads_elsewhere() {
        let state = State::new();
        let mut command = state.command(&["env"]);
        command.env("https_proxy", "http://proxy.example:1").env("GCE_METADATA_HOST", "127.0.0.1:1");
        command.env("CLOUDSDK_API_ENDPOINT_OVERRIDES_IAP", "http://x.example/").env("MINE", "kept");
        command.env("JAVA_TOOL_OPTIONS", "-Dmine=1").env_remove("GOOGLE_APPLICATION_CREDENTIALS");
        let Finished { code, stdout, stderr } = run(&mut command);
        assert_eq!(code, Some(0), "{stderr}");
        let value = |name: &str| stdout.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        let gone = [
            "https_proxy",
            "GCE_METADATA_HOST",
            "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAP",
            "GOOGLE_APPLICATION_CREDENTIALS",
        ];
        assert_eq!(gone.map(value), [None; 4]);
        assert_eq!((value("MINE"), value("no_proxy")), (Some("kept"), Some("*")));
        let bundle = value("SSL_CERT_FILE").expect("a bundle");
        for name in
            ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE"]
        {
            assert_eq!(value(name), Some(bundle), "{name}");
        }
        assert!(
            value("JAVA_TOOL_OPTIONS")
                .is_some_and(|options| options.starts_with("-Dmine=1 \"-Djavax.net.ssl.trustStore=/"))
        );
        let trusted = state.shell("cat \"$SSL_CERT_FILE\"");
        let authority = fs::read_to_string(state.dir().join("names/ca.pem")).expect("our authority");
        assert!(trusted.ends_with(&authority), "the system's certificates, and ours behind them");
        // What the system trusts is in it, if there is such a file.
        if let Ok(system) = fs::read_to_string(bundle) {
            assert_eq!(trusted, format!("{system}{authority}"));
        }
    }

    #[test]
    fn the_keys_of_the_signed_header_and_nothing_else_are_served_outside_if_that_is_asked_for() {
        let state = State::new();
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let mut command = doorward();
        command.args(["run", "--verbose", "--keys-listen", &format!("127.0.0.1:{port}"), "--dir"]).arg(state.dir());
        let process =
            Process::start(command.args(["--", "sh", "-c", "trap 'exit 7' TERM; echo ready; sleep 1000 & wait"]));
        assert_eq!(process.next_line().as_deref(), Some("ready"));
        let outside = |path: &str| Request::get(&format!("http://127.0.0.1:{port}{path}")).send();
        let keys = outside("/www.gstatic.com/iap/verify/public_key-jwk").expect(200).json();
        let named = keys["keys"][0]["kid"].as_str().expect("a key id");
        assert!(outside("/www.gstatic.com/iap/verify/public_key").expect(200).json()[named].is_string());
        for path in ["/", "/decisions", "/oauth2.googleapis.com/token", "/www.googleapis.com/oauth2/v3/certs"] {
            assert_eq!(outside(path).status, 404, "{path}");
        }
        process.signal("TERM");
        let Finished { code, stderr, .. } = process.finish();
        let told = format!("Keys outside  http://127.0.0.1:{port}/www.gstatic.com/iap/verify/public_key-jwk\n");
        assert!(code == Some(7) && stderr.contains(&told), "{stderr}");

        let mut open = doorward();
        open.args(["run", "--keys-listen", "0.0.0.0:0", "--dir"]).arg(state.dir()).args(["--", "true"]);
        let Finished { code, stderr, .. } = run(&mut open);
        assert_eq!(
            (code, stderr.as_str()),
            (Some(125), "doorward: --keys-listen 0.0.0.0:0 can be reached from other machines: use 127.0.0.1\n")
        );
    }

    #[test]
    fn a_key_file_of_dev_is_told_inside_that_its_server_is_not_reached() {
        let state = State::new();
        let dev = Dev::start(&[]);
        let key_file = dev.text("/service_accounts/robot/key_file");
        let told = state
            .shell_with_doorward(&format!("\"$0\" token --app app --no-cache --key-file {key_file} 2>&1 || echo $?"));
        assert!(
            told.contains("inside `doorward run` no server of the machine is reached") && told.ends_with("\n1\n"),
            "{told}"
        );
    }

    #[test]
    fn signals_reach_the_program_and_its_answer_comes_back() {
        for signal in ["HUP", "INT", "QUIT", "TERM", "USR1", "USR2"] {
            let state = State::new();
            let line = format!("trap 'echo got; exit 7' {signal}; echo ready; sleep 1000 & wait");
            let process = Process::start(&mut state.command(&["sh", "-c", &line]));
            assert_eq!(process.next_line().as_deref(), Some("ready"));
            process.signal(signal);
            let Finished { code, stdout, stderr } = process.finish();
            assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(7), "got\n", ""), "{signal}");
        }
    }

    #[test]
    fn what_the_caller_ignores_the_program_ignores_as_under_nohup() {
        let state = State::new();
        let inner = state.command(&["sh", "-c", "trap 'exit 7' TERM; echo ready; sleep 1000 & wait"]);
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
        let process = Process::start(&mut command);
        assert_eq!(process.next_line().as_deref(), Some("ready"));
        process.signal("HUP");
        process.signal("TERM");
        assert_eq!(process.finish().code, Some(7));
    }

    #[test]
    fn a_signal_that_the_program_does_not_catch_ends_it() {
        let state = State::new();
        let process = Process::start(&mut state.command(&["sh", "-c", "echo ready; exec sleep 1000"]));
        assert_eq!(process.next_line().as_deref(), Some("ready"));
        process.signal("TERM");
        assert_eq!(process.finish().code, Some(143));
    }

    #[test]
    fn what_outlives_the_program_is_ended_and_the_machine_is_as_it_was() {
        let state = State::new();
        let mark = state.0.path().join("followed");
        fs::write(&mark, "").expect("a file");
        let mark = mark.to_str().expect("UTF-8");
        let before = machine(mark);
        // One that left its session and its output, and would stay for ever anywhere else.
        let line = format!(
            "setsid sh -c 'trap \"\" HUP TERM; : > {mark}.up; exec tail -f {mark}' >/dev/null 2>&1 &
             until [ -e {mark}.up ]; do :; done; exit 5"
        );
        let Finished { code, .. } = run(&mut state.command(&["sh", "-c", &line]));
        assert_eq!(code, Some(5));
        assert_eq!(machine(mark), before);
        let left: Vec<_> = fs::read_dir(state.dir().join("names/run")).expect("a folder").collect();
        assert!(left.is_empty(), "{left:?}");
    }

    #[test]
    fn killed_it_takes_everything_with_it() {
        let state = State::new();
        let mark = state.0.path().join("followed");
        fs::write(&mark, "").expect("a file");
        let mark = mark.to_str().expect("UTF-8");
        let before = machine(mark);
        let line = format!("setsid tail -f {mark} & echo ready; wait");
        let process = Process::start(&mut state.command(&["sh", "-c", &line]));
        assert_eq!(process.next_line().as_deref(), Some("ready"));
        // Its output ends when the last who holds it does.
        process.kill();
        assert_eq!(machine(mark), before);
    }

    #[test]
    fn the_program_has_processes_and_a_network_of_its_own() {
        let state = State::new();
        let mine =
            |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).expect("a namespace").display().to_string();
        let theirs = state.shell(
            "for name in net mnt pid; do readlink /proc/self/ns/$name; done; cut -d: -f1 /proc/net/dev | tail -n +3",
        );
        let theirs: Vec<&str> = theirs.lines().map(str::trim).collect();
        for (name, their) in ["net", "mnt", "pid"].into_iter().zip(&theirs) {
            assert_ne!(mine(name), **their, "{name}");
        }
        assert_eq!(theirs.last(), Some(&"lo"));
    }

    const NOBODY: u32 = 65534;

    /// What runs `program` as nobody.
    fn as_nobody(program: &Path) -> Command {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".to_owned()]);
        command.arg(program);
        command
    }

    /// Our program where nobody can run it: where it is, or a copy in their directory.
    fn runnable_by_nobody(directory: &Path) -> PathBuf {
        let binary = PathBuf::from(doorward().get_program());
        if as_nobody(&binary).arg("--version").output().is_ok_and(|output| output.status.success()) {
            return binary;
        }
        let copy = directory.join("doorward");
        fs::copy(&binary, &copy).expect("a copy of the binary");
        copy
    }

    #[test]
    fn it_runs_without_root_and_the_program_is_who_it_was_with_no_rights_besides() {
        let state = State::new();
        let mut command =
            state.command(&["sh", "-c", "id -u; grep -E '^Cap(Eff|Prm|Amb)' /proc/self/status | cut -f2"]);
        let mut user = fs::metadata("/proc/self").expect("/proc").uid();
        if user == 0 {
            user = NOBODY;
            chown(state.0.path(), Some(NOBODY), Some(NOBODY)).expect("nobody's directory");
            let mut lowered = as_nobody(&runnable_by_nobody(state.0.path()));
            lowered.args(command.get_args());
            command = lowered;
        }
        let Finished { code, stdout, stderr } = run(&mut command);
        assert_eq!(code, Some(0), "{stderr}");
        let none = "0000000000000000\n".repeat(3);
        assert_eq!(stdout, format!("{user}\n{none}"));
    }

    #[test]
    fn where_namespaces_are_forbidden_it_says_what_to_do() {
        let state = State::new();
        let binary = doorward().get_program().to_owned();
        // In a user namespace of its own, so that the machine's limit stays as it is. Whoever has no capability needs another one.
        let line =
            "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all --inh-caps=-all \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "sh", "-ec", line, "sh"]).arg(binary);
        let Finished { code, stdout, stderr } = run(command.args(state.command(&["true"]).get_args()));
        assert_eq!((code, stdout.as_str()), (Some(125), ""), "{stderr}");
        let expected = "doorward: this system does not let you make a user namespace (No space left on device (os error 28)): \
                    let root `sysctl -w user.max_user_namespaces=15000`, run as root, or use `doorward dev`";
        assert!(stderr.starts_with(expected) && stderr.lines().count() == 1, "{stderr}");
        assert!(!state.dir().exists(), "nothing was made");
    }

    #[test]
    fn our_own_commands_mean_the_world_around_them() {
        let state = State::new();
        let key_file = state.0.path().join("key.json").display().to_string();
        let script = format!(
            r#"
            "$0" service-account list --json >/dev/null
            "$0" service-account create inside-job
            "$0" service-account keys create '{key_file}' --account robot
            for source in "--as robot" "--key-file {key_file}" "--as caller --impersonate target" --metadata; do
                "$0" token --app app --no-cache $source | cut -c1-3
            done
            test "$("$0" token --app app)" = "$("$0" token --app app)"
            "$0" token --app app --explain | grep -c 'good  signed by key'
            "$0" decisions | grep -c ' token '
            "$0" policy add --app app --member user:bob@example.com
            "$0" service-account list --dir /nowhere 2>&1 || echo $?
            "#
        );
        let said = state.shell_with_doorward(&script);
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines[0].starts_with("created inside-job@"), "{said}");
        assert_eq!(lines.iter().filter(|line| **line == "eyJ").count(), 4, "{said}");
        let missing = "doorward: no running world in /nowhere: start one with `doorward dev --dir /nowhere`, or name a `doorward serve` with --api-url URL or DOORWARD_API_URL";
        assert_eq!(lines[lines.len() - 2..], [missing, "1"], "what was typed counts before the environment");
    }

    mod needs_curl {
        use super::*;
        use doorward_tests::Upstream;

        #[test]
        fn every_name_of_googles_answers_over_trusted_tls_and_no_other_name_does() {
            let state = State::new();
            #[rustfmt::skip]
            let cases = [
                ("https://oauth2.googleapis.com/tokeninfo",                                  "400"),
                ("https://www.googleapis.com/oauth2/v3/certs",                               "200"),
                ("https://www.gstatic.com/iap/verify/public_key-jwk",                        "200"),
                ("https://accounts.google.com/.well-known/openid-configuration",             "200"),
                ("https://iamcredentials.googleapis.com/",                                   "404"),
                ("https://compute.googleapis.com/",                                          "404"),
                ("https://tunnel.cloudproxy.app/",                                           "404"),
                ("https://sdk.cloud.google.com/authcode.html",                               "400"),
                ("http://www.googleapis.com/oauth2/v3/certs",                                "200"),
                ("https://doorward.internal/.well-known/oauth-authorization-server",         "200"),
                ("https://127.0.0.1:8443/",                                                  "302"),
                ("http://metadata.google.internal/",                                         "200"),
                ("http://metadata.google.internal./computeMetadata/v1/instance/id",          "200"),
                ("http://169.254.169.254/computeMetadata/v1/project/project-id",             "200"),
                ("http://metadata/computeMetadata/v1/instance/id",                           "200"),
            ];
            let line =
                "for url; do curl -sS -o /dev/null -w '%{http_code}\\n' -H 'Metadata-Flavor: Google' \"$url\"; done";
            let mut command = vec!["sh", "-c", line, "sh"];
            command.extend(cases.iter().map(|(url, _)| *url));
            let Finished { stdout, stderr, .. } = run(&mut state.command(&command));
            let answered: Vec<&str> = stdout.lines().collect();
            for ((url, expected), status) in cases.iter().zip(&answered) {
                assert_eq!(status, expected, "{url}");
            }
            assert_eq!(answered.len(), cases.len(), "{stderr}");

            let not_found = run(&mut state.command(&["curl", "-sS", "--max-time", "5", "https://example.com/"]));
            assert_eq!(not_found.code, Some(6), "no such host, at once: {}", not_found.stderr);
            let unreachable = run(&mut state.command(&["curl", "-sS", "--max-time", "5", "http://192.0.2.1/"]));
            assert_eq!(unreachable.code, Some(7), "no way there, at once: {}", unreachable.stderr);
        }

        #[test]
        fn our_own_commands_call_applications_and_sign_people_in() {
            let state = State::new();
            let fifo = state.0.path().join("said").display().to_string();
            let script = format!(
                r#"
                for url in http://127.0.0.1:8080 https://127.0.0.1:8443; do
                    "$0" curl $url/hello -s -o /dev/null -w '%{{http_code}}\n'
                done
                mkfifo '{fifo}'
                "$0" login --no-browser 2>'{fifo}' &
                address=$(sed -n 's/^sign in at //p;/^waiting/q' '{fifo}')
                alice=$(sed -n 's/.*"sign_in_cookie": "\([^"]*\)".*/\1/p' "$DOORWARD_DEV_JSON" | head -n 1)
                curl -fsSL -H "Cookie: $alice" -o /dev/null "$address"
                wait $!
                "$0" whoami | cut -d' ' -f1-3
                "$0" curl --as me http://127.0.0.1:8080/hello -s -o /dev/null -w '%{{http_code}}\n'
                "$0" logout
                "#
            );
            let expected = "200\n200\nsigned in as alice@example.com at https://doorward.internal\n\
                            alice@example.com at https://doorward.internal,\n200\nalice@example.com is signed out\n";
            assert_eq!(state.shell_with_doorward(&script), expected);
        }

        #[test]
        fn the_systems_own_bundle_is_enough_where_it_is_what_curl_reads() {
            let state = State::new();
            let line = "unset CURL_CA_BUNDLE SSL_CERT_FILE; curl -sS -o /dev/null -w '%{http_code}' https://www.googleapis.com/oauth2/v3/certs";
            assert_eq!(state.shell(line), "200");
        }

        #[test]
        fn an_application_outside_is_reached_through_the_proxy_alone() {
            let state = State::new();
            let upstream = Upstream::start();
            let audience = r#"$(sed -n 's/.*"client_id": "\([^"]*\)".*/\1/p' "$DOORWARD_DEV_JSON" | head -1)"#;
            let tokens =
                "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity";
            let line = format!(
                r#"
                TOKEN=$(curl -fsS -H 'Metadata-Flavor: Google' "{tokens}?format=full&audience={audience}")
                curl -fsS -H "Authorization: Bearer $TOKEN" https://127.0.0.1:8443/hello; echo
                curl -sS {} || echo $?
                "#,
                upstream.url()
            );
            let mut command = doorward();
            command.args(["run", "--to", upstream.url(), "--dir"]).arg(state.dir()).args(["--", "sh", "-ec", &line]);
            let Finished { code, stdout, stderr } = run(&mut command);
            assert_eq!((code, stdout.as_str()), (Some(0), "seen\n7\n"), "{stderr}");
            let seen = upstream.take();
            assert_eq!(seen.len(), 1);
            assert!(seen[0].text().starts_with("GET /hello HTTP/1.1\r\n"), "{}", seen[0].text());
        }
    }
}
