//! Tokens of a whole request.

use super::TokenCounter;
use crate::{ChatMessage, ChatRequest, Content, Part};

/// Tokens that a message has beside its words (OpenAI Cookbook, "How to count tokens with tiktoken").
const PER_MESSAGE: u64 = 4;
/// Tokens that begin the answer.
const PER_ANSWER: u64 = 3;
/// Tokens of a picture: what a large one takes at most of the models that say so (GPT-4o: 85 and 170 a tile, 8 tiles).
const PER_PICTURE: u64 = 1_445;

/// What a model reads: messages, tools, and the form that is asked for.
#[must_use]
pub fn prompt_tokens(request: &ChatRequest, counter: &dyn TokenCounter) -> u64 {
    let messages: u64 = request.messages.iter().map(|message| of_message(message, counter)).sum();
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
    let is_picture = |part: &&Part| matches!(part, Part::ImageUrl { .. });
    let pictures = match &message.content {
        Content::Text(_) => 0,
        Content::Parts(parts) => parts.iter().filter(is_picture).count() as u64,
    };
    words + calls + pictures * PER_PICTURE + PER_MESSAGE
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
        let plain = ChatRequest::new(vec![ChatMessage::user("one two three")]);
        assert_eq!(prompt_tokens(&plain, &*counter), 3 + 4 + 3);
        let tool = Tool { name: "weather".into(), description: None, parameters: None, strict: None };
        let with_tool = ChatRequest { tools: vec![tool], ..plain.clone() };
        assert!(prompt_tokens(&with_tool, &*counter) > prompt_tokens(&plain, &*counter));
        let picture = Part::ImageUrl { image_url: ImageUrl { url: "https://a/b.png".into(), detail: None } };
        let message = ChatMessage { content: Content::Parts(vec![picture]), ..ChatMessage::new(Role::User, "") };
        assert!(prompt_tokens(&ChatRequest::new(vec![message]), &*counter) > 1_000);
        assert_eq!(prompt_tokens(&plain, &*counter_for("unknown")), 4 + 4 + 3, "13 letters and spaces are four");
    }
}
