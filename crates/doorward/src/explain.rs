//! What a token says, and how our proxy would judge it. Never shows a signature: what is printed is no credential.

mod shown;

use std::time::Duration;

use doorward_core::client::CLIENT_SECRET_PREFIX;
use doorward_core::clock::{CLOCK_SKEW, Timestamp};
use doorward_core::grant::{
    ACCESS_TOKEN_PREFIX, ADMIN_TOKEN_PREFIX, CODE_PREFIX, DEVICE_CODE_PREFIX, REFRESH_TOKEN_PREFIX,
};
use doorward_core::issuer::{LONGEST_LIFE, is_same_issuer};
use doorward_core::keys::ID_TOKEN_TTL;
use doorward_server::dev::description::Description;
use doorward_wire::headers::ASSERTION_ISSUER;
use doorward_wire::jose::{
    Algorithm, JwsError, StrictNumber, TOKEN_LIMIT, Unverified, VerifyingKeys, decode_base64url, parse_object,
};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::world::{AppName, addressed};
use shown::distance;

/// The issuer of the ID tokens of `dev`.
const ISSUER: &str = "https://accounts.google.com";
/// What a token says, and what follows from it.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    findings: Vec<Finding>,
    /// Applications that would take it for a proof of who calls; `None` if that is not known here.
    accepted_by: Option<Vec<&'static str>>,
    #[serde(skip)]
    now: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Good,
    Bad,
    /// Neither, but worth to know.
    Note,
}

#[derive(Debug, Serialize)]
struct Finding {
    verdict: Verdict,
    text: String,
}

/// What a token is, by what it says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    IdToken,
    SelfSigned,
    /// The signed header that an application receives.
    Assertion,
    /// Of another issuer, by whatever algorithm.
    Foreign,
    OtherAlgorithm,
}

/// What is known beside the token.
pub(crate) struct Known<'a> {
    pub(crate) world: &'a Description,
    pub(crate) now: Timestamp,
    /// The public keys of whoever should have signed, or why they are not known.
    pub(crate) keys: Result<VerifyingKeys, String>,
    /// By application: clients whose own ID tokens are accepted.
    pub(crate) programmatic_clients: Vec<(AppName, Vec<String>)>,
}

/// The address of the account that signed this token itself, if it looks like that: its keys are not ours.
pub(crate) fn self_signer(token: &str) -> Option<String> {
    let unverified = Unverified::parse(token, TOKEN_LIMIT, &[Algorithm::Rs256]).ok()?;
    let claim = |name: &str| unverified.unproven_claims().get(name).and_then(Value::as_str);
    (kind(&unverified, None) == Kind::SelfSigned).then(|| claim("iss").map(str::to_owned))?
}

/// `api_url` is where we are, under which name we issue no ID tokens.
fn kind(token: &Unverified<'_>, api_url: Option<&str>) -> Kind {
    let issuer = token.unproven_claims().get("iss").and_then(Value::as_str).unwrap_or_default();
    let own = [Some(""), Some(ISSUER), Some(ASSERTION_ISSUER), api_url];
    let is_own = own.into_iter().flatten().any(|own| is_same_issuer(own, issuer));
    match token.algorithm() {
        _ if !is_own && !issuer.ends_with(".gserviceaccount.com") => Kind::Foreign,
        Algorithm::Es256 if issuer == ASSERTION_ISSUER => Kind::Assertion,
        Algorithm::Es256 => Kind::OtherAlgorithm,
        Algorithm::Rs256 if issuer.ends_with(".gserviceaccount.com") => Kind::SelfSigned,
        Algorithm::Rs256 => Kind::IdToken,
    }
}

