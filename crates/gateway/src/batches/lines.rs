//! A file of answers as it comes in: one JSON text a line, each bounded.

use super::wire::BatchAnswer;
use crate::ChatError;
use crate::endpoint::network_error;
use reqwest::Response;

/// Longest line in bytes.
const LINE_BYTES_MAX: usize = 16 << 20;

/// Answers of a batch, read one by one.
pub struct BatchAnswers {
    response: Response,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are known to hold no end of a line.
    searched: usize,
    is_over: bool,
}

impl BatchAnswers {
    pub(super) fn of(response: Response) -> Self {
        Self { response, buffer: Vec::new(), searched: 0, is_over: false }
    }

    /// The next answer; `None` behind the last. Lines that say nothing are left out, with a warning.
    ///
    /// # Errors
    /// [`ChatError`].
    pub async fn next(&mut self) -> Result<Option<BatchAnswer>, ChatError> {
        while let Some(line) = self.line().await? {
            if line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match BatchAnswer::read(&line) {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) => tracing::warn!(%error, "a line of a batch's answers can't be read"),
            }
        }
        Ok(None)
    }

    async fn line(&mut self) -> Result<Option<Vec<u8>>, ChatError> {
        loop {
            let found = self.buffer.iter().skip(self.searched).position(|byte| *byte == b'\n');
            if let Some(end) = found.map(|place| self.searched + place) {
                self.searched = 0;
                return Ok(Some(self.buffer.drain(..=end).collect()));
            }
            self.searched = self.buffer.len();
            if self.is_over {
                self.searched = 0;
                return Ok(Some(std::mem::take(&mut self.buffer)).filter(|rest| !rest.is_empty()));
            }
            match self.response.chunk().await.map_err(network_error)? {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => self.is_over = true,
            }
            if self.buffer.len() - self.searched > LINE_BYTES_MAX || self.searched > LINE_BYTES_MAX {
                return Err(ChatError::TooLarge { what: "a line of a batch's answers", bytes_max: LINE_BYTES_MAX });
            }
        }
    }
}
