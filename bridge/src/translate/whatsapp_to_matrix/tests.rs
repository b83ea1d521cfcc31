use gatekeeper::message::Context;
use proptest::prelude::*;

use super::*;

/// Body and formatted body of a text.
fn text(text: &str) -> (String, Option<String>) {
    let content = to_matrix(&Body::text(text));
    assert_eq!(content["msgtype"], "m.text");
    let field = |name: &str| content[name].as_str().map(str::to_owned);
    (field("body").expect("a body"), field("formatted_body"))
}

#[track_caller]
fn check(from: &str, expected: &str) {
    assert_eq!(
        text(from),
        (from.to_owned(), Some(expected.to_owned())),
        "{from}"
    );
}

#[track_caller]
fn plain(from: &str) {
    assert_eq!(text(from), (from.to_owned(), None), "{from}");
}

#[test]
fn marks() {
    check("*a*", "<strong>a</strong>");
    check("_a_ ~b~ `c`", "<em>a</em> <del>b</del> <code>c</code>");
    check("*a _b_*", "<strong>a <em>b</em></strong>");
    check("_*~a~*_", "<em><strong><del>a</del></strong></em>");
    check("*a*_b_", "<strong>a</strong><em>b</em>");
    check("*a*, (_b_)!", "<strong>a</strong>, (<em>b</em>)!");
    check("*a b* c*", "<strong>a b</strong> c*");
    check("```a *b*```", "<pre><code>a *b*</code></pre>");
    check("x ```a *b*``` y", "x <code>a *b*</code> y");
    check(
        "*שלום* _مرحبا_ *😀*",
        "<strong>שלום</strong> <em>مرحبا</em> <strong>😀</strong>",
    );
}

#[test]
fn what_is_no_mark() {
    for text in [
        "2*3*4",
        "snake_case_name",
        "x * a *",
        "*a",
        "a*",
        "**",
        "*",
        "~",
        "``",
        "` `",
        "```",
        "``````",
        "*a\nb*",
        "https://example.org/_a_/*b*",
        "a < b && c > d",
        "- ",
        "1.5 and 2.5",
        "2024. a year",
        "#tag",
        ">not a quote",
        "\u{202e}abc\u{202c}",
    ] {
        plain(text);
    }
}

#[test]
fn html_in_the_text_is_text() {
    check("*<b>&\"*", "<strong>&lt;b&gt;&amp;&quot;</strong>");
    check("`<script>`", "<code>&lt;script&gt;</code>");
}

#[test]
fn blocks() {
    check(
        "> a\n> *b*\nc",
        "<blockquote>a<br><strong>b</strong></blockquote>c",
    );
    check("- a\n- b", "<ul><li>a</li><li>b</li></ul>");
    check("* a\n* b", "<ul><li>a</li><li>b</li></ul>");
    check(
        "1. a\n2. b\n4. c",
        "<ol><li>a</li><li>b</li></ol><ol start=\"4\"><li>c</li></ol>",
    );
    check("a\n\n*b*", "a<br><br><strong>b</strong>");
    check(
        "see:\n```\nfn a() {\n}\n```\nend",
        "see:<pre><code>fn a() {\n}</code></pre>end",
    );
}

#[test]
fn links_keep_their_signs() {
    check(
        "*see* https://example.org/a_b_c?x=1&y=*2*.",
        "<strong>see</strong> <a href=\"https://example.org/a_b_c?x=1&amp;y=*2\">https://example.org/a_b_c?x=1&amp;y=*2</a>*.",
    );
    check(
        "_https://example.org_",
        "<em><a href=\"https://example.org\">https://example.org</a></em>",
    );
}

#[test]
fn as_event_content() {
    assert_eq!(
        to_matrix(&Body::text("*a*")),
        serde_json::json!({
            "msgtype": "m.text", "body": "*a*",
            "format": "org.matrix.custom.html", "formatted_body": "<strong>a</strong>"
        })
    );
    assert_eq!(
        to_matrix(&Body::text("a")),
        serde_json::json!({"msgtype": "m.text", "body": "a"})
    );
}

#[test]
fn an_answer_quotes_what_it_answers() {
    let body = Some(Box::new(Body::text("one\ntwo")));
    let quote = Quote {
        stanza_id: "3EB0".to_owned(),
        participant: None,
        body,
    };
    let content = to_matrix(&Body::Text {
        text: "three".to_owned(),
        context: Context::reply(quote),
    });
    assert_eq!(content["body"], "> one\n> two\nthree");
    assert_eq!(
        content["formatted_body"],
        "<blockquote>one<br>two</blockquote>three"
    );
}

