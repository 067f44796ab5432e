//! Keys for the two algorithms, over aws-lc.

use std::collections::HashMap;
use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Map, Value, json};

use super::json::parse_object;
use super::jwk::{Jwk, PublicKeyPem};
use super::jws::{Algorithm, decode_base64url, encode_base64url};

/// Bytes that are not a usable key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("key material is damaged or of an unsupported kind")]
pub struct KeyMaterialError;

enum Private {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
}

/// A private key with the id under which its public half is published.
pub struct SigningKey {
    kid: String,
    private: Private,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.algorithm().name(), self.kid)
    }
}

impl SigningKey {
    /// Reads an unencrypted PKCS#8 private key in DER.
    pub fn from_pkcs8(kid: &str, algorithm: Algorithm, der: &[u8]) -> Result<Self, KeyMaterialError> {
        let private = match algorithm {
            Algorithm::Rs256 => Private::Rsa(Box::new(RsaKeyPair::from_pkcs8(der).map_err(|_| KeyMaterialError)?)),
            Algorithm::Es256 => Private::P256(Box::new(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map_err(|_| KeyMaterialError)?,
            )),
        };
        Ok(SigningKey { kid: kid.to_owned(), private })
    }

    /// Reads an unencrypted PKCS#8 private key in PEM, as a service account key file holds it.
    pub fn from_pkcs8_pem(kid: &str, algorithm: Algorithm, text: &str) -> Result<Self, KeyMaterialError> {
        let block = pem::parse(text).map_err(|_| KeyMaterialError)?;
        if block.tag() != "PRIVATE KEY" {
            return Err(KeyMaterialError);
        }
        Self::from_pkcs8(kid, algorithm, block.contents())
    }

    /// The key id.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm that this key signs with, and the only one.
    pub fn algorithm(&self) -> Algorithm {
        match self.private {
            Private::Rsa(_) => Algorithm::Rs256,
            Private::P256(_) => Algorithm::Es256,
        }
    }

    /// Signs `claims` as a compact JWS with the header `alg`, `kid`, `typ: JWT`.
    ///
    /// # Errors
    /// [`KeyMaterialError`] if the library cannot sign with this key. Nothing was sent then, and nothing may be.
    pub fn sign(&self, claims: &Map<String, Value>) -> Result<String, KeyMaterialError> {
        // Serialising a map of JSON values to memory cannot fail.
        self.sign_payload(&serde_json::to_vec(claims).map_err(|_| KeyMaterialError)?)
    }

    /// Signs a payload as it is, under the same header. Whoever calls has made sure that it is a JSON object.
    pub fn sign_payload(&self, payload: &[u8]) -> Result<String, KeyMaterialError> {
        let header = json!({"alg": self.algorithm().name(), "kid": self.kid, "typ": "JWT"});
        let mut token = encode_base64url(header.to_string().as_bytes());
        token.push('.');
        token.push_str(&encode_base64url(payload));
        let signature = self.sign_bytes(token.as_bytes())?;
        token.push('.');
        token.push_str(&encode_base64url(&signature));
        Ok(token)
    }

    /// The bare signature over a message, in the form of the algorithm.
    pub fn sign_bytes(&self, message: &[u8]) -> Result<Vec<u8>, KeyMaterialError> {
        // The library asks for a source of randomness in its signature and uses its own (blinding, the ECDSA nonce): it is
        // not a source of anything that we could observe, so it is not injected.
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| KeyMaterialError)?;
                Ok(signature)
            }
            Private::P256(key) => Ok(key.sign(&random, message).map_err(|_| KeyMaterialError)?.as_ref().to_vec()),
        }
    }

    /// The public half, as published.
    pub fn public_jwk(&self) -> Jwk {
        match &self.private {
            Private::Rsa(key) => {
                let public = key.public_key();
                let part = |bytes: &[u8]| encode_base64url(bytes);
                Jwk::rsa(
                    &self.kid,
                    part(public.modulus().big_endian_without_leading_zero()),
                    part(public.exponent().big_endian_without_leading_zero()),
                )
            }
            Private::P256(key) => {
                // An uncompressed point: 0x04, then 32 bytes of x and 32 bytes of y (SEC 1 section 2.3.3).
                let point = key.public_key().as_ref();
                Jwk::p256(&self.kid, encode_base64url(&point[1..33]), encode_base64url(&point[33..65]))
            }
        }
    }
}

/// A public key that verifies one algorithm.
pub struct VerifyingKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.algorithm.name())
    }
}

