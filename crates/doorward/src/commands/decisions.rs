//! `doorward decisions`: what was decided, and why.

use doorward_core::audit::{AdminEvent, AuditEvent, Decision, Outcome, StoredEvent, TokenEvent, TokenMethod};
use doorward_core::clock::Timestamp;
use serde::Deserialize;

use crate::output::{PrintError, json_line, print, printable};
use crate::server::ServerArgs;

/// The most events that the server gives at once.
const MOST: u32 = 1000;
/// How long the server may hold a request while nothing happens, in seconds. Shorter than the client's patience.
const LONG_POLL: u32 = 25;

/// List the decisions about requests and tokens, oldest first
///
/// Times are UTC. A line of JSON per decision with --json; its `id` is the x-doorward-decision-id of a refusal.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  doorward decisions --follow
  doorward decisions --type decision --refused --limit 1
  doorward decisions --json --limit 1000 | grep DECISION_ID")]
pub(crate) struct Args {
    /// Go on with each decision as it is made, until Ctrl-C or until the server stops
    #[arg(long)]
    follow: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
    /// Only what was refused
    #[arg(long)]
    refused: bool,
    /// Only decisions about requests, requests for tokens, or administration
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    kind: Option<Kind>,
    /// How many of the newest to list, at most 1000; with --refused and --type, of those among the newest 1000
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST)))]
    limit: u32,
    #[command(flatten)]
    server: ServerArgs,
}

/// What an event of the record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// A request to an application
    Decision,
    /// A request for a token, or of a sign-in
    Token,
    /// Administration
    Admin,
}

/// What is listed of the record.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    refused: bool,
    kind: Option<Kind>,
}

impl Wanted {
    fn is_everything(self) -> bool {
        !self.refused && self.kind.is_none()
    }

    fn has(self, event: &AuditEvent) -> bool {
        let (kind, refused) = match event {
            AuditEvent::Decision(decision) => (Kind::Decision, matches!(decision.outcome, Outcome::Refused { .. })),
            AuditEvent::Token(event) => (Kind::Token, event.refused.is_some()),
            AuditEvent::Admin(event) => (Kind::Admin, event.code != 0),
        };
        self.kind.is_none_or(|wanted| wanted == kind) && (refused || !self.refused)
    }

    /// The newest of the events that are wanted, at most so many.
    fn newest(self, mut events: Vec<StoredEvent>, limit: usize) -> Vec<StoredEvent> {
        events.retain(|stored| self.has(&stored.event));
        events.split_off(events.len().saturating_sub(limit))
    }
}

/// A page of the record.
#[derive(Deserialize)]
struct Page {
    /// Oldest first.
    events: Vec<StoredEvent>,
    /// Where to go on.
    next: i64,
}

/// Prints the decisions.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let server = args.server.open().await?;
    let api = server.api();
    let wanted = Wanted { refused: args.refused, kind: args.kind };
    // The server gives the newest of all kinds.
    let asked = if wanted.is_everything() { args.limit } else { MOST };
    let mut page: Page = api.get(&format!("/decisions?format=json&limit={asked}")).await?;
    page.events = wanted.newest(page.events, args.limit as usize);
    loop {
        print(&lines(&page.events, args.json)?)?;
        if !args.follow {
            return Ok(());
        }
        page = api.get(&format!("/decisions?format=json&after={}&wait={LONG_POLL}", page.next)).await?;
        page.events.retain(|stored| wanted.has(&stored.event));
    }
}

fn lines(events: &[StoredEvent], json: bool) -> Result<String, PrintError> {
    if json {
        return events.iter().map(json_line).collect();
    }
    Ok(events.iter().map(|stored| printable(&line(&stored.event)) + "\n").collect())
}

fn line(event: &AuditEvent) -> String {
    match event {
        AuditEvent::Decision(decision) => decision_line(decision),
        AuditEvent::Token(event) => token_line(event),
        AuditEvent::Admin(event) => admin_line(event),
    }
}

fn decision_line(decision: &Decision) -> String {
    let Decision { id, method, host, path, status, .. } = decision;
    let caller = decision.caller.as_deref().unwrap_or("unproven");
    let (verdict, reason) = match &decision.outcome {
        Outcome::Allowed { binding_resource, role, member, condition } => {
            let condition = condition.as_ref().map(|title| format!(" if {title}")).unwrap_or_default();
            ("allow   ".to_owned(), format!("by {role} for {member} on {binding_resource}{condition}"))
        }
        // The rule that denied it is in the detail.
        Outcome::Refused { reason, detail, denied_by: _ } => {
            (format!("refuse  {}  ", reason.code()), format!("{detail} [{id}]"))
        }
    };
    let milliseconds = std::time::Duration::from_micros(decision.latency_micros).as_secs_f64() * 1000.0;
    let note = decision.note.as_ref().map(|note| format!("  note: {note}")).unwrap_or_default();
    let time = time_of_day(decision.time);
    format!("{time}  {verdict}{caller}  {method} {host}{path} {status}  {milliseconds:.1}ms  {reason}{note}")
}

