//! Parameters of requests, as forms and as queries (RFC 6749 appendix B).

use std::collections::HashMap;

/// Whether a decoded value is a text: not what stands for bytes that were none, and without U+0000, which no name of ours has (RFC
/// 6749 appendix A has none in any parameter) and which not every database keeps.
pub(super) fn is_text(value: &str) -> bool {
    !value.contains(['\u{fffd}', '\0'])
}

/// The parameters of one request, each at most once.
#[derive(Debug, Default)]
pub struct Parameters(HashMap<String, String>);

/// A text that is not a list of parameters, or a parameter that is wanted and not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// Not UTF-8 text, a text with U+0000, or a parameter occurs twice (RFC 6749 section 3.1 forbids that).
    #[error("the parameters are not text, or one of them occurs twice")]
    Malformed,
    /// The parameter is missing or empty.
    #[error("parameter {0:?} is missing")]
    Missing(&'static str),
}

impl Parameters {
    /// Parses `application/x-www-form-urlencoded`. Values are decoded and not trimmed.
    pub fn parse(text: &[u8]) -> Result<Self, ParameterError> {
        let text = std::str::from_utf8(text).map_err(|_| ParameterError::Malformed)?;
        let mut parameters = HashMap::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            if !is_text(&value) || parameters.insert(name.into_owned(), value.into_owned()).is_some() {
                return Err(ParameterError::Malformed);
            }
        }
        Ok(Parameters(parameters))
    }

    /// Takes a parameter out. One without a value is as good as absent (RFC 6749 section 3.1).
    pub fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name).filter(|value| !value.is_empty())
    }

    /// Takes a parameter out that must be there.
    pub fn require(&mut self, name: &'static str) -> Result<String, ParameterError> {
        self.take(name).ok_or(ParameterError::Missing(name))
    }
}