impl VerifyingKey {
    /// Reads a public key. `use` other than `sig`, `key_ops` without `verify` and an `alg` other than the key's kind are refused,
    /// so that a key published for one purpose never verifies for another (RFC 7517 sections 4.2 to 4.4).
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, KeyMaterialError> {
        let for_another_use = jwk.usage.as_deref().is_some_and(|usage| usage != "sig");
        let is_verify = |operation: &String| operation == "verify";
        if for_another_use || jwk.key_ops.as_ref().is_some_and(|operations| !operations.iter().any(is_verify)) {
            return Err(KeyMaterialError);
        }
        let algorithm = match (jwk.kty.as_str(), jwk.alg.as_deref()) {
            ("RSA", None | Some("RS256")) => Algorithm::Rs256,
            ("EC", None | Some("ES256")) if jwk.crv.as_deref() == Some("P-256") => Algorithm::Es256,
            _ => return Err(KeyMaterialError),
        };
        let part = |text: &Option<String>| text.as_deref().and_then(decode_base64url).ok_or(KeyMaterialError);
        let key = match algorithm {
            Algorithm::Rs256 => PublicKeyComponents { n: part(&jwk.n)?, e: part(&jwk.e)? }
                .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                .map_err(|_| KeyMaterialError)?,
            Algorithm::Es256 => {
                let (x, y) = (part(&jwk.x)?, part(&jwk.y)?);
                if x.len() != 32 || y.len() != 32 {
                    return Err(KeyMaterialError);
                }
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, [&[4], x.as_slice(), y.as_slice()].concat())
                    .map_err(|_| KeyMaterialError)?
            }
        };
        Ok(VerifyingKey { algorithm, key })
    }

    /// The one algorithm that this key verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }

    fn is_same_as(&self, other: &Self) -> bool {
        // What cannot be written down cannot be compared, and is taken for another.
        matches!((self.to_spki(), other.to_spki()), (Ok(one), Ok(two)) if one == two)
    }

    /// The key as SubjectPublicKeyInfo in PEM (`-----BEGIN PUBLIC KEY-----`).
    pub fn to_pem(&self) -> Result<PublicKeyPem, KeyMaterialError> {
        Ok(PublicKeyPem::encode(&self.to_spki()?))
    }

    /// The key as SubjectPublicKeyInfo in DER (RFC 5280 section 4.1.2.7).
    pub fn to_spki(&self) -> Result<Vec<u8>, KeyMaterialError> {
        Ok(self.key.as_der().map_err(|_| KeyMaterialError)?.as_ref().to_vec())
    }
}

/// Public keys by key id, as a verifier holds a key document.
#[derive(Debug, Default)]
pub struct VerifyingKeys(HashMap<String, Vec<VerifyingKey>>);

impl VerifyingKeys {
    /// Reads all keys of a document.
    ///
    /// # Errors
    /// [`KeyMaterialError`] if one of them cannot be used: a document is taken whole or not at all.
    pub fn from_jwks<'a>(jwks: impl IntoIterator<Item = &'a Jwk>) -> Result<Self, KeyMaterialError> {
        let mut keys = VerifyingKeys::default();
        for jwk in jwks {
            keys.add(jwk.kid.clone(), VerifyingKey::from_jwk(jwk)?);
        }
        Ok(keys)
    }

    /// Reads the key document of another issuer, in JSON. Its keys of other kinds and for other purposes are passed over, as an
    /// issuer may publish what we do not use (RFC 7517 section 5); those without an id too, because we find keys by nothing else.
    ///
    /// Keys of one id and of two algorithms are told apart by the algorithm (RFC 7517 section 4.5). Those of one id and one algorithm
    /// are not told apart by anything, so all of them are passed over, unless they are one key that is published twice.
    ///
    /// # Errors
    /// [`KeyMaterialError`] if it is no key document.
    pub fn from_foreign_document(document: &[u8]) -> Result<Self, KeyMaterialError> {
        let document = parse_object(document).map_err(|_| KeyMaterialError)?;
        let Some(Value::Array(published)) = document.get("keys") else { return Err(KeyMaterialError) };
        let mut keys = VerifyingKeys::default();
        for value in published {
            let Ok(jwk) = serde_json::from_value::<Jwk>(value.clone()) else { continue };
            let Ok(key) = VerifyingKey::from_jwk(&jwk) else { continue };
            keys.add(jwk.kid, key);
        }
        keys.0 = keys.0.into_iter().map(|(kid, keys)| (kid, unambiguous(keys))).collect();
        keys.0.retain(|_, keys| !keys.is_empty());
        Ok(keys)
    }

    fn add(&mut self, kid: String, key: VerifyingKey) {
        self.0.entry(kid).or_default().push(key);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A key of this id, the first that was published. To verify a token whose issuer may have two of one id, use [`Self::find_for`].
    pub fn find(&self, kid: &str) -> Option<&VerifyingKey> {
        self.0.get(kid)?.first()
    }

    /// The key of this id that verifies this algorithm.
    pub fn find_for(&self, kid: &str, algorithm: Algorithm) -> Option<&VerifyingKey> {
        self.0.get(kid)?.iter().find(|key| key.algorithm == algorithm)
    }
}

