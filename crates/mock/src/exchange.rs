//! One request from its first byte to the last of its answer.

use crate::access::KEY_HEADERS;
use crate::answer::Said;
use crate::body::{AnswerBody, Broken};
use crate::calls::{Call, Entry, Finished, Watch};
use crate::content::Content;
use crate::faults::distort;
use crate::form::Upload;
use crate::provider::Provider;
use crate::refusal::Refusal;
use crate::reply::{Fault, Reply};
use crate::route::{Dialect, Endpoint, Route};
use crate::wire::ResetSwitch;
use crate::{anthropic, batches, control, embeddings, files, openai, rerank};
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Largest body that is read: what OpenAI takes as a batch.
const BODY_BYTES_MAX: usize = 200 << 20;

/// What is asked for.
pub(crate) struct Ask {
    pub(crate) number: u64,
    pub(crate) dialect: Dialect,
    pub(crate) endpoint: Endpoint,
    pub(crate) pattern: &'static str,
    /// The id in the path.
    pub(crate) id: String,
    /// What stands behind the `?`.
    pub(crate) query: String,
    pub(crate) model: String,
    pub(crate) body: Arc<Value>,
    pub(crate) upload: Option<Upload>,
}

/// Answers one request, or breaks its connection.
pub(crate) async fn exchange(
    provider: Arc<Provider>,
    switch: ResetSwitch,
    request: Request<Incoming>,
) -> Result<Response<AnswerBody>, Broken> {
    let at = provider.started.elapsed();
    let (mut head, body) = request.into_parts();
    let Ok(bytes) = Limited::new(body, BODY_BYTES_MAX).collect().await.map(http_body_util::Collected::to_bytes) else {
        return Ok(too_large());
    };
    if control::is_for(&head.uri) {
        return Ok(control::answer(&provider, &head, &bytes));
    }
    let mut ask = Ask::read(&head, &bytes);
    let admitted = provider.access.check(ask.dialect, &head.headers, head.uri.query().unwrap_or_default());
    let mut watch = provider.calls.begin(ask.entry(at, &mut head, bytes.len()));
    ask.number = watch.number();
    let reply = if admitted.is_ok() { provider.take_reply(&ask.model, ask.pattern) } else { Reply::default() };
    wait(reply.latency_ms).await;
    break_before_headers(&reply, &mut watch, &switch)?;
    let content = admitted.and_then(|()| content(&provider, &ask, &reply));
    let content = content.unwrap_or_else(|refusal| refusal.content(ask.dialect));
    Ok(respond(distort(content, &reply, ask.dialect), &ask, &reply, watch, switch))
}

impl Ask {
    fn read(head: &Parts, bytes: &Bytes) -> Self {
        let route = Route::find(&head.method, head.uri.path());
        let upload = Upload::read(&head.headers, bytes);
        let body = upload.as_ref().map_or_else(|| serde_json::from_slice(bytes).unwrap_or_default(), Upload::summary);
        Self { query: head.uri.query().unwrap_or_default().to_owned(), ..Self::new(route, body, upload) }
    }

    pub(crate) fn new(route: Route<'_>, body: Value, upload: Option<Upload>) -> Self {
        let named = body.get("model").and_then(Value::as_str).unwrap_or_default();
        let model = if route.dialect == Dialect::AzureDeployment { route.parameter } else { named }.to_owned();
        let Route { dialect, endpoint, pattern, parameter } = route;
        let (id, query) = (parameter.to_owned(), String::new());
        Self { number: 0, dialect, endpoint, pattern, id, query, model, body: Arc::new(body), upload }
    }

    pub(crate) fn is_streamed(&self) -> bool {
        self.body.get("stream").and_then(Value::as_bool).unwrap_or_default()
    }

    fn entry(&self, at: Duration, head: &mut Parts, body_bytes: usize) -> Entry {
        let mut headers = std::mem::take(&mut head.headers);
        let keys = KEY_HEADERS.map(|name| headers.remove(name));
        let call = Call {
            number: 0,
            at,
            method: head.method.to_string(),
            path: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
            headers: Vec::new(),
            model: self.model.clone(),
            streamed: self.is_streamed(),
            authorization: keys.iter().any(Option::is_some),
            body: Value::Null,
            finished: None,
        };
        Entry { call, headers, body: Arc::clone(&self.body), body_bytes }
    }
}

