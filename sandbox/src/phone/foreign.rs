//! Messages that partners' users need not understand, as protobufs of our own: only as much of each as
//! makes it one of its kind.

use prost::Message;

/// A message that [`gatekeeper::message`] does not write.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Foreign {
    /// A question and its possible answers.
    Poll {
        /// The question.
        question: String,
        /// The answers.
        answers: Vec<String>,
    },
    /// A place that moves.
    LiveLocation {
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
    },
    /// An invitation to a group, by the group's name.
    GroupInvitation(String),
    /// A call.
    Call,
    /// A kind newer than anybody's schema.
    Unknown,
    /// The bytes of a protobuf as they are, whatever they say.
    Raw(Vec<u8>),
}

#[derive(Clone, PartialEq, Message)]
struct Wire {
    #[prost(message, optional, tag = "10")]
    call: Option<Call>,
    #[prost(message, optional, tag = "18")]
    live_location: Option<LiveLocation>,
    #[prost(message, optional, tag = "28")]
    group_invitation: Option<GroupInvitation>,
    #[prost(message, optional, tag = "49")]
    poll: Option<Poll>,
    #[prost(string, optional, tag = "2047")]
    unknown: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Call {
    #[prost(bytes = "vec", optional, tag = "1")]
    key: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
struct LiveLocation {
    #[prost(double, optional, tag = "1")]
    latitude: Option<f64>,
    #[prost(double, optional, tag = "2")]
    longitude: Option<f64>,
    #[prost(int64, optional, tag = "7")]
    sequence: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct GroupInvitation {
    #[prost(string, optional, tag = "1")]
    group: Option<String>,
    #[prost(string, optional, tag = "2")]
    code: Option<String>,
    #[prost(int64, optional, tag = "3")]
    expiration: Option<i64>,
    #[prost(string, optional, tag = "4")]
    name: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Poll {
    #[prost(string, optional, tag = "2")]
    name: Option<String>,
    #[prost(message, repeated, tag = "3")]
    answers: Vec<Answer>,
    #[prost(uint32, optional, tag = "4")]
    selectable: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct Answer {
    #[prost(string, optional, tag = "1")]
    name: Option<String>,
}

impl Foreign {
    /// The kind as the phone's log names it.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Poll { .. } => "poll",
            Self::LiveLocation { .. } => "live_location",
            Self::GroupInvitation(_) => "group_invitation",
            Self::Call => "call",
            Self::Unknown => "unknown",
            Self::Raw(_) => "raw",
        }
    }

    /// The stanza's `type`.
    pub(crate) fn stanza_type(&self) -> &'static str {
        match self {
            Self::Poll { .. } => "poll",
            Self::LiveLocation { .. } => "media",
            _ => "text",
        }
    }

    /// The protobuf.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut wire = Wire::default();
        match self {
            Self::Poll { question, answers } => {
                wire.poll = Some(Poll {
                    name: Some(question.clone()),
                    answers: answers
                        .iter()
                        .map(|answer| Answer {
                            name: Some(answer.clone()),
                        })
                        .collect(),
                    selectable: Some(1),
                });
            }
            Self::LiveLocation {
                latitude,
                longitude,
            } => {
                wire.live_location = Some(LiveLocation {
                    latitude: Some(*latitude),
                    longitude: Some(*longitude),
                    sequence: Some(1),
                });
            }
            Self::GroupInvitation(name) => {
                wire.group_invitation = Some(GroupInvitation {
                    group: Some("120363000000000000@g.us".to_owned()),
                    code: Some("sandbox".to_owned()),
                    expiration: None,
                    name: Some(name.clone()),
                });
            }
            Self::Call => {
                wire.call = Some(Call {
                    key: Some(vec![0; 32]),
                });
            }
            Self::Unknown => wire.unknown = Some("from the future".to_owned()),
            Self::Raw(bytes) => return bytes.clone(),
        }
        wire.encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use gatekeeper::message::{Body, decode};

    use super::*;

    #[test]
    fn each_is_known_by_its_name_or_not_at_all() {
        let poll = Foreign::Poll {
            question: "?".to_owned(),
            answers: vec!["a".to_owned(), "b".to_owned()],
        };
        let place = Foreign::LiveLocation {
            latitude: 52.5,
            longitude: 13.4,
        };
        for (foreign, name) in [
            (poll, "poll"),
            (place, "live location"),
            (
                Foreign::GroupInvitation("Choir".to_owned()),
                "group invitation",
            ),
            (Foreign::Call, "call"),
            (Foreign::Unknown, "field 2047"),
        ] {
            let body = decode(&foreign.encode()).unwrap();
            assert!(
                matches!(&body, Body::Unknown { kind } if kind == name),
                "{body:?}"
            );
        }
    }
}
