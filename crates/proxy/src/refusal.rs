//! What a refused caller is told: one match for the cause in the record, one for the answer.
//!
//! Status, sentence and content type are Google's. Beside them, in headers that Google does not use, stands what the
//! caller can act on. To a caller who is not proven these say only what they could read in their own token, and the
//! documented fix: never whether an account or key exists, and nothing of a policy.

use std::sync::Arc;

use doorward_core::audit::Reason;
use doorward_core::entropy::Entropy;
use doorward_core::keys::KeyError;
use doorward_core::member::Member;
use doorward_core::outbound::IssuerKeysError;
use doorward_core::resource::{Application, ClientId, Origin, Route};
use doorward_core::self_signed::SelfSignedError;
use doorward_core::snapshot::{ProtectedResource, Snapshot};
use doorward_wire::headers::{DOORWARD_DECISION_ID, DOORWARD_FIX, DOORWARD_REASON, IAP_GENERATED_RESPONSE};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};

use crate::authenticate::{Caller, ForeignTokenError, TokenError};
use crate::body::ProxyBody;
use crate::denied::Denial;
use crate::describe::description_url;
use crate::pipeline::Config;
use crate::record::Trace;
use crate::sign_in::SignIn;

/// Why a request was not forwarded, or its answer did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("no application is served at this host")]
    NoSuchResource,
    #[error("a credential field occurs more than once")]
    AmbiguousCredential,
    #[error("no credential")]
    SignInRequired { resource: Arc<ProtectedResource>, place: Box<Route>, invalid_proxy_authorization: bool },
    #[error("{error}")]
    BadCredential { error: TokenError, resource: Arc<ProtectedResource>, place: Box<Route> },
    #[error("the keys of {entry}: {cause}")]
    KeysUnavailable { entry: String, cause: IssuerKeysError },
    #[error("{0}")]
    AccessDenied(Box<Denial>),
    #[error(
        "IAP is disabled for {application}, so nobody is let in: switch it on with `gcloud iap web enable`, or by its iap_enabled, \
         and whom the policy admits gets in"
    )]
    IapDisabled { application: String },
    #[error("the store could not be read for too long, so what was revoked meanwhile is not known")]
    StaleGrants,
    #[error("the signed header could not be made: {0}")]
    CannotSign(KeyError),
    #[error(transparent)]
    Upstream(#[from] UpstreamFailure),
    #[error("the record of decisions cannot be written")]
    CannotRecord,
}

/// Why a request is not one that two readers must read alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("the method is not forwarded")]
    Method,
    #[error("Transfer-Encoding is not `chunked`")]
    TransferEncoding,
    #[error("Host is missing, repeated, not a host, or another one than the target's")]
    Host,
    #[error("{0}")]
    Path(&'static str),
    #[error("two readers would find two applications at the path")]
    Application,
}

/// Why the application gave no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamFailure {
    #[error("no address is configured for the application")]
    NotConfigured,
    #[error("not an address of an application: {0:?}")]
    BadAddress(String),
    #[error("the certificates that this machine trusts could not be read: {0}")]
    Trust(rustls::Error),
    #[error("no connection to {address}: {cause}")]
    Unreachable { address: String, cause: std::io::Error },
    #[error("{address} is at a link-local address or at the metadata server of a cloud, where no application is")]
    Forbidden { address: String },
    #[error("no answer in time")]
    TimedOut,
    #[error("the exchange broke off: {0}")]
    Broken(hyper::Error),
    #[error("the application switched protocols without being asked")]
    UnexpectedUpgrade,
}

/// What is told.
pub(crate) struct Told {
    pub(crate) status: StatusCode,
    pub(crate) reason: Reason,
    pub(crate) sentence: String,
    pub(crate) fix: String,
}

/// What an answer is made with.
pub(crate) struct Reply<'a> {
    pub(crate) config: &'a Config,
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) entropy: &'a dyn Entropy,
}

const PREFIX: &str = "Invalid IAP credentials: ";

