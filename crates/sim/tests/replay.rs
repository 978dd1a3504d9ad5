//! Small mornings, played: the same seed gives the same figures, and the figures are what they should be.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use sim::{Figures, Morning, Scenario, Way};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../deploy/scenarios")
        .join(name)
}

fn morning(name: &str, scale: f64, seed: u64) -> Morning {
    Morning::new(
        Scenario::load(&file(name)).unwrap().scaled(scale).unwrap(),
        seed,
    )
}

fn play(morning: &Morning, way: Way) -> Figures {
    morning.play(way, &mut |_, _| {})
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    let page = |seed| {
        let morning = morning("2021-04-06.toml", 0.001, seed);
        let runs: Vec<Figures> = Way::ALL
            .into_iter()
            .map(|way| play(&morning, way))
            .collect();
        (
            serde_json::to_string(&runs).unwrap(),
            sim::report(&morning, &runs).unwrap(),
        )
    };
    let (first, second, other) = (page(7), page(7), page(8));
    assert_eq!(first.0, second.0);
    assert!(first.1 == second.1, "the pages differ");
    assert_ne!(first.0, other.0);
}

#[test]
fn everyone_is_accounted_for_under_every_policy() {
    let morning = morning("2021-04-06.toml", 0.001, 1);
    for way in Way::ALL {
        let run = play(&morning, way);
        let name = run.policy;
        assert_eq!(run.users, 12_000, "{name}");
        // Who comes in the last minutes may wait still.
        assert!(
            run.seated + run.gave_up > run.users * 99 / 100,
            "{name}: {run:?}"
        );
        assert!(run.finished <= run.seated, "{name}: {run:?}");
        assert!(run.seated_by["09:05"] <= run.seated_by["09:15"], "{name}");
        assert!(run.seated_by["09:15"] <= run.seated_by["09:30"], "{name}");
        assert!(run.utilisation_while_waiting <= 1.0, "{name}: {run:?}");
        if way != Way::NoLimit {
            assert!(run.seated + run.gave_up <= run.users, "{name}: {run:?}");
            assert_eq!(run.max_over_budget, 0, "{name}");
        }
    }
}

#[test]
fn the_ideal_queue_seats_in_order_and_leaves_no_slot_idle() {
    let run = play(&morning("2021-04-06.toml", 0.002, 1), Way::Ideal);
    assert_eq!(run.inversions_per_million, 0.0, "{run:?}");
    assert!(run.utilisation_while_waiting > 0.999, "{run:?}");
    assert!(run.wait_p90_s_by_class["teachers"] < 1.0, "{run:?}");
    assert!(run.wait_p90_s > 60.0, "{run:?}");
}

#[test]
fn fixed_shares_leave_one_region_full_and_another_idle() {
    let morning = morning("2021-04-06.toml", 0.002, 1);
    let (ideal, fixed, fifo) = (
        play(&morning, Way::Ideal),
        play(&morning, Way::Static),
        play(&morning, Way::StaticFifo),
    );
    for run in [&fixed, &fifo] {
        assert!(run.seated_by["09:15"] < ideal.seated_by["09:15"], "{run:?}");
        assert!(run.utilisation_while_waiting < 0.95, "{run:?}");
        assert!(run.wait_p90_s > ideal.wait_p90_s, "{run:?}");
    }
    // Whoever reloads at the right moment gets in: hardly anybody in order.
    assert!(fixed.inversions_per_million > 100_000.0, "{fixed:?}");
    assert_eq!(fifo.inversions_per_million, 0.0, "{fifo:?}");
}

#[test]
fn a_lot_is_as_quick_on_the_whole_and_unfair_to_each() {
    let morning = morning("2021-04-06.toml", 0.002, 1);
    let (ideal, lot) = (play(&morning, Way::Ideal), play(&morning, Way::Random));
    let (a, b) = (
        lot.seated_by["09:15"] as f64,
        ideal.seated_by["09:15"] as f64,
    );
    assert!((a / b - 1.0).abs() < 0.03, "{a} and {b}");
    assert!(lot.wait_p99_s > 1.1 * ideal.wait_p99_s, "{lot:?}");
    assert!(lot.inversions_per_million > 100_000.0, "{lot:?}");
}

