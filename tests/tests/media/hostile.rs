//! Requests for hosted files that nobody honest makes, and files that are not what their messages say.

use std::os::unix::fs::PermissionsExt as _;

use reqwest::StatusCode;
use tests::http;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// Asks the bridge's public side for a path as it is written: an HTTP client would tidy it up. Gives the status.
async fn raw(stack: &Stack, path: &str) -> Result<u16> {
    let port = stack.gatehouse.ports().public;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    answer
        .split_whitespace()
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| Error::new(format!("no HTTP answer to {path:?}: {answer:?}")))
}

async fn requests(stack: &Stack, chat: &Chat) -> Result<()> {
    let file = chat.client.upload_generated(20_000, "hosted").await?;
    let content = attached(
        "m.image",
        "x.jpg",
        &file,
        json!({ "mimetype": "image/jpeg" }),
    );
    let event = chat.client.send_message(&chat.room, content).await?;
    chat.file_shown("the hosted file", &json!({ "sha256": file.sha256 }))
        .await?;
    let folder = stack.gatehouse.folder().join("media");
    let names: Vec<String> = std::fs::read_dir(&folder)?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    let [reference] = names.as_slice() else {
        return Err(Error::new(format!("one file is hosted, not {names:?}")));
    };
    // It is for its owner alone.
    let path = folder.join(reference);
    assert_eq!(path.metadata()?.permissions().mode() & 0o777, 0o600);
    let url = format!("{}/{reference}", stack.gatehouse.ports().public_url());
    let ask = async |authorization: Option<&str>| -> Result<StatusCode> {
        let mut request = http::client()?.get(&url);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        Ok(request.send().await?.status())
    };
    assert_eq!(ask(None).await?, 200, "the reference is enough");
    for wrong in ["Bearer nonsense", "Bearer a.b.c", "Basic abc", "Bearer "] {
        assert_eq!(ask(Some(wrong)).await?, 401, "{wrong}");
    }
    let other: String = reference
        .chars()
        .map(|digit| if digit == '0' { '1' } else { '0' })
        .collect();
    for path in [
        "/../gatehouse.key",
        "/..%2fgatehouse.key",
        "/%2e%2e/gatehouse.key",
        "/%2e%2e%2fgatehouse.key",
        "/..%5cgatehouse.key",
        "/media/../gatehouse.key",
        "/.",
        "/..",
        "/%00",
        "/gatehouse.key",
        "//etc/passwd",
        &format!("/{reference}.part"),
        &format!("/{reference}/../{reference}"),
        &format!("/{}", reference.to_uppercase()),
        &format!("/{other}"),
    ] {
        // A reference that has letters has another form in capitals; one without has not.
        if path.trim_start_matches('/') == *reference {
            continue;
        }
        assert_eq!(raw(stack, path).await?, 404, "{path}");
    }
    // Deleted: from then on it is gone, for everybody.
    chat.client.redact(&chat.room, &event).await?;
    wait::until("the deleted file to be gone", PATIENCE, || async {
        let gone = ask(None).await? == StatusCode::GONE && !path.exists();
        Ok(gone.then_some(()))
    })
    .await?;
    Ok(())
}

async fn lies(stack: &Stack, chat: &Chat) -> Result<()> {
    let bot = stack.bot();
    let file = chat.client.upload_generated(50_000, "lying").await?;
    // Smaller than it is: what counts is what comes.
    let mut small = attached(
        "m.file",
        "small.bin",
        &file,
        json!({ "mimetype": "application/x-thing" }),
    );
    small["info"]["size"] = json!(10);
    chat.client.send_message(&chat.room, small).await?;
    let shown = chat
        .file_shown("the file", &json!({ "sha256": file.sha256 }))
        .await?;
    assert_eq!(shown["size"], 50_000);
    // Nowhere, or at a server that nobody reaches.
    let mut refused = Vec::new();
    for url in [
        "mxc://localhost/nothing",
        "https://example.org/x.jpg",
        "mxc://",
    ] {
        let mut content = attached(
            "m.file",
            "x.bin",
            &file,
            json!({ "mimetype": "application/x-thing" }),
        );
        content["file"]["url"] = json!(url);
        refused.push((url, chat.client.send_message(&chat.room, content).await?));
    }
    let mut keyless = attached(
        "m.file",
        "x.bin",
        &file,
        json!({ "mimetype": "application/x-thing" }),
    );
    keyless["file"]["key"] = json!({ "k": "short" });
    refused.push((
        "no key",
        chat.client.send_message(&chat.room, keyless).await?,
    ));
    for (what, event) in refused {
        chat.client
            .wait_for(&chat.room, &format!("a refusal of {what}"), |each| {
                each.sender == bot && each.answers() == Some(&*event) && each.body().is_some()
            })
            .await?;
    }
    chat.client.send(&chat.room, "after all that").await?;
    chat.phone.wait_for_text(&chat.me, "after all that").await?;
    chat.phone.send(&chat.me, "and back").await?;
    chat.client
        .wait_for_text(&chat.room, &chat.ghost, "and back")
        .await?;
    let log = stack.gatehouse.log()?;
    assert!(!log.contains("panicked"), "{}", stack.gatehouse.tail(40));
    Ok(())
}

#[tokio::test]
async fn nobody_gets_what_is_not_hosted_and_lies_are_found_out() -> Result<()> {
    // Its own, so that there is one file.
    let options = Options {
        gatehouse: with_media(&[(
            "GATEHOUSE_GATEKEEPER__PROFILE__MESSAGE__ACCEPTED",
            "[text, image, document, revoke]",
        )]),
        ..Options::default()
    };
    let stack = Stack::start("media-hostile", options).await?;
    let result = async {
        let chat = Chat::open(&stack, "rita", "+4915140000020").await?;
        requests(&stack, &chat).await?;
        lies(&stack, &chat).await
    };
    result.await.map_err(|error: Error| stack.explain(error))
}