impl Refusal {
    /// The answer, and the cause in the trace.
    pub(crate) fn into_response(self, trace: &mut Trace, reply: &Reply<'_>) -> Response<ProxyBody> {
        let told = self.told();
        let (denial, redirect) = match &self {
            Refusal::AccessDenied(denial) => (Some(denial), None),
            Refusal::SignInRequired { resource, place, .. } if trace.wants_page => {
                let sign_in = SignIn { config: reply.config, keys: &reply.snapshot.keys, entropy: reply.entropy };
                (None, sign_in.redirect(resource, &place.origin, &trace.origin_uri(&place.origin), trace.now()))
            }
            Refusal::SignInRequired { .. }
            | Refusal::Malformed(_)
            | Refusal::NoSuchResource
            | Refusal::AmbiguousCredential
            | Refusal::BadCredential { .. }
            | Refusal::KeysUnavailable { .. }
            | Refusal::IapDisabled { .. }
            | Refusal::StaleGrants
            | Refusal::CannotSign(_)
            | Refusal::Upstream(_)
            | Refusal::CannotRecord => (None, None),
        };
        trace.refused(told.reason, self.to_string(), denial.and_then(|denial| denial.denied_by()));
        let mut response = match denial {
            Some(denial) => denial.response(&told, trace, reply),
            None => sentence(&told),
        };
        if redirect.is_some() {
            *response.status_mut() = StatusCode::FOUND;
        }
        if trace.is_head {
            // Google answers HEAD with an explicit length of zero.
            *response.body_mut() = ProxyBody::empty();
        }
        let status = response.status();
        let headers = response.headers_mut();
        headers.insert(IAP_GENERATED_RESPONSE, HeaderValue::from_static("true"));
        headers.insert(DOORWARD_REASON, HeaderValue::from_static(told.reason.code()));
        for (name, value) in [(DOORWARD_FIX, told.fix.as_str()), (DOORWARD_DECISION_ID, trace.id())] {
            // A decision that could not be recorded has no id that leads anywhere.
            if let Ok(value) = HeaderValue::from_str(value)
                && !value.is_empty()
            {
                headers.insert(name, value);
            }
        }
        if trace.is_head {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, self.challenge());
        }
        if let Some(redirect) = redirect {
            headers.insert(LOCATION, redirect.location);
            headers.insert(SET_COOKIE, redirect.nonce_cookie);
        }
        response
    }

    /// What a 401 asks for, and where to read how to get it (RFC 6750 section 3, RFC 9728 section 5.1).
    fn challenge(&self) -> HeaderValue {
        let challenge = match self {
            Refusal::SignInRequired { place, .. } => {
                format!("Bearer resource_metadata=\"{}\"", description_url(place))
            }
            Refusal::BadCredential { place, .. } => {
                format!("Bearer error=\"invalid_token\", resource_metadata=\"{}\"", description_url(place))
            }
            Refusal::Malformed(_)
            | Refusal::NoSuchResource
            | Refusal::AmbiguousCredential
            | Refusal::KeysUnavailable { .. }
            | Refusal::AccessDenied(_)
            | Refusal::IapDisabled { .. }
            | Refusal::StaleGrants
            | Refusal::CannotSign(_)
            | Refusal::Upstream(_)
            | Refusal::CannotRecord => "Bearer".to_owned(),
        };
        // Host and prefix hold visible ASCII without quotes, so a place always fits.
        HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Bearer"))
    }

    /// Status, code, Google's sentence, and what to do: the whole mapping.
    fn told(&self) -> Told {
        use Refusal as R;
        let told = |status, reason, sentence: &str, fix: &str| Told {
            status,
            reason,
            sentence: sentence.to_owned(),
            fix: fix.to_owned(),
        };
        match self {
            R::Malformed(malformed) => {
                let (reason, fix) = match malformed {
                    Malformed::Method => {
                        (Reason::BadRequest, "Use a method of at most 32 capital letters that is not CONNECT or TRACE.")
                    }
                    Malformed::TransferEncoding => {
                        (Reason::BadRequest, "Send the body with Content-Length or chunked.")
                    }
                    Malformed::Host => (Reason::BadHost, "Send one Host field that names the application."),
                    Malformed::Path(_) | Malformed::Application => {
                        (Reason::BadPath, "Send the path without ambiguous encodings.")
                    }
                };
                told(StatusCode::BAD_REQUEST, reason, &format!("Bad Request: {malformed}."), fix)
            }
            R::NoSuchResource => told(
                StatusCode::MISDIRECTED_REQUEST,
                Reason::NoSuchResource,
                "No application is served at this host.",
                "Use the URL of the application as it is configured, with its host and port.",
            ),
            R::AmbiguousCredential => told(
                StatusCode::BAD_REQUEST,
                Reason::AmbiguousCredential,
                "Bad Request: a credential field occurs more than once.",
                "Send one Authorization field and at most one Proxy-Authorization field.",
            ),
            R::SignInRequired { invalid_proxy_authorization, .. } => {
                let fix = if *invalid_proxy_authorization {
                    "The token in Proxy-Authorization is not valid here and was passed over: send a valid ID token."
                } else {
                    "Send an ID token whose aud is the application's OAuth client id in Authorization: Bearer."
                };
                told(StatusCode::UNAUTHORIZED, Reason::NoCredential, &format!("{PREFIX}empty token"), fix)
            }
            R::BadCredential { error, resource, place } => bad_credential(error, resource, &place.origin),
            R::KeysUnavailable { .. } => told(
                StatusCode::SERVICE_UNAVAILABLE,
                Reason::KeysUnavailable,
                "The keys of the token's issuer cannot be fetched, so it is not known whether the token is valid.",
                "The keys of this token's issuer cannot be fetched now. Try again; the operator finds the cause in the \
                 record.",
            ),
            R::AccessDenied(denial) => {
                let (application, caller) = (denial.resource.application.name.as_str(), &denial.proven.caller);
                let (reason, fix) = match &denial.rule {
                    None => (Reason::PermissionDenied, access_fix(caller, application)),
                    Some(_) => (
                        Reason::DeniedByRule,
                        "A rule forbids this, whatever role you hold: ask the operator. The decision id leads to the rule."
                            .to_owned(),
                    ),
                };
                told(
                    StatusCode::FORBIDDEN,
                    reason,
                    &format!("{application}: Access denied. For user {}.", html_escaped(&caller.shown())),
                    &fix,
                )
            }
            // To strangers as well: nothing of the application, and nothing of why.
            R::IapDisabled { .. } => told(
                StatusCode::SERVICE_UNAVAILABLE,
                Reason::IapDisabled,
                "The application is not available.",
                "Ask the operator; the decision id leads to the cause.",
            ),
            R::StaleGrants => told(
                StatusCode::SERVICE_UNAVAILABLE,
                Reason::StaleGrants,
                "It is not known whether what was granted still holds, so no request is let through.",
                "Try again later; the operator finds the cause in the server's log.",
            ),
            R::CannotSign(_) => told(
                StatusCode::INTERNAL_SERVER_ERROR,
                Reason::CannotSign,
                "The request could not be signed for the application.",
                "Tell the operator; the decision id leads to the cause.",
            ),
            R::CannotRecord => told(
                StatusCode::SERVICE_UNAVAILABLE,
                Reason::CannotRecord,
                "Decisions cannot be recorded, so no request is let through.",
                "Try again later; the operator finds the cause in the server's log.",
            ),
            R::Upstream(failure) => {
                let status = match failure {
                    UpstreamFailure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
                    UpstreamFailure::NotConfigured
                    | UpstreamFailure::BadAddress(_)
                    | UpstreamFailure::Trust(_)
                    | UpstreamFailure::Unreachable { .. }
                    | UpstreamFailure::Forbidden { .. }
                    | UpstreamFailure::Broken(_)
                    | UpstreamFailure::UnexpectedUpgrade => StatusCode::BAD_GATEWAY,
                };
                told(
                    status,
                    Reason::UpstreamFailed,
                    "The application did not answer.",
                    "Start the application, or correct the address at which it is looked for: `to` in the file of the server, or \
                     --to of doorward app update or doorward dev. With doorward run, the application runs on the machine, outside of \
                     run.",
                )
            }
        }
    }
}

