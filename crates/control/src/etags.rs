//! States of things as clients see them: opaque bytes, or text; and how often a state is read that another change overtakes.

use doorward_core::policy::Etag;
use doorward_wire::google_api;
use doorward_wire::jose::{decode_base64url, encode_base64url};

/// `ACAB`, with which Google answers for a policy that was never written.
const UNWRITTEN: [u8; 3] = [0x00, 0x20, 0x01];
/// Before the number of something that was written: nine bytes are twelve characters of base64 without padding.
const WRITTEN: u8 = 0x07;

/// How often a change of what is there is tried anew while others change the same.
pub(crate) const ATTEMPTS: usize = 8;

/// An etag of another form, which nothing has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoState;

/// As the field of `bytes`.
pub(crate) fn encode(etag: Etag) -> google_api::Etag {
    match etag {
        Etag::UNWRITTEN => google_api::Etag(UNWRITTEN.to_vec()),
        Etag(number) => google_api::Etag([&[WRITTEN][..], &number.to_be_bytes()].concat()),
    }
}

/// Reads a field of `bytes`. An empty one is the same as none (proto3).
pub(crate) fn decode(etag: Option<&google_api::Etag>) -> Result<Option<Etag>, NoState> {
    let Some(etag) = etag.filter(|etag| !etag.0.is_empty()) else { return Ok(None) };
    let state = match etag.0.split_first() {
        _ if etag.0 == UNWRITTEN => Some(Etag::UNWRITTEN),
        Some((&WRITTEN, number)) => number.try_into().ok().map(|bytes| Etag(i64::from_be_bytes(bytes))),
        _ => None,
    };
    // Zero in the form of something written would be a second spelling of the unwritten state.
    state.filter(|state| encode(*state) == *etag).map(Some).ok_or(NoState)
}

/// As a field of text.
pub(crate) fn encode_text(etag: Etag) -> String {
    encode_base64url(&encode(etag).0)
}

/// Reads a field of text; an empty one is none.
pub(crate) fn decode_text(etag: &str) -> Result<Option<Etag>, NoState> {
    if etag.is_empty() {
        return Ok(None);
    }
    decode(Some(&google_api::Etag(decode_base64url(etag).ok_or(NoState)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_has_one_spelling_and_survives_a_client_that_decodes_it() {
        for (etag, text) in
            [(Etag::UNWRITTEN, "\"ACAB\""), (Etag(1), "\"BwAAAAAAAAAB\""), (Etag(i64::MAX), "\"B3//////////\"")]
        {
            let encoded = encode(etag);
            assert_eq!(serde_json::to_string(&encoded).unwrap(), text);
            let gcloud = text.replace('/', "_");
            assert_eq!(decode(Some(&serde_json::from_str(&gcloud).unwrap())), Ok(Some(etag)), "{text}");
            assert_eq!(decode_text(&encode_text(etag)), Ok(Some(etag)), "{text}");
        }
        for refused in [&[0x07][..], &[0x00, 0x20], &[0x07, 0, 0, 0, 0, 0, 0, 0, 0], &[0x06, 0, 0, 0, 0, 0, 0, 0, 1]] {
            assert_eq!(decode(Some(&google_api::Etag(refused.to_vec()))), Err(NoState), "{refused:?}");
        }
        assert_eq!((decode(None), decode(Some(&google_api::Etag(vec![])))), (Ok(None), Ok(None)));
        assert_eq!((decode_text(""), decode_text("!")), (Ok(None), Err(NoState)));
    }
}
