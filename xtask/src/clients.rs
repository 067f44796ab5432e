//! What the real-client scenarios need of the machine: environments for Python and Node and programs in Go and Java, which are
//! made, and programs and libraries of the system, which are installed where that is asked for and possible.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{announce, command, probe, root, succeeds, target};

/// A program, a library or a right that some scenarios need.
struct Need {
    /// Succeeds if it is there.
    probe: &'static [&'static str],
    /// Where it comes from.
    origin: Origin,
    /// The modules of `tests/tests/` that need it.
    modules: &'static [&'static str],
}

/// Where a program comes from.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// The package that apt-get knows by this name.
    Package(&'static str),
    /// Somewhere else: the program, and why its absence is no failure.
    Elsewhere(&'static str, &'static str),
    /// No package gives it: what it is, and who has it.
    Right(&'static str, &'static str),
}

const NEEDS: [Need; 20] = [
    Need {
        probe: &["curl", "--version"],
        origin: Origin::Package("curl"),
        modules: &["needs_curl::", "needs_jq_openssl_curl::", "needs_jq_openssl_curl_namespaces::", "needs_gcloud::"],
    },
    Need {
        probe: &["jq", "--version"],
        origin: Origin::Package("jq"),
        modules: &["needs_jq_openssl_curl::", "needs_jq_openssl_curl_namespaces::"],
    },
    Need {
        probe: &["openssl", "version"],
        origin: Origin::Package("openssl"),
        modules: &["needs_jq_openssl_curl::", "needs_jq_openssl_curl_namespaces::"],
    },
    Need {
        probe: &["python3", "-c", "import ensurepip, venv"],
        origin: Origin::Package("python3-venv"),
        modules: &["needs_python::"],
    },
    Need { probe: &["node", "--version"], origin: Origin::Package("nodejs"), modules: &["needs_node::"] },
    Need { probe: &["npm", "--version"], origin: Origin::Package("npm"), modules: &["needs_node::"] },
    // Lifts a limit of a running process: a disk that is full and then is not.
    Need { probe: &["prlimit", "--version"], origin: Origin::Package("util-linux"), modules: &["needs_prlimit::"] },
    Need {
        probe: &["gcloud", "--version"],
        origin: Origin::Elsewhere("gcloud", "no package registry has it; its maker's own archive does"),
        modules: &["needs_gcloud::"],
    },
    Need { probe: &["go", "version"], origin: Origin::Package("golang-go"), modules: &["needs_go::"] },
    Need {
        probe: &["test", "-f", "/usr/share/gocode/src/google.golang.org/api/impersonate/idtoken.go"],
        origin: Origin::Package("golang-google-api-dev"),
        modules: &["needs_go::"],
    },
    Need {
        probe: &["test", "-f", "/usr/share/gocode/src/golang.org/x/oauth2/google/google.go"],
        origin: Origin::Package("golang-golang-x-oauth2-google-dev"),
        modules: &["needs_go::"],
    },
    Need { probe: &["javac", "-version"], origin: Origin::Package("default-jdk-headless"), modules: &["needs_java::"] },
    Need {
        probe: &["test", "-f", "/usr/share/java/google-auth-library-oauth2-http.jar"],
        origin: Origin::Package("libgoogle-auth-java"),
        modules: &["needs_java::"],
    },
    Need {
        probe: &["ruby", "-e", "require 'googleauth'"],
        origin: Origin::Package("ruby-googleauth"),
        modules: &["needs_ruby::"],
    },
    Need { probe: &["chromium", "--version"], origin: Origin::Package("chromium"), modules: &["needs_chromium::"] },
    // A bus of its own, and on it a keyring.
    Need {
        probe: &["dbus-daemon", "--version"],
        origin: Origin::Package("dbus-daemon"),
        modules: &["needs_keyring::"],
    },
    Need {
        probe: &["sh", "-c", "command -v dbus-send"],
        origin: Origin::Package("dbus-bin"),
        modules: &["needs_keyring::"],
    },
    Need {
        probe: &["gnome-keyring-daemon", "--version"],
        origin: Origin::Package("gnome-keyring"),
        modules: &["needs_keyring::"],
    },
    // The store's own tests start a server, and fail without one: no scenario is left out.
    Need {
        probe: &[
            "sh",
            "-c",
            "PATH=$PATH:$(echo /usr/lib/postgresql/*/bin | tr ' ' :); initdb --version && pg_ctl --version",
        ],
        origin: Origin::Package("postgresql"),
        modules: &[],
    },
    // What `doorward run` asks of Linux, as root or with a user namespace.
    Need {
        probe: &["sh", "-c", "unshare -nmpf true || unshare -Urnmpf true"],
        origin: Origin::Right("namespaces", "root on Linux has them, and others where user namespaces are allowed"),
        modules: &["needs_namespaces::", "needs_jq_openssl_curl_namespaces::"],
    },
];

