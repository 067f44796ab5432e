//! Our own keys, by purpose, and the rule by which they are replaced.

use std::collections::HashMap;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use doorward_wire::jose::{Algorithm, Jwk, KeyMaterialError, SigningKey, VerifyingKey};
use serde_json::{Map, Value};

use crate::clock::{CLOCK_SKEW, Timestamp};
use crate::entropy::{Entropy, EntropyError, generate_private_key, random_base64url, random_hex};

/// How long an ID token is good for.
pub const ID_TOKEN_TTL: Duration = Duration::from_secs(3600);
/// How long the signed header is good for.
pub const ASSERTION_TTL: Duration = Duration::from_secs(600);
/// How long a person may take between the redirect to sign-in and its end.
pub const SIGN_IN_STATE_TTL: Duration = Duration::from_secs(600);
/// How long a sign-in page may stay open before it is sent.
pub const SIGN_IN_FLOW_TTL: Duration = Duration::from_secs(3600);
/// How long a replaced key for published public keys signs nothing and is still published: as long as a verifier may keep a
/// key document, with room for slow ones. It signs only after everybody knows it.
pub const PUBLISHED_AHEAD: Duration = Duration::from_secs(900);
/// How long the certificates are good for in which public keys are published, and those of TLS in `dev`.
pub const CERTIFICATE_TTL: Duration = Duration::from_secs(825 * 24 * 3600);
/// How long the cookie of our own pages is good for.
pub const CONSOLE_SESSION_TTL: Duration = Duration::from_secs(12 * 3600);

/// What a key is for. A key of one purpose never serves another, whatever its algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyPurpose {
    /// Signs ID tokens: RS256.
    IdToken,
    /// Signs `x-goog-iap-jwt-assertion`: ES256.
    Assertion,
    /// Seals `state` of the sign-in redirect: AES-256-GCM.
    SignInState,
    /// Seals what a sign-in page carries from its showing to its sending: AES-256-GCM.
    SignInFlow,
    /// Seals the cookie of our own pages: AES-256-GCM.
    ConsoleSession,
    /// Signs the certificates in which public keys are published: ES256. Nobody trusts it for anything else.
    KeyCertificate,
    /// Signs the certificates of our listeners in `dev`: ES256. Never replaced: people have it in their trust stores.
    TlsAuthority,
    /// Derives the secrets of `dev`'s fixtures: HMAC-SHA-256. Never replaced: what it derived must stay what it was.
    Fixture,
}

impl KeyPurpose {
    /// Every purpose.
    pub const ALL: [KeyPurpose; 8] = [
        KeyPurpose::IdToken,
        KeyPurpose::Assertion,
        KeyPurpose::SignInState,
        KeyPurpose::SignInFlow,
        KeyPurpose::ConsoleSession,
        KeyPurpose::KeyCertificate,
        KeyPurpose::TlsAuthority,
        KeyPurpose::Fixture,
    ];

    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            KeyPurpose::IdToken => "id-token",
            KeyPurpose::Assertion => "assertion",
            KeyPurpose::SignInState => "sign-in-state",
            KeyPurpose::SignInFlow => "sign-in-flow",
            KeyPurpose::ConsoleSession => "console-session",
            KeyPurpose::KeyCertificate => "key-certificate",
            KeyPurpose::TlsAuthority => "tls-authority",
            KeyPurpose::Fixture => "fixture",
        }
    }

    /// The purpose of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.name() == name)
    }

    /// The longest time for which something made with such a key can be good.
    fn longest_life(self) -> Duration {
        match self {
            KeyPurpose::IdToken => ID_TOKEN_TTL,
            KeyPurpose::Assertion => ASSERTION_TTL,
            KeyPurpose::SignInState => SIGN_IN_STATE_TTL,
            KeyPurpose::SignInFlow => SIGN_IN_FLOW_TTL,
            KeyPurpose::ConsoleSession => CONSOLE_SESSION_TTL,
            KeyPurpose::KeyCertificate => CERTIFICATE_TTL,
            KeyPurpose::TlsAuthority | KeyPurpose::Fixture => Duration::MAX,
        }
    }

    /// The age at which a key is replaced.
    fn replaced_after(self) -> Option<Duration> {
        match self {
            KeyPurpose::TlsAuthority | KeyPurpose::Fixture => None,
            KeyPurpose::IdToken
            | KeyPurpose::Assertion
            | KeyPurpose::SignInState
            | KeyPurpose::SignInFlow
            | KeyPurpose::ConsoleSession
            | KeyPurpose::KeyCertificate => Some(Duration::from_secs(90 * 24 * 3600)),
        }
    }

    /// Whether keys of this purpose may be replaced when somebody asks for it.
    pub fn is_replaceable(self) -> bool {
        self.replaced_after().is_some()
    }

    /// How long a key that takes over is published before it signs.
    pub fn published_ahead(self) -> Duration {
        match self {
            KeyPurpose::IdToken | KeyPurpose::Assertion => PUBLISHED_AHEAD,
            KeyPurpose::SignInState
            | KeyPurpose::SignInFlow
            | KeyPurpose::ConsoleSession
            | KeyPurpose::KeyCertificate
            | KeyPurpose::TlsAuthority
            | KeyPurpose::Fixture => Duration::ZERO,
        }
    }
}

