//! What waits for the encoder: two lanes, questions before documents.
//!
//! Invariants: a lane never takes a request when it is full, so memory is bounded by the two
//! capacities and one request each; a pass holds texts of one lane and at most `pass_tokens`
//! tokens (or a single text), so a question waits for at most the pass under way; within a lane,
//! first in is first out.

use super::tokenizer::Tokens;
use corpus::Purpose;
use std::collections::VecDeque;
use std::sync::mpsc::Sender;

/// What the encoder answers for one text: its vector, or why there is none.
pub(super) type Answer = (usize, Result<Vec<f32>, String>);

/// One text that waits.
pub(super) struct Waiting {
    pub(super) tokens: Tokens,
    /// Its place in its request, given back with the answer.
    pub(super) place: usize,
    pub(super) reply: Sender<Answer>,
}

/// The lanes.
pub(super) struct Queue {
    queries: VecDeque<Waiting>,
    documents: VecDeque<Waiting>,
    capacity: usize,
    pass_tokens: usize,
}

impl Queue {
    /// Empty lanes of `capacity` texts each.
    pub(super) fn new(capacity: usize, pass_tokens: usize) -> Self {
        Self { queries: VecDeque::new(), documents: VecDeque::new(), capacity, pass_tokens }
    }

    /// Takes all texts of a request, or none and gives back how many tokens are ahead of it. An
    /// empty lane takes any request: else one larger than the capacity could never be served.
    pub(super) fn push(&mut self, texts: Vec<Waiting>, purpose: Purpose) -> Result<(), usize> {
        let capacity = self.capacity;
        let lane = self.lane_mut(purpose);
        if !lane.is_empty() && lane.len() + texts.len() > capacity {
            return Err(lane.iter().map(|text| text.tokens.ids.len()).sum());
        }
        lane.extend(texts);
        Ok(())
    }

    /// The texts of the next pass; empty if nothing waits. Small requests share a pass.
    pub(super) fn next_pass(&mut self) -> Vec<Waiting> {
        let pass_tokens = self.pass_tokens;
        let lane = self.lane_mut(if self.queries.is_empty() { Purpose::Document } else { Purpose::Query });
        let mut sum = 0;
        let count = lane.iter().take_while(|text| {
            sum += text.tokens.ids.len();
            sum <= pass_tokens
        });
        let count = count.count().max(1).min(lane.len());
        lane.drain(..count).collect()
    }

    /// Texts that wait in the lane of `purpose`.
    pub(super) fn len(&self, purpose: Purpose) -> usize {
        match purpose {
            Purpose::Query => self.queries.len(),
            Purpose::Document => self.documents.len(),
        }
    }

    /// Forgets everything that waits; whoever waits for it sees its channel close.
    pub(super) fn clear(&mut self) {
        self.queries.clear();
        self.documents.clear();
    }

    fn lane_mut(&mut self, purpose: Purpose) -> &mut VecDeque<Waiting> {
        match purpose {
            Purpose::Query => &mut self.queries,
            Purpose::Document => &mut self.documents,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn texts(lengths: &[usize]) -> Vec<Waiting> {
        let (reply, _) = channel();
        let text = |(place, length): (usize, &usize)| Waiting {
            tokens: Tokens { ids: vec![0; *length], whole: *length },
            place,
            reply: reply.clone(),
        };
        lengths.iter().enumerate().map(text).collect()
    }

    fn next_lengths(queue: &mut Queue) -> Vec<usize> {
        queue.next_pass().iter().map(|text| text.tokens.ids.len()).collect()
    }

    #[test]
    fn passes_are_bounded_and_questions_overtake() {
        let mut queue = Queue::new(10, 100);
        queue.push(texts(&[60, 30, 30]), Purpose::Document).unwrap();
        queue.push(texts(&[50, 500, 7]), Purpose::Document).unwrap();
        assert_eq!(next_lengths(&mut queue), [60, 30]);
        queue.push(texts(&[5]), Purpose::Query).unwrap();
        queue.push(texts(&[6]), Purpose::Query).unwrap();
        assert_eq!(next_lengths(&mut queue), [5, 6], "questions share a pass, documents don't ride along");
        assert_eq!(next_lengths(&mut queue), [30, 50], "small requests share a pass");
        assert_eq!(next_lengths(&mut queue), [500], "a text over the bound goes alone");
        assert_eq!(next_lengths(&mut queue), [7]);
        assert!(queue.next_pass().is_empty());
    }

    #[test]
    fn a_full_lane_refuses_and_leaves_the_other_alone() {
        let mut queue = Queue::new(3, 100);
        queue.push(texts(&[1, 1, 1, 1, 1]), Purpose::Document).unwrap();
        assert_eq!(queue.push(texts(&[1]), Purpose::Document), Err(5));
        assert_eq!(queue.len(Purpose::Document), 5);
        queue.push(texts(&[1, 1]), Purpose::Query).unwrap();
        assert_eq!(queue.push(texts(&[1, 1]), Purpose::Query), Err(2));
        queue.push(texts(&[1]), Purpose::Query).unwrap();
        queue.clear();
        assert_eq!((queue.len(Purpose::Query), queue.len(Purpose::Document)), (0, 0));
    }
}
