//! What the model says, in no provider's format.

use crate::reply::{Reply, ToolCall, Usage};
use serde_json::{Map, Value, json};

/// What a model is asked, in no provider's format.
#[derive(Debug, Default)]
pub(crate) struct Prompt {
    /// The last message of the user.
    pub(crate) question: String,
    /// What a tool said, if that is the last message.
    pub(crate) tool_result: Option<String>,
    /// Words of all messages.
    pub(crate) words: u64,
    pub(crate) tools: Vec<Tool>,
    pub(crate) choice: Choice,
    pub(crate) words_max: Option<usize>,
    pub(crate) format: Format,
}

#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) name: String,
    /// JSON schema of the arguments.
    pub(crate) schema: Value,
}

/// Whether tools are to be called.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Choice {
    /// If the question names one.
    #[default]
    Auto,
    Never,
    /// The one that the question names, or else the first.
    Some,
    Named(String),
}

#[derive(Debug, Default)]
pub(crate) enum Format {
    #[default]
    Text,
    Json,
    Schema(Value),
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Finished,
    Length,
    Tools,
}

#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) tool_calls: Vec<ToolCall>,
    pub(crate) stop: Stop,
    /// The script's word for that.
    pub(crate) finish_reason: Option<String>,
    pub(crate) usage: Option<Usage>,
}

impl Said {
    /// What the reply says, or else what the question itself gives.
    pub(crate) fn new(prompt: &Prompt, reply: &Reply) -> Self {
        let is_scripted = reply.text.is_some() || !reply.tool_calls.is_empty();
        let tool_calls = if is_scripted { reply.tool_calls.clone() } else { prompt.tool_calls() };
        let (text, is_cut) = match &reply.text {
            Some(text) => (text.clone(), false),
            None if !tool_calls.is_empty() => (String::new(), false),
            None => cut(prompt.echo(), prompt.words_max),
        };
        let stop = match (is_cut, tool_calls.is_empty()) {
            (true, _) => Stop::Length,
            (false, true) => Stop::Finished,
            (false, false) => Stop::Tools,
        };
        let counted = || Usage {
            prompt_tokens: prompt.words,
            completion_tokens: count_words(&text) + tool_calls.iter().map(|call| count_words(&call.argument_text())).sum::<u64>(),
            cached_tokens: 0,
        };
        let usage = (!reply.no_usage).then(|| reply.usage.unwrap_or_else(counted));
        Self { text, tool_calls, stop, finish_reason: reply.finish_reason.clone(), usage }
    }
}

impl Prompt {
    /// The answer without a script.
    fn echo(&self) -> String {
        let answer = match &self.tool_result {
            Some(result) => format!("The tool said: {result}"),
            None => format!("You said: {}", self.question),
        };
        match &self.format {
            Format::Text => answer,
            Format::Json => json!({"answer": answer}).to_string(),
            Format::Schema(schema) => sample(schema, &answer).to_string(),
        }
    }

    fn tool_calls(&self) -> Vec<ToolCall> {
        let named = self.tools.iter().find(|tool| has_word(&self.question, &tool.name));
        let tool = match &self.choice {
            Choice::Never => None,
            Choice::Named(name) => self.tools.iter().find(|tool| tool.name == *name),
            Choice::Some => named.or_else(|| self.tools.first()),
            // Once it has the result it answers.
            Choice::Auto if self.tool_result.is_some() => None,
            Choice::Auto => named,
        };
        let call = tool.map(|tool| ToolCall { name: tool.name.clone(), arguments: sample(&tool.schema, &self.question), id: None });
        call.into_iter().collect()
    }
}

fn has_word(text: &str, word: &str) -> bool {
    let is_apart = |c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'));
    !word.is_empty() && text.split(is_apart).any(|found| found == word)
}

pub(crate) fn count_words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// The first so many words, and whether there were more.
fn cut(text: String, words_max: Option<usize>) -> (String, bool) {
    let words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
    match words_max.and_then(|max| words.get(..max)) {
        Some(kept) if kept.len() < words.len() => (kept.concat().trim_end().to_owned(), true),
        _ => (text, false),
    }
}

/// A value that fits a JSON schema as far as its types go: `text` wherever there is a choice of words.
fn sample(schema: &Value, text: &str) -> Value {
    let named = |name: &str| schema.get(name).and_then(Value::as_array).and_then(|values| values.first());
    if let Some(value) = schema.get("const").or_else(|| named("enum")) {
        return value.clone();
    }
    if let Some(choice) = named("anyOf").or_else(|| named("oneOf")) {
        return sample(choice, text);
    }
    let kind = schema.get("type").and_then(Value::as_str).or_else(|| named("type").and_then(Value::as_str));
    match kind {
        Some("string") => json!(text),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => schema.get("items").map_or_else(|| json!([]), |items| json!([sample(items, text)])),
        Some("null") => Value::Null,
        _ => sample_object(schema, text),
    }
}

fn sample_object(schema: &Value, text: &str) -> Value {
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    Value::Object(properties.map(|(name, schema)| (name.clone(), sample(schema, text))).collect::<Map<_, _>>())
}

/// The text of a message: a string, or the texts of its parts, line by line.
pub(crate) fn text_of(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompt(question: &str) -> Prompt {
        let schema = json!({"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}});
        let tools = vec![Tool { name: "get_weather".to_owned(), schema }];
        Prompt { question: question.to_owned(), words: 3, tools, ..Prompt::default() }
    }

    #[test]
    fn it_says_what_it_was_told_up_to_the_limit() {
        let said = Said::new(&Prompt { words_max: Some(4), ..prompt("one two three") }, &Reply::default());
        assert_eq!((said.text.as_str(), said.stop), ("You said: one two", Stop::Length));
        assert_eq!(said.usage, Some(Usage { prompt_tokens: 3, completion_tokens: 4, cached_tokens: 0 }));
        let said = Said::new(&Prompt { words_max: Some(5), ..prompt("one two three") }, &Reply::default());
        assert_eq!((said.text.as_str(), said.stop), ("You said: one two three", Stop::Finished));
    }

    #[test]
    fn a_tool_is_called_when_the_question_names_it_or_somebody_insists() {
        let calls = |prompt: &Prompt| Said::new(prompt, &Reply::default()).tool_calls;
        assert_eq!(calls(&prompt("please get_weather now"))[0].arguments, json!({"city": "please get_weather now", "days": 1}));
        assert!(calls(&prompt("get_weather_map")).is_empty());
        assert!(calls(&Prompt { choice: Choice::Never, ..prompt("get_weather") }).is_empty());
        assert!(calls(&Prompt { tool_result: Some("rain".to_owned()), ..prompt("get_weather") }).is_empty());
        assert_eq!(calls(&Prompt { choice: Choice::Some, ..prompt("hello") }).len(), 1);
        assert!(Said::new(&prompt("get_weather"), &Reply::text("no")).tool_calls.is_empty(), "the script's word is the last");
    }

    #[test]
    fn json_answers_are_json() {
        let schema = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}, "b": {"enum": ["x"]}, "c": {"type": "array", "items": {"type": "boolean"}}}});
        let said = Said::new(&Prompt { format: Format::Schema(schema), ..prompt("q") }, &Reply::default());
        assert_eq!(serde_json::from_str::<Value>(&said.text).unwrap(), json!({"a": "You said: q", "b": "x", "c": [true]}));
    }
}
