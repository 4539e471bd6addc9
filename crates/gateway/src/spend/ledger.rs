//! Who has spent what: all of it in memory under one lock, and behind that in the books.

use super::alerts::{Alert, Alerts, WAITING_MAX};
use super::books::{self, Books, BooksError, Changes, Open, bytes};
use super::budget::{Budget, BudgetState, Kept, Lack, Period};
use super::refusal::{refusal, unpriced};
use super::reservation::{End, Held, Planned, Reservation, amount};
use super::usage::{Today, UsageCounts, UsageKey};
use super::{Amount, Money};
use crate::telemetry::{DEPLOYMENT_LABEL, TOKEN_TYPE_LABEL};
use crate::{Account, ChatError, TokenUsage};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;
use tokio::sync::mpsc;

/// Tells the time; another one than the system's for tests.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// Why a ledger or one of its budgets can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The books failed.
    #[error(transparent)]
    Books(#[from] BooksError),
    /// No thread.
    #[error("can't start the thread that writes the ledger: {0}")]
    Thread(#[from] std::io::Error),
    /// The budget stands in the configuration.
    #[error("the budget {0:?} stands in the configuration, and is changed there")]
    Configured(String),
    /// There is no such budget.
    #[error("there is no budget {0:?}")]
    Absent(String),
}

/// A budget and how it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct BudgetView {
    /// The budget.
    pub budget: Budget,
    /// Whether it stands in the configuration.
    pub is_configured: bool,
    /// What was spent in this period.
    pub spent: Amount,
    /// What is held for calls under way.
    pub reserved: Amount,
    /// When the next period begins.
    pub period_end: Option<OffsetDateTime>,
}

impl BudgetView {
    /// Money that is neither spent nor reserved; `None` without a limit.
    #[must_use]
    pub fn remaining(&self) -> Option<Money> {
        Some(self.budget.limit?.minus(self.spent.money).minus(self.reserved.money))
    }

    /// Tokens that are neither spent nor reserved; `None` without a limit.
    #[must_use]
    pub fn remaining_tokens(&self) -> Option<u64> {
        Some(self.budget.limit_tokens?.saturating_sub(self.spent.tokens).saturating_sub(self.reserved.tokens))
    }
}

struct State {
    budgets: BTreeMap<String, BudgetState>,
    today: Today,
    /// Number of the next reservation.
    next: u64,
}

/// Resolves when what was written is durable.
type Durable = BoxFuture<'static, Result<(), BooksError>>;

/// See the module.
pub struct Ledger {
    state: Mutex<State>,
    books: Arc<dyn Books>,
    writer: super::writer::Writer,
    clock: Clock,
    alerts: mpsc::Sender<Alert>,
    /// Tells the reservations of this run from those of others.
    run: String,
}

