//! From causes to codes: one exhaustive mapping for each family of errors on the wire.

pub(crate) mod browser;
pub(crate) mod google_api;
pub(crate) mod oauth;

/// An error with its causes, for our log.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
