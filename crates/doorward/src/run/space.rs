//! The thread that makes the program's namespaces, takes the sockets in them, starts the program's process 1 and waits for its end.
//!
//! It must live as long as the program: process 1 is killed when the thread that started it ends. It must start no thread of its
//! own: the kernel refuses that to a thread whose children are to be in another process namespace.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc;
use std::time::Duration;

use doorward_server::dev::names::{GOOGLE_NAMES, METADATA_ADDRESS, METADATA_NAMES, OWN_NAME};
use doorward_server::dev::{NamedSockets, StartError};
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::thread::UnshareFlags;
use tokio::sync::oneshot;

use super::environment::{self, Paths};
use super::forbidden::Forbidden;
use super::{inner, network, privilege, trust};

/// How long process 1 may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no place for the program.
#[derive(Debug, thiserror::Error)]
pub(super) enum SpaceError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("cannot bring up the network of the program: {0}")]
    Network(io::Error),
    #[error(transparent)]
    Listen(StartError),
    #[error("cannot put {} in its place for the program: {cause}", path.display())]
    Mount { path: PathBuf, cause: io::Error },
    #[error("cannot start the program's first process: {0}")]
    Spawn(io::Error),
    #[error("the program's first process does not answer: {0}")]
    Silent(io::Error),
    #[error("cannot start a thread: {0}")]
    Thread(io::Error),
    #[error("the thread of the program's namespaces is gone")]
    Gone,
}

/// What is to be run, and what it finds.
pub(super) struct Launch {
    /// The program and its arguments.
    pub(super) command: Vec<OsString>,
    /// The description of the world.
    pub(super) description: PathBuf,
    /// The folder in which it lies. Another one is made in it, empty, on which the program sees files of its own.
    pub(super) folder: PathBuf,
    /// Our certificate authority, in PEM.
    pub(super) authority: String,
}

/// The program's process 1, which waits for the word to start it.
pub(super) struct Running {
    /// Takes the word to start, and then numbers of signals. When it is closed, everything in the namespace ends.
    pub(super) control: UnixStream,
    /// How process 1 ended, when it has; everything else in the namespace has ended then.
    pub(super) ended: oneshot::Receiver<io::Result<ExitStatus>>,
}

type Started = Result<(UnixStream, oneshot::Receiver<io::Result<ExitStatus>>), SpaceError>;

/// The namespaces of the program. When this value is dropped before the launch, they are gone.
pub(super) struct Space {
    launches: mpsc::SyncSender<Launch>,
    started: mpsc::Receiver<Started>,
}

impl Space {
    /// Makes the namespaces, and takes the world's sockets in them.
    pub(super) fn open() -> Result<(Self, NamedSockets), SpaceError> {
        let (send_sockets, sockets) = mpsc::sync_channel(1);
        let (launches, take_launch) = mpsc::sync_channel(1);
        let (send_started, started) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("namespaces".to_owned());
        let live = move || live(&send_sockets, &take_launch, &send_started);
        thread.spawn(live).map_err(SpaceError::Thread)?;
        let sockets = sockets.recv().map_err(|_| SpaceError::Gone)??;
        Ok((Space { launches, started }, sockets))
    }

    /// Puts everything in its place, and starts process 1.
    pub(super) fn launch(self, launch: Launch) -> Result<Running, SpaceError> {
        self.launches.send(launch).map_err(|_| SpaceError::Gone)?;
        let (control, ended) = self.started.recv().map_err(|_| SpaceError::Gone)??;
        Ok(Running { control, ended })
    }
}

/// The thread's life. Whoever does not listen any more has given up.
fn live(
    sockets: &mpsc::SyncSender<Result<NamedSockets, SpaceError>>,
    launches: &mpsc::Receiver<Launch>,
    started: &mpsc::SyncSender<Started>,
) {
    let entered = enter().and_then(|()| NamedSockets::bind().map_err(SpaceError::Listen));
    if sockets.send(entered).is_err() {
        return;
    }
    let Ok(launch) = launches.recv() else { return };
    match furnish(&launch).and_then(|furniture| start(&launch, &furniture)) {
        Err(error) => drop(started.send(Err(error))),
        Ok((mut child, control)) => {
            let (tell, ended) = oneshot::channel();
            if started.send(Ok((control, ended))).is_ok() {
                let _ = tell.send(child.wait());
            }
        }
    }
}

fn enter() -> Result<(), SpaceError> {
    let namespaces = UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWPID;
    privilege::unshare(namespaces).map_err(Forbidden::namespaces)?;
    // Otherwise what is mounted here would be mounted for the machine too.
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(|error| Forbidden::namespaces(error.into()))?;
    network::bring_up(METADATA_ADDRESS).map_err(SpaceError::Network)
}

/// Where the program finds what was made for it.
struct Furniture {
    bundle: PathBuf,
    java_store: PathBuf,
}

