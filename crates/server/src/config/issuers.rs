//! Issuers beside ourselves: of the file, and of a list of their own.

use std::path::Path;

use doorward_core::issuer::{OwnNames, TrustedIssuer, TrustedIssuers, TrustedIssuersError};
use doorward_core::resource::{Host, Origin, Project, Scheme};
use doorward_wire::headers::ASSERTION_ISSUER;
use doorward_wire::jose::VerifyingKeys;
use toml::Spanned;

use super::{GOOGLE, Mistake, Mistakes, Reading, Wrong, span_of};
use crate::config_file::{self, ConfigFile, Names, Parsed, TrustedIssuerTable};

/// Reads a list in a file of its own.
///
/// # Errors
/// [`Mistakes`]: every one.
pub(super) fn read(path: &Path, own: OwnNames<'_>, allows_insecure_loopback: bool) -> Result<TrustedIssuers, Mistakes> {
    let of_all = |what| Mistake { path: path.to_owned(), place: None, what };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(cause) => return Err(Mistakes(vec![of_all(Wrong::Read { path: path.to_owned(), cause })])),
    };
    let (entries, mistakes) = listed(path, &text, own, allows_insecure_loopback);
    if !mistakes.is_empty() {
        // What entries do to each other is said of a list whose entries are good.
        return Err(Mistakes(mistakes));
    }
    TrustedIssuers::new(entries, own).map_err(|cause| Mistakes(vec![of_all(cause.into())]))
}

/// The entries of a list that are good, and every mistake, at its place in the list.
fn listed(
    path: &Path,
    text: &str,
    own: OwnNames<'_>,
    allows_insecure_loopback: bool,
) -> (Vec<TrustedIssuer>, Vec<Mistake>) {
    let Parsed { file, mistakes, left_out } = config_file::parse_trusted_issuers(text);
    // A list names no secrets.
    let mut reading = Reading { path, text, environment: &|_| None, left_out, mistakes: Vec::new() };
    for mistake in mistakes {
        reading.wrong(mistake.span(), Wrong::Shape(Box::new(mistake)));
    }
    let entries = file.trusted_issuer.iter();
    let entries = entries.filter_map(|table| reading.trusted_issuer(table, own, allows_insecure_loopback)).collect();
    reading.mistakes.sort_by_key(|mistake| mistake.place);
    (entries, reading.mistakes)
}

