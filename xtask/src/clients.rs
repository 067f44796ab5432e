//! What the real-client scenarios need of the machine: environments for Python and Node, which are made, and programs of the
//! system, which are installed where that is asked for and possible.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{announce, command, probe, root, succeeds, target};

/// A program of the system that some scenarios need.
struct SystemProgram {
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
}

const PROGRAMS: [SystemProgram; 8] = [
    SystemProgram {
        probe: &["curl", "--version"],
        origin: Origin::Package("curl"),
        modules: &["needs_curl::", "needs_jq_openssl_curl::", "needs_gcloud::"],
    },
    SystemProgram { probe: &["jq", "--version"], origin: Origin::Package("jq"), modules: &["needs_jq_openssl_curl::"] },
    SystemProgram {
        probe: &["openssl", "version"],
        origin: Origin::Package("openssl"),
        modules: &["needs_jq_openssl_curl::"],
    },
    SystemProgram {
        probe: &["python3", "-c", "import ensurepip, venv"],
        origin: Origin::Package("python3-venv"),
        modules: &["needs_python::"],
    },
    SystemProgram { probe: &["node", "--version"], origin: Origin::Package("nodejs"), modules: &["needs_node::"] },
    SystemProgram { probe: &["npm", "--version"], origin: Origin::Package("npm"), modules: &["needs_node::"] },
    // Lifts a limit of a running process: a disk that is full and then is not.
    SystemProgram {
        probe: &["prlimit", "--version"],
        origin: Origin::Package("util-linux"),
        modules: &["needs_prlimit::"],
    },
    SystemProgram {
        probe: &["gcloud", "--version"],
        origin: Origin::Elsewhere("gcloud", "no package registry has it; its maker's own archive does"),
        modules: &["needs_gcloud::"],
    },
];

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
    let mut absent: Vec<&SystemProgram> = PROGRAMS.iter().filter(|program| !probe(program.probe)).collect();
    let packages: Vec<&str> = absent.iter().filter_map(|program| program.origin.package()).collect();
    if install && !packages.is_empty() {
        apt_get(&packages);
        absent.retain(|program| !probe(program.probe));
    }
    let mut missing = Missing::default();
    for program in absent {
        missing.add(program.origin.notice(), program.modules);
    }
    for environment in [Environment::python(), Environment::node()] {
        if !missing.modules.contains(&environment.module) && !environment.make() {
            let text = format!("{}: not made; see above, then run `cargo xtask test` again", environment.what);
            missing.add(Notice { text, excused: false }, &[environment.module]);
        }
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
            Origin::Elsewhere(..) => None,
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
        }
    }
}

impl Missing {
    fn add(&mut self, notice: Notice, modules: &[&'static str]) {
        let names: Vec<&str> = modules.iter().map(|module| module.trim_end_matches("::")).collect();
        self.notices.push(Notice { text: format!("{} (not run: {})", notice.text, names.join(", ")), ..notice });
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

/// A folder of `target/` with the pinned packages of a language. Made once for each state of the pins.
struct Environment {
    what: &'static str,
    module: &'static str,
    home: PathBuf,
    pins: PathBuf,
    /// Fills the folder.
    fill: fn(home: &str, pins: &Path) -> bool,
}

impl Environment {
    fn python() -> Self {
        Environment {
            what: "Real clients: a Python environment in target/python",
            module: "needs_python::",
            home: target().join("python"),
            pins: root().join("tests/requirements.txt"),
            fill: fill_python,
        }
    }

    fn node() -> Self {
        Environment {
            what: "Real clients: Node packages in target/node",
            module: "needs_node::",
            home: target().join("node"),
            pins: root().join("tests/package-lock.json"),
            fill: fill_node,
        }
    }

    fn make(&self) -> bool {
        let stamp = self.home.join("made-from");
        let (wanted, have) = (fs::read(&self.pins).ok(), fs::read(&stamp).ok());
        if wanted.is_some() && wanted == have {
            return true;
        }
        announce(self.what);
        (self.fill)(&self.home.to_string_lossy(), &self.pins)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_scenarios_that_do_not_run() {
        let mut missing = Missing::default();
        missing.add(Origin::Package("curl").notice(), &["needs_curl::", "needs_jq_openssl_curl::"]);
        missing.add(Origin::Package("jq").notice(), &["needs_jq_openssl_curl::"]);
        missing.add(Origin::Elsewhere("tool", "nobody packs it").notice(), &["needs_tool::"]);
        let notice = |text: &str, excused| Notice { text: text.to_owned(), excused };
        let notices = [
            notice("curl is missing: apt-get install -y curl (not run: needs_curl, needs_jq_openssl_curl)", false),
            notice("jq is missing: apt-get install -y jq (not run: needs_jq_openssl_curl)", false),
            notice("tool is missing and not required: nobody packs it (not run: needs_tool)", true),
        ];
        assert_eq!(missing.notices, notices);
        assert_eq!(missing.modules, ["needs_curl::", "needs_jq_openssl_curl::", "needs_tool::"]);
    }

    /// The modules of a scenario file, in it or in files beside it.
    fn modules_of(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        let names = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("mod needs_")?;
            rest.strip_suffix(" {").or(rest.strip_suffix(';'))
        });
        names.map(|name| format!("needs_{name}::")).collect()
    }

    #[test]
    fn every_module_that_needs_something_is_known_here_and_none_besides() {
        let mut known: Vec<String> =
            PROGRAMS.iter().flat_map(|program| program.modules).map(|m| (*m).to_owned()).collect();
        let mut written = Vec::new();
        for entry in fs::read_dir(root().join("tests/tests")).unwrap() {
            let path = entry.unwrap().path();
            let file = if path.is_dir() { path.join("main.rs") } else { path };
            written.extend(modules_of(&file));
        }
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