/// Puts files of the program's own over the machine's, for this mount namespace. They lie in memory and vanish with it.
fn furnish(launch: &Launch) -> Result<Furniture, SpaceError> {
    let folder = launch.folder.join("run");
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause: io::Error| SpaceError::Mount { path, cause }
    };
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    mount_memory(&folder).map_err(failed(&folder))?;
    let make = |name: &str, contents: &[u8]| {
        let path = folder.join(name);
        let written = fs::write(&path, contents);
        // Programs that gave up our user's rights look names up, too.
        written.and_then(|()| fs::set_permissions(&path, Permissions::from_mode(0o644))).map_err(failed(&path))?;
        Ok::<_, SpaceError>(path)
    };
    let put =
        |made: &Path, over: &Path| rustix::mount::mount_bind(made, over).map_err(|error| failed(over)(error.into()));

    put(&make("hosts", hosts().as_bytes())?, Path::new("/etc/hosts"))?;
    // Every other name is refused at once: nobody listens there.
    let resolvers = make("resolv.conf", b"nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")?;
    let switch = Path::new("/etc/nsswitch.conf");
    let switch_text = fs::read_to_string(switch).unwrap_or_default();
    let services = make("nsswitch.conf", name_services(&switch_text).as_bytes())?;
    for (made, over) in [(&resolvers, Path::new("/etc/resolv.conf")), (&services, switch)] {
        if over.exists() {
            put(made, over)?;
        }
    }
    // A daemon that answers for all of the machine knows nothing of the hosts file of one program.
    for daemon in ["/run/nscd", "/var/run/nscd"].map(Path::new) {
        if daemon.is_dir() {
            mount_memory(daemon).map_err(failed(daemon))?;
        }
    }

    let (bundles, java_stores) = (trust::bundles(), trust::java_stores());
    let system = bundles.first().map(PathBuf::as_path);
    let bundle = trust::bundle(system, &launch.authority).map_err(failed(system.unwrap_or(&folder)))?;
    let made_store = make("trusted.jks", &trust::java_store(&bundle))?;
    let made_bundle = make("trusted.pem", &bundle)?;
    bundles.iter().try_for_each(|over| put(&made_bundle, over))?;
    java_stores.iter().try_for_each(|over| put(&made_store, over))?;
    // The system's places can be read by every user.
    let first_or = |places: Vec<PathBuf>, made| places.into_iter().next().unwrap_or(made);
    Ok(Furniture { bundle: first_or(bundles, made_bundle), java_store: first_or(java_stores, made_store) })
}

/// A file system in memory, which everybody can read and only we can write.
fn mount_memory(folder: &Path) -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(rustix::mount::mount("doorward", folder, "tmpfs", flags, Some(c"mode=0755"))?)
}

/// The hosts file of the program.
fn hosts() -> String {
    let own = rustix::system::uname();
    let own = own.nodename().to_str().unwrap_or_default();
    let metadata = std::net::Ipv4Addr::from(METADATA_ADDRESS);
    let lines = [("127.0.0.1", "localhost"), ("::1", "localhost ip6-localhost ip6-loopback"), ("127.0.1.1", own)];
    let lines = lines.into_iter().filter(|(_, names)| !names.is_empty()).map(|(at, names)| format!("{at} {names}\n"));
    let google = GOOGLE_NAMES.iter().chain([&OWN_NAME]).map(|name| format!("127.0.0.1 {name}\n"));
    // Node asks for the absolute spelling, which resolvers do not take for the same.
    let metadata = METADATA_NAMES.map(|name| format!("{metadata} {name} {name}.\n"));
    lines.chain(google).chain(metadata).collect()
}

/// The machine's choice of name services, with the hosts file before everything else that knows hosts.
fn name_services(machine: &str) -> String {
    let others = machine.lines().filter(|line| !line.trim_start().starts_with("hosts:"));
    others.chain(["hosts: files dns"]).map(|line| format!("{line}\n")).collect()
}

/// Starts process 1, and waits until it is there.
fn start(launch: &Launch, furniture: &Furniture) -> Result<(Child, UnixStream), SpaceError> {
    let listener = inner::control_address().and_then(|address| UnixListener::bind_addr(&address));
    let listener = listener.map_err(SpaceError::Spawn)?;
    set_socket_timeout(&listener, Timeout::Recv, Some(PATIENCE)).map_err(|error| SpaceError::Spawn(error.into()))?;
    // Where it is refused, process 1 cannot show its own processes in /proc, and nothing else is different.
    let _ = privilege::pass_on_mounting();
    // This very program, even if its file was replaced meanwhile.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("doorward").args(["run-inner", "--"]).args(&launch.command);
    let paths =
        Paths { description: &launch.description, bundle: &furniture.bundle, java_store: &furniture.java_store };
    environment::set(&mut command, &paths);
    let child = command.spawn().map_err(SpaceError::Spawn)?;
    let (control, _) = listener.accept().map_err(SpaceError::Silent)?;
    Ok((child, control))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hosts_file_has_every_name_once_and_metadata_at_its_own_address() {
        let hosts = hosts();
        let names = || hosts.lines().flat_map(|line| line.split(' ').skip(1).map(move |name| (line, name)));
        for name in GOOGLE_NAMES.iter().chain(&METADATA_NAMES).chain([&OWN_NAME]) {
            let lines: Vec<&str> = names().filter(|(_, it)| it == name).map(|(line, _)| line).collect();
            let address = if METADATA_NAMES.contains(name) { "169.254.169.254 " } else { "127.0.0.1 " };
            assert!(lines.len() == 1 && lines[0].starts_with(address), "{name}: {lines:?}");
        }
    }

    #[test]
    fn the_hosts_file_is_asked_first_whatever_the_machine_says() {
        #[rustfmt::skip]
        let cases = [
            ("",                                                  "hosts: files dns\n"),
            ("hosts: mymachines resolve [!UNAVAIL=return] files", "hosts: files dns\n"),
            ("passwd: files\n hosts:\tdns files\ngroup: files\n", "passwd: files\ngroup: files\nhosts: files dns\n"),
        ];
        for (machine, expected) in cases {
            assert_eq!(name_services(machine), expected, "{machine}");
        }
    }
}
