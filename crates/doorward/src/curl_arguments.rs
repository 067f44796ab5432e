//! Which of curl's arguments are passed on. Only those that are known to keep the token where it belongs: curl has several
//! hundred, and each release adds some.

use std::ffi::{OsStr, OsString};

/// Why curl is not run with these arguments.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CurlArgumentError {
    #[error("{0} {1}: leave it out, or run curl itself with `doorward token`")]
    Refused(String, &'static str),
    #[error(
        "{0} is no option of curl that `doorward curl` knows: write long names in full, or run curl itself with `doorward token`"
    )]
    Unknown(String),
    #[error("{0} would be a second address: the token is for one application alone, run `doorward curl` for each")]
    SecondAddress(String),
    #[error("{0} reads standard input, by which curl gets the token: write the data to a file and name that")]
    StandardInput(String),
    #[error("{0} wants a value after it")]
    NoValue(String),
    #[error(
        "{0} sets Authorization, which carries the token: use Proxy-Authorization of your own with `doorward token`"
    )]
    Authorization(String),
    #[error("an argument is not text in UTF-8")]
    NotText,
}

/// What an option does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value,
    /// A value of which `@-` means standard input.
    Data,
    /// A value in which a part that is `@-` or `<-` means standard input.
    Parts,
    /// A value in which `-`, `.` or `@-` alone means standard input.
    File,
    /// A header field.
    Header,
    /// Never passed on, for this reason.
    Refused(&'static str),
}

use Takes::{Data, File, Header, Nothing, Parts, Refused, Value};

const ELSEWHERE: &str = "would send the token elsewhere";
const OVERWRITES: &str = "would take the place of the token";
const ANOTHER: &str = "would make the request another one than the address and the token say";
const TRUST: &str = "would change who is trusted with the token";
const SETTINGS: &str = "could hold any of the arguments that are refused";

