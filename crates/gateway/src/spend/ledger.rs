//! Who has spent what: all of it in memory under one lock, and behind that in the books.

use super::alerts::{Alert, Alerts, WAITING_MAX};
use super::books::{self, Books, BooksError, Changes, Open, bytes};
use super::budget::{Budget, BudgetId, BudgetState, Kept, Lack, Period};
use super::refusal::{refusal, unpriced};
use super::reservation::{End, Held, Job, Planned, Reservation, amount};
use super::usage::{Today, UsageCounts, UsageKey};
use super::{Amount, Money};
use crate::telemetry::{DEPLOYMENT_LABEL, TOKEN_TYPE_LABEL};
use crate::{Account, ChatError, TokenUsage};
use futures::FutureExt;
use futures::future::BoxFuture;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
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
    /// Number of the last reservation or budget that was made.
    last: u64,
    /// What an earlier process held for jobs that may go on, by their names.
    left: BTreeMap<String, Open>,
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
    /// Only what it held for jobs is held on, until somebody goes on with them or says that nobody will. Blocking. The
    /// alerts must be sent by somebody.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub fn open(books: Arc<dyn Books>, configured: Vec<Budget>, clock: Clock) -> Result<(Arc<Self>, Alerts), LedgerError> {
        let now = clock();
        let (tell, told) = mpsc::channel(WAITING_MAX);
        let day = Period::Day.label(now);
        let rows: Vec<(String, books::Row)> = books::all(&*books, &books::usage_of(&day, None))?;
        let today = Today::new(day, rows.into_iter().map(|(_, row)| row));
        let state = State { budgets: budgets(&*books, configured, now)?, today, last: 0, left: BTreeMap::new() };
        let writer = super::writer::Writer::start(Arc::clone(&books))?;
        let run = format!("{:x}", now.unix_timestamp_nanos());
        let ledger = Self { state: Mutex::new(state), books, writer, clock, alerts: tell, run };
        ledger.take_over()?;
        Ok((Arc::new(ledger), Alerts(told)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Books what a dead process left open, and holds on to what it held for jobs.
    fn take_over(&self) -> Result<(), LedgerError> {
        let (mut calls, mut money, mut changes) = (0, Money::ZERO, Changes::new());
        let mut state = self.lock();
        for (id, open) in books::all::<Open>(&*self.books, books::OPEN)? {
            match books::job_of(&id) {
                Some(name) => {
                    state.hold(&open.budgets, |reserved| reserved.plus(open.amount));
                    state.left.insert(name.to_owned(), open);
                }
                None => {
                    (calls, money) = (calls + open.calls, money.plus(open.amount.money));
                    changes.extend(self.give_up(&mut state, &id, open));
                }
            }
        }
        if calls == 0 {
            return Ok(());
        }
        tracing::warn!(calls, %money, "calls were under way when the server ended: all that was reserved for them counts as spent");
        Ok(self.books.write(&changes)?)
    }

    /// Books all of what is held as spent.
    fn give_up(&self, state: &mut State, id: &str, open: Open) -> Changes {
        let counts = UsageCounts {
            requests: open.calls,
            prompt_tokens: open.prompt_tokens,
            completion_tokens: open.completion_tokens,
            cost: open.amount.money,
            unpriced_requests: if open.is_priced { 0 } else { open.calls },
            abandoned: open.calls,
        };
        let mut changes = self.book(state, &open.budgets, open.amount, open.key, &counts);
        changes.insert(books::open(id), None);
        changes
    }

    /// Goes on with what an earlier process held for the job of this name; `planned` says at what price and on whose
    /// account, what is held stays as it was.
    #[must_use]
    pub fn adopt(self: &Arc<Self>, name: &str, planned: Planned) -> Option<Reservation> {
        let Open { budgets, calls, prompt_tokens, completion_tokens, amount, .. } = self.lock().left.remove(name)?;
        let max_tokens = Some(u32::try_from(completion_tokens).unwrap_or(u32::MAX));
        let planned = Planned { prompt_tokens, max_tokens, ..planned };
        let held = Held { amount, budgets, id: Some(books::job(name)), calls, is_job: true };
        Some(Reservation { ledger: Arc::clone(self), planned, held, is_granted: true, is_over: false })
    }

    /// Counts as spent what an earlier process held for those jobs with which nobody will go on.
    pub fn abandon(&self, is_over: impl Fn(&str) -> bool) {
        let mut state = self.lock();
        let over: Vec<String> = state.left.keys().filter(|name| is_over(name)).cloned().collect();
        for name in over {
            let Some(open) = state.left.remove(&name) else { continue };
            tracing::warn!(job = name, money = %open.amount.money, "nobody goes on with a job: all that was reserved for it counts as spent");
            state.hold(&open.budgets, |reserved| reserved.minus(open.amount));
            let changes = self.give_up(&mut state, &books::job(&name), open);
            self.writer.add(changes);
        }
    }

    /// Books what so many calls used that nothing was held for. Nobody can refuse it: it is spent.
    pub fn book_calls(&self, planned: &Planned, usage: TokenUsage, calls: u64) {
        let mut state = self.lock();
        let budgets = state.applying(&planned.account, (self.clock)());
        drop(state);
        let held = Held { budgets, ..Held::default() };
        self.end(planned, &held, &End::Used(usage, calls));
    }

    /// Whether a budget counts the calls of this account.
    #[must_use]
    pub fn is_budgeted(&self, account: &Account) -> bool {
        self.lock().budgets.values().any(|state| state.budget.applies_to(account))
    }

    /// Holds what a call may cost under every budget that applies, or under none. Durable on return.
    ///
    /// # Errors
    /// [`ChatError::OverBudget`]; [`ChatError::Unavailable`] if it can't be made durable.
    pub async fn reserve(self: &Arc<Self>, planned: Planned) -> Result<Reservation, ChatError> {
        self.reserve_for(planned, None).await
    }

    /// The same for all calls of a job. Durable on return, whether or not a budget applies.
    ///
    /// # Errors
    /// As [`Self::reserve`].
    pub async fn reserve_job(self: &Arc<Self>, planned: Planned, job: &Job) -> Result<Reservation, ChatError> {
        self.reserve_for(planned, Some(job)).await
    }

    async fn reserve_for(self: &Arc<Self>, planned: Planned, job: Option<&Job>) -> Result<Reservation, ChatError> {
        let (mut reservation, durable) = self.hold(planned, job)?;
        if let Some(durable) = durable {
            durable.await.map_err(|error| ChatError::Unavailable { reason: error.to_string(), retry_after: None })?;
        }
        reservation.is_granted = true;
        Ok(reservation)
    }

    /// The part of [`Self::reserve`] that happens at one moment.
    fn hold(self: &Arc<Self>, planned: Planned, job: Option<&Job>) -> Result<(Reservation, Option<Durable>), ChatError> {
        let wanted = planned.amount();
        let mut state = self.lock();
        // Under the lock, so that nobody is behind who has it later.
        let now = (self.clock)();
        let budgets = state.applying(&planned.account, now);
        state.check(&budgets, &planned, wanted, now).inspect_err(refused)?;
        state.hold(&budgets, |reserved| reserved.plus(wanted));
        let id = match job {
            Some(job) => Some(books::job(&job.name)),
            None => (!budgets.is_empty()).then(|| self.name(&mut state)),
        };
        let held = Held { amount: wanted, budgets, id, calls: job.map_or(1, |job| job.calls), is_job: job.is_some() };
        let record = |id: &String| Changes::from([(books::open(id), bytes(&record(&planned, &held)))]);
        let durable = held.id.as_ref().map(|id| self.writer.add_now(record(id)).boxed());
        drop(state);
        let reservation = Reservation { ledger: Arc::clone(self), planned, held, is_granted: false, is_over: false };
        Ok((reservation, durable))
    }

    /// A name that nothing else has.
    fn name(&self, state: &mut State) -> String {
        state.last += 1;
        format!("{}-{:x}", self.run, state.last)
    }

    /// Ends a reservation: its hold, what was spent, and its usage, in one piece.
    pub(super) fn end(&self, planned: &Planned, held: &Held, end: &End) {
        let mut state = self.lock();
        state.hold(&held.budgets, |reserved| reserved.minus(held.amount));
        let used = match end {
            End::Released => None,
            End::Used(usage, calls) => Some((*usage, (*calls, 0))),
            End::Abandoned => Some((planned.usage(), (held.calls, held.calls))),
        };
        let mut changes = Changes::new();
        if let Some((usage, calls)) = used {
            let used = amount(&usage, planned.price.as_ref());
            let counts = counts(&usage, used, planned, calls);
            measure(planned, &counts);
            changes = self.book(&mut state, &held.budgets, used, planned.key(), &counts);
        }
        changes.extend(held.id.iter().map(|id| (books::open(id), None)));
        // Under the lock: what is written later must be what is true later.
        self.writer.add(changes);
    }

    /// Adds to what is spent and to the usage; what of it is to be written.
    fn book(&self, state: &mut State, budgets: &[BudgetId], used: Amount, key: UsageKey, counts: &UsageCounts) -> Changes {
        let now = (self.clock)();
        let mut changes = Changes::new();
        for id in budgets {
            let Some(budget) = state.of(id) else { continue };
            budget.turn(now);
            let passed = budget.spend(used);
            changes.insert(books::spent(&id.name), bytes(&budget.kept));
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
            let (kept, reserved) = match known {
                Some(known) => (known.kept.clone(), known.reserved),
                None => (Kept { generation: self.name(&mut state), ..Kept::default() }, Amount::default()),
            };
            let (name, of_budget) = (budget.name.clone(), bytes(&budget));
            let changed = BudgetState { reserved, ..BudgetState::new(budget, false, Some(kept), now) };
            let changes = Changes::from([(books::budget(&name), of_budget), (books::spent(&name), bytes(&changed.kept))]);
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

    /// Shows the rows of a day as they are written, a page in memory at a time, until one is enough; whether one was.
    /// Blocking.
    ///
    /// # Errors
    /// The books failed.
    pub fn each_usage(
        &self,
        day: &str,
        tenant: Option<&str>,
        mut take: impl FnMut(UsageKey, UsageCounts) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, BooksError> {
        books::each(&*self.books, &books::usage_of(day, tenant), |_, (key, counts): books::Row| take(key, counts))
    }

    /// Removes the usage of all days before this one; how many rows. Blocking.
    ///
    /// # Errors
    /// The books failed; what was removed before stays removed.
    pub fn remove_usage_before(&self, day: &str) -> Result<u64, BooksError> {
        books::remove_usage_before(&*self.books, day)
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
    fn hold(&mut self, budgets: &[BudgetId], change: impl Fn(Amount) -> Amount) {
        for id in budgets {
            if let Some(state) = self.of(id) {
                state.reserved = change(state.reserved);
                metrics::gauge!("ragstone_budget_reserved_usd", "budget" => id.name.clone()).set(state.reserved.money.usd());
            }
        }
    }

    /// The budget that a reservation means, unless it is gone: another of its name knows nothing of the reservation.
    fn of(&mut self, id: &BudgetId) -> Option<&mut BudgetState> {
        self.budgets.get_mut(&id.name).filter(|state| state.kept.generation == id.generation)
    }

    /// The budgets that a call counts under, in their current period.
    fn applying(&mut self, account: &Account, now: OffsetDateTime) -> Vec<BudgetId> {
        let applying = self.budgets.values_mut().filter(|state| state.budget.applies_to(account));
        let turned = applying.map(|state| {
            state.turn(now);
            state.id()
        });
        turned.collect()
    }

    /// Whether all of these have room. What is spent is said before what is only reserved: that passes.
    fn check(&self, applying: &[BudgetId], planned: &Planned, wanted: Amount, now: OffsetDateTime) -> Result<(), ChatError> {
        let budgets = || applying.iter().filter_map(|id| self.budgets.get(&id.name));
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
    let Held { amount, budgets, calls, .. } = held.clone();
    Open { key: planned.key(), budgets, calls, prompt_tokens, completion_tokens, amount, is_priced: planned.price.is_some() }
}

fn counts(usage: &TokenUsage, used: Amount, planned: &Planned, (requests, abandoned): (u64, u64)) -> UsageCounts {
    UsageCounts {
        requests,
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        cost: used.money,
        unpriced_requests: if planned.price.is_some() { 0 } else { requests },
        abandoned,
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