async fn wait(ms: Option<u64>) {
    if let Some(ms) = ms.filter(|ms| *ms > 0) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn break_before_headers(reply: &Reply, watch: &mut Watch, switch: &ResetSwitch) -> Result<(), Broken> {
    match reply.fault {
        Some(Fault::RefuseBeforeHeaders) => switch.throw(),
        Some(Fault::CloseBeforeHeaders) => {}
        _ => return Ok(()),
    }
    watch.end(Finished::Faulted);
    Err(Broken)
}

/// What the reply says to this question, in the provider's format.
fn content(provider: &Provider, ask: &Ask, reply: &Reply) -> Result<Content, Refusal> {
    check(reply)?;
    if let Some(body) = &reply.body {
        let bytes = body.bytes().ok_or_else(|| unsendable("its body is no base64"))?;
        return Ok(Content { status: reply.status.unwrap_or(200), ..Content::raw(&bytes) });
    }
    if !reply.is_success() {
        return Err(Refusal::scripted(reply.status.unwrap_or(500)));
    }
    let content = match ask.endpoint {
        Endpoint::Chat | Endpoint::Messages if ask.is_streamed() => stream(ask, reply)?,
        Endpoint::FileContent => Content::whole("application/octet-stream", files::content(provider, ask)?),
        _ => Content::json(&whole(provider, ask, reply)?),
    };
    Ok(Content { status: reply.status.unwrap_or(200), ..content })
}

/// A script can ask for what no HTTP answer can say.
fn check(reply: &Reply) -> Result<(), Refusal> {
    if reply.status.is_some_and(|status| !(200..=999).contains(&status)) {
        return Err(unsendable("its status is not between 200 and 999"));
    }
    match reply.headers.iter().find(|(name, value)| header(name, value).is_none()) {
        Some((name, _)) => Err(unsendable(&format!("its header {name:?} is none"))),
        None => Ok(()),
    }
}

fn unsendable(why: &str) -> Refusal {
    Refusal::new(500, "script", format!("the script's reply can't be sent: {why}"))
}

fn stream(ask: &Ask, reply: &Reply) -> Result<Content, Refusal> {
    let tokens = reply.tokens.unwrap_or(1);
    let pieces = if ask.endpoint == Endpoint::Messages {
        anthropic::pieces(ask, &Said::new(&anthropic::prompt(&ask.body)?, reply), tokens)
    } else {
        openai::pieces(ask, &Said::new(&openai::prompt(&ask.body)?, reply), tokens)
    };
    Ok(Content::events(pieces))
}

/// The answer to anything that isn't streamed; batches come in by this door.
pub(crate) fn whole(provider: &Provider, ask: &Ask, reply: &Reply) -> Result<Value, Refusal> {
    match ask.endpoint {
        Endpoint::Chat => Ok(openai::completion(ask, &Said::new(&openai::prompt(&ask.body)?, reply))),
        Endpoint::Messages => Ok(anthropic::message(ask, &Said::new(&anthropic::prompt(&ask.body)?, reply))),
        Endpoint::Embeddings => embeddings::answer(ask, reply, provider.embedding_dimension()),
        Endpoint::Rerank => rerank::answer(ask, reply),
        Endpoint::TeiRerank => rerank::tei_answer(ask),
        Endpoint::Models => Ok(openai::models(&provider.script())),
        Endpoint::CreateFile => files::create(provider, ask),
        Endpoint::File => files::describe(provider, ask),
        Endpoint::DeleteFile => files::delete(provider, ask),
        Endpoint::CreateBatch => batches::create(provider, ask),
        Endpoint::ListBatches => batches::list(provider, ask),
        Endpoint::Batch => batches::look(provider, ask),
        Endpoint::CancelBatch => batches::cancel(provider, ask),
        Endpoint::FileContent | Endpoint::Unknown => Err(Refusal::not_found("no such path and method")),
    }
}

fn respond(content: Content, ask: &Ask, reply: &Reply, watch: Watch, switch: ResetSwitch) -> Response<AnswerBody> {
    let status = StatusCode::from_u16(content.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content.content_type));
    let id = if ask.dialect == Dialect::Anthropic { "request-id" } else { "x-request-id" };
    headers.insert(HeaderName::from_static(id), HeaderValue::from(ask.number));
    let location = match &reply.fault {
        Some(Fault::Redirect(location)) => header(LOCATION.as_str(), location),
        _ => None,
    };
    for (name, value) in reply.headers.iter().filter_map(|(name, value)| header(name, value)).chain(location) {
        headers.insert(name, value);
    }
    let mut response = Response::new(AnswerBody::new(content, reply, watch, switch));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
}

fn too_large() -> Response<AnswerBody> {
    let body = json!({"error": {"message": "the body is too large", "type": "invalid_request_error", "param": null, "code": null}});
    let mut response = Response::new(AnswerBody::unwatched(body.to_string()));
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
}
