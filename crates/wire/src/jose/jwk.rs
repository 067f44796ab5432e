//! JSON Web Keys (RFC 7517) and PEM, as Google publishes them.

use serde::{Deserialize, Serialize};

/// One public key. Parameters of private keys are not read and never written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Key id.
    pub kid: String,
    /// Key type: `RSA` or `EC`.
    pub kty: String,
    /// `RS256` or `ES256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alg: Option<String>,
    /// Intended use: `sig`.
    #[serde(rename = "use", default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<String>,
    /// Intended operations: `verify` and others. Ours say it by `use`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_ops: Option<Vec<String>>,
    /// RSA modulus, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<String>,
    /// RSA public exponent, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub e: Option<String>,
    /// Curve of an EC key: `P-256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crv: Option<String>,
    /// EC x coordinate, 32 bytes, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x: Option<String>,
    /// EC y coordinate, 32 bytes, base64url.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y: Option<String>,
}

impl Jwk {
    /// An RS256 verification key from modulus and exponent, both base64url.
    pub fn rsa(kid: &str, n: String, e: String) -> Self {
        Jwk { n: Some(n), e: Some(e), ..Self::new(kid, "RSA", "RS256") }
    }

    /// An ES256 verification key from its coordinates, both base64url.
    pub fn p256(kid: &str, x: String, y: String) -> Self {
        Jwk { crv: Some("P-256".to_owned()), x: Some(x), y: Some(y), ..Self::new(kid, "EC", "ES256") }
    }

    fn new(kid: &str, kty: &str, alg: &str) -> Self {
        let text = |text: &str| Some(text.to_owned());
        Jwk {
            kid: kid.to_owned(),
            kty: kty.to_owned(),
            alg: text(alg),
            usage: text("sig"),
            key_ops: None,
            n: None,
            e: None,
            crv: None,
            x: None,
            y: None,
        }
    }
}

/// A key document: `{"keys":[…]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JwkSet {
    /// The keys, in no order that matters.
    pub keys: Vec<Jwk>,
}

/// A public key as SubjectPublicKeyInfo in PEM, LF line ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PublicKeyPem(String);

impl PublicKeyPem {
    pub(super) fn encode(der: &[u8]) -> Self {
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        PublicKeyPem(pem::encode_config(&pem::Pem::new("PUBLIC KEY", der), config))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