#[rustfmt::skip]
const OPTIONS: &[(&str, Option<char>, Takes)] = &[
    ("get", Some('G'), Nothing), ("head", Some('I'), Nothing), ("include", Some('i'), Nothing), ("silent", Some('s'), Nothing),
    ("show-error", Some('S'), Nothing), ("verbose", Some('v'), Nothing), ("location", Some('L'), Nothing),
    ("fail", Some('f'), Nothing), ("fail-with-body", None, Nothing), ("compressed", None, Nothing),
    ("no-buffer", Some('N'), Nothing), ("progress-bar", Some('#'), Nothing), ("no-progress-meter", None, Nothing),
    ("remote-name", Some('O'), Nothing), ("remote-header-name", Some('J'), Nothing), ("remote-time", Some('R'), Nothing),
    ("create-dirs", None, Nothing), ("no-clobber", None, Nothing), ("remove-on-error", None, Nothing),
    ("http1.0", Some('0'), Nothing), ("http1.1", None, Nothing), ("http2", None, Nothing),
    ("http2-prior-knowledge", None, Nothing), ("ipv4", Some('4'), Nothing), ("ipv6", Some('6'), Nothing),
    ("path-as-is", None, Nothing), ("globoff", Some('g'), Nothing), ("raw", None, Nothing), ("tr-encoding", None, Nothing),
    ("tcp-nodelay", None, Nothing), ("no-keepalive", None, Nothing), ("post301", None, Nothing), ("post302", None, Nothing),
    ("post303", None, Nothing), ("junk-session-cookies", Some('j'), Nothing), ("retry-connrefused", None, Nothing),
    ("retry-all-errors", None, Nothing), ("ignore-content-length", None, Nothing), ("styled-output", None, Nothing),
    ("no-styled-output", None, Nothing), ("tlsv1.2", None, Nothing), ("tlsv1.3", None, Nothing),

    ("request", Some('X'), Value), ("user-agent", Some('A'), Value), ("referer", Some('e'), Value),
    ("output", Some('o'), Value), ("output-dir", None, Value), ("dump-header", Some('D'), Value),
    ("max-time", Some('m'), Value), ("connect-timeout", None, Value), ("retry", None, Value), ("retry-delay", None, Value),
    ("retry-max-time", None, Value), ("max-redirs", None, Value), ("max-filesize", None, Value), ("limit-rate", None, Value),
    ("range", Some('r'), Value), ("continue-at", Some('C'), Value), ("time-cond", Some('z'), Value),
    ("speed-limit", Some('Y'), Value), ("speed-time", Some('y'), Value), ("trace", None, Value), ("trace-ascii", None, Value),
    ("stderr", None, Value), ("keepalive-time", None, Value), ("expect100-timeout", None, Value),
    ("etag-save", None, Value), ("create-file-mode", None, Value), ("form-string", None, Value), ("data-raw", None, Value),
    ("cookie-jar", Some('c'), Value), ("tls-max", None, Value),

    ("data", Some('d'), Data), ("data-ascii", None, Data), ("data-binary", None, Data), ("data-urlencode", None, Parts),
    ("json", None, Data), ("form", Some('F'), Parts), ("write-out", Some('w'), Data), ("url-query", None, Parts),
    ("cookie", Some('b'), File), ("upload-file", Some('T'), File), ("etag-compare", None, File),
    ("header", Some('H'), Header),

    ("url", None, Refused("would be a second address")), ("next", Some(':'), Refused("starts a second request")),
    ("config", Some('K'), Refused(SETTINGS)), ("disable", Some('q'), Refused("is passed always")),
    ("location-trusted", None, Refused(ELSEWHERE)), ("proxy", Some('x'), Refused(ELSEWHERE)),
    ("preproxy", None, Refused(ELSEWHERE)), ("proxy-header", None, Refused(ELSEWHERE)), ("noproxy", None, Refused("is passed always")),
    ("socks4", None, Refused(ELSEWHERE)), ("socks4a", None, Refused(ELSEWHERE)), ("socks5", None, Refused(ELSEWHERE)),
    ("socks5-hostname", None, Refused(ELSEWHERE)), ("resolve", None, Refused(ELSEWHERE)), ("connect-to", None, Refused(ELSEWHERE)),
    ("dns-servers", None, Refused(ELSEWHERE)), ("doh-url", None, Refused(ELSEWHERE)), ("unix-socket", None, Refused(ELSEWHERE)),
    ("abstract-unix-socket", None, Refused(ELSEWHERE)), ("alt-svc", None, Refused(ELSEWHERE)), ("hsts", None, Refused(ELSEWHERE)),
    ("user", Some('u'), Refused(OVERWRITES)), ("oauth2-bearer", None, Refused(OVERWRITES)), ("netrc", Some('n'), Refused(OVERWRITES)),
    ("netrc-file", None, Refused(OVERWRITES)), ("netrc-optional", None, Refused(OVERWRITES)), ("anyauth", None, Refused(OVERWRITES)),
    ("basic", None, Refused(OVERWRITES)), ("digest", None, Refused(OVERWRITES)), ("ntlm", None, Refused(OVERWRITES)),
    ("negotiate", None, Refused(OVERWRITES)), ("aws-sigv4", None, Refused(OVERWRITES)),
    ("insecure", Some('k'), Refused(TRUST)), ("cacert", None, Refused(TRUST)), ("capath", None, Refused(TRUST)),
    ("cert", Some('E'), Refused(TRUST)),
];

/// Checks arguments of curl that stand beside an address. Nothing is changed: what passes is given to curl as it is.
pub(crate) fn check(arguments: &[OsString]) -> Result<(), CurlArgumentError> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let argument = text(argument)?;
        if let Some(long) = argument.strip_prefix("--") {
            // curl takes the start of a long name for the whole, and `--name=value` for no name at all.
            let found = OPTIONS.iter().find(|(name, ..)| *name == long);
            let (_, _, takes) = found.ok_or_else(|| CurlArgumentError::Unknown(argument.to_owned()))?;
            check_option(argument, *takes, || rest.next().map(|value| text(value)).transpose())?;
        } else if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            check_letters(letters, || rest.next().map(|value| text(value)).transpose())?;
        } else {
            return Err(CurlArgumentError::SecondAddress(argument.to_owned()));
        }
    }
    Ok(())
}

