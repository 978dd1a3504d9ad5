//! What files say, and how they are refused.

use super::*;

const FRANCE: &str = include_str!("../../../../deploy/france.toml");
const REGIONS: &str = include_str!("../../../../deploy/data/regions.csv");
const GUARANTEED: u64 = 3_000_000;

#[test]
fn france_follows_its_data() {
    let budget = Budget::parse(FRANCE).unwrap();
    let [pool] = budget.pools.as_slice() else {
        panic!("one pool expected");
    };
    assert_eq!((pool.name.as_str(), pool.capacity), ("ent", 4_000_000));
    let rows: Vec<Vec<&str>> = REGIONS
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect())
        .collect();
    assert_eq!((rows.len(), pool.regions.len()), (18, 18));
    let population = |row: &[&str]| row[3].parse::<u64>().unwrap();
    let all: u64 = rows.iter().map(|row| population(row)).sum();

    // Largest remainder, then by name.
    let mut due: Vec<(u64, u64, &str)> = rows
        .iter()
        .map(|row| {
            let due = GUARANTEED * population(row);
            (due / all, due % all, row[1])
        })
        .collect();
    let left = GUARANTEED - due.iter().map(|(whole, ..)| whole).sum::<u64>();
    due.sort_by(|a, b| b.1.cmp(&a.1).then(a.2.cmp(b.2)));
    for (whole, ..) in due.iter_mut().take(usize::try_from(left).unwrap()) {
        *whole += 1;
    }
    for (row, region) in rows.iter().zip(&pool.regions) {
        let (nominal, ..) = due.iter().find(|(_, _, name)| *name == row[1]).unwrap();
        let expected = Terms {
            nominal: *nominal,
            ceiling: None,
            weight: u32::try_from((population(row) + 500) / 1_000).unwrap(),
        };
        assert_eq!((region.name.as_str(), region.terms), (row[1], expected));
        assert_eq!(region.floor, nominal / 100);
        let zone = match row[1] {
            "la-reunion" => "Indian/Reunion",
            "guadeloupe" => "America/Guadeloupe",
            "martinique" => "America/Martinique",
            "guyane" => "America/Cayenne",
            "mayotte" => "Indian/Mayotte",
            _ => "Europe/Paris",
        };
        assert_eq!(region.zone, zone);
    }
    let nominals: u64 = pool.regions.iter().map(|region| region.terms.nominal).sum();
    assert_eq!(nominals, GUARANTEED);
    // Each closes and opens by its own time.
    assert_eq!(pool.calendar.len(), 2 * 18);
    let entry = |name: &str| pool.calendar.iter().find(|entry| entry.name == name);
    let opening = entry("school-day/mayotte").unwrap();
    assert_eq!(
        (when_text(opening), what_text(opening)),
        (
            "mon-fri 08:45 local".into(),
            "open (region \"mayotte\")".into()
        )
    );
    let classes: Vec<_> = pool
        .rules
        .classes
        .iter()
        .map(|class| class.name.as_str())
        .collect();
    assert_eq!(classes, ["teachers", "exams", "everyone"]);
}

