//! Which web pages may open a WebSocket here.
//!
//! Owns the rule for the `Origin` header. A browser lets any page connect to any WebSocket and
//! tells the server where the page came from; it is the server that must refuse. Promises that
//! programs, which send no origin, are not concerned. Never authenticates anybody.

/// Whether a handshake with these headers may go on. `loopback` says that the server is bound to
/// loopback.
///
/// A page of the server itself may, and a page of an allowed origin. On loopback the server's own
/// pages are those under a loopback name: a foreign name that somebody's DNS points at 127.0.0.1
/// would pass as the same origin otherwise.
pub fn may_connect(
    origin: Option<&str>,
    host: Option<&str>,
    loopback: bool,
    allowed_origins: &[String],
) -> bool {
    let Some(origin) = origin else { return true };
    if allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let (Some(authority), Some(host)) = (authority, host) else { return false };
    authority.eq_ignore_ascii_case(host) && (!loopback || is_loopback_name(host))
}

/// Whether a `Host` header names this machine by a loopback name.
fn is_loopback_name(host: &str) -> bool {
    if let Ok(address) = host.parse::<std::net::SocketAddr>() {
        return address.ip().is_loopback();
    }
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<std::net::IpAddr>() {
        return address.is_loopback();
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_and_allowed_pages_may_connect_and_foreign_ones_may_not() {
        let allowed = ["https://charts.example.com".to_owned()];
        let on_loopback = |origin, host| may_connect(origin, host, true, &allowed);
        let in_the_open = |origin, host| may_connect(origin, host, false, &allowed);
        for (origin, host) in [
            (None, Some("127.0.0.1:9630")),
            (None, None),
            (Some("http://127.0.0.1:9630"), Some("127.0.0.1:9630")),
            (Some("http://localhost:9630"), Some("LocalHost:9630")),
            (Some("http://[::1]:9630"), Some("[::1]:9630")),
            (Some("http://[::1]"), Some("[::1]")),
            (Some("https://Charts.Example.com"), Some("127.0.0.1:9630")),
        ] {
            assert!(on_loopback(origin, host), "{origin:?} {host:?}");
            assert!(in_the_open(origin, host), "{origin:?} {host:?}");
        }
        for (origin, host) in [
            (Some("http://evil.example"), Some("127.0.0.1:9630")),
            (Some("http://127.0.0.1:8080"), Some("127.0.0.1:9630")),
            (Some("http://127.0.0.1:9630.evil.example"), Some("127.0.0.1:9630")),
            (Some("http://charts.example.com"), Some("127.0.0.1:9630")),
            (Some("null"), Some("127.0.0.1:9630")),
            (Some("file://"), Some("")),
            (Some(""), Some("")),
            (Some("http://127.0.0.1:9630"), None),
        ] {
            assert!(!on_loopback(origin, host), "{origin:?} {host:?}");
            assert!(!in_the_open(origin, host), "{origin:?} {host:?}");
        }
        let rebound = (Some("http://evil.example:9630"), Some("evil.example:9630"));
        assert!(!on_loopback(rebound.0, rebound.1), "a foreign name that points at loopback");
        assert!(in_the_open(rebound.0, rebound.1), "where it is the name of this server");
        let tricky = "localhost.evil.example:9630";
        assert!(!on_loopback(Some(&format!("http://{tricky}")), Some(tricky)));
    }
}
