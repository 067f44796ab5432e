//! Points in time as text, from whole seconds since the Unix epoch.

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7). A time that has no such form becomes the epoch.
pub fn http_date(seconds: i64) -> String {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&timestamp(seconds)).unwrap_or_default()
}

/// `2026-11-25T20:51:17Z`: RFC 3339 with whole seconds and `Z`, the only form that Python's and gcloud's clients parse.
pub fn rfc3339(seconds: i64) -> String {
    timestamp(seconds).to_string()
}

fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_clients_parse_them() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(rfc3339(1_795_639_877), "2026-11-25T20:51:17Z");
    }
}
