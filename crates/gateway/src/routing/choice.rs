//! Chooses a model by how hard a question looks and by what the operator prefers; says why.

use crate::telemetry::CHOICE;
use crate::tokens::estimate_tokens;
use crate::{ChatError, ChatModel, ChatReply, ChatRequest, OutputFormat, Role};
use async_trait::async_trait;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tracing::Span;

/// How hard a question looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Complexity {
    /// A fact, a greeting, a short rewording.
    Simple,
    /// Everything between.
    Moderate,
    /// Reasons, comparisons, plans, code, long material, several tools.
    Complex,
}

/// What counts most where a question could go to either of two models.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Preference {
    /// The smaller model.
    Cost,
    /// The smaller model, unless the question is plainly hard.
    Speed,
    /// The larger model.
    #[default]
    Quality,
}

/// A decision and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Choice {
    /// The model that was chosen.
    pub model: String,
    /// How hard the question looks.
    pub complexity: Complexity,
    /// Points for hardness: 0 to 2 simple, 3 to 5 moderate, above complex; moved by the preference.
    pub score: u32,
    /// What was preferred.
    pub preference: Preference,
    /// Where the points come from.
    pub because: Vec<String>,
    /// What was looked at.
    pub inputs: Inputs,
}

/// What a question's hardness is judged by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inputs {
    /// Tokens to read, roughly.
    pub prompt_tokens: u64,
    /// Words of the question that ask for thought.
    pub thoughts: usize,
    /// Question marks in it.
    pub questions: usize,
    /// Whether there is a block of code.
    pub has_code: bool,
    /// Tools that may be called.
    pub tools: usize,
    /// Whether the answer has a schema.
    pub has_schema: bool,
    /// The longest answer that is allowed.
    pub max_tokens: Option<u32>,
}

/// Three models, of which each question gets one.
pub struct Chooser {
    name: String,
    models: [Arc<dyn ChatModel>; 3],
    preference: Preference,
}

impl Chooser {
    /// Models for simple, moderate and complex questions; some may be the same.
    #[must_use]
    pub fn new(name: impl Into<String>, models: [Arc<dyn ChatModel>; 3], preference: Preference) -> Self {
        Self { name: name.into(), models, preference }
    }

    fn choose(&self, request: &ChatRequest) -> (&Arc<dyn ChatModel>, Choice) {
        let inputs = Inputs::of(request);
        let (score, because) = inputs.score();
        let complexity = complexity(score, self.preference);
        let [simple, moderate, complex] = &self.models;
        let model = match complexity {
            Complexity::Simple => simple,
            Complexity::Moderate => moderate,
            Complexity::Complex => complex,
        };
        let choice = Choice { model: model.name().to_owned(), complexity, score, preference: self.preference, because, inputs };
        (model, choice)
    }
}

#[async_trait]
impl ChatModel for Chooser {
    fn name(&self) -> &str {
        &self.name
    }

    fn ready_in(&self) -> Duration {
        self.models.iter().map(|model| model.ready_in()).min().unwrap_or_default()
    }

    async fn chat(&self, request: ChatRequest) -> Result<ChatReply, ChatError> {
        let (model, choice) = self.choose(&request);
        Span::current().record(CHOICE, tracing::field::debug(&choice));
        let mut reply = model.chat(request).await?;
        reply.route.choice = Some(choice);
        Ok(reply)
    }
}

fn complexity(score: u32, preference: Preference) -> Complexity {
    let (moderate, complex) = match preference {
        Preference::Cost => (4, 8),
        Preference::Speed => (4, 6),
        Preference::Quality => (3, 6),
    };
    if score >= complex {
        Complexity::Complex
    } else if score >= moderate {
        Complexity::Moderate
    } else {
        Complexity::Simple
    }
}

/// Words that ask for thought rather than for a fact.
const THOUGHT: [&str; 24] = [
    "why",
    "compare",
    "contrast",
    "analy",
    "explain how",
    "trade-off",
    "step by step",
    "prove",
    "derive",
    "design",
    "plan",
    "refactor",
    "optimi",
    "evaluate",
    "pros and cons",
    "为什么",
    "比较",
    "对比",
    "分析",
    "设计",
    "推导",
    "证明",
    "优化",
    "步骤",
];

