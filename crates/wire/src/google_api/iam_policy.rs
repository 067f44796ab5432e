//! `google.iam.v1.Policy` and the two calls that carry it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An allow policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// 0, 1 or 3. 3 is needed for conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// Who holds which role.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bindings: Vec<Binding>,
    /// The state that was read, to be sent back with a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<Etag>,
}

/// One role and those who hold it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Binding {
    /// `roles/NAME`.
    pub role: String,
    /// `user:EMAIL` and the other forms.
    #[serde(default)]
    pub members: Vec<String>,
    /// A CEL condition. Carried so that it can be refused: dropping it silently would widen the grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<serde_json::Value>,
}

/// An opaque version of a policy, `bytes` on the wire.
///
/// gcloud decodes and re-encodes it, and sends it back in the URL-safe alphabet: it is compared as bytes, read in either
/// alphabet with or without padding, and written in canonical standard base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Etag(pub Vec<u8>);

const EITHER: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, EITHER);

impl Serialize for Etag {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Etag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?.replace('-', "+").replace('_', "/");
        STANDARD.decode(text).map(Etag).map_err(|_| serde::de::Error::custom("etag is not base64"))
    }
}

/// The body of `:getIamPolicy`. It may be absent.
#[derive(Debug, Default, Deserialize)]
pub struct GetIamPolicyRequest {}

/// The body of `:setIamPolicy`.
#[derive(Debug, Deserialize)]
pub struct SetIamPolicyRequest {
    /// The policy that replaces the whole of the old one.
    pub policy: Policy,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_comes_back_equal_in_the_alphabet_that_gcloud_sends() {
        let read = |text: &str| serde_json::from_str::<Etag>(text).unwrap();
        assert_eq!(read("\"23g+loXd\""), read("\"23g-loXd\""));
        assert_eq!(serde_json::to_string(&read("\"23g-loXd\"")).unwrap(), "\"23g+loXd\"");
        assert!(serde_json::from_str::<Etag>("\"!\"").is_err());
    }
}
