//! The connection to Redis: short timeouts, and no waiting for a server that is away.
//!
//! Invariants: a call that can't be made says so at once; while the server is away no request asks it, only a probe
//! of the link's own does, which finds it again; removals that could not be made are owed, and the link is not open
//! again before they are made, also if the process ends in between (see [`LinkOptions::owed`]). Redis being away is never
//! an error of a request.

mod options;
mod owed;

pub use options::LinkOptions;

use owed::{Owed, escaped};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, ServerErrorKind, TlsCertificates};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Why Redis did not answer.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It can't be reached. Nothing was waited for, unless this call found it out.
    #[error("redis is away")]
    Away,
    /// It refused the call.
    #[error("redis refused a call: {0}")]
    Refused(#[source] RedisError),
    /// The address can't be used.
    #[error("the address of redis can't be used: {0}")]
    BadUrl(#[source] RedisError),
    /// It missed a removal, and that could not be written down.
    #[error("a removal that redis missed can't be noted: {0}")]
    Unnoted(#[source] io::Error),
}

/// Behind the prefix, where everything lies that can be removed. Limits lie elsewhere.
pub(crate) const CACHE: &str = "cache:";

/// A connection that is opened, lost and found again.
pub struct Link {
    client: Client,
    options: LinkOptions,
    state: Mutex<State>,
    /// One writes the file of what is owed at a time.
    writing: Mutex<()>,
}

#[derive(Default)]
struct State {
    connection: Option<MultiplexedConnection>,
    /// Counts connections, so that a late failure of an old one doesn't end a new one.
    turn: u64,
    /// Whether a probe is under way.
    is_probing: bool,
    owed: Owed,
}

impl Link {
    /// Tries once to connect. A server that is away is no error: it is probed from now on.
    ///
    /// # Errors
    /// [`LinkError::BadUrl`].
    pub async fn open(options: LinkOptions) -> Result<Arc<Self>, LinkError> {
        let client = client(&options).map_err(LinkError::BadUrl)?;
        let link = Self { client, options, state: Mutex::default(), writing: Mutex::default() };
        if let Some(file) = &link.options.owed {
            link.state().owed = Owed::read(file, &link.pattern(CACHE));
        }
        let link = Arc::new(link);
        if let Err(error) = link.reconnect().await {
            tracing::warn!(%error, "redis is away: starting without it");
            link.probe();
        }
        Ok(link)
    }

    /// Whether the server could be reached last.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.state().connection.is_some()
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.options.prefix
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a call on the connection.
    ///
    /// # Errors
    /// [`LinkError::Away`], [`LinkError::Refused`].
    pub(crate) async fn call<T, F>(self: &Arc<Self>, call: impl FnOnce(MultiplexedConnection) -> F) -> Result<T, LinkError>
    where
        F: Future<Output = RedisResult<T>>,
    {
        let (connection, turn) = {
            let state = self.state();
            (state.connection.clone().ok_or(LinkError::Away)?, state.turn)
        };
        call(connection).await.map_err(|error| self.judge(error, turn))
    }

    fn judge(self: &Arc<Self>, error: RedisError, turn: u64) -> LinkError {
        if !is_loss(&error) {
            return LinkError::Refused(error);
        }
        self.lose(turn, &error);
        LinkError::Away
    }

    fn lose(self: &Arc<Self>, turn: u64, error: &RedisError) {
        let is_current = {
            let mut state = self.state();
            let is_current = state.turn == turn;
            if is_current {
                state.connection = None;
            }
            is_current
        };
        if is_current {
            tracing::warn!(%error, "redis is away: going on without it");
            self.probe();
        }
    }

    /// Looks for the server until it is back, unless somebody does. Ends with the link.
    fn probe(self: &Arc<Self>) {
        if std::mem::replace(&mut self.state().is_probing, true) {
            return;
        }
        let (link, pause_min, pause_max) = (Arc::downgrade(self), self.options.pause_min, self.options.pause_max);
        tokio::spawn(async move {
            let mut pause = pause_min;
            loop {
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(pause_max);
                let Some(link) = Weak::upgrade(&link) else { return };
                if link.reconnect().await.is_ok() {
                    tracing::info!("redis is back");
                    return;
                }
            }
        });
    }

    /// Connects, makes the removals that are owed, and opens the link.
    async fn reconnect(self: &Arc<Self>) -> RedisResult<()> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.timeout))
            .set_response_timeout(Some(self.options.timeout));
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
        // A server that still loads its data accepts connections.
        redis::cmd("PING").query_async::<()>(&mut connection).await?;
        let mut has_owed = false;
        loop {
            let owed = self.state().owed.patterns().to_vec();
            has_owed |= !owed.is_empty();
            for pattern in &owed {
                let swept = sweep(&mut connection, pattern).await;
                swept.inspect_err(|error| tracing::warn!(%error, "redis is back, but removals that it missed can't be made"))?;
            }
            let mut state = self.state();
            // One that came in the meantime is made first.
            if state.owed.settle(&owed) {
                state.connection = Some(connection);
                state.turn += 1;
                state.is_probing = false;
                break;
            }
        }
        if has_owed && let Err(error) = self.note_owed().await {
            tracing::warn!(%error, "removals in redis are made, and will be once more after a restart");
        }
        Ok(())
    }

    /// Writes down what is owed now.
    async fn note_owed(self: &Arc<Self>) -> Result<(), LinkError> {
        let link = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || {
            let Some(file) = &link.options.owed else { return Ok(()) };
            let _turn = link.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let patterns = link.state().owed.patterns().to_vec();
            owed::write(file, &patterns)
        });
        written.await.map_err(io::Error::other).and_then(|written| written).map_err(LinkError::Unnoted)
    }

    /// Removes all cached keys that begin with `path`, now or before the link opens again.
    ///
    /// # Errors
    /// Any [`LinkError`]: then the removal is owed; after [`LinkError::Unnoted`] only until the process ends.
    pub(crate) async fn remove_all(self: &Arc<Self>, path: &str) -> Result<u64, LinkError> {
        let pattern = self.pattern(&format!("{CACHE}{path}"));
        let swept = self.call(|mut connection| {
            let pattern = pattern.clone();
            async move { sweep(&mut connection, &pattern).await }
        });
        let error = match swept.await {
            Ok(removed) => return Ok(removed),
            Err(error) => error,
        };
        {
            let mut state = self.state();
            state.owed.add(pattern, self.pattern(CACHE));
            // Also if it was refused: what must not be served is not asked for until it is gone.
            state.connection = None;
        }
        tracing::warn!(%error, "a removal in redis is owed");
        self.probe();
        self.note_owed().await?;
        Err(error)
    }

    /// Matches keys that begin with our prefix and `place`, whatever follows.
    pub(crate) fn pattern(&self, place: &str) -> String {
        format!("{}*", escaped(&format!("{}{place}", self.options.prefix)))
    }
}