impl Inputs {
    fn of(request: &ChatRequest) -> Self {
        let text: String = request.messages.iter().map(|message| message.content.text().into_owned() + "\n").collect();
        let asked = request.messages.iter().rev().find(|message| message.role == Role::User);
        let question = asked.map(|message| message.content.text().to_lowercase()).unwrap_or_default();
        Self {
            prompt_tokens: estimate_tokens(&text),
            thoughts: THOUGHT.iter().filter(|word| question.contains(**word)).count(),
            questions: question.matches(['?', '？']).count(),
            has_code: text.contains("```"),
            tools: request.tools.len(),
            has_schema: matches!(request.output, OutputFormat::Schema { .. }),
            max_tokens: request.max_tokens,
        }
    }

    /// Points, and the reasons for them.
    fn score(&self) -> (u32, Vec<String>) {
        let Self { prompt_tokens, thoughts, questions, tools, .. } = *self;
        let points = [
            (prompt_tokens > 300, 1, format!("{prompt_tokens} tokens to read")),
            (prompt_tokens > 2_000, 1, "more than 2,000 of them".to_owned()),
            (prompt_tokens > 8_000, 2, "more than 8,000 of them".to_owned()),
            (thoughts > 0, 3, "asks for thought, not for a fact".to_owned()),
            (thoughts > 1, 2, "in more than one way".to_owned()),
            (questions > 1, 2, format!("{questions} questions in one")),
            (self.has_code, 3, "has code".to_owned()),
            (tools > 0, 2, format!("{tools} tools")),
            (self.has_schema, 1, "an answer by a schema".to_owned()),
            (self.max_tokens.is_some_and(|tokens| tokens > 2_000), 1, "a long answer is allowed".to_owned()),
        ];
        let scored = points.into_iter().filter(|(holds, ..)| *holds);
        scored.fold((0, Vec::new()), |(sum, mut reasons), (_, points, reason)| {
            reasons.push(reason);
            (sum + points, reasons)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChatMessage, ScriptedChat, Step};

    fn chooser(preference: Preference) -> Chooser {
        let model = |name: &str| -> Arc<dyn ChatModel> { Arc::new(ScriptedChat::new(name, vec![vec![Step::delta("yes")]; 20])) };
        Chooser::new("auto", [model("small"), model("middle"), model("large")], preference)
    }

    fn chosen(preference: Preference, question: &str) -> Choice {
        chooser(preference).choose(&ChatRequest::new(vec![ChatMessage::user(question)])).1
    }

    #[test]
    fn facts_go_to_the_small_model_and_reasons_to_a_larger_one() {
        for simple in ["What is the capital of France?", "Hello!", "保修期多久？"] {
            assert_eq!(chosen(Preference::Quality, simple).model, "small", "{simple}");
        }
        let thought = chosen(Preference::Quality, "Why is the sky blue?");
        assert_eq!((thought.model.as_str(), thought.complexity), ("middle", Complexity::Moderate));
        let hard = "Compare B-trees with LSM trees and explain how each handles deletes. Why? What would you design?\n```sql\nselect 1```";
        assert_eq!(chosen(Preference::Quality, hard).model, "large");
        assert_eq!(chosen(Preference::Quality, "请比较并分析这两种设计？").model, "middle");
    }

    #[test]
    fn a_preference_moves_the_border_and_the_choice_says_why() {
        let question = "Why is the sky blue?";
        assert_eq!(chosen(Preference::Cost, question).model, "small");
        let choice = chosen(Preference::Quality, question);
        assert_eq!((choice.score, choice.because), (3, vec!["asks for thought, not for a fact".to_owned()]));
        assert_eq!((choice.inputs.thoughts, choice.inputs.questions, choice.inputs.has_code), (1, 1, false));
    }

    #[tokio::test]
    async fn the_choice_is_in_the_route() {
        let reply = chooser(Preference::Quality).chat(ChatRequest::new(vec![ChatMessage::user("Hello!")])).await.unwrap();
        assert_eq!(reply.route.choice.unwrap().model, "small");
    }
}
