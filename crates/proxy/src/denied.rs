//! What somebody reads whom the policy keeps out: who they are here, what they tried, and whom to ask. Never what others may.
//!
//! A person gets a page, in the style of the pages of the server: without a script and with nothing from elsewhere. A program that
//! asks for JSON gets that, and all others get Google's sentence, which clients know.

use std::fmt;
use std::sync::Arc;

use doorward_core::resource::{Host, Origin};
use doorward_core::snapshot::ProtectedResource;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, LOCATION, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderValue, Method, Response, StatusCode};
use serde_json::json;

use crate::authenticate::Proven;
use crate::body::ProxyBody;
use crate::record::Trace;
use crate::refusal::{Reply, Told, html_escaped, sentence};

/// Somebody who is known and may not.
#[derive(Debug)]
pub(crate) struct Denial {
    pub(crate) proven: Arc<Proven>,
    pub(crate) resource: Arc<ProtectedResource>,
    pub(crate) origin: Origin,
    pub(crate) method: Method,
    /// Without the query: that may hold secrets.
    pub(crate) path: String,
    /// The rule that forbids it; otherwise nothing gives it.
    pub(crate) rule: Option<DeniedRule>,
    /// Where a browser is sent.
    pub(crate) page: Option<String>,
}

/// A deny rule that applied.
#[derive(Debug)]
pub(crate) struct DeniedRule {
    /// The name of its policy.
    pub(crate) policy: String,
    /// Its place there, from 0.
    pub(crate) rule: usize,
    /// The member that matched.
    pub(crate) member: String,
    /// Its condition could not be evaluated.
    pub(crate) unevaluated: bool,
}

/// For the record.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.proven.caller.shown();
        let Some(DeniedRule { policy, rule, member, unevaluated }) = &self.rule else {
            return write!(f, "nothing gives {shown} access here");
        };
        write!(f, "rule {rule} of {policy} denies {member}, and so {shown}")?;
        if *unevaluated { f.write_str("; its condition could not be evaluated") } else { Ok(()) }
    }
}

/// In which form somebody reads a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// A browser that shows a page.
    Page,
    /// A program that asks for JSON.
    Json,
    /// Everything else, also what takes anything: Google's sentence.
    Sentence,
}

impl Reader {
    /// The first of the two forms that `Accept` names. A wildcard names neither: curl sends one, and clients of Google's IAP look for
    /// the sentence.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let scripted = headers.contains_key("x-requested-with");
        let ranges = headers.get_all(ACCEPT).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let mut forms = ranges.filter_map(|range| {
            let name = range.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let is = |form: &str| name.eq_ignore_ascii_case(form.as_bytes());
            match () {
                () if is("text/html") || is("application/xhtml+xml") => Some(Reader::Page),
                () if is("application/json") => Some(Reader::Json),
                () => None,
            }
        });
        match forms.next() {
            // A script of a page shows no page.
            Some(Reader::Page) if scripted => Reader::Sentence,
            form => form.unwrap_or(Reader::Sentence),
        }
    }
}

impl Denial {
    /// The policy and the place of the rule, for the record.
    pub(crate) fn denied_by(&self) -> Option<(String, usize)> {
        self.rule.as_ref().map(|rule| (rule.policy.clone(), rule.rule))
    }