impl Ledger {
    /// Opens the books. What an earlier process has reserved and not settled is spent: the calls may have been made.
    /// Blocking. The alerts must be sent by somebody.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(books: Arc<dyn Books>, configured: Vec<Budget>, clock: Clock) -> Result<(Arc<Self>, Alerts), LedgerError> {
        let now = clock();
        let (tell, told) = mpsc::channel(WAITING_MAX);
        let day = Period::Day.label(now);
        let rows: Vec<(String, books::Row)> = books::all(&*books, &books::usage_of(&day, None))?;
        let state =
            State { budgets: budgets(&*books, configured, now)?, today: Today::new(day, rows.into_iter().map(|(_, row)| row)), next: 0 };
        let writer = super::writer::Writer::start(Arc::clone(&books))?;
        let run = format!("{:x}", now.unix_timestamp_nanos());
        let ledger = Self { state: Mutex::new(state), books, writer, clock, alerts: tell, run };
        ledger.take_over()?;
        Ok((Arc::new(ledger), Alerts(told)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books what a dead process left open.
    fn take_over(&self) -> Result<(), LedgerError> {
        let left: Vec<(String, Open)> = books::all(&*self.books, books::OPEN)?;
        if left.is_empty() {
            return Ok(());
        }
        let (mut money, mut changes) = (Money::ZERO, Changes::new());
        for (id, open) in &left {
            let counts = UsageCounts {
                requests: 1,
                prompt_tokens: open.prompt_tokens,
                completion_tokens: open.completion_tokens,
                cost: open.amount.money,
                unpriced_requests: u64::from(!open.is_priced),
                abandoned: 1,
            };
            money = money.plus(open.amount.money);
            changes.extend(self.book(&mut self.lock(), &open.budgets, open.amount, open.key.clone(), &counts));
            changes.insert(books::open(id), None);
        }
        tracing::warn!(calls = left.len(), %money, "calls were under way when the server ended: all that was reserved for them counts as spent");
        Ok(self.books.write(&changes)?)
    }

    /// Holds what a call may cost under every budget that applies, or under none. Durable on return.
    ///
    /// # Errors
    /// [`ChatError::OverBudget`]; [`ChatError::Unavailable`] if it can't be made durable.
    pub async fn reserve(self: &Arc<Self>, planned: Planned) -> Result<Reservation, ChatError> {
        let (mut reservation, durable) = self.hold(planned)?;
        if let Some(durable) = durable {
            durable.await.map_err(|error| ChatError::Unavailable { reason: error.to_string(), retry_after: None })?;
        }
        reservation.is_granted = true;
        Ok(reservation)
    }

    /// The part of [`Self::reserve`] that happens at one moment.
    fn hold(self: &Arc<Self>, planned: Planned) -> Result<(Reservation, Option<Durable>), ChatError> {
        let wanted = planned.amount();
        let mut state = self.lock();
        // Under the lock, so that nobody is behind who has it later.
        let now = (self.clock)();
        let names = state.applying(&planned.account, now);
        state.check(&names, &planned, wanted, now).inspect_err(refused)?;
        state.hold(&names, |reserved| reserved.plus(wanted));
        state.next += 1;
        let id = (!names.is_empty()).then(|| format!("{}-{:x}", self.run, state.next));
        let held = Held { amount: wanted, budgets: names, id };
        let record = |id: &String| Changes::from([(books::open(id), bytes(&record(&planned, &held)))]);
        let durable = held.id.as_ref().map(|id| self.writer.add_now(record(id)).boxed());
        drop(state);
        let reservation = Reservation { ledger: Arc::clone(self), planned, held, is_granted: false, is_over: false };
        Ok((reservation, durable))
    }

    /// Ends a reservation: its hold, what was spent, and its usage, in one piece.
    pub(super) fn end(&self, planned: &Planned, held: &Held, end: &End) {
        let mut state = self.lock();
        state.hold(&held.budgets, |reserved| reserved.minus(held.amount));
        let (usage, is_abandoned) = match end {
            End::Released => (None, false),
            End::Used(usage) => (Some(*usage), false),
            End::Abandoned => (Some(planned.usage()), true),
        };
        let mut changes = Changes::new();
        if let Some(usage) = usage {
            let used = amount(&usage, planned.price.as_ref());
            let counts = counts(&usage, used, planned, is_abandoned);
            measure(planned, &counts);
            changes = self.book(&mut state, &held.budgets, used, planned.key(), &counts);
        }
        changes.extend(held.id.iter().map(|id| (books::open(id), None)));
        // Under the lock: what is written later must be what is true later.
        self.writer.add(changes);
    }

    /// Adds to what is spent and to the usage; what of it is to be written.
    fn book(&self, state: &mut State, budgets: &[String], used: Amount, key: UsageKey, counts: &UsageCounts) -> Changes {
        let now = (self.clock)();
        let mut changes = Changes::new();
        for name in budgets {
            let Some(budget) = state.budgets.get_mut(name) else { continue };
            budget.turn(now);
            let passed = budget.spend(used);
            changes.insert(books::spent(name), bytes(&budget.kept));
            passed.into_iter().for_each(|threshold| self.alert(Alert::of(budget, threshold, now)));
        }
        let (day, key, row) = state.today.add(&Period::Day.label(now), key, counts);
        changes.insert(books::usage(day, &key), bytes(&(key, row)));
        changes
    }

    fn alert(&self, alert: Alert) {
        tracing::warn!(budget = alert.budget, threshold = alert.threshold, "a budget has reached a threshold");
        if self.alerts.try_send(alert).is_err() {
            tracing::error!("more alerts wait to be sent than may: this one is only in the log");
        }
    }

    /// All budgets that `may_see` lets through, by name.
    #[must_use]
    pub fn budgets(&self, may_see: impl Fn(&Budget) -> bool) -> Vec<BudgetView> {
        let now = (self.clock)();
        let mut state = self.lock();
        state.budgets.values_mut().for_each(|budget| budget.turn(now));
        state.budgets.values().filter(|state| may_see(&state.budget)).map(|state| view(state, now)).collect()
    }

    /// Makes or changes a budget; durable on return. What is spent and reserved under that name stays.
    ///
    /// # Errors
    /// [`LedgerError::Configured`], or the books failed.
    pub async fn put_budget(&self, budget: Budget) -> Result<BudgetView, LedgerError> {
        let now = (self.clock)();
        let (view, durable) = {
            let mut state = self.lock();
            let known = state.budgets.get(&budget.name);
            if known.is_some_and(|known| known.is_configured) {
                return Err(LedgerError::Configured(budget.name));
            }
            let (kept, reserved) = known.map(|known| (known.kept.clone(), known.reserved)).unzip();
            let changes = Changes::from([(books::budget(&budget.name), bytes(&budget))]);
            let changed = BudgetState { reserved: reserved.unwrap_or_default(), ..BudgetState::new(budget, false, kept, now) };
            let view = view(&changed, now);
            state.budgets.insert(changed.budget.name.clone(), changed);
            (view, self.writer.add_now(changes))
        };
        durable.await?;
        Ok(view)
    }

    /// Removes a budget with what was spent under it; durable on return.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub async fn delete_budget(&self, name: &str) -> Result<(), LedgerError> {
        let durable = {
            let mut state = self.lock();
            match state.budgets.get(name) {
                None => return Err(LedgerError::Absent(name.to_owned())),
                Some(known) if known.is_configured => return Err(LedgerError::Configured(name.to_owned())),
                Some(_) => state.budgets.remove(name),
            };
            self.writer.add_now(Changes::from([(books::budget(name), None), (books::spent(name), None)]))
        };
        Ok(durable.await?)
    }

    /// Writes all that is known so far.
    ///
    /// # Errors
    /// The books failed.
    pub async fn flush(&self) -> Result<(), BooksError> {
        self.writer.add_now(Changes::new()).await
    }

    /// The rows of a day as they are written. Blocking.
    ///
    /// # Errors
    /// The books failed.
    pub fn usage(&self, day: &str, tenant: Option<&str>) -> Result<Vec<(UsageKey, UsageCounts)>, BooksError> {
        let rows = books::all(&*self.books, &books::usage_of(day, tenant))?;
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        (self.clock)()
    }

    /// Writes what is left and ends; what is spent from here on is lost. Blocking.
    pub fn close(&self) {
        self.writer.close();
    }
}

impl State {
    /// Changes what these budgets hold for calls under way.
    fn hold(&mut self, names: &[String], change: impl Fn(Amount) -> Amount) {
        for name in names {
            if let Some(state) = self.budgets.get_mut(name) {
                state.reserved = change(state.reserved);
                metrics::gauge!("ragstone_budget_reserved_usd", "budget" => name.clone()).set(state.reserved.money.usd());
            }
        }
    }

