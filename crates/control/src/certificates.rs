//! Public keys as certificates, for clients that know no other form. Nobody checks who signed them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use doorward_core::clock::{Clock, Timestamp, whole_seconds};
use doorward_core::keys::{CERTIFICATE_TTL, KeyError, KeyPurpose};
use doorward_core::snapshot::SnapshotCell;
use doorward_wire::jose::{Jwk, KeyMaterialError, VerifyingKey};
use doorward_wire::x509::{Authority, CertificateError, CertificatePem, Validity};

/// The name of who signs.
const AUTHORITY: &str = "Doorward public keys";
/// The longest common name that X.509 allows (RFC 5280, appendix A.1, `ub-common-name`).
const COMMON_NAME_LIMIT: usize = 64;
/// Certificates begin this long before they are made, for readers whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(24 * 3600);

/// Why keys are not shown as certificates.
#[derive(Debug, thiserror::Error)]
pub enum CertificatesError {
    /// The key that signs them cannot be used.
    #[error("could not use the key that signs certificates")]
    Key(#[from] KeyError),
    /// A public key cannot be read.
    #[error("could not read a public key")]
    Material(#[from] KeyMaterialError),
    /// A certificate could not be written.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Makes certificates.
pub struct Certificates {
    snapshots: Arc<SnapshotCell>,
    clock: Arc<dyn Clock>,
}

impl Certificates {
    /// Signs with the key in force.
    pub fn new(snapshots: Arc<SnapshotCell>, clock: Arc<dyn Clock>) -> Self {
        Certificates { snapshots, clock }
    }

    /// A certificate for each key, by key id, in the name of `owner`.
    pub fn of<'a>(
        &self,
        owner: &str,
        keys: impl IntoIterator<Item = &'a Jwk>,
    ) -> Result<BTreeMap<String, CertificatePem>, CertificatesError> {
        let now = self.clock.now();
        let snapshot = self.snapshots.current();
        let validity = validity(now);
        let authority =
            Authority::new(AUTHORITY, snapshot.keys.certifying(KeyPurpose::KeyCertificate, now)?, validity)?;
        let name: String = owner.chars().take(COMMON_NAME_LIMIT).collect();
        let certified = keys.into_iter().map(|jwk| {
            let key = VerifyingKey::from_jwk(jwk)?;
            Ok((jwk.kid.clone(), authority.certify_key(&name, &key, &serial(&jwk.kid), validity)?))
        });
        certified.collect()
    }
}

/// From some time ago to some time ahead.
pub fn validity(now: Timestamp) -> Validity {
    let back = whole_seconds(BACKDATED);
    Validity { from: now.seconds() - back, until: (now + CERTIFICATE_TTL).seconds() - back }
}

/// A serial number of 20 bytes, the same for the same key: the first bit is zero and the first byte is not.
fn serial(key_id: &str) -> [u8; 20] {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key_id.as_bytes());
    let mut serial = [0; 20];
    serial.copy_from_slice(&hash.as_ref()[..20]);
    serial[0] = serial[0] & 0x3f | 0x40;
    serial
}
