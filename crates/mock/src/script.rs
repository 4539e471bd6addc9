//! What is answered to whom, in which order.

use crate::reply::Reply;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};

/// Replies, taken in turn.
///
/// ```
/// # use ragstone_mock as mock;
/// let script: mock::Script = toml::from_str(r#"
///     repeat_last = true
///     default = { chunk_ms = 5 }
///
///     [[steps.small]]
///     status = 429
///     headers = { retry-after = "2" }
///
///     [[steps.small]]
///     text = "Paris."
///     fault = { reset_in_body = 1 }
///
///     [[steps."*"]]
///     tool_calls = [{ name = "search", arguments = { query = "Paris" } }]
/// "#)?;
/// assert_eq!(script.steps["small"].len(), 2);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// The answer without a step; steps take their times and `tokens` from it. It echoes the question, at once, if empty.
    pub default: Reply,
    /// Steps by model; by path, such as `/v1/batches/{id}`, for calls without steps for their model; `*` for any other model.
    pub steps: BTreeMap<String, Vec<Reply>>,
    /// After its last step a list repeats that instead of giving way to `default`.
    pub repeat_last: bool,
    /// How often a batch must be looked at until it is done; default 2.
    pub batch_polls: u32,
    /// Dimension of embeddings that are asked for without one; default 384.
    pub embedding_dimension: usize,
}

impl Default for Script {
    fn default() -> Self {
        Self { default: Reply::default(), steps: BTreeMap::new(), repeat_last: false, batch_polls: 2, embedding_dimension: 384 }
    }
}

/// The list of models that have none of their own.
const ANY_MODEL: &str = "*";

impl Script {
    /// Answers every call the same.
    #[must_use]
    pub fn always(reply: Reply) -> Self {
        Self { default: reply, ..Self::default() }
    }

    /// One more step for this model, path, or `*`.
    #[must_use]
    pub fn then(mut self, model: impl Into<String>, reply: Reply) -> Self {
        self.steps.entry(model.into()).or_default().push(reply);
        self
    }

    /// The last step of each list repeats.
    #[must_use]
    pub fn repeat_last(self) -> Self {
        Self { repeat_last: true, ..self }
    }

    /// Batches are done when looked at for so many times.
    #[must_use]
    pub fn batch_polls(self, batch_polls: u32) -> Self {
        Self { batch_polls, ..self }
    }

    /// Models that it names.
    pub(crate) fn models(&self) -> impl Iterator<Item = &str> {
        self.steps.keys().map(String::as_str).filter(|name| *name != ANY_MODEL && !name.starts_with('/'))
    }

    fn list(&self, model: &str, path: &str) -> Option<(&str, &[Reply])> {
        let any = if model.is_empty() { "" } else { ANY_MODEL };
        [model, path, any].into_iter().find_map(|name| self.steps.get_key_value(name)).map(|(name, list)| (name.as_str(), list.as_slice()))
    }
}

/// A script and how far it has got.
pub(crate) struct Turns {
    script: Script,
    taken: HashMap<String, usize>,
}

impl Turns {
    pub(crate) fn new(script: Script) -> Self {
        Self { script, taken: HashMap::new() }
    }

    pub(crate) fn script(&self) -> &Script {
        &self.script
    }

    /// Whose turn it is.
    pub(crate) fn take(&mut self, model: &str, path: &str) -> Reply {
        let Some((name, list)) = self.script.list(model, path) else { return self.script.default.clone() };
        let taken = self.taken.entry(name.to_owned()).or_default();
        let repeated = if self.script.repeat_last { list.last() } else { None };
        let reply = list.get(*taken).or(repeated);
        *taken = taken.saturating_add(1);
        reply.map_or_else(|| self.script.default.clone(), |reply| reply.clone().paced_like(&self.script.default))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Fault;

    fn texts(turns: &mut Turns, model: &str, count: usize) -> Vec<Option<String>> {
        (0..count).map(|_| turns.take(model, "/v1/x").text).collect()
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        texts.iter().map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn each_model_has_its_turns_and_then_the_default_comes() {
        let script = Script::always(Reply::text("d")).then("a", Reply::text("1")).then("a", Reply::text("2")).then("*", Reply::text("any"));
        let mut turns = Turns::new(script.clone());
        assert_eq!(texts(&mut turns, "b", 2), some(&["any", "d"]));
        assert_eq!(texts(&mut turns, "a", 4), some(&["1", "2", "d", "d"]));
        assert_eq!(texts(&mut Turns::new(script.repeat_last()), "a", 4), some(&["1", "2", "2", "2"]));
    }

    #[test]
    fn a_path_is_a_name_too_and_any_model_means_a_model() {
        let mut turns = Turns::new(Script::default().then("/v1/x", Reply::text("path")).then("*", Reply::text("any")));
        assert_eq!(texts(&mut turns, "", 1), some(&["path"]));
        assert_eq!(turns.take("", "/v1/models").text, None);
        assert_eq!(turns.take("m", "/v1/y").text.as_deref(), Some("any"));
    }

    #[test]
    fn steps_have_the_pace_of_the_default_unless_they_say_otherwise() {
        let script = Script::always(Reply::default().latency_ms(7).chunk_ms(8)).then("a", Reply::text("x").chunk_ms(1));
        let reply = Turns::new(script).take("a", "");
        assert_eq!((reply.latency_ms, reply.chunk_ms, reply.tokens), (Some(7), Some(1), None));
    }

    #[test]
    fn a_script_survives_json() {
        let faults = [Fault::RefuseBeforeHeaders, Fault::ResetInBody(2), Fault::HugeLine(9), Fault::Redirect("http://a/".to_owned())];
        let script = faults.into_iter().fold(Script::default(), |script, fault| script.then("m", Reply::raw(*b"\xff").with_fault(fault)));
        assert_eq!(serde_json::from_str::<Script>(&serde_json::to_string(&script).unwrap()).unwrap(), script);
        assert!(serde_json::from_str::<Script>(r#"{"setps": {}}"#).is_err(), "a slip of the pen goes unnoticed");
    }
}
