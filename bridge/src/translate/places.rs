//! Places: `m.location` and WhatsApp's location.

use gatekeeper::message::{Context, Location};
use ruma::events::room::message::LocationMessageEventContent;
use serde_json::{Value, json};

/// The place of a `geo:` address ([RFC 5870](https://www.rfc-editor.org/rfc/rfc5870)) on earth: degrees north, degrees
/// east, and metres of uncertainty if it says so.
fn parse(uri: &str) -> Option<(f64, f64, Option<u32>)> {
    let rest = uri.strip_prefix("geo:")?;
    let mut parts = rest.split(';');
    let mut numbers = parts.next()?.split(',').map(|part| part.trim().parse());
    let (latitude, longitude) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    let uncertainty = parts
        .find_map(|part| part.strip_prefix("u="))
        .and_then(|metres| metres.parse::<f64>().ok())
        .filter(|metres| (0.0..1e7).contains(metres))
        .map(|metres| metres.round() as u32);
    is_on_earth(latitude, longitude).then_some((latitude, longitude, uncertainty))
}

fn is_on_earth(latitude: f64, longitude: f64) -> bool {
    (-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude)
}

/// A place from Matrix; nothing if it is nowhere.
pub(super) fn to_whatsapp(content: &LocationMessageEventContent) -> Option<Location> {
    let (latitude, longitude, accuracy_m) = parse(&content.geo_uri)?;
    let name = content.body.trim();
    // Clients that have nothing to say write the address of the place, or that it is one.
    let said = !name.is_empty() && !name.contains("geo:") && !name.starts_with("Location");
    Some(Location {
        latitude,
        longitude,
        name: said.then(|| name.to_owned()),
        address: None,
        accuracy_m,
        thumbnail: None,
        context: Context::default(),
    })
}

/// A place as text with a link to a map.
pub(super) fn as_text(place: &Location) -> String {
    let (latitude, longitude) = (place.latitude, place.longitude);
    let link = format!(
        "https://www.openstreetmap.org/?mlat={latitude}&mlon={longitude}#map=16/{latitude}/{longitude}"
    );
    match &place.name {
        Some(name) => format!("📍 {name}\n{link}"),
        None => format!("📍 {link}"),
    }
}

/// A place from WhatsApp as the content of an `m.room.message`; nothing if it is nowhere.
pub(super) fn to_matrix(place: &Location) -> Option<Value> {
    let Location {
        latitude,
        longitude,
        name,
        address,
        accuracy_m,
        ..
    } = place;
    if !is_on_earth(*latitude, *longitude) {
        return None;
    }
    let mut uri = format!("geo:{latitude},{longitude}");
    if let Some(metres) = accuracy_m {
        uri.push_str(&format!(";u={metres}"));
    }
    let described: Vec<&str> = [name, address]
        .into_iter()
        .flatten()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
        .collect();
    let description = described.join(", ");
    let body = if description.is_empty() {
        format!("Location {uri}")
    } else {
        description.clone()
    };
    let mut location = json!({ "uri": uri });
    if !description.is_empty() {
        location["description"] = json!(description);
    }
    Some(json!({
        "msgtype": "m.location",
        "body": body,
        "geo_uri": uri,
        // MSC3488, which clients read first.
        "org.matrix.msc3488.location": location,
        "org.matrix.msc3488.asset": { "type": "m.pin" },
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(uri: &str, body: &str) -> Option<Location> {
        to_whatsapp(&LocationMessageEventContent::new(
            body.to_owned(),
            uri.to_owned(),
        ))
    }

    #[test]
    fn a_place_crosses_and_comes_back() {
        let there = place("geo:52.5163,-13.3777;u=35.4", "Brandenburg Gate").expect("on earth");
        assert_eq!((there.latitude, there.longitude), (52.5163, -13.3777));
        assert_eq!(there.accuracy_m, Some(35));
        assert_eq!(there.name.as_deref(), Some("Brandenburg Gate"));
        let back = to_matrix(&there).expect("on earth");
        assert_eq!(back["geo_uri"], "geo:52.5163,-13.3777;u=35");
        assert_eq!(back["body"], "Brandenburg Gate");
        assert!(as_text(&there).contains("mlat=52.5163&mlon=-13.3777"));
    }

    #[test]
    fn places_that_are_none() {
        for uri in [
            "",
            "geo:",
            "geo:1",
            "geo:91,0",
            "geo:0,181",
            "geo:NaN,0",
            "geo:inf,0",
            "geo:a,b",
            "http://x",
        ] {
            assert_eq!(place(uri, "x"), None, "{uri}");
        }
        assert!(place("geo:1,2,300;crs=wgs84;u=x", "").is_some_and(|place| place.name.is_none()));
        let nowhere = Location {
            latitude: f64::NAN,
            ..Location::default()
        };
        assert_eq!(to_matrix(&nowhere), None);
    }
}
