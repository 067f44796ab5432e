//! Stage 6: one record for each request, whatever became of it.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use doorward_core::audit::{AuditClosed, AuditEvent, AuditSink, Decision, MEMBERS_LIMIT, Outcome, Reason, escaped};
use doorward_core::clock::Timestamp;
use doorward_core::entropy::random_base64url;
use doorward_core::resource::{Origin, Scheme};
use doorward_core::snapshot::ProtectedResource;
use http::header::USER_AGENT;
use http::{Request, StatusCode};

use crate::authenticate::Proven;
use crate::denied::Reader;
use crate::pipeline::Shared;
use crate::refusal::Refusal;
use crate::sanitize::METHOD_LIMIT;
use crate::sign_in::wants_page;

/// In the extensions of a request that came over somebody before us, such as a load balancer, who told nobody's address whom we
/// believe. The address that we know is theirs: it is recorded, and no condition on the caller's address can be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FromIntermediary;

/// What is known of a request so far. The stages fill it in; it is recorded exactly once.
pub(crate) struct Trace {
    shared: Arc<Shared>,
    id: String,
    arrived: Timestamp,
    decided_at: Timestamp,
    client: IpAddr,
    /// `client` is the caller's own address.
    client_is_caller: bool,
    user_agent: Option<String>,
    method: String,
    host: String,
    path: String,
    /// The target as sent, for a redirect back; only kept where a redirect is possible.
    target: Option<http::uri::PathAndQuery>,
    pub(crate) is_head: bool,
    pub(crate) wants_page: bool,
    /// In which form they read a refusal.
    pub(crate) reader: Reader,
    /// Identity headers that the caller tried to set.
    pub(crate) stripped: u32,
    pub(crate) resource: Option<(Arc<ProtectedResource>, Scheme)>,
    pub(crate) caller: Option<Arc<Proven>>,
    /// Those that were met.
    pub(crate) access_levels: Vec<String>,
    pub(crate) note: Option<Cow<'static, str>>,
    pub(crate) outcome: Option<Outcome>,
    recorded: bool,
}

/// The status that is recorded for a caller who went away before the answer.
const CLIENT_GONE: u16 = 499;

