//! Identifiers: a prefix that says what is named, then a lower-case ULID, so that ids of one
//! kind sort by creation time.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use crate::{DocumentId as Document, Row};

/// Why a string is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// The prefix or the part behind it is not of this kind of id.
    #[error("{value:?} is not a {kind} id")]
    Malformed {
        /// What was expected, as its prefix.
        kind: &'static str,
        /// What was given.
        value: String,
    },
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// What every id of this kind starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A fresh id: the time in milliseconds and 80 random bits.
            #[must_use]
            pub fn generate() -> Self {
                Self(format!("{}{}", $prefix, ulid::Ulid::generate().to_string().to_lowercase()))
            }

            /// The id as it goes over the wire.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                let is_id = value
                    .strip_prefix($prefix)
                    .is_some_and(|rest| rest.len() == 26 && rest.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
                let is_id = is_id || ($prefix == "trc_" && value.strip_prefix($prefix).is_some_and(is_trace));
                if is_id { Ok(Self(value.to_owned())) } else { Err(IdError::Malformed { kind: $prefix, value: value.to_owned() }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(value: String) -> Result<Self, IdError> {
                value.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// Names a collection.
    CollectionId, "col_"
);
id!(
    /// Names a document, over all its versions.
    DocumentId, "doc_"
);
id!(
    /// Names a durable job.
    JobId, "job_"
);
id!(
    /// Names an API key; it is not the key itself.
    KeyId, "key_"
);
id!(
    /// Names an evaluation and its results.
    EvaluationId, "evl_"
);
id!(
    /// Names a deletion and its receipt.
    DeletionId, "del_"
);
id!(
    /// Names a conversation, where its caller doesn't.
    SessionId, "ses_"
);
id!(
    /// Names one request's trace: begun here (a ULID), or somebody else's (the 32 hexadecimal digits
    /// of a W3C trace id).
    TraceId, "trc_"
);

impl TraceId {
    /// Goes on with the trace of this W3C trace id; `None` unless it is 32 lower-case hexadecimal digits.
    #[must_use]
    pub fn continued(trace: &str) -> Option<Self> {
        is_trace(trace).then(|| Self(format!("{}{trace}", Self::PREFIX)))
    }
}

fn is_trace(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Names a tenant: 1 to 64 characters of `a-z 0-9 _ -`, so that it can stand in keys and paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

impl TenantId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for TenantId {
    /// The tenant of a server without keys.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for TenantId {
    type Err = IdError;
    fn from_str(value: &str) -> Result<Self, IdError> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if (1..=64).contains(&value.len()) && value.bytes().all(is_plain) {
            Ok(Self(value.to_owned()))
        } else {
            Err(IdError::Malformed { kind: "tenant", value: value.to_owned() })
        }
    }
}

impl TryFrom<String> for TenantId {
    type Error = IdError;
    fn try_from(value: String) -> Result<Self, IdError> {
        value.parse()
    }
}

impl From<TenantId> for String {
    fn from(id: TenantId) -> String {
        id.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a chunk: `chk_`, the document's ULID, `_`, the chunk's row in its collection. Both parts
/// can be read back, so that no table of chunk ids is needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChunkId(String);

impl ChunkId {
    /// The id of the chunk of `document` at `row`.
    #[must_use]
    pub fn new(document: &Document, row: Row) -> Self {
        let document = document.as_str().trim_start_matches(Document::PREFIX);
        Self(format!("chk_{document}_{row}"))
    }

    /// The id as it goes over the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The document and the row that this id names; the chunk there may be gone.
    #[must_use]
    pub fn parts(&self) -> Option<(Document, Row)> {
        let (document, row) = self.0.strip_prefix("chk_")?.split_once('_')?;
        Some((format!("{}{document}", Document::PREFIX).parse().ok()?, row.parse().ok()?))
    }
}

impl FromStr for ChunkId {
    type Err = IdError;
    fn from_str(value: &str) -> Result<Self, IdError> {
        let id = Self(value.to_owned());
        if id.parts().is_some() { Ok(id) } else { Err(IdError::Malformed { kind: "chk_", value: id.0 }) }
    }
}

impl TryFrom<String> for ChunkId {
    type Error = IdError;
    fn try_from(value: String) -> Result<Self, IdError> {
        value.parse()
    }
}

impl From<ChunkId> for String {
    fn from(id: ChunkId) -> String {
        id.0
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip_and_refuse_strangers() {
        let id = DocumentId::generate();
        assert_eq!(id.as_str().parse::<DocumentId>().as_ref(), Ok(&id));
        assert!(id.as_str().parse::<JobId>().is_err());
        assert!("doc_../../etc/passwd".parse::<DocumentId>().is_err());
        assert!("Tenant".parse::<TenantId>().is_err());
        assert!("a/b".parse::<TenantId>().is_err());
    }

    #[test]
    fn a_chunk_id_names_its_document_and_row() {
        let document = DocumentId::generate();
        let chunk = ChunkId::new(&document, 42);
        assert_eq!(chunk.parts(), Some((document, 42)));
        assert!("chk_x_1".parse::<ChunkId>().is_err());
    }
}
