//! Signing in at another device (RFC 8628).

use std::time::Duration;

use anyhow::{anyhow, bail};
use doorward_wire::oauth::{DEVICE_CODE, DeviceAuthorization, OAuthCode};
use serde::de::DeserializeOwned;

use crate::api::{ApiError, post_form};
use crate::output::say;
use crate::person::{Place, SCOPES, client_parameters};

/// How much longer to wait after `slow_down` (RFC 8628 section 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// Shows a code, and waits until somebody has entered it elsewhere and decided. Gives the answer of the token endpoint.
pub(crate) async fn sign_in<T: DeserializeOwned>(place: &Place) -> anyhow::Result<T> {
    let mut form = client_parameters(&place.client);
    form.push(("scope", SCOPES));
    let asked: DeviceAuthorization = post_form(&place.oauth2("device/code"), &form).await?;
    say(&format!("open {}", asked.verification_uri_complete));
    say(&format!("and see that it shows the code {}", asked.user_code));
    say("waiting until you have decided there; Ctrl-C ends it");
    let left = Duration::from_secs(u64::try_from(asked.expires_in).unwrap_or(0));
    let decided = tokio::time::timeout(left, poll(place, &asked)).await;
    decided.map_err(|_| anyhow!("nobody entered the code in time: `doorward login --device` shows another"))?
}

async fn poll<T: DeserializeOwned>(place: &Place, asked: &DeviceAuthorization) -> anyhow::Result<T> {
    let mut form = client_parameters(&place.client);
    form.extend([("grant_type", DEVICE_CODE), ("device_code", &asked.device_code)]);
    let mut interval = Duration::from_secs(u64::try_from(asked.interval).unwrap_or(SLOWER.as_secs()));
    let url = place.oauth2("token");
    loop {
        tokio::time::sleep(interval).await;
        match post_form(&url, &form).await {
            Ok(answer) => return Ok(answer),
            Err(error) => interval = next_interval(error, interval)?,
        }
    }
}

/// How long to wait before the next question, if there is one (RFC 8628 section 3.5).
fn next_interval(error: ApiError, interval: Duration) -> anyhow::Result<Duration> {
    if error.is_oauth(OAuthCode::AuthorizationPending) {
        return Ok(interval);
    }
    if error.is_oauth(OAuthCode::SlowDown) {
        return Ok(interval + SLOWER);
    }
    if matches!(error, ApiError::Timeout { .. }) {
        return Ok(interval * 2);
    }
    if error.is_oauth(OAuthCode::AccessDenied) {
        bail!("the sign-in was refused at the other device: `doorward login --device` tries again");
    }
    if error.is_oauth(OAuthCode::ExpiredToken) {
        bail!("the code has ended: `doorward login --device` shows another");
    }
    Err(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    use crate::api::tests::{block_on, replay};
    use crate::world::tests::description;
    use doorward_server::dev::description::Description;

    #[test]
    fn the_next_question_comes_after_the_interval_or_later_or_never() {
        let seconds = Duration::from_secs;
        #[rustfmt::skip]
        let cases = [
            ("authorization_pending", Ok(seconds(5))),
            ("slow_down",             Ok(seconds(10))),
            ("access_denied",         Err("the sign-in was refused at the other device: `doorward login --device` tries again")),
            ("expired_token",         Err("the code has ended: `doorward login --device` shows another")),
            ("invalid_grant",         Err("the token endpoint refused: x (invalid_grant)")),
        ];
        for (code, expected) in cases {
            let error = ApiError::OAuth { code: code.into(), description: "x".into() };
            let next = next_interval(error, seconds(5)).map_err(|error| error.to_string());
            assert_eq!(next, expected.map_err(str::to_owned), "{code}");
        }
        let busy = ApiError::Timeout { address: "127.0.0.1:1".into(), after: crate::transport::TIMEOUT };
        assert_eq!(
            next_interval(busy, seconds(5)).unwrap(),
            seconds(10),
            "a server that is too busy is asked less often"
        );
    }

    #[test]
    fn a_code_is_shown_and_the_token_endpoint_is_asked_until_it_has_decided() {
        let code = json!({
            "device_code": "d", "user_code": "BCDF-GHJK", "verification_uri": "http://v", "verification_url": "http://v",
            "verification_uri_complete": "http://v?c", "expires_in": 1800, "interval": 0,
        });
        let pending = || (428, json!({"error": "authorization_pending", "error_description": "x"}));
        let (address, asked) = replay(vec![(200, code), pending(), pending(), (200, json!("tokens"))]);
        let world: Description = serde_json::from_value(description(&format!("http://{address}"))).unwrap();
        assert_eq!(block_on(sign_in::<Value>(&Place::of(&world).unwrap())).unwrap(), json!("tokens"));
        let asked = asked.join().unwrap();
        assert!(asked[0].starts_with("POST /oauth2.googleapis.com/device/code HTTP/1.1\r\n"));
        assert!(asked[0].ends_with(
            "client_secret=desktop-secret&scope=openid+email+https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform"
        ));
        for poll in &asked[1..] {
            assert!(poll.starts_with("POST /oauth2.googleapis.com/token HTTP/1.1\r\n"));
            assert!(poll.ends_with("&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&device_code=d"));
        }
    }
}
