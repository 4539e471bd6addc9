//! The models that can be asked for by name.

use crate::{Breaker, BreakerState, ChatModel};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Models by name, one of them the default.
#[derive(Clone, Default)]
pub struct Models {
    by_name: BTreeMap<String, Arc<dyn ChatModel>>,
    default: Option<String>,
    breakers: BTreeMap<String, Arc<Breaker>>,
}

impl Models {
    /// No model; answers are extracted.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// One model.
    #[must_use]
    pub fn of(model: Arc<dyn ChatModel>) -> Self {
        let mut models = Self::none();
        models.add(model);
        models
    }

    /// Adds a model; the first is the default until another is named.
    pub fn add(&mut self, model: Arc<dyn ChatModel>) {
        let name = model.name().to_owned();
        self.default.get_or_insert_with(|| name.clone());
        self.by_name.insert(name, model);
    }

    /// Makes a model the default. False: there is none of this name.
    pub fn set_default(&mut self, name: &str) -> bool {
        let is_known = self.by_name.contains_key(name);
        if is_known {
            self.default = Some(name.to_owned());
        }
        is_known
    }

    /// The model of this name; without one the default.
    #[must_use]
    pub fn get(&self, name: Option<&str>) -> Option<&Arc<dyn ChatModel>> {
        self.by_name.get(name.or(self.default.as_deref())?)
    }

    /// The same models, each with something around it that keeps its name.
    #[must_use]
    pub fn around(self, wrap: impl Fn(Arc<dyn ChatModel>) -> Arc<dyn ChatModel>) -> Self {
        Self { by_name: self.by_name.into_iter().map(|(name, model)| (name, wrap(model))).collect(), ..self }
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// Lets the state of a deployment's breaker be seen.
    pub fn watch(&mut self, deployment: &str, breaker: Arc<Breaker>) {
        self.breakers.insert(deployment.to_owned(), breaker);
    }

    /// The deployments and whether calls to them are let through, sorted.
    pub fn breakers(&self) -> impl Iterator<Item = (&str, BreakerState)> {
        self.breakers.iter().map(|(deployment, breaker)| (deployment.as_str(), breaker.state()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}