    /// The answer, in the form that they read.
    pub(crate) fn response(&self, told: &Told, trace: &Trace, reply: &Reply<'_>) -> Response<ProxyBody> {
        let why = self.troubleshooting_url(trace, reply);
        if let Some(response) = self.page.as_ref().and_then(|page| redirect(page, why.as_deref())) {
            return response;
        }
        let facts = Facts {
            told,
            application: self.resource.application.name.as_str(),
            caller: self.proven.caller.shown().into_owned(),
            method: self.method.as_str(),
            url: format!("{}{}", self.origin, self.path),
            decision_id: trace.id(),
            contact: contact(reply),
            why,
        };
        let (kind, body) = match trace.reader {
            Reader::Sentence => return sentence(told),
            Reader::Json => ("application/json", facts.json()),
            Reader::Page => ("text/html; charset=UTF-8", facts.page()),
        };
        let mut response = Response::new(ProxyBody::text(body));
        *response.status_mut() = told.status;
        let headers: [(_, &'static str); 6] = [
            (CONTENT_TYPE, kind),
            (CACHE_CONTROL, "no-store"),
            (VARY, "Accept"),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
        ];
        for (name, value) in headers {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    /// Where those who may read policies see why: they are asked to prove that first.
    fn troubleshooting_url(&self, trace: &Trace, reply: &Reply<'_>) -> Option<String> {
        let wanted = self.resource.settings.generate_troubleshooting_uri.value && !trace.id().is_empty();
        wanted.then(|| format!("{}/decisions/{}", reply.config.api.beside(&self.origin), trace.id()))
    }
}

/// Whom to ask: what is configured, or the brand's address.
fn contact(reply: &Reply<'_>) -> Option<String> {
    let brand = || reply.snapshot.support_email.as_ref().map(|email| email.as_str().to_owned());
    reply.config.contact.clone().or_else(brand)
}

/// The operator's own page. `None` if its address cannot be sent: then ours is shown.
fn redirect(page: &str, why: Option<&str>) -> Option<Response<ProxyBody>> {
    let location = match why {
        None => page.to_owned(),
        Some(why) => {
            let (address, fragment) = page.split_once('#').map_or((page, None), |(it, rest)| (it, Some(rest)));
            let separator = if address.contains('?') { '&' } else { '?' };
            let query =
                form_urlencoded::Serializer::new(String::new()).append_pair("troubleshooting_url", why).finish();
            let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
            format!("{address}{separator}{query}{fragment}")
        }
    };
    let mut response = Response::new(ProxyBody::empty());
    *response.status_mut() = StatusCode::FOUND;
    response.headers_mut().insert(LOCATION, HeaderValue::from_str(&location).ok()?);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// Host and path of a page's address, which begins with `https://`. `None` for another address.
pub(crate) fn split_page(page: &str) -> Option<(Host, &str)> {
    let rest = page.strip_prefix("https://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    Some((Host::parse(authority).ok()?, if path.is_empty() { "/" } else { path }))
}

/// What is said, in whichever form.
struct Facts<'a> {
    told: &'a Told,
    application: &'a str,
    caller: String,
    method: &'a str,
    url: String,
    decision_id: &'a str,
    contact: Option<String>,
    why: Option<String>,
}

const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'";

/// The style of the server's pages, as far as this one needs it.
const STYLE: &str = "\
:root { color-scheme: light dark; --ink: #1d2733; --soft: #566373; --line: #d5dbe2; --page: #fff; --panel: #f4f6f8; --focus: #1a5fd0 }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ecf2; --soft: #a5b1bf; --line: #36414d; --page: #12171d; --panel: #1b222a; --focus: #8ab6ff } }
* { box-sizing: border-box }
body { margin: 0; color: var(--ink); background: var(--page); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 44rem; margin: 6vh auto 0; padding: 1.5rem 1rem 3rem }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .75rem }
p { margin: 0 0 1rem }
h1, p, dd { overflow-wrap: anywhere }
dl { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .75rem; margin: 0 0 1.1rem }
dt { color: var(--soft); font-weight: 600 }
dd { margin: 0 0 .75rem }
dd:last-child { margin: 0 }
code { font: .9rem/1.5 ui-monospace, monospace }
a { color: var(--focus) }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px }";

impl Facts<'_> {
    fn json(&self) -> String {
        let mut error = json!({
            "code": self.told.status.as_u16(),
            "status": "PERMISSION_DENIED",
            "message": format!("{}: Access denied. For user {}.", self.application, self.caller),
            "reason": self.told.reason.code(),
            "fix": self.told.fix,
            "caller": self.caller,
            "method": self.method,
            "url": self.url,
            "decision_id": self.decision_id,
        });
        for (name, value) in [("contact", &self.contact), ("troubleshooting_url", &self.why)] {
            if let Some(value) = value {
                error[name] = value.as_str().into();
            }
        }
        json!({ "error": error }).to_string()
    }

    fn page(&self) -> String {
        let plain =
            |address: &str| address.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"@.-_+".contains(&byte));
        let ask = match &self.contact {
            // What is no plain address is shown, and leads nowhere.
            Some(address) if address.contains('@') && plain(address) => {
                format!("Ask <a href=\"mailto:{address}\">{address}</a>")
            }
            Some(contact) => format!("Ask {}", html_escaped(contact)),
            None => "Ask whoever runs this application".to_owned(),
        };
        let why = self.why.as_ref().map(|url| {
            format!("<p><a href=\"{}\">Why?</a> For those who may read the policy.</p>\n", html_escaped(url))
        });
        let rows = [
            ("Signed in as", html_escaped(&self.caller)),
            ("You tried", format!("<code>{} {}</code>", html_escaped(self.method), html_escaped(&self.url))),
            ("What helps", html_escaped(&self.told.fix)),
            ("Decision id", format!("<code>{}</code>", html_escaped(self.decision_id))),
        ];
        let rows: String = rows.iter().map(|(name, value)| format!("<dt>{name}</dt>\n<dd>{value}</dd>\n")).collect();
        let application = html_escaped(self.application);
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>No access to {application} · Doorward</title>\n<style>\n{STYLE}\n</style>\n</head>\n<body>\n<main>\n\
             <h1>You have no access to {application}</h1>\n\
             <p>You are signed in, and may not do this. {ask}, and give them the decision id: it tells them what was decided, and \
             why.</p>\n<dl>\n{rows}</dl>\n{why}</main>\n</body>\n</html>\n",
            why = why.unwrap_or_default(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_names_a_form_gets_it_and_all_others_get_googles_sentence() {
        #[rustfmt::skip]
        let cases = [
            (None,                                                None,                   Reader::Sentence),
            (Some("*/*"),                                         None,                   Reader::Sentence),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"),   None,                   Reader::Page),
            (Some(" TEXT/HTML ; q=0.9"),                          None,                   Reader::Page),
            (Some("image/avif, */*"),                             None,                   Reader::Sentence),
            (Some("application/json"),                            None,                   Reader::Json),
            (Some("application/json, text/html;q=0.9"),           None,                   Reader::Json),
            (Some("text/html, application/json"),                 None,                   Reader::Page),
            (Some("text/html"),                                   Some("XMLHttpRequest"), Reader::Sentence),
            (Some("application/json"),                            Some("XMLHttpRequest"), Reader::Json),
        ];
        for (accept, requested_with, expected) in cases {
            let mut headers = HeaderMap::new();
            for (name, value) in [("accept", accept), ("x-requested-with", requested_with)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(Reader::of(&headers), expected, "{accept:?} {requested_with:?}");
        }
    }

    #[test]
    fn an_address_of_a_page_is_kept_and_told_where_the_reason_is() {
        const WHY: &str = "http://api.test/decisions/a_b";
        const TOLD: &str = "troubleshooting_url=http%3A%2F%2Fapi.test%2Fdecisions%2Fa_b";
        #[rustfmt::skip]
        let cases = [
            ("https://help.test/denied",          None,      "https://help.test/denied".to_owned()),
            ("https://help.test/denied",          Some(WHY), format!("https://help.test/denied?{TOLD}")),
            ("https://help.test",                 Some(WHY), format!("https://help.test?{TOLD}")),
            ("https://help.test/a?lang=en",       Some(WHY), format!("https://help.test/a?lang=en&{TOLD}")),
            ("https://help.test/a#top?x",         Some(WHY), format!("https://help.test/a?{TOLD}#top?x")),
        ];
        for (page, why, expected) in cases {
            let response = redirect(page, why).unwrap();
            assert_eq!(response.status(), StatusCode::FOUND);
            assert_eq!(response.headers()[LOCATION], expected);
        }
        assert!(redirect("https://help.test/\r\nx: y", None).is_none());
    }

    #[test]
    fn host_and_path_of_a_page_are_found_as_a_request_would_have_them() {
        #[rustfmt::skip]
        let cases = [
            ("https://help.test/denied?x#y", Some(("help.test", "/denied"))),
            ("https://Help.test:8443",       Some(("help.test:8443", "/"))),
            ("https://help.test?x=/a",       Some(("help.test", "/"))),
            ("https://help.test#/a",         Some(("help.test", "/"))),
            ("https://u@help.test/",         None),
            ("http://help.test/",            None),
        ];
        for (page, expected) in cases {
            let split = split_page(page);
            assert_eq!(split.as_ref().map(|(host, path)| (host.as_str(), *path)), expected, "{page}");
        }
    }
}
