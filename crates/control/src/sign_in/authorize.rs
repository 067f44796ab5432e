//! The authorization endpoint: what a client asks for a person, and where the answer goes.

use std::net::IpAddr;

use doorward_core::audit::{AuditClosed, TokenEvent, TokenMethod, TokenReason, escaped};
use doorward_core::client::OAuthClient;
use doorward_core::entropy::{EntropyError, random_base64url};
use doorward_core::grant::{CODE_PREFIX, CODE_TTL, CodeGrant, GrantId, PersonGrant, TokenHash};
use doorward_core::member::Email;
use doorward_core::resource::ClientId;
use doorward_core::store::StoreError;
use doorward_wire::oauth::{AuthorizeRequest, with_query};

use super::asked::{Asked, Denial, Prompt};
use super::{Person, SignIn, SignInError, Visitor};
use crate::record::Refused;
use crate::tokens::audience::{Audience, AudienceError};
use crate::tokens::client_name;

/// What is to be shown or done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorizeStep {
    /// The answer, good or bad: a URL of the client's.
    Redirect(String),
    /// A person must sign in.
    SignIn {
        /// The client's name for people.
        client_name: String,
        /// The address that is wanted, if the client said.
        email: Option<String>,
    },
    /// Several people are signed in, or the client wants the person to choose.
    Choose {
        /// The client's name for people.
        client_name: String,
        /// Those among whom to choose, or somebody else.
        people: Vec<Person>,
    },
}

/// Why a request is answered with a page. Nothing is sent anywhere: the address may be an attacker's.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizeError {
    /// There is no such client.
    #[error("client {0:?} is unknown")]
    UnknownClient(String),
    /// The client of an application: browser sessions are not built yet.
    #[error("client {0:?} is an application's own")]
    ApplicationClient(String),
    /// The redirect URI is missing, or not one of the client's.
    #[error("redirect URI {sent:?} is none of client {client:?}")]
    RedirectMismatch {
        /// The client.
        client: String,
        /// What was sent, escaped.
        sent: String,
    },
    /// The person signed in with an account of another domain than the client wants.
    #[error("the account is of another domain than {0:?}")]
    WrongDomain(String),
    /// The store failed.
    #[error("could not read clients or write codes")]
    Store(#[from] StoreError),
    /// Sessions could not be read.
    #[error(transparent)]
    SignIn(#[from] SignInError),
    /// No code could be made.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The record cannot be written.
    #[error(transparent)]
    AuditClosed(#[from] AuditClosed),
}

impl Refused for AuthorizeError {
    fn reason(&self) -> TokenReason {
        use AuthorizeError as E;
        match self {
            E::UnknownClient(_) | E::ApplicationClient(_) => TokenReason::InvalidClient,
            E::RedirectMismatch { .. } => TokenReason::RedirectMismatch,
            E::WrongDomain(_) => TokenReason::AccessDenied,
            E::SignIn(error) => error.reason(),
            E::Store(_) | E::Entropy(_) | E::AuditClosed(_) => TokenReason::Internal,
        }
    }
}

/// A client with the address to which its answer may go. Made by [`SignIn::recipient`] only, so nothing is sent anywhere else.
struct Recipient<'a> {
    client: OAuthClient,
    redirect_uri: &'a str,
    state: Option<&'a str>,
    issuer: &'a str,
}

/// Why a request is not answered with a code.
enum Stop {
    /// The client is told so.
    Denied(Denial),
    /// A page says so.
    Page(AuthorizeError),
}

impl<E: Into<AuthorizeError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Stop::Page(error.into())
    }
}

impl From<Denial> for Stop {
    fn from(denial: Denial) -> Self {
        Stop::Denied(denial)
    }
}

impl SignIn {
    /// Judges a request, and answers it where no person is needed. `issuer` is the `iss` of the answer (RFC 9207): the name under
    /// which the endpoint was reached.
    pub async fn authorize(
        &self,
        request: &AuthorizeRequest,
        issuer: &str,
        visitor: Visitor<'_>,
    ) -> Result<AuthorizeStep, AuthorizeError> {
        let mut event = self.recorder.begin(TokenMethod::Authorize, Some(visitor.peer.address))?;
        let outcome = match self.recipient(request, issuer, &mut event).await {
            Ok(recipient) => {
                let step = self.step(request, &recipient, visitor, &mut event).await;
                settle(step, &recipient, &mut event, AuthorizeStep::Redirect)
            }
            Err(error) => Err(error),
        };
        match outcome {
            // Nothing is decided yet.
            Ok(step @ (AuthorizeStep::SignIn { .. } | AuthorizeStep::Choose { .. })) => Ok(step),
            outcome => self.recorder.finish(event, outcome).await,
        }
    }

