//! `[server]`: addresses, limits, deadlines and TLS.

use anyhow::bail;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Workers and blocking work may take a few seconds more.
const SHUTDOWN_S_MAX: u64 = 18;

/// Where and how the server listens, and what it refuses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServerConfig {
    /// Address and port; port 0 picks a free one, which the first log line names.
    pub(crate) listen: SocketAddr,
    /// Folder of everything that is kept.
    pub(crate) data_dir: PathBuf,
    /// Largest request body in bytes (an upload of several files counts as one).
    pub(crate) upload_bytes_max: usize,
    /// Files in one upload.
    pub(crate) upload_files_max: usize,
    /// Requests worked on at a time; more are answered 503 with Retry-After.
    pub(crate) concurrent_requests_max: usize,
    /// Event streams open at a time; more are answered 503 with Retry-After.
    pub(crate) concurrent_streams_max: usize,
    /// Searches and extractive answers computed at a time; 0: one for each processor and one more.
    pub(crate) concurrent_queries_max: usize,
    /// Searches and extractive answers that may wait for their turn; absent: three quarters of concurrent_requests_max.
    /// More, and those whose turn does not come in a moment (1 s; 4 ms in lasting overload), are
    /// answered 503 with Retry-After.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) queued_queries_max: Option<usize>,
    /// Answers written by a language model at a time; more are answered 503 with Retry-After.
    pub(crate) concurrent_answers_max: usize,
    /// Bytes of request bodies held in memory over all requests; beyond, uploads are answered 503 with
    /// Retry-After. Parsing a form or JSON may take as much again for a moment.
    pub(crate) upload_buffer_bytes_max: usize,
    /// Connections open at a time; more are refused at once.
    pub(crate) connections_max: usize,
    /// Connections open at a time from one address (for IPv6, one network of 64 bits); 0: no limit.
    pub(crate) connections_per_peer_max: usize,
    /// Seconds until a client must have sent its request header, counted from its first byte.
    pub(crate) header_timeout_s: u64,
    /// Seconds that a connection may stay open between two requests.
    pub(crate) idle_timeout_s: u64,
    /// Seconds that a request body may keep the server waiting, beyond what its bytes earn at
    /// `bytes_per_s_min`; a slower one is answered 408.
    pub(crate) body_timeout_s: u64,
    /// Seconds that a client which does not read its answer may keep the server waiting, beyond what
    /// its bytes earn at `bytes_per_s_min`; then it is cut.
    pub(crate) write_timeout_s: u64,
    /// Bytes a second that clients must send and read at least, in the long run.
    pub(crate) bytes_per_s_min: u64,
    /// Seconds that a request with `wait=true` waits before it answers with what is known.
    pub(crate) wait_timeout_s: u64,
    /// Seconds at the beginning of a shutdown in which the server is not ready but still serves, for
    /// balancers that look at `/readyz`.
    pub(crate) drain_delay_s: u64,
    /// Seconds that shutting down may take before open connections are cut.
    pub(crate) shutdown_timeout_s: u64,
    /// Origins of web pages that may read answers, such as `https://example.org`.
    pub(crate) cors_origins: Vec<String>,
    /// Certificate and key; absent: plain HTTP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<TlsConfig>,
}

/// TLS. Both files are PEM and are read again on SIGHUP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsConfig {
    /// The certificate, and behind it those that lead to a known authority.
    pub(crate) cert_file: PathBuf,
    /// Its private key.
    pub(crate) key_file: PathBuf,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7272)),
            data_dir: PathBuf::from("data"),
            upload_bytes_max: 64 << 20,
            upload_files_max: 64,
            concurrent_requests_max: 512,
            concurrent_streams_max: 512,
            concurrent_queries_max: 0,
            queued_queries_max: None,
            concurrent_answers_max: 64,
            upload_buffer_bytes_max: 512 << 20,
            connections_max: 2048,
            connections_per_peer_max: 0,
            header_timeout_s: 10,
            idle_timeout_s: 60,
            body_timeout_s: 20,
            write_timeout_s: 30,
            bytes_per_s_min: 1024,
            wait_timeout_s: 600,
            drain_delay_s: 0,
            shutdown_timeout_s: 15,
            cors_origins: Vec::new(),
            tls: None,
        }
    }
}

