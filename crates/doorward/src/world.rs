//! Finding a running world: a `doorward dev` by its directory, or the `doorward run` that this program is in.

use std::path::{Path, PathBuf};
use std::{fs, io};

use doorward_server::dev::description::{AppDescription, Description, FILE_NAME};

use crate::output::quoted;

/// Names the description of the world in which this program is. [`crate::run`] sets it.
pub(crate) const DESCRIPTION_VARIABLE: &str = "DOORWARD_DEV_JSON";

/// Where `doorward dev` keeps its state if nothing else is said.
const DEFAULT_DIR: &str = ".doorward";

/// The option that every command shares.
#[derive(Debug, clap::Args)]
pub(crate) struct WorldArgs {
    /// The state directory of the running `doorward dev` [default: inside `doorward run` its world, else .doorward]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl WorldArgs {
    /// Whether a directory was typed.
    pub(crate) fn names_a_directory(&self) -> bool {
        self.dir.is_some()
    }

    /// Reads the description of the world that is meant.
    pub(crate) fn open(&self) -> Result<Description, WorldError> {
        let named = std::env::var_os(DESCRIPTION_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        Place::of(self.dir.clone(), named).open()
    }
}

/// What to do if nobody answers at an address. Of the network of `doorward run`, the machine's own is no part.
pub(crate) fn if_unreachable() -> &'static str {
    let named = std::env::var_os(DESCRIPTION_VARIABLE).filter(|path| !path.is_empty());
    let inside = named.is_some_and(|path| Place::File(path.into()).open().is_ok_and(|world| world.names));
    next_step(inside)
}

fn next_step(inside: bool) -> &'static str {
    if inside {
        "inside `doorward run` no server of the machine is reached, and a key file or --dir of `doorward dev` names one; use a key \
         file that $DOORWARD_DEV_JSON names, or make one inside with `doorward service-account keys create`"
    } else {
        "is Doorward still running there?"
    }
}

/// Where a description lies, by how it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// In this state directory.
    Directory(PathBuf),
    /// In this file, which the environment names.
    File(PathBuf),
}

/// Why there is no world to talk to. A cause stands within the sentence, before the next step, and is no `source`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WorldError {
    #[error("no running world in {0}: start one with `doorward dev{dir}`", dir = dir_option(.0))]
    Missing(PathBuf),
    #[error("${DESCRIPTION_VARIABLE} names {0}, which is not there: unset it, or name another world with --dir DIR")]
    MissingFile(PathBuf),
    #[error("cannot read {path} ({cause}): run as the user who started `doorward dev`")]
    Unreadable { path: PathBuf, cause: io::Error },
    #[error("{path} is damaged ({cause}): start `doorward dev` again, which writes it anew")]
    Damaged { path: PathBuf, cause: serde_json::Error },
    #[error("{path} is of version {version}, and this `doorward` reads version 1: use the `doorward` that wrote it")]
    Version { path: PathBuf, version: u32 },
}

fn dir_option(dir: &Path) -> String {
    if dir == Path::new(DEFAULT_DIR) { String::new() } else { format!(" --dir {}", quoted(dir)) }
}

impl Place {
    /// What was typed counts before the environment.
    fn of(dir: Option<PathBuf>, named: Option<PathBuf>) -> Self {
        match (dir, named) {
            (Some(dir), _) => Place::Directory(dir),
            (None, Some(file)) => Place::File(file),
            (None, None) => Place::Directory(DEFAULT_DIR.into()),
        }
    }

    fn open(self) -> Result<Description, WorldError> {
        let (path, missing) = match self {
            Place::Directory(dir) => (dir.join(FILE_NAME), WorldError::Missing(dir)),
            Place::File(path) => (path.clone(), WorldError::MissingFile(path)),
        };
        match fs::read(&path) {
            Ok(bytes) => parse(path, &bytes),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(missing)
            }
            Err(cause) => Err(WorldError::Unreadable { path, cause }),
        }
    }
}

fn parse(path: PathBuf, bytes: &[u8]) -> Result<Description, WorldError> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    // Version first: another version may well have another shape.
    match serde_json::from_slice(bytes).and_then(|Version { version }| {
        if version == 1 { serde_json::from_slice(bytes).map(Ok) } else { Ok(Err(version)) }
    }) {
        Ok(Ok(description)) => Ok(over_tls(description)),
        Ok(Err(version)) => Err(WorldError::Version { path, version }),
        Err(cause) => Err(WorldError::Damaged { path, cause }),
    }
}

