//! Everything in a file: what it would change, changing it, and the way back.

use std::fs;
use std::path::PathBuf;

use doorward_tests::{Dev, Finished, Place, Process, Request, doorward, run};
use serde_json::{Value, json};

const ROLE: &str = "roles/iap.httpsResourceAccessor";

/// A file in the folder of a server.
fn written(dev: &Dev, name: &str, text: &str) -> PathBuf {
    let path = dev.dir().join(name);
    fs::write(&path, text).expect("the file is written");
    path
}

fn apply(dev: &Dev, name: &str, text: &str, flags: &[&str]) -> Finished {
    let path = written(dev, name, text);
    let line = [&["apply", "-f", path.to_str().expect("text")], flags].concat();
    run(&mut dev.command(&line))
}

/// What an apply that works prints.
fn applied(dev: &Dev, name: &str, text: &str, flags: &[&str]) -> String {
    let Finished { code, stdout, stderr } = apply(dev, name, text, flags);
    assert_eq!(code, Some(0), "{stderr}");
    stdout
}

/// A group with the stranger in it, whom the application lets in at one path.
fn crew(dev: &Dev) -> [(&'static str, String); 2] {
    let stranger = dev.text("/service_accounts/stranger/email");
    let toml = format!(
        "[[groups]]\nemail = 'crew@example.com'\nmembers = ['serviceAccount:{stranger}']\n\n\
         [[policies]]\nresource = 'app app'\nbindings = [{{ role = '{ROLE}', members = ['group:crew@example.com'], \
         condition = 'request.path.startsWith(\"/crew\")' }}]\n"
    );
    let yaml = format!(
        "groups:\n- email: crew@example.com\n  members: ['serviceAccount:{stranger}']\n\
         policies:\n- resource: app app\n  bindings:\n  - role: {ROLE}\n    members: ['group:crew@example.com']\n    \
         condition: request.path.startsWith(\"/crew\")\n"
    );
    [("world.toml", toml), ("world.yaml", yaml)]
}

#[test]
fn a_file_in_either_form_is_shown_then_applied_and_then_there_is_nothing_to_do() {
    for form in [0, 1] {
        let dev = Dev::start(&[]);
        let (name, text) = crew(&dev)[form].clone();
        let token = dev.id_token("stranger");
        let status = |path: &str| Request::get(&dev.app(path)).bearer(&token).send().status;
        let before = dev.ran(&["export"]);
        let planned = applied(&dev, name, &text, &["--dry-run"]);
        for line in [
            "+ groups crew@example.com",
            "~ policies app app",
            "    - roles/iap.httpsResourceAccessor: user:alice@example.com",
            "    + roles/iap.httpsResourceAccessor if request.path.startsWith(\"/crew\"): group:crew@example.com",
            "2 to change",
        ] {
            assert!(planned.lines().any(|it| it == line), "{name}: {line} is not in\n{planned}");
        }
        assert_eq!((dev.ran(&["export"]), status("/crew")), (before, 403), "{name}");

        let done = applied(&dev, name, &text, &[]);
        assert!(done.contains("2 changed\n"), "{done}");
        assert_eq!((status("/crew/x"), status("/")), (200, 403), "{name}");
        let again = applied(&dev, name, &text, &[]);
        assert!(again.starts_with("nothing to change\n"), "{again}");
        // What the file does not have is named and kept.
        assert!(again.contains("not in the file, and kept (--prune removes them): "), "{again}");
        assert!(!applied(&dev, name, &text, &["--json", "--dry-run"]).contains("notDone"), "{name}");
    }
}

#[test]
fn an_application_at_the_host_of_another_one_is_a_mistake_that_a_dry_run_finds() {
    let dev = Dev::start(&[]);
    dev.ran(&["app", "create", "wiki", "--host", "https://wiki.test", "--to", "http://127.0.0.1:9"]);
    let application = |name: &str, host: &str| {
        format!("[[applications]]\nname = '{name}'\nhosts = ['{host}']\nupstreams = ['http://127.0.0.1:9']\n")
    };
    let (first, other) = (application("first", "https://new.test"), application("other", "https://wiki.test"));
    let before = dev.ran(&["export"]);
    // (file, flags) => the application that is in the way of another one
    #[rustfmt::skip]
    let cases: [(String, &[&str], Option<&str>); 6] = [
        (other.clone(),                                             &[],                     Some("app other")),
        (other.clone(),                                             &["--dry-run"],          Some("app other")),
        (application("other", "http://wiki.test:443"),              &["--dry-run"],          Some("app other")),
        (first.clone() + &application("same", "https://new.test"),  &["--dry-run"],          Some("app same")),
        (other.clone() + &application("wiki", "https://old.test"),  &["--dry-run"],          None),
        (other,                                                     &["--prune", "--dry-run"], None),
    ];
    for (file, flags, in_the_way) in cases {
        let Finished { code, stderr, .. } = apply(&dev, "w.toml", &file, flags);
        assert_eq!(code, Some(i32::from(in_the_way.is_some())), "{file} {flags:?}: {stderr}");
        let said = in_the_way.is_none_or(|app| stderr.contains(&format!("{app}: another application is served at")));
        assert!(said, "{file} {flags:?}: {stderr}");
        assert_eq!(dev.ran(&["export"]), before, "{file} {flags:?}");
    }
}

#[test]
fn nothing_is_removed_before_somebody_agreed() {
    let dev = Dev::start(&[]);
    dev.ran(&["group", "create", "old@example.com"]);
    let file = "groups = []\n";
    let before = dev.ran(&["export"]);
    let refused = apply(&dev, "w.toml", file, &["--prune"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.stderr.contains("- groups old@example.com"), "{}", refused.stderr);
    assert!(refused.stderr.contains("1 would be removed, and nobody can be asked here"), "{}", refused.stderr);
    assert!(refused.stderr.contains("give --yes"), "{}", refused.stderr);
    assert_eq!(dev.ran(&["export"]), before);
    assert!(applied(&dev, "w.toml", file, &["--prune", "--dry-run"]).contains("1 to change"));
    assert_eq!(dev.ran(&["export"]), before);
    assert!(applied(&dev, "w.toml", file, &["--prune", "--yes"]).contains("- groups old@example.com"));
    // A list that the file has not is left alone.
    assert_eq!(
        dev.ran(&["export"]),
        before.replace("[[groups]]\nemail = \"old@example.com\"\nmembers = []\n\n", "").replacen(
            "settings = []\n",
            "settings = []\ngroups = []\n",
            1
        )
    );
    assert_eq!(apply(&dev, "w.toml", file, &["--yes"]).code, Some(2), "--yes is for --prune");
}

#[test]
fn at_a_terminal_the_number_of_removals_is_asked_for() {
    let dev = Dev::start(&[]);
    dev.ran(&["group", "create", "old@example.com"]);
    let path = written(&dev, "w.toml", "groups = []\n");
    let line = dev.command(&["apply", "--prune", "-f", path.to_str().expect("text")]);
    let words = std::iter::once(line.get_program()).chain(line.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().expect("text"))).collect();
    let groups = || dev.printed(&["group", "list"])["groups"].as_array().map_or(0, Vec::len);
    // (typed) => the groups that are left. `script` gives the command a terminal.
    for (typed, left) in [("yes\n", 1), ("\n", 1), ("1\n", 0)] {
        let mut terminal = std::process::Command::new("script");
        terminal.args(["-qec", &words.join(" "), "/dev/null"]).env("DOORWARD_KEYRING", "off");
        let finished = Process::start_with_input(&mut terminal, typed).finish();
        assert!(finished.stdout.contains("Type 1 to go on:"), "{} {}", finished.stdout, finished.stderr);
        assert_eq!((groups(), finished.code), (left, Some(i32::from(left == 1))), "{typed:?}: {}", finished.stdout);
    }
}

#[test]
fn every_mistake_of_a_file_is_named_with_its_place_and_nothing_is_changed() {
    let dev = Dev::start(&[]);
    let before = dev.ran(&["export"]);
    let meant = format!(
        r#"
        [[applications]]
        name = "wiki"
        hosts = ["a b"]
        upstreams = ["ftp://u"]

        [[groups]]
        email = "good@example.com"
        members = ["allUsers", "group:none@example.com"]

        [[policies]]
        resource = "app gone"
        bindings = []

        [[policies]]
        resource = "web"
        bindings = [
            {{ role = "{ROLE}", members = ["ann", "group:none@example.com"] }},
            {{ role = "{ROLE}", members = ["group:good@example.com"], condition = "request.pth == '/'" }},
            {{ role = "roles/none", members = ["user:ann@example.com"] }},
        ]

        [[access_levels]]
        name = "home"
        ip_subnetworks = ["10.0.0.0/99"]

        [[settings]]
        resource = "web"
        access_settings.cors_settings.allow_http_options = true
        "#
    );
    let told = [
        "In the file are 11 mistakes, and nothing was changed:",
        "app wiki: \"a b\" is no host",
        "app wiki: \"ftp://u\" is no upstream",
        "group good@example.com: allUsers cannot be in a group",
        "the policy of app gone: there is no app gone",
        "the policy of web: \"ann\"",
        "the policy of web: there is no group:none@example.com, neither here nor in the file",
        "the policy of web: there is no role roles/none, neither here nor in the file",
        "there is no attribute request.pth",
        "(at column 8)",
        "access level home: \"10.0.0.0/99\" is no range of addresses",
        "the settings of web: ",
        "has no effect here",
    ];
    let of_form = "[[groups]]\nemial = 'a@example.com'\n[[policies]]\nresource = 'web'\nbindings = 3\n";
    let unknown = format!(
        "[[groups]]\nemail = 'good@example.com'\n[[policies]]\nresource = 'web'\nbindings = [\n\
         {{ role = '{ROLE}', members = ['group:none@example.com', 'group:good@example.com'] }},\n\
         {{ role = 'roles/none', members = ['user:ann@example.com'] }},\n\
         {{ role = 'roles/owner', members = ['user:ann@example.com'] }}]\n"
    );
    let by_name = [
        "In the file are 3 mistakes",
        "the policy of web: there is no group:none@example.com, neither here nor in the file",
        "the policy of web: there is no role roles/none, neither here nor in the file",
        "the policy of web: roles/owner holds no permission that could be used here",
    ];
    let cases: [(&str, &[&str]); 3] = [
        (&meant, &told),
        (
            of_form,
            &["line 2, column 1", "2 mistakes", "groups, entry 1: unknown field `emial`", "policies, entry 1 (web)"],
        ),
        (&unknown, &by_name),
    ];
    for (text, told) in cases {
        for flags in [&["--dry-run"][..], &[], &["--prune", "--yes"]] {
            let Finished { code, stdout, stderr } = apply(&dev, "w.toml", text, flags);
            assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
            for told in told {
                assert!(stderr.contains(told), "{told} is not in\n{stderr}");
            }
        }
        assert_eq!(dev.ran(&["export"]), before);
    }
}

/// A server of one project, in which nothing is.
const EMPTY: &str = r#"[server]
api_url = "http://{api}"
api  = { listen = "{api}" }
apps = { listen = "{apps}" }

[project]
id = "round-trip"
number = "123456789012"
"#;

/// One of each thing that a file can have.
fn everything() -> String {
    format!(
        r#"
        [[applications]]
        name = "wiki"
        hosts = ["https://wiki.example.com", "wiki.internal"]
        path_prefixes = ["/wiki"]
        upstreams = ["http://10.0.0.7:3000"]
        description = "The \"wiki\" of everybody"
        labels = {{ team = "docs" }}

        [[applications]]
        name = "shop"
        kind = "cloud_run"
        region = "europe-west1"
        hosts = ["https://shop.example.com"]
        upstreams = ["https://10.0.0.8"]
        iap_enabled = false

        [[service_accounts]]
        id = "nightly-job"
        display_name = "The nightly job"
        disabled = true

        [[groups]]
        email = "staff@example.com"
        display_name = "The staff"
        members = ["user:ann@example.com", "group:ops@example.com"]

        [[groups]]
        email = "ops@example.com"
        members = ["serviceAccount:nightly-job@round-trip.iam.gserviceaccount.com"]

        [[roles]]
        id = "wikiDoor"
        title = "Door of the wiki"
        permissions = ["iap.webServiceVersions.accessViaIAP"]

        [[access_levels]]
        name = "office"
        ip_subnetworks = ["192.0.2.0/24"]

        [[access_levels]]
        name = "inner"
        required_access_levels = ["office"]

        [[access_levels]]
        name = "late"
        expression = "request.time.getHours('Europe/Berlin') > 20"

        [[deny_policies]]
        id = "no-eve"
        display_name = "Not Eve"
        rules = [{{ denied_principals = ["user:eve@example.com"], denied_permissions = ["iap.googleapis.com/webServiceVersions.accessViaIAP"] }}]

        [[settings]]
        resource = "app wiki"
        application_settings.access_denied_page_settings.access_denied_page_uri = "https://help.example.com/"

        [[policies]]
        resource = "app wiki"
        bindings = [
            {{ role = "{ROLE}", members = ["group:staff@example.com", "domain:example.com"] }},
            {{ role = "{ROLE}", members = ["user:bob@example.com"], condition = "request.path.startsWith('/open')" }},
            {{ role = "projects/round-trip/roles/wikiDoor", members = ["user:carl@example.com"], condition = {{ expression = "'accessPolicies/123456789012/accessLevels/office' in request.auth.access_levels", title = "Office", description = "At work" }} }},
        ]

        [[policies]]
        resource = "account nightly-job"
        bindings = [{{ role = "roles/iam.serviceAccountTokenCreator", members = ["group:ops@example.com"] }}]
        "#
    )
}

#[test]
fn an_export_makes_the_same_world_of_an_empty_one() {
    let (mut here, mut there) = (Place::new(EMPTY), Place::new(EMPTY));
    let (one, other) = (here.init().start(), there.init().start());
    let file = here.path("everything.toml");
    fs::write(&file, everything()).expect("the file is written");
    let ran = |serve: &doorward_tests::Serve, line: &[&str]| {
        let Finished { code, stdout, stderr } = run(&mut serve.command(line));
        assert_eq!(code, Some(0), "{line:?}: {stderr}");
        stdout
    };
    ran(&one, &["apply", "-f", file.to_str().expect("text")]);
    for format in ["toml", "yaml", "json"] {
        let exported = ran(&one, &["export", "--format", format]);
        let file = there.path(&format!("world.{format}"));
        let path = file.to_str().expect("text");
        fs::write(&file, &exported).expect("the file is written");
        ran(&other, &["apply", "-f", path]);
        assert_eq!(ran(&other, &["export", "--format", format]), exported);
        // Nothing is there that the file has not, and nothing in it is left to do.
        assert_eq!(ran(&other, &["apply", "--prune", "-f", path]), "nothing to change\n");
        assert_eq!(ran(&one, &["apply", "--prune", "-f", path]), "nothing to change\n");
        for secret in ["private_key", "PRIVATE KEY", "argon2", "doorward_cs_", "doorward_admin_"] {
            assert!(!exported.contains(secret), "{secret} is in\n{exported}");
        }
        for kept in ["nightly-job", "disabled", "wikiDoor", "At work", "no-eve", "https://help.example.com/"] {
            assert!(exported.contains(kept), "{kept} is not in\n{exported}");
        }
    }
}

#[test]
fn what_gcloud_prints_becomes_a_file_that_is_applied() {
    let dev = Dev::start(&[]);
    let policy = json!({"bindings": [
        {"role": ROLE, "members": ["user:bob@example.com"], "condition": {"expression": "request.path == '/'", "title": "Root"}},
        {"role": ROLE, "members": ["domain:example.com"]},
    ], "etag": "BwXseec=", "version": 3});
    let settings = json!({
        "name": "projects/987/iap_web/compute/services/app",
        "accessSettings": {"oauthSettings": {"programmaticClients": ["1-a.apps.googleusercontent.com"]}},
        "applicationSettings": {"accessDeniedPageSettings": {"accessDeniedPageUri": "https://help.example.com/"}},
    });
    // As gcloud prints them by default, in YAML, and with --format=json.
    let policy_yaml = "bindings:\n- condition:\n    expression: request.path == '/'\n    title: Root\n  members:\n  - user:bob@example.com\n  role: roles/iap.httpsResourceAccessor\n- members:\n  - domain:example.com\n  role: roles/iap.httpsResourceAccessor\netag: BwXseec=\nversion: 3\n";
    let settings_yaml = "accessSettings:\n  oauthSettings:\n    programmaticClients:\n    - 1-a.apps.googleusercontent.com\napplicationSettings:\n  accessDeniedPageSettings:\n    accessDeniedPageUri: https://help.example.com/\nname: projects/987/iap_web/compute/services/app\n";
    let import = |words: &[&str]| {
        let Finished { code, stdout, stderr } = run(doorward().arg("import").args(words));
        assert_eq!(code, Some(0), "{words:?}: {stderr}");
        stdout
    };
    let (policy_json, settings_json) = (policy.to_string(), settings.to_string());
    let forms = [("yaml", policy_yaml, settings_yaml), ("json", &*policy_json, &*settings_json)];
    let files: Vec<[String; 2]> = forms
        .iter()
        .map(|(end, policy, settings)| {
            let policy = written(&dev, &format!("policy.{end}"), policy);
            let settings = written(&dev, &format!("settings.{end}"), settings);
            [
                import(&["policy", policy.to_str().expect("text"), "--resource", "app app"]),
                import(&["settings", settings.to_str().expect("text")]),
            ]
        })
        .collect();
    assert_eq!(files[0], files[1], "the two forms say the same");
    for file in &files[0] {
        assert!(applied(&dev, "imported.toml", file, &[]).contains("1 changed"));
        assert!(applied(&dev, "imported.toml", file, &[]).starts_with("nothing to change"));
    }
    let shown = dev.printed(&["policy", "show", "--app", "app"]);
    let conditions: Vec<&Value> =
        shown["bindings"].as_array().expect("bindings").iter().filter_map(|it| it.get("condition")).collect();
    assert_eq!(conditions, [&json!({"expression": "request.path == '/'", "title": "Root"})]);
    let set = dev.printed(&["settings", "get", "--app", "app"]);
    assert_eq!(set["accessSettings"], settings["accessSettings"]);

    let without = written(
        &dev,
        "without.yaml",
        "bindings:\n- members: ['user:a@example.com']\n  role: roles/iap.admin_withcond_12ab\n",
    );
    let refused = run(doorward().args(["import", "policy", without.to_str().expect("text"), "--resource", "web"]));
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.stderr.contains("read it with version 3"), "{}", refused.stderr);
}

