//! The mock itself: a listener, its connections, and what they share.
//!
//! The accept loop is our own, because a fault needs the socket: what resets a connection is how it is closed.

use crate::access::Access;
use crate::calls::Call;
use crate::exchange::exchange;
use crate::provider::Provider;
use crate::script::Script;
use crate::wire::{ResetSwitch, Wire};
use hyper::server::conn::http1::Builder;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use tokio::task::{JoinHandle, JoinSet};

/// A free port of this machine.
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What hyper keeps of a connection in each direction.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// A provider that plays a script. It stops, connections included, when it is dropped.
pub struct Mock {
    provider: Arc<Provider>,
    address: SocketAddr,
    url: String,
    accepting: JoinHandle<()>,
    runtime: Option<Runtime>,
}

impl Mock {
    /// Starts it in the runtime of the caller, on a free port of this machine, open to anybody.
    ///
    /// # Panics
    /// Without a port to listen on.
    pub async fn start(script: Script) -> Self {
        or_panic(Self::start_on(ANY_PORT, script, Access::Open).await)
    }

    /// Starts it in the runtime of the caller, on this address; port 0 is any free port.
    ///
    /// # Errors
    /// If the address can't be listened on.
    pub async fn start_on(address: SocketAddr, script: Script, access: Access) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        Self::run(listener, script, access)
    }

    /// Starts it on a thread of its own, for callers without a runtime or with one whose clock stands still.
    ///
    /// # Panics
    /// Without a thread to run on or a port to listen on.
    #[must_use]
    pub fn start_on_thread(script: Script) -> Self {
        or_panic(Self::on_thread(script))
    }

    fn on_thread(script: Script) -> io::Result<Self> {
        let runtime = RuntimeBuilder::new_multi_thread().worker_threads(1).thread_name("mock").enable_all().build()?;
        let listener = std::net::TcpListener::bind(ANY_PORT)?;
        listener.set_nonblocking(true)?;
        let guard = runtime.enter();
        let mut mock = Self::run(TcpListener::from_std(listener)?, script, Access::Open)?;
        drop(guard);
        mock.runtime = Some(runtime);
        Ok(mock)
    }

    fn run(listener: TcpListener, script: Script, access: Access) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let provider = Arc::new(Provider::new(script, access));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&provider)));
        Ok(Self { provider, address, url: format!("http://{address}"), accepting, runtime: None })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Such as `http://127.0.0.1:4010`, without a path.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts another script from its beginning. Answers under way go on as they began.
    pub fn set_script(&self, script: Script) {
        self.provider.set_script(script);
    }

    /// The last calls (up to 10,000), the oldest first, those under way included.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.provider.calls.calls()
    }

    /// How many calls there were since they were last forgotten.
    #[must_use]
    pub fn call_count(&self) -> u64 {
        self.provider.calls.count()
    }

    /// Forgets the calls; those under way don't come back.
    pub fn clear_calls(&self) {
        self.provider.calls.clear();
    }

    /// Waits until so many calls have ended, for as long as that takes; then all that there are.
    pub async fn finished_calls(&self, count: u64) -> Vec<Call> {
        self.provider.calls.ended(count).await;
        self.calls()
    }

    /// Stops it and waits for that: from now on its port refuses connections.
    pub async fn stop(mut self) {
        self.accepting.abort();
        // It was told to; there is no other end.
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Some(runtime) = self.runtime.take() {
            // To wait is not allowed inside of another runtime, and there is nothing to wait for.
            runtime.shutdown_background();
        }
    }
}

#[expect(clippy::panic, reason = "what can't start a mock is a test, and it ends there")]
fn or_panic(mock: io::Result<Mock>) -> Mock {
    mock.unwrap_or_else(|error| panic!("the mock provider can't start: {error}"))
}

/// Connections end with this future.
async fn accept(listener: TcpListener, provider: Arc<Provider>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => { connections.spawn(serve(stream, Arc::clone(&provider))); }
                // Out of files, as a rule: some will be free again soon.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, provider: Arc<Provider>) {
    // Chunks are small and timed: waiting to fill a packet would change when they come.
    let _ = stream.set_nodelay(true);
    let switch = ResetSwitch::default();
    let wire = TokioIo::new(Wire::new(stream, switch.clone()));
    let service = service_fn(move |request| exchange(Arc::clone(&provider), switch.clone(), request));
    // How a connection ends is in the log of calls, or concerns the client only.
    let _ = Builder::new().max_buf_size(BUFFER_BYTES_MAX).serve_connection(wire, service).await;
}
