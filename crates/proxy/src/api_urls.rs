//! Where the API is, as those reach it who ask at an application's origin.

use doorward_core::resource::{Origin, Scheme};

/// The API's own origin, by scheme, each without a trailing slash. The host of a Google name is a path below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiUrls {
    /// Without TLS.
    pub http: String,
    /// With TLS, if it is served so.
    pub https: Option<String>,
}

impl ApiUrls {
    /// The API for who came to this origin, as it is configured: whoever was asked for TLS is not led away from it.
    pub(crate) fn beside(&self, origin: &Origin) -> &str {
        match (origin.scheme, &self.https) {
            (Scheme::Https, Some(https)) => https,
            (Scheme::Https, None) | (Scheme::Http, _) => &self.http,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::resource::Host;

    #[test]
    fn an_origin_over_tls_leads_to_the_api_over_tls_if_there_is_one() {
        let (plain, tls) = ("http://api.test:8081", "https://api.test:8444");
        #[rustfmt::skip]
        let cases = [
            (Scheme::Http,  Some(tls), plain),
            (Scheme::Https, Some(tls), tls),
            (Scheme::Http,  None,      plain),
            (Scheme::Https, None,      plain),
        ];
        for (scheme, https, expected) in cases {
            let urls = ApiUrls { http: plain.to_owned(), https: https.map(str::to_owned) };
            let origin = Origin::new(scheme, &Host::parse("app.test").unwrap());
            assert_eq!(urls.beside(&origin), expected, "{origin} {https:?}");
        }
    }
}
