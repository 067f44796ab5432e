//! The only place that makes randomness: bytes, identifiers, secrets and key pairs.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RsaKeyPair};
use doorward_wire::jose::{Algorithm, encode_base64url};

/// The machine gave no randomness, or a key could not be made of it. Nothing can go on without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no randomness")]
pub struct EntropyError;

/// Makes unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`.
    ///
    /// # Errors
    /// [`EntropyError`]: `bytes` must not be used.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes randomness")]
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| EntropyError)
    }
}

/// A counting generator for tests: every run makes the same bytes. Never secret.
#[derive(Debug, Default)]
pub struct SeededEntropy(std::sync::atomic::AtomicU64);

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        for chunk in bytes.chunks_mut(8) {
            let counter = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            // splitmix64, so that neighbouring counters do not look alike.
            let mut mixed = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// `bytes` random bytes as base64url.
pub fn random_base64url(entropy: &dyn Entropy, bytes: usize) -> Result<String, EntropyError> {
    let mut buffer = vec![0; bytes];
    entropy.fill(&mut buffer)?;
    Ok(encode_base64url(&buffer))
}

/// `bytes` random bytes as lower-case hexadecimal digits, as Google writes the ids of keys.
pub fn random_hex(entropy: &dyn Entropy, bytes: usize) -> Result<String, EntropyError> {
    let mut buffer = vec![0; bytes];
    entropy.fill(&mut buffer)?;
    Ok(buffer.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// `digits` random decimal digits of which the first is 1: numeric ids of equal length.
pub fn random_digits(entropy: &dyn Entropy, digits: usize) -> Result<String, EntropyError> {
    let mut text = String::with_capacity(digits);
    text.push('1');
    while text.len() < digits {
        let mut byte = [0];
        entropy.fill(&mut byte)?;
        // 250 is the largest multiple of ten in a byte: taking all 256 values would favour small digits.
        if byte[0] < 250 {
            text.push(char::from(b'0' + byte[0] % 10));
        }
    }
    Ok(text)
}

/// A new private key as unencrypted PKCS#8 in DER: RSA of 2048 bits, or P-256.
///
/// RSA takes some tens of milliseconds, with a long tail: call it where blocking is allowed.
pub fn generate_private_key(algorithm: Algorithm) -> Result<Vec<u8>, EntropyError> {
    match algorithm {
        Algorithm::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| EntropyError)?;
            Ok(pair.as_der().map_err(|_| EntropyError)?.as_ref().to_vec())
        }
        Algorithm::Es256 => {
            let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
            Ok(document.map_err(|_| EntropyError)?.as_ref().to_vec())
        }
    }
}
