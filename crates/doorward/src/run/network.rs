//! The network of a new network namespace: loopback, up, with one more address. By rtnetlink, so that no program is needed.

use std::io;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Loopback is the first interface of every namespace.
const LOOPBACK: u32 = 1;

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const NLMSG_ERROR: u16 = 2;
/// `NLM_F_REQUEST | NLM_F_ACK`
const REQUEST_ACK: u16 = 1 | 4;
/// `NLM_F_CREATE | NLM_F_EXCL`
const CREATE: u16 = 0x400 | 0x200;
const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const RT_SCOPE_HOST: u8 = 254;
const IFA_LOCAL: u16 = 2;

/// Brings loopback up in this thread's network namespace, and gives it `address` besides.
///
/// Spec: rtnetlink(7)
pub(super) fn bring_up(address: [u8; 4]) -> io::Result<()> {
    // Protocol 0 of netlink is NETLINK_ROUTE.
    let socket = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    for (sequence, message) in [(1, link_up(1)), (2, add_address(2, address))] {
        rustix::net::sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        let mut answer = [0; 4096];
        let (_, length) = rustix::net::recv(&socket, &mut answer[..], RecvFlags::empty())?;
        acknowledged(answer.get(..length).unwrap_or_default(), sequence)?;
    }
    Ok(())
}

/// `struct nlmsghdr`, then the body. All numbers are in the machine's byte order.
fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let header: [&[u8]; 5] = [
        &length.to_ne_bytes(),
        &kind.to_ne_bytes(),
        &flags.to_ne_bytes(),
        &sequence.to_ne_bytes(),
        &[0; 4], // whoever answers is the kernel
    ];
    [header.concat().as_slice(), body].concat()
}

/// `struct ifinfomsg`: the interface, and of its flags the one that changes.
fn link_up(sequence: u32) -> Vec<u8> {
    let body: [&[u8]; 4] = [&[0; 4], &LOOPBACK.to_ne_bytes(), &IFF_UP.to_ne_bytes(), &IFF_UP.to_ne_bytes()];
    message(RTM_NEWLINK, REQUEST_ACK, sequence, &body.concat())
}

/// `struct ifaddrmsg` with a prefix of 32 bits, and the address as its one attribute.
fn add_address(sequence: u32, address: [u8; 4]) -> Vec<u8> {
    let body: [&[u8]; 5] = [
        &[AF_INET, 32, 0, RT_SCOPE_HOST],
        &LOOPBACK.to_ne_bytes(),
        &8_u16.to_ne_bytes(),
        &IFA_LOCAL.to_ne_bytes(),
        &address,
    ];
    message(RTM_NEWADDR, REQUEST_ACK | CREATE, sequence, &body.concat())
}

/// Reads `struct nlmsgerr`, whose number is 0 for success and otherwise that of an error, negated.
fn acknowledged(answer: &[u8], sequence: u32) -> io::Result<()> {
    let unreadable = || io::Error::new(io::ErrorKind::InvalidData, "the kernel's answer cannot be read");
    let field = |from: usize| answer.get(from..from + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
    let kind = answer.get(4..6).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok()).map(u16::from_ne_bytes);
    if kind != Some(NLMSG_ERROR) || field(8).map(u32::from_ne_bytes) != Some(sequence) {
        return Err(unreadable());
    }
    match field(16).map(i32::from_ne_bytes).ok_or_else(unreadable)? {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_success_an_error_of_the_system_or_unreadable() {
        let answer = |kind: u16, sequence: u32, error: i32| {
            message(kind, 0, sequence, &[error.to_ne_bytes().as_slice(), &[0; 16]].concat())
        };
        #[rustfmt::skip]
        let cases = [
            (answer(NLMSG_ERROR, 1, 0),    None),
            (answer(NLMSG_ERROR, 1, -1),   Some(io::ErrorKind::PermissionDenied)),
            (answer(NLMSG_ERROR, 1, -17),  Some(io::ErrorKind::AlreadyExists)),
            (answer(NLMSG_ERROR, 2, 0),    Some(io::ErrorKind::InvalidData)),
            (answer(RTM_NEWLINK, 1, 0),    Some(io::ErrorKind::InvalidData)),
            (Vec::new(),                   Some(io::ErrorKind::InvalidData)),
            (answer(NLMSG_ERROR, 1, 0)[..16].to_vec(), Some(io::ErrorKind::InvalidData)),
        ];
        for (answer, expected) in cases {
            assert_eq!(acknowledged(&answer, 1).err().map(|error| error.kind()), expected, "{answer:?}");
        }
    }

    #[test]
    fn messages_have_the_lengths_that_their_headers_tell() {
        for message in [link_up(1), add_address(2, [169, 254, 169, 254])] {
            assert_eq!(message[..4], u32::try_from(message.len()).unwrap().to_ne_bytes());
            assert_eq!(message.len() % 4, 0);
        }
    }
}
