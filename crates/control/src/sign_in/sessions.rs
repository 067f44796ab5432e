//! Who is signed in in a browser.

use std::time::Duration;

use doorward_core::account::{UniqueId, User};
use doorward_core::audit::{AuditClosed, TokenEvent, TokenMethod, TokenReason};
use doorward_core::clock::Timestamp;
use doorward_core::entropy::{EntropyError, random_base64url};
use doorward_core::grant::TokenHash;
use doorward_core::member::Email;
use doorward_core::session::{SIGN_IN_SESSION_TTL, SignInSession, SignedIn};
use doorward_core::snapshot::{AccountKind, Snapshot};
use doorward_core::store::StoreError;

use super::passwords::NoTurn;
use super::{Person, SignIn, Visitor};
use crate::admin::Peer;
use crate::record::Refused;
use crate::tasks::{Stopping, join};
use crate::throttle::{Guessed, Throttled};

/// A session that has just begun.
pub struct NewSession {
    /// The value of its cookie, shown this once and stored as a hash.
    pub cookie: String,
    /// Who signed in.
    pub person: Person,
}

/// Why nobody was signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// No such person, a wrong password, or a disabled account: not told apart to the one who asks.
    #[error("the address or the password is wrong")]
    Rejected,
    /// Too many failures.
    #[error(transparent)]
    Throttled(#[from] Throttled),
    /// The store failed.
    #[error("could not read or write sessions")]
    Store(#[from] StoreError),
    /// No secret could be made.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The record cannot be written.
    #[error(transparent)]
    AuditClosed(#[from] AuditClosed),
}

impl Refused for SignInError {
    fn reason(&self) -> TokenReason {
        match self {
            SignInError::Rejected => TokenReason::WrongPassword,
            SignInError::Throttled(_) => TokenReason::Throttled,
            SignInError::Store(_) | SignInError::Entropy(_) | SignInError::AuditClosed(_) => TokenReason::Internal,
        }
    }
}

impl From<NoTurn> for SignInError {
    fn from(no_turn: NoTurn) -> Self {
        match no_turn {
            NoTurn::Crowded => SignInError::Throttled(Throttled { wait: Duration::from_secs(2) }),
            NoTurn::Stopping => Stopping.into(),
        }
    }
}

impl From<Stopping> for SignInError {
    fn from(stopping: Stopping) -> Self {
        SignInError::Store(StoreError::Unavailable(Box::new(stopping)))
    }
}

impl SignIn {
    /// Everybody who is signed in in this browser, latest first. Disabled and removed people are not among them.
    pub async fn people(&self, visitor: Visitor<'_>) -> Result<Vec<Person>, SignInError> {
        let now = self.recorder.now();
        let Some((_, session)) = self.session(visitor, now).await? else { return Ok(Vec::new()) };
        let snapshot = self.snapshots.current();
        Ok(session.accounts.iter().filter_map(|signed_in| person(&snapshot, signed_in)).collect())
    }

    /// The person of this number, if they are signed in in this browser.
    pub async fn person(&self, visitor: Visitor<'_>, subject: &UniqueId) -> Result<Option<Person>, SignInError> {
        Ok(self.people(visitor).await?.into_iter().find(|person| person.subject == *subject))
    }

    /// Signs a person in with a password. The session is a new one, so that nobody can have planted it; whoever was signed in
    /// in this browser stays signed in.
    pub async fn with_password(
        &self,
        visitor: Visitor<'_>,
        email: &str,
        password: &str,
    ) -> Result<NewSession, SignInError> {
        // To the end, even if the browser goes away: to hang up must be no way to guess without being counted and recorded.
        let (this, cookie, peer) = (self.clone(), visitor.cookie.map(str::to_owned), visitor.peer);
        let (email, password) = (email.trim().to_owned(), password.to_owned());
        let work = async move {
            let visitor = Visitor { cookie: cookie.as_deref(), peer };
            let mut event = this.recorder.begin(TokenMethod::SignIn, Some(peer.address))?;
            let outcome = match this.prove(peer, &email, &password, &mut event).await {
                Ok(user) => this.begin_session(visitor, user, event.time).await,
                Err(error) => Err(error),
            };
            event.issued = Some("session".to_owned());
            this.recorder.finish(event, outcome).await
        };
        join(tokio::spawn(work)).await?
    }

    /// Signs everybody out of this browser.
    pub async fn sign_out(&self, visitor: Visitor<'_>) -> Result<(), SignInError> {
        let mut event = self.recorder.begin(TokenMethod::SignIn, Some(visitor.peer.address))?;
        let Some((hash, session)) = self.session(visitor, event.time).await? else { return Ok(()) };
        let snapshot = self.snapshots.current();
        event.account =
            session.accounts.first().and_then(|first| person(&snapshot, first)).map(|it| it.email.to_string());
        event.issued = Some("sign_out".to_owned());
        let outcome = self.store.remove_session(&hash).await;
        self.recorder.finish(event, outcome.map(|_| ()).map_err(SignInError::from)).await
    }

    /// The person with this address and password. Who there is and who is not takes the same time and gives the same answer.
    async fn prove(
        &self,
        peer: Peer,
        email: &str,
        password: &str,
        event: &mut TokenEvent,
    ) -> Result<User, SignInError> {
        let address = email.parse::<Email>().ok();
        // What is no address may be a password, in the wrong field.
        event.account = address.as_ref().filter(|address| address.domain().contains('.')).map(Email::to_string);
        // What cannot be an address is nobody's: it is counted as one, so that strangers cannot fill the memory.
        let guessed = Guessed::Password(address.as_ref().map(Email::to_string).unwrap_or_default());
        self.throttle.admit(&guessed, peer, self.recorder.now())?;
        let turn = self.passwords.turn(self.throttle.is_owner(&guessed, peer)).await?;
        // Again, for those who were let in together with it and waited behind it.
        self.throttle.admit(&guessed, peer, self.recorder.now())?;
        let found = match &address {
            Some(address) => self.store.user_by_email(address).await?,
            None => None,
        };
        let (user, stored) = found.map_or((None, None), |(user, stored)| (Some(user), stored));
        let (is_right, _turn) = turn.verify(password, stored).await?;
        match user.filter(|user| is_right && !user.disabled) {
            Some(user) => {
                self.throttle.succeeded(&guessed, peer);
                Ok(user)
            }
            None => {
                self.throttle.failed(&guessed, peer, self.recorder.now());
                Err(SignInError::Rejected)
            }
        }
    }

    async fn begin_session(&self, visitor: Visitor<'_>, user: User, now: Timestamp) -> Result<NewSession, SignInError> {
        let old = self.session(visitor, now).await?;
        let mut accounts = vec![SignedIn { subject: user.unique_id.clone(), auth_time: now }];
        let mut loopback_only = false;
        if let Some((_, old)) = &old {
            // A session that goes on and on must not carry a proof on and on.
            let fresh = |it: &&SignedIn| now.since(it.auth_time) < SIGN_IN_SESSION_TTL;
            let others = old.accounts.iter().filter(|it| it.subject != user.unique_id).filter(fresh);
            accounts.extend(others.cloned());
            loopback_only = old.loopback_only;
        }
        let cookie = random_base64url(&*self.entropy, 32)?;
        let session = SignInSession { accounts, expires: now + SIGN_IN_SESSION_TTL, loopback_only };
        // A ready-made session belongs to whoever holds the directory that it is in, and stays.
        let replaced = old.filter(|(_, old)| !old.loopback_only).map(|(hash, _)| hash);
        self.store.put_session(replaced.as_ref(), &TokenHash::of(&cookie), &session, now).await?;
        let person = Person { subject: user.unique_id, email: user.email, auth_time: now };
        Ok(NewSession { cookie, person })
    }

    /// The session of this browser, if it may use it.
    async fn session(
        &self,
        visitor: Visitor<'_>,
        now: Timestamp,
    ) -> Result<Option<(TokenHash, SignInSession)>, StoreError> {
        let Some(cookie) = visitor.cookie else { return Ok(None) };
        let hash = TokenHash::of(cookie);
        let session = self.store.session(&hash, now).await?;
        let is_here = visitor.peer.is_client && visitor.peer.address.to_canonical().is_loopback();
        let may_use = |session: &SignInSession| !session.loopback_only || is_here;
        Ok(session.filter(may_use).map(|session| (hash, session)))
    }
}

/// Whoever signed in, if they still may.
fn person(snapshot: &Snapshot, signed_in: &SignedIn) -> Option<Person> {
    let account = snapshot.account(&signed_in.subject)?;
    let may = account.kind == AccountKind::User && !account.disabled;
    may.then(|| Person {
        subject: signed_in.subject.clone(),
        email: account.email.clone(),
        auth_time: signed_in.auth_time,
    })
}