fn client(options: &LinkOptions) -> RedisResult<Client> {
    let mut server = options.url.as_str().into_connection_info()?;
    if let Some(password) = &options.password {
        let login = server.redis_settings().clone().set_password(password);
        server = server.set_redis_settings(login);
    }
    if !options.url.starts_with("rediss:") {
        return Client::open(server);
    }
    // Fails if somebody did it before, which is as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::build_with_tls(server, TlsCertificates { client_tls: None, root_cert: options.ca_pem.clone() })
}

/// Removes the keys that match, some at a time.
async fn sweep(connection: &mut MultiplexedConnection, pattern: &str) -> RedisResult<u64> {
    const AT_ONCE: usize = 500;
    let (mut cursor, mut removed) = (0_u64, 0_u64);
    loop {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(AT_ONCE);
        let (next, keys): (u64, Vec<Vec<u8>>) = scan.query_async(connection).await?;
        // Each by itself: in a cluster a command may only name keys of one slot.
        let mut calls = redis::pipe();
        for key in &keys {
            calls.cmd("UNLINK").arg(key);
        }
        if !keys.is_empty() {
            removed += calls.query_async::<Vec<u64>>(connection).await?.iter().sum::<u64>();
        }
        if next == 0 {
            return Ok(removed);
        }
        cursor = next;
    }
}

/// Whether the server is gone, and not only this call.
fn is_loss(error: &RedisError) -> bool {
    let is_unready = matches!(
        error.kind(),
        ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown | ServerErrorKind::ClusterDown)
            | ErrorKind::AuthenticationFailed
            | ErrorKind::Parse
    );
    is_unready || error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

impl std::fmt::Debug for Link {
    /// Without the address: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("is_here", &self.is_here()).field("prefix", &self.options.prefix).finish_non_exhaustive()
    }
}
