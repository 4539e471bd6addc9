//! Who may come in: a place for every request, fewer of them for uploads, and a short queue before the
//! processors for questions. What finds no place is told so at once, with a time to come again: a
//! queue that grows only makes everybody late.

use super::receive::{ByteBudget, is_small, receive};
use crate::app::AppState;
use crate::config::ServerConfig;
use crate::error::ApiError;
use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Of all places, how many uploads and other large bodies may take: one in so many.
const UPLOADS_SHARE: usize = 2;

/// Questions that compute at a time beyond one a processor: one may wait for memory or for the model.
/// More make every one of them slower and all together hardly faster.
const QUERIES_EXTRA: usize = 1;
/// Of all places, how many waiting questions leave to others where the configuration leaves it open, one in so
/// many: the line is full before the house is, so that overload is known for what it is.
const QUERIES_LEAVE: usize = 4;

/// Everything that is handed out before work is done.
pub(crate) struct Admission {
    /// One a request.
    pub(crate) requests: Arc<Semaphore>,
    /// One a request with a body that is not small, so that slow senders never fill all places.
    uploads: Arc<Semaphore>,
    /// One an open event stream, which has given back its place.
    pub(crate) streams: Arc<Semaphore>,
    /// Bytes of bodies.
    pub(crate) bodies: Arc<ByteBudget>,
    /// Before the processors: searching, and answering without a language model.
    pub(crate) queries: Lane,
    /// Before the language model.
    pub(crate) answers: Lane,
}

impl Admission {
    pub(crate) fn new(config: &ServerConfig) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let queries = if config.concurrent_queries_max == 0 { processors + QUERIES_EXTRA } else { config.concurrent_queries_max };
        let places = config.concurrent_requests_max;
        Self {
            requests: Arc::new(Semaphore::new(places)),
            uploads: Arc::new(Semaphore::new((places / UPLOADS_SHARE).max(1))),
            streams: Arc::new(Semaphore::new(config.concurrent_streams_max)),
            bodies: Arc::new(ByteBudget::new(config.upload_buffer_bytes_max)),
            queries: Lane::new(queries, config.queued_queries_max.unwrap_or(places - places / QUERIES_LEAVE)),
            answers: Lane::new(config.concurrent_answers_max, 0),
        }
    }

    fn place(&self, is_upload: bool) -> Option<Place> {
        let upload = if is_upload { Some(Arc::clone(&self.uploads).try_acquire_owned().ok()?) } else { None };
        let request = Arc::clone(&self.requests).try_acquire_owned().ok()?;
        Some(Place { _request: request, _upload: upload })
    }
}

/// The right to be worked on.
struct Place {
    _request: OwnedSemaphorePermit,
    _upload: Option<OwnedSemaphorePermit>,
}

/// Turns for work of one kind, with a queue before them that is there for moments: in a burst one may wait for
/// [`PATIENCE`], but in overload whoever comes waits for [`OVERLOAD`] at most.
/// (Nichols and Jacobson, "Controlling Queue Delay", ACM Queue 10(5), 2012; as applied to requests in
/// Maurer, "Fail at Scale", ACM Queue 13(8), 2015.)
pub(crate) struct Lane {
    turns: Arc<Semaphore>,
    /// Turns that are left to those who wait for their answer.
    spare: usize,
    waiting_max: usize,
    line: Mutex<Line>,
}

/// How long a queue may stand (nobody gets a turn within [`OVERLOAD`]) before it is taken for overload. Where four
/// fifths of the turns are taken anyway, what came while the machine stood still for a fifth of this takes this
/// long to work off. A queue that is full, or in which somebody waits in vain, is overload at once.
const BURST: Duration = Duration::from_secs(5);
/// How long one may wait until then.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one may wait in overload: less than anybody notices.
const OVERLOAD: Duration = Duration::from_millis(4);
/// Overload is over when in so long ...
const RELIEF: Duration = Duration::from_secs(1);
/// ... fewer than one in so many had to be sent away: by chance alone some wait for [`OVERLOAD`] where all
/// could be served.
const SHED_SHARE: u64 = 16;

