//! What an operator sets: OAuth clients, the clients whose tokens open an application, and the keys.

use doorward_tests::{Client, Dev, Finished, Request, query_of, run};
use serde_json::{Value, json};

const LOOPBACK: &str = "http://localhost:4444";
const ALICE: &str = "alice@example.com";

/// What a subcommand prints as JSON.
fn printed(dev: &Dev, arguments: &[&str]) -> Value {
    let Finished { code, stdout, stderr } = run(&mut dev.command(&[arguments, &["--json"]].concat()));
    assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
}

/// What a subcommand that fails says.
fn failed(dev: &Dev, arguments: &[&str]) -> String {
    let Finished { code, stdout, stderr } = run(&mut dev.command(arguments));
    assert!(code != Some(0) && stdout.is_empty(), "{arguments:?}: {stdout}");
    stderr
}

fn text<'a>(answer: &'a Value, member: &str) -> &'a str {
    answer[member].as_str().unwrap_or_else(|| panic!("{member} in {answer}"))
}

/// Alice's tokens for a client.
fn sign_in(dev: &Dev, client: Client<'_>, redirect_uri: &str) -> Value {
    let code = dev.person(ALICE).code(client, redirect_uri, &[]);
    let more = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", redirect_uri)];
    dev.token(&client.form(&more)).expect(200).json()
}

#[test]
fn a_client_is_created_shown_given_a_new_secret_and_deleted() {
    let dev = Dev::start(&[]);
    let created = printed(&dev, &["oauth-client", "create", "My command line", "--type", "desktop"]);
    let (id, secret) = (text(&created, "clientId").to_owned(), text(&created, "clientSecret").to_owned());
    let number = dev.text("/project/number");
    assert!(id.starts_with(&format!("{number}-")) && id.ends_with(".apps.googleusercontent.com"), "{id}");
    let shown = json!({
        "clientId": id, "displayName": "My command line", "type": "desktop", "projectNumber": number,
        "createTime": created["createTime"],
    });
    let mut expected = shown.clone();
    expected["clientSecret"] = secret.as_str().into();
    assert_eq!(created, expected);
    // The secret is never shown again.
    assert_eq!(printed(&dev, &["oauth-client", "describe", &id]), shown);
    let listed = printed(&dev, &["oauth-client", "list"]);
    let clients = listed["oauthClients"].as_array().expect("clients");
    assert!(clients.contains(&shown), "{listed}");
    assert!(clients.iter().all(|client| client.get("clientSecret").is_none()), "{listed}");

    let client = Client { id: &id, secret: Some(&secret) };
    let tokens = sign_in(&dev, client, LOOPBACK);
    let reset = printed(&dev, &["oauth-client", "reset-secret", &id]);
    let renewed = text(&reset, "clientSecret");
    assert_ne!(renewed, secret);
    let grant = [("grant_type", "refresh_token"), ("refresh_token", text(&tokens, "refresh_token"))];
    dev.token(&client.form(&grant)).expect(401);
    let client = Client { id: &id, secret: Some(renewed) };
    dev.token(&client.form(&grant)).expect(200);

    // What people allowed it ends with it.
    printed(&dev, &["oauth-client", "delete", &id]);
    let error = dev.token(&client.form(&grant)).expect(401).json();
    assert_eq!(error, json!({"error": "invalid_client", "error_description": "The OAuth client was not found."}));
    let info = dev.google("openidconnect.googleapis.com/v1/userinfo");
    Request::get(&info).bearer(text(&tokens, "access_token")).send().expect(401);
    let gone =
        dev.person(ALICE).authorize(&[("client_id", &id), ("response_type", "code"), ("redirect_uri", LOOPBACK)]);
    assert_eq!((gone.status, gone.header("location")), (401, None));
    let unknown = failed(&dev, &["oauth-client", "describe", &id]);
    assert!(unknown.contains("doorward oauth-client list"), "{unknown}");
}

