//! TLS for `dev`: an authority that lives as long as the directory, and a certificate for each start.

use std::net::IpAddr;
use std::sync::Arc;

use doorward_control::certificates::validity;
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{Entropy, EntropyError, generate_private_key};
use doorward_core::keys::{KeyError, KeyPurpose, KeyRing};
use doorward_wire::jose::Algorithm;
use doorward_wire::x509::{Authority, CertificateError, CertificatePem};
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

/// The authority's name in trust stores.
const AUTHORITY: &str = "Doorward dev on this machine";

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The authority's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// No key can be made.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The library refuses the certificate.
    #[error("the certificate for TLS cannot be used: {0}")]
    Rustls(#[from] rustls::Error),
}

/// What listeners use, and what clients trust.
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    pub(super) authority: CertificatePem,
}

impl Tls {
    /// For these addresses and names, and for every name of this machine.
    pub(super) fn new(
        keys: &KeyRing,
        entropy: &dyn Entropy,
        (addresses, names): (&[IpAddr], &[&str]),
        now: Timestamp,
    ) -> Result<Self, TlsError> {
        let authority = Authority::new(AUTHORITY, keys.certifying(KeyPurpose::TlsAuthority, now)?, validity(now))?;
        let mut certified = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])];
        for address in addresses {
            if !address.is_unspecified() && !certified.contains(address) {
                certified.push(*address);
            }
        }
        let private_key = generate_private_key(Algorithm::Es256)?;
        let mut serial = [0; 16];
        entropy.fill(&mut serial)?;
        // A serial number is positive, and its first byte is not zero.
        serial[0] = serial[0] & 0x3f | 0x40;
        let names: Vec<&str> = std::iter::once("localhost").chain(names.iter().copied()).collect();
        let server = authority.certify_server(&certified, &names, &private_key, &serial, validity(now))?;
        let key = PrivateKeyDer::Pkcs8(server.private_key.into());
        let mut config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![server.certificate.into()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), authority: authority.certificate() })
    }
}
