//! Points in time as text, from whole seconds since the Unix epoch.

use std::time::{Duration, UNIX_EPOCH};

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7). Times before the epoch or after the year 9999 are the epoch.
pub fn http_date(seconds: i64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + since_epoch(seconds))
}

/// `2026-11-25T20:51:17Z`: RFC 3339 with whole seconds and `Z`, the only form that Python's and gcloud's clients parse.
/// Times before the epoch or after the year 9999 are the epoch.
pub fn rfc3339(seconds: i64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since_epoch(seconds)).to_string()
}

/// Microseconds since the Unix epoch of a time as [`rfc3339`] writes it, perhaps with a fraction of a second. Always with `Z`: no other
/// zone is read. `None` for anything else, and for times before the epoch.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let time = humantime::parse_rfc3339(text).ok()?;
    i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_micros()).ok()
}

fn since_epoch(seconds: i64) -> Duration {
    const END_OF_9999: u64 = 253_402_300_799;
    Duration::from_secs(u64::try_from(seconds).ok().filter(|seconds| *seconds <= END_OF_9999).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_clients_parse_them() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(rfc3339(1_795_639_877), "2026-11-25T20:51:17Z");
        #[rustfmt::skip]
        let cases = [
            ("2026-11-25T20:51:17Z",      Some(1_795_639_877_000_000)),
            ("2026-11-25T20:51:17.25Z",   Some(1_795_639_877_250_000)),
            ("2026-11-25T20:51:17+01:00", None),
            ("1969-12-31T23:59:59Z",      None),
            ("2026-11-25",                None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_rfc3339(text), expected, "{text}");
        }
        for beyond in [-1, 253_402_300_800, i64::MAX, i64::MIN] {
            assert_eq!((http_date(beyond), rfc3339(beyond)), (http_date(0), "1970-01-01T00:00:00Z".to_owned()));
        }
    }
}