#[test]
fn each_type_of_client_has_the_restrictions_of_its_kind_and_no_other() {
    let dev = Dev::start(&[]);
    let sha1 = vec!["AB"; 20].join(":");
    let create = |arguments: &[&str]| {
        let arguments = [&["oauth-client", "create", "A name"], arguments].concat();
        printed(&dev, &arguments)
    };
    let callback = "https://app.example.com/callback";
    let web = create(&["--type", "web", "--redirect-uri", callback]);
    assert_eq!(web["redirectUris"], json!([callback]));
    let android = create(&["--type", "android", "--package", "com.example.phone", "--sha1", &sha1]);
    assert_eq!((&android["packageName"], &android["sha1"]), (&json!("com.example.phone"), &json!(sha1)));
    let ios = create(&["--type", "ios", "--bundle-id", "com.example.tablet"]);
    assert_eq!(ios["bundleId"], "com.example.tablet");
    for public in [&android, &ios] {
        assert_eq!(public.get("clientSecret"), None, "{public}");
        failed(&dev, &["oauth-client", "reset-secret", text(public, "clientId")]);
    }
    // Each signs in where it may.
    let challenge = ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    for (client, uri) in [(&web, callback), (&android, "com.example.phone:/x"), (&ios, "com.example.tablet:/x")] {
        let parameters = [
            ("client_id", text(client, "clientId")),
            ("response_type", "code"),
            ("scope", "openid"),
            ("redirect_uri", uri),
        ];
        let answer = dev.person(ALICE).authorize(&[&parameters[..], &[challenge]].concat()).expect(302);
        let told = query_of(answer.header("location").expect("an address"));
        assert!(told.iter().any(|(name, _)| name == "code"), "{told:?}");
    }
    #[rustfmt::skip]
    let refused: [&[&str]; 9] = [
        &["--type", "web"],
        &["--type", "web", "--redirect-uri", "http://app.example.com/callback"],
        &["--type", "web", "--redirect-uri", "https://app.example.com/callback#x"],
        &["--type", "web", "--redirect-uri", "javascript:alert(1)"],
        &["--type", "android", "--package", "com.example.phone"],
        &["--type", "android", "--package", "com.example.phone", "--sha1", "AB"],
        &["--type", "android", "--package", "not a package", "--sha1", &sha1],
        &["--type", "ios"],
        &["--type", "television"],
    ];
    for arguments in refused {
        failed(&dev, &[&["oauth-client", "create", "A name"], arguments].concat());
    }
}

