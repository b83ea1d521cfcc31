//! What people do in a run: drawn from a seed, the same for the same seed.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// Who acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The Matrix user.
    Matrix,
    /// The phone.
    Phone,
}

impl Side {
    /// The other one.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Matrix => Self::Phone,
            Self::Phone => Self::Matrix,
        }
    }
}

/// A message: the `n`th of its side in its chat, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MessageId {
    /// Who wrote it.
    pub side: Side,
    /// Its number.
    pub n: usize,
}

/// One thing that somebody does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Writes a text.
    Text(MessageId),
    /// Sends a file with this many bytes.
    File(MessageId, u64),
    /// Changes an own text for the `version`th time.
    Edit(MessageId, usize),
    /// Deletes an own message for everyone.
    Delete(MessageId),
    /// Puts an emoji on a message of the other side, in place of an earlier one.
    React(MessageId, &'static str),
    /// Takes the emoji back.
    TakeBack(MessageId),
    /// Reads up to a message of the other side, and lets it know.
    Read(MessageId),
}

impl Act {
    /// The message that it makes or is about.
    #[must_use]
    pub fn message(&self) -> MessageId {
        match *self {
            Self::Text(id)
            | Self::File(id, _)
            | Self::Edit(id, _)
            | Self::Delete(id)
            | Self::React(id, _)
            | Self::TakeBack(id)
            | Self::Read(id) => id,
        }
    }

    /// Who does it.
    #[must_use]
    pub fn actor(&self) -> Side {
        match self {
            Self::React(id, _) | Self::TakeBack(id) | Self::Read(id) => id.side.other(),
            _ => self.message().side,
        }
    }
}

/// How much of what happens.
#[derive(Debug, Clone, Copy)]
pub struct Mix {
    /// Messages in all chats together, both ways.
    pub messages: usize,
    /// Matrix users; each has a chat with every contact.
    pub users: usize,
    /// Contacts.
    pub contacts: usize,
    /// Of 100 messages so many are files.
    pub files: u32,
    /// Of 100 texts so many are changed.
    pub edits: u32,
    /// Of 100 messages so many are deleted.
    pub deletions: u32,
    /// Of 100 messages so many get a reaction.
    pub reactions: u32,
    /// Of 100 messages so many get a read receipt of their own; in the end all are read.
    pub reads: u32,
}

impl Default for Mix {
    fn default() -> Self {
        Self {
            messages: 1000,
            users: 2,
            contacts: 3,
            files: 3,
            edits: 8,
            deletions: 4,
            reactions: 10,
            reads: 10,
        }
    }
}

/// What happens in one chat, in order. Each side does its part of it in this order; the sides do not wait for one another,
/// except for a message that an act is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Which user.
    pub user: usize,
    /// Which contact.
    pub contact: usize,
    /// The acts.
    pub acts: Vec<Act>,
}

const EMOJI: [&str; 6] = ["👍", "❤️", "😂", "😮", "🙏", "🏳️‍🌈"];

/// Draws the scripts of all chats.
#[must_use]
pub fn plan(seed: u64, mix: &Mix) -> Vec<Script> {
    let mut dice = SmallRng::seed_from_u64(seed);
    let chats = (mix.users * mix.contacts).max(1);
    let mut scripts = Vec::with_capacity(chats);
    for chat in 0..chats {
        let share = mix.messages / chats + usize::from(chat < mix.messages % chats);
        scripts.push(Script {
            user: chat / mix.contacts.max(1),
            contact: chat % mix.contacts.max(1),
            acts: script(&mut dice, mix, share),
        });
    }
    scripts
}

/// A message has one fate: it is left alone, changed, deleted, reacted to or read. So whatever the sides do at the same time, how it
/// ends is certain.
fn script(dice: &mut SmallRng, mix: &Mix, messages: usize) -> Vec<Act> {
    let mut acts = Vec::new();
    let mut later: Vec<Vec<Act>> = Vec::new();
    let mut counts = [0, 0];
    for _ in 0..messages {
        let side = if dice.random() {
            Side::Matrix
        } else {
            Side::Phone
        };
        let count = &mut counts[usize::from(side == Side::Phone)];
        let id = MessageId { side, n: *count };
        *count += 1;
        let is_file = percent(dice, mix.files);
        acts.push(if is_file {
            Act::File(id, dice.random_range(1..200_000))
        } else {
            Act::Text(id)
        });
        let fate = fate(dice, mix, id, is_file);
        if !fate.is_empty() {
            later.push(fate);
        }
        // Some time later, and in any order among one another.
        while !later.is_empty() && percent(dice, 30) {
            let index = dice.random_range(0..later.len());
            let fate = &mut later[index];
            acts.push(fate.remove(0));
            if fate.is_empty() {
                later.remove(index);
            }
        }
    }
    acts.extend(later.into_iter().flatten());
    acts
}

fn fate(dice: &mut SmallRng, mix: &Mix, id: MessageId, is_file: bool) -> Vec<Act> {
    if !is_file && percent(dice, mix.edits) {
        let versions = dice.random_range(1..=2);
        return (1..=versions)
            .map(|version| Act::Edit(id, version))
            .collect();
    }
    if percent(dice, mix.deletions) {
        return vec![Act::Delete(id)];
    }
    if percent(dice, mix.reactions) {
        let mut acts = Vec::new();
        let mut last = "";
        for _ in 0..dice.random_range(1..=2) {
            // The same emoji twice would be no change.
            let emoji = EMOJI.choose(dice).copied().unwrap_or(EMOJI[0]);
            if emoji != last {
                acts.push(Act::React(id, emoji));
            }
            last = emoji;
        }
        if percent(dice, 30) {
            acts.push(Act::TakeBack(id));
        }
        return acts;
    }
    if percent(dice, mix.reads) {
        return vec![Act::Read(id)];
    }
    Vec::new()
}

fn percent(dice: &mut SmallRng, of_100: u32) -> bool {
    dice.random_range(0..100) < of_100
}

#[cfg(test)]
mod unit {
    use std::collections::HashSet;

    use super::{Act, Mix, plan};

    #[test]
    fn the_same_seed_gives_the_same_plan() {
        let mix = Mix::default();
        assert_eq!(plan(7, &mix), plan(7, &mix));
        assert_ne!(plan(7, &mix), plan(8, &mix));
    }

    #[test]
    fn every_act_is_about_a_message_that_was_written_before_it() {
        let mix = Mix::default();
        let scripts = plan(3, &mix);
        let mut total = 0;
        for script in &scripts {
            let mut written = HashSet::new();
            for act in &script.acts {
                match act {
                    Act::Text(id) | Act::File(id, _) => {
                        assert!(written.insert(*id));
                        total += 1;
                    }
                    _ => assert!(written.contains(&act.message())),
                }
            }
        }
        assert_eq!(total, mix.messages);
    }
}
