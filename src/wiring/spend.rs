//! The ledger over the store, and what each deployment's tokens cost.

use crate::config::{Config, DeploymentConfig, LlmConfig};
use anyhow::Context;
use encoder::TokenizerFile;
use gateway::{Alerts, Books, BooksError, Changes, Ledger, Meter, Models, Price, PriceTable, TokenCounter, counter_for};
use index::Catalog;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use time::OffsetDateTime;

/// The ledger, and what it reckons with.
pub(crate) struct Spend {
    pub(crate) ledger: Arc<Ledger>,
    /// The deployments that a model may ask, by the model's name; those that are meant first come first.
    pub(crate) meters: BTreeMap<String, Vec<Meter>>,
    /// When the prices that come with the program were looked up.
    pub(crate) prices_date: String,
    /// To be sent by whoever takes them.
    pub(crate) alerts: Mutex<Option<Alerts>>,
}

/// What models cost, as far as it is known.
pub(super) struct Prices {
    own: PriceTable,
    shipped: PriceTable,
}

impl Prices {
    /// The price that was set for this deployment, or that of its model.
    pub(super) fn of(&self, set: Option<Price>, model: &str) -> Option<Price> {
        set.or_else(|| self.own.get(model)).or_else(|| self.shipped.get(model))
    }
}

/// A meter for each deployment, by name.
pub(super) type Meters = BTreeMap<String, Meter>;

/// Opens the ledger, and finds out how deployments are metered. Blocking.
pub(super) fn spend(config: &Config, catalog: &Arc<Catalog>) -> anyhow::Result<(Spend, Meters, Prices)> {
    let shipped = PriceTable::shipped().context("the table of prices can't be read")?;
    let own = PriceTable { prices: config.llm.prices.iter().map(|line| line.line()).collect(), ..PriceTable::default() };
    let (mut meters, prices) = (Meters::new(), Prices { own, shipped });
    for one in config.llm.all_deployments() {
        let price = prices.of(one.price.map(|price| price.price()), &one.model);
        warn_unpriced(&one, price);
        let counter = counter(&one).with_context(|| format!("llm.deployments.{}.tokenizer", one.name))?;
        // Reads the encoding's table now, so that the first request doesn't wait for it.
        counter.count("");
        meters.insert(one.name.clone(), Meter { deployment: one.name, model: one.model, price, counter });
    }
    let budgets = config.budgets.iter().map(|budget| budget.budget()).collect();
    let clock = Arc::new(OffsetDateTime::now_utc);
    let (ledger, alerts) = Ledger::open(Arc::new(StoreBooks(Arc::clone(catalog))), budgets, clock).context("can't open the ledger")?;
    let of_models = of_models(&config.llm, &meters);
    let spend = Spend { ledger, meters: of_models, prices_date: prices.shipped.date.clone(), alerts: Mutex::new(Some(alerts)) };
    Ok((spend, meters, prices))
}

fn warn_unpriced(one: &DeploymentConfig, price: Option<Price>) {
    if price.is_none() {
        tracing::warn!(
            deployment = one.name,
            model = one.model,
            "what this deployment costs is not known: its use has no cost, and budgets of money refuse it; set price = {{ input = …, output = … }} \
             in [[llm.deployments]] (0 for free) or a line in [[llm.prices]]"
        );
    }
}

fn counter(one: &DeploymentConfig) -> anyhow::Result<Arc<dyn TokenCounter>> {
    Ok(match &one.tokenizer {
        Some(path) => Arc::new(FileCounter(TokenizerFile::open(path)?)),
        None => counter_for(&one.model),
    })
}

/// Counts with a model's `tokenizer.json`.
struct FileCounter(TokenizerFile);

impl TokenCounter for FileCounter {
    fn kind(&self) -> &'static str {
        "tokenizer.json"
    }

    fn count(&self, text: &str) -> u64 {
        // A tokenizer that refuses a text is as good as none.
        self.0.count(text).unwrap_or_else(|| gateway::estimate_tokens(text))
    }
}

/// Which deployments stand behind each name that can be asked for.
fn of_models(config: &LlmConfig, meters: &Meters) -> BTreeMap<String, Vec<Meter>> {
    let of = |names: &mut dyn Iterator<Item = &String>| names.filter_map(|name| meters.get(name).cloned()).collect::<Vec<_>>();
    let mut found: BTreeMap<String, Vec<Meter>> = BTreeMap::new();
    if let Some(model) = &config.model {
        found.insert(model.clone(), of(&mut std::iter::once(&crate::config::PLAIN.to_owned())));
    }
    for model in &config.models {
        found.insert(model.name.clone(), of(&mut model.ladder.iter().flatten()));
    }
    for choice in &config.choices {
        let chosen = [&choice.moderate, &choice.complex, &choice.simple].into_iter().filter_map(|name| found.get(name)).flatten();
        let chosen = chosen.cloned().collect();
        found.insert(choice.name.clone(), chosen);
    }
    found
}

/// Says by which tokenizer contexts are packed: that of the deployment that is meant first, where it is known.
pub(super) fn count_as(models: &mut Models, meters: &BTreeMap<String, Vec<Meter>>) {
    for (name, meters) in meters {
        if let Some(meter) = meters.first().filter(|meter| meter.counter.is_exact()) {
            models.count_as(name, Arc::clone(&meter.counter));
        }
    }
}

/// The store as the ledger sees it.
struct StoreBooks(Arc<Catalog>);

impl Books for StoreBooks {
    fn write(&self, changes: &Changes) -> Result<(), BooksError> {
        let changes = changes.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        self.0.write_ledger(changes).map_err(|error| BooksError(error.to_string()))
    }

    fn read(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<(String, Vec<u8>)>, BooksError> {
        self.0.read_ledger(prefix, after, limit).map_err(|error| BooksError(error.to_string()))
    }
}
