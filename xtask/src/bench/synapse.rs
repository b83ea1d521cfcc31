//! The bridge before Synapse, and Synapse alone: the same rooms, users and events, in turns, in one run.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tests::error::Context as _;
use tests::{Result, cache};

use super::Bench;
use super::flow::{Message, Start, Watch, now};
use super::nobody::Nobody;
use super::numbers::{Latency, per_second};
use super::report::Rate;
use super::rig::{Kind, Rig};

/// Turns of both. More than one, so that a machine that changes its pace does so to both.
const ROUNDS: usize = 2;
/// Ghosts that send at a time without a bridge: as many rooms as gatehouse works on.
const AT_ONCE: usize = 64;

/// A direction, with the bridge and without.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    /// Synapse alone, in each round.
    pub(super) alone: Vec<Rate>,
    /// With the bridge, in each round.
    pub(super) bridged: Vec<Rate>,
    /// Messages per second over all rounds.
    pub(super) alone_per_second: f64,
    pub(super) bridged_per_second: f64,
    /// The second as a share of the first.
    pub(super) share: f64,
    pub(super) latency: Latency,
}

/// Both directions.
#[derive(Debug, Serialize)]
pub(super) struct BeforeSynapse {
    pub(super) version: &'static str,
    pub(super) rooms: usize,
    pub(super) users: usize,
    pub(super) to_whatsapp: Compared,
    pub(super) to_matrix: Compared,
}

impl Compared {
    fn new(alone: Vec<Rate>, bridged: Vec<Rate>, latency: Latency) -> Self {
        let over_all = |rates: &[Rate]| {
            per_second(
                rates.iter().map(|rate| rate.messages).sum(),
                rates.iter().map(|rate| rate.milliseconds).sum(),
            )
        };
        let (alone_per_second, bridged_per_second) = (over_all(&alone), over_all(&bridged));
        Self {
            alone,
            bridged,
            alone_per_second,
            bridged_per_second,
            share: bridged_per_second / alone_per_second,
            latency,
        }
    }
}

pub(super) async fn measure(arguments: &Bench) -> Result<BeforeSynapse> {
    let rig = Rig::start(Kind::Synapse, arguments.users, arguments.rooms).await?;
    let measured = rounds(&rig, arguments).await;
    measured.map_err(|error| rig.explain(error))
}

async fn rounds(rig: &Rig, arguments: &Bench) -> Result<BeforeSynapse> {
    let count = arguments.synapse_messages;
    let (mut out_alone, mut out_bridged) = (Vec::new(), Vec::new());
    let (mut in_alone, mut in_bridged) = (Vec::new(), Vec::new());
    let devices = devices(rig).await?;
    // The first latencies before anything is piled up.
    let out_latency = rig.latency_to_whatsapp(arguments.synapse_rate).await?;
    let in_latency = rig.latency_to_matrix(arguments.synapse_rate).await?;
    for round in 1..=ROUNDS {
        cache::progress(&format!("round {round} of {ROUNDS}: Synapse alone"));
        rig.gatehouse.stop().await?;
        let nobody = Nobody::listen(rig.gatehouse.ports().appservice).await?;
        out_alone.push(alone_to_appservice(rig, &nobody, count).await?);
        in_alone.push(alone_to_users(rig, &devices, count).await?);
        drop(nobody);
        cache::progress(&format!("round {round} of {ROUNDS}: with the bridge"));
        rig.gatehouse.start().await?;
        rig.warm().await?;
        out_bridged.push(rig.to_whatsapp(count, Start::Sent).await?);
        in_bridged.push(rig.to_matrix(count).await?);
    }
    Ok(BeforeSynapse {
        version: tests::synapse::VERSION,
        rooms: arguments.rooms,
        users: arguments.users,
        to_whatsapp: Compared::new(out_alone, out_bridged, out_latency),
        to_matrix: Compared::new(in_alone, in_bridged, in_latency),
    })
}

/// Users send, Synapse hands over to an application service that does nothing.
async fn alone_to_appservice(rig: &Rig, nobody: &Nobody, count: usize) -> Result<Rate> {
    let messages = rig.encrypted(count).await?;
    let processor = rig.processor()?;
    let started = now();
    rig.send_all(&messages).await?;
    let last = nobody.wait_for(count).await?;
    rig.rate(count, last.saturating_sub(started), processor, (0.0, 0.0))
        .await
}

/// Ghosts send, users read.
async fn alone_to_users(rig: &Rig, devices: &[String], count: usize) -> Result<Rate> {
    let messages = rig.encrypted(count).await?;
    let token = rig.gatehouse.token("as_token")?;
    let watch = Watch::start(rig, Duration::from_millis(100));
    let processor = rig.processor()?;
    let started = now();
    rig.each_chat(&messages, AT_ONCE, |message| {
        send_as_ghost(rig, devices, &token, message)
    })
    .await?;
    let arrived = watch.wait(rig, &messages).await?;
    let last = arrived.iter().map(|(_, at)| *at).max().unwrap_or(0);
    rig.rate(count, last.saturating_sub(started), processor, (0.0, 0.0))
        .await
}

async fn send_as_ghost(
    rig: &Rig,
    devices: &[String],
    token: &str,
    message: &Message,
) -> Result<()> {
    let chat = rig.chat(message)?;
    let device = devices.get(message.chat).context("no device")?;
    let txn = tests::synapse::secret()?;
    let path = format!("rooms/{}/send/m.room.encrypted/{txn}", chat.room);
    rig.http
        .put(format!("{}/_matrix/client/v3/{path}", rig.server.url()))
        .query(&[("user_id", &chat.ghost), ("device_id", device)])
        .query(&[("ts", now())])
        .bearer_auth(token)
        .header("Content-Type", "application/json")
        .body(message.content()?.get().to_owned())
        .send()
        .await?
        .error_for_status()?
        .bytes()
        .await?;
    Ok(())
}

/// The devices of the chats' ghosts.
async fn devices(rig: &Rig) -> Result<Vec<String>> {
    let token = rig.gatehouse.token("as_token")?;
    let mut devices = Vec::new();
    for chat in &rig.chats {
        let answer = rig
            .http
            .get(format!("{}/_matrix/client/v3/devices", rig.server.url()))
            .query(&[("user_id", &chat.ghost)])
            .bearer_auth(&token)
            .send()
            .await?
            .error_for_status()?
            .json::<Value>()
            .await?;
        let device = answer["devices"][0]["device_id"].as_str();
        devices.push(device.context("a ghost without a device")?.to_owned());
    }
    Ok(devices)
}
