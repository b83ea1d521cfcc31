//! The homeserver that is measured with is one that gatehouse can work with: a message crosses each way, encrypted.

use std::time::Duration;

use tests::encrypting::{Encrypting, RoomEvent};
use tests::gatehouse::{self, Gatehouse, Ports};
use tests::sandbox::Sandbox;
use tests::scratch::Scratch;
use tests::standin::{self, Appservice};
use tests::synapse::SERVER_NAME;
use tests::{Error, Result, port, stack, wait};

const NUMBER: &str = "+4915112345678";
const GHOST: &str = "@whatsapp_4915112345678:localhost";

struct Rig {
    gatehouse: Gatehouse,
    sandbox: Sandbox,
    url: String,
    server: tokio::task::JoinHandle<Result<()>>,
    // Last, so that the folder goes after those who write in it.
    _scratch: Scratch,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn start() -> Result<Rig> {
    let scratch = Scratch::new("standin")?;
    let folder = |name: &str| scratch.path().join(name);
    let (ports, port) = (Ports::free()?, port::free()?);
    let url = format!("http://127.0.0.1:{port}");
    let partner = format!("base_url={}", ports.public_url());
    let sandbox = Sandbox::start(&folder("sandbox"), &partner).await?;
    let options = gatehouse::Options::default();
    let gatehouse = Gatehouse::set_up(
        &folder("gatehouse"),
        ports,
        &url,
        sandbox.addresses(),
        &options,
    )?;
    let appservice = Appservice::of(&gatehouse)?;
    let server = tokio::spawn(standin::serve(port, SERVER_NAME, appservice));
    gatehouse.start().await?;
    Ok(Rig {
        gatehouse,
        sandbox,
        url,
        server,
        _scratch: scratch,
    })
}

/// The next encrypted event of somebody else.
async fn next_event(user: &Encrypting) -> Result<RoomEvent> {
    wait::until("an encrypted event", wait::PATIENCE, || async {
        let events = user.sync(Duration::from_secs(1)).await?;
        let own = user.user_id();
        Ok(events
            .into_iter()
            .find(|event| event.kind == "m.room.encrypted" && event.sender != own))
    })
    .await
}

#[tokio::test]
async fn a_message_crosses_each_way() -> Result<()> {
    let rig = start().await?;
    let crossed = cross(&rig).await;
    crossed.map_err(|error| Error::new(format!("{error}\n{}", rig.gatehouse.tail(60))))
}

async fn cross(rig: &Rig) -> Result<()> {
    let user_id = standin::register(&rig.url, "anna", stack::PASSWORD).await?;
    stack::enlist(&rig.url, "anna", stack::PASSWORD, "@whatsappbot:localhost").await?;
    let user = Encrypting::login(&rig.url, "anna", stack::PASSWORD).await?;
    let phone = rig.sandbox.phone(NUMBER, "Bea").await?;

    let room = user.chat_with(GHOST).await?;
    wait::until("the ghost to join", wait::PATIENCE, || async {
        let members = user.members(&room).await?;
        Ok(members.iter().any(|each| each == GHOST).then_some(()))
    })
    .await?;
    user.share_key(&room, &[GHOST]).await?;
    let content = user.encrypt(&room, "hello").await?;
    user.send(&room, "1", &content).await?;
    user.send(&room, "1", &content).await?; // the same transaction: one event
    let shown = phone.wait_for_text(&user_id, "hello").await?;
    assert_eq!(shown.encrypted.as_deref(), Some("pkmsg"));

    phone.send(&user_id, "and back").await?;
    let event = next_event(&user).await?;
    assert_eq!(
        (event.room.as_str(), event.sender.as_str()),
        (room.as_str(), GHOST)
    );
    assert!(!event.json.get().contains("and back"));
    assert_eq!(user.decrypt(&event).await?, "and back");

    let messages = phone.messages(&user_id).await?;
    assert_eq!(messages.len(), 2, "{messages:?}");
    Ok(())
}