/// Whether redirects are followed.
pub(crate) fn follows_redirects(arguments: &[OsString]) -> bool {
    let letters = |argument: &str| !argument.starts_with("--") && argument.starts_with('-') && argument.contains('L');
    // A value such as `-o -L` is taken for the option: that is on the safe side.
    arguments.iter().filter_map(|argument| argument.to_str()).any(|it| it == "--location" || letters(it))
}

fn text(argument: &OsStr) -> Result<&str, CurlArgumentError> {
    argument.to_str().ok_or(CurlArgumentError::NotText)
}

type Next<'a> = Result<Option<&'a str>, CurlArgumentError>;

/// `-sSL`, `-XPOST`, `-o file`: the first letter that takes a value takes what follows it, or the next argument.
fn check_letters<'a>(letters: &'a str, next: impl FnOnce() -> Next<'a>) -> Result<(), CurlArgumentError> {
    for (at, letter) in letters.char_indices() {
        let option = format!("-{letter}");
        let found = OPTIONS.iter().find(|(_, short, _)| *short == Some(letter));
        let (_, _, takes) = found.ok_or_else(|| CurlArgumentError::Unknown(option.clone()))?;
        let attached = &letters[at + letter.len_utf8()..];
        match takes {
            Nothing => {}
            _ if attached.is_empty() => return check_option(&option, *takes, next),
            _ => return check_option(&option, *takes, || Ok(Some(attached))),
        }
    }
    Ok(())
}

