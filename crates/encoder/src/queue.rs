//! What waits for the encoder, first in, first out.
//!
//! Invariants: a queue takes no request when it is full, so memory is bounded by the capacity and one
//! request; a pass holds at most `pass_tokens` tokens (or a single text).

use crate::tokenizer::Tokens;
use std::collections::VecDeque;
use std::sync::mpsc::Sender;

/// What the encoder answers for one text: its vector, or why there is none.
pub(crate) type Answer = (usize, Result<Vec<f32>, String>);

/// One text that waits.
pub(crate) struct Waiting {
    pub(crate) tokens: Tokens,
    /// Its place in its request, given back with the answer.
    pub(crate) place: usize,
    pub(crate) reply: Sender<Answer>,
}

/// See the module.
pub(crate) struct Queue {
    texts: VecDeque<Waiting>,
    /// Texts that are still to come of requests that were taken.
    reserved: usize,
    capacity: usize,
    pass_tokens: usize,
}

impl Queue {
    /// Room for `capacity` texts.
    pub(crate) fn new(capacity: usize, pass_tokens: usize) -> Self {
        Self { texts: VecDeque::new(), reserved: 0, capacity, pass_tokens }
    }

    /// Keeps room for all `texts` of a request, or for none and gives back how many tokens are ahead of it. An
    /// empty queue has room for any request: else one larger than the capacity could never be served.
    pub(crate) fn reserve(&mut self, texts: usize) -> Result<(), usize> {
        let taken = self.texts.len() + self.reserved;
        if taken > 0 && texts > 0 && taken + texts > self.capacity {
            return Err(self.texts.iter().map(|text| text.tokens.ids.len()).sum());
        }
        self.reserved += texts;
        Ok(())
    }

    /// Takes texts that there is room kept for.
    pub(crate) fn push(&mut self, texts: Vec<Waiting>) {
        self.release(texts.len());
        self.texts.extend(texts);
    }

    /// Gives room back.
    pub(crate) fn release(&mut self, texts: usize) {
        self.reserved = self.reserved.saturating_sub(texts);
    }

    /// The texts of the next pass; empty if nothing waits. Small requests share a pass.
    pub(crate) fn next_pass(&mut self) -> Vec<Waiting> {
        let mut sum = 0;
        let count = self.texts.iter().take_while(|text| {
            sum += text.tokens.ids.len();
            sum <= self.pass_tokens
        });
        let count = count.count().max(1).min(self.texts.len());
        self.texts.drain(..count).collect()
    }

    /// Texts that wait.
    pub(crate) fn len(&self) -> usize {
        self.texts.len()
    }

    /// Forgets everything that waits; whoever waits for it sees its channel close.
    pub(crate) fn clear(&mut self) {
        self.texts.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn texts(lengths: &[usize]) -> Vec<Waiting> {
        let (reply, _) = channel();
        let text =
            |(place, length): (usize, &usize)| Waiting { tokens: Tokens::single(vec![0; *length], *length), place, reply: reply.clone() };
        lengths.iter().enumerate().map(text).collect()
    }

    fn next_lengths(queue: &mut Queue) -> Vec<usize> {
        queue.next_pass().iter().map(|text| text.tokens.ids.len()).collect()
    }

    fn push(queue: &mut Queue, lengths: &[usize]) -> Result<(), usize> {
        queue.reserve(lengths.len())?;
        queue.push(texts(lengths));
        Ok(())
    }

    #[test]
    fn passes_are_bounded_and_small_requests_share_one() {
        let mut queue = Queue::new(10, 100);
        push(&mut queue, &[60, 30, 30]).unwrap();
        push(&mut queue, &[50, 500, 7]).unwrap();
        assert_eq!(next_lengths(&mut queue), [60, 30]);
        assert_eq!(next_lengths(&mut queue), [30, 50], "two requests share a pass");
        assert_eq!(next_lengths(&mut queue), [500], "a text over the bound goes alone");
        assert_eq!(next_lengths(&mut queue), [7]);
        assert!(queue.next_pass().is_empty());
    }

    #[test]
    fn a_full_queue_refuses() {
        let mut queue = Queue::new(3, 100);
        push(&mut queue, &[1, 1, 1, 1, 1]).unwrap();
        assert_eq!(push(&mut queue, &[1]), Err(5), "an empty queue takes any request, a full one none");
        assert_eq!(queue.reserve(0), Ok(()), "nothing always fits");
        assert_eq!(queue.len(), 5);
        queue.clear();
        push(&mut queue, &[1, 1]).unwrap();
        assert_eq!(push(&mut queue, &[1, 1]), Err(2));
        push(&mut queue, &[1]).unwrap();
        assert_eq!(queue.len(), 3);
    }

    #[test]
    fn room_that_is_kept_counts_until_it_is_filled_or_given_back() {
        let mut queue = Queue::new(4, 100);
        queue.reserve(3).unwrap();
        assert_eq!(queue.reserve(2), Err(0));
        queue.push(texts(&[1, 1]));
        assert_eq!(queue.reserve(2), Err(2));
        queue.release(1);
        queue.reserve(2).unwrap();
    }
}
