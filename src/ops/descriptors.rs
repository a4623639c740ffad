//! File descriptors: how many there may be, and one to spare.
//!
//! Owns the limit of the process. Promises to raise it as far as the system allows without
//! privileges, within reason, and never to lower it. Never closes what others opened.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::listen;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// More than any configuration uses. Some systems allow a thousand million, which a child that
/// closes every possible descriptor would go through one by one.
const WANTED: u64 = 1 << 16;

/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 1024;

/// An open descriptor that is there to be given up.
#[derive(Debug)]
pub struct Spare {
    _file: File,
}

impl Spare {
    /// Takes one.
    ///
    /// # Errors
    /// Where none is left.
    pub fn take() -> io::Result<Self> {
        File::open("/dev/null").map(|file| Self { _file: file })
    }
}

/// Raises the soft limit towards the hard one. A failure leaves it as it is.
pub fn raise_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(WANTED).min(WANTED);
    let Some(current) = current.filter(|current| *current < wanted) else { return };
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => debug!(from = current, to = wanted, "raised the limit of file descriptors"),
        Err(error) => warn!(%error, limit = current, "cannot raise the limit of file descriptors"),
    }
}

/// The most descriptors that may be open; `None` without a limit.
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Whether a failure means that no descriptor, or no memory for one, is left.
pub fn are_exhausted(error: &io::Error) -> bool {
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    exhausted.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// Lets more connections wait to be accepted: beyond the 128 that the standard library asks for,
/// the system makes a client try again after a second.
pub fn lengthen_backlog(listener: impl AsFd) {
    if let Err(error) = listen(listener, BACKLOG) {
        warn!(%error, "cannot lengthen the backlog of a listener");
    }
}

/// Whether something waits to be read, or to be accepted, right now.
pub fn is_readable(descriptor: impl AsFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut looked = [PollFd::new(&descriptor, PollFlags::IN)];
    // Where the look fails, an attempt to read gives the answer.
    poll(&mut looked, Some(&now)).map_or(true, |ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_never_lowered() {
        let before = getrlimit(Resource::Nofile);
        raise_limit();
        let after = getrlimit(Resource::Nofile);
        assert_eq!(after.maximum, before.maximum);
        let expected = after.maximum.map_or(WANTED, |maximum| maximum.min(WANTED));
        let current = |limit: Rlimit| limit.current.unwrap_or(u64::MAX);
        assert_eq!(current(after), current(before).max(expected));
        assert_eq!(limit(), after.current);
    }

    #[test]
    fn a_connection_that_waits_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(!is_readable(&listener));
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(is_readable(&listener));
    }

    #[test]
    fn exhaustion_is_told_from_what_a_peer_does() {
        let error = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        assert!(are_exhausted(&error(Errno::MFILE)) && are_exhausted(&error(Errno::NFILE)));
        assert!(!are_exhausted(&error(Errno::CONNABORTED)));
        assert!(!are_exhausted(&io::Error::other("24")));
    }
}