/// The description with the address of our own origin that commands call. Where that is a name, it is the one with a certificate:
/// of a name nobody can tell that it leads to this machine, and credentials go in the clear to no other.
fn over_tls(mut description: Description) -> Description {
    if description.names
        && let Some(url) = &description.api_https_url
    {
        description.api_url.clone_from(url);
    }
    description
}

/// One of the two applications of a world, as `dev.json` names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum AppName {
    /// The application of `--to`, or the built-in one
    App,
    /// The second application, which admits nobody
    #[value(name = "other_app", alias = "other-app")]
    OtherApp,
}

impl AppName {
    /// Both.
    pub(crate) const ALL: [AppName; 2] = [AppName::App, AppName::OtherApp];

    /// The name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            AppName::App => "app",
            AppName::OtherApp => "other_app",
        }
    }

    /// The origins at which it is served: over http, and over https if that is on.
    pub(crate) fn origins(self, world: &Description) -> impl Iterator<Item = &str> {
        let app = self.of(world);
        std::iter::once(app.url.as_str()).chain(app.https_url.as_deref())
    }

    /// The application of this name.
    pub(crate) fn of(self, world: &Description) -> &AppDescription {
        match self {
            AppName::App => &world.app,
            AppName::OtherApp => &world.other_app,
        }
    }
}

/// An address that belongs to an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addressed<'a> {
    /// Which one.
    pub(crate) app: AppName,
    /// Its origin, as dev.json writes it.
    pub(crate) origin: &'a str,
    /// What follows: nothing, or a text that starts with `/`, `?` or `#`.
    pub(crate) rest: &'a str,
}

