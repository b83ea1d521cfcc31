use super::*;

fn with(flags: &[&str]) -> Capabilities {
    let mut profile = Profile::default();
    profile.message.accepted = flags.iter().map(|flag| (*flag).to_owned()).collect();
    Capabilities::new(&profile, 65_536, false)
}

#[test]
fn every_feature_has_one_row_that_says_how() {
    for row in TABLE {
        let rows = TABLE.iter().filter(|each| each.feature == row.feature);
        assert_eq!(rows.count(), 1, "{:?}", row.feature);
        assert_eq!(row.feature.row().title, row.title);
        for way in [Some(row.to_whatsapp), row.without, Some(row.to_matrix)]
            .into_iter()
            .flatten()
        {
            assert_eq!(
                way.words.is_empty(),
                way.level == Level::Absent,
                "{:?}",
                row.feature
            );
        }
        assert!(
            row.flag.is_none() || row.without.is_some(),
            "{:?} has a flag that changes nothing",
            row.feature
        );
        assert!(
            !matches!(row.to_matrix.level, Level::Refused),
            "{:?}: nobody on WhatsApp could be told",
            row.feature
        );
    }
    assert_eq!(Feature::Unknown.row().feature, Feature::Unknown);
}

#[test]
fn flags_decide() {
    assert_eq!(with(&[]).to_whatsapp(Feature::Edit).level, Level::Refused);
    assert_eq!(
        with(&["edit"]).to_whatsapp(Feature::Edit).level,
        Level::Full
    );
    assert_eq!(with(&[]).to_matrix(Feature::Edit).level, Level::Full);
    assert!(!with(&[]).has(Feature::Notice));
    assert!(Capabilities::new(&Profile::default(), 10, true).has(Feature::Notice));
}

#[test]
fn what_goes_as_something_else_is_refused_with_it() {
    let none = with(&[]);
    for (feature, carrier, flag) in [
        (Feature::Gif, Feature::Video, "video"),
        (Feature::Sticker, Feature::Image, "image"),
        (Feature::Contact, Feature::File, "document"),
    ] {
        assert_eq!(none.to_whatsapp(feature), none.to_whatsapp(carrier));
        assert_eq!(none.to_whatsapp(feature).level, Level::Refused);
        assert_eq!(with(&[flag]).to_whatsapp(feature).level, Level::Partial);
    }
    assert_eq!(with(&["gif"]).to_whatsapp(Feature::Gif).level, Level::Full);
}

#[test]
fn features_follow_the_table() {
    let none = with(&[]).room_features();
    assert_eq!(none["edit"], -2);
    assert_eq!(none["file"]["m.image"]["mime_types"]["image/jpeg"], -2);
    assert_eq!(none["location_message"], 1);
    assert!(none.get("edit_max_age").is_none());
    let some = with(&["edit", "image", "document"]).room_features();
    assert_eq!(some["edit"], 2);
    assert_eq!(some["edit_max_age"], 900);
    assert_eq!(some["file"]["m.image"]["mime_types"]["image/jpeg"], 2);
    assert_eq!(some["file"]["m.image"]["mime_types"]["*/*"], 1);
    assert_ne!(none["id"], some["id"]);
    assert_eq!(none["id"], with(&[]).room_features()["id"]);
}

#[test]
fn default_features() {
    insta::assert_json_snapshot!(Capabilities::default().room_features());
}

#[test]
fn the_page_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/capabilities.md");
    let page = std::fs::read_to_string(path).unwrap_or_default();
    let rest = page.strip_prefix(&*Capabilities::default().markdown());
    // How each row is tried follows; the test that tries them keeps that part.
    assert!(
        rest.is_some_and(|rest| rest.starts_with("\n## How this is tried\n")),
        "docs/capabilities.md is stale: `cargo run -p gatehouse -- capabilities --default` prints how it should begin"
    );
}
