//! What goes wrong, and when it is mended.

use crate::disk::Speed;
use crate::net::Quality;
use crate::run::{ASKERS, World};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
/// The longest that one fault lasts.
const LONGEST_MS: u64 = 9_000;

/// The faults of a run.
pub struct Faults {
    random: fastrand::Rng,
    next_ns: u64,
    /// When the network is whole again.
    mend_ns: Option<u64>,
    /// What follows on what has begun already.
    next: Option<(u64, Act)>,
    /// How long nothing goes wrong, on average.
    pause_ms: u64,
}

/// A fault that another leads up to.
enum Act {
    /// Power is cut while all disks have much to write.
    CutPower,
    /// A client is cut off after its answers came late.
    CutOff(usize),
}

impl Faults {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        Self {
            next_ns: 0,
            mend_ns: None,
            next: None,
            pause_ms: [800, 2_000, 4_000][random.usize(0..3)],
            random,
        }
    }

    fn lasts_ns(&mut self) -> u64 {
        match self.random.u32(0..3) {
            0 => self.random.u64(20..600) * MS,
            _ => self.random.u64(300..LONGEST_MS) * MS,
        }
    }

    /// Mends what is due, and breaks something now and then.
    pub fn step(&mut self, world: &mut World, now_ns: u64, until_ns: u64) {
        if self.mend_ns.is_some_and(|at| at <= now_ns) {
            self.mend_ns = None;
            world.net.mend();
        }
        if let Some((_, act)) = self.next.take_if(|(at, _)| *at <= now_ns) {
            match act {
                Act::CutPower => self.cut_power(world, now_ns),
                Act::CutOff(at) => {
                    // For longer than its lease lasts.
                    let lasts_ms = self.random.u64(5_200..LONGEST_MS);
                    self.cut_off(world, at, now_ns + lasts_ms * MS);
                }
            }
        }
        if now_ns < self.next_ns || now_ns + S > until_ns {
            return;
        }
        self.next_ns = now_ns + self.random.u64(0..2 * self.pause_ms) * MS;
        match self.random.u32(0..24) {
            0..=5 => self.part(world, now_ns),
            6..=7 => self.worsen(world, now_ns),
            8..=11 => self.crash(world, now_ns),
            12 if self.random.bool() => self.cut_power(world, now_ns),
            12 => self.busy_disks(world, now_ns),
            13..=15 => self.stop(world, now_ns),
            16..=17 => self.slow(world, now_ns),
            18..=19 => self.turn_clock(world),
            20..=21 => self.answer_late(world, now_ns),
            _ => self.crash_client(world, now_ns),
        }
    }

    /// Everything is mended, and starts again.
    pub fn end(&mut self, world: &mut World, now_ns: u64) {
        world.net.mend();
        for member in &mut world.members {
            member.disk.set_speed(Speed::default());
            member.host.stands_until_ns = 0;
            member.up_at_ns = member.up_at_ns.min(now_ns);
        }
        for other in &mut world.others {
            other.host.stands_until_ns = 0;
            other.up_at_ns = other.up_at_ns.min(now_ns);
        }
    }

    fn part(&mut self, world: &mut World, now_ns: u64) {
        if self.mend_ns.is_some() {
            return;
        }
        self.mend_ns = Some(now_ns + self.lasts_ns());
        let nodes: Vec<u64> = world.members.iter().map(|member| member.id).collect();
        let all: Vec<u64> = nodes
            .iter()
            .copied()
            .chain(world.others.iter().map(|other| other.id))
            .collect();
        let cut = |from: u64, to: u64| world.net.cut(from, to);
        match self.random.u32(0..5) {
            0 => {
                let (mut here, mut there) = (Vec::new(), Vec::new());
                for id in all {
                    if self.random.bool() {
                        &mut here
                    } else {
                        &mut there
                    }
                    .push(id);
                }
                for &a in &here {
                    for &b in &there {
                        cut(a, b);
                        cut(b, a);
                    }
                }
                world
                    .trace
                    .fault("partition", format!("{here:?} from {there:?}"));
            }
            1 => {
                let (kind, alone) = match world.leader() {
                    Some(leader) => ("leader isolated", leader),
                    None => ("node isolated", 1),
                };
                for &id in &nodes {
                    world.net.cut(alone, id);
                    world.net.cut(id, alone);
                }
                let what = format!("node {alone} from the other nodes");
                world.trace.fault(kind, what);
            }
            2 => {
                let from = nodes[self.random.usize(0..nodes.len())];
                let deaf = self.random.bool();
                for &id in &nodes {
                    if deaf {
                        cut(id, from);
                    } else {
                        cut(from, id);
                    }
                }
                world
                    .trace
                    .fault("one-way partition", format!("node {from}, deaf {deaf}"));
            }
            3 => {
                // Everybody sees a majority, and no two the same one.
                for (at, &a) in nodes.iter().enumerate() {
                    let b = nodes[(at + nodes.len() / 2) % nodes.len()];
                    cut(a, b);
                    cut(b, a);
                }
                world
                    .trace
                    .fault("ring partition", "each node from the one across");
            }
            _ => {
                let client = self.random.usize(0..world.others.len());
                let lasts_ms = self.random.u64(300..LONGEST_MS);
                self.cut_off(world, client, now_ns + lasts_ms * MS);
            }
        }
    }

    /// Answers to a front-end come late, and then it is cut off.
    fn answer_late(&mut self, world: &mut World, now_ns: u64) {
        if self.mend_ns.is_some() {
            return;
        }
        let fronts = world.others.iter().take_while(|other| other.id < ASKERS);
        let client = self.random.usize(0..fronts.count());
        let id = world.others[client].id;
        let late = Quality {
            slowest_ns: 900 * MS,
            lost_permille: 0,
        };
        for member in &world.members {
            world.net.worsen(member.id, id, late);
        }
        let cut_ns = now_ns + self.random.u64(700..2_500) * MS;
        self.next = Some((cut_ns, Act::CutOff(client)));
        self.mend_ns = Some(cut_ns + S);
        world
            .trace
            .fault("late answers", format!("to machine {id}"));
    }

    /// Cuts a client off.
    fn cut_off(&mut self, world: &mut World, client: usize, until_ns: u64) {
        self.mend_ns = Some(until_ns);
        let client = world.others[client].id;
        for member in &world.members {
            world.net.cut(client, member.id);
            world.net.cut(member.id, client);
        }
        world
            .trace
            .fault("client cut off", format!("machine {client}"));
    }

    fn worsen(&mut self, world: &mut World, now_ns: u64) {
        self.mend_ns.get_or_insert(now_ns + 6 * S);
        let ids: Vec<u64> = world
            .members
            .iter()
            .map(|member| member.id)
            .chain(world.others.iter().map(|other| other.id))
            .collect();
        let quality = Quality {
            slowest_ns: [20, 200, 500][self.random.usize(0..3)] * MS,
            lost_permille: [0, 50, 300][self.random.usize(0..3)],
        };
        for &a in &ids {
            for &b in &ids {
                if a != b && self.random.u32(0..3) == 0 {
                    world.net.worsen(a, b, quality);
                }
            }
        }
        world.trace.fault("bad network", format!("{quality:?}"));
    }

    fn crash(&mut self, world: &mut World, now_ns: u64) {
        let at = match (self.random.bool(), world.leader()) {
            (true, Some(leader)) => leader as usize - 1,
            _ => self.random.usize(0..world.members.len()),
        };
        let (steps, silent) = (self.random.u32(0..300), self.random.bool());
        let back = self.lasts_ns();
        let member = &mut world.members[at];
        if !member.host.is_up() {
            return;
        }
        member.end(&world.net, &world.trace, steps, silent);
        member.up_at_ns = now_ns + back;
        let what = format!("node {}, silent {silent}, for {} ms", member.id, back / MS);
        world.trace.fault("crash", what);
    }

    /// All disks are slow, and then the power goes.
    fn busy_disks(&mut self, world: &mut World, now_ns: u64) {
        let cut_ns = now_ns + self.random.u64(200..1_500) * MS;
        for member in &world.members {
            member.disk.set_speed(Speed {
                slow_until_ns: cut_ns + S,
                stuck_until_ns: 0,
            });
        }
        self.next = Some((cut_ns, Act::CutPower));
        world.trace.fault("disk slow", "of all nodes");
    }

    fn cut_power(&mut self, world: &mut World, now_ns: u64) {
        let mut went_down = 0;
        for at in 0..world.members.len() {
            let (steps, back) = (self.random.u32(0..300), self.random.u64(100..3_000) * MS);
            let member = &mut world.members[at];
            if member.host.is_up() {
                member.end(&world.net, &world.trace, steps, true);
                member.up_at_ns = now_ns + back;
                went_down += 1;
            }
        }
        if went_down > 0 {
            let what = format!("all nodes, {went_down} of them up");
            world.trace.fault("power cut", what);
        }
    }

    fn stop(&mut self, world: &mut World, now_ns: u64) {
        let until = now_ns + self.lasts_ns();
        if self.random.u32(0..3) == 0 {
            let at = self.random.usize(0..world.others.len());
            if !world.others[at].host.is_up() {
                return;
            }
            world.others[at].host.stands_until_ns = until;
            let what = format!(
                "machine {} for {} ms",
                world.others[at].id,
                (until - now_ns) / MS
            );
            return world.trace.fault("client paused", what);
        }
        let at = match (self.random.bool(), world.leader()) {
            (true, Some(leader)) => leader as usize - 1,
            _ => self.random.usize(0..world.members.len()),
        };
        if !world.members[at].host.is_up() {
            return;
        }
        world.members[at].host.stands_until_ns = until;
        let what = format!(
            "node {} for {} ms",
            world.members[at].id,
            (until - now_ns) / MS
        );
        world.trace.fault("node paused", what);
    }

    fn slow(&mut self, world: &mut World, now_ns: u64) {
        let at = self.random.usize(0..world.members.len());
        let until = now_ns + self.lasts_ns();
        let stuck = self.random.bool();
        let member = &mut world.members[at];
        member.disk.set_speed(Speed {
            slow_until_ns: until,
            stuck_until_ns: if stuck { until } else { 0 },
        });
        let kind = if stuck { "disk stuck" } else { "disk slow" };
        world.trace.fault(
            kind,
            format!("node {} for {} ms", member.id, (until - now_ns) / MS),
        );
    }

    fn turn_clock(&mut self, world: &mut World) {
        let by = self.random.i64(-20_000..20_000) * S as i64;
        let count = world.members.len() + world.others.len();
        let at = self.random.usize(0..count);
        let (id, host) = match at.checked_sub(world.members.len()) {
            None => (world.members[at].id, &mut world.members[at].host),
            Some(at) => (world.others[at].id, &mut world.others[at].host),
        };
        host.wall_ns += by;
        let what = format!("machine {id} by {} s", by / S as i64);
        world.trace.fault("wall clock jump", what);
    }

    fn crash_client(&mut self, world: &mut World, now_ns: u64) {
        // The operator is a person, and there is one.
        let at = self.random.usize(0..world.others.len() - 1);
        if !world.others[at].host.is_up() {
            return;
        }
        let (steps, silent) = (self.random.u32(0..200), self.random.bool());
        let back = self.lasts_ns();
        world.end_other(at, steps, silent);
        world.others[at].up_at_ns = now_ns + back;
        let what = format!("machine {} for {} ms", world.others[at].id, back / MS);
        world.trace.fault("client crash", what);
    }
}