/// To whom a signature tells nothing: a token of ours that was spoilt, or one of an issuer that means nothing to an application.
const SIGNATURE_FIX: &str = "Get a new ID token from Doorward's token endpoint; a token of another issuer is exchanged at \
                             sts.googleapis.com/v1/token, or its issuer is listed with --trusted-issuers.";

/// The sentences of Google's that clients parse, each for its cause.
fn bad_credential(error: &TokenError, resource: &ProtectedResource, origin: &Origin) -> Told {
    let Application { name: application, client_id: expected, .. } = &*resource.application;
    const ID_TOKEN: &str = "Send an ID token whose aud is the application's OAuth client id";
    const CLAIMS: &str = "JWT claims are not valid";
    use SelfSignedError as S;
    use TokenError as E;
    let (reason, sentence, fix) = match error {
        E::TooLarge => (
            Reason::TokenTooLarge,
            "Unable to parse JWT".to_owned(),
            "Send the token alone: ID tokens are shorter than 16 KiB.".to_owned(),
        ),
        E::AccessToken => (
            Reason::WrongTokenKind,
            "Unable to parse JWT".to_owned(),
            format!("This is an access token, which is for APIs. {ID_TOKEN} (target_audience instead of scope)."),
        ),
        E::NotAJwt => {
            (Reason::InvalidToken, "Unable to parse JWT".to_owned(), format!("{ID_TOKEN}: this is not a JWT."))
        }
        E::Algorithm => (
            Reason::JwtAlg,
            "JWT signature is invalid".to_owned(),
            "Send an ID token of Doorward's: they are signed with RS256. A token of another issuer is exchanged at \
             sts.googleapis.com/v1/token, or its issuer is listed with --trusted-issuers."
                .to_owned(),
        ),
        E::Assertion => (
            Reason::WrongTokenKind,
            "JWT signature is invalid".to_owned(),
            format!("This is the signed header that an application receives, and no credential. {ID_TOKEN}."),
        ),
        E::AccountSignature | E::SelfSigned(S::Signature) => (
            Reason::InvalidToken,
            "JWT signature is invalid".to_owned(),
            "Sign with a key of the service account that iss names, and send its id as kid; or send an ID token."
                .to_owned(),
        ),
        E::SelfSigned(S::Claims) => (
            Reason::InvalidToken,
            CLAIMS.to_owned(),
            "Sign a JWT whose iss, sub and aud are strings and whose iat and exp are whole seconds.".to_owned(),
        ),
        E::SelfSigned(S::TooLong(_)) => (
            Reason::InvalidToken,
            CLAIMS.to_owned(),
            "Sign a JWT whose exp is at most 3600 seconds after its iat.".to_owned(),
        ),
        E::SelfSigned(S::Account) => (
            Reason::InvalidToken,
            CLAIMS.to_owned(),
            "Sign with a key of an enabled service account, whose address is both iss and sub.".to_owned(),
        ),
        E::ForExchange => (
            Reason::WrongTokenKind,
            CLAIMS.to_owned(),
            format!(
                "This JWT is for the token endpoint or an API: exchange it there for an ID token, or sign one with the aud \
                 {origin}/* and without target_audience and scope."
            ),
        ),
        E::Url(_) => (
            Reason::WrongAudience,
            "Audience specified does not match requested endpoint".to_owned(),
            format!(
                "Sign a JWT whose aud is the URL without its query, {origin}/PATH, or a prefix of it, {origin}/*, spelled \
                 like this."
            ),
        ),
        E::Foreign { issuer: _, error } => return foreign_credential(error),
        E::Signature => (Reason::InvalidToken, "JWT signature is invalid".to_owned(), SIGNATURE_FIX.to_owned()),
        E::Claims => {
            (Reason::InvalidToken, CLAIMS.to_owned(), "Get a new ID token from Doorward's token endpoint.".to_owned())
        }
        E::Expired(at) | E::SelfSigned(S::Expired(at)) => (
            Reason::ExpiredToken,
            "Expired JWT".to_owned(),
            format!("Get a new token: exp is {}.", doorward_wire::time::rfc3339(*at)),
        ),
        E::NotYetValid(at) | E::SelfSigned(S::NotYetValid(at)) => (
            Reason::TokenNotYetValid,
            "JWT is not yet valid".to_owned(),
            format!("Set the clocks right: the token is valid from {}.", doorward_wire::time::rfc3339(*at)),
        ),
        E::Audience(audience) => {
            (Reason::WrongAudience, audience_sentence(audience, expected), format!("{}.", ask_for(expected)))
        }
        E::OwnClient(client) => (
            Reason::WrongAudience,
            audience_sentence(client, expected),
            client_fix(client, application.as_str(), expected),
        ),
        E::EmailMissing => (
            Reason::MissingEmail,
            "JWT 'email' claim isn't a string".to_owned(),
            "Ask for the token with its e-mail: includeEmail, or format=full at the metadata server.".to_owned(),
        ),
    };
    Told { status: StatusCode::UNAUTHORIZED, reason, sentence: format!("{PREFIX}{sentence}"), fix }
}

