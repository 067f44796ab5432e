//! google-auth-library for Node.

use doorward_tests::{Dev, client_script, node};
use serde_json::json;

use super::{Answer, ask, offline, service_account, wrong_audience};

#[test]
fn every_way_of_the_node_library_whose_addresses_can_be_given_leads_in() {
    let dev = Dev::start(&["--tls"]);
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    let (client, client_id) = (dev.client("desktop"), dev.text("/app/client_id"));
    let alice = dev.person("alice@example.com");
    let (robot, target) = (dev.text("/metadata/service_account"), service_account(&dev, "target"));
    for side in dev.sides() {
        let mut ways = node();
        offline(&mut ways)
            .arg(client_script("google_auth_library.cjs"))
            .env("GCE_METADATA_HOST", dev.text("/metadata/host"))
            .env("CLOUDSDK_CONFIG", nowhere.path())
            .env("HOME", nowhere.path());
        if let Some(ca_file) = side.ca_file {
            ways.env("NODE_EXTRA_CA_CERTS", ca_file);
        }
        let given = json!({
            "app": side.app, "api": side.api, "client_id": client_id, "audience": dev.text("/app/audience"),
            "desktop": {"client_id": client.id, "client_secret": client.secret}, "cookie": alice.cookie(),
            "target": target,
        });
        let led = ask(&mut ways, &given);
        Answer::of(&led["metadata"]).is_of(robot);
        for way in ["id_token", "id_token_client"] {
            Answer::of(&led["impersonated"][way]).is_of(target);
        }
        assert_eq!((&led["impersonated"]["email"], &led["impersonated"]["signed"]), (&json!(target), &json!(true)));

        let signed_in = &led["signIn"];
        assert_eq!(signed_in["state"], true);
        assert_eq!(signed_in["wrongVerifier"]["refused"], "invalid_grant");
        let members = ["access_token", "expiry_date", "id_token", "refresh_token", "scope", "token_type"];
        assert_eq!(signed_in["members"], json!(members));
        let claims = &signed_in["claims"];
        let expected = [("aud", client.id), ("azp", client.id), ("email", alice.email), ("hd", "example.com")];
        for (name, value) in expected {
            assert_eq!(claims[name], value, "{claims}");
        }
        let info = &signed_in["info"];
        assert_eq!((&info["aud"], &info["email"]), (&json!(client.id), &json!(alice.email)), "{info}");
        let refused = Answer::of(&signed_in["id_token"]);
        assert_eq!((refused.status, refused.body), (401, wrong_audience(client.id, client_id)));
        assert_eq!(signed_in["revoked"], 200);
        assert_eq!(signed_in["afterwards"]["refused"], "invalid_grant");

        let assertion = &led["assertion"];
        let expected = [("email", robot), ("aud", dev.text("/app/audience")), ("iss", "https://cloud.google.com/iap")];
        for (name, value) in expected {
            assert_eq!(assertion["claims"][name], value, "{assertion}");
        }
        let other = assertion["other"]["refused"].as_str().unwrap_or_else(|| panic!("accepted: {assertion}"));
        assert!(other.starts_with("Wrong recipient"), "{other}");
    }
}
