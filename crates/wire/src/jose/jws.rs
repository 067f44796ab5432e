//! Compact JWS: `header.payload.signature`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::claims::Claims;
use super::json::{ObjectError, parse_object};
use super::keys::VerifyingKey;

/// A signature algorithm that Doorward accepts or makes. There is no other: neither `none` nor an HMAC can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2048 to 8192 bits (RFC 7518 section 3.3).
    Rs256,
    /// ECDSA on P-256 with SHA-256, signature as 64 raw bytes (RFC 7518 section 3.4).
    Es256,
}

impl Algorithm {
    /// The name in the `alg` parameter.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Rs256 => "RS256",
            Algorithm::Es256 => "ES256",
        }
    }

    /// The algorithm of this `alg` name, compared exactly (RFC 7515 section 4.1.1: case counts).
    pub fn from_name(name: &str) -> Option<Self> {
        [Algorithm::Rs256, Algorithm::Es256].into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// Why a token was not accepted as a JWS. Says nothing about its claims.
#[derive(Debug, thiserror::Error)]
pub enum JwsError {
    /// Longer than the limit of its place; refused before anything was decoded.
    #[error("token is longer than {limit} bytes")]
    TooLong {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Not three non-empty parts of canonical base64url.
    #[error("not three parts of canonical base64url")]
    NotCompact,
    /// Header or payload is not an object with unique names.
    #[error("header or payload: {0}")]
    Object(#[from] ObjectError),
    /// `alg` is missing, unknown, or not one of those allowed for this kind of token.
    #[error("algorithm is not allowed here")]
    Algorithm,
    /// The header has `crit`, or a parameter that carries or points at a key, or that changes the meaning of the payload.
    #[error("header parameter {0:?} is not allowed")]
    HeaderParameter(&'static str),
    /// `kid` or `typ` is not a string, or `kid` is longer than 256 bytes.
    #[error("header parameter has the wrong type or size")]
    HeaderType,
    /// The key does not belong to the algorithm of the header, or the signature does not verify.
    #[error("signature does not verify")]
    Signature,
}

/// What a token says that it is, by `typ` of its header. An issuer signs more than one kind with one key, for one audience, and who
/// can get a token of one kind is not who it names in another (RFC 8725 section 3.11). Which kinds are accepted is up to the place
/// that takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// `JWT`, or it does not say (RFC 7519 section 5.1).
    Jwt,
    /// `at+jwt`: an access token (RFC 9068 section 2.1).
    AccessToken,
    /// Anything else, such as a logout token or a security event.
    Other,
}

/// Header parameters that a caller could use to choose the key or to change how the payload is read.
const FORBIDDEN: [&str; 8] = ["crit", "jwk", "jku", "x5c", "x5u", "b64", "zip", "enc"];

/// A token whose structure was checked and whose signature was not.
#[derive(Debug)]
pub struct Unverified<'a> {
    signing_input: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    kid: Option<String>,
    header: Map<String, Value>,
    payload: Map<String, Value>,
}

impl<'a> Unverified<'a> {
    /// Splits, decodes and checks the header of `token`, which must be at most `limit` bytes long.
    ///
    /// `allowed` are the algorithms for this kind of token: the header is compared with them, never obeyed
    /// (RFC 8725 section 3.1).
    pub fn parse(token: &'a str, limit: usize, allowed: &[Algorithm]) -> Result<Self, JwsError> {
        if token.len() > limit {
            return Err(JwsError::TooLong { limit });
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(JwsError::NotCompact)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::NotCompact)?;
        if payload.contains('.') || header.is_empty() || payload.is_empty() {
            return Err(JwsError::NotCompact);
        }
        let header = decode_base64url(header).ok_or(JwsError::NotCompact)?;
        let payload = decode_base64url(payload).ok_or(JwsError::NotCompact)?;
        let signature = decode_base64url(signature).ok_or(JwsError::NotCompact)?;
        let header = parse_object(&header)?;
        let (algorithm, kid) = check_header(&header, allowed)?;
        let payload = parse_object(&payload)?;
        Ok(Unverified { signing_input, signature, algorithm, kid, header, payload })
    }

    /// The algorithm, one of those that were allowed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key id, if the header has one.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The header parameters, for reports about a token. Nothing here is proven.
    pub fn unproven_header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// What the header says that this is. `typ` is compared as a media type: in any case, and `application/` may be left out
    /// (RFC 7515 section 4.1.9).
    pub fn kind(&self) -> TokenKind {
        let Some(kind) = self.header.get("typ") else { return TokenKind::Jwt };
        let kind = kind.as_str().map(str::to_ascii_lowercase).unwrap_or_default();
        match kind.strip_prefix("application/").unwrap_or(&kind) {
            "jwt" => TokenKind::Jwt,
            "at+jwt" => TokenKind::AccessToken,
            _ => TokenKind::Other,
        }
    }

    /// The claims as sent, for cheap refusals before the signature and for reports. Nothing here is proven.
    pub fn unproven_claims(&self) -> &Map<String, Value> {
        &self.payload
    }

    /// Checks the signature and gives the claims.
    ///
    /// # Errors
    /// [`JwsError::Signature`] if `key` is of another algorithm than the header names, or the signature is not its own.
    pub fn verify(self, key: &VerifyingKey) -> Result<Claims, JwsError> {
        if key.algorithm() != self.algorithm || !key.verifies(self.signing_input.as_bytes(), &self.signature) {
            return Err(JwsError::Signature);
        }
        Ok(Claims::new(self.payload))
    }
}

/// The header rules, shared with [`super::tolerant`].
pub(super) fn check_header(
    header: &Map<String, Value>,
    allowed: &[Algorithm],
) -> Result<(Algorithm, Option<String>), JwsError> {
    if let Some(name) = FORBIDDEN.into_iter().find(|name| header.contains_key(*name)) {
        return Err(JwsError::HeaderParameter(name));
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name);
    let algorithm = algorithm.filter(|algorithm| allowed.contains(algorithm)).ok_or(JwsError::Algorithm)?;
    if header.get("typ").is_some_and(|typ| !typ.is_string()) {
        return Err(JwsError::HeaderType);
    }
    let kid = match header.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= 256 => Some(kid.clone()),
        Some(_) => return Err(JwsError::HeaderType),
    };
    Ok((algorithm, kid))
}

/// Decodes base64url without padding; a spelling whose unused bits are not zero is `None`, because a second spelling of
/// the same token would pass a cache or a replay check under another name.
pub fn decode_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Encodes as base64url without padding (RFC 7515 section 2).
pub fn encode_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_the_kind_that_its_media_type_says() {
        use TokenKind::{AccessToken, Jwt, Other};
        #[rustfmt::skip]
        let cases = [
            ("",                               Some(Jwt)),
            (r#","typ":"JWT""#,                Some(Jwt)),
            (r#","typ":"jwt""#,                Some(Jwt)),
            (r#","typ":"Application/JWT""#,    Some(Jwt)),
            (r#","typ":"at+jwt""#,             Some(AccessToken)),
            (r#","typ":"application/AT+JWT""#, Some(AccessToken)),
            (r#","typ":"logout+jwt""#,         Some(Other)),
            (r#","typ":"secevent+jwt""#,       Some(Other)),
            (r#","typ":"JOSE""#,               Some(Other)),
            (r#","typ":"""#,                   Some(Other)),
            (r#","typ":" jwt""#,               Some(Other)),
            (r#","typ":"application/""#,       Some(Other)),
            (r#","typ":"application/application/jwt""#, Some(Other)),
            (r#","typ":"text/jwt""#,           Some(Other)),
            (r#","typ":null"#,                 None),
            (r#","typ":["JWT"]"#,              None),
        ];
        for (typ, expected) in cases {
            let header = encode_base64url(format!(r#"{{"alg":"ES256"{typ}}}"#).as_bytes());
            let token = format!("{header}.{}.AA", encode_base64url(b"{}"));
            let kind = Unverified::parse(&token, 1000, &[Algorithm::Es256]).map(|token| token.kind());
            assert_eq!(kind.ok(), expected, "{typ}");
        }
    }
}
