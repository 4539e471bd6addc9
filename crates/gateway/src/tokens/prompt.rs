//! Tokens of a whole request.

use super::{Family, TokenCounter};
use crate::{ChatMessage, ChatRequest, Content, Part};

/// Tokens that a message has beside its words (OpenAI Cookbook, "How to count tokens with tiktoken").
const PER_MESSAGE: u64 = 4;
/// Tokens that begin the answer.
const PER_ANSWER: u64 = 3;

/// What a model of this family reads: messages, with as many tokens a picture as it may count, tools, and the form that
/// is asked for.
#[must_use]
pub fn prompt_tokens(request: &ChatRequest, counter: &dyn TokenCounter, family: &Family) -> u64 {
    let messages: u64 = request.messages.iter().map(|message| of_message(message, counter) + pictures(&message.content, family)).sum();
    let tools = if request.tools.is_empty() { 0 } else { of_json(&request.tools, counter) };
    let form = match &request.output {
        crate::OutputFormat::Schema { schema, .. } => of_json(schema, counter),
        _ => 0,
    };
    messages + tools + form + PER_ANSWER
}

fn of_message(message: &ChatMessage, counter: &dyn TokenCounter) -> u64 {
    let words = counter.count(&message.content.text());
    let calls: u64 = message.tool_calls.iter().map(|call| counter.count(&call.name) + counter.count(&call.arguments) + PER_MESSAGE).sum();
    words + calls + PER_MESSAGE
}

/// Tokens of all pictures at most.
pub(crate) fn pictures(content: &Content, family: &Family) -> u64 {
    let Content::Parts(parts) = content else { return 0 };
    let of = |part: &Part| match part {
        Part::ImageUrl { image_url } => family.picture_tokens(image_url),
        Part::Text { .. } => 0,
    };
    parts.iter().map(of).sum()
}

/// Providers write tools in a form of their own, which is not longer than JSON.
fn of_json(value: &impl serde::Serialize, counter: &dyn TokenCounter) -> u64 {
    serde_json::to_string(value).map_or(0, |text| counter.count(&text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::counter_for;
    use crate::{ImageUrl, Role, Tool};

    #[test]
    fn everything_that_is_read_counts() {
        let counter = counter_for("gpt-4o");
        let tokens = |request: &ChatRequest, model: &str| prompt_tokens(request, &*counter, Family::of(model));
        let plain = ChatRequest::new(vec![ChatMessage::user("one two three")]);
        assert_eq!(tokens(&plain, "gpt-4o"), 3 + 4 + 3);
        let tool = Tool { name: "weather".into(), description: None, parameters: None, strict: None };
        let with_tool = ChatRequest { tools: vec![tool], ..plain.clone() };
        assert!(tokens(&with_tool, "gpt-4o") > tokens(&plain, "gpt-4o"));
        let picture = |detail: &str| Part::ImageUrl { image_url: ImageUrl { url: "https://a/b.png".into(), detail: Some(detail.into()) } };
        let message = ChatMessage { content: Content::Parts(vec![picture("low"), picture("auto")]), ..ChatMessage::new(Role::User, "") };
        let pictures = ChatRequest::new(vec![message]);
        assert_eq!(tokens(&pictures, "gpt-4o"), 85 + 1_445 + 4 + 3);
        assert_eq!(tokens(&pictures, "gpt-4o-mini"), 2_833 + 48_169 + 4 + 3);
        assert_eq!(prompt_tokens(&plain, &*counter_for("unknown"), Family::of("unknown")), 4 + 4 + 3, "13 letters and spaces are four");
    }
}
