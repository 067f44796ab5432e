//! Commands of ours against a running `doorward dev`, to their end.

use serde_json::Value;

use crate::{Dev, Finished, run};

impl Dev {
    /// What a command prints; panics with what it says if it fails.
    pub fn ran(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = run(&mut self.command(arguments));
        assert_eq!(code, Some(0), "{arguments:?}: {stderr}");
        stdout
    }

    /// What a command prints as JSON.
    pub fn printed(&self, arguments: &[&str]) -> Value {
        let stdout = self.ran(&[arguments, &["--json"]].concat());
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error} in {stdout}"))
    }

    /// What a command that fails says on standard error; it says nothing on standard output.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = run(&mut self.command(arguments));
        assert!(matches!(code, Some(1 | 2)) && stdout.is_empty(), "{arguments:?}: {code:?} {stdout}");
        stderr
    }
}
