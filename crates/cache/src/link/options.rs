//! How to reach Redis.

use std::fmt;
use std::time::Duration;

/// How to reach Redis.
#[derive(Clone)]
pub struct LinkOptions {
    /// `redis://user@host:port/database`, or `redis+unix:///path`.
    pub url: String,
    /// Its password, if it wants one; one in the address does as well.
    pub password: Option<String>,
    /// What all keys begin with, so that several servers may use one Redis.
    pub prefix: String,
    /// How long a call may take; longer, and the server counts as away.
    pub timeout: Duration,
    /// The first pause before a probe; each further one is twice as long.
    pub pause_min: Duration,
    /// The longest pause.
    pub pause_max: Duration,
}

impl LinkOptions {
    /// The server at `url` with keys that begin with `ragstone:`, calls of up to 250 ms, probes every 0.1 to 5 s.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            prefix: "ragstone:".to_owned(),
            timeout: Duration::from_millis(250),
            pause_min: Duration::from_millis(100),
            pause_max: Duration::from_secs(5),
        }
    }
}

impl fmt::Debug for LinkOptions {
    /// Without the password, and without the address, which may hold one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, password: _, prefix, timeout, pause_min, pause_max } = self;
        let mut out = f.debug_struct("LinkOptions");
        out.field("prefix", prefix).field("timeout", timeout).field("pause_min", pause_min).field("pause_max", pause_max);
        out.finish_non_exhaustive()
    }
}