#[test]
fn what_cannot_be_shown_is_told() {
    let target = gatekeeper::message::MessageKey::default();
    for (body, told) in [
        (
            Body::Unknown {
                kind: "poll".to_owned(),
            },
            "poll",
        ),
        (
            Body::Revoke {
                target: target.clone(),
            },
            "deleted",
        ),
        (
            Body::Reaction {
                target: target.clone(),
                emoji: "👍".to_owned(),
                timestamp_ms: 0,
            },
            "👍",
        ),
        (
            Body::Reaction {
                target: target.clone(),
                emoji: String::new(),
                timestamp_ms: 0,
            },
            "taken back",
        ),
        (
            Body::Edit {
                target,
                body: Box::new(Body::text("new")),
                timestamp_ms: 0,
            },
            "(edited) new",
        ),
    ] {
        let content = to_matrix(&body);
        assert!(
            content["body"].as_str().expect("a body").contains(told),
            "{content}"
        );
    }
}

/// Long lines of nothing but openers: done in a moment, or this test would run for hours.
#[test]
fn hostile_lines_take_linear_time() {
    for unit in [
        "*a ", "_", "`", "```", "*_~", "http://", "> ", "1. a\n", "```a\n", "`a ",
    ] {
        let line = unit.repeat(60_000 / unit.len());
        assert_eq!(text(&line).0, line);
    }
}

proptest! {
    #[test]
    fn the_body_is_the_text(from in "[*_~`>\\-\\. 1a\n<&😀א]{0,60}") {
        prop_assert_eq!(text(&from).0, from);
    }

    /// The HTML is well formed and shows every character: tags pair up, and nothing of the text gets lost but signs.
    #[test]
    fn the_html_is_whole(from in "[*_~`>\\-\\. 1a\n<&😀א]{0,60}") {
        let Some(html) = text(&from).1 else { return Ok(()) };
        for tag in ["strong", "em", "del", "code", "pre", "blockquote", "ul", "ol", "li"] {
            let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
            prop_assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{} in {}", tag, html);
        }
        for c in ['a', '😀', 'א'] {
            let bare = html.replace("<a ", "").replace("start", "").replace("</a>", "");
            let in_tags = ["strong", "em", "del", "code", "pre", "blockquote", "ul", "ol", "li", "br", "amp", "lt", "gt"]
                .iter()
                .map(|name| bare.matches(name).count() * name.matches(c).count())
                .sum::<usize>();
            prop_assert_eq!(bare.matches(c).count() - in_tags, from.matches(c).count(), "{} in {}", c, html);
        }
    }
}

#[test]
fn notes_and_captions_change_below_files() {
    let picture =
        serde_json::json!({"msgtype": "m.image", "body": "a.png", "file": {"url": "mxc://a/b"}});
    let mut noted = picture.clone();
    note_below(&mut noted, "(once)");
    assert_eq!(
        (&noted["filename"], &noted["body"]),
        (&"a.png".into(), &"(once)".into())
    );
    noted["body"] = "look".into();
    noted["formatted_body"] = "<b>look</b>".into();
    note_below(&mut noted, "(once)");
    assert_eq!(noted["body"], "look\n(once)");
    assert_eq!(noted["formatted_body"], "<b>look</b><br>(once)");

    let edit = replacement("$a", &Body::text("*see*"), Some(&picture));
    let new = &edit["m.new_content"];
    assert_eq!(
        (&new["filename"], &new["body"]),
        (&"a.png".into(), &"*see*".into())
    );
    assert_eq!(new["formatted_body"], "<strong>see</strong>");
    assert_eq!(new["file"]["url"], "mxc://a/b");
    assert_eq!(edit["m.relates_to"]["event_id"], "$a");
    let none = replacement("$a", &Body::text(""), Some(new));
    assert_eq!(none["m.new_content"]["body"], "a.png");
    assert!(none["m.new_content"].get("formatted_body").is_none());
    let text = replacement("$a", &Body::text("better"), None);
    assert_eq!(
        text["m.new_content"],
        serde_json::json!({"msgtype": "m.text", "body": "better"})
    );
    assert_eq!(text["body"], "* better");
}
