//! `doorward curl`: a request to an application with a token, which nobody else gets.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{anyhow, bail};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use doorward_core::clock::{Clock as _, SystemClock};
use doorward_server::dev::description::Description;

use crate::curl_arguments::{check, follows_redirects};
use crate::id_token::SourceArgs;
use crate::output::say;
use crate::world::{Addressed, AppName, WorldArgs, addressed};

/// The first version that sends no credential to another port of the same host when it follows a redirect.
///
/// Source: <https://curl.se/docs/CVE-2022-27774.html>
const SAFE_REDIRECTS: (u32, u32) = (7, 83);

/// What curl ends with if nobody listens at the address.
const CANNOT_CONNECT: i32 = 7;

/// Call an application with curl and a token
///
/// Finds the application to which the address belongs, gets a token for it, and runs curl. The token goes to curl by its standard
/// input, never by its arguments or the environment, and to the application's origin alone: a redirect to elsewhere carries none.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Options of doorward come before the address, arguments of curl after it. The exit code is curl's.

Example:
  doorward curl http://127.0.0.1:8080/
  doorward curl --as me http://127.0.0.1:8080/orders -s --json '{\"n\": 1}'")]
pub(crate) struct Args {
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    world: WorldArgs,
    /// An address of an application of dev.json
    #[arg(value_name = "URL")]
    url: String,
    /// Arguments of curl
    #[arg(value_name = "CURL_ARGUMENT", trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// What clap does not know: that an option which stands before the address is meant for curl.
pub(crate) fn advise(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::UnknownArgument {
        return error;
    }
    if let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg).cloned() {
        let tip = format!("curl's arguments come after the address: doorward curl URL {option} ...");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
        // Options of ours that are spelled like it would lead astray.
        error.remove(ContextKind::SuggestedArg);
    }
    error
}

/// Runs curl to its end.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    let world = args.world.open()?;
    let found = find(&world, &args.url)?;
    check(&args.arguments)?;
    if follows_redirects(&args.arguments) {
        check_version(&version()?)?;
    }
    let token = args.source.id_token(&world, &found.app.of(&world).client_id, SystemClock.now())?;
    let ca_file = world.ca_file.as_deref().filter(|_| found.origin.starts_with("https:"));
    let config = config(&token, ca_file)?;
    // `-q` first: whatever a configuration file of curl says about proxies and redirects must not reach the token.
    let mut curl = Command::new("curl");
    curl.args(["-q", "--config", "-"]).args(&args.arguments).arg("--").arg(format!("{}{}", found.origin, found.rest));
    let status = feed(&mut curl, &config).map_err(|error| cannot_run(&error))?;
    if status.code() == Some(CANNOT_CONNECT) {
        // `-s` silences curl, and a token of before needs no server.
        say(&format!("doorward: curl cannot connect to {}: is `doorward dev` still running?", found.origin));
    }
    exit_code(status)
}

/// The application to which `url` belongs.
fn find<'a>(world: &'a Description, url: &'a str) -> anyhow::Result<Addressed<'a>> {
    if url.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        bail!("an address holds no spaces and control characters: write them as %20 and the like");
    }
    addressed(world, url).ok_or_else(|| {
        if let Some(meant) = meant(url).into_iter().find(|meant| addressed(world, meant).is_some()) {
            return anyhow!("{url} is not written as dev.json writes it, and gets no token: use {meant}");
        }
        let over_tls = url.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
        let hint = match world.app.https_url {
            None if over_tls => "start `doorward dev` with --tls to serve https, or ",
            None | Some(_) => "",
        };
        let origins: Vec<&str> = AppName::ALL.into_iter().flat_map(|app| app.origins(world)).collect();
        anyhow!(
            "{url} is at no application of dev.json, and gets no token: {hint}use an address that starts with {}",
            origins.join(" or ")
        )
    })
}

/// What a person may have meant by an address: with a scheme, and with the number of this machine for its name.
fn meant(url: &str) -> Vec<String> {
    let (scheme, rest) = url.split_once("://").map_or((None, url), |(scheme, rest)| (Some(scheme), rest));
    let local = |rest: &str| rest.strip_prefix("localhost:").map(|rest| format!("127.0.0.1:{rest}"));
    let rest = local(rest).unwrap_or_else(|| rest.to_owned());
    let schemes = scheme.map_or(vec!["http", "https"], |scheme| vec![scheme]);
    schemes.into_iter().map(|scheme| format!("{scheme}://{rest}")).collect()
}

/// What curl reads. A bearer of its own, unlike a header, is not sent along to another host, port or scheme; braces in an address
/// do not make it several; and no proxy of the environment comes between.
fn config(token: &str, ca_file: Option<&Path>) -> anyhow::Result<String> {
    let quoted = |text: &str| {
        if text.contains(|c: char| c.is_control()) {
            bail!(
                "a path or token with control characters cannot be given to curl: move the directory of `doorward dev`"
            );
        }
        Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
    };
    let mut config = format!("oauth2-bearer = {}\ngloboff\nnoproxy = \"*\"\n", quoted(token)?);
    if let Some(path) = ca_file {
        config.push_str(&format!("cacert = {}\n", quoted(&path.to_string_lossy())?));
    }
    Ok(config)
}

fn version() -> anyhow::Result<String> {
    let output = Command::new("curl").arg("--version").stderr(Stdio::null()).output();
    Ok(String::from_utf8_lossy(&output.map_err(|error| cannot_run(&error))?.stdout).into_owned())
}

fn check_version(text: &str) -> anyhow::Result<()> {
    let number = text.strip_prefix("curl ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if version < SAFE_REDIRECTS {
        let (major, minor) = SAFE_REDIRECTS;
        bail!(
            "curl before {major}.{minor} sends the token along with a redirect to another port: leave -L out, or update curl"
        );
    }
    Ok(())
}

