//! What it takes to make namespaces: capabilities, or a user namespace in which everybody has them.

use std::{fs, io};

use rustix::thread::{CapabilitySet, UnshareFlags};

use super::forbidden::Forbidden;

/// Namespaces and mounts; addresses of a network; the ports below 1024.
const NEEDED: CapabilitySet =
    CapabilitySet::SYS_ADMIN.union(CapabilitySet::NET_ADMIN).union(CapabilitySet::NET_BIND_SERVICE);

/// Makes sure that this process may make namespaces, by way of a user namespace if need be. In it everybody is who they were, and
/// other users are nobody. The process must have one thread.
///
/// # Errors
/// [`Forbidden`] if the system does not let this user have a user namespace.
pub(super) fn acquire() -> Result<(), Forbidden> {
    if rustix::thread::capabilities(None).is_ok_and(|have| have.effective.contains(NEEDED)) {
        return Ok(());
    }
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    unshare(UnshareFlags::NEWUSER).map_err(Forbidden::user_namespace)?;
    let map =
        |name: &str, text: String| fs::write(format!("/proc/self/{name}"), text).map_err(Forbidden::user_namespace);
    // A group may be what keeps somebody out, so groups may be mapped by those only who cannot leave one (user_namespaces(7)).
    map("setgroups", "deny".to_owned())?;
    map("uid_map", format!("{} {} 1", uid.as_raw(), uid.as_raw()))?;
    map("gid_map", format!("{} {} 1", gid.as_raw(), gid.as_raw()))
}

/// Leaves namespaces of this thread for new ones.
pub(super) fn unshare(namespaces: UnshareFlags) -> io::Result<()> {
    #[expect(
        deprecated,
        reason = "unsafe because of the file table, which must not be given up and is not given up here"
    )]
    rustix::thread::unshare(namespaces.difference(UnshareFlags::FILES)).map_err(io::Error::from)
}

/// Lets the next program that this thread starts mount, which it could not if this is a user namespace and it is not root there.
pub(super) fn pass_on_mounting() -> io::Result<()> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable |= CapabilitySet::SYS_ADMIN;
    rustix::thread::set_capabilities(None, sets)?;
    Ok(rustix::thread::configure_capability_in_ambient_set(CapabilitySet::SYS_ADMIN, true)?)
}

/// Takes that back, for what this process starts.
pub(super) fn keep_mounting_to_ourselves() -> io::Result<()> {
    rustix::thread::configure_capability_in_ambient_set(CapabilitySet::SYS_ADMIN, false)?;
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable &= !CapabilitySet::SYS_ADMIN;
    Ok(rustix::thread::set_capabilities(None, sets)?)
}
