use std::io::Write as _;

use super::*;

const REFERENCE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

async fn bridge() -> (Bridge, Gatekeeper) {
    let gatekeeper = Gatekeeper::start(&["1aXf8"]).await;
    let bridge = Bridge::start(gatekeeper.url.clone()).await;
    (bridge, gatekeeper)
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

impl Bridge {
    fn holds(&self, reference: &str, content: &[u8]) {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(content).expect("written");
        let mut held = self.files.held.lock().expect("unpoisoned");
        held.push((reference.to_owned(), file));
    }

    fn ends(&self, reference: &str) {
        let mut gone = self.files.gone.lock().expect("unpoisoned");
        gone.push(reference.to_owned());
    }

    fn asks(&self, path: &str) -> reqwest::RequestBuilder {
        self.client.get(format!("{}/whatsapp/{path}", self.address))
    }

    async fn status(&self, path: &str, authorization: Option<String>) -> u16 {
        let mut request = self.asks(path);
        if let Some(value) = authorization {
            request = request.header(header::AUTHORIZATION, value);
        }
        request.send().await.expect("an answer").status().as_u16()
    }
}

#[tokio::test]
async fn the_proxy_gets_the_file_whole_or_in_part() {
    let (bridge, _gatekeeper) = bridge().await;
    let file = content(300_000);
    bridge.holds(REFERENCE, &file);
    for path in [REFERENCE.to_owned(), format!("{REFERENCE}/")] {
        let answer = bridge.asks(&path).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let fields = answer.headers().clone();
        assert_eq!(fields["content-length"], "300000");
        assert_eq!(fields["accept-ranges"], "bytes");
        assert_eq!(fields["content-type"], "application/octet-stream");
        assert_eq!(answer.bytes().await.expect("a body"), file);
    }
    let url = format!("{}/whatsapp/{REFERENCE}/", bridge.address);
    let head = bridge.client.head(&url).send().await.expect("an answer");
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-length"], "300000");
    assert!(head.bytes().await.expect("no body").is_empty());

    let part = |range: &'static str| bridge.asks(REFERENCE).header(header::RANGE, range).send();
    let answer = part("bytes=100000-200000").await.expect("an answer");
    assert_eq!(answer.status(), 206);
    assert_eq!(
        answer.headers()["content-range"],
        "bytes 100000-200000/300000"
    );
    assert_eq!(answer.headers()["content-length"], "100001");
    assert_eq!(
        answer.bytes().await.expect("a body"),
        file[100_000..=200_000]
    );
    let end = part("bytes=-5").await.expect("an answer");
    assert_eq!(end.bytes().await.expect("a body"), file[299_995..]);
    let rest = part("bytes=299999-").await.expect("an answer");
    assert_eq!(rest.bytes().await.expect("a body"), file[299_999..]);
    let outside = part("bytes=300000-").await.expect("an answer");
    assert_eq!(outside.status(), 416);
    assert_eq!(outside.headers()["content-range"], "bytes */300000");
    let several = part("bytes=0-1,5-6").await.expect("an answer");
    assert_eq!(several.status(), 200);
    let other = bridge
        .asks(REFERENCE)
        .header(header::RANGE, "bytes=0-1")
        .header(header::IF_RANGE, "\"another\"")
        .send()
        .await
        .expect("an answer");
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn a_token_that_is_shown_must_be_good() {
    let (bridge, gatekeeper) = bridge().await;
    bridge.holds(REFERENCE, b"cipher");
    assert_eq!(bridge.status(REFERENCE, None).await, 200, "none is needed");
    assert_eq!(gatekeeper.asked.load(Ordering::SeqCst), 0);
    assert_eq!(
        bridge
            .status(REFERENCE, bearer_of("1aXf8", &claims()))
            .await,
        200
    );
    let expired = Claims::new("WHATSAPP", "https://foobar.com", now() - 7200, 3600);
    let elsewhere = Claims::new("WHATSAPP", "https://elsewhere.com", now(), 3600);
    let other = Claims::new("SOMEBODY", "https://foobar.com", now(), 3600);
    for (authorization, why) in [
        (bearer_of("1aXf8", &expired), "expired"),
        (bearer_of("1aXf8", &elsewhere), "audience"),
        (bearer_of("1aXf8", &other), "issuer"),
        (bearer_of("unknown", &claims()), "key"),
        (Some("Bearer nonsense".to_owned()), "nonsense"),
        (Some("Basic abc".to_owned()), "another scheme"),
    ] {
        assert_eq!(bridge.status(REFERENCE, authorization).await, 401, "{why}");
    }
    let mut config = Config::default();
    config.gatekeeper.profile.media.check_proxy_token = false;
    let trusting = Bridge::start_with(gatekeeper.url.clone(), config).await;
    trusting.holds(REFERENCE, b"cipher");
    let expired = bearer_of("1aXf8", &expired);
    assert_eq!(
        trusting.status(REFERENCE, expired).await,
        200,
        "not asked for"
    );
}

#[tokio::test]
async fn nothing_but_hosted_files_is_given_out() {
    let (bridge, _gatekeeper) = bridge().await;
    bridge.holds(REFERENCE, b"cipher");
    let unknown = REFERENCE.replace("00", "ab");
    let upper = REFERENCE.to_uppercase();
    let longer = format!("{REFERENCE}0");
    let part = format!("{REFERENCE}.part");
    for path in [
        unknown.as_str(),
        &upper,
        &longer,
        &part,
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e%2f",
        "gatehouse.key",
        "..%5c",
        "%00",
        ".",
        "",
    ] {
        // Written as it is: an HTTP client would tidy the path up.
        let answer = raw(&bridge.address, &format!("GET /whatsapp/{path} HTTP/1.1")).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    let traversal = format!("GET /whatsapp/../whatsapp/{REFERENCE} HTTP/1.1");
    let answer = raw(&bridge.address, &traversal).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let post = bridge
        .client
        .post(format!("{}/whatsapp/{REFERENCE}", bridge.address));
    assert_eq!(post.send().await.expect("an answer").status(), 405);
    bridge.ends(REFERENCE);
    assert_eq!(bridge.status(REFERENCE, None).await, 410);
}

async fn raw(address: &str, line: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let host = address.trim_start_matches("http://");
    let mut stream = tokio::net::TcpStream::connect(host)
        .await
        .expect("a connection");
    let request = format!("{line}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("read");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn slow_readers_are_few_and_hold_little() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let gatekeeper = Gatekeeper::start(&["1aXf8"]).await;
    let mut config = Config::default();
    config.media.downloads = 2;
    let bridge = Bridge::start_with(gatekeeper.url.clone(), config).await;
    // Larger than what all buffers on the way take.
    bridge.holds(REFERENCE, &content(32 << 20));
    let host = bridge.address.trim_start_matches("http://");
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream = tokio::net::TcpStream::connect(host)
            .await
            .expect("a connection");
        let request = format!("GET /whatsapp/{REFERENCE} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("written");
        // The beginning has come: it has its turn.
        let mut first = [0; 64];
        stream.read_exact(&mut first).await.expect("a beginning");
        slow.push(stream);
    }
    // HEAD needs no turn.
    let url = format!("{}/whatsapp/{REFERENCE}", bridge.address);
    let head = bridge.client.head(&url).send().await.expect("an answer");
    assert_eq!(head.status(), 200);
    let third = bridge.asks(REFERENCE).send().await.expect("an answer");
    assert_eq!(third.status(), 503);
    assert!(third.headers().contains_key("retry-after"));
    drop(slow);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let answer = bridge.asks(REFERENCE).send().await.expect("an answer");
        if answer.status() == 200 {
            assert_eq!(answer.bytes().await.expect("a body").len(), 32 << 20);
            return;
        }
        assert!(std::time::Instant::now() < deadline, "the turns come back");
    }
}