#[test]
fn without_a_limit_the_portals_fall_over() {
    let run = play(&morning("2021-04-06.toml", 0.001, 1), Way::NoLimit);
    assert!(run.lost > run.users / 10, "{run:?}");
    assert!(run.max_over_budget > 1_000, "{run:?}");
}

#[test]
fn on_a_quiet_day_nobody_waits() {
    let run = play(&morning("quiet-day.toml", 0.002, 1), Way::Ideal);
    assert_eq!(run.gave_up, 0, "{run:?}");
    assert_eq!(run.wait_p99_s, 0.0, "{run:?}");
}

#[test]
fn a_cut_drains_and_lengthens_the_wait() {
    let whole = play(&morning("2021-04-06.toml", 0.002, 1), Way::Ideal);
    let cut = play(&morning("capacity-cut.toml", 0.002, 1), Way::Ideal);
    assert_eq!(cut.max_over_budget, 0, "{cut:?}");
    assert!(cut.seated_by["09:30"] < whole.seated_by["09:30"], "{cut:?}");
    assert!(cut.wait_p90_s > whole.wait_p90_s, "{cut:?}");
}

#[test]
fn late_teachers_are_served_first() {
    let run = play(&morning("teachers-late.toml", 0.002, 1), Way::Ideal);
    let waits = &run.wait_p90_s_by_class;
    assert!(waits["teachers"] < waits["everyone"] / 3.0, "{run:?}");
}

#[test]
fn strangers_crowd_pupils_out_where_nobody_keeps_places() {
    let morning = morning("cned-ddos.toml", 0.02, 1);
    let (ideal, fixed) = (play(&morning, Way::Ideal), play(&morning, Way::Static));
    assert!(
        fixed.seated_by["09:15"] * 2 < ideal.seated_by["09:15"],
        "{fixed:?} {ideal:?}"
    );
}

/// What a scenario that differs in one thing is refused with.
fn refusal(from: &str, to: &str) -> String {
    let text = std::fs::read_to_string(file("2021-04-06.toml")).unwrap();
    assert!(text.contains(from), "{from}");
    Scenario::parse(&text.replacen(from, to, 1)).unwrap_err()
}

#[test]
fn a_refusal_names_the_field_the_value_and_what_was_expected() {
    for (from, to, expected) in [
        (
            "users = 12_000_000",
            "users = 0",
            "users: 0 given, expected a whole number, 1 to 64000000",
        ),
        (
            "from = \"08:30\"",
            "from = \"8h30\"",
            "\"8h30\" given, expected a time of the day such as",
        ),
        (
            "to = \"10:30\"",
            "to = \"08:30\"",
            "to: 08:30 given, expected a time after from, 08:30",
        ),
        (
            "opens = \"09:00\"",
            "opens = \"11:00\"",
            "arrivals.opens: 11:00 given, expected a time from",
        ),
        (
            "loss = 0.001",
            "loss = 1.5",
            "front_ends.loss: 1.5 given, expected a number, 0 to 1",
        ),
        (
            "shape = \"logistic\"",
            "shape = \"zigzag\"",
            "unknown variant `zigzag`, expected one of",
        ),
        (
            "spread_s = 60.0",
            "spread = 60.0",
            "unknown field `spread`, expected one of",
        ),
        (
            "share = 0.07",
            "share = 0.08",
            "class: share: 1.01 given, expected parts that add up to 1",
        ),
        (
            "utc_offset = \"+04:00\"",
            "utc_offset = \"4\"",
            "\"4\" given, expected how far the clock",
        ),
        (
            "name = \"corse\"",
            "name = \"mayotte\"",
            "region: \"mayotte\" twice given, expected one region of a name",
        ),
        (
            "capacity = 4_000_000",
            "capacity = 40_000",
            "region \"ile-de-france\": nominal: 547019 given",
        ),
    ] {
        let message = refusal(from, to);
        assert!(message.contains(expected), "{to}: {message}");
    }
    let fault = "\n[[fault]]\nkind = \"region-cut-off\"\nregion = \"atlantide\"\nfrom = \"09:00\"\nto = \"09:01\"\n";
    let text = std::fs::read_to_string(file("2021-04-06.toml")).unwrap() + fault;
    let message = Scenario::parse(&text).unwrap_err();
    assert!(
        message.contains("fault: region: \"atlantide\" given, expected the name of a region"),
        "{message}"
    );
}

