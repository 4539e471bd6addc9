//! Jobs, their notes of being unfinished, remembered answers, and feedback.

use super::read::{self, Value};
use super::{Fix, Verifier, VerifyError};
use crate::feedback::FeedbackRecord;
use crate::keys;
use crate::records::{IdempotencyRecord, JobRecord};
use corpus::{JobId, TenantId};

impl Verifier<'_> {
    pub(super) fn check_jobs(&mut self) -> Result<(), VerifyError> {
        read::each(self.store, b"J", |key, value| self.check_job(key, value))?;
        read::each(self.store, b"U", |key, value| self.check_unfinished(key, value))?;
        read::each(self.store, &[keys::FEEDBACK], |key, value| {
            let record = value.ok().and_then(|value| serde_json::from_slice::<FeedbackRecord>(value).ok());
            let is_in_place =
                |record: &FeedbackRecord| keys::feedback(&record.tenant, &record.collection, &record.trace, &record.asker.key) == key;
            if !record.as_ref().is_some_and(is_in_place) {
                self.repairable("feedback_damaged", key, "the record of feedback can't be read", Fix::Delete { key: key.to_vec() });
            }
            Ok(())
        })?;
        read::each(self.store, b"I", |key, value| {
            if value.ok().and_then(|value| serde_json::from_slice::<IdempotencyRecord>(value).ok()).is_none() {
                self.repairable("answer_damaged", key, "the remembered answer can't be read", Fix::Delete { key: key.to_vec() });
            }
            Ok(())
        })
    }

    fn check_job(&mut self, key: &[u8], value: Value<'_>) -> Result<(), VerifyError> {
        self.report.jobs += 1;
        let job = value.ok().and_then(|value| serde_json::from_slice::<JobRecord>(value).ok());
        let Some(job) = job.filter(|job| keys::job(&job.tenant, &job.id) == key) else {
            self.repairable("job_damaged", key, "the record of a job can't be read", Fix::Delete { key: key.to_vec() });
            return Ok(());
        };
        let note = keys::unfinished(&job.id, &job.tenant);
        let is_noted = read::get(self.store, &note)?.is_some();
        if job.state.has_ended() && is_noted {
            self.repairable("job_ended", &note, "the job has ended and is noted as unfinished", Fix::Delete { key: note.clone() });
        } else if !job.state.has_ended() && !is_noted {
            let fix = Fix::Put { key: note.clone(), value: Vec::new() };
            self.repairable("job_not_queued", &note, "the job has not ended and is not noted as unfinished", fix);
        }
        Ok(())
    }

    fn check_unfinished(&mut self, key: &[u8], value: Value<'_>) -> Result<(), VerifyError> {
        let named: Option<(JobId, TenantId)> = read::part(key, 0).zip(read::part(key, 1));
        let is_there = match named {
            Some((job, tenant)) => read::get(self.store, &keys::job(&tenant, &job))?.is_some(),
            None => false,
        };
        if !is_there {
            self.repairable("job_gone", key, "an unfinished job is noted that is not there", Fix::Delete { key: key.to_vec() });
        } else if value.is_err() {
            self.repairable("note_damaged", key, "the note can't be read", Fix::Put { key: key.to_vec(), value: Vec::new() });
        }
        Ok(())
    }
}
