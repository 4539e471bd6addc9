//! What is known of models whose names begin alike: tokens of their pictures, and of what is not said.

use crate::ImageUrl;
use serde::Deserialize;
use std::sync::LazyLock;

/// The table that comes with the program.
const SHIPPED: &str = include_str!("../../data/families.toml");

static TABLE: LazyLock<Vec<Family>> = LazyLock::new(|| table().map(|table| table.families).unwrap_or_default());

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    #[expect(dead_code, reason = "for whoever reads the table")]
    date: String,
    #[expect(dead_code, reason = "for whoever reads the table")]
    source: String,
    families: Vec<Family>,
}

/// That it can be read is tested.
fn table() -> Result<Table, toml::de::Error> {
    toml::from_str(SHIPPED)
}

/// Models whose names begin alike.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Family {
    model: String,
    picture: u64,
    picture_low: Option<u64>,
    /// Whether thoughts are paid for and not streamed.
    #[serde(default)]
    pub thinks: bool,
    /// Tokens of an answer at most, thoughts among them; `None`: not known.
    pub answer: Option<u32>,
}

/// Of a model that is in no table: as many tokens a picture as with the dearer of common ones.
static UNKNOWN: Family = Family { model: String::new(), picture: 4_784, picture_low: None, thinks: false, answer: None };

impl Family {
    /// The family of a model. A provider's name before a `/` is left out.
    #[must_use]
    pub fn of(model: &str) -> &'static Self {
        let name = model.rsplit('/').next().unwrap_or(model);
        let fitting = TABLE.iter().filter(|family| name.starts_with(&family.model));
        fitting.max_by_key(|family| family.model.len()).unwrap_or(&UNKNOWN)
    }

    /// Tokens of a picture at most. Its size is not looked at: only the provider fetches it.
    #[must_use]
    pub fn picture_tokens(&self, image: &ImageUrl) -> u64 {
        let low = self.picture_low.filter(|_| image.detail.as_deref() == Some("low"));
        low.unwrap_or(self.picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(model: &str, detail: Option<&str>) -> u64 {
        Family::of(model).picture_tokens(&ImageUrl { url: "https://a/b.png".into(), detail: detail.map(str::to_owned) })
    }

    #[test]
    fn each_family_stands_in_the_table_once() {
        let table = table().unwrap();
        let names: std::collections::BTreeSet<_> = table.families.iter().map(|family| &family.model).collect();
        assert_eq!(names.len(), table.families.len());
        assert!(table.families.iter().all(|family| family.picture_low.is_none_or(|low| low < family.picture)));
    }

    #[test]
    fn a_picture_has_as_many_tokens_as_its_model_may_count() {
        assert_eq!((picture("gpt-4o", None), picture("gpt-4o-2024-08-06", Some("low"))), (85 + 8 * 170, 85));
        assert_eq!((picture("gpt-4o-mini", Some("high")), picture("openai/gpt-4o-mini", Some("low"))), (2_833 + 8 * 5_667, 2_833));
        assert_eq!(
            (picture("claude-sonnet-4-5", None), picture("claude-opus-4-7", None), picture("claude-opus-5", None)),
            (1_600, 4_784, 4_784)
        );
        assert_eq!(picture("gemini-2.5-flash", Some("low")), 24 * 258, "no difference there");
        assert_eq!(picture("llava", None), 4_784);
    }

    #[test]
    fn who_thinks_unheard_is_known() {
        let thinking = ["o1", "o3-mini", "o4-mini", "gpt-5", "gpt-5.1-codex", "gemini-2.5-pro"].map(|model| Family::of(model).thinks);
        let others =
            ["gpt-4o", "gpt-5-chat-latest", "claude-haiku-4-5", "gemini-2.0-flash", "llama3.2"].map(|model| Family::of(model).thinks);
        assert_eq!((thinking, others), ([true; 6], [false; 5]));
    }
}
