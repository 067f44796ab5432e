//! Certificates (RFC 5280): public keys in the dress in which Google's oldest clients expect them, and TLS for this machine.

use std::net::IpAddr;

use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData, SanType, SerialNumber,
    SignatureAlgorithm,
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::jose::{Algorithm, VerifyingKey};

/// A certificate in PEM, LF line ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CertificatePem(pub String);

/// A certificate could not be made of these keys, names or times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a certificate cannot be made of this")]
pub struct CertificateError;

/// From and until when a certificate is good: seconds since the Unix epoch.
#[derive(Debug, Clone, Copy)]
pub struct Validity {
    /// The first second.
    pub from: i64,
    /// The last second.
    pub until: i64,
}

/// Signs certificates with a P-256 key of its own.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

/// A certificate for a server, with its private key.
pub struct ServerCertificate {
    /// In DER.
    pub certificate: Vec<u8>,
    /// PKCS#8 in DER.
    pub private_key: Vec<u8>,
}

impl Authority {
    /// The authority of this name and key (PKCS#8 in DER, P-256). The same arguments make the same authority: certificates that
    /// it signed before are still its own.
    pub fn new(name: &str, private_key: &[u8], validity: Validity) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&private_key.into(), &PKCS_ECDSA_P256_SHA256);
        let key = key.map_err(|_| CertificateError)?;
        let mut params = params(name, validity)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        params.serial_number = Some(SerialNumber::from(1));
        // OpenSSL 3 in its strict mode wants it in a root too.
        params.use_authority_key_identifier_extension = true;
        let certificate = params.self_signed(&key).map_err(|_| CertificateError)?;
        Ok(Authority { issuer: Issuer::new(params, key), certificate })
    }

    /// Its own certificate, for trust stores.
    pub fn certificate(&self) -> CertificatePem {
        encode(&self.certificate)
    }

    /// A certificate that says whose a public key is. `serial` holds at most 20 bytes, of which the first bit is zero.
    ///
    /// # Errors
    /// [`CertificateError`] if the key or the name cannot be written down.
    pub fn certify_key(
        &self,
        name: &str,
        key: &VerifyingKey,
        serial: &[u8],
        validity: Validity,
    ) -> Result<CertificatePem, CertificateError> {
        let mut params = params(name, validity)?;
        params.serial_number = Some(SerialNumber::from_slice(serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        Ok(encode(&params.signed_by(&Subject::of(key)?, &self.issuer).map_err(|_| CertificateError)?))
    }

    /// A certificate for a server with these addresses and DNS names. `private_key` is PKCS#8 in DER, P-256.
    pub fn certify_server(
        &self,
        addresses: &[IpAddr],
        names: &[&str],
        private_key: &[u8],
        serial: &[u8],
        validity: Validity,
    ) -> Result<ServerCertificate, CertificateError> {
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&private_key.into(), &PKCS_ECDSA_P256_SHA256);
        let key = key.map_err(|_| CertificateError)?;
        let mut params = params("Doorward on this machine", validity)?;
        let names =
            names.iter().map(|name| Ok(SanType::DnsName(Ia5String::try_from(*name).map_err(|_| CertificateError)?)));
        params.subject_alt_names = names.collect::<Result<_, CertificateError>>()?;
        params.subject_alt_names.extend(addresses.iter().copied().map(SanType::IpAddress));
        params.serial_number = Some(SerialNumber::from_slice(serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).map_err(|_| CertificateError)?;
        Ok(ServerCertificate { certificate: certificate.der().to_vec(), private_key: private_key.to_vec() })
    }
}

fn params(name: &str, validity: Validity) -> Result<CertificateParams, CertificateError> {
    let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| CertificateError);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = time(validity.from)?;
    params.not_after = time(validity.until)?;
    Ok(params)
}

fn encode(certificate: &Certificate) -> CertificatePem {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    CertificatePem(pem::encode_config(&pem::Pem::new("CERTIFICATE", certificate.der().to_vec()), config))
}

/// The public key of somebody else, in the form in which a certificate holds it.
struct Subject {
    key: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl Subject {
    fn of(key: &VerifyingKey) -> Result<Self, CertificateError> {
        let spki = key.to_spki().map_err(|_| CertificateError)?;
        // SubjectPublicKeyInfo is the algorithm's name and the key in a bit string. The key is its end: a point of 65 bytes,
        // or, since RSA keys have 2,048 bits and more and so lengths of two bytes, what is behind the first 24 bytes.
        let (start, algorithm) = match key.algorithm() {
            Algorithm::Rs256 => (24, &PKCS_RSA_SHA256),
            Algorithm::Es256 => (spki.len().saturating_sub(65), &PKCS_ECDSA_P256_SHA256),
        };
        Ok(Subject { key: spki.get(start..).ok_or(CertificateError)?.to_vec(), algorithm })
    }
}

impl PublicKeyData for Subject {
    fn der_bytes(&self) -> &[u8] {
        &self.key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::SigningKey;
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};

    const VALIDITY: Validity = Validity { from: 1_800_000_000, until: 1_900_000_000 };

    fn p256() -> Vec<u8> {
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap().as_ref().to_vec()
    }

    #[test]
    fn a_certificate_holds_the_very_key_that_was_given() {
        let authority = Authority::new("Doorward", &p256(), VALIDITY).unwrap();
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap().as_der().unwrap().as_ref().to_vec();
        for (algorithm, private) in [(Algorithm::Rs256, rsa), (Algorithm::Es256, p256())] {
            let jwk = SigningKey::from_pkcs8("k", algorithm, &private).unwrap().public_jwk();
            let key = VerifyingKey::from_jwk(&jwk).unwrap();
            let certificate = authority.certify_key("robot@p.example", &key, &[1, 2], VALIDITY).unwrap();
            let der = pem::parse(&certificate.0).unwrap().into_contents();
            let spki = key.to_spki().unwrap();
            assert!(der.windows(spki.len()).any(|window| window == spki), "{algorithm:?}");
        }
    }

    #[test]
    fn an_authority_of_the_same_key_is_the_same_authority() {
        let (key, server) = (p256(), p256());
        let once = Authority::new("Doorward", &key, VALIDITY).unwrap();
        let again = Authority::new("Doorward", &key, VALIDITY).unwrap();
        let leaf = |authority: &Authority| {
            authority
                .certify_server(&[[127, 0, 0, 1].into()], &["localhost"], &server, &[2], VALIDITY)
                .unwrap()
                .certificate
        };
        assert_eq!(once.issuer.key().public_key_raw(), again.issuer.key().public_key_raw());
        assert!(!leaf(&once).is_empty() && leaf(&once).starts_with(&[0x30]));
    }
}