#[test]
fn a_base_that_is_not_there_is_named() {
    let dir = std::env::temp_dir().join(format!("preau-scenario-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("variant.toml");
    std::fs::write(&path, "base = \"nowhere.toml\"\n").unwrap();
    let missing = Scenario::load(&path).unwrap_err();
    std::fs::write(&path, "base = \"variant.toml\"\n").unwrap();
    let endless = Scenario::load(&path).unwrap_err();
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(
        missing.contains("can't read") && missing.contains("nowhere.toml"),
        "{missing}"
    );
    assert!(endless.contains("more than 4 deep"), "{endless}");
}

#[test]
fn a_scale_that_leaves_nothing_is_refused() {
    let scenario = Scenario::load(&file("2021-04-06.toml")).unwrap();
    for scale in [0.0, -1.0, f64::NAN, 17.0] {
        assert!(
            scenario.scaled(scale).unwrap_err().contains("scale: "),
            "{scale}"
        );
    }
    assert!(
        scenario
            .scaled(1e-9)
            .unwrap_err()
            .contains("users: 0 given")
    );
}

/// The real rules beside the ideal, at a size that a debug build plays in a moment.
fn beside_the_ideal(name: &str) -> (Figures, Figures) {
    let morning = morning(name, 0.002, 1);
    let (real, ideal) = (play(&morning, Way::Preau), play(&morning, Way::Ideal));
    assert_eq!(real.max_over_budget, 0, "{name}: {real:?}");
    (real, ideal)
}

fn is_about(real: f64, ideal: f64, part: f64) -> bool {
    (real - ideal).abs() <= part * ideal
}

#[test]
fn the_real_rules_come_close_to_the_ideal() {
    let (real, ideal) = beside_the_ideal("2021-04-06.toml");
    for time in ["09:15", "09:30"] {
        assert!(
            real.seated_by[time] * 100 >= ideal.seated_by[time] * 98,
            "{real:?} {ideal:?}"
        );
    }
    assert!(
        is_about(real.wait_p90_s, ideal.wait_p90_s, 0.05),
        "{real:?} {ideal:?}"
    );
    assert!(real.utilisation_while_waiting > 0.98, "{real:?}");
    assert!(real.lasting_inversions_per_million < 5_000.0, "{real:?}");
    assert_eq!(real.lost, 0, "{real:?}");
    assert!(
        real.messages > 0 && real.message_bytes > 0 && real.estimates.is_some(),
        "{real:?}"
    );
}

#[test]
fn late_teachers_pass_who_has_waited_for_minutes() {
    let (real, ideal) = beside_the_ideal("teachers-late.toml");
    let of = |run: &Figures| run.wait_p90_s_by_class["teachers"];
    assert!(of(&real) < of(&ideal) + 15.0, "{real:?} {ideal:?}");
}

#[test]
fn a_lost_leader_is_not_felt() {
    let (real, ideal) = beside_the_ideal("leader-lost.toml");
    assert!(
        is_about(real.wait_p90_s, ideal.wait_p90_s, 0.05),
        "{real:?} {ideal:?}"
    );
    assert_eq!(real.lost, 0, "{real:?}");
}

#[test]
fn a_region_cut_off_goes_by_its_floor_and_nothing_is_over_budget() {
    let (real, _) = beside_the_ideal("region-cut-off.toml");
    assert!(real.lost > 0, "{real:?}");
    assert!(real.finished + real.lost >= real.seated - 10, "{real:?}");
}

#[test]
fn a_cut_is_never_overdrawn() {
    let (real, ideal) = beside_the_ideal("capacity-cut.toml");
    assert!(
        is_about(real.wait_p90_s, ideal.wait_p90_s, 0.05),
        "{real:?} {ideal:?}"
    );
}

#[test]
fn users_of_a_killed_front_end_keep_their_place() {
    let (real, ideal) = beside_the_ideal("front-end-killed.toml");
    assert_eq!(real.lost, 0, "{real:?}");
    assert!(
        is_about(real.gave_up as f64, ideal.gave_up as f64, 0.05),
        "{real:?} {ideal:?}"
    );
    assert!(real.seated + real.gave_up >= real.users - 10, "{real:?}");
}
