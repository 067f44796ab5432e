//! Parts of a URI (RFC 3986).

/// `text` as one segment of a path (RFC 3986 section 3.3). An `@` stays, as Google's clients write the addresses of accounts.
pub fn path_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b'@' => out.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_segment_ends_it() {
        #[rustfmt::skip]
        let cases = [
            ("robot@p.iam.gserviceaccount.com", "robot@p.iam.gserviceaccount.com"),
            ("a/b?c#d%e é",                     "a%2Fb%3Fc%23d%25e%20%C3%A9"),
            ("a\r\nb",                          "a%0D%0Ab"),
        ];
        for (text, expected) in cases {
            assert_eq!(path_segment(text), expected);
        }
    }
}
