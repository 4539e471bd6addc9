//! The marker beside the store: `store.marker` says that there is data here and how much.
//!
//! It is written after the data it speaks of is synced, so the data can only be ahead of it. A
//! store that is missing, empty or behind its marker has lost something, and is not opened.

use super::{OpenError, Seq, atomic_file};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// Version of keys, values and journal as a whole.
pub(crate) const FORMAT: u32 = 2;
const NAME: &str = "store.marker";

/// What the marker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marker {
    pub(crate) format: u32,
    pub(crate) store_id: String,
    /// Commits that were durable when the marker was written.
    pub(crate) seq: Seq,
    /// Segment size, fixed when the store was created.
    pub(crate) segment_bytes: usize,
}

#[derive(Deserialize)]
struct OnlyFormat {
    format: u32,
}

impl Marker {
    /// The marker in a store's folder, if there is one.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, OpenError> {
        let bytes = match std::fs::read(folder.join(NAME)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let unreadable = |error: serde_json::Error| OpenError::Marker(error.to_string());
        let OnlyFormat { format } = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if format != FORMAT {
            return Err(OpenError::Format { expected: FORMAT, found: format });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(unreadable)
    }

    /// Writes the marker durably.
    pub(crate) fn write(&self, folder: &Path) -> io::Result<()> {
        let mut bytes = serde_json::to_vec_pretty(self)?;
        bytes.push(b'\n');
        atomic_file::replace(&folder.join(NAME), &folder.join("store.marker.tmp"), &bytes)
    }

    /// Checks the data's id and number against the marker.
    pub(crate) fn check(&self, store_id: &str, seq: Seq) -> Result<(), OpenError> {
        if self.store_id != store_id {
            return Err(OpenError::OtherStore { expected: self.store_id.clone(), found: store_id.to_owned() });
        }
        if seq < self.seq { Err(OpenError::Behind { expected: self.seq, found: seq }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_round_trips_and_a_foreign_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Marker::read(dir.path()).unwrap(), None);
        let marker = Marker { format: FORMAT, store_id: "s".into(), seq: 7, segment_bytes: 1 };
        marker.write(dir.path()).unwrap();
        assert_eq!(Marker::read(dir.path()).unwrap(), Some(marker.clone()));
        assert!(marker.check("s", 7).is_ok() && marker.check("s", 8).is_ok());
        assert!(matches!(marker.check("s", 6), Err(OpenError::Behind { expected: 7, found: 6 })));
        assert!(matches!(marker.check("t", 8), Err(OpenError::OtherStore { .. })));
        std::fs::write(dir.path().join(NAME), r#"{"format": 999, "other": 1}"#).unwrap();
        assert!(matches!(Marker::read(dir.path()), Err(OpenError::Format { found: 999, .. })));
        std::fs::write(dir.path().join(NAME), "").unwrap();
        assert!(matches!(Marker::read(dir.path()), Err(OpenError::Marker(_))));
    }
}
