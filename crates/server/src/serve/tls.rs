//! Certificates from files, read again when the files change, without a restart.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_rustls::TlsAcceptor;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The chain in PEM, our own first.
    pub certificate: PathBuf,
    /// The private key in PEM.
    pub key: PathBuf,
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFilesError {
    /// A file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's word.
        cause: io::Error,
    },
    /// No certificate is in the file.
    #[error("there is no certificate in {}: it holds the chain in PEM, our own certificate first", .0.display())]
    NoCertificate(PathBuf),
    /// No key is in the file.
    #[error("there is no private key in {}: it holds one in PEM, without a password", .0.display())]
    NoKey(PathBuf),
    /// They do not belong together.
    #[error("the key in {} is not the one of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The library refuses them.
    #[error("{} cannot be used: {cause}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: rustls::Error,
    },
}

impl CertificateFiles {
    /// Reads both, and sees that they fit.
    ///
    /// # Errors
    /// [`CertificateFilesError`]: nothing is shown to clients.
    pub fn load(&self) -> Result<Arc<CertifiedKey>, CertificateFilesError> {
        use CertificateFilesError as E;
        let chain = CertificateDer::pem_slice_iter(&read(&self.certificate)?).collect::<Result<Vec<_>, _>>();
        let chain = chain.ok().filter(|chain| !chain.is_empty());
        let chain = chain.ok_or_else(|| E::NoCertificate(self.certificate.clone()))?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?).map_err(|_| E::NoKey(self.key.clone()))?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|cause| E::Unusable { path: self.key.clone(), cause })?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => Ok(Arc::new(certified)),
            Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
                Err(E::Mismatch { certificate: self.certificate.clone(), key: self.key.clone() })
            }
            Err(cause) => Err(E::Unusable { path: self.certificate.clone(), cause }),
        }
    }

    /// What changes when somebody writes one of them.
    fn stamp(&self) -> [Option<(SystemTime, u64)>; 2] {
        [&self.certificate, &self.key].map(|path| {
            let found = fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len()))
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CertificateFilesError> {
    fs::read(path).map_err(|cause| CertificateFilesError::Read { path: path.to_owned(), cause })
}

/// Whether a certificate is for this name or address.
pub fn is_for(certified: &CertifiedKey, name: &str) -> bool {
    let Ok(name) = ServerName::try_from(name.trim_start_matches('[').trim_end_matches(']').to_owned()) else {
        return false;
    };
    let leaf = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
    leaf.is_ok_and(|leaf| verify_server_name(&leaf, &name).is_ok())
}

type Stamp = Vec<[Option<(SystemTime, u64)>; 2]>;

/// The certificates of one listener. A client is shown the first that is for the name that it asks for, or else the first.
#[derive(Debug)]
pub struct Certificates {
    /// The names that clients ask for. They change when the file of the server is read again.
    names: Arc<RwLock<Vec<String>>>,
    shown: RwLock<Shown>,
}

/// What is shown, and what it was read from.
#[derive(Debug)]
struct Shown {
    files: Vec<CertificateFiles>,
    stamp: Stamp,
    certified: Vec<Arc<CertifiedKey>>,
}

impl Certificates {
    /// Reads them.
    ///
    /// # Errors
    /// [`CertificateFilesError`] of the first that cannot be used.
    pub fn load(
        files: Vec<CertificateFiles>,
        names: Arc<RwLock<Vec<String>>>,
    ) -> Result<Arc<Self>, CertificateFilesError> {
        Ok(Arc::new(Certificates { names, shown: RwLock::new(read_all(files)?) }))
    }

    /// Shows those of other files from now on.
    ///
    /// # Errors
    /// [`CertificateFilesError`]: those of before stay.
    pub fn replace(&self, files: Vec<CertificateFiles>) -> Result<(), CertificateFilesError> {
        let read = read_all(files)?;
        *self.shown.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    fn shown(&self) -> RwLockReadGuard<'_, Shown> {
        self.shown.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names for which no certificate is that is shown: clients that ask for them end the connection.
    fn uncovered(&self) -> Vec<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let shown = self.shown();
        names.iter().filter(|name| !shown.certified.iter().any(|certified| is_for(certified, name))).cloned().collect()
    }

    /// What speaks TLS with them, also with those that are read later.
    pub fn acceptor(self: &Arc<Self>) -> TlsAcceptor {
        let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(self.clone());
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Reads them again if a file is another one than it was; `true` if others are shown from now on.
    ///
    /// # Errors
    /// [`CertificateFilesError`]: those of before stay, and are looked at again next time: half of a pair may have been written.
    pub fn look(&self) -> Result<bool, CertificateFilesError> {
        let files = {
            let shown = self.shown();
            if shown.files.iter().map(CertificateFiles::stamp).eq(shown.stamp.iter().cloned()) {
                return Ok(false);
            }
            shown.files.clone()
        };
        let read = read_all(files)?;
        let mut shown = self.shown.write().unwrap_or_else(PoisonError::into_inner);
        // They may have been replaced meanwhile by those of other files.
        let same = shown.files == read.files;
        if same {
            *shown = read;
        }
        Ok(same)
    }

    /// Looks for as long as somebody awaits this: every five seconds, and at SIGHUP.
    pub async fn keep_looking(self: Arc<Self>) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        // Where no more signals can be listened for, there are the five seconds.
        let mut hangups = signal(SignalKind::hangup()).ok();
        let mut said = String::new();
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                Some(()) = hung_up(&mut hangups) => {}
            }
            let certificates = self.clone();
            // The task is not cancelled, and a panic in it has been reported.
            let Ok(looked) = tokio::task::spawn_blocking(move || certificates.look()).await else { continue };
            match looked {
                Ok(false) => {}
                Ok(true) => {
                    said.clear();
                    tracing::info!(file = %self.file_names(), "a certificate was read again");
                    // It is shown all the same: the one of before may have been taken away for a reason.
                    let uncovered = self.uncovered();
                    if !uncovered.is_empty() {
                        let names = uncovered.join(", ");
                        tracing::warn!(file = %self.file_names(), names, "a changed certificate is not for these names");
                    }
                }
                // It is said once, not every five seconds.
                Err(error) if error.to_string() != said => {
                    said = error.to_string();
                    tracing::error!(%error, "a changed certificate cannot be used; the one of before is shown");
                }
                Err(_) => {}
            }
        }
    }

    fn file_names(&self) -> String {
        let names: Vec<_> = self.shown().files.iter().map(|files| files.certificate.display().to_string()).collect();
        names.join(", ")
    }
}

