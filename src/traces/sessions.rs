//! Conversations that the server remembers: bounded in turns, tokens and time, of one key and one collection each.
//!
//! Read, changed and written under one lock, so that of two questions asked at once in a session neither is lost. Who
//! and when is held in memory too, to find what is over and what was used least lately. As with traces, a turn is
//! written only while the documents that it rests on are there, and deleting one removes the turns that do.

use super::Redact;
use super::store::TraceStore;
use crate::config::SessionsConfig;
use corpus::{CollectionId, DocumentId, TenantId, TraceId};
use gateway::estimate_tokens;
use index::batches::BatchAsker;
use index::shelf::{Shelf, Shelves};
use query::Turn;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::OffsetDateTime;

/// Keeps sessions.
pub(crate) struct Sessions {
    config: SessionsConfig,
    shelf: Shelf,
    traces: Arc<TraceStore>,
    redact: Redact,
    known: Mutex<BTreeMap<Place, SessionHead>>,
}

/// Tenant, key, and the name that the key gave it.
type Place = (TenantId, String, String);

/// What a list shows, and what decides who may see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct SessionHead {
    pub(crate) id: String,
    pub(crate) tenant: TenantId,
    pub(crate) asker: BatchAsker,
    pub(crate) collection: CollectionId,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) used_at: OffsetDateTime,
    pub(crate) turns: usize,
}

/// A session as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    pub(crate) head: SessionHead,
    pub(crate) turns: Vec<KeptTurn>,
}

/// A turn, and what it rests on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptTurn {
    #[serde(flatten)]
    pub(crate) turn: Turn,
    pub(crate) trace_id: TraceId,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) at: OffsetDateTime,
    /// Those that it was answered from.
    pub(crate) documents: BTreeSet<DocumentId>,
    /// Those that the turns were answered from that it was told: it may repeat their words.
    #[serde(default)]
    pub(crate) leans_on: BTreeSet<DocumentId>,
}

impl KeptTurn {
    /// Everything that it rests on.
    pub(crate) fn rests_on(&self) -> impl Iterator<Item = &DocumentId> {
        self.documents.iter().chain(&self.leans_on)
    }
}

/// What is to be remembered.
pub(crate) struct NewTurn {
    pub(crate) session: String,
    pub(crate) tenant: TenantId,
    pub(crate) asker: BatchAsker,
    pub(crate) collection: CollectionId,
    pub(crate) trace: TraceId,
    pub(crate) turn: Turn,
    pub(crate) documents: BTreeSet<DocumentId>,
    pub(crate) leans_on: BTreeSet<DocumentId>,
}

impl Sessions {
    /// Reads who and when of everything that is there.
    pub(crate) fn open(config: SessionsConfig, shelves: &Shelves, traces: Arc<TraceStore>, redact: Redact) -> anyhow::Result<Self> {
        let shelf = shelves.shelf("sessions")?;
        let kept = shelf.scan(b"", None, usize::MAX, |_, value| serde_json::from_slice::<Session>(value).ok())?;
        let known = kept.into_iter().flatten().map(|session| (place_of(&session.head), session.head)).collect();
        Ok(Self { config, shelf, traces, redact, known: Mutex::new(known) })
    }

    /// The session that a key calls so, if it is there and not over.
    pub(crate) fn get(&self, tenant: &TenantId, key: &str, id: &str) -> anyhow::Result<Option<Session>> {
        let known = self.known();
        let place = (tenant.clone(), key.to_owned(), id.to_owned());
        if known.get(&place).is_none_or(|head| self.is_over(head)) {
            return Ok(None);
        }
        self.read(&place)
    }

    /// A page of sessions behind an id, of which `may_see`.
    pub(crate) fn list(&self, tenant: &TenantId, may_see: impl Fn(&SessionHead) -> bool) -> Vec<SessionHead> {
        let known = self.known();
        let of_tenant = known.range((tenant.clone(), String::new(), String::new())..).take_while(|((of, _, _), _)| of == tenant);
        let mut heads: Vec<SessionHead> =
            of_tenant.map(|(_, head)| head).filter(|head| !self.is_over(head) && may_see(head)).cloned().collect();
        heads.sort_by(|a, b| b.used_at.cmp(&a.used_at).then_with(|| a.id.cmp(&b.id)));
        heads
    }

    /// Remembers a turn. The oldest turns go where there are too many, and the session that was used least lately where
    /// there are too many of a tenant.
    pub(crate) fn append(&self, new: NewTurn) -> anyhow::Result<()> {
        let NewTurn { session, tenant, asker, collection, trace, turn, documents, leans_on } = new;
        let now = OffsetDateTime::now_utc();
        let place = (tenant.clone(), asker.key.clone(), session.clone());
        // All tenants share the lock: what can be done before is.
        let turn = self.redacted(turn);
        let all: BTreeSet<DocumentId> = documents.union(&leans_on).cloned().collect();
        let mut known = self.known();
        if !self.traces.gone(&tenant, &collection, &all)?.is_empty() || !self.traces.has(&tenant, &collection)? {
            return Ok(());
        }
        let is_live = known.get(&place).is_some_and(|head| !self.is_over(head) && head.collection == collection);
        let kept = if is_live { self.read(&place)? } else { None };
        let mut kept = kept.unwrap_or_else(|| Session {
            head: SessionHead { id: session, tenant: tenant.clone(), asker, collection, created_at: now, used_at: now, turns: 0 },
            turns: Vec::new(),
        });
        kept.turns.push(KeptTurn { turn, trace_id: trace, at: now, documents, leans_on });
        self.bound(&mut kept.turns);
        (kept.head.used_at, kept.head.turns) = (now, kept.turns.len());
        self.write(&mut known, &place, &kept)?;
        if is_live { Ok(()) } else { self.make_room(&mut known, &tenant) }
    }