#[test]
fn clients_settings_and_keys_are_for_the_operator_and_whoever_holds_a_role_for_them() {
    let dev = Dev::start(&[]);
    let of = |account: &str| dev.account(account).access_token("https://www.googleapis.com/auth/cloud-platform");
    let (robot, caller) = (of("robot"), of("caller"));
    let settings = format!("iap.googleapis.com/v1/{}:iapSettings", dev.text("/app/resource"));
    // Method, path and body; what `caller` gets, who administers IAP and has no role for our keys.
    #[rustfmt::skip]
    let cases = [
        ("GET",   "v1/oauthClients", None,                                                  200),
        ("POST",  "v1/oauthClients", Some(r#"{"displayName": "mine", "type": "desktop"}"#), 200),
        ("GET",   "v1/keys",         None,                                                  403),
        ("POST",  "v1/keys:rotate",  Some("{}"),                                            403),
        ("GET",   &settings,         None,                                                  200),
        ("PATCH", &settings,         Some("{}"),                                            200),
    ];
    for (method, path, body, status) in cases {
        let request = || {
            let request = Request::new(method, &dev.google(path));
            match body {
                Some(body) => request.body("application/json", body.as_bytes()),
                None => request,
            }
        };
        let nobody = request().send().expect(401).json();
        assert_eq!(nobody["error"]["status"], "UNAUTHENTICATED", "{method} {path}");
        let account = request().bearer(&robot).send().expect(403).json();
        assert_eq!(account["error"]["status"], "PERMISSION_DENIED", "{method} {path}");
        request().bearer(&caller).send().expect(status);
    }
}

#[test]
fn a_client_that_is_set_on_the_application_opens_it_with_its_own_tokens() {
    let dev = Dev::start(&[]);
    let (desktop, web) = (dev.client("desktop"), dev.client("web"));
    let token = |client, uri| text(&sign_in(&dev, client, uri), "id_token").to_owned();
    let (of_desktop, of_web) = (token(desktop, LOOPBACK), token(web, "http://localhost:3000/callback"));
    let ask = |url: &str, token: &str| Request::get(url).bearer(token).send();
    let (app, other) = (dev.app("/"), dev.text("/other_app/url").to_owned());
    assert_eq!(ask(&app, &of_desktop).reason(), Some("wrong_audience"), "not listed at the start");

    let clients = |set: &Value| set["accessSettings"]["oauthSettings"]["programmaticClients"].clone();
    let set = printed(&dev, &["settings", "set", "--app", "app", "--programmatic-client", "desktop"]);
    assert_eq!(clients(&set), json!([desktop.id]));
    assert_eq!(printed(&dev, &["settings", "get", "--app", "app"]), set);
    let echo = ask(&app, &of_desktop).expect(200).json();
    assert_eq!(echo["identity"]["email"], ALICE);
    assert_eq!(ask(&app, &of_web).reason(), Some("wrong_audience"));
    assert_eq!(ask(&other, &of_desktop).reason(), Some("wrong_audience"));

    // The whole list is replaced, and what lies above holds where nothing is set.
    let set = ["settings", "set", "--app", "app", "--programmatic-client", web.id];
    assert_eq!(clients(&printed(&dev, &set)), json!([web.id]));
    assert_eq!(ask(&app, &of_desktop).reason(), Some("wrong_audience"));
    ask(&app, &of_web).expect(200);
    printed(&dev, &["settings", "set", "--project", "--programmatic-client", "desktop"]);
    assert_eq!(ask(&app, &of_desktop).reason(), Some("wrong_audience"), "the application sets its own");
    assert_eq!(ask(&other, &of_desktop).reason(), Some("permission_denied"), "accepted there, and admitted nowhere");
    printed(&dev, &["settings", "set", "--app", "app", "--no-programmatic-clients"]);
    assert_eq!(ask(&app, &of_web).reason(), Some("wrong_audience"));

    // Such a token is a person's: a policy decides as for every other.
    let bob = dev.person("bob@example.com").code(desktop, LOOPBACK, &[]);
    let more = [("grant_type", "authorization_code"), ("code", bob.as_str()), ("redirect_uri", LOOPBACK)];
    let bob = dev.token(&desktop.form(&more)).expect(200).json();
    printed(&dev, &["settings", "set", "--app", "app", "--programmatic-client", "desktop"]);
    assert_eq!(ask(&app, text(&bob, "id_token")).reason(), Some("permission_denied"));
    failed(&dev, &["settings", "set", "--app", "app", "--programmatic-client", ""]);
}

#[test]
fn a_new_key_is_published_before_it_signs_and_an_old_one_is_good_as_long_as_its_tokens() {
    let dev = Dev::start(&[]);
    let before = dev.id_token("robot");
    let published = || {
        let jwks = Request::get(&dev.google("www.googleapis.com/oauth2/v3/certs")).send().expect(200).json();
        let kids = jwks["keys"].as_array().expect("keys").iter().map(|key| text(key, "kid").to_owned());
        kids.collect::<Vec<String>>()
    };
    let listed = |dev: &Dev| {
        let keys = printed(dev, &["keys", "list"])["keys"].clone();
        let keys = keys.as_array().expect("keys").iter().filter(|key| key["purpose"] == "id-token");
        keys.map(|key| (text(key, "keyId").to_owned(), text(key, "state").to_owned())).collect::<Vec<_>>()
    };
    let [(old, state)] = &listed(&dev)[..] else { panic!("{:?}", listed(&dev)) };
    assert_eq!((state.as_str(), published()), ("active", vec![old.clone()]));
    assert!(!printed(&dev, &["keys", "list"]).to_string().contains("PRIVATE"));

    printed(&dev, &["keys", "rotate", "--purpose", "id-token"]);
    let after = listed(&dev);
    let states: Vec<&str> = after.iter().map(|(_, state)| state.as_str()).collect();
    assert_eq!(states, ["next", "active"], "{after:?}");
    assert_eq!(published().len(), 2);
    let kid = |token: &str| {
        let header = token.split('.').next().expect("a header");
        let header = doorward_wire::jose::decode_base64url(header).expect("base64url");
        text(&serde_json::from_slice::<Value>(&header).expect("JSON"), "kid").to_owned()
    };
    assert_eq!(kid(&dev.id_token("robot")), *old, "verifiers may not know the new one yet");
    failed(&dev, &["keys", "rotate", "--purpose", "id-token"]);

    // A key that got out: the new one signs at once, and what the old ones signed is refused.
    Request::get(&dev.app("/")).bearer(&before).send().expect(200);
    printed(&dev, &["keys", "rotate", "--purpose", "id-token", "--immediately"]);
    assert_eq!(Request::get(&dev.app("/")).bearer(&before).send().expect(401).reason(), Some("invalid_token"));
    let renewed = dev.id_token("robot");
    assert_eq!(published(), [kid(&renewed)]);
    Request::get(&dev.app("/")).bearer(&renewed).send().expect(200);
    failed(&dev, &["keys", "rotate", "--purpose", "nonsense"]);
}
