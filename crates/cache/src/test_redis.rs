//! A Redis server for a test: on a free port, in a folder of its own, ended with the test.

use crate::link::{Link, LinkOptions};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub(crate) struct TestRedis {
    port: u16,
    folder: TempDir,
    more: Vec<String>,
    server: Option<Child>,
}

impl TestRedis {
    /// Starts one and waits until it answers.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// A cluster of one node, which is as strict about slots as one of many.
    pub(crate) async fn start_cluster() -> Self {
        // The usual one is ten thousand above, which may be none.
        let bus = free_port().to_string();
        let redis = Self::start_with(&["--cluster-enabled", "yes", "--cluster-port", &bus]).await;
        let mut connection = redis.connection().await;
        redis::cmd("CLUSTER").arg(&["ADDSLOTSRANGE", "0", "16383"]).query_async::<()>(&mut connection).await.unwrap();
        until("the cluster is up", async || {
            let info: String = redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection).await.unwrap();
            info.contains("cluster_state:ok")
        })
        .await;
        redis
    }

    async fn start_with(more: &[&str]) -> Self {
        let mut redis = Self {
            port: 0,
            folder: tempfile::tempdir().unwrap(),
            more: more.iter().map(|word| (*word).to_owned()).collect(),
            server: None,
        };
        // Another process may take the port between the search for it and the start.
        for _ in 0..10 {
            redis.port = free_port();
            if redis.try_start().await {
                return redis;
            }
        }
        panic!("redis-server does not start");
    }

    /// Starts it again on its port after a stop.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.try_start().await, "redis-server does not start again");
    }

    async fn try_start(&mut self) -> bool {
        let server = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.more)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.server = Some(server.unwrap_or_else(|error| panic!("this test needs redis-server ({error}): apt-get install redis-server")));
        for _ in 0..200 {
            if self.server.as_mut().is_some_and(|server| server.try_wait().unwrap().is_some()) {
                return false;
            }
            if self.answers().await {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        false
    }

    async fn answers(&self) -> bool {
        let client = redis::Client::open(self.url()).unwrap();
        let Ok(mut connection) = client.get_multiplexed_async_connection().await else { return false };
        redis::cmd("PING").query_async::<()>(&mut connection).await.is_ok()
    }

    /// Ends it at once.
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Lets it hang: it accepts connections and answers nothing. Or go on.
    pub(crate) fn hang(&self, hangs: bool) {
        let id = self.server.as_ref().unwrap().id().to_string();
        let signal = if hangs { "-STOP" } else { "-CONT" };
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Options with short pauses between probes.
    pub(crate) fn options(&self) -> LinkOptions {
        LinkOptions { pause_min: Duration::from_millis(20), pause_max: Duration::from_millis(100), ..LinkOptions::new(self.url()) }
    }

    pub(crate) async fn link(&self) -> Arc<Link> {
        Link::open(self.options()).await.unwrap()
    }

    /// A connection past all that is tested.
    pub(crate) async fn connection(&self) -> redis::aio::MultiplexedConnection {
        redis::Client::open(self.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
    }
}

impl Drop for TestRedis {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Waits until the condition holds, for a few seconds at most.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("not within ten seconds: {what}");
}
