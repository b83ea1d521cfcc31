use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::translate::{feature_of, to_matrix};
use ruma::events::room::message::{Relation, RoomMessageEventContent};

/// Body and formatted body of a text from WhatsApp.
fn receive(text: &str) -> (String, Option<String>) {
    let content = to_matrix(&Body::text(text));
    let field = |name: &str| content[name].as_str().map(str::to_owned);
    (field("body").expect("a body"), field("formatted_body"))
}

fn message(json: serde_json::Value) -> RoomMessageEventContent {
    serde_json::from_value(json).expect("a message")
}

fn translate(json: serde_json::Value) -> Result<String, Refusal> {
    send(&message(json), &Capabilities::default())
}

fn translated(
    content: &RoomMessageEventContent,
    capabilities: &Capabilities,
) -> Result<Option<Body>, Refusal> {
    let is_answer = matches!(content.relates_to, Some(Relation::Reply(_)));
    to_whatsapp(&content.msgtype, is_answer, "Alice", capabilities)
}

/// Capabilities with another longest text, and perhaps with notices.
fn capabilities(max_chars: usize, notices: bool) -> Capabilities {
    Capabilities::new(&gatekeeper::profile::Profile::default(), max_chars, notices)
}

/// The text that WhatsApp gets; a message that stays in Matrix fails the test.
fn send(content: &RoomMessageEventContent, capabilities: &Capabilities) -> Result<String, Refusal> {
    match translated(content, capabilities)? {
        Some(Body::Text { text, context }) if context.reply_to.is_none() => Ok(text),
        other => panic!("not a text: {other:?}"),
    }
}

fn html(html: &str) -> RoomMessageEventContent {
    RoomMessageEventContent::text_html("the plain body", html)
}

#[test]
fn plain_text_goes_as_it_is() {
    assert_eq!(
        translate(json!({"msgtype": "m.text", "body": "a *b*\n> c"})),
        Ok("a *b*\n> c".into())
    );
}

#[test]
fn html_is_preferred_and_unknown_formats_are_not() {
    let both = json!({"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": "<b>y</b>"});
    assert_eq!(translate(both), Ok("*y*".into()));
    let other = json!({"msgtype": "m.text", "body": "x", "format": "org.example", "formatted_body": "<b>y</b>"});
    assert_eq!(translate(other), Ok("x".into()));
    let empty = json!({"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": "<p></p>"});
    assert_eq!(translate(empty), Ok("x".into()));
}

#[test]
fn html_beyond_the_bounds_falls_back_to_the_body() {
    let bomb = html(&"<div>".repeat(10_000));
    assert_eq!(
        send(&bomb, &Capabilities::default()),
        Ok("the plain body".into())
    );
}

#[test]
fn emotes_and_notices() {
    assert_eq!(
        translate(json!({"msgtype": "m.emote", "body": "waves"})),
        Ok("* Alice waves".into())
    );
    let notice = message(json!({"msgtype": "m.notice", "body": "beep"}));
    assert_eq!(translated(&notice, &Capabilities::default()), Ok(None));
    assert_eq!(send(&notice, &capabilities(99, true)), Ok("beep".into()));
}

#[test]
fn the_quote_of_an_answer_stays_behind() {
    let reply = json!({
        "msgtype": "m.text", "body": "> <@bea:localhost> earlier\n> more\n\nanswer",
        "m.relates_to": {"m.in_reply_to": {"event_id": "$a"}}
    });
    assert_eq!(translate(reply), Ok("answer".into()));
    // Without the relation the same text is a quotation that somebody wrote.
    let quote = json!({"msgtype": "m.text", "body": "> <@bea:localhost> earlier\n\nanswer"});
    assert_eq!(
        translate(quote),
        Ok("> <@bea:localhost> earlier\n\nanswer".into())
    );
}

#[test]
fn refusals_say_what_cannot_cross() {
    assert_eq!(
        translate(json!({"msgtype": "m.text", "body": " \n"})),
        Err(Refusal::Empty)
    );
    assert_eq!(
        translate(json!({"msgtype": "m.emote", "body": ""})),
        Err(Refusal::Empty)
    );
    let picture =
        translate(json!({"msgtype": "m.image", "body": "a.png", "url": "mxc://localhost/a"}));
    assert!(matches!(picture, Err(Refusal::NotAccepted(_))));
    let odd = translate(json!({"msgtype": "org.example.odd", "body": "x"}));
    assert_eq!(
        odd,
        Err(Refusal::NotAccepted(
            Feature::Unknown.row().to_whatsapp.words
        ))
    );
    let none = json!({});
    for part in ["start", "response", "end"] {
        for kind in [
            format!("m.poll.{part}"),
            format!("org.matrix.msc3381.poll.{part}"),
        ] {
            assert_eq!(feature_of(&kind, &none), Some(Feature::Poll));
            assert!(crate::inbox::WANTED.contains(&&*kind), "{kind} is dropped");
        }
    }
    assert_eq!(feature_of("m.room.topic", &none), None);
    let walk = "org.matrix.msc3672.beacon_info";
    assert_eq!(
        feature_of(walk, &json!({"live": true})),
        Some(Feature::LiveLocation)
    );
    assert_eq!(feature_of(walk, &json!({"live": false})), None);
}

