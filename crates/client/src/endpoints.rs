//! Where Google's endpoints are: at Google, or at a Doorward that serves them all below one origin.

use http::Uri;

use crate::origin::Origin;

/// Replaces Google's addresses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Endpoints {
    /// A Doorward that serves each of Google's hosts below a path of its name.
    pub(crate) base: Option<Origin>,
}

impl Endpoints {
    /// The address to be asked in the place of `url`: the host becomes the first segment of the path, if it is Google's and another
    /// base is set. Whatever else a file names is asked as it stands.
    pub(crate) fn resolve(&self, url: &str) -> String {
        let moved = self.base.as_ref().and_then(|base| {
            let uri: Uri = url.parse().ok()?;
            let host = google_host(&Origin::of(&uri)?)?;
            Some(format!("{base}/{host}{}", uri.path_and_query()?))
        });
        moved.unwrap_or_else(|| url.to_owned())
    }
}

/// The host, if it is one of Google's: in whatever spelling a file names it, what is meant for another server must not go there.
fn google_host(origin: &Origin) -> Option<String> {
    let host = origin.to_string().strip_prefix("https://")?.trim_end_matches('.').to_owned();
    let is_google = matches!(host.as_str(), "accounts.google.com" | "www.gstatic.com")
        || host.strip_suffix(".googleapis.com").is_some_and(|name| !name.is_empty() && !name.contains('.'));
    is_google.then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn googles_addresses_move_below_the_base_and_no_others() {
        let ours = Endpoints { base: Some("http://127.0.0.1:8081".parse().unwrap()) };
        #[rustfmt::skip]
        let cases = [
            ("https://oauth2.googleapis.com/token",         "http://127.0.0.1:8081/oauth2.googleapis.com/token"),
            ("https://sts.googleapis.com/v1/token?x",       "http://127.0.0.1:8081/sts.googleapis.com/v1/token?x"),
            ("https://www.gstatic.com/iap/verify/k",        "http://127.0.0.1:8081/www.gstatic.com/iap/verify/k"),
            ("https://OAuth2.GoogleAPIs.com:443/token",     "http://127.0.0.1:8081/oauth2.googleapis.com/token"),
            ("https://oauth2.googleapis.com./token",        "http://127.0.0.1:8081/oauth2.googleapis.com/token"),
            ("https://oauth2.googleapis.com",               "http://127.0.0.1:8081/oauth2.googleapis.com/"),
            ("https://oauth2.googleapis.com:444/token",     "https://oauth2.googleapis.com:444/token"),
            ("https://a.oauth2.googleapis.com/token",       "https://a.oauth2.googleapis.com/token"),
            ("http://oauth2.googleapis.com/token",          "http://oauth2.googleapis.com/token"),
            ("https://x@oauth2.googleapis.com/token",       "https://x@oauth2.googleapis.com/token"),
            ("https://evil.example/oauth2.googleapis.com",  "https://evil.example/oauth2.googleapis.com"),
            ("http://127.0.0.1:9000/token",                 "http://127.0.0.1:9000/token"),
            ("no address",                                  "no address"),
        ];
        for (url, expected) in cases {
            assert_eq!(ours.resolve(url), expected);
            assert_eq!(Endpoints::default().resolve(url), url);
        }
    }
}