    /// Judges the request again and answers it for a person who signed in or was chosen.
    ///
    /// The consent step has its place here: between a person and the code for what they allow.
    pub async fn answer(
        &self,
        request: &AuthorizeRequest,
        issuer: &str,
        person: &Person,
        peer: IpAddr,
    ) -> Result<String, AuthorizeError> {
        let mut event = self.recorder.begin(TokenMethod::Authorize, Some(peer))?;
        let outcome = match self.recipient(request, issuer, &mut event).await {
            Ok(recipient) => {
                let answer = self.answer_for(request, &recipient, person, &mut event).await;
                settle(answer, &recipient, &mut event, |url| url)
            }
            Err(error) => Err(error),
        };
        self.recorder.finish(event, outcome).await
    }

    /// The client that asks, if the answer may go where it says. All that is wrong up to here is shown to the person.
    async fn recipient<'a>(
        &self,
        request: &'a AuthorizeRequest,
        issuer: &'a str,
        event: &mut TokenEvent,
    ) -> Result<Recipient<'a>, AuthorizeError> {
        let shown = client_name(&request.client_id);
        event.client = Some(shown.clone());
        let id = ClientId(request.client_id.clone());
        let is_of_an_application = async || {
            let applications = self.store.applications().await?;
            Ok::<_, StoreError>(applications.iter().any(|application| application.client_id == id))
        };
        let Some(client) = self.store.oauth_client(&id).await? else {
            return Err(match is_of_an_application().await? {
                true => AuthorizeError::ApplicationClient(shown),
                false => AuthorizeError::UnknownClient(shown),
            });
        };
        let sent = request.redirect_uri.as_deref().unwrap_or_default();
        if !client.may_redirect_to(sent) {
            // An application sent them here: its client is registered, and not yet where the answer would go.
            if sent.ends_with(&format!("/clientIds/{}:handleRedirect", id.0)) && is_of_an_application().await? {
                return Err(AuthorizeError::ApplicationClient(shown));
            }
            // What follows may hold a secret, and does not say where it would go.
            let sent = &sent[..sent.find(['?', '#']).unwrap_or(sent.len())];
            return Err(AuthorizeError::RedirectMismatch { client: shown, sent: escaped(sent.as_bytes(), 2048) });
        }
        Ok(Recipient { client, redirect_uri: sent, state: request.state.as_deref(), issuer })
    }

    async fn step(
        &self,
        request: &AuthorizeRequest,
        recipient: &Recipient<'_>,
        visitor: Visitor<'_>,
        event: &mut TokenEvent,
    ) -> Result<AuthorizeStep, Stop> {
        let (asked, audience) = self.judge(request, &recipient.client).await?;
        let mut people = self.people(visitor).await?;
        people.retain(|person| asked.admits(person.email()));
        let client_name = recipient.client.display_name.clone();
        let hinted: Vec<&Person> = people.iter().filter(|person| asked.wants(person)).collect();
        match (asked.prompt, &hinted[..]) {
            (Prompt::Nobody | Prompt::IfNeeded, [person]) => {
                event.account = Some(person.email().to_string());
                let code = self.new_code(&asked, audience, recipient, person, event).await?;
                Ok(AuthorizeStep::Redirect(recipient.success(&asked, person, &code, "none")))
            }
            (Prompt::Nobody, []) => Err(Denial::LoginRequired.into()),
            (Prompt::Nobody, _) => Err(Denial::SelectionRequired.into()),
            (Prompt::SignIn, _) | (Prompt::IfNeeded, []) => Ok(asked.sign_in(client_name)),
            (Prompt::Choose, _) if people.is_empty() => Ok(asked.sign_in(client_name)),
            (Prompt::Choose | Prompt::IfNeeded, _) => Ok(AuthorizeStep::Choose { client_name, people }),
        }
    }

    async fn answer_for(
        &self,
        request: &AuthorizeRequest,
        recipient: &Recipient<'_>,
        person: &Person,
        event: &mut TokenEvent,
    ) -> Result<String, Stop> {
        event.account = Some(person.email().to_string());
        let (asked, audience) = self.judge(request, &recipient.client).await?;
        // The page may have been open for long.
        let snapshot = self.snapshots.current();
        if snapshot.account(person.subject()).is_none_or(|account| account.disabled) {
            return Err(Denial::AccountGone.into());
        }
        if !asked.admits(person.email()) {
            let wanted = asked.domain.unwrap_or_default();
            return Err(AuthorizeError::WrongDomain(escaped(wanted.as_bytes(), 253)).into());
        }
        if asked.prompt == Prompt::SignIn && event.time.since(person.auth_time()) > JUST_NOW {
            return Err(Denial::LoginRequired.into());
        }
        let code = self.new_code(&asked, audience, recipient, person, event).await?;
        Ok(recipient.success(&asked, person, &code, "consent"))
    }

    async fn judge<'a>(
        &self,
        request: &'a AuthorizeRequest,
        client: &OAuthClient,
    ) -> Result<(Asked<'a>, Option<ClientId>), Stop> {
        let asked = Asked::judge(request, client)?;
        let Some(wanted) = &request.audience else { return Ok((asked, None)) };
        match Audience::check(&*self.store, &self.snapshots, client, Some(wanted)).await {
            Ok(audience) => Ok((asked, Some(audience.client().clone()))),
            Err(AudienceError::Unknown | AudienceError::AnotherProject) => Err(Denial::Audience.into()),
            Err(AudienceError::Store(error)) => Err(error.into()),
        }
    }

    async fn new_code(
        &self,
        asked: &Asked<'_>,
        audience: Option<ClientId>,
        recipient: &Recipient<'_>,
        person: &Person,
        event: &mut TokenEvent,
    ) -> Result<String, AuthorizeError> {
        let now = event.time;
        let grant = PersonGrant {
            id: GrantId(random_base64url(&*self.entropy, 16)?),
            client: recipient.client.id.clone(),
            subject: person.subject().clone(),
            scopes: asked.scopes.clone(),
            audience,
            nonce: asked.nonce.map(str::to_owned),
            offline: asked.offline,
            cred_ref: asked.cred_ref,
            auth_time: person.auth_time(),
            created: now,
        };
        let code = format!("{CODE_PREFIX}{}", random_base64url(&*self.entropy, 32)?);
        let (redirect_uri, challenge) = (recipient.redirect_uri.to_owned(), asked.challenge.clone());
        let grant = CodeGrant { grant, redirect_uri, challenge, expires: now + CODE_TTL };
        self.store.add_code(&TokenHash::of(&code), &grant, now).await?;
        event.issued = Some("code".to_owned());
        event.audience = Some(asked.scopes.as_str().to_owned());
        Ok(code)
    }
}