fn cannot_run(error: &io::Error) -> anyhow::Error {
    anyhow!("cannot run curl ({error}): install it, or use another client with `doorward token`")
}

/// Runs a program with `input` as its standard input.
fn feed(command: &mut Command, input: &str) -> io::Result<ExitStatus> {
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input.as_bytes()) {
            // It ended early, and says itself why.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            written => written?,
        }
    }
    child.wait()
}

/// As a shell gives it.
fn exit_code(status: ExitStatus) -> anyhow::Result<ExitCode> {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::net::TcpListener;

    use crate::world::tests::description;

    #[test]
    fn an_address_of_nobody_gets_no_token_and_the_known_ones_are_named() {
        let world: Description = serde_json::from_value(description("http://127.0.0.1:8081")).unwrap();
        let found = find(&world, "http://127.0.0.1:8082/a").unwrap();
        assert_eq!((found.app, found.origin, found.rest), (AppName::OtherApp, "http://127.0.0.1:8082", "/a"));
        assert_eq!(
            find(&world, "http://evil.example/").unwrap_err().to_string(),
            "http://evil.example/ is at no application of dev.json, and gets no token: use an address that starts with \
             http://127.0.0.1:8080 or https://127.0.0.1:8443 or http://127.0.0.1:8082"
        );
        #[rustfmt::skip]
        let mended = [
            ("http://localhost:8080/a?b",   "http://127.0.0.1:8080/a?b"),
            ("https://localhost:8443/",     "https://127.0.0.1:8443/"),
            ("127.0.0.1:8082/a",            "http://127.0.0.1:8082/a"),
            ("127.0.0.1:8443",              "https://127.0.0.1:8443"),
            ("localhost:8080/",             "http://127.0.0.1:8080/"),
        ];
        for (url, meant) in mended {
            let expected = format!("{url} is not written as dev.json writes it, and gets no token: use {meant}");
            assert_eq!(find(&world, url).unwrap_err().to_string(), expected);
        }
        let plain = {
            let mut world = world.clone();
            world.app.https_url = None;
            world
        };
        let with_tls = "gets no token: start `doorward dev` with --tls to serve https, or use an address";
        for (world, url, hinted) in [
            (&plain, "https://127.0.0.1:8443/", true),
            (&plain, "http://127.0.0.1:8443/", false),
            (&world, "https://127.0.0.1:1/", false),
        ] {
            assert_eq!(find(world, url).unwrap_err().to_string().contains(with_tls), hinted, "{url}");
        }
        for url in ["http://127.0.0.1:8080/\n", "http://127.0.0.1:8080/a b"] {
            assert!(find(&world, url).unwrap_err().to_string().starts_with("an address holds no spaces"), "{url:?}");
        }
    }

    #[test]
    fn the_configuration_of_curl_cannot_be_broken_out_of() {
        let token = "oauth2-bearer = \"a.b.c\"\ngloboff\nnoproxy = \"*\"\n";
        assert_eq!(config("a.b.c", None).unwrap(), token);
        let path = Path::new("/a \"b\\/ca.pem");
        assert_eq!(config("a.b.c", Some(path)).unwrap(), format!("{token}cacert = \"/a \\\"b\\\\/ca.pem\"\n"));
        assert!(config("a\nurl = \"http://evil.example\"", None).is_err());
        assert!(config("a", Some(Path::new("/a\nb"))).is_err());
    }

    #[test]
    fn an_old_curl_does_not_follow_redirects_with_a_token() {
        #[rustfmt::skip]
        let cases = [
            ("curl 7.88.1 (x86_64-pc-linux-gnu) libcurl/7.88.1", true),
            ("curl 8.0.0-DEV (x)",                               true),
            ("curl 7.83.0 (x)",                                  true),
            ("curl 7.82.0 (x)",                                  false),
            ("curl 7.9.8 (x)",                                   false),
            ("something else",                                   false),
            ("",                                                 false),
        ];
        for (text, safe) in cases {
            assert_eq!(check_version(text).is_ok(), safe, "{text}");
        }
    }

    /// Answers each connection once, and tells what was asked.
    fn answering(answer: String) -> (String, std::sync::mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut asked = vec![0; 8192];
                let read = stream.read(&mut asked).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
                if send.send(String::from_utf8_lossy(&asked[..read]).into_owned()).is_err() {
                    return;
                }
            }
        });
        (origin, receive)
    }

    #[test]
    fn curl_itself_sends_the_token_to_the_first_origin_and_nothing_to_another_port() {
        let (elsewhere, asked_elsewhere) =
            answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".into());
        let (origin, asked) = answering(format!(
            "HTTP/1.1 302 Found\r\nlocation: {elsewhere}/there\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        ));
        let mut curl = Command::new("curl");
        // A proxy of the environment would see the token.
        curl.env("http_proxy", &elsewhere).args(["-q", "--config", "-", "-sSL", "--"]).arg(format!("{origin}/{{a,b}}"));
        let status = match feed(&mut curl, &config("T0KEN", None).unwrap()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => panic!("these tests need curl"),
            status => status.unwrap(),
        };
        assert!(status.success());
        let first = asked.recv().unwrap();
        assert!(first.starts_with("GET /{a,b} HTTP/1.1\r\n"), "{first}");
        assert!(first.contains("\r\nAuthorization: Bearer T0KEN\r\n"), "{first}");
        let second = asked_elsewhere.recv().unwrap();
        assert!(second.starts_with("GET /there HTTP/1.1\r\n"), "{second}");
        assert!(!second.contains("T0KEN"), "{second}");
    }
}