/// The application to which `url` belongs. Origins are compared as they are written, but for the case of letters: no reading of
/// a URL can then differ from that of whoever is given it (user information, backslashes, other spellings of an address).
pub(crate) fn addressed<'a>(world: &'a Description, url: &'a str) -> Option<Addressed<'a>> {
    let mut origins = AppName::ALL.into_iter().flat_map(|app| app.origins(world).map(move |origin| (app, origin)));
    origins.find_map(|(app, origin)| {
        let (start, rest) = url.split_at_checked(origin.len())?;
        let belongs = start.eq_ignore_ascii_case(origin) && (rest.is_empty() || rest.starts_with(['/', '?', '#']));
        belongs.then_some(Addressed { app, origin, rest })
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// A description as `doorward dev` writes it, of a server at `api_url`.
    pub(crate) fn description(api_url: &str) -> Value {
        let app = |name: &str| {
            let port = if name == "app" { 8080 } else { 8082 };
            json!({
                "url": format!("http://127.0.0.1:{port}"), "host": format!("127.0.0.1:{port}"),
                "https_url": (name == "app").then_some("https://127.0.0.1:8443"), "client_secret": "secret", "backend_service": name,
                "client_id": format!("123-{name}.apps.googleusercontent.com"),
                "resource": format!("projects/123/iap_web/compute/services/{name}"),
                "audience": format!("/projects/123/global/backendServices/{name}"),
            })
        };
        let account = |name: &str, key_file: Option<&str>| json!({"email": format!("{name}@p.iam.gserviceaccount.com"), "unique_id": "1", "key_file": key_file, "allowed": true});
        json!({
            "version": 1, "project": {"id": "dev-project", "number": "123"}, "api_url": api_url, "ca_file": null,
            "app": app("app"), "other_app": app("other-app"),
            "service_accounts": {"robot": account("robot", Some("/keys/robot.json")), "target": account("target", None)},
            "users": {"alice@example.com": {"password": "p", "allowed": true}},
            "oauth_clients": {
                "desktop": {"client_id": "123-desktop.apps.googleusercontent.com", "client_secret": "desktop-secret"},
                "android": {"client_id": "123-android.apps.googleusercontent.com", "client_secret": null},
            },
            "admin_token": "doorward_admin_x", "metadata": null, "a_key_of_a_later_version": 1,
        })
    }

    /// The option for a world that is described in `dir`; the description is written there.
    pub(crate) fn described(dir: &Path, api_url: &str) -> WorldArgs {
        fs::write(dir.join(FILE_NAME), description(api_url).to_string()).unwrap();
        WorldArgs { dir: Some(dir.to_owned()) }
    }

    #[test]
    fn an_address_belongs_to_an_application_by_its_exact_origin_and_to_nobody_else() {
        let world: Description = serde_json::from_value(description("http://127.0.0.1:8081")).unwrap();
        let (app, other) = (Some(AppName::App), Some(AppName::OtherApp));
        #[rustfmt::skip]
        let cases = [
            ("http://127.0.0.1:8080",                 app),
            ("http://127.0.0.1:8080/",                app),
            ("HTTP://127.0.0.1:8080/a?b#c",           app),
            ("http://127.0.0.1:8080?a",               app),
            ("http://127.0.0.1:8080#a",               app),
            ("https://127.0.0.1:8443/a",              app),
            ("http://127.0.0.1:8082/http://x.example", other),
            ("https://127.0.0.1:8080/",               None),
            ("http://127.0.0.1:8443/",                None),
            ("http://127.0.0.1:80800/",               None),
            ("http://127.0.0.1:8080@evil.example/",   None),
            ("http://127.0.0.1:8080:x@evil.example/", None),
            ("http://user@127.0.0.1:8080/",           None),
            (r"http://127.0.0.1:8080\@evil.example/", None),
            ("http://127.0.0.1:8080.evil.example/",   None),
            ("http://127.0.0.1:808{0,1}/",            None),
            ("http://localhost:8080/",                None),
            ("http://127.0.0.1:8081/",                None),
            ("http://127.0.0.1",                      None),
            (" http://127.0.0.1:8080/",               None),
            ("127.0.0.1:8080/",                       None),
            ("é",                                     None),
            ("",                                      None),
        ];
        for (url, expected) in cases {
            assert_eq!(addressed(&world, url).map(|found| found.app), expected, "{url}");
        }
        let found = addressed(&world, "HTTP://127.0.0.1:8080/a?b").unwrap();
        assert_eq!((found.origin, found.rest), ("http://127.0.0.1:8080", "/a?b"));
    }

    fn open(dir: &Path) -> Result<Description, WorldError> {
        Place::Directory(dir.to_owned()).open()
    }

    #[test]
    fn a_world_is_read_or_its_absence_explained_with_the_next_step() {
        let dir = tempfile::tempdir().unwrap();
        let (path, shown) = (dir.path().join(FILE_NAME), dir.path().display());
        let missing = format!("no running world in {shown}: start one with `doorward dev --dir {shown}`");
        assert_eq!(open(dir.path()).unwrap_err().to_string(), missing);
        assert_eq!(
            open(Path::new(".doorward")).unwrap_err().to_string(),
            "no running world in .doorward: start one with `doorward dev`"
        );

        fs::write(&path, description("http://127.0.0.1:1").to_string()).unwrap();
        assert_eq!(open(dir.path()).unwrap().api_url, "http://127.0.0.1:1");

        #[rustfmt::skip]
        let refused = [
            ("",                              "is damaged (EOF while parsing"),
            ("{\"version\":1}",               "is damaged (missing field `project`"),
            ("{\"version\":\"1\"}",           "is damaged (invalid type"),
            ("{\"version\":2,\"realm\":\"\"}", "is of version 2, and this `doorward` reads version 1"),
        ];
        for (text, expected) in refused {
            fs::write(&path, text).unwrap();
            let message = open(dir.path()).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{} {expected}", path.display())), "{text}: {message}");
        }
        assert!(matches!(open(&path).unwrap_err(), WorldError::Missing(_)), "a file is no directory");
    }
    #[test]
    fn the_directory_that_was_typed_counts_before_the_world_around_and_that_before_the_usual_one() {
        let (typed, around) = (|| Some(PathBuf::from("typed")), || Some(PathBuf::from("around.json")));
        #[rustfmt::skip]
        let cases = [
            (typed(), around(), Place::Directory("typed".into())),
            (typed(), None,     Place::Directory("typed".into())),
            (None,    around(), Place::File("around.json".into())),
            (None,    None,     Place::Directory(".doorward".into())),
        ];
        for (dir, named, expected) in cases {
            assert_eq!(Place::of(dir, named), expected);
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("around.json");
        let message = Place::File(path.clone()).open().unwrap_err().to_string();
        let missing = format!("$DOORWARD_DEV_JSON names {}, which is not there: unset it, ", path.display());
        assert!(message.starts_with(&missing), "{message}");
        fs::write(&path, description("http://127.0.0.1:1").to_string()).unwrap();
        assert_eq!(Place::File(path).open().unwrap().api_url, "http://127.0.0.1:1");
    }

    #[test]
    fn a_name_is_called_over_tls_and_an_address_of_this_machine_as_it_is() {
        #[rustfmt::skip]
        let cases = [
            (true,  json!("https://own.test"),       "https://own.test"),
            (true,  json!(null),                     "http://own.test"),
            (false, json!("https://127.0.0.1:8444"), "http://own.test"),
        ];
        for (names, https, expected) in cases {
            let mut text = description("http://own.test");
            text["names"] = json!(names);
            text["api_https_url"] = https;
            assert_eq!(parse(PathBuf::new(), text.to_string().as_bytes()).unwrap().api_url, expected);
        }
    }
}
