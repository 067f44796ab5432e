//! A browser without a window: it keeps cookies, and sends the forms that it was shown.

use std::collections::BTreeMap;

use crate::{Request, Response, authority};

/// A browser on one origin of ours.
#[derive(Debug, Default)]
pub struct Browser {
    cookies: BTreeMap<String, String>,
}

/// What a browser was shown, and where.
#[derive(Debug, Clone)]
pub struct Page {
    /// The answer.
    pub response: Response,
    /// The address of the answer.
    pub url: String,
}

impl Browser {
    /// One that was never here.
    pub fn new() -> Self {
        Browser::default()
    }

    /// One with these cookies, as a `Cookie` field has them.
    pub fn with_cookies(field: &str) -> Self {
        let mut browser = Browser::new();
        for (name, value) in field.split("; ").filter_map(|cookie| cookie.split_once('=')) {
            browser.cookies.insert(name.to_owned(), value.to_owned());
        }
        browser
    }

    /// The `Cookie` field that it sends.
    pub fn cookies(&self) -> String {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        cookies.join("; ")
    }

    /// Opens an address. Redirects are not followed.
    pub fn open(&mut self, url: &str) -> Page {
        self.visit(Request::get(url), url)
    }

    /// Fills in the one form of a page and sends it, with what is hidden in it.
    pub fn send(&mut self, page: &Page, fields: &[(&str, &str)]) -> Page {
        let text = page.response.text();
        let form = between(&text, "<form ", "</form>").unwrap_or_else(|| panic!("no form in {text}"));
        let action = attribute(form, "action").expect("an action");
        let origin = format!("http://{}", authority(&page.url));
        let url = if action.starts_with('/') { format!("{origin}{action}") } else { action };
        let inputs = form.split("<input ").skip(1).filter(|input| input.contains("type=\"hidden\""));
        let hidden: Vec<(String, String)> = inputs
            .map(|input| (attribute(input, "name").expect("a name"), attribute(input, "value").expect("a value")))
            .collect();
        let hidden = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fields: Vec<(&str, &str)> = hidden.chain(fields.iter().copied()).collect();
        self.visit(Request::post_form(&url, &fields).header("Origin", &origin), &url)
    }

    fn visit(&mut self, request: Request, url: &str) -> Page {
        let request = if self.cookies.is_empty() { request } else { request.header("Cookie", &self.cookies()) };
        let response = request.send();
        for (_, value) in response.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (cookie, attributes) = value.split_once(';').expect("attributes");
            let (name, value) = cookie.split_once('=').expect("a name and a value");
            assert!(attributes.contains("HttpOnly") && attributes.contains("SameSite=Lax"), "{attributes}");
            self.cookies.insert(name.to_owned(), value.to_owned());
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            }
        }
        Page { response, url: url.to_owned() }
    }
}

impl Page {
    /// The page itself if it has this status and a form with this field; panics with all of it otherwise.
    pub fn asks_for(self, field: &str) -> Self {
        let text = self.response.clone().text();
        assert!(text.contains(&format!("name=\"{field}\"")), "{} {text}", self.response.status);
        self
    }

    /// Where it sends the browser.
    pub fn location(&self) -> &str {
        let location = self.response.header("location");
        location.unwrap_or_else(|| panic!("{} {}", self.response.status, self.response.text()))
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

/// The first attribute of this name, with its character references decoded.
fn attribute(text: &str, name: &str) -> Option<String> {
    let value = between(text, &format!("{name}=\""), "\"")?;
    let references = [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&"), ("&amp;", "&")];
    Some(references.iter().fold(value.to_owned(), |value, (reference, character)| value.replace(reference, character)))
}
