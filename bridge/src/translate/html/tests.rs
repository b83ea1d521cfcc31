use super::*;

#[track_caller]
fn check(html: &str, expected: &str) {
    assert_eq!(render(html).expect("modest HTML"), expected, "{html}");
}

#[test]
fn text_and_white_space() {
    check("", "");
    check("hi", "hi");
    check("a\n  b\tc", "a b c");
    check("a &amp; b &lt;c&gt;", "a & b <c>");
    check("one<br>two<br/><br />four", "one\ntwo\n\nfour");
    check("<p>one</p><p>two</p>", "one\n\ntwo");
    check(
        "<p>one</p>\n<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n<p>two</p>",
        "one\n- a\n- b\ntwo",
    );
    check("a<!-- hidden -->b<script>alert(1)</script>", "ab");
    check("naïve שלום 👩‍👩‍👧 <b>مرحبا</b>", "naïve שלום 👩‍👩‍👧 *مرحبا*");
}

#[test]
fn marks() {
    check(
        "<b>a</b> <strong>b</strong> <i>c</i> <em>d</em>",
        "*a* *b* _c_ _d_",
    );
    check(
        "<s>a</s> <del>b</del> <strike>c</strike> <code>d</code>",
        "~a~ ~b~ ~c~ `d`",
    );
    check("<b>a <i>b</i></b>", "*a _b_*");
    check("<b>one<br>two</b>", "*one*\n*two*");
    check("<b>a</b><b>b</b>", "*ab*");
    check("<b> a </b>b", "*a* b");
    check("un<b>believ</b>able", "unbelievable");
    check("<u>a</u><sup>2</sup>", "a2");
    check("<b><code>x * y</code></b>", "`x * y`");
    check("<b>all <code>x</code></b>", "*all `x`*");
}

#[test]
fn blocks() {
    check("<h1>Title</h1><p>text</p>", "*Title*\ntext");
    check("<blockquote>a<br>b</blockquote>c", "> a\n> b\nc");
    check("<blockquote><p>a</p><p>b</p></blockquote>", "> a\n> \n> b");
    check("<ol><li>a</li><li>b</li></ol>", "1. a\n2. b");
    check("<ol start=\"7\"><li>a</li><li>b</li></ol>", "7. a\n8. b");
    check(
        "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>",
        "- a\n  - b\n- c",
    );
    check("<ul><li><p>a</p><p>b</p></li></ul>", "- a\n\n  b");
    check(
        "<pre><code class=\"language-rust\">fn a() {\n    b\n}\n</code></pre>",
        "```fn a() {\n    b\n}```",
    );
    check(
        "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>",
        "a | b\n1 | 2",
    );
    check("a<hr>b", "a\n---\nb");
    check(
        "<details><summary>more</summary>hidden</details>",
        "*more*\nhidden",
    );
}

#[test]
fn links() {
    check(
        "<a href=\"https://example.org/a\">text</a>",
        "text (https://example.org/a)",
    );
    check(
        "<a href=\"https://example.org/\">https://example.org/</a>",
        "https://example.org/",
    );
    check(
        "<a href=\"https://example.org/\">example.org</a>",
        "example.org",
    );
    check(
        "<a href=\"mailto:a@example.org\">a@example.org</a>",
        "a@example.org",
    );
    check("<a href=\"javascript:alert(1)\">text</a>", "text");
    check(
        "<b><a href=\"https://example.org/a\">text</a></b>!",
        "*text* (https://example.org/a)!",
    );
    check(
        "<a href=\"https://matrix.to/#/@bea:example.org\">Bea</a>: hi",
        "Bea: hi",
    );
    check(
        "<a href=\"https://matrix.to/#/%40bea%3Aexample.org\">Bea</a>: hi",
        "Bea: hi",
    );
    check(
        "<a href=\"matrix:u/bea:example.org\">Bea</a>: hi",
        "Bea: hi",
    );
    check(
        "<a href=\"https://example.org/\"></a>",
        "https://example.org/",
    );
}

#[test]
fn what_only_matrix_has() {
    check(
        "<mx-reply><blockquote>earlier</blockquote></mx-reply>answer",
        "answer",
    );
    check(
        "<span data-mx-spoiler=\"film\">he dies</span>",
        "[spoiler: film] he dies",
    );
    check("<span data-mx-spoiler>he dies</span>", "[spoiler] he dies");
    check("<img src=\"mxc://a/b\" alt=\":cat:\">", ":cat:");
    check("<font color=\"red\">a</font>", "a");
}

/// Runs in a thread with the stack of a tokio worker: a tree that is too deep would overflow it, in the parser, here or when
/// it is freed.
fn on_a_small_stack(html: String) -> Option<String> {
    std::thread::Builder::new()
        .stack_size(2 * 1024 * 1024)
        .spawn(move || render(&html))
        .expect("a thread")
        .join()
        .expect("no panic")
}

#[test]
fn bombs_are_turned_away() {
    assert_eq!(on_a_small_stack("<div>".repeat(13_000)), None);
    assert_eq!(on_a_small_stack("<b>".repeat(20_000)), None);
    assert_eq!(on_a_small_stack("</p>".repeat(15_000)), None);
    assert_eq!(on_a_small_stack("<brx>".repeat(13_000)), None);
    // Within the number of elements, but too deep to be walked.
    assert_eq!(on_a_small_stack("<div>".repeat(1_000)), None);
    assert_eq!(on_a_small_stack("<blockquote>".repeat(101) + "a"), None);
    // Formatting elements that the parser opens again in every paragraph.
    let formatting: String = (0..500).map(|i| format!("<b x={i}>")).collect();
    assert_eq!(
        on_a_small_stack(format!("<p>{formatting}</p>{}", "<p>a</p>".repeat(490))),
        None
    );
}

#[test]
fn long_but_harmless() {
    let html = "line<br>".repeat(5_000);
    assert_eq!(
        on_a_small_stack(html).expect("modest").lines().count(),
        5_000
    );
    assert!(
        on_a_small_stack("<div>".repeat(90) + "deep")
            .expect("modest")
            .contains("deep")
    );
}