/// Explains a token.
pub(crate) fn explain(token: &str, known: &Known<'_>) -> Explanation {
    let part = |number: usize| {
        let bytes = token.split('.').nth(number).and_then(decode_base64url);
        bytes.and_then(|bytes| parse_object(&bytes).ok()).unwrap_or_default()
    };
    let mut explanation =
        Explanation { header: part(0), claims: part(1), findings: Vec::new(), accepted_by: None, now: known.now };
    let applications = match Unverified::parse(token, TOKEN_LIMIT, &[Algorithm::Rs256, Algorithm::Es256]) {
        Ok(unverified) => explanation.judge(unverified, known),
        Err(error) => {
            explanation.bad(not_a_jwt(token, &error));
            Some(Vec::new())
        }
    };
    let is_bad = explanation.findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    explanation.accepted_by = match applications {
        _ if is_bad => Some(Vec::new()),
        Some(applications) => Some(applications.into_iter().map(AppName::name).collect()),
        None => None,
    };
    explanation
}

fn not_a_jwt(token: &str, error: &JwsError) -> String {
    match error {
        JwsError::NotCompact | JwsError::Object(_) => match opaque(token) {
            Some(what) => format!("{what}: an application takes ID tokens"),
            None => format!("no token ({error}): was all of it copied?"),
        },
        JwsError::TooLong { .. }
        | JwsError::Algorithm
        | JwsError::HeaderParameter(_)
        | JwsError::HeaderType
        | JwsError::Signature => error.to_string(),
    }
}

/// What a credential that says nothing is for, by how it begins.
fn opaque(token: &str) -> Option<&'static str> {
    #[rustfmt::skip]
    let kinds = [
        (ACCESS_TOKEN_PREFIX,  "an access token, which opens Google's APIs"),
        (REFRESH_TOKEN_PREFIX, "a refresh token, which its client exchanges for others"),
        (CODE_PREFIX,          "an authorization code, which its client exchanges for tokens"),
        (DEVICE_CODE_PREFIX,   "a device code, which its client exchanges for tokens"),
        (CLIENT_SECRET_PREFIX, "the secret of a client"),
        (ADMIN_TOKEN_PREFIX,   "the admin token, which opens our own API"),
    ];
    kinds.into_iter().find(|(prefix, _)| token.starts_with(prefix)).map(|(_, what)| what)
}

impl Explanation {
    fn found(&mut self, verdict: Verdict, text: impl Into<String>) {
        self.findings.push(Finding { verdict, text: text.into() });
    }

    fn good(&mut self, text: impl Into<String>) {
        self.found(Verdict::Good, text);
    }

    fn bad(&mut self, text: impl Into<String>) {
        self.found(Verdict::Bad, text);
    }

    fn text(&self, claim: &str) -> Option<String> {
        self.claims.get(claim).and_then(Value::as_str).map(str::to_owned)
    }

    fn seconds(&self, claim: &str) -> Option<i64> {
        self.claims.get(claim).and_then(StrictNumber::integer)
    }

    /// Gives the applications that its audience fits; `None` if that is not known here.
    fn judge(&mut self, token: Unverified<'_>, known: &Known<'_>) -> Option<Vec<AppName>> {
        let kind = kind(&token, Some(&known.world.api_url));
        match kind {
            Kind::IdToken if self.text("iss").as_deref() == Some(ISSUER) => {
                self.good(format!("an ID token of {ISSUER}"));
            }
            Kind::IdToken => self.bad(format!("iss is not {ISSUER}")),
            Kind::SelfSigned => self.good("a JWT that a service account signed itself"),
            Kind::Assertion => {
                self.bad("the signed header that an application receives: it says who called, and opens nothing");
                return Some(Vec::new());
            }
            Kind::Foreign => {
                self.judge_foreign();
                return None;
            }
            Kind::OtherAlgorithm => {
                self.bad("ES256: an ID token, and a JWT that an account signed, is RS256");
                return Some(Vec::new());
            }
        }
        self.judge_signature(token, &known.keys);
        self.judge_times(ID_TOKEN_TTL, "an hour");
        Some(match kind {
            Kind::SelfSigned => self.judge_url(known.world),
            Kind::IdToken | Kind::Assertion | Kind::Foreign | Kind::OtherAlgorithm => {
                self.judge_email();
                self.judge_client(known)
            }
        })
    }

