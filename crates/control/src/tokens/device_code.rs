//! Devices without a browser (RFC 8628): asking for codes, and redeeming one.

use std::time::Duration;

use doorward_core::audit::{TokenEvent, TokenMethod};
use doorward_core::client::ClientKind;
use doorward_core::entropy::{Entropy, EntropyError};
use doorward_core::grant::{
    DEVICE_CODE_PREFIX, DEVICE_CODE_TTL, DEVICE_INTERVAL, DeviceGrant, DevicePoll, PersonGrant, TokenHash,
};
use doorward_wire::oauth::{ClientCredentials, DeviceCodeRequest, Scopes};

use super::person::PersonAnswer;
use super::{Issued, RedeemError, TokenService};
use crate::admin::Peer;

/// The letters of a user code: no vowels, so that no words come out, and nothing that looks like a digit (RFC 8628 section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters in a user code: 34 bits.
const CODE_LENGTH: usize = 8;
/// User codes that are tried before it is given up: each is taken with a chance of one in a million while 25,000 wait.
const ATTEMPTS: usize = 8;

/// The codes of a device that asked. `Debug` is left out: they are secrets.
pub struct DeviceCodes {
    /// For the device.
    pub device_code: String,
    /// For the person: `XXXX-XXXX`.
    pub user_code: String,
    /// How long both are good for.
    pub expires_in: Duration,
    /// How long to wait between two questions.
    pub interval: Duration,
}

impl TokenService {
    /// Gives a device its codes.
    pub async fn authorize_device(
        &self,
        client: ClientCredentials,
        scope: Option<&str>,
        peer: impl Into<Peer>,
    ) -> Result<DeviceCodes, RedeemError> {
        let peer = peer.into();
        let mut event = self.recorder.begin(TokenMethod::DeviceAuthorization, Some(peer.address))?;
        let outcome = self.make_device_codes(&client, scope, peer, &mut event).await;
        self.recorder.finish(event, outcome).await
    }

    async fn make_device_codes(
        &self,
        credentials: &ClientCredentials,
        scope: Option<&str>,
        peer: Peer,
        event: &mut TokenEvent,
    ) -> Result<DeviceCodes, RedeemError> {
        let client = self.identify(credentials, peer, event).await?;
        // The answer goes to whoever asked, whoever that is. For a client whose answers go to addresses or applications of its own
        // that would be a way around them, under its good name.
        if !matches!(client.kind, ClientKind::Desktop { .. }) {
            return Err(RedeemError::DeviceClient);
        }
        self.throttle.ask(peer, event.time)?;
        let scopes = scope.and_then(|scope| Scopes::parse(scope).ok()).ok_or(RedeemError::Scope)?;
        let now = event.time;
        event.audience = Some(scopes.as_str().to_owned());
        let device_code = self.minter.secret(DEVICE_CODE_PREFIX)?;
        let grant = DeviceGrant { client: client.id, scopes, expires: now + DEVICE_CODE_TTL };
        for _ in 0..ATTEMPTS {
            let user_code = new_user_code(self.minter.entropy())?;
            let (device, user) = (TokenHash::of(&device_code), TokenHash::of(&user_code));
            if self.store.add_device_code(&device, &user, &grant, now).await? {
                event.issued = Some("device_code".to_owned());
                return Ok(DeviceCodes {
                    device_code,
                    user_code,
                    expires_in: DEVICE_CODE_TTL,
                    interval: DEVICE_INTERVAL,
                });
            }
        }
        Err(RedeemError::Entropy(EntropyError))
    }

    pub(super) async fn redeem_device_code(
        &self,
        request: &DeviceCodeRequest,
        peer: Peer,
        event: &mut TokenEvent,
    ) -> Result<Issued, RedeemError> {
        let client = self.authenticate(&request.client, peer, event).await?;
        // Judged before the question is asked: the answer is told once.
        let audience = self.audience(client.client(), request.audience.as_deref()).await?;
        let device = TokenHash::of(&request.device_code);
        let grant = allowed(self.store.poll_device(&device, &client.client().id, event.time).await?)?;
        let person = self.person(&grant.subject, event)?;
        let grant = &*grant;
        let refresh_token = self.first_refresh_token(grant).await?;
        let answer =
            PersonAnswer { grant, scopes: &grant.scopes, audience: &audience, with_nonce: false, refresh_token };
        self.issue_to_person(&person, answer, event).await
    }
}

fn allowed(poll: DevicePoll) -> Result<Box<PersonGrant>, RedeemError> {
    match poll {
        DevicePoll::Allowed(grant) => Ok(grant),
        DevicePoll::Unknown => Err(RedeemError::DeviceUnknown),
        DevicePoll::Expired => Err(RedeemError::DeviceExpired),
        DevicePoll::TooSoon => Err(RedeemError::DeviceTooSoon),
        DevicePoll::Pending => Err(RedeemError::DevicePending),
        DevicePoll::Denied => Err(RedeemError::DeviceDenied),
    }
}

/// A new user code in its one spelling.
fn new_user_code(entropy: &dyn Entropy) -> Result<String, EntropyError> {
    let mut code = String::with_capacity(CODE_LENGTH + 1);
    while code.len() < CODE_LENGTH {
        let mut byte = [0];
        entropy.fill(&mut byte)?;
        // 240 is the largest multiple of twenty in a byte: taking all 256 values would favour the first letters.
        if byte[0] < 240 {
            code.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
        }
    }
    code.insert(CODE_LENGTH / 2, '-');
    Ok(code)
}

/// The one spelling, `XXXX-XXXX`, of a user code that a person typed: in any case, with hyphens and spaces anywhere. `None` if
/// it can be none of ours.
pub(crate) fn canonical_user_code(typed: &str) -> Option<String> {
    let kept = typed.chars().filter(|character| *character != '-' && !character.is_whitespace());
    let letters: Vec<char> = kept.map(|character| character.to_ascii_uppercase()).take(CODE_LENGTH + 1).collect();
    let known = |letter: &char| u8::try_from(*letter).is_ok_and(|letter| LETTERS.contains(&letter));
    if letters.len() != CODE_LENGTH || !letters.iter().all(known) {
        return None;
    }
    let (first, second) = letters.split_at(CODE_LENGTH / 2);
    Some(first.iter().chain(&['-']).chain(second).collect())
}

#[cfg(test)]
mod tests {
    use doorward_core::entropy::SeededEntropy;

    use super::*;

    #[test]
    fn a_user_code_is_read_in_every_spelling_that_people_use_and_nothing_else_is() {
        let entropy = SeededEntropy::default();
        let code = new_user_code(&entropy).unwrap();
        assert_eq!(canonical_user_code(&code), Some(code.clone()));
        assert_ne!(new_user_code(&entropy).unwrap(), code);
        let good = Some("BCDF-GHJK".to_owned());
        #[rustfmt::skip]
        let cases = [
            ("BCDF-GHJK",        good.clone()),
            ("bcdfghjk",         good.clone()),
            (" bcdf ghjk\n",     good.clone()),
            ("B-C-D-F-G-H-J-K",  good.clone()),
            ("BCDF\u{a0}GHJK",   good),
            ("BCDF-GHJ",         None),
            ("BCDF-GHJKK",       None),
            ("ACDF-GHJK",        None),
            ("BCDF-GHJ0",        None),
            ("BCDF_GHJK",        None),
            ("\u{ff22}CDF-GHJK", None),
            ("",                 None),
        ];
        for (typed, expected) in cases {
            assert_eq!(canonical_user_code(typed), expected, "{typed:?}");
        }
    }
}