/// Waits for SIGHUP.
async fn hung_up(hangups: &mut Option<Signal>) -> Option<()> {
    match hangups {
        Some(hangups) => hangups.recv().await,
        None => None,
    }
}

/// The stamp is taken first: a file that is written meanwhile is read again.
fn read_all(files: Vec<CertificateFiles>) -> Result<Shown, CertificateFilesError> {
    let stamp = files.iter().map(CertificateFiles::stamp).collect();
    let certified = files.iter().map(CertificateFiles::load).collect::<Result<_, _>>()?;
    Ok(Shown { files, stamp, certified })
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown();
        let fitting =
            hello.server_name().and_then(|name| shown.certified.iter().find(|certified| is_for(certified, name)));
        fitting.or(shown.certified.first()).cloned()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use doorward_core::entropy::generate_private_key;
    use doorward_wire::jose::Algorithm;
    use doorward_wire::x509::{Authority, Validity};
    use std::os::unix::fs::PermissionsExt as _;

    /// A certificate for a name and its key, as PEM.
    pub(crate) fn pair(name: &str) -> (String, String) {
        let validity = Validity { from: 1_700_000_000, until: 4_000_000_000 };
        let authority = Authority::new("test", &generate_private_key(Algorithm::Es256).unwrap(), validity).unwrap();
        let key = generate_private_key(Algorithm::Es256).unwrap();
        let server = authority.certify_server(&[[127, 0, 0, 1].into()], &[name], &key, &[1; 16], validity).unwrap();
        let pem = |what: &str, der: &[u8]| {
            format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", STANDARD.encode(der))
        };
        (pem("CERTIFICATE", &server.certificate), pem("PRIVATE KEY", &server.private_key))
    }

    /// Writes a pair into a folder.
    pub(crate) fn write_pair(folder: &Path, name: &str, (certificate, key): &(String, String)) -> CertificateFiles {
        let files = CertificateFiles {
            certificate: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&files.certificate, certificate).unwrap();
        fs::write(&files.key, key).unwrap();
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        files
    }

    #[test]
    fn what_cannot_be_used_is_told_by_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (pair("a.test"), pair("b.test"));
        let files = write_pair(folder.path(), "a", &a);
        assert!(files.load().is_ok());
        #[rustfmt::skip]
        let cases = [
            (&a.0[..],  &b.1[..],   "is not the one of the certificate in"),
            (&a.1[..],  &a.1[..],   "there is no certificate in"),
            ("",        &a.1[..],   "there is no certificate in"),
            (&a.0[..],  &a.0[..],   "there is no private key in"),
            (&a.0[..],  "",         "there is no private key in"),
        ];
        for (certificate, key, expected) in cases {
            let files = write_pair(folder.path(), "c", &(certificate.to_owned(), key.to_owned()));
            let error = files.load().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        fs::remove_file(&files.key).unwrap();
        assert!(matches!(files.load(), Err(CertificateFilesError::Read { path, .. }) if path == files.key));
    }

    #[test]
    fn a_certificate_is_for_the_names_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let certified = write_pair(folder.path(), "a", &pair("*.a.test")).load().unwrap();
        #[rustfmt::skip]
        let cases = [
            ("x.a.test", true), ("X.A.test", true), ("127.0.0.1", true),
            ("a.test", false), ("x.y.a.test", false), ("[::1]", false), ("", false), ("b.test", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_for(&certified, name), expected, "{name}");
        }
    }

    #[test]
    fn changed_files_are_read_again_and_broken_ones_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = write_pair(folder.path(), "a", &pair("a.test"));
        let asked = Arc::new(RwLock::new(vec!["a.test".to_owned()]));
        let certificates = Certificates::load(vec![files.clone()], asked.clone()).unwrap();
        let shows = |name: &str| is_for(&certificates.shown().certified[0], name);
        assert!(!certificates.look().unwrap() && shows("a.test"));
        let new = pair("other-name.b.test");
        fs::write(&files.certificate, &new.0).unwrap();
        assert!(matches!(certificates.look(), Err(CertificateFilesError::Mismatch { .. })));
        assert!(shows("a.test"));
        fs::write(&files.key, &new.1).unwrap();
        assert!(certificates.uncovered().is_empty());
        assert!(certificates.look().unwrap() && shows("other-name.b.test"));
        assert_eq!(certificates.uncovered(), ["a.test"]);
        *asked.write().unwrap() = vec!["other-name.b.test".to_owned()];
        assert!(certificates.uncovered().is_empty());
        assert!(!certificates.look().unwrap());
        fs::remove_file(&files.key).unwrap();
        assert!(certificates.look().is_err() && shows("other-name.b.test"));
        assert!(certificates.replace(vec![files]).is_err() && shows("other-name.b.test"));
        certificates.replace(vec![write_pair(folder.path(), "c", &pair("c.test"))]).unwrap();
        assert!(shows("c.test") && !certificates.look().unwrap());
    }

    #[tokio::test]
    async fn a_client_is_shown_the_certificate_of_the_name_that_it_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|it| write_pair(folder.path(), it, &pair(&format!("{it}.test"))));
        let acceptor = Certificates::load(files.to_vec(), Arc::default()).unwrap().acceptor();
        for (asked, expected) in [("b.test", "b"), ("a.test", "a"), ("c.test", "a")] {
            let leaf = files.iter().find(|files| files.certificate.file_stem().unwrap() == expected).unwrap();
            let (client, server) = tokio::io::duplex(16 * 1024);
            let accepting = tokio::spawn({
                let acceptor = acceptor.clone();
                async move { acceptor.accept(server).await.map(drop) }
            });
            let seen = SeenCertificate::default();
            let mut config = rustls::ClientConfig::builder()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(seen.clone()))
                .with_no_client_auth();
            config.alpn_protocols = vec![b"http/1.1".to_vec()];
            let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
            let connected = connector.connect(ServerName::try_from(asked).unwrap(), client).await.unwrap();
            accepting.await.unwrap().unwrap();
            drop(connected);
            assert_eq!(*seen.0.lock().unwrap(), leaf.load().unwrap().cert[0].to_vec(), "{asked}");
        }
    }

    /// Notes what it is shown: which certificate that is, is what is tested.
    #[derive(Debug, Clone, Default)]
    struct SeenCertificate(Arc<std::sync::Mutex<Vec<u8>>>);

    impl rustls::client::danger::ServerCertVerifier for SeenCertificate {
        fn verify_server_cert(
            &self,
            end_entity: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: rustls::pki_types::UnixTime,
        ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
            *self.0.lock().unwrap() = end_entity.to_vec();
            Ok(rustls::client::danger::ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &rustls::DigitallySignedStruct,
        ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
            Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
            vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
        }
    }
}