/// Clients that no scenario runs, because no package registry has Google's library for them.
const NOT_RUN: [&str; 2] = ["C#", "PHP"];

/// What is not there, and the test modules that cannot run without it.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) notices: Vec<Notice>,
    pub(crate) modules: Vec<&'static str>,
}

/// A line that says what is not there and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) text: String,
    /// Nothing that we know installs it, so `--require-all` does not require it.
    pub(crate) excused: bool,
}

/// Makes everything ready that can be.
pub(crate) fn prepare(install: bool) -> Missing {
    announce("Real clients: what the system has");
    let mut absent: Vec<&Need> = NEEDS.iter().filter(|program| !probe(program.probe)).collect();
    let packages: Vec<&str> = absent.iter().filter_map(|program| program.origin.package()).collect();
    if install && !packages.is_empty() {
        apt_get(&packages);
        absent.retain(|program| !probe(program.probe));
    }
    let mut missing = Missing::default();
    for program in absent {
        missing.add(program.origin.notice(), program.modules);
    }
    for environment in [Environment::python(), Environment::node(), Environment::go(), Environment::java()] {
        if !missing.modules.contains(&environment.module) && !environment.make() {
            let text = format!("{}: not made; see above, then run `cargo xtask test` again", environment.what);
            missing.add(Notice { text, excused: false }, &[environment.module]);
        }
    }
    for language in NOT_RUN {
        let text = format!("{language} is not run and not required: no package registry has Google's library for it");
        missing.notices.push(Notice { text, excused: true });
    }
    for notice in &missing.notices {
        println!("{}", notice.text);
    }
    missing
}

impl Origin {
    fn package(self) -> Option<&'static str> {
        match self {
            Origin::Package(name) => Some(name),
            Origin::Elsewhere(..) | Origin::Right(..) => None,
        }
    }

    fn notice(self) -> Notice {
        match self {
            Origin::Package(name) => {
                Notice { text: format!("{name} is missing: apt-get install -y {name}"), excused: false }
            }
            Origin::Elsewhere(name, reason) => {
                Notice { text: format!("{name} is missing and not required: {reason}"), excused: true }
            }
            Origin::Right(name, holders) => Notice { text: format!("{name} are missing: {holders}"), excused: false },
        }
    }
}

