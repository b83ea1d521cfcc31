use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &str, expected: &str) {
    let got = to_matrix(text);
    assert_eq!(got.body, text);
    assert_eq!(got.formatted_body.as_deref(), Some(expected), "{text}");
}

#[track_caller]
fn plain(text: &str) {
    assert_eq!(
        to_matrix(text),
        MatrixText {
            body: text.to_owned(),
            formatted_body: None
        },
        "{text}"
    );
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
        "* a *",
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
    let content = serde_json::to_value(to_matrix("*a*").into_content()).expect("JSON");
    assert_eq!(
        content,
        serde_json::json!({
            "msgtype": "m.text", "body": "*a*",
            "format": "org.matrix.custom.html", "formatted_body": "<strong>a</strong>"
        })
    );
    let content = serde_json::to_value(to_matrix("a").into_content()).expect("JSON");
    assert_eq!(
        content,
        serde_json::json!({"msgtype": "m.text", "body": "a"})
    );
}

/// Long lines of nothing but openers: done in a moment, or this test would run for hours.
#[test]
fn hostile_lines_take_linear_time() {
    for unit in [
        "*a ", "_", "`", "```", "*_~", "http://", "> ", "1. a\n", "```a\n", "`a ",
    ] {
        let text = unit.repeat(60_000 / unit.len());
        assert_eq!(to_matrix(&text).body, text);
    }
}

proptest! {
    #[test]
    fn the_body_is_the_text(text in "[*_~`>\\-\\. 1a\n<&😀א]{0,60}") {
        prop_assert_eq!(to_matrix(&text).body, text);
    }

    /// The HTML is well formed and shows every character: tags pair up, and nothing of the text gets lost but signs.
    #[test]
    fn the_html_is_whole(text in "[*_~`>\\-\\. 1a\n<&😀א]{0,60}") {
        let Some(html) = to_matrix(&text).formatted_body else { return Ok(()) };
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
            prop_assert_eq!(bare.matches(c).count() - in_tags, text.matches(c).count(), "{} in {}", c, html);
        }
    }
}
