//! On whose account a call is made, and what a budget may lack for it.

use crate::TenantId;

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

/// What a budget lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// It is spent.
    Spent,
    /// What is left is reserved for calls under way.
    Reserved,
    /// Nobody knows what the call would cost.
    Unpriced,
}