    /// Which issuers are trusted, and with what audiences, the server alone knows. What every issuer must keep to is judged.
    fn judge_foreign(&mut self) {
        let issuer = self.text("iss").unwrap_or_default();
        self.found(
            Verdict::Note,
            format!(
                "of {issuer}, which is not this server: its key and its audience are not judged here. An application takes it if \
                 --trusted-issuers lists the issuer and aud; sts.googleapis.com/v1/token exchanges it if a provider of a workload \
                 identity pool has the issuer (`doorward workload-identity-provider list --pool POOL`)"
            ),
        );
        self.judge_times(LONGEST_LIFE, "24 hours");
    }

    fn judge_signature(&mut self, token: Unverified<'_>, keys: &Result<VerifyingKeys, String>) {
        let kid = token.kid().unwrap_or_default().to_owned();
        match keys {
            Err(cause) => self.found(Verdict::Note, format!("the signature was not checked: {cause}")),
            Ok(keys) => match keys.find(&kid) {
                None => self.bad(format!("no key {kid:?} is published: it was replaced, or is another server's")),
                Some(key) => match token.verify(key) {
                    Ok(_) => self.good(format!("signed by key {kid}")),
                    Err(_) => self.bad(format!("the signature is not of key {kid}")),
                },
            },
        }
    }

    fn judge_times(&mut self, longest: Duration, in_words: &str) {
        let (Some(issued), Some(expires)) = (self.seconds("iat"), self.seconds("exp")) else {
            return self.bad("iat and exp must be whole numbers of seconds");
        };
        let skew = i64::try_from(CLOCK_SKEW.as_secs()).unwrap_or(0);
        let longest = i64::try_from(longest.as_secs()).unwrap_or(0);
        let now = self.now.seconds();
        if now >= expires.saturating_add(skew) {
            self.bad(format!("expired {}", distance(expires, now)));
        } else if issued.saturating_sub(skew) > now {
            self.bad(format!("issued {}: is the clock of this machine right?", distance(issued, now)));
        } else {
            self.good(format!("expires {}", distance(expires, now)));
        }
        if expires.saturating_sub(issued) > longest {
            self.bad(format!("exp is more than {in_words} after iat"));
        }
    }

    fn judge_email(&mut self) {
        match self.claims.get("email") {
            Some(Value::String(email)) => self.good(format!("email is {email}")),
            Some(_) => self.bad("email is not a text"),
            None => self.found(
                Verdict::Note,
                "no email: Google's IAP refuses it (401); `doorward dev` finds the account by sub, unless it was started with \
                 --email-claim required",
            ),
        }
        if self.claims.get("email_verified").is_some_and(|verified| *verified != Value::Bool(true)) {
            self.bad("email_verified is not true");
        }
    }

    fn judge_client(&mut self, known: &Known<'_>) -> Vec<AppName> {
        let Some(audience) = self.text("aud") else {
            self.bad("aud is not a text");
            return Vec::new();
        };
        let mut fits = Vec::new();
        for app in AppName::ALL {
            let name = app.name();
            let listed =
                known.programmatic_clients.iter().any(|(at, clients)| *at == app && clients.contains(&audience));
            if app.of(known.world).client_id == audience {
                self.good(format!("aud is the client of {name}"));
                fits.push(app);
            } else if listed {
                self.good(format!("aud is a programmatic client of {name}"));
                fits.push(app);
            }
        }
        let clients = &known.world.oauth_clients;
        if fits.is_empty() {
            let ours = clients.iter().find(|(_, client)| client.client_id == audience).map(|(name, _)| name);
            self.bad(match ours {
                Some(name) => format!(
                    "aud is the client {name:?}, which no application lists: ask with the application's client id as audience, or \
                     `doorward settings set --app app --programmatic-client {name}`"
                ),
                None => format!("aud is no client of an application: {} is app's", known.world.app.client_id),
            });
        }
        fits
    }

