//! `preau plan`: the rules, asked from outside.

mod common;

use common::{Ran, preau, preau_with};
use proptest::prelude::*;

fn plan(input: &str) -> Ran {
    preau_with(&["plan", "-f", "-", "--output", "json"], input)
}

#[test]
fn the_answer_has_exactly_the_promised_form() {
    let input = r#"
        capacity = 120
        [[region]]
        name = "normandie"
        demand = 1000
        held = 0
        nominal = 0
        ceiling = 200
        weight = 1
    "#;
    let expected = r#"{"capacity":120,"granted":120,"regions":[{"name":"normandie","demand":1000,"granted":120,"borrowed":120}]}"#;
    assert_eq!(plan(input).ok(), format!("{expected}\n"));
}

#[test]
fn regions_keep_the_order_of_the_file_and_weights_share_what_is_lent() {
    let input = r#"
        capacity = 100
        [[region]]
        name = "b"
        demand = 100
        nominal = 10
        weight = 2
        [[region]]
        name = "a"
        demand = 100
        nominal = 40
        [[region]]
        name = "c"
        demand = 5
    "#;
    let expected = r#"{"capacity":100,"granted":100,"regions":[{"name":"b","demand":100,"granted":40,"borrowed":30},{"name":"a","demand":100,"granted":55,"borrowed":15},{"name":"c","demand":5,"granted":5,"borrowed":5}]}"#;
    assert_eq!(plan(input).ok().trim(), expected);
}

#[test]
fn what_does_not_divide_goes_by_name_whatever_the_order() {
    let of = |names: [&str; 3]| {
        let regions = names.map(|n| format!("[[region]]\nname = \"{n}\"\ndemand = 9\n"));
        let answer = plan(&format!("capacity = 10\n{}", regions.concat())).json();
        let regions = answer["regions"].as_array().unwrap().clone();
        let mut granted: Vec<_> = regions
            .iter()
            .map(|r| (r["name"].to_string(), r["granted"].as_u64().unwrap()))
            .collect();
        granted.sort();
        granted.into_iter().map(|(_, n)| n).collect::<Vec<_>>()
    };
    assert_eq!(of(["a", "b", "c"]), [4, 3, 3]);
    assert_eq!(of(["c", "b", "a"]), [4, 3, 3]);
}

#[test]
fn the_table_tells_what_is_to_be_given_back() {
    let input = "capacity = 10\n[[region]]\nname = \"a\"\ndemand = 10\nnominal = 8\n\
                 [[region]]\nname = \"b\"\ndemand = 10\nheld = 6\n";
    let expected = "\
REGION  DEMAND  NOMINAL  GRANTED  BORROWED  SHORT  HELD  TO GIVE BACK
a           10        8        9         1      1     0             0
b           10        0        1         1      9     6             5

10 of 10 slots granted
";
    assert_eq!(preau_with(&["plan", "-f", "-"], input).ok(), expected);
}

