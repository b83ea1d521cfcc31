//! A client of the control API.

use std::path::Path;

use futures_util::{Stream, StreamExt, stream};
use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;
use serde_json::Value;
use tokio::{fs::File, io::AsyncWriteExt};
use tokio_util::io::ReaderStream;

use crate::tls;

/// Bytes of a file that are read at a time.
const CHUNK: usize = 64 * 1024;

/// Talks to one sandbox.
#[derive(Clone, Debug)]
pub(super) struct Client {
    base: String,
    http: reqwest::Client,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    error: String,
    #[serde(default)]
    cure: String,
}

/// One event of the stream.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: Value,
}

impl Client {
    pub(super) fn new(base: &str) -> Result<Self, String> {
        let http = tls::client(|builder| builder)
            .map_err(|error| format!("the HTTP client cannot be made: {error}"))?;
        Ok(Self {
            base: base.trim_end_matches('/').to_owned(),
            http,
        })
    }

    pub(super) async fn get(&self, path: &str) -> Result<Value, String> {
        json(self.request(Method::GET, path, None).await?).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        json(self.request(Method::POST, path, Some(body)).await?).await
    }

    /// Sends a file as the body of a request, as it is read.
    pub(super) async fn upload(&self, path: &str, file: &Path) -> Result<Value, String> {
        let open = File::open(file).await;
        let open = open.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        let body = reqwest::Body::wrap_stream(ReaderStream::with_capacity(open, CHUNK));
        let request = self.http.put(format!("{}{path}", self.base)).body(body);
        json(self.send(request).await?).await
    }

    /// Writes the body of an answer to a file as it comes.
    pub(super) async fn save(&self, path: &str, file: &Path) -> Result<(), String> {
        let mut answer = self.request(Method::GET, path, None).await?;
        let failed = |error: std::io::Error| format!("cannot write {}: {error}", file.display());
        let mut output = File::create(file).await.map_err(failed)?;
        while let Some(chunk) = answer
            .chunk()
            .await
            .map_err(|error| format!("the file ended too early: {error}"))?
        {
            output.write_all(&chunk).await.map_err(failed)?;
        }
        output.flush().await.map_err(failed)
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Response, String> {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request.json(body);
        }
        self.send(request).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, String> {
        let answer = request.send().await.map_err(|error| {
            format!(
                "no sandbox answers at {} ({error}); start one with `sandbox serve`, or name \
                 another with --sandbox URL",
                self.base
            )
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.unwrap_or_default();
        Err(match serde_json::from_str::<Refusal>(&text) {
            Ok(refusal) if refusal.cure.is_empty() => refusal.error,
            Ok(refusal) => format!("{}: {}", refusal.error, refusal.cure),
            Err(_) => format!("{} answered {status}; is it the control API?", self.base),
        })
    }

    /// The events from now on.
    pub(super) async fn events(
        &self,
    ) -> Result<impl Stream<Item = Result<Event, String>> + use<>, String> {
        let answer = self.request(Method::GET, "/control/events", None).await?;
        let chunks = answer.bytes_stream().boxed();
        Ok(stream::unfold(
            (chunks, Vec::new()),
            |(mut chunks, mut text)| async move {
                loop {
                    while let Some(block) = take_block(&mut text) {
                        if let Some(event) = parse(&block) {
                            return Some((Ok(event), (chunks, text)));
                        }
                    }
                    match chunks.next().await? {
                        Ok(chunk) => text.extend_from_slice(&chunk),
                        Err(error) => {
                            let gone = format!("the sandbox has gone: {error}");
                            return Some((Err(gone), (chunks, Vec::new())));
                        }
                    }
                }
            },
        ))
    }
}

/// Takes the first block of an event stream, if all of it is there.
fn take_block(text: &mut Vec<u8>) -> Option<String> {
    let end = text.windows(2).position(|two| two == b"\n\n")?;
    let rest = text.split_off(end + 2);
    let block = std::mem::replace(text, rest);
    Some(String::from_utf8_lossy(&block).into_owned())
}

/// One block of an event stream; nothing for a comment.
fn parse(block: &str) -> Option<Event> {
    let field = |name: &str| {
        block
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .map(|value| value.trim_start())
    };
    let data = serde_json::from_str(field("data:")?).ok()?;
    Some(Event {
        name: field("event:").unwrap_or("message").to_owned(),
        data,
    })
}

async fn json(answer: Response) -> Result<Value, String> {
    answer
        .json()
        .await
        .map_err(|error| format!("the sandbox's answer is not JSON: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_and_comments_are_not() {
        let mut text = b": keep alive\n\nevent: receipt\ndata: {\"a\":1}\n\nevent: mess".to_vec();
        assert!(parse(&take_block(&mut text).unwrap()).is_none());
        let event = parse(&take_block(&mut text).unwrap()).unwrap();
        assert_eq!(event.name, "receipt");
        assert_eq!(event.data["a"], 1);
        assert!(take_block(&mut text).is_none());
        assert_eq!(text, b"event: mess");
    }
}