/// Of all turns, how many work that nobody waits for leaves free: one in so many.
const SPARE_SHARE: usize = 4;
/// How often such work looks for a turn.
const QUIET_LOOK: Duration = Duration::from_millis(10);

/// Who waits for a turn, and what is remembered of those who did.
#[derive(Default)]
struct Line {
    waiting: usize,
    /// Since when nobody got a turn within [`OVERLOAD`].
    standing_since: Option<Instant>,
    /// There in overload.
    overload: Option<Overload>,
}

/// What is counted to see the end of it.
struct Overload {
    since: Instant,
    came: u64,
    shed: u64,
}

impl Line {
    /// Looks whether overload is over, and counts one that came.
    fn arrive(&mut self, now: Instant) {
        let Some(overload) = &mut self.overload else { return };
        let passed = now - overload.since;
        // Twice as long: nobody came at all in the second half.
        if passed >= RELIEF * 2 || (passed >= RELIEF && overload.shed * SHED_SHARE < overload.came) {
            self.overload = None;
            self.standing_since = None;
        } else {
            if passed >= RELIEF {
                *overload = Overload { since: now, came: 0, shed: 0 };
            }
            overload.came += 1;
        }
    }

    fn patience(&mut self, now: Instant) -> Duration {
        let since = *self.standing_since.get_or_insert(now);
        if now - since >= BURST {
            self.overload(now);
        }
        if self.overload.is_some() { OVERLOAD } else { PATIENCE }
    }

    fn overload(&mut self, now: Instant) -> &mut Overload {
        self.overload.get_or_insert(Overload { since: now, came: 1, shed: 0 })
    }
}

/// Counts one that waits, also if it goes away while it does.
struct Waiting<'l>(&'l Lane);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut line = self.0.line();
        line.waiting -= 1;
        if line.waiting == 0 {
            line.standing_since = None;
        }
    }
}

impl Lane {
    fn new(turns: usize, waiting_max: usize) -> Self {
        Self { turns: Arc::new(Semaphore::new(turns)), spare: turns / SPARE_SHARE, waiting_max, line: Mutex::default() }
    }