/// The same for a token of a trusted issuer. What its bearer may get, they get there and not here.
fn foreign_credential(error: &ForeignTokenError) -> Told {
    use ForeignTokenError as E;
    const CLAIMS: &str = "JWT claims are not valid";
    let (reason, sentence, fix) = match error {
        // The words for a token of an issuer that is not trusted: who is, need not be told here.
        E::Signature => (Reason::InvalidToken, "JWT signature is invalid", SIGNATURE_FIX),
        E::Kind => (
            Reason::WrongTokenKind,
            CLAIMS,
            "Send an ID token of this issuer: the header of this one says in typ that it is of another kind.",
        ),
        E::Event => (
            Reason::WrongTokenKind,
            CLAIMS,
            "Send an ID token of this issuer: this one has events, so it is a logout token or another security event.",
        ),
        E::Claims => (
            Reason::InvalidToken,
            CLAIMS,
            "Get an ID token of this issuer that has iss, and iat and exp in whole seconds.",
        ),
        E::TooLong(_) => (
            Reason::InvalidToken,
            CLAIMS,
            "Get an ID token of this issuer whose exp is at most 86400 seconds after its iat.",
        ),
        E::AudienceMissing => (
            Reason::InvalidToken,
            CLAIMS,
            "Get an ID token of this issuer whose aud is a string, or a list of strings.",
        ),
        E::Subject => (
            Reason::InvalidToken,
            CLAIMS,
            "Get an ID token of this issuer whose sub is 1 to 255 visible ASCII characters, without a space at its ends.",
        ),
        E::Groups => (
            Reason::InvalidToken,
            CLAIMS,
            "Get an ID token of this issuer whose claim of groups is a list of at most 400 names.",
        ),
        // Without the expected value: clients would ask for the application's client id, which this issuer need not know.
        E::Audience(_) => (
            Reason::WrongAudience,
            "JWT audience doesn't match this application",
            "Ask the token's issuer for an audience that the operator listed for it.",
        ),
        E::AuthorizedParty(_) => (
            Reason::WrongAudience,
            "JWT audience doesn't match this application",
            "Ask the token's issuer for a token with one audience, or one whose azp is an audience that the operator listed.",
        ),
    };
    let (sentence, fix) = (format!("{PREFIX}{sentence}"), fix.to_owned());
    Told { status: StatusCode::UNAUTHORIZED, reason, sentence, fix }
}

