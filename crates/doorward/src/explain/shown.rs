//! An explanation as a person reads it.

use doorward_wire::jose::StrictNumber;
use doorward_wire::time::rfc3339;
use serde_json::{Map, Value};

use super::{Explanation, Verdict};
use crate::output::printable;

impl Explanation {
    /// The explanation for a person.
    pub(crate) fn shown(&self) -> String {
        let mut out = String::new();
        let mut section = |title: &str, object: &Map<String, Value>| {
            if object.is_empty() {
                return;
            }
            out.push_str(title);
            out.push('\n');
            let width = object.keys().map(|name| printable(name).chars().count()).max().unwrap_or(0);
            for (name, value) in object {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let time = match name.as_str() {
                    "iat" | "exp" | "nbf" => StrictNumber::integer(value),
                    _ => None,
                };
                let words = time.map_or_else(String::new, |time| {
                    format!("  ({}, {})", rfc3339(time), distance(time, self.now.seconds()))
                });
                out.push_str(&format!("  {:<width$}  {}{words}\n", printable(name), printable(&text)));
            }
        };
        section("Header", &self.header);
        section("Claims", &self.claims);
        out.push_str("How it is judged\n");
        for finding in &self.findings {
            let verdict = match finding.verdict {
                Verdict::Good => "good",
                Verdict::Bad => "BAD",
                Verdict::Note => "note",
            };
            out.push_str(&format!("  {verdict:<4}  {}\n", printable(&finding.text)));
        }
        out.push_str(&match self.accepted_by.as_deref() {
            None => "Whether an application accepts it is not known here.\n".to_owned(),
            Some([]) => "No application accepts it.\n".to_owned(),
            Some(names) => format!(
                "It proves who calls {}; whether they may come in, the policy says: `doorward policy get --app {}`\n",
                names.join(" and "),
                names[0]
            ),
        });
        out
    }
}

/// `in 59 minutes`, `2 hours ago`, `now`: how far `time` is from `now`, both in seconds.
pub(super) fn distance(time: i64, now: i64) -> String {
    let difference = time.saturating_sub(now);
    let seconds = difference.unsigned_abs();
    let (number, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    if difference == 0 {
        return "now".to_owned();
    }
    let plural = if number == 1 { "" } else { "s" };
    if difference < 0 { format!("{number} {unit}{plural} ago") } else { format!("in {number} {unit}{plural}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use super::super::ISSUER;
    use super::super::tests::{APP, NOW, explained, keys};

    #[test]
    fn a_person_reads_times_in_words_and_nobody_reads_the_signature() {
        let keys = keys();
        let claims = json!({"iss": ISSUER, "aud": APP, "iat": NOW, "exp": NOW + 3540, "email": "a\u{1b}[2J@x.com"});
        let token = keys.rsa.sign(claims.as_object().unwrap()).unwrap();
        let explanation = explained(&token, Some(&keys.rsa), false);
        let expected = format!(
            "Header\n  alg  RS256\n  kid  k\n  typ  JWT\n\
             Claims\n  aud    {APP}\n  email  a\\u{{1b}}[2J@x.com\n  exp    1795643540  (2026-11-25T21:52:20Z, in 59 minutes)\n  \
             iat    1795640000  (2026-11-25T20:53:20Z, now)\n  iss    {ISSUER}\n\
             How it is judged\n  good  an ID token of {ISSUER}\n  good  signed by key k\n  good  expires in 59 minutes\n  \
             good  email is a\\u{{1b}}[2J@x.com\n  good  aud is the client of app\n\
             It proves who calls app; whether they may come in, the policy says: `doorward policy get --app app`\n"
        );
        assert_eq!(explanation.shown(), expected);
        let signature = token.rsplit('.').next().unwrap();
        assert!(!explanation.shown().contains(signature));
        assert!(!serde_json::to_string(&explanation).unwrap().contains(signature));
    }

    #[test]
    fn distances_in_time_are_said_in_their_largest_unit() {
        #[rustfmt::skip]
        let cases = [
            (0, "now"), (1, "in 1 second"), (-1, "1 second ago"), (119, "in 119 seconds"), (120, "in 2 minutes"),
            (-7199, "119 minutes ago"), (7200, "in 2 hours"), (-172_800, "2 days ago"),
        ];
        for (difference, expected) in cases {
            assert_eq!(distance(NOW + difference, NOW), expected);
        }
        distance(i64::MAX, i64::MIN);
    }
}