fn check_option<'a>(option: &str, takes: Takes, value: impl FnOnce() -> Next<'a>) -> Result<(), CurlArgumentError> {
    if let Refused(reason) = takes {
        return Err(CurlArgumentError::Refused(option.to_owned(), reason));
    }
    if takes == Nothing {
        return Ok(());
    }
    let value = value()?.ok_or_else(|| CurlArgumentError::NoValue(option.to_owned()))?;
    let reads_standard_input = match takes {
        Data => value == "@-",
        // `name@-`, `name=@-;type=text/plain`, `name=@file,-`: what is meant by several of them, only curl knows.
        Parts => ["@-", "<-", ",-"].iter().any(|part| value.contains(part)),
        File => matches!(value, "-" | "." | "@-"),
        Header => value.starts_with("@-"),
        Nothing | Value | Refused(_) => false,
    };
    if reads_standard_input {
        return Err(CurlArgumentError::StandardInput(format!("{option} {value}")));
    }
    let name = value.split([':', ';']).next().unwrap_or_default().trim();
    match takes {
        Header if name.eq_ignore_ascii_case("authorization") => {
            Err(CurlArgumentError::Authorization(option.to_owned()))
        }
        Header if name.eq_ignore_ascii_case("proxy-authorization") || name.eq_ignore_ascii_case("host") => {
            Err(CurlArgumentError::Refused(format!("{option} {name}"), ANOTHER))
        }
        Header | Nothing | Value | Data | Parts | File | Refused(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(line: &str) -> Result<(), CurlArgumentError> {
        check(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn what_keeps_the_token_where_it_belongs_is_passed_on() {
        for line in [
            "",
            "-sSL",
            "-sSfL -o out.txt -w %{http_code}",
            "-XPOST -H content-type:text/plain -d a=b",
            "--request PUT --data-binary @file --header X-A:b",
            "-d@file --json {} -F a=@file -F b=<file",
            "-so/dev/null -I",
            "-o --next",
            "-o -K",
            "-H Authorization-Hint:x",
            "-b cookies.txt -c cookies.txt -T file",
            "--data-raw @-",
            "-d a@-b",
            "-o -",
        ] {
            assert_eq!(checked(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn whatever_could_take_the_token_elsewhere_is_refused_with_its_reason() {
        #[rustfmt::skip]
        let cases = [
            ("http://127.0.0.1:8082/",        "http://127.0.0.1:8082/ would be a second address"),
            ("-s http://evil.example/",       "http://evil.example/ would be a second address"),
            ("-o out http://evil.example/",   "http://evil.example/ would be a second address"),
            ("-",                             "- would be a second address"),
            ("--",                            "-- is no option of curl that `doorward curl` knows"),
            ("--url http://evil.example/",    "--url would be a second address"),
            ("--next",                        "--next starts a second request"),
            ("-:",                            "-: starts a second request"),
            ("-s:",                           "-: starts a second request"),
            ("-K file",                       "-K could hold any of the arguments that are refused"),
            ("-sK-",                          "-K could hold any"),
            ("--config file",                 "--config could hold any"),
            ("--location-trusted",            "--location-trusted would send the token elsewhere"),
            ("--location-t",                  "--location-t is no option of curl that `doorward curl` knows"),
            ("--nex",                         "--nex is no option"),
            ("--url=http://evil.example/",    "--url=http://evil.example/ is no option"),
            ("--expand-url x",                "--expand-url is no option"),
            ("-x http://evil.example",        "-x would send the token elsewhere"),
            ("-sxhttp://evil.example",        "-x would send the token elsewhere"),
            ("--proxy http://evil.example",   "--proxy would send"),
            ("--connect-to ::evil:80",        "--connect-to would send"),
            ("--resolve a:80:1.2.3.4",        "--resolve would send"),
            ("--unix-socket /s",              "--unix-socket would send"),
            ("-u a:b",                        "-u would take the place of the token"),
            ("-n",                            "-n would take the place of the token"),
            ("-k",                            "-k would change who is trusted with the token"),
            ("--cacert f",                    "--cacert would change who is trusted"),
            ("-H Authorization:x",            "-H sets Authorization"),
            ("-HAUTHORIZATION:x",             "-H sets Authorization"),
            ("--header authorization;",       "--header sets Authorization"),
            ("-H proxy-authorization:x",      "-H proxy-authorization would make the request another one"),
            ("-H Host:evil.example",          "-H Host would make the request another one"),
            ("-d @-",                         "-d @- reads standard input"),
            ("-d@-",                          "-d @- reads standard input"),
            ("--data-urlencode name@-",       "--data-urlencode name@- reads standard input"),
            ("-F a=<-",                       "-F a=<- reads standard input"),
            ("-F a=@-;type=text/plain",       "-F a=@-;type=text/plain reads standard input"),
            ("-F a=@file,-",                  "-F a=@file,- reads standard input"),
            ("--url-query a@-",               "--url-query a@- reads standard input"),
            ("--json @-",                     "--json @- reads standard input"),
            ("-T -",                          "-T - reads standard input"),
            ("-T .",                          "-T . reads standard input"),
            ("-b -",                          "-b - reads standard input"),
            ("-H @-",                         "-H @- reads standard input"),
            ("-o",                            "-o wants a value after it"),
            ("-sH",                           "-H wants a value after it"),
            ("--ftp-port x",                  "--ftp-port is no option"),
            ("-Z",                            "-Z is no option"),
            ("-é",                            "-é is no option"),
        ];
        for (line, expected) in cases {
            let message = checked(line).unwrap_err().to_string();
            assert!(message.starts_with(expected), "{line}: {message}");
        }
    }

    #[test]
    fn every_option_is_named_once() {
        for (at, (name, short, _)) in OPTIONS.iter().enumerate() {
            let others = &OPTIONS[at + 1..];
            assert!(others.iter().all(|(other, ..)| other != name), "--{name}");
            assert!(short.is_none() || others.iter().all(|(_, other, _)| other != short), "-{short:?}");
        }
    }

    #[test]
    fn it_is_seen_whether_redirects_are_followed() {
        for (line, expected) in [("-sSL", true), ("--location", true), ("-s", false), ("--list", false), ("", false)] {
            let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            assert_eq!(follows_redirects(&arguments), expected, "{line}");
        }
    }
}