fn token_line(event: &TokenEvent) -> String {
    let TokenEvent { id, time, method, account, client, chain, issued, audience, refused, reason, peer: _ } = event;
    let account = account.as_deref().unwrap_or("unproven");
    let outcome = match refused {
        Some(cause) => {
            let code = reason.map_or_else(String::new, |reason| format!(" {}", reason.code()));
            format!("refused{code}: {cause} [{id}]")
        }
        None => {
            let purpose = audience.as_ref().map_or_else(String::new, |audience| format!(" for {audience}"));
            format!("{}{purpose}", issued.as_deref().unwrap_or("done"))
        }
    };
    let by = if chain.is_empty() { String::new() } else { format!("  by {}", chain.join(", then ")) };
    let client = client.as_ref().map_or_else(String::new, |client| format!("  client {client}"));
    format!("{}  token   {account}  {}  {outcome}{by}{client}", time_of_day(*time), method_name(*method))
}

fn admin_line(event: &AdminEvent) -> String {
    let caller = event.caller.as_deref().unwrap_or("unproven");
    let method = event.method.rsplit('.').next().unwrap_or(&event.method);
    let outcome = match event.code {
        0 => "done".to_owned(),
        _ => format!("refused: {} [{}]", event.message, event.id),
    };
    format!("{}  admin   {caller}  {method}  {}  {outcome}", time_of_day(event.time), event.resource)
}

/// The method as it stands in the record.
fn method_name(method: TokenMethod) -> String {
    let name = serde_json::to_value(method).ok();
    name.as_ref().and_then(|name| name.as_str()).unwrap_or_default().to_owned()
}

