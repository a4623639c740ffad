//! systemd's protocol of notifications: one datagram of `NAME=value` lines each.
//!
//! Owns the socket. Promises that telling never waits. Never reads the environment by itself: the
//! variables are handed in.

use std::collections::HashMap;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The way to the service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
}

impl Notifier {
    /// The socket that `NOTIFY_SOCKET` names: a path, or `@` and an abstract name. `None` where no
    /// manager listens.
    ///
    /// # Errors
    /// Where the name is none, or there is no socket to be had.
    pub fn from_variables(variables: &HashMap<String, String>) -> io::Result<Option<Self>> {
        let Some(name) = variables.get("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let manager = match name.strip_prefix('@') {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None if name.starts_with('/') => SocketAddr::from_pathname(name)?,
            None => {
                let what = format!("NOTIFY_SOCKET `{name}` is neither a path nor an abstract name");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
            }
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Some(Self { socket, manager }))
    }

    /// Tells the manager; what it has no room for is lost.
    ///
    /// # Errors
    /// Where the manager does not take it.
    pub fn send(&self, words: &str) -> io::Result<()> {
        self.socket.send_to_addr(std::ffi::OsStr::new(words).as_bytes(), &self.manager).map(|_| ())
    }
}

/// How long the manager waits for a sign of life of the process `id`; `None` where it does not.
pub fn watchdog_timeout(variables: &HashMap<String, String>, id: u32) -> Option<Duration> {
    let number = |name: &str| variables.get(name).map(|text| text.parse::<u64>().ok());
    // The variables may have been meant for a parent.
    if number("WATCHDOG_PID").is_some_and(|of| of != Some(u64::from(id))) {
        return None;
    }
    let micros = number("WATCHDOG_USEC").flatten()?;
    (micros > 0).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> HashMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn paths_and_abstract_names_are_sockets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("tickcast-test-{}", std::process::id());
        let sockets = [
            (path.display().to_string(), UnixDatagram::bind(&path).unwrap()),
            (
                format!("@{name}"),
                UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap(),
            ),
        ];
        for (name, manager) in sockets {
            let variables = variables(&[("NOTIFY_SOCKET", &name)]);
            let notifier = Notifier::from_variables(&variables).unwrap().unwrap();
            notifier.send("READY=1\nSTATUS=on").unwrap();
            let mut buffer = [0; 64];
            let count = manager.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], b"READY=1\nSTATUS=on", "{name}");
        }
        assert!(Notifier::from_variables(&variables(&[])).unwrap().is_none());
        assert!(Notifier::from_variables(&variables(&[("NOTIFY_SOCKET", "")])).unwrap().is_none());
        let relative = variables(&[("NOTIFY_SOCKET", "vsock:2:1")]);
        assert!(Notifier::from_variables(&relative).is_err());
    }

    #[test]
    fn a_watchdog_that_is_not_for_us_is_none() {
        let of = |pairs: &[(&str, &str)]| watchdog_timeout(&variables(pairs), 7);
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("WATCHDOG_USEC", "2000000")]), Some(Duration::from_secs(2)));
        let both = |id| [("WATCHDOG_USEC", "500"), ("WATCHDOG_PID", id)];
        assert_eq!(of(&both("7")), Some(Duration::from_micros(500)));
        assert_eq!(of(&both("8")), None);
        assert_eq!(of(&both("x")), None);
        assert_eq!(of(&[("WATCHDOG_USEC", "0")]), None);
        assert_eq!(of(&[("WATCHDOG_USEC", "soon")]), None);
    }
}