    fn redacted(&self, turn: Turn) -> Turn {
        let redact = |text: &str| (self.redact)(text).into_owned();
        let Turn { question, rewritten, answer, abstained } = turn;
        Turn { question: redact(&question), rewritten: rewritten.map(|text| redact(&text)), answer: redact(&answer), abstained }
    }

    /// The last turn stays, cut where it alone is too long.
    fn bound(&self, turns: &mut Vec<KeptTurn>) {
        let tokens = |turn: &Turn| estimate_tokens(&turn.question) + estimate_tokens(&turn.answer);
        if let Some(last) = turns.last_mut() {
            while tokens(&last.turn) > self.config.tokens_max && !last.turn.answer.is_empty() {
                let half = last.turn.answer.floor_char_boundary(last.turn.answer.len() / 2);
                last.turn.answer.truncate(half);
            }
        }
        let mut room = self.config.tokens_max;
        let fits = |turn: &KeptTurn| {
            let left = room.checked_sub(tokens(&turn.turn));
            room = left.unwrap_or_default();
            left.is_some()
        };
        let kept = turns.iter().rev().take(self.config.turns_max).map(fits).take_while(|fits| *fits).count().max(1);
        turns.drain(..turns.len().saturating_sub(kept));
    }

    /// Whether it was there.
    pub(crate) fn remove(&self, head: &SessionHead) -> anyhow::Result<bool> {
        self.drop_one(&mut self.known(), &place_of(head))
    }

    /// Removes what is over.
    pub(crate) fn keep_house(&self) -> anyhow::Result<()> {
        let mut known = self.known();
        let over: Vec<Place> = known.iter().filter(|(_, head)| self.is_over(head)).map(|(place, _)| place.clone()).collect();
        over.iter().try_for_each(|place| self.drop_one(&mut known, place).map(drop))
    }

    /// Removes sessions of a collection that is gone, and turns that rest on documents that are; how many turns.
    pub(crate) fn purge(&self, tenant: &TenantId, collection: &CollectionId) -> anyhow::Result<u64> {
        self.sweep(tenant, collection, true)
    }

    /// How many such turns there are.
    pub(crate) fn left(&self, tenant: &TenantId, collection: &CollectionId) -> anyhow::Result<u64> {
        self.sweep(tenant, collection, false)
    }

    fn sweep(&self, tenant: &TenantId, collection: &CollectionId, is_purge: bool) -> anyhow::Result<u64> {
        let mut known = self.known();
        let of_collection = known.iter().filter(|(_, head)| head.tenant == *tenant && head.collection == *collection);
        let places: Vec<Place> = of_collection.map(|(place, _)| place.clone()).collect();
        let is_there = self.traces.has(tenant, collection)?;
        let mut count = 0;
        for place in places {
            let Some(mut session) = self.read(&place)? else { continue };
            let all: BTreeSet<DocumentId> = session.turns.iter().flat_map(KeptTurn::rests_on).cloned().collect();
            let gone = self.traces.gone(tenant, collection, &all)?;
            let before = session.turns.len();
            session.turns.retain(|turn| is_there && !turn.rests_on().any(|document| gone.contains(document)));
            count += (before - session.turns.len()) as u64;
            if !is_purge {
                continue;
            }
            if session.turns.is_empty() {
                self.drop_one(&mut known, &place)?;
            } else if session.turns.len() < before {
                session.head.turns = session.turns.len();
                self.write(&mut known, &place, &session)?;
            }
        }
        Ok(count)
    }

    fn is_over(&self, head: &SessionHead) -> bool {
        OffsetDateTime::now_utc() - head.used_at > std::time::Duration::from_secs(self.config.ttl_s)
    }

    fn make_room(&self, known: &mut BTreeMap<Place, SessionHead>, tenant: &TenantId) -> anyhow::Result<()> {
        let of_tenant = || known.range((tenant.clone(), String::new(), String::new())..).take_while(|((of, _, _), _)| of == tenant);
        let too_many = of_tenant().count().saturating_sub(self.config.sessions_max);
        if too_many == 0 {
            return Ok(());
        }
        let mut by_use: Vec<(OffsetDateTime, Place)> = of_tenant().map(|(place, head)| (head.used_at, place.clone())).collect();
        by_use.sort();
        by_use.iter().take(too_many).try_for_each(|(_, place)| self.drop_one(known, place).map(drop))
    }

    fn read(&self, place: &Place) -> anyhow::Result<Option<Session>> {
        Ok(self.shelf.get(&key_of(place))?.and_then(|value| serde_json::from_slice(&value).ok()))
    }

    fn write(&self, known: &mut BTreeMap<Place, SessionHead>, place: &Place, session: &Session) -> anyhow::Result<()> {
        self.shelf.put(&key_of(place), &serde_json::to_vec(session)?)?;
        known.insert(place.clone(), session.head.clone());
        Ok(())
    }

    fn drop_one(&self, known: &mut BTreeMap<Place, SessionHead>, place: &Place) -> anyhow::Result<bool> {
        self.shelf.delete(&key_of(place))?;
        Ok(known.remove(place).is_some())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Place, SessionHead>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place_of(head: &SessionHead) -> Place {
    (head.tenant.clone(), head.asker.key.clone(), head.id.clone())
}

fn key_of((tenant, key, id): &Place) -> Vec<u8> {
    [tenant.as_str(), key, id].join("\0").into_bytes()
}