    /// A turn, now or after those who came before.
    ///
    /// # Errors
    /// 503, at once if too many wait already, else when it was waited for long enough.
    pub(crate) async fn enter(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        self.line().arrive(Instant::now());
        if let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
            return Ok(turn);
        }
        let began = Instant::now();
        let (_waiting, patience) = self.line_up(began).ok_or_else(|| self.shed())?;
        let Ok(turn) = tokio::time::timeout(patience, Arc::clone(&self.turns).acquire_owned()).await else {
            return Err(self.shed());
        };
        if began.elapsed() < OVERLOAD {
            self.line().standing_since = None;
        }
        turn.map_err(ApiError::internal)
    }

    /// A turn for work that nobody waits for, such as batches: never before anybody in the line, and not one of the last
    /// turns. It stands in no line, so it is neither shed nor overload to others.
    ///
    /// # Errors
    /// None but the end of the server.
    pub(crate) async fn enter_quietly(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        loop {
            let has_room = self.waiting() == 0 && self.turns.available_permits() > self.spare;
            if has_room && let Ok(turn) = Arc::clone(&self.turns).try_acquire_owned() {
                return Ok(turn);
            }
            tokio::time::sleep(QUIET_LOOK).await;
        }
    }

    /// A place in the line and how long to stay in it; `None` if too many wait already.
    fn line_up(&self, now: Instant) -> Option<(Waiting<'_>, Duration)> {
        let mut line = self.line();
        if line.waiting >= self.waiting_max {
            return None;
        }
        line.waiting += 1;
        let patience = line.patience(now);
        Some((Waiting(self), patience))
    }

    fn shed(&self) -> ApiError {
        self.line().overload(Instant::now()).shed += 1;
        overloaded()
    }

    /// Requests that wait for a turn.
    pub(crate) fn waiting(&self) -> usize {
        self.line().waiting
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn overloaded() -> ApiError {
    metrics::counter!("ragstone_requests_shed_total").increment(1);
    ApiError::busy(
        StatusCode::SERVICE_UNAVAILABLE,
        "overloaded",
        "the server works on as many requests as it may; try again shortly",
        Duration::from_secs(1),
    )
}

/// Reads what is small, finds a place, and lets the request through.
pub(crate) async fn admit(State(app): State<AppState>, request: Request, next: Next) -> Response {
    // A probe takes no place, so that a busy server still says that it lives.
    if is_probe(request.uri().path()) {
        return next.run(request).await;
    }
    let is_upload = is_upload(&request) || !is_small(&request.body().size_hint());
    let (mut request, receipt) = match receive(&app, request).await {
        Ok(received) => received,
        Err(error) => return cut(error),
    };
    let Some(place) = app.admission.place(is_upload) else { return overloaded().into_response() };
    request.extensions_mut().insert(receipt.clone());
    let response = next.run(request).await;
    match receipt.error() {
        Some(error) => cut(error),
        None => seat(&app, response, place),
    }
}

/// An answer to a request whose body stays unread: nothing more can be said on its connection.
fn cut(error: ApiError) -> Response {
    let mut response = error.into_response();
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(super) fn is_probe(path: &str) -> bool {
    matches!(path, "/healthz" | "/livez" | "/readyz" | "/metrics")
}

/// By its route: those wait for their documents too, which takes a place for long.
fn is_upload(request: &Request) -> bool {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    matches!(*request.method(), Method::POST | Method::PUT) && (route.ends_with("/documents") || route.ends_with("/documents/{document}"))
}

/// A whole answer is written at once; one that streams gives its place to the next and sits elsewhere.
fn seat(app: &AppState, response: Response, place: Place) -> Response {
    if response.body().size_hint().exact().is_some() {
        return response;
    }
    drop(place);
    match Arc::clone(&app.admission.streams).try_acquire_owned() {
        Err(_) => overloaded().into_response(),
        Ok(seat) => response.map(|body| hold(body, seat)),
    }
}

fn hold(body: Body, seat: OwnedSemaphorePermit) -> Body {
    let stream = body.into_data_stream();
    Body::from_stream(futures::StreamExt::inspect(stream, move |_| {
        let _held = &seat;
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lane_queues_in_order_and_sheds_at_once() {
        let lane = Arc::new(Lane::new(1, 1));
        let turn = lane.enter().await.unwrap();
        let waiting = tokio::spawn({
            let lane = Arc::clone(&lane);
            async move { lane.enter().await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert_eq!(lane.waiting(), 1);
        let shed = lane.enter().await.unwrap_err();
        assert_eq!(
            (shed.status, shed.code, shed.retry_after),
            (StatusCode::SERVICE_UNAVAILABLE, "overloaded", Some(Duration::from_secs(1)))
        );
        assert!(lane.line().overload.is_some(), "a queue that is full is overload at once");
        drop(turn);
        assert!(waiting.await.unwrap());
        assert_eq!(lane.waiting(), 0);
        assert!(lane.enter().await.is_ok(), "the turn is free again");
    }

    /// How long one waits in vain.
    async fn wait_in_vain(lane: &Lane) -> Duration {
        let began = Instant::now();
        assert_eq!(lane.enter().await.unwrap_err().code, "overloaded");
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_may_wait_and_a_standing_queue_may_not() {
        let lane = Lane::new(1, 8);
        let turn = lane.enter().await.unwrap();
        assert_eq!(wait_in_vain(&lane).await, PATIENCE);
        assert_eq!(wait_in_vain(&lane).await, OVERLOAD, "somebody was just sent away");
        drop(turn);
        drop(lane.enter().await.unwrap());
        let turn = lane.enter().await.unwrap();
        assert_eq!(wait_in_vain(&lane).await, OVERLOAD, "one free turn is no relief");
        tokio::time::advance(RELIEF).await;
        assert_eq!(wait_in_vain(&lane).await, OVERLOAD, "nor is the end of a time in which half were sent away");
        drop(turn);
        tokio::time::advance(RELIEF * 2).await;
        let _turn = lane.enter().await.unwrap();
        assert_eq!(wait_in_vain(&lane).await, PATIENCE, "nobody came for a while");
        tokio::time::advance(RELIEF * 2).await;
        lane.line().standing_since = Some(Instant::now() - BURST);
        lane.line().overload = None;
        assert_eq!(wait_in_vain(&lane).await, OVERLOAD, "there was always somebody in the line");
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_in_which_somebody_gets_a_turn_at_once_does_not_stand() {
        let lane = Arc::new(Lane::new(1, 8));
        for (waited, patience) in [(OVERLOAD / 2, PATIENCE), (OVERLOAD, OVERLOAD)] {
            *lane.line() = Line::default();
            let turn = lane.enter().await.unwrap();
            let second = tokio::spawn({
                let lane = Arc::clone(&lane);
                async move { lane.enter().await.unwrap() }
            });
            tokio::task::yield_now().await;
            // Behind it, so that the line is never empty.
            let third = tokio::spawn({
                let lane = Arc::clone(&lane);
                async move { wait_in_vain(&lane).await }
            });
            tokio::task::yield_now().await;
            lane.line().standing_since = Some(Instant::now() - BURST + OVERLOAD);
            tokio::time::advance(waited).await;
            drop(turn);
            let _turn = second.await.unwrap();
            tokio::time::advance(OVERLOAD).await;
            assert_eq!(wait_in_vain(&lane).await, patience, "after a turn that came in {waited:?}");
            third.abort();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_few_that_are_sent_away_by_chance_are_no_overload() {
        let lane = Lane::new(1, 8);
        let turn = lane.enter().await.unwrap();
        assert_eq!(wait_in_vain(&lane).await, PATIENCE);
        assert_eq!(wait_in_vain(&lane).await, OVERLOAD);
        drop(turn);
        for _ in 0..2 * SHED_SHARE {
            drop(lane.enter().await.unwrap());
        }
        tokio::time::advance(RELIEF).await;
        let _turn = lane.enter().await.unwrap();
        assert_eq!(wait_in_vain(&lane).await, PATIENCE);
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_work_leaves_turns_free_and_waits_behind_everybody() {
        let lane = Arc::new(Lane::new(4, 4));
        let quiet: Vec<_> =
            [lane.enter_quietly().await.unwrap(), lane.enter_quietly().await.unwrap(), lane.enter_quietly().await.unwrap()].into();
        let wait = |lane: &Arc<Lane>| {
            tokio::time::timeout(BURST, {
                let lane = Arc::clone(lane);
                async move { lane.enter_quietly().await }
            })
        };
        assert!(wait(&lane).await.is_err(), "the last turn is not for it");
        let live = lane.enter().await.unwrap();
        let mut next = tokio::spawn({
            let lane = Arc::clone(&lane);
            async move { lane.enter().await.unwrap() }
        });
        tokio::task::yield_now().await;
        drop(quiet);
        assert!(lane.enter_quietly().await.is_ok(), "and it waits as long as it takes");
        assert!((&mut next).await.is_ok());
        drop(live);
        let single = Arc::new(Lane::new(1, 1));
        assert!(wait(&single).await.is_ok(), "where there is one turn only it is taken when nobody wants it");
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_the_queue_makes_room() {
        let lane = Lane::new(1, 1);
        let _turn = lane.enter().await.unwrap();
        let gave_up = tokio::time::timeout(Duration::from_millis(1), lane.enter()).await;
        assert!(gave_up.is_err());
        assert_eq!(lane.waiting(), 0);
    }

    #[test]
    fn uploads_leave_places_for_others() {
        let config = ServerConfig { concurrent_requests_max: 4, ..ServerConfig::default() };
        let admission = Admission::new(&config);
        let uploads: Vec<_> = (0..4).filter_map(|_| admission.place(true)).collect();
        assert_eq!(uploads.len(), 2);
        assert!(admission.place(false).is_some());
    }
}