impl Trace {
    pub(crate) fn begin<B>(shared: &Arc<Shared>, request: &Request<B>, client: SocketAddr) -> Self {
        let host = request.headers().get(http::header::HOST).map_or(&b""[..], |host| host.as_bytes());
        let wants_page = wants_page(request.method(), request.headers());
        let arrived = shared.clock.now();
        Trace {
            shared: shared.clone(),
            // Without randomness there are no keys and the process does not start; an empty id would only be unhelpful.
            id: random_base64url(&*shared.entropy, 16).unwrap_or_default(),
            arrived,
            decided_at: arrived,
            // An address of IPv4 has one form, wherever we listen: a range in a condition must hold for it.
            client: client.ip().to_canonical(),
            client_is_caller: request.extensions().get::<FromIntermediary>().is_none(),
            user_agent: request.headers().get(USER_AGENT).map(|agent| escaped(agent.as_bytes(), 255)),
            method: escaped(request.method().as_str().as_bytes(), METHOD_LIMIT),
            host: escaped(host, 255),
            path: escaped(request.uri().path().as_bytes(), 1024),
            target: request.uri().path_and_query().filter(|_| wants_page).cloned(),
            is_head: request.method() == http::Method::HEAD,
            wants_page,
            reader: Reader::of(request.headers()),
            stripped: 0,
            resource: None,
            caller: None,
            access_levels: Vec::new(),
            note: None,
            outcome: None,
            recorded: false,
        }
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The one time that all checks of the request use: when it arrived, or when it had waited for what they need.
    pub(crate) fn now(&self) -> Timestamp {
        self.decided_at
    }

    /// The request had to wait: its checks begin again, at another time, and what was found before counts no more.
    pub(crate) fn begin_again(&mut self) {
        self.decided_at = self.shared.clock.now();
        (self.resource, self.caller, self.note, self.outcome) = (None, None, None, None);
        self.access_levels.clear();
    }

    pub(crate) fn client_address(&self) -> IpAddr {
        self.client
    }

    /// The caller's address for conditions; `None` if it is not known.
    pub(crate) fn source_ip(&self) -> Option<IpAddr> {
        Some(self.client).filter(|_| self.client_is_caller)
    }

    /// Whether a refusal may lead them to another page: they read pages, and nothing is lost of what they sent.
    pub(crate) fn follows_to_page(&self) -> bool {
        self.wants_page && self.reader == Reader::Page
    }

    pub(crate) fn add_note(&mut self, note: String) {
        self.note = Some(match self.note.take() {
            Some(before) => format!("{before}; {note}").into(),
            None => note.into(),
        });
    }

    /// The page that was asked for, at the origin that is configured.
    pub(crate) fn origin_uri(&self, origin: &Origin) -> String {
        format!("{origin}{}", self.target.as_ref().map_or("/", |target| target.as_str()))
    }

    pub(crate) fn refused(&mut self, reason: Reason, detail: String, denied_by: Option<(String, usize)>) {
        self.outcome = Some(Outcome::Refused { reason, detail, denied_by });
    }

    /// Hands the decision to the record. Waits while the record is behind.
    pub(crate) async fn record(&mut self, status: StatusCode) -> Result<(), AuditClosed> {
        self.recorded = true;
        let event = self.event(status.as_u16());
        self.shared.audit.record(event).await
    }

    fn event(&mut self, status: u16) -> AuditEvent {
        let unfinished = || Outcome::Refused {
            reason: Reason::BadRequest,
            detail: "the caller went away".to_owned(),
            denied_by: None,
        };
        let note = match (self.note.take(), self.stripped) {
            (note, 0) => note.map(Cow::into_owned),
            (None, stripped) => Some(format!("stripped={stripped}")),
            (Some(note), stripped) => Some(format!("{note}; stripped={stripped}")),
        };
        let resource = self.resource.as_ref().map(|(resource, _)| resource);
        let caller = self.caller.as_ref().map(|proven| &proven.caller);
        let latency = self.shared.clock.now().since(self.arrived);
        AuditEvent::Decision(Decision {
            id: std::mem::take(&mut self.id),
            time: self.arrived,
            resource: resource.map(|it| it.name.to_string()),
            version: resource.map(|it| it.version_name.to_string()),
            caller: caller.map(|it| it.member()),
            members: caller.map_or_else(Vec::new, |it| {
                it.other_members().iter().take(MEMBERS_LIMIT).map(ToString::to_string).collect()
            }),
            access_levels: std::mem::take(&mut self.access_levels),
            oauth_client: resource.map(|it| it.application.client_id.0.clone()),
            user_agent: self.user_agent.take(),
            scheme: self.resource.as_ref().map(|(_, scheme)| scheme.as_str().to_owned()),
            outcome: self.outcome.take().unwrap_or_else(unfinished),
            note,
            method: std::mem::take(&mut self.method),
            host: std::mem::take(&mut self.host),
            path: std::mem::take(&mut self.path),
            status,
            latency_micros: u64::try_from(latency.as_micros()).unwrap_or(u64::MAX),
            client: self.client.to_string(),
        })
    }
}

impl Drop for Trace {
    /// The server drops a request whose caller hangs up. It was decided all the same, and is recorded.
    fn drop(&mut self) {
        if !self.recorded {
            let event = self.event(CLIENT_GONE);
            let audit = self.shared.audit.clone();
            // Outside a runtime the process is ending, and with it the record.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move {
                    let _ = audit.record(event).await;
                });
            }
        }
    }
}

/// Refuses while the record cannot be written, before anything is forwarded.
pub(crate) fn ensure_recordable(audit: &dyn AuditSink) -> Result<(), Refusal> {
    if audit.is_open() { Ok(()) } else { Err(Refusal::CannotRecord) }
}

/// Records bytes that never became a request: the parser answered 400 or 431 and closed the connection.
pub async fn record_broken_request(shared: &Shared, client: SocketAddr, error: &hyper::Error) {
    let detail = error.to_string();
    // The parser's kinds are not public; its words are.
    let reason = if detail.contains("header") { Reason::BadHeaderValue } else { Reason::BadRequest };
    let status = match error.is_parse_too_large() {
        true => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        false => StatusCode::BAD_REQUEST,
    };
    let decision = Decision {
        id: random_base64url(&*shared.entropy, 16).unwrap_or_default(),
        time: shared.clock.now(),
        outcome: Outcome::Refused { reason, detail, denied_by: None },
        status: status.as_u16(),
        client: client.ip().to_canonical().to_string(),
        ..Decision::default()
    };
    // The connection is closed already; there is nobody left to refuse.
    let _ = shared.audit.record(AuditEvent::Decision(decision)).await;
}
