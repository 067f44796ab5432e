//! For how long a document may be used.

use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL};

/// No document is said to be good for longer (RFC 9111 section 1.2.2).
const LONGEST: u64 = 1 << 31;

/// What `Cache-Control` allows a private cache, less what was spent on the way (RFC 9111 section 4.2); `None` if it says nothing.
/// Of several directives the shortest counts, and one that cannot be read counts as none at all being allowed.
pub(super) fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).iter().map(|value| value.to_str().unwrap_or("no-store"));
    let allowed = fields.flat_map(|field| field.split(',')).filter_map(lifetime).min()?;
    // An age that cannot be read is ignored (RFC 9111 section 5.1).
    let age = headers.get(AGE).and_then(|age| seconds(age.to_str().ok()?)).unwrap_or(0);
    Some(Duration::from_secs(allowed.saturating_sub(age)))
}

/// What one directive allows, in seconds, if it is about this.
fn lifetime(directive: &str) -> Option<u64> {
    let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
    match name.trim().to_ascii_lowercase().as_str() {
        "no-store" | "no-cache" => Some(0),
        "max-age" => Some(seconds(value.trim().trim_matches('"')).unwrap_or(0)),
        _ => None,
    }
}

/// Digits; what is too large for us is as much as we count.
fn seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(LONGEST).min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_shortest_time_that_was_said_counts_less_the_age() {
        // (Cache-Control, Age) => seconds
        #[rustfmt::skip]
        let cases: [(&[&str], Option<&str>, Option<u64>); 20] = [
            (&[],                                   None,       None),
            (&[],                                   Some("9"),  None),
            (&["public"],                           None,       None),
            (&["s-maxage=60, stale-if-error=60"],   None,       None),
            (&["max-age=60"],                       None,       Some(60)),
            (&["public, MAX-AGE=60, must-revalidate"], None,    Some(60)),
            (&["max-age = \"60\""],                 None,       Some(60)),
            (&["max-age=60, max-age=30"],           None,       Some(30)),
            (&["max-age=60", "max-age=30"],         None,       Some(30)),
            (&["max-age=60, no-cache"],             None,       Some(0)),
            (&["max-age=60", "no-store"],           None,       Some(0)),
            (&["no-cache=\"set-cookie\", max-age=60"], None,    Some(0)),
            (&["max-age=60"],                       Some("20"), Some(40)),
            (&["max-age=60"],                       Some("61"), Some(0)),
            (&["max-age=60"],                       Some("-1"), Some(60)),
            (&["max-age="],                         None,       Some(0)),
            (&["max-age"],                          None,       Some(0)),
            (&["max-age=-1"],                       None,       Some(0)),
            (&["max-age=1.5"],                      None,       Some(0)),
            (&["max-age=99999999999999999999"],     None,       Some(1 << 31)),
        ];
        for (control, age, expected) in cases {
            let mut headers = HeaderMap::new();
            for value in control {
                headers.append(CACHE_CONTROL, HeaderValue::from_str(value).unwrap());
            }
            if let Some(age) = age {
                headers.insert(AGE, HeaderValue::from_str(age).unwrap());
            }
            assert_eq!(max_age(&headers), expected.map(Duration::from_secs), "{control:?} {age:?}");
        }
    }
}
