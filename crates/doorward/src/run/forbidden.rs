//! What to say to those whose system does not let them have namespaces.

use std::{fmt, fs, io};

/// The system does not let this user have what it takes.
#[derive(Debug, thiserror::Error)]
pub(super) struct Forbidden {
    what: &'static str,
    cause: io::Error,
    remedy: Remedy,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Forbidden { what, cause, remedy } = self;
        write!(
            f,
            "this system does not let you make {what} ({cause}): {remedy}, or use `doorward dev` and the endpoint settings of the guide"
        )
    }
}

/// What would let it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// A switch of the kernel, which root can set.
    Switch(&'static str),
    /// Nothing that can be seen from here.
    Unknown,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::Switch(setting) => write!(f, "let root `sysctl -w {setting}`, run as root"),
            Remedy::Unknown => f.write_str(
                "run as root; in a container, start it with `--cap-add SYS_ADMIN --cap-add NET_ADMIN` and without its seccomp and \
                 AppArmor profiles",
            ),
        }
    }
}

/// A switch of the kernel: where it is read, the value that forbids, and how it is set to one that allows.
type Switch = (&'static str, &'static str, &'static str);

/// The switches of user namespaces: of every kernel, of Debian's, of Ubuntu's since 23.10.
const SWITCHES: [Switch; 3] = [
    ("/proc/sys/user/max_user_namespaces", "0", "user.max_user_namespaces=15000"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "kernel.apparmor_restrict_unprivileged_userns=0"),
];

impl Forbidden {
    /// A user namespace was refused.
    pub(super) fn user_namespace(cause: io::Error) -> Self {
        Forbidden { what: "a user namespace", cause, remedy: remedy(|path| fs::read_to_string(path).ok()) }
    }

    /// The other namespaces were refused: to root in a container, or to the owner of a user namespace that means nothing.
    pub(super) fn namespaces(cause: io::Error) -> Self {
        Forbidden { what: "network, mount and process namespaces", ..Self::user_namespace(cause) }
    }
}

fn remedy(read: impl Fn(&str) -> Option<String>) -> Remedy {
    let forbids = |(path, value, _): &&Switch| read(path).is_some_and(|text| text.trim() == *value);
    SWITCHES.iter().find(forbids).map_or(Remedy::Unknown, |(_, _, setting)| Remedy::Switch(setting))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_switch_that_forbids_is_named_and_without_one_the_container_is() {
        let ubuntu = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
        let debian = "/proc/sys/kernel/unprivileged_userns_clone";
        #[rustfmt::skip]
        let cases: [(&str, &str, &str); 4] = [
            (ubuntu,   "1\n", "let root `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"),
            (debian,   "0\n", "let root `sysctl -w kernel.unprivileged_userns_clone=1`"),
            (debian,   "1\n", "run as root; in a container"),
            ("/other", "0\n", "run as root; in a container"),
        ];
        for (path, value, expected) in cases {
            let remedy = remedy(|asked| (asked == path).then(|| value.to_owned()));
            let forbidden =
                Forbidden { what: "a user namespace", cause: io::ErrorKind::PermissionDenied.into(), remedy };
            let text = forbidden.to_string();
            assert!(
                text.starts_with("this system does not let you make a user namespace (permission denied): "),
                "{text}"
            );
            assert!(text.contains(expected), "{path}: {text}");
            assert!(text.contains("`doorward dev`") && !text.contains('\n'), "{text}");
        }
    }
}