/// `HH:MM:SSZ`.
fn time_of_day(time: Timestamp) -> String {
    let seconds = time.seconds().rem_euclid(86_400);
    format!("{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::audit::{AdminKind, Reason, TokenReason};
    use serde_json::{Value, json};

    fn events() -> Vec<StoredEvent> {
        let decision = |caller: Option<&str>, outcome, status, path: &str, note: Option<&str>| {
            AuditEvent::Decision(Decision {
                id: "abc".into(),
                time: Timestamp::from_seconds(86_400 + 21 * 3600 + 3 * 60 + 11),
                resource: Some("projects/1/iap_web/compute/services/7".into()),
                caller: caller.map(str::to_owned),
                outcome,
                note: note.map(str::to_owned),
                method: "GET".into(),
                host: "127.0.0.1:8080".into(),
                path: path.into(),
                status,
                latency_micros: 849,
                client: "127.0.0.1:5".into(),
                ..Decision::default()
            })
        };
        let token = |method, issued: Option<&str>, refused: Option<&str>| TokenEvent {
            account: Some("r@p.co".into()),
            issued: issued.map(str::to_owned),
            audience: issued.map(|_| "123-x".into()),
            refused: refused.map(str::to_owned),
            ..TokenEvent::new("abc".into(), Timestamp::from_seconds(-1), method, None)
        };
        let impersonated = TokenEvent {
            chain: vec!["user:a@x.co".into(), "serviceAccount:d@p.co".into()],
            client: Some("1-d".into()),
            ..token(TokenMethod::GenerateIdToken, Some("id_token"), None)
        };
        let reused = TokenEvent {
            reason: Some(TokenReason::CodeReuse),
            ..token(TokenMethod::AuthorizationCode, None, Some("the code was used before"))
        };
        let allowed = Outcome::Allowed {
            binding_resource: "projects/1".into(),
            role: "roles/r".into(),
            member: "serviceAccount:r@p.co".into(),
            condition: Some("weekdays".into()),
        };
        let refused = |reason, detail: &str| Outcome::Refused { reason, detail: detail.into(), denied_by: None };
        let denied = Outcome::Refused {
            reason: Reason::DeniedByRule,
            detail: "rule 0 of policies/p/denypolicies/d denies domain:x.co, and so user:b@x.co".into(),
            denied_by: Some(("policies/p/denypolicies/d".into(), 0)),
        };
        let admin = |code, message: &str| {
            AuditEvent::Admin(Box::new(AdminEvent {
                id: "abc".into(),
                time: Timestamp::from_seconds(0),
                service: "iap.googleapis.com".into(),
                method: "google.cloud.iap.v1.Service.SetIamPolicy".into(),
                kind: AdminKind::Write,
                resource: "projects/1".into(),
                caller: Some("operator".into()),
                peer: None,
                user_agent: None,
                permissions: Vec::new(),
                before: None,
                after: None,
                code,
                message: message.into(),
            }))
        };
        let events = [
            decision(Some("serviceAccount:r@p.co"), allowed, 200, "/a", Some("no email claim")),
            decision(None, refused(Reason::NoCredential, "no credential"), 401, "/\x1b[2J\n", None),
            decision(Some("user:b@x.co"), refused(Reason::PermissionDenied, "no binding"), 403, "/", None),
            AuditEvent::Token(token(TokenMethod::JwtBearer, Some("id_token"), None)),
            AuditEvent::Token(token(TokenMethod::JwtBearer, None, Some("signature does not verify"))),
            AuditEvent::Token(impersonated),
            AuditEvent::Token(reused),
            decision(Some("user:b@x.co"), denied, 403, "/", None),
            admin(0, ""),
            admin(7, "no permission"),
        ];
        let stored = |(sequence, event)| StoredEvent { sequence, hash: String::new(), event };
        (1..).zip(events).map(stored).collect()
    }

    #[test]
    fn a_person_reads_one_line_per_event_and_a_strangers_text_stays_in_its_line() {
        let expected = [
            "21:03:11Z  allow   serviceAccount:r@p.co  GET 127.0.0.1:8080/a 200  0.8ms  by roles/r for serviceAccount:r@p.co on projects/1 if weekdays  note: no email claim",
            r"21:03:11Z  refuse  no_credential  unproven  GET 127.0.0.1:8080/\u{1b}[2J\n 401  0.8ms  no credential [abc]",
            "21:03:11Z  refuse  permission_denied  user:b@x.co  GET 127.0.0.1:8080/ 403  0.8ms  no binding [abc]",
            "23:59:59Z  token   r@p.co  jwt_bearer  id_token for 123-x",
            "23:59:59Z  token   r@p.co  jwt_bearer  refused: signature does not verify [abc]",
            "23:59:59Z  token   r@p.co  generate_id_token  id_token for 123-x  by user:a@x.co, then serviceAccount:d@p.co  client 1-d",
            "23:59:59Z  token   r@p.co  authorization_code  refused code_reuse: the code was used before [abc]",
            "21:03:11Z  refuse  denied_by_rule  user:b@x.co  GET 127.0.0.1:8080/ 403  0.8ms  rule 0 of policies/p/denypolicies/d denies domain:x.co, and so user:b@x.co [abc]",
            "00:00:00Z  admin   operator  SetIamPolicy  projects/1  done",
            "00:00:00Z  admin   operator  SetIamPolicy  projects/1  refused: no permission [abc]",
        ];
        assert_eq!(lines(&events(), false).unwrap(), expected.join("\n") + "\n");
    }

    #[test]
    fn the_newest_of_what_is_wanted_are_listed_and_nothing_else() {
        use Kind::{Admin, Decision, Token};
        // The sequence of each that is listed.
        #[rustfmt::skip]
        let cases: [(bool, Option<Kind>, usize, &[i64]); 8] = [
            (false, None,           3,   &[8, 9, 10]),
            (true,  None,           100, &[2, 3, 5, 7, 8, 10]),
            (false, Some(Decision), 100, &[1, 2, 3, 8]),
            (true,  Some(Decision), 1,   &[8]),
            (true,  Some(Token),    100, &[5, 7]),
            (false, Some(Token),    2,   &[6, 7]),
            (true,  Some(Admin),    100, &[10]),
            (false, Some(Admin),    100, &[9, 10]),
        ];
        for (refused, kind, limit, expected) in cases {
            let newest = Wanted { refused, kind }.newest(events(), limit);
            let sequences: Vec<i64> = newest.iter().map(|stored| stored.sequence).collect();
            assert_eq!(sequences, expected, "{refused} {kind:?} {limit}");
        }
    }

    #[test]
    fn a_program_reads_one_object_per_line_and_gets_every_event_back() {
        let page = json!({"events": events(), "next": 5});
        let Page { events: read, next } = serde_json::from_value(page).unwrap();
        assert_eq!((&read, next), (&events(), 5));
        let lines = lines(&read, true).unwrap();
        let back: Vec<StoredEvent> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(back, events());
        let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&first["sequence"], &first["type"], &first["outcome"]),
            (&json!(1), &json!("decision"), &json!("allowed"))
        );
    }
}
