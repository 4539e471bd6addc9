//! Tells of budgets that pass a threshold: in the log, and to an address that the operator configured.

use super::Amount;
use super::budget::BudgetState;
use crate::EndpointError;
use crate::http::client_builder;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde::Serialize;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc::Receiver;
use tokio::time::sleep;

/// Alerts that wait to be sent; more are only logged.
pub(super) const WAITING_MAX: usize = 100;
/// Times that one alert is sent until somebody answers 2xx.
const TRIES: u32 = 5;
const BACKOFF: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(10);

/// A budget has passed a threshold.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alert {
    /// Always `budget.threshold`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The budget.
    pub budget: String,
    tenant: Option<String>,
    key: Option<String>,
    tag: Option<String>,
    /// Share of the limit that was reached.
    pub threshold: f64,
    limit_usd: Option<f64>,
    spent_usd: f64,
    limit_tokens: Option<u64>,
    spent_tokens: u64,
    period: String,
    period_ends_at: Option<String>,
}

impl Alert {
    pub(super) fn of(state: &BudgetState, threshold: f64, now: OffsetDateTime) -> Self {
        let (budget, Amount { money, tokens }) = (&state.budget, state.kept.spent);
        Self {
            kind: "budget.threshold",
            budget: budget.name.clone(),
            tenant: budget.tenant.as_ref().map(ToString::to_string),
            key: budget.key.clone(),
            tag: budget.tag.clone(),
            threshold,
            limit_usd: budget.limit.map(super::Money::usd),
            spent_usd: money.usd(),
            limit_tokens: budget.limit_tokens,
            spent_tokens: tokens,
            period: state.kept.period.clone(),
            period_ends_at: budget.period.end(now).and_then(|end| end.format(&Rfc3339).ok()),
        }
    }
}

/// Alerts on their way.
pub struct Alerts(pub(super) Receiver<Alert>);

impl Alerts {
    /// Sends them all, one after the other, for as long as the ledger is there. Without an address they are dropped:
    /// the log has them. Redirects are not followed.
    ///
    /// # Errors
    /// An address or a client that can't be used.
    pub async fn send(mut self, address: Option<&str>) -> Result<(), EndpointError> {
        let target = address.map(target).transpose()?;
        while let Some(alert) = self.0.recv().await {
            if let Some((client, url)) = &target {
                deliver(client, url, &alert).await;
            }
        }
        Ok(())
    }
}

fn target(address: &str) -> Result<(Client, Url), EndpointError> {
    let url: Url = address.parse().map_err(|_| EndpointError::BaseUrl(address.to_owned()))?;
    let failed = |error: &dyn std::error::Error| EndpointError::Client(error.to_string());
    let builder = client_builder(&url).map_err(|error| failed(&error))?;
    let client = builder.no_proxy().redirect(Policy::none()).timeout(TIMEOUT).build().map_err(|error| failed(&error))?;
    Ok((client, url))
}

async fn deliver(client: &Client, url: &Url, alert: &Alert) {
    for failures in 0..TRIES {
        let outcome = client.post(url.clone()).json(alert).send().await.and_then(reqwest::Response::error_for_status);
        match outcome {
            Ok(response) if response.status().is_success() => return,
            Ok(response) => tracing::warn!(budget = alert.budget, status = %response.status(), "the alert was not taken"),
            Err(error) => tracing::warn!(budget = alert.budget, error = %error.without_url(), "the alert did not arrive"),
        }
        sleep(BACKOFF * 2_u32.pow(failures)).await;
    }
    tracing::error!(budget = alert.budget, threshold = alert.threshold, "gave an alert up after {TRIES} tries");
}