    /// The budgets that a call counts under, in their current period.
    fn applying(&mut self, account: &Account, now: OffsetDateTime) -> Vec<String> {
        let applying = self.budgets.iter_mut().filter(|(_, state)| state.budget.applies_to(account));
        let turned = applying.map(|(name, state)| {
            state.turn(now);
            name.clone()
        });
        turned.collect()
    }

    /// Whether all of these have room. What is spent is said before what is only reserved: that passes.
    fn check(&self, names: &[String], planned: &Planned, wanted: Amount, now: OffsetDateTime) -> Result<(), ChatError> {
        let budgets = || names.iter().filter_map(|name| self.budgets.get(name));
        if planned.price.is_none() && budgets().any(|state| state.budget.limit.is_some()) {
            return Err(unpriced(&planned.deployment));
        }
        let lacks = budgets().filter_map(|state| Some((state, state.room_for(wanted).err()?)));
        match lacks.min_by_key(|(_, lack)| *lack == Lack::Reserved) {
            Some((state, lack)) => Err(refusal(state, &lack, wanted, &planned.account, now)),
            None => Ok(()),
        }
    }
}

fn budgets(books: &dyn Books, configured: Vec<Budget>, now: OffsetDateTime) -> Result<BTreeMap<String, BudgetState>, BooksError> {
    let mut kept: BTreeMap<String, Kept> = books::all(books, books::SPENT)?.into_iter().collect();
    let stored: Vec<(String, Budget)> = books::all(books, books::BUDGETS)?;
    let stored = stored.into_iter().map(|(_, budget)| (budget, false));
    // Behind the stored ones, so that the configuration wins.
    let all = stored.chain(configured.into_iter().map(|budget| (budget, true)));
    let mut found = BTreeMap::new();
    for (budget, is_configured) in all {
        let kept = kept.remove(&budget.name).or_else(|| found.remove(&budget.name).map(|known: BudgetState| known.kept));
        found.insert(budget.name.clone(), BudgetState::new(budget, is_configured, kept, now));
    }
    Ok(found)
}

fn record(planned: &Planned, held: &Held) -> Open {
    let TokenUsage { prompt_tokens, completion_tokens, .. } = planned.usage();
    let budgets = held.budgets.clone();
    Open { key: planned.key(), budgets, prompt_tokens, completion_tokens, amount: held.amount, is_priced: planned.price.is_some() }
}

fn counts(usage: &TokenUsage, used: Amount, planned: &Planned, is_abandoned: bool) -> UsageCounts {
    UsageCounts {
        requests: 1,
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        cost: used.money,
        unpriced_requests: u64::from(planned.price.is_none()),
        abandoned: u64::from(is_abandoned),
    }
}

fn view(state: &BudgetState, now: OffsetDateTime) -> BudgetView {
    BudgetView {
        budget: state.budget.clone(),
        is_configured: state.is_configured,
        spent: state.kept.spent,
        reserved: state.reserved,
        period_end: state.budget.period.end(now),
    }
}

fn refused(error: &ChatError) {
    if let ChatError::OverBudget { shortage, .. } = error {
        let reason = format!("{shortage:?}").to_lowercase();
        metrics::counter!("ragstone_budget_refused_total", "reason" => reason).increment(1);
    }
}

fn measure(planned: &Planned, counts: &UsageCounts) {
    let labels = |kind: &'static str| [(DEPLOYMENT_LABEL, planned.deployment.clone()), (TOKEN_TYPE_LABEL, kind.to_owned())];
    metrics::counter!("ragstone_settled_tokens_total", &labels("input")).increment(counts.prompt_tokens);
    metrics::counter!("ragstone_settled_tokens_total", &labels("output")).increment(counts.completion_tokens);
    let deployment = planned.deployment.clone();
    metrics::counter!("ragstone_cost_nanodollars_total", DEPLOYMENT_LABEL => deployment).increment(counts.cost.nanos());
}