/// A key as it is stored. `Debug` does not show the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Published as `kid`.
    pub id: String,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// PKCS#8 in DER for signing keys, 32 bytes for the others.
    pub secret: Vec<u8>,
    /// When it was made.
    pub created: Timestamp,
    /// It is in use from here on, until a newer key of its purpose is.
    pub signs_from: Timestamp,
}

impl std::fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredKey({} {})", self.purpose.name(), self.id)
    }
}

impl StoredKey {
    /// Makes a key that is in use at once. RSA takes tens of milliseconds: call it where blocking is allowed.
    pub fn generate(purpose: KeyPurpose, entropy: &dyn Entropy, now: Timestamp) -> Result<Self, EntropyError> {
        let (id, secret) = match purpose {
            KeyPurpose::IdToken => (random_hex(entropy, 20)?, generate_private_key(Algorithm::Rs256)?),
            // Google's key ids for the signed header are six characters of base64url.
            KeyPurpose::Assertion => {
                let mut id = random_base64url(entropy, 5)?;
                id.truncate(6);
                (id, generate_private_key(Algorithm::Es256)?)
            }
            KeyPurpose::KeyCertificate | KeyPurpose::TlsAuthority => {
                (random_hex(entropy, 8)?, generate_private_key(Algorithm::Es256)?)
            }
            KeyPurpose::SignInState | KeyPurpose::SignInFlow | KeyPurpose::ConsoleSession | KeyPurpose::Fixture => {
                let mut secret = vec![0; 32];
                entropy.fill(&mut secret)?;
                (random_hex(entropy, 8)?, secret)
            }
        };
        Ok(StoredKey { id, purpose, secret, created: now, signs_from: now })
    }
}

/// Why a key could not be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The ring has no key of this purpose.
    #[error("no key for this purpose")]
    Absent,
    /// A stored key is damaged.
    #[error("a stored key is damaged")]
    Damaged(#[from] KeyMaterialError),
    /// The library could not use the key.
    #[error("the key could not be used")]
    Unusable,
}

enum Material {
    Signing { signing: SigningKey, public: Box<Jwk>, verifying: VerifyingKey },
    Certifying(Vec<u8>),
    Sealing(Box<RandomizedNonceKey>),
    Deriving(Box<hmac::Key>),
}

struct RingKey {
    id: String,
    created: Timestamp,
    signs_from: Timestamp,
    /// When a newer key took over; what this one made before that stays good for the purpose's longest life.
    replaced: Option<Timestamp>,
    material: Material,
}

/// A key of the ring, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// Published as `kid`.
    pub id: String,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// When it was made.
    pub created: Timestamp,
    /// Since when, or from when, it is in use.
    pub signs_from: Timestamp,
    /// When a newer key took over, or will.
    pub replaced: Option<Timestamp>,
    /// When it is forgotten; `None` while it is the newest.
    pub forgotten: Option<Timestamp>,
}

/// The keys of every purpose: one that is in use, and older ones for as long as anything made with them can live.
pub struct KeyRing {
    keys: HashMap<KeyPurpose, Vec<RingKey>>,
}

