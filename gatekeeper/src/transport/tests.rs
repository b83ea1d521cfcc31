use super::{Endpoint, EndpointError};

fn parse(text: &str) -> Result<Endpoint, EndpointError> {
    text.parse()
}

#[test]
fn endpoints_of_all_kinds() {
    for (text, host, port, tls, websocket) in [
        (
            "wss://chat.example.org/ws/chat",
            "chat.example.org",
            443,
            true,
            Some("/ws/chat"),
        ),
        ("ws://127.0.0.1:8080", "127.0.0.1", 8080, false, Some("/")),
        ("ws://host/a?b=c", "host", 80, false, Some("/a?b=c")),
        ("tcp://127.0.0.1:5222", "127.0.0.1", 5222, false, None),
        (
            "tls://chat.example.org",
            "chat.example.org",
            443,
            true,
            None,
        ),
        ("tcp://[::1]:5222", "::1", 5222, false, None),
    ] {
        let expected = Endpoint {
            host: host.to_owned(),
            port,
            tls,
            websocket: websocket.map(str::to_owned),
        };
        assert_eq!(parse(text), Ok(expected.clone()), "{text}");
        assert_eq!(parse(&expected.to_string()), Ok(expected), "{text}");
    }
}

#[test]
fn other_addresses_are_refused_with_their_cure() {
    for (text, error) in [
        ("", EndpointError::Syntax),
        ("chat.example.org", EndpointError::Syntax),
        ("tcp://", EndpointError::Syntax),
        ("https://chat.example.org", EndpointError::Scheme),
        ("tcp://chat.example.org", EndpointError::Port),
        ("tcp://chat.example.org:1/path", EndpointError::Extra),
        ("wss://user:secret@chat.example.org", EndpointError::Extra),
        ("ws://chat.example.org/#x", EndpointError::Extra),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
}

#[test]
fn ipv6_addresses_keep_their_brackets_where_they_must() {
    assert_eq!(parse("tcp://[::1]:5222").unwrap().authority(), "[::1]:5222");
    assert_eq!(parse("ws://host:8080/").unwrap().authority(), "host:8080");
}