#[test]
fn each_refusal_names_pool_region_and_field() {
    let pool = |more: &str| format!("[[pool]]\nname = \"p\"\ncapacity = 10\n{more}");
    let region = |more: &str| pool(&format!("[[pool.region]]\nname = \"a\"\n{more}"));
    let entry = |more: &str| pool(&format!("[[pool.calendar]]\nname = \"e\"\n{more}"));
    let cases = [
        (
            "pools = 1".to_owned(),
            "line 1: pools: unknown field; expected one of pool",
        ),
        (
            "[pool]".into(),
            "pool: a table given, expected [[pool]] tables",
        ),
        ("[[pool]]".into(), "pool 1: name: nothing given"),
        (
            "[[pool]]\nname = \"p\"".into(),
            "pool \"p\": capacity: nothing given",
        ),
        (
            pool("ttl_ms = 999"),
            "line 4: pool \"p\": ttl_ms: 999 given, expected a whole number, 1000 to 3600000",
        ),
        (
            pool("drift_ppm = 200001"),
            "pool \"p\": drift_ppm: 200001 given",
        ),
        (
            pool("nominal = 1"),
            "line 4: pool \"p\": nominal: unknown field",
        ),
        (
            pool("[[pool]]\nname = \"p\"\ncapacity = 1"),
            "pool \"p\": name: \"p\" twice given",
        ),
        (
            pool("[[pool.region]]\nnominal = 1"),
            "pool \"p\": region 1: name: nothing given",
        ),
        (
            region(""),
            "pool \"p\": region \"a\": nominal: nothing given",
        ),
        (
            region("nominal = -1"),
            "line 6: pool \"p\": region \"a\": nominal: -1 given",
        ),
        (
            region("nominal = 3\nceiling = 2"),
            "pool \"p\": region \"a\": ceiling: 2 given, expected at least the nominal of 3",
        ),
        (
            region("nominal = 3\nweight = 0"),
            "pool \"p\": region \"a\": weight: 0 given, expected a whole number, 1 to 1000000",
        ),
        (
            region("nominal = 3\nwait = 0"),
            "pool \"p\": region \"a\": wait: unknown field",
        ),
        (
            region("nominal = 11"),
            "pool \"p\": capacity: 10 given, expected at least 11, which the nominals of its regions add up to",
        ),
        (
            pool("overtake_s = 0"),
            "pool \"p\": overtake_s: 0 given, expected a whole number, 1 to 86400",
        ),
        (
            pool("reclaim = \"cut\""),
            "pool \"p\": reclaim: \"cut\" given, expected \"drain\" or \"shorten\"",
        ),
        (
            pool("reclaim = \"shorten\""),
            "pool \"p\": reclaim: \"shorten\" given, expected drain, or a session.when_waiting_s to shorten to",
        ),
        (
            pool("session = 5"),
            "pool \"p\": session: 5 given, expected a [session] table",
        ),
        (
            pool("[pool.session]\nlimit_s = 5\nidle_s = 6"),
            "pool \"p\": session: idle_s: 6 given, expected at most the limit_s of 5",
        ),
        (
            pool("[pool.session]\nlimit_s = 5\nwhen_waiting_s = 6"),
            "pool \"p\": session: when_waiting_s: 6 given, expected at most the limit_s of 5",
        ),
        (
            pool("[pool.session]\nwhen_waiting_s = 5\nleast_s = 6"),
            "pool \"p\": session: least_s: 6 given, expected at most the when_waiting_s of 5",
        ),
        (
            pool("[pool.session]\nlimit_s = 0"),
            "pool \"p\": session: limit_s: 0 given, expected a whole number, 1 to 604800",
        ),
        (
            pool("[pool.session]\nlimit = 1"),
            "pool \"p\": session: limit: unknown field",
        ),
        (
            pool("[[pool.class]]\nname = \"x\"\n[[pool.class]]\nname = \"x\""),
            "pool \"p\": class 2: name: \"x\" twice given",
        ),
        (
            pool("[[pool.class]]\nname = \"x\"\nweight = 0"),
            "pool \"p\": class 1: weight: 0 given",
        ),
        (
            pool("[[pool.class]]\nname = \"x\"\nfirst = 1"),
            "pool \"p\": class 1: first: 1 given, expected true or false",
        ),
        (
            pool(&"[[pool.class]]\nname = \"x\"\n".repeat(17)),
            "pool \"p\": class: 17 given, expected [[class]] tables, at most 16",
        ),
        (
            region("nominal = 1\nzone = \"Paris\""),
            "region \"a\": zone: \"Paris\" given, expected a time zone by the IANA's name",
        ),
        (
            region("nominal = 4\nfloor = 7"),
            "pool \"p\": capacity: 10 given, expected at least 11, which the nominals (4) and floors (7) of its regions add up to",
        ),
        (
            region("nominal = 4\n[[pool.region.holder]]\nname = \"h\"\nfloor = 0"),
            "region \"a\": holder 1: floor: 0 given, expected a whole number, 1 to",
        ),
        (
            region("nominal = 4\n[[pool.region.holder]]\nname = \"h\"\nfloor = 7"),
            "expected at least 11",
        ),
        (
            entry("days = \"mon\"\ntime = \"08:45\""),
            "pool \"p\": calendar 1: action: nothing given, expected one of open, close, pause, resume, capacity",
        ),
        (
            entry("action = \"open\""),
            "pool \"p\": calendar 1: at: nothing given, expected a date and time; or days and time",
        ),
        (
            entry("action = \"open\"\ndays = \"mon\""),
            "calendar 1: time: nothing given",
        ),
        (
            entry("action = \"open\"\ntime = \"08:45\""),
            "calendar 1: days: nothing given",
        ),
        (
            entry("action = \"open\"\ntime = \"25:00\""),
            "calendar 1: time: \"25:00\" given, expected a time of the day",
        ),
        (
            entry("action = \"open\"\ndays = \"today\""),
            "calendar 1: days: \"today\" given, expected days such as",
        ),
        (
            entry("action = \"open\"\nat = \"noon\""),
            "calendar 1: at: \"noon\" given, expected a date and time",
        ),
        (
            entry("action = \"open\"\nat = \"2027-04-06 08:45\"\ntime = \"08:45\""),
            "calendar 1: at: a date and time given, expected no days or time beside it",
        ),
        (
            entry("action = \"close\"\nat = \"2027-04-06 08:45\""),
            "calendar 1: reason: nothing given, expected why, in words for users",
        ),
        (
            entry("action = \"capacity\"\nat = \"2027-04-06 08:45\""),
            "calendar 1: capacity: nothing given",
        ),
        (
            entry(
                "action = \"capacity\"\ncapacity = 5\nfor_each_region = true\nat = \"2027-04-06 08:45\"",
            ),
            "calendar 1: action: \"capacity\" given, expected no region: it is a pool's",
        ),
        (
            entry("action = \"open\"\nregion = \"b\"\nat = \"2027-04-06 08:45\""),
            "calendar 1: region: \"b\" given, expected a region that the file has in this pool",
        ),
        (
            entry("action = \"open\"\nzone = \"x\"\nat = \"2027-04-06 08:45\""),
            "calendar 1: zone: \"x\" given, expected a time zone",
        ),
        (
            entry("action = \"open\"\nat = \"2027-04-06 08:45\"\nreason = \"why\""),
            "calendar 1: reason: unknown field",
        ),
        (
            region("nominal = 1\n[[pool.region]]\nname = \"a\"\nnominal = 1"),
            "pool \"p\": region \"a\": name: \"a\" twice given, expected one region of a name in a pool",
        ),
    ];
    for (text, expected) in cases {
        let why = Budget::parse(&text).unwrap_err();
        assert!(
            why.contains(expected),
            "{text}\n{why}\nexpected: {expected}"
        );
    }
}
