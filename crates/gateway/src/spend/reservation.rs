//! What is held back for one call.

use super::budget::{Amount, BudgetId};
use super::ledger::Ledger;
use super::usage::UsageKey;
use super::{Money, Price};
use crate::{Account, TokenUsage};
use std::sync::Arc;

/// Tokens of an answer that is not limited, where a budget needs a limit.
pub(super) const ANSWER_TOKENS: u32 = 1024;

/// A call that somebody wants to make.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Who pays.
    pub account: Arc<Account>,
    /// The deployment.
    pub deployment: String,
    /// The model's name at the provider.
    pub model: String,
    /// What it costs; `None`: nobody knows.
    pub price: Option<Price>,
    /// Tokens to read, rather too many than too few.
    pub prompt_tokens: u64,
    /// Searches, where a reranker is paid by them.
    pub searches: u64,
    /// Most tokens to write.
    pub max_tokens: Option<u32>,
}

impl Planned {
    pub(super) fn key(&self) -> UsageKey {
        UsageKey::of(&self.account, &self.deployment, &self.model)
    }

    /// What it takes at most.
    pub(super) fn usage(&self) -> TokenUsage {
        let completion_tokens = u64::from(self.max_tokens.unwrap_or(ANSWER_TOKENS));
        TokenUsage { prompt_tokens: self.prompt_tokens, completion_tokens, searches: self.searches, ..TokenUsage::default() }
    }

    pub(super) fn amount(&self) -> Amount {
        amount(&self.usage(), self.price.as_ref())
    }
}

pub(super) fn amount(usage: &TokenUsage, price: Option<&Price>) -> Amount {
    let tokens = usage.prompt_tokens.saturating_add(usage.completion_tokens);
    Amount { money: price.map(|price| price.cost(usage)).unwrap_or_default(), tokens }
}

/// Work of many calls that a budget holds as one, and that a later process may go on with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Names it, in every process.
    pub name: String,
    /// Calls that it makes at most.
    pub calls: u64,
}

/// The right to make one call, or those of a [`Job`]. One that is dropped unsettled counts as spent, and as abandoned;
/// that of a job stays open in the books until somebody goes on with it ([`Ledger::adopt`]).
pub struct Reservation {
    pub(super) ledger: Arc<Ledger>,
    pub(super) planned: Planned,
    pub(super) held: Held,
    /// Whether the call may be made; before that nothing can have been spent.
    pub(super) is_granted: bool,
    pub(super) is_over: bool,
}

/// What is held, and where.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub(super) amount: Amount,
    /// The budgets.
    pub(super) budgets: Vec<BudgetId>,
    /// The record in the books; none for a call where no budget applies.
    pub(super) id: Option<String>,
    /// Calls that it is for, at most.
    pub(super) calls: u64,
    /// Whether it is a job's, and outlives the process.
    pub(super) is_job: bool,
}

/// How a reservation ends.
pub(super) enum End {
    /// So many calls were made and used this.
    Used(TokenUsage, u64),
    /// The call was not made.
    Released,
    /// Nobody knows.
    Abandoned,
}

impl Reservation {
    /// Whether a budget applies.
    #[must_use]
    pub fn is_budgeted(&self) -> bool {
        !self.held.budgets.is_empty()
    }

    /// What the answer must be limited to, if any budget applies.
    #[must_use]
    pub fn max_tokens(&self) -> Option<u32> {
        self.is_budgeted().then(|| self.planned.max_tokens.unwrap_or(ANSWER_TOKENS))
    }

    /// What a use would cost.
    #[must_use]
    pub fn cost(&self, usage: &TokenUsage) -> Option<Money> {
        self.planned.price.as_ref().map(|price| price.cost(usage))
    }

    /// Books what the call used.
    pub fn settle(self, usage: TokenUsage) {
        self.settle_calls(usage, 1);
    }

    /// Books what so many calls used.
    pub fn settle_calls(mut self, usage: TokenUsage, calls: u64) {
        self.end(&End::Used(usage, calls));
    }

    /// Counts all of it as spent: nobody will know what was used.
    pub fn abandon(mut self) {
        self.end(&End::Abandoned);
    }

    /// Gives everything back: the call was not made, or refused.
    pub fn release(mut self) {
        self.end(&End::Released);
    }

    fn end(&mut self, end: &End) {
        if !std::mem::replace(&mut self.is_over, true) {
            self.ledger.end(&self.planned, &self.held, end);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        match (self.is_granted, self.held.is_job) {
            (false, _) => self.end(&End::Released),
            (true, false) => self.end(&End::Abandoned),
            // Whoever goes on with the job ends it.
            (true, true) => {}
        }
    }
}