impl ServerConfig {
    /// Everything that is wrong, one line each: `path: what`.
    pub(super) fn validate(&self) -> Vec<String> {
        let counts = [
            ("upload_bytes_max", self.upload_bytes_max),
            ("upload_files_max", self.upload_files_max),
            ("concurrent_requests_max", self.concurrent_requests_max),
            ("concurrent_streams_max", self.concurrent_streams_max),
            ("concurrent_answers_max", self.concurrent_answers_max),
            ("connections_max", self.connections_max),
        ];
        let seconds = [
            ("header_timeout_s", self.header_timeout_s),
            ("idle_timeout_s", self.idle_timeout_s),
            ("body_timeout_s", self.body_timeout_s),
            ("write_timeout_s", self.write_timeout_s),
            ("bytes_per_s_min", self.bytes_per_s_min),
        ];
        let zero_counts = counts.into_iter().filter(|(_, value)| *value == 0).map(|(name, _)| name);
        let zeros = zero_counts.chain(seconds.into_iter().filter(|(_, value)| *value == 0).map(|(name, _)| name));
        let mut errors: Vec<String> = zeros.map(|name| format!("server.{name}: must be at least 1")).collect();
        if self.upload_buffer_bytes_max < self.upload_bytes_max {
            errors.push("server.upload_buffer_bytes_max: must be at least upload_bytes_max".into());
        }
        if self.shutdown_timeout_s > SHUTDOWN_S_MAX {
            errors.push(format!("server.shutdown_timeout_s: must be at most {SHUTDOWN_S_MAX}, so that all of it takes less than 25 s"));
        }
        let origins = self.cors_origins.iter().enumerate();
        errors.extend(origins.filter_map(|(at, origin)| Some(format!("server.cors_origins[{at}]: {}", check_origin(origin).err()?))));
        errors
    }
}

/// Whether this is an origin as a browser sends it: scheme, host, perhaps a port, nothing else.
///
/// # Errors
/// What is wrong with it.
fn check_origin(origin: &str) -> anyhow::Result<()> {
    let uri: Uri = origin.parse()?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https"));
    let canonical = match (uri.scheme_str(), uri.authority()) {
        (Some(scheme), Some(authority)) => format!("{scheme}://{authority}"),
        _ => String::new(),
    };
    if !is_web || canonical != origin || origin.contains('@') || origin != origin.to_lowercase() {
        bail!("must be like https://example.org, without a path");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_named() {
        let config = ServerConfig {
            upload_buffer_bytes_max: 1,
            connections_max: 0,
            bytes_per_s_min: 0,
            shutdown_timeout_s: 60,
            cors_origins: vec!["*".into()],
            ..ServerConfig::default()
        };
        let errors = config.validate().join("\n");
        for path in ["upload_buffer_bytes_max", "connections_max", "bytes_per_s_min", "shutdown_timeout_s", "cors_origins[0]"] {
            assert!(errors.contains(&format!("server.{path}:")), "{path} missing in {errors}");
        }
        assert!(ServerConfig::default().validate().is_empty());
    }

    #[test]
    fn origins_are_exact() {
        for good in ["https://example.org", "http://127.0.0.1:8080"] {
            assert!(check_origin(good).is_ok(), "{good}");
        }
        for bad in
            ["*", "null", "example.org", "https://example.org/", "https://Example.org", "ftp://example.org", "https://a@example.org", ""]
        {
            assert!(check_origin(bad).is_err(), "{bad}");
        }
    }
}
