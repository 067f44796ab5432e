//! What the real-client scenarios need of the machine: a Python environment, which is made, and system packages, which are
//! installed when that is asked for and allowed.

use std::fs;

use crate::run::{announce, command, probe, root, succeeds, target};

/// A package of the system that some scenarios need.
struct SystemPackage {
    /// As apt-get names it.
    name: &'static str,
    /// Succeeds if it is there.
    probe: &'static [&'static str],
    /// The modules of `tests/tests/` that need it.
    modules: &'static [&'static str],
}

const PACKAGES: [SystemPackage; 5] = [
    SystemPackage {
        name: "curl",
        probe: &["curl", "--version"],
        modules: &["needs_curl::", "needs_jq_openssl_curl::"],
    },
    SystemPackage { name: "jq", probe: &["jq", "--version"], modules: &["needs_jq_openssl_curl::"] },
    SystemPackage { name: "openssl", probe: &["openssl", "version"], modules: &["needs_jq_openssl_curl::"] },
    SystemPackage {
        name: "python3-venv",
        probe: &["python3", "-c", "import ensurepip, venv"],
        modules: &["needs_python::"],
    },
    // Lifts a limit of a running process: a disk that is full and then is not.
    SystemPackage { name: "util-linux", probe: &["prlimit", "--version"], modules: &["needs_prlimit::"] },
];

/// What is not there, with a line that says what to do, and the test modules that cannot run without it.
#[derive(Debug, Default)]
pub(crate) struct Missing {
    pub(crate) notices: Vec<String>,
    pub(crate) modules: Vec<&'static str>,
}

/// Makes everything ready that can be.
pub(crate) fn prepare(install: bool) -> Missing {
    announce("Real clients: what the system has");
    let mut absent: Vec<&SystemPackage> = PACKAGES.iter().filter(|package| !probe(package.probe)).collect();
    if install && !absent.is_empty() {
        apt_get(&absent.iter().map(|package| package.name).collect::<Vec<_>>());
        absent.retain(|package| !probe(package.probe));
    }
    let mut missing = Missing::default();
    for package in absent {
        missing.add(&format!("{0} is missing: apt-get install -y {0}", package.name), package.modules);
    }
    if !missing.modules.contains(&"needs_python::") && !python_environment() {
        let notice = "the Python environment could not be made: see above, then run `cargo xtask test` again";
        missing.add(notice, &["needs_python::"]);
    }
    for notice in &missing.notices {
        println!("{notice}");
    }
    missing
}

impl Missing {
    fn add(&mut self, notice: &str, modules: &[&'static str]) {
        let names: Vec<&str> = modules.iter().map(|module| module.trim_end_matches("::")).collect();
        self.notices.push(format!("{notice} (not run: {})", names.join(", ")));
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

/// `target/python`, with the pinned packages. Made once for each state of the pins.
fn python_environment() -> bool {
    let (home, pins) = (target().join("python"), root().join("tests/requirements.txt"));
    let stamp = home.join("requirements.txt");
    let (wanted, have) = (fs::read(&pins).ok(), fs::read(&stamp).ok());
    if wanted.is_some() && wanted == have {
        return true;
    }
    announce("Real clients: a Python environment in target/python");
    let (home, pins) = (home.to_string_lossy(), pins.to_string_lossy());
    let python = format!("{home}/bin/python");
    let pip = [&python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", &pins];
    succeeds(&mut command(&["python3", "-m", "venv", "--clear", &home]))
        && succeeds(&mut command(&pip))
        // Last, so that what was interrupted is begun again.
        && wanted.is_some_and(|wanted| fs::write(&stamp, wanted).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_scenarios_that_do_not_run() {
        let mut missing = Missing::default();
        missing.add("curl is missing: apt-get install -y curl", &["needs_curl::", "needs_jq_openssl_curl::"]);
        missing.add("jq is missing: apt-get install -y jq", &["needs_jq_openssl_curl::"]);
        let notices = [
            "curl is missing: apt-get install -y curl (not run: needs_curl, needs_jq_openssl_curl)",
            "jq is missing: apt-get install -y jq (not run: needs_jq_openssl_curl)",
        ];
        assert_eq!(missing.notices, notices);
        assert_eq!(missing.modules, ["needs_curl::", "needs_jq_openssl_curl::"]);
    }

    #[test]
    fn every_module_that_needs_something_is_known_here_and_none_besides() {
        let mut known: Vec<String> =
            PACKAGES.iter().flat_map(|package| package.modules).map(|m| (*m).to_owned()).collect();
        let mut written = Vec::new();
        for file in fs::read_dir(root().join("tests/tests")).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            let modules = text.lines().filter_map(|line| line.strip_prefix("mod needs_")?.strip_suffix(" {"));
            written.extend(modules.map(|name| format!("needs_{name}::")));
        }
        for modules in [&mut known, &mut written] {
            modules.sort_unstable();
            modules.dedup();
        }
        assert_eq!(known, written);
    }
}
