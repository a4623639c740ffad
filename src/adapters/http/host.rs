//! Which names this server answers to.
//!
//! Owns the rule for the `Host` header. A foreign web page can have its own name resolve to this
//! machine (DNS rebinding); a browser then takes our answers for that page's own, and sends no
//! foreign `Origin` that would give it away. Only the name in `Host` does. Promises that a request
//! names its host exactly once. Never decides about web origins: `origin` does.

use std::net::{IpAddr, SocketAddr};

use hyper::header::HOST;
use hyper::{Request, Version};

/// The names, addresses and patterns of `http.allowed_hosts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts(Vec<AllowedHost>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum AllowedHost {
    Any,
    /// Every name below this one, which begins with a dot.
    Below(String),
    Name(String),
}

/// Why a text names no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no host: write a name or an address without scheme and port, `*.example.com` for \
     every name below example.com, or `*` for any"
)]
pub struct AllowedHostError(String);

/// What is wrong with the host of a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HostProblem {
    #[error("a request names its host once, in the header Host")]
    NotOne,
    #[error("the header Host is not HOST or HOST:PORT")]
    Malformed,
    #[error("the request's target names another host than its header Host")]
    Contradiction,
    #[error("this server does not answer to that host; add its name to http.allowed_hosts")]
    Foreign,
}

/// What is known of the server and of the request besides its host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Circumstances {
    /// The server is bound to loopback.
    pub(super) loopback: bool,
    /// Everything but a probe needs a token, which a foreign page does not have.
    pub(super) guarded: bool,
    /// The request is for a probe, which needs no permission.
    pub(super) probe: bool,
}

impl AllowedHosts {
    /// Takes the entries in; a problem of each that is none.
    pub fn new(texts: &[String]) -> (Self, Vec<AllowedHostError>) {
        let (mut hosts, mut problems) = (Vec::new(), Vec::new());
        for text in texts {
            match AllowedHost::new(text) {
                Some(host) => hosts.push(host),
                None => problems.push(AllowedHostError(text.clone())),
            }
        }
        (Self(hosts), problems)
    }

    /// Whether none is listed.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Judges the host of a request.
    ///
    /// An address cannot be rebound, so beyond loopback every address is fine: it is that of the
    /// machine, of a pod, or of a proxy. A name has to be listed, except where a token guards what
    /// a foreign page could want.
    pub(super) fn check<B>(
        &self,
        request: &Request<B>,
        circumstances: Circumstances,
    ) -> Result<(), HostProblem> {
        let mut values = request.headers().get_all(HOST).iter();
        let host = match (values.next(), values.next()) {
            (Some(host), None) => host.to_str().map_err(|_| HostProblem::Malformed)?,
            // Such a client may be older than the header; a browser is not.
            (None, None) if request.version() == Version::HTTP_10 => return Ok(()),
            _ => return Err(HostProblem::NotOne),
        };
        let target = request.uri().authority().map(hyper::http::uri::Authority::as_str);
        if target.is_some_and(|target| !target.eq_ignore_ascii_case(host)) {
            return Err(HostProblem::Contradiction);
        }
        let host = Host::new(host).ok_or(HostProblem::Malformed)?;
        if circumstances.probe || self.is_ours(&host, circumstances) {
            return Ok(());
        }
        Err(HostProblem::Foreign)
    }

    fn is_ours(&self, host: &Host, circumstances: Circumstances) -> bool {
        let Circumstances { loopback, guarded, .. } = circumstances;
        let by_itself = match host {
            Host::Address(address) => !loopback || address.is_loopback(),
            Host::Name(name) => name == "localhost" || guarded && !loopback && self.is_empty(),
        };
        by_itself || self.0.iter().any(|allowed| allowed.fits(host))
    }
}

impl AllowedHost {
    fn new(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let text = text.to_ascii_lowercase();
        if let Some(parent) = text.strip_prefix('*') {
            let name = parent.strip_prefix('.')?;
            return is_name(name).then(|| Self::Below(parent.to_owned()));
        }
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(&text);
        match bare.parse::<IpAddr>() {
            Ok(address) => Some(Self::Name(address.to_string())),
            Err(_) => is_name(&text).then(|| Self::Name(without_root(&text).to_owned())),
        }
    }

    fn fits(&self, host: &Host) -> bool {
        match (self, host) {
            (Self::Any, _) => true,
            (Self::Below(parent), Host::Name(name)) => {
                name.strip_suffix(parent.as_str()).is_some_and(|label| !label.is_empty())
            }
            (Self::Below(_), Host::Address(_)) => false,
            (Self::Name(allowed), Host::Name(name)) => allowed == name,
            (Self::Name(allowed), Host::Address(address)) => *allowed == address.to_string(),
        }
    }
}

/// A host as a request names it, without its port.
#[derive(Debug)]
enum Host {
    Address(IpAddr),
    /// In lower case, without the dot of the root.
    Name(String),
}

impl Host {
    /// `None` for what is not `HOST` or `HOST:PORT`.
    fn new(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Some(Self::Address(address.ip()));
        }
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']')?;
            let has_port = port.strip_prefix(':').is_some_and(is_port);
            return (port.is_empty() || has_port)
                .then(|| {
                    address.parse().ok().map(|v6: std::net::Ipv6Addr| Self::Address(v6.into()))
                })
                .flatten();
        }
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        if !is_port(port) {
            return None;
        }
        if let Ok(address) = name.parse::<IpAddr>() {
            return Some(Self::Address(address));
        }
        is_name(name).then(|| Self::Name(without_root(name).to_ascii_lowercase()))
    }
}

