//! The house as a test: levels, who may import what, and what no file says.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Where a package stands; `None` for what is outside the product. See ARCHITECTURE.md.
fn level(package: &str) -> Option<u8> {
    match package {
        "doorward-wire" => Some(0),
        "doorward-core" => Some(1),
        "doorward-control" | "doorward-proxy" | "doorward-store" | "doorward-client" => Some(2),
        "doorward-server" => Some(3),
        "doorward" => Some(4),
        "doorward-tests" | "xtask" => None,
        other => panic!("give {other} a level"),
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every package of the workspace with the names of its normal dependencies.
fn packages() -> Vec<(String, BTreeSet<String>)> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--no-deps"]).current_dir(root());
    let metadata: Value = serde_json::from_slice(&command.output().expect("cargo runs").stdout).expect("JSON of cargo");
    let packages = metadata["packages"].as_array().expect("packages");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    packages
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().expect("dependencies").iter();
            let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
            (text(&package["name"]), normal.map(|dependency| text(&dependency["name"])).collect())
        })
        .collect()
}

#[test]
fn an_import_points_to_a_lower_level() {
    let packages = packages();
    assert!(packages.iter().any(|(name, _)| name == "doorward"), "{packages:?}");
    let names: BTreeSet<&String> = packages.iter().map(|(name, _)| name).collect();
    for (from, dependencies) in &packages {
        let Some(from_level) = level(from) else { continue };
        for to in dependencies.iter().filter(|to| names.contains(to)) {
            let lower = level(to).is_some_and(|to_level| to_level < from_level);
            assert!(lower, "{from} -> {to}");
        }
    }
}

#[test]
fn a_crate_cannot_reach_what_is_not_its_business() {
    // library => the only packages that may depend on it
    #[rustfmt::skip]
    let only: [(&[&str], &[&str]); 8] = [
        (&["sqlx", "rusqlite", "libsqlite3-sys"],          &["doorward-store"]),
        (&["axum", "tower", "askama"],                     &["doorward-server"]),
        (&["clap"],                                        &["doorward"]),
        (&["rustix"],                                      &["doorward", "doorward-server"]),
        (&["reqwest", "reqwest-middleware"],               &["doorward-client"]),
        (&["cel"],                                         &["doorward-core"]),
        // The binary does two things for which nobody is asked, so that no server stands between: `import` turns a file into
        // a file, `backup` and `restore` carry rows between a store and a file.
        (&["doorward-control"],                            &["doorward", "doorward-server"]),
        (&["doorward-store"],                              &["doorward", "doorward-server"]),
    ];
    #[rustfmt::skip]
    let never: [(&str, &[&str]); 4] = [
        ("doorward-wire",    &["tokio", "hyper", "hyper-util", "async-trait"]),
        ("doorward-core",    &["tokio", "tokio-rustls", "socket2", "hyper", "hyper-util", "http", "http-body", "rustls", "reqwest"]),
        ("doorward-client",  &["doorward-core", "axum", "sqlx"]),
        ("doorward-control", &["http", "http-body", "hyper", "hyper-util", "rustls"]),
    ];
    for (package, dependencies) in packages().iter().filter(|(package, _)| level(package).is_some()) {
        for (libraries, owners) in only {
            let found = libraries.iter().find(|library| dependencies.contains(**library));
            assert!(found.is_none() || owners.contains(&package.as_str()), "{package} -> {found:?}");
        }
        for (_, libraries) in never.iter().filter(|(name, _)| name == package) {
            let found = libraries.iter().find(|library| dependencies.contains(**library));
            assert_eq!(found, None, "{package}");
        }
    }
}

#[test]
fn no_file_holds_a_gap_or_a_path_of_a_machine() {
    // Written in two halves, because this file is looked at too.
    let gaps = [["todo", "!("].concat(), ["unimplemented", "!("].concat()];
    let paths = [["/wo", "rk/"], ["../sha", "red"], ["shared/", "reference"], ["shared/", "design"], ["/ro", "ot/"]];
    let paths = paths.map(|halves| halves.concat());
    let files = text_files(&root());
    assert!(files.len() > 50, "only {} files were found", files.len());
    for (file, text) in files {
        let rust = file.extension().is_some_and(|extension| extension == "rs");
        let mut wanted = paths.iter().chain(gaps.iter().filter(|_| rust));
        assert_eq!(wanted.find(|needle| text.contains(needle.as_str())), None, "{}", file.display());
    }
}

/// Every text file of the project, without what is built or made.
fn text_files(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).expect("a readable directory").map(|entry| entry.expect("a readable entry")) {
        let path = entry.path();
        let made = ["target", ".git", ".doorward", "__pycache__"].iter().any(|name| path.ends_with(name));
        if made {
            continue;
        }
        if entry.file_type().expect("a file type").is_dir() {
            files.extend(text_files(&path));
        } else if let Ok(text) = fs::read_to_string(&path) {
            files.push((path, text));
        }
    }
    files
}