/// Of the keys of one id: for each algorithm the one key, and none where there are several.
fn unambiguous(keys: Vec<VerifyingKey>) -> Vec<VerifyingKey> {
    let mut left: Vec<VerifyingKey> = Vec::new();
    let mut ambiguous: Vec<Algorithm> = Vec::new();
    for key in keys {
        match left.iter().find(|other| other.algorithm == key.algorithm) {
            None => left.push(key),
            Some(other) if other.is_same_as(&key) => {}
            Some(_) => ambiguous.push(key.algorithm),
        }
    }
    left.retain(|key| !ambiguous.contains(&key.algorithm));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: &str, algorithm: Algorithm) -> SigningKey {
        let der = match algorithm {
            Algorithm::Rs256 => {
                RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap().as_der().unwrap().as_ref().to_vec()
            }
            Algorithm::Es256 => {
                let made =
                    EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
                made.as_ref().to_vec()
            }
        };
        SigningKey::from_pkcs8(kid, algorithm, &der).unwrap()
    }

    fn jwk(key: &SigningKey, changes: Value) -> Value {
        let mut jwk = serde_json::to_value(key.public_jwk()).unwrap();
        for (name, value) in changes.as_object().unwrap() {
            jwk[name] = value.clone();
        }
        jwk
    }

    #[test]
    fn of_keys_with_one_id_the_algorithm_tells_which_is_meant_and_where_it_does_not_none_is() {
        use Algorithm::{Es256, Rs256};
        let (a, b, r, other) = (key("k", Es256), key("k", Es256), key("k", Rs256), key("other", Es256));
        let as_is = |key: &SigningKey| jwk(key, json!({}));
        let (of_a, of_b, of_r, of_other) = (as_is(&a), as_is(&b), as_is(&r), as_is(&other));
        let unusable = json!({"kty": "EC", "kid": "k", "crv": "P-521", "x": "AA", "y": "AA"});
        let encrypts = jwk(&b, json!({"use": "enc"}));
        // The document => who is found as `k` for ES256, and for RS256
        #[rustfmt::skip]
        let cases = [
            (vec![&of_a],                                Some(&a), None),
            (vec![&of_a, &of_r],                         Some(&a), Some(&r)),
            (vec![&of_r, &of_a],                         Some(&a), Some(&r)),
            (vec![&of_a, &of_a],                         Some(&a), None),
            (vec![&of_a, &of_b],                         None,     None),
            (vec![&of_a, &of_b, &of_a],                  None,     None),
            (vec![&of_a, &of_r, &of_b],                  None,     Some(&r)),
            (vec![&of_a, &unusable, &encrypts],          Some(&a), None),
            (vec![&of_other],                            None,     None),
        ];
        for (mut published, es256, rs256) in cases {
            // Whatever becomes of the others, this one is not touched by it.
            published.push(&of_other);
            let document = json!({"keys": published}).to_string();
            let keys = VerifyingKeys::from_foreign_document(document.as_bytes()).unwrap();
            assert!(keys.find_for("other", Es256).is_some() && keys.find_for("other", Rs256).is_none());
            for (algorithm, expected) in [(Es256, es256), (Rs256, rs256)] {
                let found = keys.find_for("k", algorithm);
                let signature = expected.map(|key| key.sign_bytes(b"m").unwrap());
                assert_eq!(found.is_some(), expected.is_some(), "{algorithm:?} {document}");
                assert!(found.is_none_or(|key| key.verifies(b"m", &signature.unwrap())), "{algorithm:?} {document}");
            }
            assert_eq!(keys.find("k").is_some(), es256.or(rs256).is_some(), "{document}");
        }
    }

    #[test]
    fn a_key_that_is_published_for_something_else_verifies_nothing() {
        let key = key("k", Algorithm::Es256);
        #[rustfmt::skip]
        let cases = [
            (json!({}),                                            true),
            (json!({"use": null}),                                 true),
            (json!({"use": "enc"}),                                false),
            (json!({"use": "SIG"}),                                false),
            (json!({"use": ""}),                                   false),
            (json!({"use": ["sig"]}),                              false),
            (json!({"key_ops": ["verify"]}),                       true),
            (json!({"use": null, "key_ops": ["verify"]}),          true),
            (json!({"key_ops": ["sign", "verify"]}),               true),
            (json!({"key_ops": []}),                               false),
            (json!({"key_ops": ["sign"]}),                         false),
            (json!({"key_ops": ["encrypt", "wrapKey"]}),           false),
            (json!({"use": null, "key_ops": ["encrypt"]}),         false),
            (json!({"key_ops": ["VERIFY"]}),                       false),
            (json!({"key_ops": "verify"}),                         false),
            (json!({"key_ops": ["verify", 7]}),                    false),
            (json!({"use": "enc", "key_ops": ["verify"]}),         false),
            (json!({"alg": "ES384"}),                              false),
            (json!({"alg": "RS256"}),                              false),
            (json!({"kid": null}),                                 false),
        ];
        for (changes, good) in cases {
            let document = json!({"keys": [jwk(&key, changes.clone())]}).to_string();
            let keys = VerifyingKeys::from_foreign_document(document.as_bytes()).unwrap();
            assert_eq!(keys.find_for("k", Algorithm::Es256).is_some(), good, "{changes}");
            assert_eq!(keys.is_empty(), !good, "{changes}");
        }
        for document in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[],\"keys\":[]}"] {
            assert!(VerifyingKeys::from_foreign_document(document.as_bytes()).is_err(), "{document}");
        }
    }
}
