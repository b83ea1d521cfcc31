//! What passes below the stanzas: their forms, the variety on the wire, and connections that never get to a login.

use std::{process::Stdio, time::Duration};

use gatekeeper::{
    stanza::{self, EncodeOptions, InteropJidStyle, Jid, Node},
    stanzas::{OutgoingMessage, Participant, iq},
};
use sandbox::Addresses;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{
    client::{Chat, Pipe, User},
    partner::Partner,
    rig::{ALICE, Rig},
    wait::{DEADLINE, until},
};

/// Flag of a stanza whose body is zlib data.
const COMPRESSED: u8 = 2;

#[tokio::test]
async fn partners_messages_are_taken_in_every_form_over_both_transports() {
    let rig = Rig::start().await;
    let bea = rig.bea().await;
    let mut alice = rig.alice().await;
    let addresses = rig.addresses();
    let mut chat = alice.login(&addresses, &rig.partner).await;
    alice.upload(&mut chat, 1..21).await;
    alice.establish(&mut chat, &bea).await;
    for (at, url) in [&addresses.chat, &addresses.chat_tcp]
        .into_iter()
        .enumerate()
    {
        let mut chat = alice.open(url, &addresses, &rig.partner).await;
        for fan_out in [false, true] {
            for compress in [false, true] {
                let id = format!("3EB0{at}{}{}", u8::from(fan_out), u8::from(compress));
                let mut message = alice.text(&bea, &id, &id);
                if fan_out {
                    message = fanned_out(message, &[&Jid::phone("4915199999999"), &bea]);
                }
                let options = EncodeOptions {
                    compress,
                    ..EncodeOptions::default()
                };
                let bytes = stanza::encode(&message.to_node(), &options).unwrap();
                assert_eq!(bytes[0] & COMPRESSED != 0, compress);
                chat.send_bytes(&bytes).await;
                rig.bea_sees_that(&id, |one| one["text"] == id.as_str())
                    .await;
            }
        }
    }
    // A fan-out that has nothing for whom it is to.
    let mut chat = alice.open(&addresses.chat, &addresses, &rig.partner).await;
    let stray = fanned_out(
        alice.text(&bea, "3EB09", "x"),
        &[&Jid::phone("4915199999999")],
    );
    let ack = chat.deliver(&stray.to_node()).await;
    assert_eq!(ack.u64("error"), Some(479), "{ack:?}");
}

/// The long form of a message: the last of `devices` gets what it says, the others something else.
fn fanned_out(mut message: OutgoingMessage, devices: &[&Jid]) -> OutgoingMessage {
    let encs = std::mem::take(&mut message.encs);
    message.participants = devices
        .iter()
        .map(|jid| {
            let mut encs = encs.clone();
            if !jid.same_user(&message.to) {
                encs[0].ciphertext = b"for another device".to_vec();
            }
            Participant {
                jid: (*jid).clone(),
                encs,
            }
        })
        .collect();
    message
}

/// What a connection saw: compressed stanzas, unpacked digits, and pieces that are not whole frames.
#[derive(Debug, Default)]
struct Variety {
    compressed: usize,
    unpacked: usize,
    cut: usize,
}

/// Asks often, and looks at how the answers come.
async fn variety(chat: &mut Chat, jid: &Jid) -> Variety {
    for number in 0..150 {
        // Its id and time are digits, which the answer repeats.
        let message = Node::new("message")
            .attr("to", jid)
            .attr("id", format!("1234567{number}"));
        let ack = chat.deliver(&message).await;
        assert_eq!(ack.u64("error"), Some(479));
    }
    let mut seen = Variety::default();
    for bytes in &chat.stanzas {
        let node = stanza::decode(bytes).unwrap();
        let packed = EncodeOptions {
            interop: InteropJidStyle::WithServer,
            ..EncodeOptions::default()
        };
        if bytes[0] & COMPRESSED != 0 {
            seen.compressed += 1;
        } else if *bytes != stanza::encode(&node, &packed).unwrap() {
            seen.unpacked += 1;
        }
    }
    seen.cut = chat.pieces.iter().filter(|piece| !is_whole(piece)).count();
    seen
}

/// Whether bytes are frames from their beginning to their end.
fn is_whole(mut bytes: &[u8]) -> bool {
    while let [a, b, c, rest @ ..] = bytes {
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        let Some(next) = rest.get(length..) else {
            return false;
        };
        bytes = next;
    }
    bytes.is_empty()
}

#[tokio::test]
async fn the_bytes_vary_and_say_the_same() {
    let rig = Rig::start().await;
    let (_, mut chat, bea) = rig.talking().await;
    let seen = variety(&mut chat, &bea).await;
    assert!(seen.compressed > 0, "{seen:?}");
    assert!(seen.unpacked > 0, "{seen:?}");
    assert!(seen.cut > 0, "{seen:?}");
}

/// A sandbox as a program of its own.
struct Program {
    addresses: Addresses,
    child: Child,
}

impl Program {
    async fn start(partner: &Partner, more: &[&str]) -> Self {
        Self::start_where(partner, more, &[]).await
    }

