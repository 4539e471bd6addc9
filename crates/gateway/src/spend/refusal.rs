//! What is said to whoever finds a budget empty. A tenant reads figures of its own budgets only.

use super::budget::{Amount, BudgetState, Lack, Period, until};
use crate::{Account, ChatError, Shortage};
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// When to ask again where calls under way hold what is left: about the time of one answer.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A period that ends within this time is worth waiting for.
const SOON: Duration = Duration::from_secs(3600);

/// Why this call is not made.
pub(super) fn refusal(state: &BudgetState, lack: &Lack, wanted: Amount, account: &Account, now: OffsetDateTime) -> ChatError {
    let budget = &state.budget;
    let is_own = budget.tenant.as_ref() == Some(&account.tenant);
    let name = if is_own { format!("the budget {:?}", budget.name) } else { "a budget that the operator set".to_owned() };
    let period = match budget.period {
        Period::Day => " of this day",
        Period::Month => " of this month",
        Period::Total => "",
    };
    let end = budget.period.end(now);
    let anew = end.and_then(|end| end.format(&Rfc3339).ok()).map_or_else(String::new, |end| format!("; it begins anew at {end}"));
    let figures = if is_own { figures(state, lack, wanted) } else { String::new() };
    let (shortage, what, retry_after) = match lack {
        Lack::Reserved => (Shortage::Reserved, "is reserved for calls under way", Some(RETRY_AFTER)),
        Lack::Money => (Shortage::Spent, "has too little money left for this call", None),
        Lack::Tokens => {
            let can_fit = budget.limit_tokens.is_some_and(|limit| wanted.tokens <= limit);
            let wait = end.map(|end| until(end, now)).filter(|wait| can_fit && *wait <= SOON);
            (Shortage::Spent, "has too few tokens left for this call", wait)
        }
    };
    ChatError::OverBudget { shortage, reason: format!("{name}{period} {what}{figures}{anew}"), retry_after }
}

fn figures(state: &BudgetState, lack: &Lack, wanted: Amount) -> String {
    let (budget, spent) = (&state.budget, state.kept.spent);
    match (lack, budget.limit, budget.limit_tokens) {
        (Lack::Tokens, _, Some(limit)) => format!(": {} of {limit} are used, and it may take {}", spent.tokens, wanted.tokens),
        (_, Some(limit), _) => format!(": {} of {limit} are spent, and it may cost {}", spent.money, wanted.money),
        _ => String::new(),
    }
}

/// Why a call whose price nobody knows is not made.
pub(super) fn unpriced(deployment: &str) -> ChatError {
    let reason = format!(
        "the price of the deployment {deployment:?} is not known, and a budget of money applies: the operator can set \
         price = {{ input = …, output = … }} in [[llm.deployments]], [embedding.remote] or [rerank], 0 for free, or a line in [[llm.prices]]"
    );
    ChatError::OverBudget { shortage: Shortage::Unpriced, reason, retry_after: None }
}