/// How a caller who holds no role is let in.
fn access_fix(caller: &Caller, application: &str) -> String {
    let ask = "Ask for roles/iap.httpsResourceAccessor on this application";
    let member = caller.member();
    match caller {
        Caller::Account(_) => format!("{ask} for {member}."),
        // Nobody knows such a name by heart, so it is told how it is given. A subject may hold any visible character, and an
        // operator copies this into a shell.
        Caller::Foreign(foreign) => {
            let address = foreign.members.iter().find(|member| matches!(member, Member::User(_)));
            let or = address.map_or_else(String::new, |address| format!(", for this member or for {address}"));
            format!("{ask}{or}: doorward policy add --app {application} --member {}", shell_quoted(&member))
        }
    }
}

/// One word to a POSIX shell, whatever it holds.
fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Public clients read the right client id out of this sentence and try again.
fn audience_sentence(audience: &str, expected: &ClientId) -> String {
    format!(
        "JWT audience doesn't match this application ('aud' claim ({}) doesn't match expected value ({}))",
        html_escaped(&doorward_core::audit::escaped(audience.as_bytes(), 256)),
        expected.0
    )
}

fn ask_for(expected: &ClientId) -> String {
    format!("Ask for an ID token with the audience {}", expected.0)
}

/// What to do about a token that a program has for its own client. One that signs people in, as gcloud does, cannot always ask for
/// another: then the application has to list that client. Only what has the form of a client id is repeated.
fn client_fix(client: &str, application: &str, expected: &ClientId) -> String {
    const LIMIT: usize = 128;
    let asked = ask_for(expected);
    let is_client = client.strip_suffix(".apps.googleusercontent.com").is_some_and(|name| {
        (1..LIMIT).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    });
    if is_client {
        format!(
            "{asked}; or, for people whose program cannot ask for one (gcloud), have its client listed: doorward settings set \
             --app {application} --programmatic-client {client}"
        )
    } else {
        format!("{asked}.")
    }
}

/// The whole answer in one sentence, as Google gives it.
pub(crate) fn sentence(told: &Told) -> Response<ProxyBody> {
    let mut response = Response::new(ProxyBody::text(told.sentence.clone()));
    *response.status_mut() = told.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    response
}