impl KeyRing {
    /// Builds the ring from all stored keys.
    pub fn new(stored: &[StoredKey]) -> Result<Self, KeyError> {
        let mut keys: HashMap<KeyPurpose, Vec<RingKey>> = HashMap::new();
        for key in stored {
            let material = material(key)?;
            let ring_key = RingKey {
                id: key.id.clone(),
                created: key.created,
                signs_from: key.signs_from,
                replaced: None,
                material,
            };
            keys.entry(key.purpose).or_default().push(ring_key);
        }
        for keys in keys.values_mut() {
            keys.sort_by(|a, b| (b.signs_from, b.created, &b.id).cmp(&(a.signs_from, a.created, &a.id)));
            let starts: Vec<Timestamp> = keys.iter().map(|key| key.signs_from).collect();
            for (key, newer) in keys.iter_mut().skip(1).zip(starts) {
                key.replaced = Some(newer);
            }
        }
        Ok(KeyRing { keys })
    }

    /// Whether a new key of this purpose is due: there is none, or the newest is 90 days old.
    pub fn is_due(&self, purpose: KeyPurpose, now: Timestamp) -> bool {
        match (self.keys.get(&purpose).and_then(|keys| keys.first()), purpose.replaced_after()) {
            (None, _) => true,
            (Some(key), Some(age)) => now.since(key.created) >= age,
            (Some(_), None) => false,
        }
    }

    /// Whether there is a key of this purpose.
    pub fn has(&self, purpose: KeyPurpose) -> bool {
        self.keys.get(&purpose).is_some_and(|keys| !keys.is_empty())
    }

    /// Ids of keys with which nothing that is still good was made: they may be forgotten.
    pub fn spent(&self, now: Timestamp) -> Vec<String> {
        let all = self.keys.iter().flat_map(|(purpose, keys)| keys.iter().map(move |key| (*purpose, key)));
        all.filter(|(purpose, key)| !is_live(*purpose, key, now)).map(|(_, key)| key.id.clone()).collect()
    }

    /// Signs claims with the key in use.
    ///
    /// # Errors
    /// [`KeyError`]: nothing was signed, and the caller must refuse.
    pub fn sign(&self, purpose: KeyPurpose, claims: &Map<String, Value>, now: Timestamp) -> Result<String, KeyError> {
        match &self.in_use(purpose, now)?.material {
            Material::Signing { signing, .. } => Ok(signing.sign(claims)?),
            Material::Certifying(_) | Material::Sealing(_) | Material::Deriving(_) => Err(KeyError::Absent),
        }
    }

    /// The private key in use, PKCS#8 in DER, of a purpose that signs certificates.
    pub fn certifying(&self, purpose: KeyPurpose, now: Timestamp) -> Result<&[u8], KeyError> {
        match &self.in_use(purpose, now)?.material {
            Material::Certifying(secret) => Ok(secret),
            Material::Signing { .. } | Material::Sealing(_) | Material::Deriving(_) => Err(KeyError::Absent),
        }
    }

    /// Every key that is not forgotten yet, newest first within a purpose.
    pub fn list(&self, now: Timestamp) -> Vec<ListedKey> {
        let of = |purpose: KeyPurpose| {
            self.keys.get(&purpose).map_or(&[][..], Vec::as_slice).iter().map(move |key| (purpose, key))
        };
        let live = KeyPurpose::ALL.into_iter().flat_map(of).filter(|(purpose, key)| is_live(*purpose, key, now));
        live.map(|(purpose, key)| ListedKey {
            id: key.id.clone(),
            purpose,
            created: key.created,
            signs_from: key.signs_from,
            replaced: key.replaced,
            forgotten: key.replaced.map(|replaced| replaced + purpose.longest_life() + CLOCK_SKEW),
        })
        .collect()
    }

    /// The public keys of a purpose that a verifier must know at `now`: the one in use, and every older one by which a
    /// token that is still good may have been signed.
    pub fn published(&self, purpose: KeyPurpose, now: Timestamp) -> Vec<&Jwk> {
        let live =
            self.keys.get(&purpose).map_or(&[][..], Vec::as_slice).iter().filter(|key| is_live(purpose, key, now));
        live.filter_map(|key| match &key.material {
            Material::Signing { public, .. } => Some(&**public),
            Material::Certifying(_) | Material::Sealing(_) | Material::Deriving(_) => None,
        })
        .collect()
    }

    /// The key that verifies tokens with this key id, while it is published.
    pub fn verifying(&self, purpose: KeyPurpose, kid: &str, now: Timestamp) -> Option<&VerifyingKey> {
        let key = self.keys.get(&purpose)?.iter().find(|key| key.id == kid).filter(|key| is_live(purpose, key, now))?;
        match &key.material {
            Material::Signing { verifying, .. } => Some(verifying),
            Material::Certifying(_) | Material::Sealing(_) | Material::Deriving(_) => None,
        }
    }

