//! Around calls that only read, which have one answer: nothing goes out that isn't reserved, nothing comes back that
//! isn't settled.

use super::Price;
use super::ledger::Ledger;
use super::reservation::{Planned, Reservation};
use crate::{Account, ChatError, TokenUsage};
use std::sync::Arc;

/// Where the calls of one deployment are paid.
pub(crate) struct Till {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) deployment: String,
    /// Its name at the provider.
    pub(crate) model: String,
    /// `None`: nobody knows.
    pub(crate) price: Option<Price>,
}

impl Till {
    /// Holds what a call costs that reads so much. From here on whoever leaves pays.
    ///
    /// # Errors
    /// As [`Ledger::reserve`].
    pub(crate) async fn charge(&self, account: &Arc<Account>, most: TokenUsage) -> Result<Charge, ChatError> {
        let planned = Planned {
            account: Arc::clone(account),
            deployment: self.deployment.clone(),
            model: self.model.clone(),
            price: self.price,
            prompt_tokens: most.prompt_tokens,
            searches: most.searches,
            max_tokens: Some(0),
        };
        Ok(Charge { reservation: Some(self.ledger.reserve(planned).await?), used: most })
    }
}

/// A call under way: whatever becomes of it is settled, by what it may have used if nobody says more.
pub(crate) struct Charge {
    reservation: Option<Reservation>,
    used: TokenUsage,
}

impl Charge {
    /// It was answered, and used this.
    pub(crate) fn settle(mut self, used: TokenUsage) {
        self.used = used;
    }

    /// It failed; what was sent may have its price.
    pub(crate) fn fail(mut self, error: &ChatError) {
        if !error.was_sent()
            && let Some(reservation) = self.reservation.take()
        {
            reservation.release();
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(self.used);
        }
    }
}