impl Reading<'_> {
    pub(super) fn trusted_issuers(
        &mut self,
        file: &ConfigFile,
        api_url: Option<&(Scheme, Host)>,
        project: &Project,
    ) -> TrustedIssuers {
        let api_url = api_url.map(|(scheme, host)| Origin::new(*scheme, host).to_string()).unwrap_or_default();
        let mut issuers = vec![ASSERTION_ISSUER, api_url.as_str()];
        if file.server.names == Names::Google {
            issuers.push(GOOGLE);
        }
        let own = OwnNames { issuers: &issuers, project_id: &project.id };
        let mut entries: Vec<TrustedIssuer> =
            file.trusted_issuer.iter().filter_map(|table| self.trusted_issuer(table, own, false)).collect();
        if let Some(list) = &file.trusted_issuers
            && let Some((path, bytes)) = self.file(list)
        {
            let text = String::from_utf8_lossy(&bytes);
            let (listed, mut mistakes) = listed(&path, &text, own, false);
            entries.extend(listed);
            self.mistakes.append(&mut mistakes);
        }
        let list = TrustedIssuers::new(entries, own).map_err(Wrong::from);
        let first = file.trusted_issuer.first().and_then(span_of);
        self.noted(first, list).unwrap_or_default()
    }

    fn trusted_issuer(
        &mut self,
        table: &Spanned<TrustedIssuerTable>,
        own: OwnNames<'_>,
        allows_insecure_loopback: bool,
    ) -> Option<TrustedIssuer> {
        let (span, table) = (span_of(table), table.get_ref());
        if table.insecure_loopback && !allows_insecure_loopback {
            self.wrong(span.clone(), Wrong::InsecureLoopback);
        }
        let jwks = match &table.jwks_file {
            None => None,
            Some(file) => {
                let (path, document) = self.file(file)?;
                let keys = VerifyingKeys::from_foreign_document(&document);
                let good = keys.is_ok_and(|keys| !keys.is_empty());
                let text = String::from_utf8(document).ok().filter(|_| good);
                Some(self.noted(span_of(file), text.ok_or(Wrong::Keys(path)))?.into())
            }
        };
        let (Some(id), Some(issuer)) = (&table.id, &table.issuer) else {
            let name = if table.id.is_none() { "id" } else { "issuer" };
            self.missing(span, name);
            return None;
        };
        let read = id.get_ref().parse().map_err(|cause| Wrong::IssuerId { text: id.get_ref().clone(), cause });
        let entry = TrustedIssuer {
            id: self.noted(span_of(id), read)?,
            issuer: issuer.get_ref().clone(),
            audiences: table.audiences.clone(),
            email_domains: table.email_domains.clone(),
            groups_claim: table.groups_claim.clone(),
            google: table.google,
            insecure_loopback: table.insecure_loopback,
            jwks,
        };
        // Alone first, so that each mistake is found at its place; what entries do to each other is seen with the whole list.
        let alone = TrustedIssuers::new([entry.clone()], own).map_err(|cause| match cause {
            // Where plain HTTP is never allowed, nobody is told to allow it.
            TrustedIssuersError::PlainLoopback(issuer) if !allows_insecure_loopback => {
                TrustedIssuersError::Issuer(issuer).into()
            }
            cause => Wrong::from(cause),
        });
        self.noted(span, alone).map(|_| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        [[trusted_issuer]]
        id = "corp"
        issuer = "https://login.corp.example"
        audiences = ["https://wiki.corp.example"]
        email_domains = ["corp.example"]
    "#;

    #[test]
    fn a_list_is_read_or_refused_with_the_file_and_the_mistake() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("keys.json"), r#"{"keys":[{"kty":"oct","kid":"a"}]}"#).unwrap();
        let issuers = ["https://accounts.google.com", "https://cloud.google.com/iap"];
        let own = OwnNames { issuers: &issuers, project_id: "doorward-dev" };
        let with = |line: &str| format!("{GOOD}{line}\n");
        let stand_in = |id: &str, port: u16| {
            format!(
                "[[trusted_issuer]]\nid = \"{id}\"\nissuer = \"http://127.0.0.1:{port}\"\naudiences = [\"a\"]\n\
                 google = true\ninsecure_loopback = true\n"
            )
        };
        #[rustfmt::skip]
        let cases = [
            (String::new(),                                                true,  "ok"),
            (GOOD.to_owned(),                                              true,  "ok"),
            (with("insecure_loopback = true"),                             true,  "ok"),
            (with("insecure_loopback = true"),                             false, "insecure_loopback is for `doorward dev`"),
            (with("googel = true"),                                        true,  "unknown field `googel`"),
            (with("google = 1"),                                           true,  ":7:14: invalid type: integer `1`, expected a boolean"),
            ("[[trusted_issuer]]\nid = \"a".to_owned(),                     true,  "issuers.toml:2:"),
            (GOOD.replace("https://login.corp.example", "http://127.0.0.1:9000"), true, "set `insecure_loopback = true`"),
            (GOOD.replace("https://login.corp.example", "http://127.0.0.1:9000"), false, "is not an issuer: it is an https URL"),
            (with("jwks_file = \"keys.json\""),                            true,  "no RS256 or ES256 key"),
            (with("jwks_file = \"gone.json\""),                            true,  "cannot read"),
            (GOOD.replace("\"corp\"", "\"Corp\""),                         true,  "an id has"),
            (GOOD.replace("https://login.corp.example", "https://accounts.google.com"), true, "the real Google cannot be trusted beside"),
            (GOOD.replace("https://login.corp.example", "https://cloud.google.com/iap"), true, "of our own tokens and cannot be trusted as another: remove"),
            (with("google = true"),                                        true,  "neither \"https://accounts.google.com\" nor on this machine"),
            (stand_in("g", 1),                                             true,  "ok"),
            (stand_in("g", 1),                                             false, "insecure_loopback is for `doorward dev`"),
            (stand_in("g", 1) + &stand_in("h", 2),                         true,  "\"g\" and \"h\" are both marked `google = true`"),
            (format!("{GOOD}{}", GOOD.replace("\"corp\"", "\"b\"")),       true,  "both claim the domain corp.example"),
        ];
        for (text, allows, expected) in cases {
            let path = folder.path().join("issuers.toml");
            std::fs::write(&path, &text).unwrap();
            match read(&path, own, allows) {
                Ok(_) => assert_eq!(expected, "ok", "{text}"),
                Err(error) => {
                    let told = error.to_string();
                    assert!(told.contains(expected) && told.lines().count() == error.0.len(), "{text}: {told}");
                }
            }
        }
        let unreadable = read(folder.path(), own, true).unwrap_err();
        assert!(matches!(unreadable.0[..], [Mistake { place: None, what: Wrong::Read { .. }, .. }]));
    }
}