    /// Encrypts and authenticates `plain` for ourselves, as base64url. `context` must be given again to open it: a value
    /// sealed for one use does not open in another.
    pub fn seal(&self, purpose: KeyPurpose, context: &str, plain: &[u8], now: Timestamp) -> Result<String, KeyError> {
        let key = self.in_use(purpose, now)?;
        let Material::Sealing(aead) = &key.material else { return Err(KeyError::Absent) };
        let mut buffer = plain.to_vec();
        let nonce = aead
            .seal_in_place_append_tag(Aad::from(context.as_bytes()), &mut buffer)
            .map_err(|_| KeyError::Unusable)?;
        let sealed = [key.id.as_bytes(), b".", nonce.as_ref(), &buffer].concat();
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what [`KeyRing::seal`] made with the same purpose and context. `None` for anything else.
    pub fn open(&self, purpose: KeyPurpose, context: &str, sealed: &str, now: Timestamp) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let dot = bytes.iter().position(|byte| *byte == b'.')?;
        let (id, rest) = (std::str::from_utf8(&bytes[..dot]).ok()?, &bytes[dot + 1..]);
        let key = self.keys.get(&purpose)?.iter().find(|key| key.id == id).filter(|key| is_live(purpose, key, now))?;
        let Material::Sealing(aead) = &key.material else { return None };
        let (nonce, ciphertext) = rest.split_first_chunk::<12>()?;
        let mut buffer = ciphertext.to_vec();
        let plain = aead.open_in_place(nonce.into(), Aad::from(context.as_bytes()), &mut buffer).ok()?;
        Some(plain.to_vec())
    }

    /// A secret that is the same for the same label as long as the key lives, 43 characters of base64url.
    pub fn derive(&self, label: &str) -> Result<String, KeyError> {
        match self.keys.get(&KeyPurpose::Fixture).and_then(|keys| keys.first()).map(|key| &key.material) {
            Some(Material::Deriving(key)) => Ok(URL_SAFE_NO_PAD.encode(hmac::sign(key, label.as_bytes()))),
            _ => Err(KeyError::Absent),
        }
    }

    /// The newest key that is in use at `now`. Where the clock went back behind all of them, the oldest: it was in use first.
    fn in_use(&self, purpose: KeyPurpose, now: Timestamp) -> Result<&RingKey, KeyError> {
        let keys = self.keys.get(&purpose).ok_or(KeyError::Absent)?;
        keys.iter().find(|key| key.signs_from <= now).or(keys.last()).ok_or(KeyError::Absent)
    }
}

fn is_live(purpose: KeyPurpose, key: &RingKey, now: Timestamp) -> bool {
    key.replaced.is_none_or(|replaced| now < replaced + purpose.longest_life() + CLOCK_SKEW)
}

