//! A server without keys serves only this machine. A web page can't reach it by tricks either:
//! - its own name made to point at the loopback address (DNS rebinding) shows in `Host`,
//! - a form or script that sends without asking shows in `Origin`.

use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, header};
use std::net::IpAddr;

/// Why a request may come from a web page of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// The name that the client calls the server by is not of this machine.
    Host,
    /// A page of another host sent it.
    Origin,
}

/// Whether the request calls this machine by a loopback name and comes from no other host's page.
/// No `Host` (HTTP/1.0) and no `Origin` are fine: a browser sends them.
pub(crate) fn check_origin(uri: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
    let named = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()));
    let hosts: Vec<Option<Authority>> = named.chain(uri.authority().cloned().map(Some)).collect();
    if !hosts.iter().all(|host| host.as_ref().is_some_and(is_loopback)) {
        return Err(Foreign::Host);
    }
    let is_ours = |origin: &str| {
        let place = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        place.is_some_and(|place| hosts.iter().flatten().any(|host| host.as_str().eq_ignore_ascii_case(place)))
    };
    match headers.get_all(header::ORIGIN).iter().all(|origin| origin.to_str().is_ok_and(is_ours)) {
        true => Ok(()),
        false => Err(Foreign::Origin),
    }
}

fn is_loopback(host: &Authority) -> bool {
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let is_plain = !host.as_str().contains('@');
    is_plain && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(host: &str, origin: Option<&str>) -> Result<(), Foreign> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check_origin(&"/v1/collections".parse().unwrap(), &headers)
    }

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        for host in ["localhost", "LOCALHOST:7272", "127.0.0.1:7272", "127.1.2.3", "[::1]:7272", "[::1]"] {
            assert_eq!(check(host, None), Ok(()), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1:7272", "evil@127.0.0.1", "x y", ""] {
            assert_eq!(check(host, None), Err(Foreign::Host), "{host}");
        }
    }

    #[test]
    fn only_pages_of_the_same_host_may_send() {
        let host = "127.0.0.1:7272";
        assert_eq!(check(host, Some("http://127.0.0.1:7272")), Ok(()));
        for origin in ["null", "http://evil.example", "http://127.0.0.1", "http://127.0.0.1:80", "http://localhost:7272", "file://"] {
            assert_eq!(check(host, Some(origin)), Err(Foreign::Origin), "{origin}");
        }
    }

    #[test]
    fn a_second_host_is_looked_at_too() {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost".parse().unwrap());
        headers.append(header::HOST, "evil.example".parse().unwrap());
        assert_eq!(check_origin(&"/".parse().unwrap(), &headers), Err(Foreign::Host));
        headers.clear();
        assert_eq!(check_origin(&"/".parse().unwrap(), &headers), Ok(()));
        assert_eq!(check_origin(&"http://evil.example/".parse().unwrap(), &headers), Err(Foreign::Host));
    }
}