/// Digits of a port; it may be empty, as in `localhost:`.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.is_empty() || text.parse::<u16>().is_ok())
}

/// Whether a text has the form of a name. Underscores stand in names of containers.
fn is_name(text: &str) -> bool {
    let name = without_root(text);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    name.len() <= 253 && name.split('.').all(is_label)
}

/// A name without the dot of the root at its end.
fn without_root(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: Circumstances = Circumstances { loopback: true, guarded: false, probe: false };
    const OPEN: Circumstances = Circumstances { loopback: false, guarded: false, probe: false };
    const GUARDED: Circumstances = Circumstances { loopback: false, guarded: true, probe: false };

    fn allowed(texts: &[&str]) -> AllowedHosts {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        let (hosts, problems) = AllowedHosts::new(&texts);
        assert!(problems.is_empty(), "{problems:?}");
        hosts
    }

    fn request(target: &str, hosts: &[&str]) -> Request<()> {
        let mut request = Request::builder().uri(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        request.body(()).unwrap()
    }

    fn judge(
        hosts: &AllowedHosts,
        circumstances: Circumstances,
        host: &str,
    ) -> Option<HostProblem> {
        hosts.check(&request("/v1/models", &[host]), circumstances).err()
    }

    #[test]
    fn on_loopback_only_loopback_and_listed_names_are_ours() {
        let hosts = allowed(&["ticks.lan", "*.example.com", "10.0.0.7"]);
        for host in [
            "127.0.0.1",
            "127.0.0.1:9630",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:9630",
            "localhost",
            "LocalHost:9630",
            "localhost.",
            "localhost:",
            "ticks.lan:9630",
            "TICKS.LAN.",
            "a.example.com",
            "b.a.example.com:80",
            "10.0.0.7:9630",
        ] {
            assert_eq!(judge(&hosts, LOOPBACK, host), None, "{host}");
        }
        for host in [
            "evil.example:9630",
            "example.com",
            "aexample.com",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "ticks.lan.evil.example",
            "10.0.0.8",
            "0.0.0.0:9630",
            "[::]",
            "2130706433",
            "0x7f.1",
        ] {
            assert_eq!(judge(&hosts, LOOPBACK, host), Some(HostProblem::Foreign), "{host}");
        }
        assert_eq!(judge(&allowed(&["*"]), LOOPBACK, "evil.example"), None);
    }

    #[test]
    fn beyond_loopback_addresses_are_ours_and_names_need_the_list_or_a_token() {
        let (none, service) = (allowed(&[]), allowed(&["*.svc"]));
        for host in ["10.1.2.3:9630", "[2001:db8::1]", "127.0.0.1", "localhost:9630"] {
            for circumstances in [OPEN, GUARDED] {
                assert_eq!(judge(&none, circumstances, host), None, "{host}");
            }
        }
        let name = "tickcast.ticks.svc:9630";
        assert_eq!(judge(&none, OPEN, name), Some(HostProblem::Foreign));
        assert_eq!(judge(&service, OPEN, name), None);
        assert_eq!(judge(&none, GUARDED, name), None, "a foreign page has no token");
        let evil = "evil.example";
        assert_eq!(judge(&service, GUARDED, evil), Some(HostProblem::Foreign), "a list is a list");
        let on_loopback = Circumstances { loopback: true, ..GUARDED };
        assert_eq!(judge(&none, on_loopback, evil), Some(HostProblem::Foreign));
    }

    #[test]
    fn a_request_names_one_host() {
        let none = allowed(&[]);
        let probe = Circumstances { probe: true, ..LOOPBACK };
        for circumstances in [LOOPBACK, OPEN, GUARDED, probe] {
            let check =
                |target, hosts: &[&str]| none.check(&request(target, hosts), circumstances).err();
            assert_eq!(check("/livez", &[]), Some(HostProblem::NotOne));
            let twice = ["127.0.0.1", "127.0.0.1"];
            assert_eq!(check("/livez", &twice), Some(HostProblem::NotOne));
            let mut old = request("/livez", &[]);
            *old.version_mut() = Version::HTTP_10;
            assert_eq!(none.check(&old, circumstances), Ok(()));
            assert_eq!(check("http://localhost:1/", &["LOCALHOST:1"]), None);
            let other = check("http://evil.example/", &["127.0.0.1"]);
            assert_eq!(other, Some(HostProblem::Contradiction));
            for host in [
                "",
                " ",
                ":9630",
                "a b",
                "a,b",
                "user@127.0.0.1",
                "127.0.0.1:65536",
                "127.0.0.1:9630:1",
                "127.0.0.1/x",
                "[::1",
                "[::1]x",
                "[127.0.0.1]",
                "::1",
                "http://localhost",
                "a..b",
                "*",
            ] {
                assert_eq!(check("/livez", &[host]), Some(HostProblem::Malformed), "{host:?}");
            }
        }
        assert_eq!(judge(&none, probe, "any.example"), None, "a probe is answered under any name");
    }

    #[test]
    fn an_entry_that_no_host_can_fit_is_a_problem() {
        let texts =
            ["", "http://a", "a:80", "a/b", "*a", "*.", "*.*.a", "[::1]:80", "a b", "user@a"];
        for text in texts {
            let (hosts, problems) = AllowedHosts::new(&[text.to_owned()]);
            assert!(hosts.is_empty(), "{text}");
            assert_eq!(problems, [AllowedHostError(text.to_owned())]);
        }
        assert_eq!(judge(&allowed(&["[2001:DB8::1]"]), LOOPBACK, "[2001:db8:0::1]:9"), None);
    }
}
