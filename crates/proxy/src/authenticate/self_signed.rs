//! JWTs that a service account signed itself, or had signed for it: good for URLs of an application, not for its client id.

use doorward_core::audit::escaped;
use doorward_core::clock::Timestamp;
use doorward_core::resource::Origin;
use doorward_core::self_signed::{SelfSignedError, prove};
use doorward_core::snapshot::Snapshot;
use doorward_wire::jose::{Claims, Unverified};
use serde_json::{Map, Value};

use super::{AccountCaller, TokenError};

/// How the address of a token endpoint ends, Google's and ours: what the same account signs to get a token there.
const TOKEN_ENDPOINTS: [&str; 3] =
    ["oauth2.googleapis.com/token", "www.googleapis.com/oauth2/v4/token", "accounts.google.com/o/oauth2/token"];

/// The URLs for which a self-signed JWT is good: `ORIGIN/PATH`, or everything below `ORIGIN/PREFIX/*`.
///
/// Read once, when the token is verified, and compared on each request, whether the token is remembered or not: a token that is
/// good here may not be good for the next path, or for another name of the same application.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UrlAudience {
    text: String,
    /// Where the path begins in `text`.
    path_at: usize,
    /// `text` ends with `/*`.
    is_prefix: bool,
}

impl UrlAudience {
    /// Reads `aud`. `None` for what names no URL of ours in any case: another scheme, no path, a query or a fragment, a `*`
    /// elsewhere than in a `/*` at the end, or a dot segment.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
        let path_at = text.len() - rest.len() + rest.find('/')?;
        let path = &text[path_at..];
        let is_prefix = path.ends_with("/*");
        let fixed = if is_prefix { &path[..path.len() - 1] } else { path };
        let plain = fixed.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'*' | b'\\'));
        if !plain || fixed.split('/').any(|segment| matches!(without_parameters(segment), "." | "..")) {
            return None;
        }
        Some(UrlAudience { text: text.to_owned(), path_at, is_prefix })
    }

    /// Whether the token is good for this path, as it was sent, at this origin, as it is configured.
    ///
    /// The origin is compared as text, so that one spelling of it counts and no other. The path must be the one named or begin
    /// with the prefix, and must not climb out of the prefix, not even to come back: readers differ in what `a//..` and
    /// `a;b/..` lead to, and each of them must stay inside.
    pub(super) fn covers(&self, origin: &Origin, path: &str) -> bool {
        let (at, fixed) = self.text.split_at(self.path_at);
        let named = at.strip_prefix(origin.scheme.as_str()).and_then(|rest| rest.strip_prefix("://"));
        if named != Some(origin.host.as_str()) {
            return false;
        }
        if !self.is_prefix {
            return fixed == path;
        }
        let prefix = &fixed[..fixed.len() - 1];
        // Nothing is above the root.
        path.strip_prefix(prefix).is_some_and(|below| prefix == "/" || never_climbs_out(below))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whether the segments lead nowhere above where they begin. Counted as the reader does who goes down the least: one who merges
/// slashes and drops parameters, so that an empty segment and `.;x` are no step down.
fn never_climbs_out(below: &str) -> bool {
    let mut depth = 0_usize;
    below.split('/').all(|segment| {
        match without_parameters(segment) {
            "" | "." => {}
            ".." => match depth.checked_sub(1) {
                Some(above) => depth = above,
                None => return false,
            },
            _ => depth += 1,
        }
        true
    })
}

/// A segment up to its first `;`, however that is written. Dots are plain here: the first stage refuses encoded dot segments.
fn without_parameters(segment: &str) -> &str {
    let end = segment.bytes().enumerate().position(|(at, byte)| {
        byte == b';'
            || byte == b'%' && segment.as_bytes()[at..].get(1..3).is_some_and(|hex| hex.eq_ignore_ascii_case(b"3b"))
    });
    &segment[..end.unwrap_or(segment.len())]
}

/// The caller whom a JWT names, with its claims, until when, and for which URLs. `unsigned` is told if no key of an account made its signature.
///
/// A token that was made to be exchanged for another one is no credential here, whatever its `aud`.
pub(super) fn check(
    unverified: Unverified<'_>,
    unsigned: TokenError,
    snapshot: &Snapshot,
    now: Timestamp,
) -> Result<(AccountCaller, Claims, Timestamp, UrlAudience), TokenError> {
    let for_exchange = is_for_exchange(unverified.unproven_claims());
    let proven = match prove(unverified, snapshot, now) {
        Err(SelfSignedError::Signature) => return Err(unsigned),
        // Before anything else that is wrong: whoever mistook the place is not helped by a later `exp`.
        Ok(_) | Err(_) if for_exchange => return Err(TokenError::ForExchange),
        Err(SelfSignedError::Expired(at)) => return Err(TokenError::Expired(at)),
        Err(SelfSignedError::NotYetValid(at)) => return Err(TokenError::NotYetValid(at)),
        Err(error @ (SelfSignedError::Claims | SelfSignedError::TooLong(_) | SelfSignedError::Account)) => {
            return Err(TokenError::SelfSigned(error));
        }
        Ok(proven) => proven,
    };
    let (account, claims) = (proven.account(), proven.claims());
    let audience = claims.string("aud").ok_or(TokenError::SelfSigned(SelfSignedError::Claims))?;
    // Of the address, as of the URL, one spelling counts here and no other.
    let address = Some(account.email.as_str());
    if claims.string("iss") != address || claims.string("sub") != address {
        return Err(TokenError::SelfSigned(SelfSignedError::Account));
    }
    let good_for = UrlAudience::parse(audience).ok_or_else(|| wrong_url(audience))?;
    let (unique_id, email) = (proven.unique_id().clone(), account.email.clone());
    let caller = AccountCaller { kind: account.kind, unique_id, email, note: None };
    Ok((caller, claims.clone(), proven.valid_until(), good_for))
}

/// What a service account signs for a token endpoint or an API.
fn is_for_exchange(claims: &Map<String, Value>) -> bool {
    let to_token_endpoint = |audience: &str| TOKEN_ENDPOINTS.iter().any(|end| audience.ends_with(end));
    claims.contains_key("target_audience")
        || claims.contains_key("scope")
        || claims.get("aud").and_then(Value::as_str).is_some_and(to_token_endpoint)
}

pub(super) fn wrong_url(audience: &str) -> TokenError {
    TokenError::Url(escaped(audience.as_bytes(), 256))
}

#[cfg(test)]
mod tests {
    use super::super::Authenticator;
    use super::*;
    use crate::testing::{CLIENT_ID, ISSUER, NOW, TestWorld, judged};
    use doorward_core::keys::KeyPurpose;
    use doorward_core::outbound::FixedIssuerKeys;
    use doorward_core::policy::path::check_path;
    use doorward_wire::jose::encode_base64url;
    use serde_json::json;

    const ROBOT: &str = "robot@p.iam.gserviceaccount.com";

    /// Whether a token with this audience reaches the path there: the first stage lets the path pass, and the audience covers it.
    fn reaches(world: &TestWorld, audience: &str, host: &str, path: &str) -> bool {
        check_path(path).is_ok()
            && UrlAudience::parse(audience).is_some_and(|urls| urls.covers(world.site_at(host).origin, path))
    }

    #[test]
    fn an_audience_reaches_the_url_that_it_names_and_what_lies_below_a_star_and_nothing_else() {
        let world = TestWorld::new(&[]);
        #[rustfmt::skip]
        let cases = [
            // The documented forms.
            ("http://app.test/",                 "app.test",        "/",                       true),
            ("http://app.test/a/b",              "app.test",        "/a/b",                    true),
            ("http://app.test/*",                "app.test",        "/",                       true),
            ("http://app.test/*",                "app.test",        "/a/b",                    true),
            ("http://app.test/a/*",              "app.test",        "/a/b",                    true),
            ("http://app.test/a/*",              "app.test",        "/a/",                     true),
            ("http://app.test/a/*",              "app.test",        "/a/*",                    true),
            ("https://alias.test:8443/*",        "alias.test:8443", "/a",                      true),
            // One origin in several spellings of `Host`.
            ("http://app.test/*",                "APP.TEST.",       "/a",                      true),
            ("http://app.test/*",                "app.test:80",     "/a",                      true),
            // Another spelling of the origin, or another origin.
            ("http://app.test",                  "app.test",        "/",                       false),
            ("HTTP://app.test/*",                "app.test",        "/a",                      false),
            ("http://APP.test/*",                "app.test",        "/a",                      false),
            ("http://app.test./*",               "app.test",        "/a",                      false),
            ("http://app.test:80/*",             "app.test",        "/a",                      false),
            ("http://app.test:80/*",             "app.test:80",     "/a",                      false),
            ("http://app.test:8080/*",           "app.test",        "/a",                      false),
            ("http://app.test:/*",               "app.test",        "/a",                      false),
            ("https://app.test/*",               "app.test",        "/a",                      false),
            ("https://app.test:80/*",            "app.test",        "/a",                      false),
            ("//app.test/*",                     "app.test",        "/a",                      false),
            ("app.test/*",                       "app.test",        "/a",                      false),
            ("/*",                               "app.test",        "/a",                      false),
            ("*",                                "app.test",        "/a",                      false),
            ("",                                 "app.test",        "/",                       false),
            ("http:///*",                        "app.test",        "/a",                      false),
            ("http://*/*",                       "app.test",        "/a",                      false),
            ("http://*.test/*",                  "app.test",        "/a",                      false),
            ("http:app.test/*",                  "app.test",        "/a",                      false),
            ("http:/app.test/*",                 "app.test",        "/a",                      false),
            ("http://user@app.test/*",           "app.test",        "/a",                      false),
            ("http://app.test@evil.test/*",      "app.test",        "/a",                      false),
            ("http://app.test.evil.test/*",      "app.test",        "/a",                      false),
            ("http://evil.test/http://app.test/*", "app.test",      "/a",                      false),
            ("http://app.te%73t/*",              "app.test",        "/a",                      false),
            (" http://app.test/*",               "app.test",        "/a",                      false),
            ("http://app.test/* ",               "app.test",        "/a",                      false),
            ("http://app.test\\/*",              "app.test",        "/a",                      false),
            ("https://alias.test:8443/*",        "app.test",        "/a",                      false),
            ("http://app.test/*",                "alias.test:8443", "/a",                      false),
            ("http://alias.test:8443/*",         "alias.test:8443", "/a",                      false),
            ("https://alias.test/*",             "alias.test:8443", "/a",                      false),
            // A star that is no `/*` at the end.
            ("http://app.test*",                 "app.test",        "/a",                      false),
            ("http://app.test/admin*",           "app.test",        "/admin",                  false),
            ("http://app.test/admin*",           "app.test",        "/admin/x",                false),
            ("http://app.test/admin*",           "app.test",        "/admin*",                 false),
            ("http://app.test/**",               "app.test",        "/a",                      false),
            ("http://app.test/*/b",              "app.test",        "/a/b",                    false),
            ("http://app.test/*/*",              "app.test",        "/a/b",                    false),
            ("http://app.test/%2a",              "app.test",        "/a",                      false),
            ("http://app.test/%2A",              "app.test",        "/*",                      false),
            // Query and fragment.
            ("http://app.test/a?b=c",            "app.test",        "/a",                      false),
            ("http://app.test/a?",               "app.test",        "/a",                      false),
            ("http://app.test/?/*",              "app.test",        "/a",                      false),
            ("http://app.test?/*",               "app.test",        "/a",                      false),
            ("http://app.test/a#b",              "app.test",        "/a",                      false),
            ("http://app.test/#/*",              "app.test",        "/a",                      false),
            // Prefixes are whole segments, and case counts.
            ("http://app.test/a",                "app.test",        "/a/",                     false),
            ("http://app.test/a",                "app.test",        "/a/b",                    false),
            ("http://app.test/a/",               "app.test",        "/a",                      false),
            ("http://app.test/",                 "app.test",        "/a",                      false),
            ("http://app.test/a/*",              "app.test",        "/a",                      false),
            ("http://app.test/a/*",              "app.test",        "/ab",                     false),
            ("http://app.test/a/*",              "app.test",        "/ab/c",                   false),
            ("http://app.test/a/*",              "app.test",        "/A/b",                    false),
            ("http://app.test/a/*",              "app.test",        "/b/a/b",                  false),
            ("http://app.test/a/*",              "app.test",        "//a/b",                   false),
            ("http://app.test//a/*",             "app.test",        "/a/b",                    false),
            ("http://app.test/a",                "app.test",        "/a;v=1",                  false),
            // Dot segments: the path as sent, and what each reader makes of it.
            ("http://app.test/*",                "app.test",        "/public/../admin",        true),
            ("http://app.test/*",                "app.test",        "/../../admin",            true),
            ("http://app.test/public/*",         "app.test",        "/public/a/../b",          true),
            ("http://app.test/public/*",         "app.test",        "/public/a/..",            true),
            ("http://app.test/public/*",         "app.test",        "/public/./a",             true),
            ("http://app.test/public/*",         "app.test",        "/public/a;v=1/../b",      true),
            ("http://app.test/public/*",         "app.test",        "/public/..a/...",         true),
            ("http://app.test/public/*",         "app.test",        "/public/../admin",        false),
            ("http://app.test/public/*",         "app.test",        "/public/..",              false),
            ("http://app.test/public/*",         "app.test",        "/public/a/../../admin",   false),
            ("http://app.test/public/*",         "app.test",        "/public/./../admin",      false),
            ("http://app.test/public/*",         "app.test",        "/public//../admin",       false),
            ("http://app.test/public/*",         "app.test",        "/public/.;x/../admin",    false),
            ("http://app.test/public/*",         "app.test",        "/public/.%3bx/../admin",  false),
            ("http://app.test/public/*",         "app.test",        "/public/;x/../admin",     false),
            ("http://app.test/public/*",         "app.test",        "/public/%3B/../admin",    false),
            ("http://app.test/public/*",         "app.test",        "/public/..;/admin",       false),
            ("http://app.test/public/*",         "app.test",        "/public/..%3b/admin",     false),
            ("http://app.test/public/*",         "app.test",        "/public/%2e%2e/admin",    false),
            ("http://app.test/public/*",         "app.test",        "/public/.%2e/admin",      false),
            ("http://app.test/public/*",         "app.test",        "/public%2f..%2fadmin",    false),
            ("http://app.test/public/*",         "app.test",        "/public/..%2fadmin",      false),
            ("http://app.test/public/*",         "app.test",        "/public/..\\admin",       false),
            ("http://app.test/public/*",         "app.test",        "/public/..%5cadmin",      false),
            ("http://app.test/public/*",         "app.test",        "/public/%252e%252e/admin", false),
            ("http://app.test/public/*",         "app.test",        "/admin/../public/a",      false),
            ("http://app.test/admin",            "app.test",        "/public/../admin",        false),
            ("http://app.test/public/../admin",  "app.test",        "/public/../admin",        false),
            ("http://app.test/public/../admin",  "app.test",        "/admin",                  false),
            ("http://app.test/public/../*",      "app.test",        "/public/../admin",        false),
            ("http://app.test/./*",              "app.test",        "/./a",                    false),
            ("http://app.test/.;x/*",            "app.test",        "/.;x/a",                  false),
            ("http://app.test/..",               "app.test",        "/..",                     false),
            // Percent-encoding: one spelling, the one that was signed.
            ("http://app.test/caf%C3%A9",        "app.test",        "/caf%C3%A9",              true),
            ("http://app.test/caf%C3%A9",        "app.test",        "/caf%c3%a9",              false),
            ("http://app.test/caf\u{e9}",        "app.test",        "/caf%C3%A9",              false),
            ("http://app.test/a%64min",          "app.test",        "/admin",                  false),
            ("http://app.test/admin",            "app.test",        "/a%64min",                false),
            ("http://app.test/admin/*",          "app.test",        "/a%64min/b",              false),
            ("http://app.test/a%2f*",            "app.test",        "/a%2fb",                  false),
        ];
        for (audience, host, path, expected) in cases {
            assert_eq!(reaches(&world, audience, host, path), expected, "{audience} {host} {path}");
        }
    }

    /// The path that a reader sees who may merge slashes, and may drop parameters, before it follows dot segments.
    fn read(path: &str, merges: bool, drops: bool) -> String {
        let mut stack: Vec<&str> = Vec::new();
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        for (at, segment) in segments.iter().enumerate() {
            let name = if drops { without_parameters(segment) } else { segment };
            let is_last = at + 1 == segments.len();
            match name {
                ".." => drop(stack.pop()),
                "." => {}
                "" if merges || is_last => {}
                name => stack.push(name),
            }
            if is_last && matches!(name, "" | "." | "..") {
                stack.push("");
            }
        }
        format!("/{}", stack.join("/"))
    }

    #[test]
    fn no_reader_is_led_out_of_a_prefix() {
        let world = TestWorld::new(&[]);
        const SEGMENTS: [&str; 9] = ["p", "q", "a", "", ".", "..", ".;x", ";x", "a;x"];
        let mut covered = 0;
        for number in 0..SEGMENTS.len().pow(5) {
            let digits = (0..5).map(|digit| SEGMENTS[number / SEGMENTS.len().pow(digit) % SEGMENTS.len()]);
            let path = format!("/p/q/{}", digits.collect::<Vec<_>>().join("/"));
            if !reaches(&world, "http://app.test/p/q/*", "app.test", &path) {
                continue;
            }
            covered += 1;
            for (merges, drops) in [(false, false), (false, true), (true, false), (true, true)] {
                let seen = read(&path, merges, drops);
                assert!(seen.starts_with("/p/q/"), "{path} is {seen} to who merges: {merges}, drops: {drops}");
            }
        }
        assert!(covered > 10_000, "{covered}");
    }

    fn claims(changes: Value) -> Value {
        let mut claims = json!({
            "iss": ROBOT, "sub": ROBOT, "aud": "http://app.test/*", "iat": NOW - 10, "exp": NOW + 3590,
        });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        claims
    }

    fn authenticator() -> Authenticator {
        Authenticator::new(ISSUER.to_owned(), std::sync::Arc::new(FixedIssuerKeys::default()))
    }

    fn verdict(world: &TestWorld, token: &str) -> Result<String, TokenError> {
        let (authenticator, site) = (authenticator(), world.site());
        judged(authenticator.verify(token, &site, "/a", world.basis(NOW))).map(|proven| proven.caller.member())
    }

    #[test]
    fn a_self_signed_token_is_accepted_only_if_every_claim_holds() {
        use SelfSignedError as S;
        use TokenError as E;
        let world = TestWorld::new(&[]);
        let robot = || Ok(format!("serviceAccount:{ROBOT}"));
        let other = "other@p.iam.gserviceaccount.com";
        let both = |address: &str| json!({"iss": address, "sub": address});
        let for_exchange = || Err(E::ForExchange);
        let account = || Err(E::SelfSigned(S::Account));
        let broken = || Err(E::SelfSigned(S::Claims));
        let wrong_url = |url: &str| Err(E::Url(url.to_owned()));
        #[rustfmt::skip]
        let cases = [
            ("robot-key",   json!({}),                                             robot()),
            ("robot-key",   json!({"exp": NOW + 590}),                             robot()),
            ("robot-key",   json!({"email": 7, "kid": "x", "jti": "1"}),           robot()),
            ("other-key",   both(other),                                           Ok(format!("serviceAccount:{other}"))),
            // Time.
            ("robot-key",   json!({"iat": NOW + 30, "exp": NOW + 3630}),           robot()),
            ("robot-key",   json!({"iat": NOW - 3629, "exp": NOW - 29}),           robot()),
            ("robot-key",   json!({"iat": NOW + 31, "exp": NOW + 3631}),           Err(E::NotYetValid(NOW + 31))),
            ("robot-key",   json!({"iat": NOW - 3630, "exp": NOW - 30}),           Err(E::Expired(NOW - 30))),
            ("robot-key",   json!({"nbf": NOW + 31}),                              Err(E::NotYetValid(NOW + 31))),
            ("robot-key",   json!({"exp": NOW + 3591}),                            Err(E::SelfSigned(S::TooLong(3601)))),
            ("robot-key",   json!({"exp": i64::MAX}),                              Err(E::SelfSigned(S::TooLong(i64::MAX - NOW + 10)))),
            ("robot-key",   json!({"exp": 1e30}),               broken()),
            ("robot-key",   json!({"exp": null}),                                  broken()),
            ("robot-key",   json!({"iat": null}),                                  broken()),
            ("robot-key",   json!({"exp": (NOW + 3590).to_string()}),              broken()),
            // The account.
            ("robot-key",   both(other),                                           account()),
            ("other-key",   json!({}),                                             account()),
            ("robot-key",   json!({"iss": other}),                                 account()),
            ("robot-key",   json!({"sub": other}),                                 account()),
            ("robot-key",   json!({"sub": "alice@example.com"}),                   account()),
            ("robot-key",   json!({"sub": "1001"}),                                account()),
            ("robot-key",   json!({"iss": ISSUER, "sub": "1001", "aud": CLIENT_ID, "email": ROBOT}), account()),
            ("robot-key",   both("Robot@p.iam.gserviceaccount.com"),               account()),
            ("retired-key", both("retired@p.iam.gserviceaccount.com"),             account()),
            ("gone-key",    both("gone@p.iam.gserviceaccount.com"),                account()),
            ("gone-key",    json!({}),                                             account()),
            ("person-key",  both("alice@example.com"),                             account()),
            ("robot-key",   json!({"iss": null}),                                  broken()),
            ("robot-key",   json!({"sub": null}),                                  broken()),
            ("robot-key",   json!({"sub": [ROBOT]}),                               broken()),
            // The kind.
            ("robot-key",   json!({"target_audience": CLIENT_ID}),                 for_exchange()),
            ("robot-key",   json!({"target_audience": null, "scope": "openid"}),   for_exchange()),
            ("robot-key",   json!({"scope": ""}),                                  for_exchange()),
            ("robot-key",   json!({"aud": "https://oauth2.googleapis.com/token"}), for_exchange()),
            ("robot-key",   json!({"aud": "https://www.googleapis.com/oauth2/v4/token"}), for_exchange()),
            ("robot-key",   json!({"aud": "http://127.0.0.1:8081/oauth2.googleapis.com/token"}), for_exchange()),
            // The audience.
            ("robot-key",   json!({"aud": "http://app.test/a"}),                   robot()),
            ("robot-key",   json!({"aud": "http://app.test/"}),                    wrong_url("http://app.test/")),
            ("robot-key",   json!({"aud": "http://app.test"}),                     wrong_url("http://app.test")),
            ("robot-key",   json!({"aud": "https://app.test/*"}),                  wrong_url("https://app.test/*")),
            ("robot-key",   json!({"aud": CLIENT_ID}),                             wrong_url(CLIENT_ID)),
            ("robot-key",   json!({"aud": ""}),                                    wrong_url("")),
            ("robot-key",   json!({"aud": "https://iamcredentials.googleapis.com/"}), wrong_url("https://iamcredentials.googleapis.com/")),
            ("robot-key",   json!({"aud": ["http://app.test/*"]}),                 broken()),
            ("robot-key",   json!({"aud": null}),                                  broken()),
        ];
        for (kid, changes, expected) in cases {
            let token = world.self_sign(kid, &claims(changes.clone()));
            assert_eq!(verdict(&world, &token), expected, "{kid} {changes}");
        }
    }

    #[test]
    fn a_key_signs_for_its_own_account_by_its_own_algorithm_and_for_no_id_token() {
        use TokenError as E;
        let world = TestWorld::new(&[]);
        let good = world.self_sign("robot-key", &claims(json!({})));
        let [_, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
        let part = |value: &Value| encode_base64url(value.to_string().as_bytes());
        let header = |header: Value| format!("{}.{payload}.{signature}", part(&header));
        let kid_of_id_tokens =
            world.snapshot.keys.published(KeyPurpose::IdToken, Timestamp::from_seconds(NOW))[0].kid.clone();
        let hmac = |secret: &[u8]| {
            let input = format!("{}.{payload}", part(&json!({"alg": "HS256", "kid": "robot-key"})));
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
            format!("{input}.{}", encode_base64url(aws_lc_rs::hmac::sign(&key, input.as_bytes()).as_ref()))
        };
        let public = &world.snapshot.account_key("robot-key").unwrap().key;
        let pem = serde_json::to_value(public.to_pem().unwrap()).unwrap();
        let own_claims = |changes: Value| {
            let [header, _, _] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
            format!("{header}.{}.{signature}", part(&claims(changes)))
        };
        let as_id_token = claims(json!({"iss": ISSUER, "sub": "1001", "aud": CLIENT_ID, "email": ROBOT}));
        #[rustfmt::skip]
        let cases = [
            ("HS256 by PEM",             hmac(pem.as_str().unwrap().as_bytes()),                       E::Algorithm),
            ("HS256 by DER",             hmac(&public.to_spki().unwrap()),                             E::Algorithm),
            ("ES256",                    header(json!({"alg": "ES256", "kid": "robot-key"})),          E::Algorithm),
            ("PS256",                    header(json!({"alg": "PS256", "kid": "robot-key"})),          E::Algorithm),
            ("none",                     header(json!({"alg": "none", "kid": "robot-key"})),           E::Algorithm),
            ("none, unsigned",           format!("{}.{payload}.", part(&json!({"alg": "none", "kid": "robot-key"}))), E::Algorithm),
            ("key in the header",        header(json!({"alg": "RS256", "kid": "robot-key", "jku": "http://evil.test"})), E::Signature),
            ("no kid",                   header(json!({"alg": "RS256"})),                              E::AccountSignature),
            ("empty kid",                header(json!({"alg": "RS256", "kid": ""})),                   E::AccountSignature),
            ("unknown kid",              header(json!({"alg": "RS256", "kid": "nobody's-key"})),       E::AccountSignature),
            ("another account's kid",    header(json!({"alg": "RS256", "kid": "other-key"})),          E::AccountSignature),
            ("kid of ID tokens",         header(json!({"alg": "RS256", "kid": kid_of_id_tokens})),     E::AccountSignature),
            ("other claims",             own_claims(json!({"aud": "http://app.test/a"})),              E::AccountSignature),
            ("signed by the ID-token key", world.sign(KeyPurpose::IdToken, &claims(json!({}))),        E::Claims),
            ("signed by another purpose's", world.sign(KeyPurpose::Assertion, &claims(json!({}))),     E::Algorithm),
            ("an ID token by an account", world.self_sign("robot-key", &as_id_token),                  E::SelfSigned(SelfSignedError::Account)),
        ];
        for (name, token, expected) in cases {
            assert_eq!(verdict(&world, &token), Err(expected), "{name}");
        }
        assert!(verdict(&world, &good).is_ok());
    }

    #[test]
    fn a_remembered_token_is_good_for_its_urls_only_and_no_longer_than_its_key_and_account() {
        use SelfSignedError::Account;
        let world = TestWorld::new(&[]);
        let token = world.self_sign("robot-key", &claims(json!({"aud": "http://app.test/a/*"})));
        let authenticator = authenticator();
        let at = |world: &TestWorld, host: &str, path: &str, now: i64| {
            let site = world.site_at(host);
            judged(authenticator.verify(&token, &site, path, world.basis(now))).map(drop)
        };
        let wrong = || Err(TokenError::Url("http://app.test/a/*".to_owned()));
        #[rustfmt::skip]
        let cases = [
            // Refused first, and remembered as verified: that must open nothing.
            ("app.test",        "/b",       wrong()),
            ("app.test",        "/a/b",     Ok(())),
            ("app.test",        "/a/b",     Ok(())),
            ("app.test",        "/b",       wrong()),
            ("app.test",        "/ab",      wrong()),
            ("app.test",        "/a",       wrong()),
            ("app.test",        "/a/../b",  wrong()),
            ("alias.test:8443", "/a/b",     wrong()),
            ("app.test:80",     "/a/b",     Ok(())),
        ];
        for (host, path, expected) in cases {
            assert_eq!(at(&world, host, path, NOW), expected, "{host} {path}");
        }
        assert_eq!(at(&world, "app.test", "/a/b", NOW + 3590 + 29), Ok(()));
        assert_eq!(at(&world, "app.test", "/a/b", NOW + 3590 + 30), Err(TokenError::Expired(NOW + 3590)));
        let mut later = TestWorld::with_disabled(&[], "1001");
        std::sync::Arc::get_mut(&mut later.snapshot).unwrap().version = 2;
        assert_eq!(
            at(&later, "app.test", "/a/b", NOW),
            Err(TokenError::SelfSigned(Account)),
            "the account is disabled"
        );
    }
}