/// A person who must sign in anew did so within this time before the answer: it follows at once.
const JUST_NOW: std::time::Duration = std::time::Duration::from_secs(10);

/// What a denial is to the client and to the record.
fn settle<T>(
    outcome: Result<T, Stop>,
    recipient: &Recipient<'_>,
    event: &mut TokenEvent,
    redirect: impl Fn(String) -> T,
) -> Result<T, AuthorizeError> {
    match outcome {
        Ok(value) => Ok(value),
        Err(Stop::Page(error)) => Err(error),
        Err(Stop::Denied(denial)) => {
            event.refused = Some(denial.to_string());
            event.reason = Some(denial.reason());
            Ok(redirect(recipient.denial(&denial)))
        }
    }
}

impl Recipient<'_> {
    /// Spec: RFC 6749 section 4.1.2, RFC 9207; `scope`, `authuser`, `hd` and `prompt` are Google's.
    fn success(&self, asked: &Asked<'_>, person: &Person, code: &str, prompt: &str) -> String {
        let scope = asked.scopes.in_redirect();
        let mut parameters = vec![("code", code), ("scope", &scope), ("authuser", "0")];
        // Whoever may not know the address may not know its domain.
        if asked.scopes.contains("email") {
            parameters.push(("hd", person.email().domain()));
        }
        parameters.push(("prompt", prompt));
        self.with(parameters)
    }

    /// Spec: RFC 6749 section 4.1.2.1.
    fn denial(&self, denial: &Denial) -> String {
        let description = denial.to_string();
        self.with(vec![("error", denial.code().name()), ("error_description", &description)])
    }

    fn with<'b>(&'b self, parameters: Vec<(&'b str, &'b str)>) -> String {
        let state = self.state.map(|state| ("state", state));
        with_query(self.redirect_uri, state.into_iter().chain(parameters).chain([("iss", self.issuer)]))
    }
}

impl Asked<'_> {
    fn sign_in(&self, client_name: String) -> AuthorizeStep {
        // A number is not turned into an address: that would tell it to whoever asks.
        let email = self.login_hint.and_then(|hint| hint.parse::<Email>().ok()).map(|email| email.to_string());
        AuthorizeStep::SignIn { client_name, email }
    }
}
