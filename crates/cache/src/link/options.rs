//! How to reach Redis.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach Redis.
#[derive(Clone)]
pub struct LinkOptions {
    /// `redis://user@host:port/database`, `rediss://…` over TLS, or `redis+unix:///path`.
    pub url: String,
    /// Its password, if it wants one; one in the address does as well.
    pub password: Option<String>,
    /// Certificates in PEM that a server over TLS may be certified by; `None`: those that the system trusts.
    pub ca_pem: Option<Vec<u8>>,
    /// What all keys begin with, so that several servers may use one Redis.
    pub prefix: String,
    /// How long a call may take; longer, and the server counts as away.
    pub timeout: Duration,
    /// The first pause before a probe; each further one is twice as long.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
    /// The file in which removals that it missed are kept, so that a restart doesn't forget them; `None`: in memory alone.
    pub owed: Option<PathBuf>,
}

impl LinkOptions {
    /// The server at `url` with keys that begin with `ragstone:`, calls of up to 250 ms, probes every 0.1 to 5 s.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            ca_pem: None,
            prefix: "ragstone:".to_owned(),
            timeout: Duration::from_millis(250),
            pause_min: Duration::from_millis(100),
            pause_max: Duration::from_secs(5),
            owed: None,
        }
    }
}

impl fmt::Debug for LinkOptions {
    /// Without the password, and without the address, which may hold one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, password: _, ca_pem: _, prefix, timeout, pause_min, pause_max, owed } = self;
        let mut out = f.debug_struct("LinkOptions");
        out.field("prefix", prefix)
            .field("timeout", timeout)
            .field("pause_min", pause_min)
            .field("pause_max", pause_max)
            .field("owed", owed);
        out.finish_non_exhaustive()
    }
}
