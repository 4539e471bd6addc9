//! Where traces and sessions lie, and what redacts them.

use crate::config::Config;
use crate::traces::{Redact, Sessions, TraceStore, Traces};
use anyhow::Context;
use index::Catalog;
use index::shelf::Shelves;
use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

/// Of the database below the data directory; sled takes about ten times as much memory.
const SLED_CACHE_BYTES: u64 = 1 << 20;
const DAY_S: u64 = 24 * 3600;

/// Behind the lock of the store: nobody else has this database open.
pub(super) fn traces(config: &Config, catalog: &Arc<Catalog>) -> anyhow::Result<(Traces, Sessions)> {
    let folder = config.server.data_dir.join("traces");
    let shelves = Shelves::open(&folder, SLED_CACHE_BYTES).with_context(|| format!("can't open the traces in {}", folder.display()))?;
    let retention = Duration::from_secs(u64::from(config.traces.retention_days) * DAY_S);
    let opened = TraceStore::open(&shelves, Arc::clone(catalog), retention, config.traces.bytes_max);
    let store = Arc::new(opened.context("the traces can't be read")?);
    let redact: Redact = Arc::new(|text: &str| Cow::Owned(guard::redact_for_log(text)));
    let sessions = Sessions::open(config.sessions.clone(), &shelves, Arc::clone(&store), Arc::clone(&redact));
    let sessions = sessions.context("the sessions can't be read")?;
    let traces = Traces::start(config.traces.clone(), store, redact).context("can't start the thread that writes traces")?;
    Ok((traces, sessions))
}
