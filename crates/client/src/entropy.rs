//! The only place of this crate that makes randomness. It spreads out repeated requests; no secret is made of it.

/// Makes unpredictable bytes.
pub trait Entropy: Send + Sync {
    /// Fills `bytes`; where the machine gives no randomness they stay as they were.
    fn fill(&self, bytes: &mut [u8]);
}

/// The operating system's generator.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes randomness")]
    fn fill(&self, bytes: &mut [u8]) {
        // Without randomness all clients of a broken server would try again together, which is no reason to fail.
        let _ = aws_lc_rs::rand::fill(bytes);
    }
}
