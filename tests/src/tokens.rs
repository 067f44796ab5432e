//! Service accounts as their programs hold them: a key file, and what is signed with it.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use doorward_core::clock::{Clock as _, SystemClock};
use doorward_wire::google_api::KeyFile;
use doorward_wire::jose::encode_base64url;
use serde_json::{Value, json};

use crate::{Request, Response};

/// The current time in whole seconds since the Unix epoch.
pub fn now_seconds() -> i64 {
    SystemClock.now().seconds()
}

/// The token with one bit of its signature changed.
pub fn tampered(token: &str) -> String {
    let (start, signature) = token.rsplit_once('.').expect("a compact token");
    let changed = if signature.starts_with('A') { "B" } else { "A" };
    format!("{start}.{changed}{}", &signature[1..])
}

/// A service account with a key.
#[derive(Debug)]
pub struct Account {
    /// Its address.
    pub email: String,
    /// The id of its key.
    pub key_id: String,
    /// The token endpoint that its key file names.
    pub token_uri: String,
    key: RsaKeyPair,
}

impl Account {
    /// Reads a key file's JSON.
    pub fn from_key_file(json: &[u8]) -> Self {
        let file: KeyFile = serde_json::from_slice(json).expect("a key file");
        let der = pem::parse(&file.private_key).expect("a key in PEM");
        let key = RsaKeyPair::from_pkcs8(der.contents()).expect("an RSA key");
        Account { email: file.client_email, key_id: file.private_key_id, token_uri: file.token_uri, key }
    }

    /// The claims of a good assertion: for an hour, for Google's token endpoint, with one more member.
    pub fn claims(&self, name: &str, value: &str) -> Value {
        let now = now_seconds();
        json!({
            "iss": self.email, "aud": "https://oauth2.googleapis.com/token", "iat": now, "exp": now + 3600, name: value
        })
    }

    /// Signs claims as Google's Python library does: the header has `typ`, `alg` and `kid`.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_under(&json!({"typ": "JWT", "alg": "RS256", "kid": self.key_id}), claims)
    }

    /// Signs claims under any header, with RS256 whatever it says.
    pub fn sign_under(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// Signs texts that need not be JSON.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", encode_base64url(header.as_bytes()), encode_base64url(claims.as_bytes()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature)
            .expect("the key signs");
        format!("{input}.{}", encode_base64url(&signature))
    }

    /// What the token endpoint of the key file answers to these claims.
    pub fn exchange(&self, claims: &Value) -> Response {
        let grant = "urn:ietf:params:oauth:grant-type:jwt-bearer";
        Request::post_form(&self.token_uri, &[("grant_type", grant), ("assertion", &self.sign(claims))]).send()
    }

    /// An access token for scopes.
    pub fn access_token(&self, scope: &str) -> String {
        let answer = self.exchange(&self.claims("scope", scope)).expect(200).json();
        answer["access_token"].as_str().expect("an access_token").to_owned()
    }

    /// An ID token for an audience.
    pub fn id_token(&self, audience: &str) -> String {
        let answer = self.exchange(&self.claims("target_audience", audience)).expect(200).json();
        answer["id_token"].as_str().expect("an id_token").to_owned()
    }
}
