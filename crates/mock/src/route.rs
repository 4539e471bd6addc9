//! Which path means what.

use hyper::Method;

/// Whose protocol a path belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `/v1/…`
    OpenAi,
    /// `/openai/v1/…`: OpenAI's protocol with Azure's keys and errors.
    Azure,
    /// `/openai/deployments/…`: the same, with the model and the version of the protocol in the URL.
    AzureDeployment,
    /// `/v1/messages`
    Anthropic,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Chat,
    Messages,
    Embeddings,
    Rerank,
    TeiRerank,
    Models,
    CreateFile,
    File,
    FileContent,
    DeleteFile,
    CreateBatch,
    ListBatches,
    Batch,
    CancelBatch,
    Unknown,
}

/// What a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route<'a> {
    pub(crate) dialect: Dialect,
    pub(crate) endpoint: Endpoint,
    /// The path with names for its parameters, without what is Azure's only.
    pub(crate) pattern: &'static str,
    /// The id or deployment in the path.
    pub(crate) parameter: &'a str,
}

static TABLE: [(Method, &str, Endpoint); 17] = [
    (Method::POST, "/v1/chat/completions", Endpoint::Chat),
    (Method::POST, "/v1/messages", Endpoint::Messages),
    (Method::POST, "/v1/embeddings", Endpoint::Embeddings),
    (Method::POST, "/v1/rerank", Endpoint::Rerank),
    (Method::POST, "/v2/rerank", Endpoint::Rerank),
    (Method::POST, "/rerank", Endpoint::TeiRerank),
    (Method::GET, "/v1/models", Endpoint::Models),
    (Method::POST, "/v1/files", Endpoint::CreateFile),
    (Method::GET, "/v1/files/{id}", Endpoint::File),
    (Method::GET, "/v1/files/{id}/content", Endpoint::FileContent),
    (Method::DELETE, "/v1/files/{id}", Endpoint::DeleteFile),
    (Method::POST, "/v1/batches", Endpoint::CreateBatch),
    (Method::GET, "/v1/batches", Endpoint::ListBatches),
    (Method::GET, "/v1/batches/{id}", Endpoint::Batch),
    (Method::POST, "/v1/batches/{id}/cancel", Endpoint::CancelBatch),
    (Method::POST, "/deployments/{id}/chat/completions", Endpoint::Chat),
    (Method::POST, "/deployments/{id}/embeddings", Endpoint::Embeddings),
];

impl<'a> Route<'a> {
    pub(crate) fn find(method: &Method, path: &'a str) -> Self {
        let (dialect, path) = match path.strip_prefix("/openai") {
            Some(path) if path.starts_with("/deployments/") => (Dialect::AzureDeployment, path),
            Some(path) => (Dialect::Azure, path),
            // Only Azure has deployments.
            None if path.starts_with("/deployments/") => (Dialect::OpenAi, ""),
            None if path.starts_with("/v1/messages") => (Dialect::Anthropic, path),
            None => (Dialect::OpenAi, path),
        };
        let mut rows = TABLE.iter().filter(|(listed, ..)| listed == method);
        let found = rows.find_map(|(_, pattern, endpoint)| Some((*pattern, *endpoint, matched(pattern, path)?)));
        let (pattern, endpoint, parameter) = found.unwrap_or(("", Endpoint::Unknown, ""));
        Self { dialect, endpoint, pattern, parameter }
    }
}

/// The parameter (empty if there is none), if the path is of this pattern.
fn matched<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    let Some((before, after)) = pattern.split_once("{id}") else { return (pattern == path).then_some("") };
    let parameter = path.strip_prefix(before)?.strip_suffix(after)?;
    (!parameter.is_empty() && !parameter.contains('/')).then_some(parameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_apart() {
        let find = |path| {
            let route = Route::find(&Method::POST, path);
            (route.dialect, route.endpoint, route.parameter)
        };
        assert_eq!(find("/v1/chat/completions"), (Dialect::OpenAi, Endpoint::Chat, ""));
        assert_eq!(find("/openai/v1/batches/b1/cancel"), (Dialect::Azure, Endpoint::CancelBatch, "b1"));
        assert_eq!(find("/openai/deployments/d/chat/completions"), (Dialect::AzureDeployment, Endpoint::Chat, "d"));
        assert_eq!(find("/v1/messages"), (Dialect::Anthropic, Endpoint::Messages, ""));
        for unknown in ["/deployments/d/embeddings", "/v1/batches//cancel", "/v1/batches/a/b/cancel", "/v1/models", "/v1/files/x", "/"] {
            assert_eq!(find(unknown).1, Endpoint::Unknown, "{unknown}");
        }
    }
}