    /// The same with more in its environment.
    async fn start_where(partner: &Partner, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sandbox"));
        command
            .args([
                "serve",
                "--json",
                "--control",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
            ])
            .args([
                "--https",
                "127.0.0.1:0",
                "--tcp",
                "127.0.0.1:0",
                "--partner",
            ])
            .arg(format!("integrator=1,base_url={}", partner.base_url))
            .args(more)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = timeout(DEADLINE, lines.next_line()).await.unwrap().unwrap();
        Self {
            addresses: serde_json::from_str(&line.expect("its addresses")).unwrap(),
            child,
        }
    }

    /// Stops it as a service manager does, and sees that it ends well.
    async fn stop(mut self) {
        let id = self.child.id().unwrap().to_string();
        let killed = Command::new("kill").args(["-TERM", &id]).status().await;
        assert!(killed.unwrap().success());
        let ended = timeout(DEADLINE, self.child.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{ended}");
    }
}

#[tokio::test]
async fn a_program_told_to_be_plain_is_plain() {
    let partner = Partner::start().await;
    let program = Program::start(&partner, &["--plain", "--seed", "1"]).await;
    let addresses = program.addresses.clone();
    let alice = User::enlist(&partner, &addresses, ALICE).await;
    let mut chat = alice.login(&addresses, &partner).await;
    let seen = variety(&mut chat, &Jid::phone("4915112345678")).await;
    assert_eq!((seen.compressed, seen.unpacked, seen.cut), (0, 0, 0));
    drop(chat);
    program.stop().await;
}

#[tokio::test]
async fn the_key_set_is_fetched_again_and_again() {
    let partner = Partner::start().await;
    let program = Program::start(&partner, &["--jwks-interval", "1"]).await;
    until("three fetches", async || {
        (partner.fetches() >= 3).then_some(())
    })
    .await;
    // A key that is withdrawn is known no more, without a token that names the next one.
    let url = format!("{}/control/partners", program.addresses.control);
    let known = async || {
        let all: serde_json::Value = reqwest::get(&url).await.unwrap().json().await.unwrap();
        all["partners"][0]["jwks"]["kids"].clone()
    };
    let before = known().await;
    assert!(before.is_array(), "{before}");
    partner.rotate();
    until("the new key", async || {
        (known().await != before).then_some(())
    })
    .await;
    program.stop().await;
}

/// As in a container that has nothing but the program.
#[tokio::test]
async fn a_system_without_root_certificates_will_do() {
    let partner = Partner::start().await;
    let empty = [
        ("SSL_CERT_FILE", "/nonexistent/file"),
        ("SSL_CERT_DIR", "/nonexistent"),
    ];
    let program = Program::start_where(&partner, &[], &empty).await;
    User::enlist(&partner, &program.addresses, ALICE).await;
    let listed = Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(["phones", "--sandbox", &program.addresses.control])
        .envs(empty)
        .output();
    let listed = timeout(DEADLINE, listed).await.unwrap().unwrap();
    assert!(listed.status.success(), "{listed:?}");
    program.stop().await;
}

#[tokio::test]
async fn who_does_not_log_in_has_to_go() {
    let rig = Rig::with(|config| config.handshake = Duration::from_millis(300)).await;
    let addresses = rig.addresses();
    let mut events = rig.events().await;
    for url in [&addresses.chat, &addresses.chat_tcp] {
        for said in [&b""[..], b"WA\x06\x03", b"WA\x06\x03\0\0\x24abc"] {
            let mut pipe = Pipe::open(url).await;
            if !said.is_empty() {
                pipe.write(said.to_vec()).await;
            }
            let end = timeout(DEADLINE, pipe.read()).await.expect("an end");
            assert!(end.is_none());
            let refused = events.find("login_refused").await;
            assert!(
                refused["cause"].as_str().unwrap().contains("in time"),
                "{refused}"
            );
        }
    }
    // Who is in has all the time: longer than somebody who came after her.
    let alice = rig.alice().await;
    let mut chat = alice.login(&addresses, &rig.partner).await;
    let mut pipe = Pipe::open(&addresses.chat).await;
    let end = timeout(DEADLINE, pipe.read()).await.expect("an end");
    assert!(end.is_none());
    assert_eq!(chat.query(iq::ping()).await.get("type").unwrap(), "result");
}

#[tokio::test]
async fn silent_connections_cannot_pile_up() {
    let rig = Rig::with(|config| config.half_open = 3).await;
    let addresses = rig.addresses();
    let alice = rig.alice().await;
    let mut events = rig.events().await;
    // Who is in takes no place.
    let mut chat = alice.login(&addresses, &rig.partner).await;
    let mut silent = Vec::new();
    for url in [&addresses.chat_tcp, &addresses.chat, &addresses.chat_tcp] {
        let mut pipe = Pipe::open(url).await;
        pipe.write(b"WA\x06\x03".to_vec()).await;
        silent.push(pipe);
    }
    until("no place left", async || {
        let mut pipe = Pipe::open(&addresses.chat_tcp).await;
        timeout(Duration::from_millis(200), pipe.read()).await.ok()
    })
    .await;
    let refused = events.find("login_refused").await;
    assert!(
        refused["cause"].as_str().unwrap().contains("too many"),
        "{refused}"
    );
    assert_eq!(chat.query(iq::ping()).await.get("type").unwrap(), "result");
    drop(silent);
    until("a place", async || {
        let payload = alice.payload(rig.partner.token(ALICE)).to_bytes();
        Chat::try_open(&addresses.chat_tcp, &addresses, alice.key(), &payload).await
    })
    .await;
}