/// The sentences go out as HTML, as Google's do, and an audience is a text that its bearer chose.
pub(crate) fn html_escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authenticate::Authenticated;
    use crate::resolve::Site;
    use crate::testing::{CLIENT_ID, TestWorld, foreign, own_text, proven, shared, trace};
    use doorward_core::keys::KeyPurpose;
    use http::Method;
    use serde_json::Value;

    /// The answer to a request of this method: a page is wanted for `GET`.
    fn answer(world: &TestWorld, refusal: Refusal, method: &str) -> Response<ProxyBody> {
        let shared = shared(world);
        let mut trace = trace(&shared, method);
        let reply = Reply { config: &shared.config, snapshot: &world.snapshot, entropy: &*shared.entropy };
        refusal.into_response(&mut trace, &reply)
    }

    /// Nothing lets this caller in.
    fn denied(world: &TestWorld, caller: Caller) -> Refusal {
        let Authenticated::Caller { proven, .. } = proven(caller) else { panic!("a caller") };
        let Site { resource, origin, .. } = world.site();
        let origin = origin.clone();
        let (method, path) = (Method::GET, "/page".to_owned());
        Refusal::AccessDenied(Box::new(Denial { proven, resource, origin, method, path, rule: None, page: None }))
    }

    fn bad_token(world: &TestWorld, host: &str, error: TokenError) -> Refusal {
        let site = world.site_at(host);
        Refusal::BadCredential { error, resource: site.resource.clone(), place: site.route() }
    }

    #[test]
    fn a_self_signed_token_is_told_what_is_wrong_with_it_and_the_form_that_is_wanted() {
        use SelfSignedError as S;
        let world = TestWorld::new(&[]);
        let signed = TokenError::SelfSigned;
        #[rustfmt::skip]
        let cases = [
            (TokenError::Url("x".into()),   "wrong_audience",   "Audience specified does not match requested endpoint", "https://alias.test:8443/*"),
            (TokenError::ForExchange,       "wrong_token_kind", "JWT claims are not valid",                             "exchange it there"),
            (TokenError::ForExchange,       "wrong_token_kind", "JWT claims are not valid",                             "https://alias.test:8443/*"),
            (signed(S::TooLong(3601)),      "invalid_token",    "JWT claims are not valid",                             "3600 seconds"),
            (signed(S::Account),            "invalid_token",    "JWT claims are not valid",                             "iss and sub"),
            (signed(S::Claims),             "invalid_token",    "JWT claims are not valid",                             "whole seconds"),
            (TokenError::AccountSignature,  "invalid_token",    "JWT signature is invalid",                             "as kid"),
            (TokenError::Expired(0),        "expired_token",    "Expired JWT",                                          "1970-01-01"),
        ];
        for (error, reason, sentence, fix) in cases {
            let answer = answer(&world, bad_token(&world, "alias.test:8443", error), "GET");
            let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
            assert_eq!(answer.status(), 401);
            assert_eq!(header("x-doorward-reason"), reason);
            assert_eq!(own_text(answer.body()), format!("Invalid IAP credentials: {sentence}"));
            assert!(header("x-doorward-fix").contains(fix), "{}", header("x-doorward-fix"));
        }
    }

    #[test]
    fn a_foreign_token_is_told_what_its_bearer_can_do_and_not_whom_we_trust() {
        use ForeignTokenError as F;
        let world = TestWorld::new(&[]);
        let told = |error: TokenError| {
            let answer = answer(&world, bad_token(&world, "app.test", error), "POST");
            assert_eq!(answer.status(), 401);
            let header = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
            (header("x-doorward-reason"), header("x-doorward-fix"), own_text(answer.body()))
        };
        let of_corp = |error| TokenError::Foreign { issuer: "corp".parse().unwrap(), error };
        assert_eq!(told(of_corp(F::Signature)), told(TokenError::Signature), "as for an issuer that is not trusted");
        #[rustfmt::skip]
        let cases = [
            (F::Kind,                          "wrong_token_kind", "JWT claims are not valid",                  "in typ"),
            (F::Event,                         "wrong_token_kind", "JWT claims are not valid",                  "has events"),
            (F::Claims,                        "invalid_token",  "JWT claims are not valid",                    "whole seconds"),
            (F::TooLong(86_401),               "invalid_token",  "JWT claims are not valid",                    "86400 seconds"),
            (F::AudienceMissing,               "invalid_token",  "JWT claims are not valid",                    "whose aud"),
            (F::Groups,                        "invalid_token",  "JWT claims are not valid",                    "claim of groups"),
            (F::Subject,                       "invalid_token",  "JWT claims are not valid",                    "whose sub"),
            (F::Audience("<b>".to_owned()),    "wrong_audience", "JWT audience doesn't match this application", "the operator listed"),
            (F::AuthorizedParty("<b>".to_owned()), "wrong_audience", "JWT audience doesn't match this application", "whose azp"),
        ];
        for (error, reason, sentence, fix) in cases {
            let (told_reason, told_fix, text) = told(of_corp(error));
            assert_eq!((told_reason.as_str(), text), (reason, format!("Invalid IAP credentials: {sentence}")));
            assert!(told_fix.contains(fix), "{told_fix}");
            assert!(!told_fix.contains("corp"), "{told_fix}");
        }
    }

    #[test]
    fn keys_that_are_not_there_are_our_failure_and_the_cause_is_for_the_record() {
        use doorward_core::outbound::FetchError;
        let world = TestWorld::new(&[]);
        let cause = IssuerKeysError::Fetch { what: "the keys", cause: FetchError::Status(502) };
        let refusal = Refusal::KeysUnavailable { entry: "trustedIssuers/corp".to_owned(), cause };
        assert_eq!(
            refusal.to_string(),
            "the keys of trustedIssuers/corp: could not fetch the keys of the issuer: the answer has status 502"
        );
        let answer = answer(&world, refusal, "GET");
        assert_eq!(answer.status(), 503);
        assert_eq!(answer.headers()[DOORWARD_REASON], "keys_unavailable");
        assert_eq!(
            answer.headers()[DOORWARD_FIX],
            "The keys of this token's issuer cannot be fetched now. Try again; the operator finds the cause in the record."
        );
        assert_eq!(answer.headers().get(WWW_AUTHENTICATE), None);
        assert_eq!(
            own_text(answer.body()),
            "The keys of the token's issuer cannot be fetched, so it is not known whether the token is valid."
        );
    }

    #[test]
    fn a_foreign_caller_without_a_role_is_told_the_command_that_lets_them_in_as_one_word_to_a_shell() {
        let world = TestWorld::new(&[]);
        let corp = "principal://doorward/trustedIssuers/corp/subject/";
        // (sub, e-mail, who is refused, the member's word)
        #[rustfmt::skip]
        let cases = [
            ("1001",               None,                  format!("{corp}1001"),                             format!("'{corp}1001'")),
            ("1001",               Some("bob@corp.test"), "bob@corp.test".to_owned(),                        format!("'{corp}1001'")),
            ("1001",               Some("b&b@corp.test"), "b&amp;b@corp.test".to_owned(),                    format!("'{corp}1001'")),
            ("CN=Ann Lee",         None,                  format!("{corp}CN=Ann Lee"),                       format!("'{corp}CN=Ann Lee'")),
            ("<script>a</script>", None,                  format!("{corp}&lt;script&gt;a&lt;/script&gt;"),   format!("'{corp}<script>a</script>'")),
            ("'; reboot #",        None,                  format!("{corp}'; reboot #"),                      format!(r"'{corp}'\''; reboot #'")),
            ("$(reboot)`a`\\",     None,                  format!("{corp}$(reboot)`a`\\"),                   format!("'{corp}$(reboot)`a`\\'")),
        ];
        for (subject, email, shown, word) in cases {
            let answer = answer(&world, denied(&world, foreign("corp", subject, email)), "GET");
            assert_eq!(answer.status(), 403);
            assert_eq!(own_text(answer.body()), format!("app: Access denied. For user {shown}."));
            let fix = answer.headers()[DOORWARD_FIX].to_str().unwrap();
            let (ask, command) = fix.split_once(": ").unwrap();
            let or = email.map_or_else(String::new, |email| format!(", for this member or for user:{email}"));
            assert_eq!(ask, format!("Ask for roles/iap.httpsResourceAccessor on this application{or}"));
            assert_eq!(command, format!("doorward policy add --app app --member {word}"));
        }
    }

    #[test]
    fn a_token_for_another_client_is_told_that_the_client_can_be_listed() {
        let world = TestWorld::new(&[]);
        let listed = |audience: &str| {
            let error = TokenError::OwnClient(audience.to_owned());
            let answer = answer(&world, bad_token(&world, "app.test", error), "GET");
            let fix = answer.headers()["x-doorward-fix"].to_str().unwrap();
            let rest = fix.strip_prefix(&format!("Ask for an ID token with the audience {CLIENT_ID}")).unwrap();
            rest.split_once("doorward settings set --app app --programmatic-client ")
                .map(|(_, client)| client.to_owned())
        };
        #[rustfmt::skip]
        let cases = [
            ("32555940559.apps.googleusercontent.com",            true),
            ("1-x.apps.googleusercontent.com",                    true),
            (".apps.googleusercontent.com",                       false),
            ("a b.apps.googleusercontent.com",                    false),
            ("a\r\nx: y.apps.googleusercontent.com",              false),
            ("1-x.apps.googleusercontent.com.evil.example",       false),
            ("another",                                           false),
            ("",                                                  false),
        ];
        for (audience, is_listed) in cases {
            assert_eq!(listed(audience), is_listed.then(|| audience.to_owned()), "{audience:?}");
        }
        // A token that was asked for another application: to list that one's client would open this one to all of its tokens.
        let error = TokenError::Audience("1-x.apps.googleusercontent.com".to_owned());
        let answer = answer(&world, bad_token(&world, "app.test", error), "GET");
        assert_eq!(answer.headers()["x-doorward-fix"], format!("Ask for an ID token with the audience {CLIENT_ID}."));
    }

    #[test]
    fn a_401_names_the_description_at_the_configured_origin_and_no_other_answer_does() {
        let world = TestWorld::new(&[]);
        let nobody = |host: &str| {
            let site = world.site_at(host);
            let (resource, place) = (site.resource.clone(), site.route());
            Refusal::SignInRequired { resource, place, invalid_proxy_authorization: false }
        };
        let denied = || denied(&world, world.robot());
        const APP: &str = "resource_metadata=\"http://app.test/.well-known/oauth-protected-resource\"";
        const ALIAS: &str = "resource_metadata=\"https://alias.test:8443/.well-known/oauth-protected-resource\"";
        #[rustfmt::skip]
        let cases = [
            ("POST", nobody("app.test"),                                      401, Some(format!("Bearer {APP}"))),
            ("POST", nobody("APP.TEST.:80"),                                  401, Some(format!("Bearer {APP}"))),
            ("POST", nobody("alias.test:8443"),                               401, Some(format!("Bearer {ALIAS}"))),
            ("GET",  nobody("app.test"),                                      302, None),
            ("GET",  bad_token(&world, "app.test", TokenError::NotAJwt),      401, Some(format!("Bearer error=\"invalid_token\", {APP}"))),
            ("GET",  bad_token(&world, "alias.test:8443", TokenError::Claims), 401, Some(format!("Bearer error=\"invalid_token\", {ALIAS}"))),
            ("GET",  denied(),                                                403, None),
            ("GET",  Refusal::NoSuchResource,                                 421, None),
            ("GET",  Refusal::AmbiguousCredential,                            400, None),
        ];
        for (method, refusal, status, challenge) in cases {
            let named = format!("{refusal:?}");
            let answer = answer(&world, refusal, method);
            assert_eq!(answer.status(), status, "{named}");
            let sent = answer.headers().get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(sent, challenge, "{named}");
        }
    }

    #[test]
    fn sign_in_is_at_the_api_of_the_origins_scheme_and_leads_back_there_whatever_the_request_says_of_its_host() {
        let world = TestWorld::new(&[]);
        for (host, page, api) in [
            ("app.test", "http://app.test/page?q=1", "http://api.test"),
            ("alias.test:8443", "https://alias.test:8443/page?q=1", "https://api.test:8444"),
        ] {
            let site = world.site_at(host);
            let (resource, place) = (site.resource.clone(), site.route());
            let refusal = Refusal::SignInRequired { resource, place, invalid_proxy_authorization: false };
            let answer = answer(&world, refusal, "GET");
            let location = answer.headers()[LOCATION].to_str().unwrap();
            let (endpoint, query) = location.split_once('?').unwrap();
            let parameter = |wanted: &str| {
                form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == wanted).unwrap().1.into_owned()
            };
            assert_eq!(endpoint, format!("{api}/accounts.google.com/o/oauth2/v2/auth"));
            let back = format!("{api}/iap.googleapis.com/v1/oauth/clientIds/{CLIENT_ID}:handleRedirect");
            assert_eq!(parameter("redirect_uri"), back);
            let state = parameter("state");
            let now = doorward_core::clock::Timestamp::from_seconds(crate::testing::NOW);
            let state = world.snapshot.keys.open(KeyPurpose::SignInState, CLIENT_ID, &state, now).unwrap();
            assert_eq!(serde_json::from_slice::<Value>(&state).unwrap()["origin_uri"], page);
        }
    }
}
