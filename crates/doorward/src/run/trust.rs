//! What the program trusts: the system's certificates and our authority, in the two forms in which programs read them.

use std::path::{Path, PathBuf};
use std::{fs, io};

use aws_lc_rs::digest;

/// Where systems keep the certificates that they trust: Debian, Fedora, openSUSE, Alpine, and Fedora behind its links.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// Where they keep them for Java: Debian, Fedora.
const JAVA_STORES: [&str; 2] = ["/etc/ssl/certs/java/cacerts", "/etc/pki/ca-trust/extracted/java/cacerts"];

/// The password of every trust store that comes with a Java. It protects nothing.
pub(super) const JAVA_PASSWORD: &str = "changeit";

/// The files that exist here, by their own paths: several names may be links to one.
pub(super) fn bundles() -> Vec<PathBuf> {
    existing(&BUNDLES)
}

/// Likewise, for Java.
pub(super) fn java_stores() -> Vec<PathBuf> {
    existing(&JAVA_STORES)
}

fn existing(paths: &[&str]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in paths.iter().filter_map(|path| Path::new(path).canonicalize().ok()) {
        if path.is_file() && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// The certificates of a bundle of the system, if it has one, and `authority`, all in PEM.
pub(super) fn bundle(system: Option<&Path>, authority: &str) -> io::Result<Vec<u8>> {
    let mut bundle = system.map(fs::read).transpose()?.unwrap_or_default();
    if !bundle.is_empty() && !bundle.ends_with(b"\n") {
        bundle.push(b'\n');
    }
    bundle.extend_from_slice(authority.as_bytes());
    Ok(bundle)
}

/// A trust store of Java's own form (JKS) with every certificate of a bundle in PEM. What is no certificate is left out.
///
/// Source: `sun.security.provider.JavaKeyStore` in OpenJDK, which is the form's only description.
pub(super) fn java_store(bundle: &[u8]) -> Vec<u8> {
    let sections = pem::parse_many(bundle).unwrap_or_default();
    let certificates: Vec<&[u8]> =
        sections.iter().filter(|section| section.tag() == "CERTIFICATE").map(pem::Pem::contents).collect();
    let mut store = Vec::with_capacity(bundle.len());
    store.extend(0xFEED_FEED_u32.to_be_bytes());
    store.extend(2_u32.to_be_bytes());
    store.extend(length(certificates.len()));
    for (number, certificate) in certificates.iter().enumerate() {
        const TRUSTED_CERTIFICATE: u32 = 2;
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        utf(&mut store, &format!("certificate-{number}"));
        store.extend(0_u64.to_be_bytes()); // since when it is trusted
        utf(&mut store, "X.509");
        store.extend(length(certificate.len()));
        store.extend_from_slice(certificate);
    }
    let password = JAVA_PASSWORD.encode_utf16().flat_map(u16::to_be_bytes);
    let digested: Vec<u8> = password.chain(*b"Mighty Aphrodite").chain(store.iter().copied()).collect();
    store.extend_from_slice(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &digested).as_ref());
    store
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// As `java.io.DataOutput.writeUTF` writes ASCII.
fn utf(store: &mut Vec<u8>, text: &str) {
    store.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    store.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

    #[test]
    fn our_authority_stands_on_lines_of_its_own_behind_what_the_system_trusts() {
        let dir = tempfile::tempdir().unwrap();
        let system = dir.path().join("bundle.pem");
        #[rustfmt::skip]
        let cases = [
            (Some("# system\n"), "# system\nours\n"),
            (Some("# system"),   "# system\nours\n"),
            (Some(""),           "ours\n"),
            (None,               "ours\n"),
        ];
        for (text, expected) in cases {
            if let Some(text) = text {
                fs::write(&system, text).unwrap();
            }
            let bundle = bundle(text.map(|_| system.as_path()), "ours\n").unwrap();
            assert_eq!(String::from_utf8(bundle).unwrap(), expected, "{text:?}");
        }
    }

    /// Of the store below. By `hashlib` of Python: `sha1("changeit".encode("utf-16-be") + b"Mighty Aphrodite" + body)`.
    const DIGEST: &str = "d3cadd1023b52c03d1f0fe6f598f637f815d197e";

    #[test]
    fn a_trust_store_has_every_certificate_under_a_name_of_its_own_and_nothing_else() {
        let other = CERTIFICATE.replace("CERTIFICATE", "PUBLIC KEY");
        let store = java_store(format!("# comment\n{CERTIFICATE}{other}{CERTIFICATE}").as_bytes());
        let mut expected = vec![0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2, 0, 0, 0, 2];
        for name in [b"certificate-0", b"certificate-1"] {
            expected.extend([0, 0, 0, 2, 0, 13]);
            expected.extend(name);
            expected.extend([0; 8]);
            expected.extend(b"\0\x05X.509\0\0\0\x03\x01\x02\x03");
        }
        let (body, digest) = store.split_at(store.len() - 20);
        assert_eq!(body, expected);
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(digest, DIGEST);
    }
}