#[test]
fn a_place_is_a_place_or_a_link() {
    let place = message(json!({
        "msgtype": "m.location", "body": "The gate", "geo_uri": "geo:52.5,13.25"
    }));
    assert_eq!(
        send(&place, &Capabilities::default()),
        Ok(
            "📍 The gate\nhttps://www.openstreetmap.org/?mlat=52.5&mlon=13.25#map=16/52.5/13.25"
                .into()
        )
    );
    let mut profile = gatekeeper::profile::Profile::default();
    profile.message.accepted.push("location".into());
    let capabilities = Capabilities::new(&profile, 99, false);
    assert!(matches!(
        translated(&place, &capabilities),
        Ok(Some(Body::Location(place))) if place.latitude == 52.5
    ));
    let nowhere = message(json!({"msgtype": "m.location", "body": "x", "geo_uri": "geo:100,0"}));
    assert_eq!(translated(&nowhere, &capabilities), Err(Refusal::Nowhere));
}

#[test]
fn quoted_words_give_way() {
    assert_eq!(above("a\nb", "c", 99), "> a\n> b\nc");
    assert_eq!(above("a long quotation", "c", 9), "c");
}

#[test]
fn captions() {
    let caption = |json| caption_of(&message(json).msgtype);
    let url = "mxc://localhost/a";
    assert_eq!(
        caption(json!({"msgtype": "m.image", "body": "look", "filename": "a.png", "url": url})),
        Some("look".into())
    );
    assert_eq!(
        caption(json!({"msgtype": "m.file", "body": "a.pdf", "url": url})),
        Some(String::new())
    );
    assert_eq!(caption(json!({"msgtype": "m.text", "body": "x"})), None);
}

#[test]
fn too_long_is_refused_whole() {
    let options = capabilities(5, false);
    let text = |body: &str| send(&RoomMessageEventContent::text_plain(body), &options);
    assert_eq!(text("äöüß😀"), Ok("äöüß😀".into()));
    assert_eq!(
        text("123456"),
        Err(Refusal::TooLong {
            length: 6,
            limit: 5
        })
    );
    // The marks count too: what is measured is what is sent.
    assert!(matches!(
        send(&html("<b>1234</b>"), &options),
        Err(Refusal::TooLong { length: 6, .. })
    ));
}

/// Words with the marks bold, italic, strike, code; a line of HTML that says the same.
fn marked_words() -> impl Strategy<Value = Vec<(String, [bool; 4])>> {
    let marks = prop_oneof![
        any::<[bool; 3]>().prop_map(|[b, i, s]| [b, i, s, false]),
        any::<[bool; 3]>().prop_map(|[b, i, s]| [b, i, s, true]),
    ];
    proptest::collection::vec(("[a-zäé0-9א😀]{1,6}", marks), 1..8)
}

fn as_html(words: &[(String, [bool; 4])]) -> String {
    let mut html = Vec::new();
    for (word, marks) in words {
        let mut text = word.clone();
        for (tag, marked) in ["code", "del", "em", "strong"]
            .into_iter()
            .zip(marks.iter().rev())
        {
            if *marked {
                text = format!("<{tag}>{text}</{tag}>");
            }
        }
        html.push(text);
    }
    html.join(" ")
}

proptest! {
    #[test]
    fn plain_text_comes_back_as_it_was(text in "\\PC*(\n\\PC*){0,3}") {
        prop_assume!(!text.trim().is_empty());
        let sent = send(&RoomMessageEventContent::text_plain(&text), &Capabilities::default()).expect("text");
        prop_assert_eq!(&sent, &text);
        prop_assert_eq!(receive(&sent).0, text);
    }

    /// Formatting that WhatsApp can show comes back as the same formatting: one more round changes nothing,
    /// and every word keeps its marks.
    #[test]
    fn formatting_comes_back(words in marked_words()) {
        let sent = send(&html(&as_html(&words)), &Capabilities::default()).expect("text");
        let (body, formatted) = receive(&sent);
        let formatted = formatted.unwrap_or(body);
        let again = send(&html(&formatted), &Capabilities::default()).expect("text");
        prop_assert_eq!(&again, &sent);
        let visible = |text: &str| text.chars().filter(|c| !"*_~`".contains(*c)).collect::<String>();
        let words: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
        prop_assert_eq!(visible(&sent), words.join(" "));
    }

    #[test]
    fn one_marked_word_keeps_exactly_its_marks(word in "[a-zäé0-9א😀]{1,6}", marks in any::<[bool; 4]>()) {
        let sent = send(&html(&as_html(&[(word.clone(), marks)])), &Capabilities::default()).expect("text");
        let signs = ['*', '_', '~', '`'];
        let signs: String = signs.into_iter().zip(marks).filter(|(_, marked)| *marked).map(|(sign, _)| sign).collect();
        let closing: String = signs.chars().rev().collect();
        prop_assert_eq!(&sent, &format!("{signs}{word}{closing}"));
        let back = receive(&sent).1;
        prop_assert_eq!(back, signs.chars().next().map(|_| as_html(&[(word, marks)])));
    }

    #[test]
    fn any_html_is_taken_without_panic(text in "(<[/a-z]{1,4}( [a-z]=\"?)?>?|[^<]{0,4}){0,40}") {
        let _ = translated(&html(&text), &Capabilities::default());
    }
}