fn material(key: &StoredKey) -> Result<Material, KeyError> {
    let signing = |algorithm| -> Result<Material, KeyError> {
        let signing = SigningKey::from_pkcs8(&key.id, algorithm, &key.secret)?;
        let public = Box::new(signing.public_jwk());
        let verifying = VerifyingKey::from_jwk(&public)?;
        Ok(Material::Signing { signing, public, verifying })
    };
    match key.purpose {
        KeyPurpose::IdToken => signing(Algorithm::Rs256),
        KeyPurpose::Assertion => signing(Algorithm::Es256),
        KeyPurpose::KeyCertificate | KeyPurpose::TlsAuthority => Ok(Material::Certifying(key.secret.clone())),
        KeyPurpose::SignInState | KeyPurpose::SignInFlow | KeyPurpose::ConsoleSession => {
            let aead = RandomizedNonceKey::new(&AES_256_GCM, &key.secret).map_err(|_| KeyMaterialError)?;
            Ok(Material::Sealing(Box::new(aead)))
        }
        KeyPurpose::Fixture => Ok(Material::Deriving(Box::new(hmac::Key::new(hmac::HMAC_SHA256, &key.secret)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;

    fn key(purpose: KeyPurpose, created: i64) -> StoredKey {
        StoredKey::generate(purpose, &SystemEntropy, Timestamp::from_seconds(created)).unwrap()
    }

    #[test]
    fn an_old_key_stays_published_exactly_as_long_as_what_it_signed_can_live() {
        let (old, new) = (key(KeyPurpose::Assertion, 1_000), key(KeyPurpose::Assertion, 50_000));
        let ring = KeyRing::new(&[new.clone(), old.clone()]).unwrap();
        // now => (ids published, ids that may be forgotten)
        let both = vec![new.id.clone(), old.id.clone()];
        #[rustfmt::skip]
        let cases = [
            (50_000,            both.clone(),         vec![]),
            (50_000 + 629,      both,                 vec![]),
            (50_000 + 630,      vec![new.id.clone()], vec![old.id.clone()]),
        ];
        for (now, published, spent) in cases {
            let now = Timestamp::from_seconds(now);
            let ids: Vec<String> =
                ring.published(KeyPurpose::Assertion, now).iter().map(|jwk| jwk.kid.clone()).collect();
            assert_eq!((ids, ring.spent(now)), (published, spent), "{now:?}");
            assert_eq!(ring.verifying(KeyPurpose::Assertion, &old.id, now).is_some(), ring.spent(now).is_empty());
        }
        let token = ring.sign(KeyPurpose::Assertion, &Map::new(), Timestamp::from_seconds(50_000)).unwrap();
        let header = doorward_wire::jose::Unverified::parse(&token, 4096, &[Algorithm::Es256]).unwrap();
        assert_eq!(header.kid(), Some(new.id.as_str()), "the newest key signs");
        let earlier = ring.sign(KeyPurpose::Assertion, &Map::new(), Timestamp::from_seconds(49_999)).unwrap();
        let header = doorward_wire::jose::Unverified::parse(&earlier, 4096, &[Algorithm::Es256]).unwrap();
        assert_eq!(header.kid(), Some(old.id.as_str()), "and only from its time on");
        let listed = ring.list(Timestamp::from_seconds(49_999));
        let times: Vec<_> = listed.iter().map(|key| (&key.id, key.replaced.map(Timestamp::seconds))).collect();
        assert_eq!(times, [(&new.id, None), (&old.id, Some(50_000))]);
    }

    #[test]
    fn a_key_of_one_purpose_serves_no_other() {
        let ring = KeyRing::new(&KeyPurpose::ALL.map(|purpose| key(purpose, 1))).unwrap();
        let now = Timestamp::from_seconds(2);
        let sealed = ring.seal(KeyPurpose::SignInState, "app", b"text", now).unwrap();
        let open = |purpose, context| ring.open(purpose, context, &sealed, now);
        assert_eq!(open(KeyPurpose::SignInState, "app").as_deref(), Some(&b"text"[..]));
        assert_eq!(open(KeyPurpose::SignInState, "other"), None);
        assert_eq!(open(KeyPurpose::ConsoleSession, "app"), None);
        let mut broken = sealed.clone();
        broken.replace_range(broken.len() - 4..broken.len() - 3, if broken.ends_with('A') { "B" } else { "A" });
        assert_eq!(ring.open(KeyPurpose::SignInState, "app", &broken[..broken.len() - 1], now), None);
        let kid = &ring.published(KeyPurpose::IdToken, now)[0].kid;
        assert!(ring.verifying(KeyPurpose::IdToken, kid, now).is_some());
        assert!(ring.verifying(KeyPurpose::Assertion, kid, now).is_none());
        assert_eq!(ring.sign(KeyPurpose::SignInState, &Map::new(), now), Err(KeyError::Absent));
        assert_eq!(ring.derive("a").unwrap(), ring.derive("a").unwrap());
        assert_ne!(ring.derive("a").unwrap(), ring.derive("b").unwrap());
    }

    #[test]
    fn a_key_is_due_when_there_is_none_or_the_newest_is_ninety_days_old() {
        let ring = KeyRing::new(&[key(KeyPurpose::Assertion, 0), key(KeyPurpose::Fixture, 0)]).unwrap();
        let day = |days: i64| Timestamp::from_seconds(days * 24 * 3600);
        assert!(!ring.is_due(KeyPurpose::Assertion, day(89)));
        assert!(ring.is_due(KeyPurpose::Assertion, day(90)));
        assert!(!ring.is_due(KeyPurpose::Fixture, day(9_000)));
        assert!(ring.is_due(KeyPurpose::IdToken, day(0)));
    }
}
