//! `DeadLetterBrowser::search`, which looks from the newest letters on backwards, and `--text`.

use std::time::Instant;

use super::Scene;
use crate::support::kafka::Kafka;
use crate::support::{EMBEDDED, NEWEST, PATIENCE, run_on};
use net::stop::Stop;
use point_to_point::config::Settings;
use point_to_point::dead_letters::{DeadLetterBrowser, DeadLetterFilter};

run_on! {
    mod kafka_4_3 on NEWEST {
        letters_are_found_far_behind_the_newest_up_to_a_limit,
    }
    mod embedded on EMBEDDED {
        letters_are_found_far_behind_the_newest_up_to_a_limit,
    }
}

/// The letters of each of two partitions: together more than a search looks at.
const EACH: usize = 6_000;

fn letters_are_found_far_behind_the_newest_up_to_a_limit(version: &'static str) {
    let scene = Scene::with_letters(Kafka::shared(version), 2, EACH);
    let mut settings = Settings::default();
    settings.kafka.bootstrap_servers = vec![scene.kafka.bootstrap()];
    settings.kafka.topic = scene.topic.clone();
    let browser = DeadLetterBrowser::new(&settings.dead_letter_browser());
    let stop = Stop::new();
    let search = |text: &str, most| {
        let filter = DeadLetterFilter { text: Some(text.to_owned()), ..DeadLetterFilter::default() };
        let found = browser.search(&filter, most, Instant::now() + PATIENCE, &stop).expect("an answer");
        let mut names: Vec<String> = found.letters.iter().map(|letter| letter.id.to_string()).collect();
        names.sort();
        (names, found)
    };
    let (names, found) = search("\"ID\":4000}", 100);
    assert_eq!((names, found.fit), (vec!["0:4000".to_owned(), "1:4000".to_owned()], 2));
    assert_eq!((found.looked_at, found.open, found.is_complete), (10_000, 12_000, false));
    // Of many that fit the newest are told, and how many they are.
    let (names, found) = search("\"partition\":1,", 3);
    assert_eq!(names, ["1:5997", "1:5998", "1:5999"]);
    assert!(found.fit > 4_000 && !found.is_complete, "{}", found.fit);
    assert_eq!(search("\"id\":1}", 100).1.fit, 0, "beyond the limit");

    let discard = scene.run(&["discard", "--text", "\"Partition\":1,"]);
    assert_eq!((discard.code, discard.last()), (Some(0), "discarded 6000, left 6000"));
    let (names, found) = search("\"id\":1}", 100);
    assert_eq!(names, ["0:1"]);
    assert_eq!((found.looked_at, found.open, found.is_complete), (6_000, 6_000, true));
    let everything = DeadLetterFilter::default();
    let found = browser.search(&everything, 2, Instant::now() + PATIENCE, &stop).expect("an answer");
    assert_eq!((found.letters.len(), found.fit, found.is_complete), (2, 6_000, true));
    stop.ask();
    let found = search("\"id\":1}", 100).1;
    assert_eq!((found.looked_at, found.is_complete), (0, false), "a stop ends it");
}
