//! The keyring of a desktop session: GNOME Keyring on a bus of its own, which ends with the test.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use doorward_tests::{Browser, Dev, Finished, Process, doorward, run};
use tempfile::TempDir;

use super::succeed;

const ALICE: &str = "alice@example.com";
const ALL: &str = "/org/freedesktop/secrets/collection/login";

/// A person's session: a home, a bus, and on it an unlocked keyring.
struct Session<'a> {
    dev: &'a Dev,
    home: TempDir,
    address: String,
    /// Ended last; the keyring ends with it.
    _bus: Process,
}

impl<'a> Session<'a> {
    fn start(dev: &'a Dev) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let bus = ["--session", "--nofork", "--print-address=1"];
        let bus = Process::start(Command::new("dbus-daemon").args(bus).envs(surroundings(&home)));
        let address = bus.next_line().expect("the address of the bus");
        let session = Session { dev, home, address, _bus: bus };
        let mut keyring = session.within(Command::new("gnome-keyring-daemon"));
        keyring.args(["--unlock", "--components=secrets"]);
        let Finished { code, stderr, .. } = Process::start_with_input(&mut keyring, "a password").finish();
        assert_eq!(code, Some(0), "{stderr}");
        // It is not on the bus before it answers there.
        session.ask("ReadAlias", "string:default");
        session
    }

    fn within(&self, mut command: Command) -> Command {
        command.envs(surroundings(&self.home)).env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        command
    }

    /// Calls a method of the secret service.
    fn ask(&self, method: &str, argument: &str) -> String {
        let mut command = self.within(Command::new("dbus-send"));
        command.args(["--session", "--print-reply", "--dest=org.freedesktop.secrets", "/org/freedesktop/secrets"]);
        succeed(command.arg(format!("org.freedesktop.Secret.Service.{method}")).arg(argument))
    }

    /// The paths of our entries.
    fn entries(&self) -> usize {
        self.ask("SearchItems", "dict:string:string:service,doorward").matches(ALL).count()
    }

    fn config(&self) -> PathBuf {
        self.home.path().join("config")
    }

    fn file(&self) -> String {
        fs::read_to_string(self.config().join("credentials.json")).expect("the file of sign-ins")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.within(doorward());
        command.args(arguments).arg("--dir").arg(self.dev.dir());
        command.env("DOORWARD_CONFIG", self.config()).env("DOORWARD_KEYRING", "on");
        command
    }

    fn run(&self, arguments: &[&str]) -> String {
        succeed(&mut self.command(arguments)).trim().to_owned()
    }

    fn fail(&self, arguments: &[&str]) -> String {
        let Finished { code, stdout, stderr } = run(&mut self.command(arguments));
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        stderr
    }

    fn sign_in(&self, command: Command) {
        let mut shell = self.within(Command::new("sh"));
        shell.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(command.get_program()).args(command.get_args());
        shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let login = Process::start(&mut shell);
        let line = |start: &str| login.next_line().and_then(|line| line.strip_prefix(start).map(str::to_owned));
        let address = line("open ").expect("an address");
        let code = line("and see that it shows the code ").expect("a code");
        let mut browser = Browser::with_cookies(self.dev.person(ALICE).cookie());
        let page = browser.open(&address).asks_for("user_code");
        let page = browser.send(&page, &[("user_code", &code)]).asks_for("decision");
        assert_eq!(browser.send(&page, &[("decision", "allow")]).response.status, 200);
        let Finished { code, stdout, .. } = login.finish();
        assert_eq!(code, Some(0), "{stdout}");
    }
}

/// Of this session alone: whoever runs the tests has a keyring of their own.
fn surroundings(home: &TempDir) -> [(&'static str, PathBuf); 4] {
    ["HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME"].map(|name| (name, home.path().to_owned()))
}

#[test]
fn a_sign_in_is_in_the_keyring_and_the_file_holds_no_secret() {
    let dev = Dev::start(&[]);
    let session = Session::start(&dev);
    session.sign_in(session.command(&["login", "--device"]));
    let file = session.file();
    assert!(file.contains(ALICE) && file.contains("\"keyring\"") && !file.contains("doorward_rt_"), "{file}");
    assert_eq!(session.entries(), 1);
    let token = ["token", "--app", "app", "--as", "me", "--no-cache"];
    assert_eq!(dev.claims(&session.run(&token))["email"], ALICE);

    session.sign_in(session.command(&["login", "--device"]));
    assert_eq!(session.entries(), 1, "the one before is not left there");
    assert_eq!(dev.claims(&session.run(&token))["email"], ALICE);

    session.ask("Lock", &format!("array:objpath:{ALL}"));
    let locked = session.fail(&token);
    assert!(locked.contains("is in the keyring, and it is locked: unlock it, or sign in again"), "{locked}");
    let mut off = session.command(&token);
    let Finished { code, stderr, .. } = run(off.env("DOORWARD_KEYRING", "off"));
    assert!(code == Some(1) && stderr.contains("DOORWARD_KEYRING=off forbids to use it"), "{stderr}");
}

#[test]
fn signing_out_empties_file_and_keyring() {
    let dev = Dev::start(&[]);
    let session = Session::start(&dev);
    session.sign_in(session.command(&["login", "--device"]));
    assert_eq!(session.entries(), 1);
    assert!(session.run(&["logout"]).contains(ALICE));
    assert_eq!(session.entries(), 0);
    assert!(!session.file().contains(ALICE), "{}", session.file());
    assert!(session.fail(&["whoami"]).contains("doorward login"));
}

#[test]
fn a_keyring_that_is_not_to_be_used_is_left_alone() {
    let dev = Dev::start(&[]);
    let session = Session::start(&dev);
    let mut login = session.command(&["login", "--device"]);
    login.env("DOORWARD_KEYRING", "off");
    session.sign_in(login);
    assert_eq!(session.entries(), 0);
    assert!(session.file().contains("doorward_rt_"));
    assert!(session.run(&["whoami"]).contains(ALICE), "what lies in the file is read, whatever is set");

    session.ask("Lock", &format!("array:objpath:{ALL}"));
    session.sign_in(session.command(&["login", "--device"]));
    assert!(session.file().contains("doorward_rt_"), "a keyring that is locked keeps nobody from signing in");
    assert!(session.run(&["whoami"]).contains(ALICE));
}
