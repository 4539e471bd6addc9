//! Texts that are being embedded just now: who wants one of them waits instead of paying for it again.
//!
//! Invariant: nobody waits while it holds a turn, so that no two wait for each other.

use crate::fingerprint::Fingerprint;
use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Turns {
    under_way: Mutex<HashSet<Fingerprint>>,
    ended: Condvar,
}

/// The right to embed some texts; given back when it is dropped, also by a panic.
pub(super) struct Turn<'t> {
    turns: &'t Turns,
    texts: HashSet<Fingerprint>,
}

impl Turns {
    fn under_way(&self) -> MutexGuard<'_, HashSet<Fingerprint>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of the texts that nobody embeds.
    pub(super) fn take(&self, texts: impl Iterator<Item = Fingerprint>) -> Turn<'_> {
        let mut under_way = self.under_way();
        Turn { turns: self, texts: texts.filter(|text| under_way.insert(*text)).collect() }
    }

    /// Waits until nobody embeds any of the texts any more, whatever came of it.
    pub(super) fn wait(&self, texts: &[Fingerprint]) {
        let mut under_way = self.under_way();
        // Each by itself: who begins one of them anew is not waited for.
        for text in texts {
            while under_way.contains(text) {
                under_way = self.ended.wait(under_way).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

impl Turn<'_> {
    pub(super) fn has(&self, text: &Fingerprint) -> bool {
        self.texts.contains(text)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.under_way().retain(|text| !self.texts.contains(text));
        self.turns.ended.notify_all();
    }
}