mod needs_python {
    use super::*;
    use doorward_tests::python;

    #[test]
    fn what_is_exported_is_what_the_published_schema_describes() {
        let mut place = Place::new(EMPTY);
        let serve = place.init().start();
        let file = place.path("everything.toml");
        fs::write(&file, everything()).expect("the file is written");
        let path = file.to_str().expect("text");
        assert_eq!(run(&mut serve.command(&["apply", "-f", path])).code, Some(0));
        let exported = run(&mut serve.command(&["export", "--json"])).stdout;
        let mut spoilt: Value = serde_json::from_str(&exported).expect("JSON");
        spoilt["groups"][0]["emial"] = "x".into();
        let schema = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/world-file.schema.json");
        let program = "import json, sys, jsonschema\n\
            schema = json.load(open(sys.argv[1]))\n\
            jsonschema.Draft202012Validator.check_schema(schema)\n\
            print([error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(json.load(open(sys.argv[2])))])";
        for (text, wrong) in [(exported, None), (spoilt.to_string(), Some("emial"))] {
            let file = place.path("exported.json");
            fs::write(&file, text).expect("the file is written");
            let checked = run(python().args(["-c", program, schema]).arg(&file));
            assert_eq!(checked.code, Some(0), "{}", checked.stderr);
            match wrong {
                None => assert_eq!(checked.stdout, "[]\n"),
                Some(wrong) => assert!(checked.stdout.contains(wrong), "{}", checked.stdout),
            }
        }
    }
}