    /// Spec: <https://cloud.google.com/iap/docs/authentication-howto>, "Authenticating with a self-signed JWT".
    fn judge_url(&mut self, world: &Description) -> Vec<AppName> {
        if self.text("iss") != self.text("sub") {
            self.bad("iss and sub must both be the account's address");
        }
        let audience = self.text("aud").unwrap_or_default();
        match addressed(world, &audience) {
            None => {
                self.bad(format!("aud is no address of an application: {}/* opens app", world.app.url));
                Vec::new()
            }
            Some(found) if found.rest.is_empty() || found.rest.starts_with(['?', '#']) => {
                self.bad(format!("aud has no path: {}/* opens everything of {}", found.origin, found.app.name()));
                Vec::new()
            }
            Some(found) => {
                match audience.strip_suffix("/*") {
                    Some(prefix) => self.good(format!("aud opens every address under {prefix}/")),
                    None => self.good(format!("aud opens {audience}, and no other address")),
                }
                vec![found.app]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::entropy::generate_private_key;
    use doorward_wire::jose::SigningKey;
    use serde_json::json;

    use crate::world::tests::description;

    pub(in crate::explain) const APP: &str = "123-app.apps.googleusercontent.com";
    const DESKTOP: &str = "123-desktop.apps.googleusercontent.com";
    const ROBOT: &str = "robot@p.iam.gserviceaccount.com";
    pub(in crate::explain) const NOW: i64 = 1_795_640_000;

    pub(in crate::explain) struct Keys {
        pub(in crate::explain) rsa: SigningKey,
        other_rsa: SigningKey,
        p256: SigningKey,
    }

    pub(in crate::explain) fn keys() -> Keys {
        let key =
            |algorithm, kid| SigningKey::from_pkcs8(kid, algorithm, &generate_private_key(algorithm).unwrap()).unwrap();
        Keys {
            rsa: key(Algorithm::Rs256, "k"),
            other_rsa: key(Algorithm::Rs256, "k"),
            p256: key(Algorithm::Es256, "e"),
        }
    }

    fn with(claims: &Value, changes: Value) -> Map<String, Value> {
        let mut claims = claims.as_object().unwrap().clone();
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Value::Null => drop(claims.remove(name)),
                value => drop(claims.insert(name.clone(), value.clone())),
            }
        }
        claims
    }

    pub(in crate::explain) fn explained(token: &str, key: Option<&SigningKey>, desktop_is_listed: bool) -> Explanation {
        let world: Description = serde_json::from_value(description("http://127.0.0.1:8081")).unwrap();
        let clients = if desktop_is_listed { vec![DESKTOP.to_owned()] } else { Vec::new() };
        let known = Known {
            world: &world,
            now: Timestamp::from_seconds(NOW),
            keys: match key {
                Some(key) => Ok(VerifyingKeys::from_jwks(&[key.public_jwk()]).unwrap()),
                None => Err("nobody answered".to_owned()),
            },
            programmatic_clients: vec![(AppName::App, clients)],
        };
        explain(token, &known)
    }

    /// The findings that are not good, each with its verdict.
    fn blemishes(explanation: &Explanation) -> String {
        let blemishes = explanation.findings.iter().filter(|finding| finding.verdict != Verdict::Good);
        blemishes.map(|finding| format!("{:?}: {}", finding.verdict, finding.text)).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn an_id_token_is_judged_by_issuer_key_audience_time_and_email() {
        let keys = keys();
        let base = json!({
            "iss": ISSUER, "aud": APP, "azp": ROBOT, "sub": "1", "email": ROBOT, "email_verified": true,
            "iat": NOW - 60, "exp": NOW + 3540,
        });
        let (app, nobody): (&[&str], &[&str]) = (&["app"], &[]);
        #[rustfmt::skip]
        let cases = [
            (json!({}),                                       app,    ""),
            (json!({"exp": NOW - 29}),                        app,    ""),
            (json!({"email": null, "email_verified": null}),  app,    "Note: no email: Google's IAP refuses it (401)"),
            (json!({"aud": "123-other-app.apps.googleusercontent.com"}), &["other_app"][..], ""),
            (json!({"iss": "accounts.google.com"}),           nobody, "Bad: iss is not https://accounts.google.com"),
            (json!({"iss": "http://127.0.0.1:8081"}),         nobody, "Bad: iss is not https://accounts.google.com"),
            (json!({"iss": null}),                            nobody, "Bad: iss is not https://accounts.google.com"),
            (json!({"exp": NOW - 3600, "iat": NOW - 7200}),   nobody, "Bad: expired 60 minutes ago"),
            (json!({"iat": NOW + 300}),                       nobody, "Bad: issued in 5 minutes: is the clock"),
            (json!({"exp": NOW + 7200}),                      nobody, "Bad: exp is more than an hour after iat"),
            (json!({"exp": "1"}),                             nobody, "Bad: iat and exp must be whole numbers"),
            (json!({"email": 1}),                             nobody, "Bad: email is not a text"),
            (json!({"email_verified": false}),                nobody, "Bad: email_verified is not true"),
            (json!({"aud": DESKTOP}),                         nobody, "Bad: aud is the client \"desktop\", which no application lists"),
            (json!({"aud": "x"}),                             nobody, "Bad: aud is no client of an application: 123-app"),
            (json!({"aud": [APP]}),                           nobody, "Bad: aud is not a text"),
        ];
        for (changes, accepted, expected) in cases {
            let token = keys.rsa.sign(&with(&base, changes.clone())).unwrap();
            let explanation = explained(&token, Some(&keys.rsa), false);
            assert_eq!(explanation.accepted_by.as_deref(), Some(accepted), "{changes}");
            let blemishes = blemishes(&explanation);
            assert!(
                blemishes.starts_with(expected) && blemishes.is_empty() == expected.is_empty(),
                "{changes}: {blemishes}"
            );
        }
        let token = keys.rsa.sign(&with(&base, json!({"aud": DESKTOP}))).unwrap();
        assert_eq!(explained(&token, Some(&keys.rsa), true).accepted_by.as_deref(), Some(app), "a listed client");

        let token = keys.rsa.sign(base.as_object().unwrap()).unwrap();
        #[rustfmt::skip]
        let signatures = [
            (None,                  app,    "Note: the signature was not checked: nobody answered"),
            (Some(&keys.other_rsa), nobody, "Bad: the signature is not of key k"),
            (Some(&keys.p256),      nobody, "Bad: no key \"k\" is published"),
        ];
        for (key, accepted, expected) in signatures {
            let explanation = explained(&token, key, false);
            assert_eq!(explanation.accepted_by.as_deref(), Some(accepted));
            assert!(blemishes(&explanation).starts_with(expected), "{}", blemishes(&explanation));
        }
    }

    #[test]
    fn a_jwt_that_an_account_signed_itself_opens_an_address_or_all_below_it() {
        let keys = keys();
        let base = json!({"iss": ROBOT, "sub": ROBOT, "iat": NOW, "exp": NOW + 3600, "aud": "http://127.0.0.1:8080/*"});
        #[rustfmt::skip]
        let cases = [
            (json!({}),                                       "",   "aud opens every address under http://127.0.0.1:8080/"),
            (json!({"aud": "http://127.0.0.1:8080/a/*"}),     "",   "aud opens every address under http://127.0.0.1:8080/a/"),
            (json!({"aud": "https://127.0.0.1:8443/a"}),      "",   "aud opens https://127.0.0.1:8443/a, and no other address"),
            (json!({"aud": "http://127.0.0.1:8080"}),         "aud has no path: http://127.0.0.1:8080/* opens everything of app", ""),
            (json!({"aud": "http://evil.example/*"}),         "aud is no address of an application: http://127.0.0.1:8080/* opens app", ""),
            (json!({"aud": null}),                            "aud is no address of an application", ""),
            (json!({"sub": "1"}),                             "iss and sub must both be the account's address", ""),
        ];
        for (changes, bad, good) in cases {
            let token = keys.rsa.sign(&with(&base, changes.clone())).unwrap();
            assert_eq!(self_signer(&token).as_deref(), Some(ROBOT));
            let explanation = explained(&token, Some(&keys.rsa), false);
            assert_eq!(explanation.accepted_by.as_deref().is_some_and(<[_]>::is_empty), !bad.is_empty(), "{changes}");
            let told = |verdict, text: &str| {
                explanation.findings.iter().any(|finding| finding.verdict == verdict && finding.text.starts_with(text))
            };
            assert!(bad.is_empty() || told(Verdict::Bad, bad), "{changes}: {:?}", explanation.findings);
            assert!(good.is_empty() || told(Verdict::Good, good), "{changes}: {:?}", explanation.findings);
        }
    }

    #[test]
    fn a_token_of_another_issuer_is_judged_only_by_what_every_issuer_must_keep_to() {
        let keys = keys();
        let base = json!({"iss": "https://ci.example", "aud": "x", "sub": "1", "iat": NOW, "exp": NOW + 86_400});
        #[rustfmt::skip]
        let cases = [
            (json!({}),                      None,             "Note: of https://ci.example, which is not this server"),
            (json!({"exp": NOW + 86_401}),   Some(Vec::new()), "after iat"),
            (json!({"exp": NOW - 60, "iat": NOW - 120}), Some(Vec::new()), "Bad: expired 60 seconds ago"),
            (json!({"exp": null}),           Some(Vec::new()), "Bad: iat and exp must be"),
        ];
        for key in [&keys.rsa, &keys.p256] {
            for (changes, accepted, expected) in &cases {
                let token = key.sign(&with(&base, changes.clone())).unwrap();
                let explanation = explained(&token, Some(&keys.rsa), false);
                assert_eq!(&explanation.accepted_by, accepted, "{changes}");
                assert!(blemishes(&explanation).contains(expected), "{changes}: {}", blemishes(&explanation));
                let no_verdict = "Whether an application accepts it is not known here.\n";
                assert_eq!(explanation.shown().ends_with(no_verdict), accepted.is_none(), "{changes}");
            }
        }
    }

    #[test]
    fn what_is_no_credential_for_an_application_is_named() {
        let keys = keys();
        let assertion = json!({"iss": ASSERTION_ISSUER, "aud": "/projects/1/global/backendServices/app"});
        let assertion = keys.p256.sign(assertion.as_object().unwrap()).unwrap();
        let none = format!("{}.e30.", doorward_wire::jose::encode_base64url(br#"{"alg":"none"}"#));
        #[rustfmt::skip]
        let cases = [
            (assertion,                     "the signed header that an application receives"),
            (keys.p256.sign(&Map::new()).unwrap(), "ES256: an ID token, and a JWT that an account signed, is RS256"),
            ("doorward_at_x".to_owned(),    "an access token, which opens Google's APIs: an application takes ID tokens"),
            ("doorward_rt_x".to_owned(),    "a refresh token"),
            ("doorward_ac_x".to_owned(),    "an authorization code"),
            ("doorward_dc_x".to_owned(),    "a device code"),
            ("doorward_cs_x".to_owned(),    "the secret of a client"),
            ("doorward_admin_x".to_owned(), "the admin token"),
            (String::new(),                 "no token (not three parts of canonical base64url): was all of it copied?"),
            ("hello".to_owned(),            "no token (not three parts"),
            ("a.b".to_owned(),              "no token (not three parts"),
            ("e30.e30.*".to_owned(),        "no token (not three parts"),
            ("YQ.YQ.YQ".to_owned(),         "no token (header or payload: "),
            (none,                          "algorithm is not allowed here"),
            ("a".repeat(TOKEN_LIMIT + 1),       "token is longer than"),
        ];
        for (token, expected) in cases {
            let explanation = explained(&token, None, false);
            assert_eq!(explanation.accepted_by, Some(Vec::new()));
            assert!(explanation.findings[0].text.starts_with(expected), "{token}: {:?}", explanation.findings);
        }
        assert_eq!(self_signer("x"), None);
    }
}