impl Missing {
    fn add(&mut self, notice: Notice, modules: &[&'static str]) {
        let names: Vec<&str> = modules.iter().map(|module| module.trim_end_matches("::")).collect();
        let left_out = if names.is_empty() { String::new() } else { format!(" (not run: {})", names.join(", ")) };
        self.notices.push(Notice { text: format!("{}{left_out}", notice.text), ..notice });
        self.modules.extend(modules);
        self.modules.sort_unstable();
        self.modules.dedup();
    }
}

fn apt_get(packages: &[&str]) {
    if !probe(&["sh", "-c", "test \"$(id -u)\" = 0"]) {
        println!("--install needs root");
        return;
    }
    let install = || {
        let words = [&["apt-get", "install", "-y", "--no-install-recommends"], packages].concat();
        succeeds(command(&words).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // The lists of a fresh image are empty.
    if !install() && succeeds(&mut command(&["apt-get", "update"])) {
        install();
    }
}

/// A folder of `target/` with what a language's scenarios run. Made once for each state of what it is made from.
struct Environment {
    what: &'static str,
    module: &'static str,
    home: PathBuf,
    /// The pins of the packages, or the program's source.
    from: PathBuf,
    /// Fills the folder.
    fill: fn(home: &str, from: &Path) -> bool,
}

impl Environment {
    fn python() -> Self {
        Environment {
            what: "Real clients: a Python environment in target/python",
            module: "needs_python::",
            home: target().join("python"),
            from: root().join("tests/requirements.txt"),
            fill: fill_python,
        }
    }

    fn node() -> Self {
        Environment {
            what: "Real clients: Node packages in target/node",
            module: "needs_node::",
            home: target().join("node"),
            from: root().join("tests/package-lock.json"),
            fill: fill_node,
        }
    }

    fn go() -> Self {
        Environment {
            what: "Real clients: a program in Go, in target/go",
            module: "needs_go::",
            home: target().join("go"),
            from: root().join("tests/clients/idtoken_impersonate.go"),
            fill: fill_go,
        }
    }

    fn java() -> Self {
        Environment {
            what: "Real clients: a program in Java, in target/java",
            module: "needs_java::",
            home: target().join("java"),
            from: root().join("tests/clients/GoogleAuthLibrary.java"),
            fill: fill_java,
        }
    }

    fn make(&self) -> bool {
        let stamp = self.home.join("made-from");
        let (wanted, have) = (fs::read(&self.from).ok(), fs::read(&stamp).ok());
        if wanted.is_some() && wanted == have {
            return true;
        }
        announce(self.what);
        (self.fill)(&self.home.to_string_lossy(), &self.from)
            // Last, so that what was interrupted is begun again.
            && wanted.is_some_and(|wanted| fs::write(&stamp, wanted).is_ok())
    }
}

fn fill_python(home: &str, pins: &Path) -> bool {
    let (python, pins) = (format!("{home}/bin/python"), pins.to_string_lossy());
    let pip = [&python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", &pins];
    succeeds(&mut command(&["python3", "-m", "venv", "--clear", home])) && succeeds(&mut command(&pip))
}

fn fill_node(home: &str, pins: &Path) -> bool {
    // `npm ci` installs what the lock beside it says, byte for byte. No script of a package runs.
    let copied = fs::create_dir_all(home).is_ok()
        && [pins.to_owned(), pins.with_file_name("package.json")]
            .iter()
            .all(|file| file.file_name().is_some_and(|name| fs::copy(file, Path::new(home).join(name)).is_ok()));
    let npm = ["npm", "ci", "--prefix", home, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"];
    copied && succeeds(&mut command(&npm))
}

/// With the libraries of the system's packages, which lie where Go looked before it had modules.
fn fill_go(home: &str, source: &Path) -> bool {
    let (program, source) = (format!("{home}/idtoken_impersonate"), source.to_string_lossy());
    let mut build = command(&["go", "build", "-o", &program, &source]);
    build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode").env("GOCACHE", format!("{home}/cache"));
    succeeds(&mut build)
}

/// With the libraries of the system's packages; those that they need at run time lie beside them.
fn fill_java(home: &str, source: &Path) -> bool {
    succeeds(&mut command(&["javac", "-d", home, "-cp", "/usr/share/java/*", &source.to_string_lossy()]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_scenarios_that_do_not_run() {
        let mut missing = Missing::default();
        missing.add(Origin::Package("curl").notice(), &["needs_curl::", "needs_jq_openssl_curl::"]);
        missing.add(Origin::Package("jq").notice(), &["needs_jq_openssl_curl::"]);
        missing.add(Origin::Elsewhere("tool", "nobody packs it").notice(), &["needs_tool::"]);
        missing.add(Origin::Package("postgresql").notice(), &[]);
        missing.add(Origin::Right("wings", "birds have them").notice(), &["needs_wings::"]);
        let notice = |text: &str, excused| Notice { text: text.to_owned(), excused };
        let notices = [
            notice("curl is missing: apt-get install -y curl (not run: needs_curl, needs_jq_openssl_curl)", false),
            notice("jq is missing: apt-get install -y jq (not run: needs_jq_openssl_curl)", false),
            notice("tool is missing and not required: nobody packs it (not run: needs_tool)", true),
            notice("postgresql is missing: apt-get install -y postgresql", false),
            notice("wings are missing: birds have them (not run: needs_wings)", false),
        ];
        assert_eq!(missing.notices, notices);
        assert_eq!(missing.modules, ["needs_curl::", "needs_jq_openssl_curl::", "needs_tool::", "needs_wings::"]);
    }

    /// The modules that the scenario files of a folder name, and those of the folders in it.
    fn modules_in(folder: &Path) -> Vec<String> {
        let mut modules = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                modules.extend(modules_in(&path));
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            let names = text.lines().filter_map(|line| {
                let rest = line.strip_prefix("mod needs_")?;
                rest.strip_suffix(" {").or(rest.strip_suffix(';'))
            });
            modules.extend(names.map(|name| format!("needs_{name}::")));
        }
        modules
    }

    #[test]
    fn every_module_that_needs_something_is_known_here_and_none_besides() {
        let mut known: Vec<String> =
            NEEDS.iter().flat_map(|program| program.modules).map(|m| (*m).to_owned()).collect();
        let mut written = modules_in(&root().join("tests/tests"));
        for modules in [&mut known, &mut written] {
            modules.sort_unstable();
            modules.dedup();
        }
        assert_eq!(known, written);
    }

    #[test]
    fn the_lock_of_the_node_packages_names_no_registry() {
        let lock = fs::read_to_string(root().join("tests/package-lock.json")).unwrap();
        assert!(
            lock.contains("\"integrity\"") && !lock.contains("\"resolved\""),
            "see `omit-lockfile-registry-resolved`"
        );
    }
}
