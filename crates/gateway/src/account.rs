//! On whose account a call is made.

use corpus::TenantId;

/// Who pays for a call, and what it is for. Never sent to a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Account {
    /// Whose money it is.
    pub tenant: TenantId,
    /// Name of the API key that asked; empty for the server's own work.
    pub key: String,
    /// What the caller books the call under.
    pub tags: Vec<String>,
    /// Id of the collection that it serves, if it serves one.
    pub collection: Option<String>,
}