#[test]
fn each_refusal_names_region_and_field() {
    let region = |fields: &str| format!("capacity = 120\n[[region]]\n{fields}\n");
    let a = |fields: &str| region(&format!("name = \"a\"\ndemand = 5\n{fields}"));
    let slots = "expected a whole number, 0 to 1000000000000";
    let name = "expected 1 to 128 bytes of printable text without white space at either end";
    let cases = [
        (String::new(), format!("capacity: nothing given, {slots}")),
        ("capacity = -1".into(), format!("line 1: capacity: -1 given, {slots}")),
        ("capacity = 1.5".into(), format!("line 1: capacity: 1.5 given, {slots}")),
        ("capacity = \"9\"".into(), format!("line 1: capacity: \"9\" given, {slots}")),
        (
            "capacity = 1000000000001".into(),
            format!("line 1: capacity: 1000000000001 given, {slots}"),
        ),
        (
            "capacity = 1\nregions = 2".into(),
            "line 2: regions: unknown field; expected one of capacity, region".into(),
        ),
        ("capacity = 1\nregion = 2".into(), "line 2: region: 2 given, expected [[region]] tables".into()),
        (region("demand = 1"), format!("region 1: name: nothing given, {name}")),
        (region("name = \"\"\ndemand = 1"), format!("line 3: region 1: name: \"\" given, {name}")),
        (region("name = \" a\"\ndemand = 1"), format!("region 1: name: \" a\" given, {name}")),
        (region("name = 7\ndemand = 1"), format!("region 1: name: 7 given, {name}")),
        (region("name = \"a\""), format!("region \"a\": demand: nothing given, {slots}")),
        (
            region("name = \"a\"\ndemand = -3"),
            format!("line 4: region \"a\": demand: -3 given, {slots}"),
        ),
        (
            region("name = \"a\"\ndemand = 99999999999999999999999"),
            format!("region \"a\": demand: 99999999999999999999999 given, {slots}"),
        ),
        (a("held = true"), format!("region \"a\": held: true given, {slots}")),
        (a("nominal = 2.0"), format!("region \"a\": nominal: 2.0 given, {slots}")),
        (a("ceiling = 1_000_000_000_001"), format!("region \"a\": ceiling: 1_000_000_000_001 given, {slots}")),
        (
            a("nominal = 7\nceiling = 6"),
            "region \"a\": ceiling: 6 given, expected at least the nominal of 7".into(),
        ),
        (
            a("weight = 0"),
            "region \"a\": weight: 0 given, expected a whole number, 1 to 1000000".into(),
        ),
        (
            a("weight = 1000001"),
            "region \"a\": weight: 1000001 given, expected a whole number, 1 to 1000000".into(),
        ),
        (
            a("demnad = 1"),
            "line 5: region \"a\": demnad: unknown field; expected one of name, nominal, ceiling, \
             weight, demand, held"
                .into(),
        ),
        (
            a("[[region]]\nname = \"a\"\ndemand = 1"),
            "region \"a\": name: \"a\" twice given, expected one region of a name".into(),
        ),
        (
            a("nominal = 100\n[[region]]\nname = \"b\"\ndemand = 1\nnominal = 21"),
            "capacity: 120 given, expected at least 121, which the nominals of its regions add up to; \
             the largest is that of region \"a\""
                .into(),
        ),
        ("capacity = ".into(), "TOML parse error at line 1".into()),
    ];
    for (input, expected) in cases {
        let err = plan(&input).failed(2);
        assert!(
            err.contains(&expected),
            "{input}\n{err}\nexpected: {expected}"
        );
        assert!(err.starts_with("error: stdin: "), "{err}");
    }
}

#[test]
fn too_many_regions_and_files_that_are_not_there_are_refused() {
    let regions: String = (0..4_097)
        .map(|i| format!("[[region]]\nname = \"r{i}\"\ndemand = 1\n"))
        .collect();
    let err = plan(&format!("capacity = 1\n{regions}")).failed(2);
    assert!(err.contains("region: 4097 given, expected [[region]] tables, at most 4096"));
    let err = preau(&["plan", "-f", "/no/such/file.toml"]).failed(2);
    assert!(
        err.contains("can't read /no/such/file.toml: No such file or directory"),
        "{err}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_plan_gives_more_than_there_is_or_less_than_it_could(
        spare in 0u64..500,
        regions in prop::collection::vec((0u64..300, 0u64..50, prop::option::of(0u64..200), 1u32..9), 0..12),
    ) {
        let capacity = spare + regions.iter().map(|r| r.1).sum::<u64>();
        let mut input = format!("capacity = {capacity}\n");
        let mut most = 0;
        for (i, (demand, nominal, over, weight)) in regions.iter().enumerate() {
            input += &format!("[[region]]\nname = \"r{i}\"\ndemand = {demand}\nnominal = {nominal}\nweight = {weight}\n");
            if let Some(over) = over {
                input += &format!("ceiling = {}\n", nominal + over);
            }
            most += (*demand).min(over.map_or(u64::MAX, |over| nominal + over));
        }
        let answer = plan(&input).json();
        prop_assert_eq!(answer["granted"].as_u64(), Some(most.min(capacity)));
        let mut sum = 0;
        for (granted, (demand, nominal, ..)) in answer["regions"].as_array().unwrap().iter().zip(&regions) {
            let slots = granted["granted"].as_u64().unwrap();
            prop_assert!(slots <= *demand && slots >= *demand.min(nominal));
            prop_assert_eq!(granted["borrowed"].as_u64(), Some(slots.saturating_sub(*nominal)));
            sum += slots;
        }
        prop_assert_eq!(answer["granted"].as_u64(), Some(sum));
    }
}
