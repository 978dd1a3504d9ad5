//! Demands in order, with their sums: a weight-balanced tree whose nodes are lease slots.
//!
//! Balance parameters (3, 2) are those proven right by Hirai and Yamamoto, "Balancing weight-balanced
//! trees", 2011. The depth is at most 2.5 log2 n, so recursion is bounded. The tree's shape depends on its
//! history, and nothing that it answers does.

const DELTA: u32 = 3;
const GAMMA: u32 = 2;

/// No node.
pub(crate) const NIL: u32 = u32::MAX;

/// Demand, then the lease's slot.
type Key = (u64, u32);

#[derive(Debug, Clone, Copy)]
struct Node {
    demand: u64,
    sum: u64,
    left: u32,
    right: u32,
    size: u32,
}

/// Nodes of any number of trees, each named by its root, with the lease's slot as the node's place.
#[derive(Debug, Default)]
pub(crate) struct Ranked {
    nodes: Vec<Node>,
}

/// How an amount falls out over a tree's demands, max-min: `min(demand, level)` each, and one more for
/// the `extra` last ones by demand, then slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub level: u64,
    pub extra: u64,
}

impl Ranked {
    /// Adds a slot to the tree at `root` and returns the new root.
    pub fn insert(&mut self, root: u32, slot: u32, demand: u64) -> u32 {
        let place = slot as usize;
        let node = Node {
            demand,
            sum: demand,
            left: NIL,
            right: NIL,
            size: 1,
        };
        if self.nodes.len() <= place {
            self.nodes.resize(place + 1, node);
        }
        self.nodes[place] = node;
        self.insert_at(root, (demand, slot))
    }

    /// Takes a slot, which must be there with this demand, out of the tree at `root`; returns the new root.
    pub fn remove(&mut self, root: u32, slot: u32, demand: u64) -> u32 {
        self.remove_at(root, (demand, slot))
    }

    /// Sum of all demands.
    pub fn sum(&self, root: u32) -> u64 {
        if root == NIL { 0 } else { self.node(root).sum }
    }

    /// How `amount` falls out, or `None` where it covers every demand.
    pub fn level(&self, root: u32, amount: u64) -> Option<Level> {
        if self.sum(root) <= amount {
            return None;
        }
        let total = u64::from(self.size(root));
        let (mut covered, mut count) = (0, 0);
        let mut at = root;
        while at != NIL {
            let node = self.node(at);
            let below = covered + self.sum(node.left);
            let rank = count + u64::from(self.size(node.left));
            // At a level of this node's demand, those before it have theirs, and the others as much as it.
            if below + node.demand * (total - rank) <= amount {
                covered = below + node.demand;
                count = rank + 1;
                at = node.right;
            } else {
                at = node.left;
            }
        }
        // The sum is over the amount, so at least one is not covered.
        let rest = (total - count).max(1);
        Some(Level {
            level: (amount - covered) / rest,
            extra: (amount - covered) % rest,
        })
    }

    /// What falls to one slot when `amount` falls out over the tree.
    pub fn part(&self, root: u32, slot: u32, demand: u64, amount: u64) -> u64 {
        match self.level(root, amount) {
            None => demand,
            Some(Level { level, .. }) if demand <= level => demand,
            Some(Level { level, extra: 0 }) => level,
            Some(Level { level, extra }) => {
                level + u64::from(self.after(root, (demand, slot)) < extra)
            }
        }
    }

    /// How many come after `key`.
    fn after(&self, root: u32, key: Key) -> u64 {
        let mut after = 0;
        let mut at = root;
        while at != NIL {
            let node = self.node(at);
            if key < (node.demand, at) {
                after += 1 + u64::from(self.size(node.right));
                at = node.left;
            } else {
                at = node.right;
            }
        }
        after
    }

    fn node(&self, at: u32) -> Node {
        self.nodes[at as usize]
    }

    fn size(&self, at: u32) -> u32 {
        if at == NIL { 0 } else { self.node(at).size }
    }

    fn insert_at(&mut self, at: u32, key: Key) -> u32 {
        if at == NIL {
            return key.1;
        }
        let node = self.node(at);
        if key < (node.demand, at) {
            let left = self.insert_at(node.left, key);
            self.join(at, left, node.right)
        } else {
            let right = self.insert_at(node.right, key);
            self.join(at, node.left, right)
        }
    }

    fn remove_at(&mut self, at: u32, key: Key) -> u32 {
        if at == NIL {
            debug_assert!(false, "removed a demand that is not in the tree");
            return NIL;
        }
        let node = self.node(at);
        if at == key.1 {
            if node.left == NIL {
                return node.right;
            }
            if node.right == NIL {
                return node.left;
            }
            let (first, right) = self.take_first(node.right);
            self.join(first, node.left, right)
        } else if key < (node.demand, at) {
            let left = self.remove_at(node.left, key);
            self.join(at, left, node.right)
        } else {
            let right = self.remove_at(node.right, key);
            self.join(at, node.left, right)
        }
    }

    /// Takes the first node out of a tree that has one: that node, and what is left.
    fn take_first(&mut self, at: u32) -> (u32, u32) {
        let node = self.node(at);
        if node.left == NIL {
            return (at, node.right);
        }
        let (first, left) = self.take_first(node.left);
        (first, self.join(at, left, node.right))
    }

    /// Puts `at` over two trees whose sizes are at most one insertion or removal from balance.
    fn join(&mut self, at: u32, left: u32, right: u32) -> u32 {
        // Weights are sizes plus one, so that empty trees balance.
        let (l, r) = (self.size(left) + 1, self.size(right) + 1);
        if r > DELTA * l {
            let n = self.node(right);
            if self.size(n.left) + 1 < GAMMA * (self.size(n.right) + 1) {
                let low = self.link(at, left, n.left);
                self.link(right, low, n.right)
            } else {
                let m = self.node(n.left);
                let low = self.link(at, left, m.left);
                let high = self.link(right, m.right, n.right);
                self.link(n.left, low, high)
            }
        } else if l > DELTA * r {
            let n = self.node(left);
            if self.size(n.right) + 1 < GAMMA * (self.size(n.left) + 1) {
                let high = self.link(at, n.right, right);
                self.link(left, n.left, high)
            } else {
                let m = self.node(n.right);
                let low = self.link(left, n.left, m.left);
                let high = self.link(at, m.right, right);
                self.link(n.right, low, high)
            }
        } else {
            self.link(at, left, right)
        }
    }

    fn link(&mut self, at: u32, left: u32, right: u32) -> u32 {
        let size = self.size(left) + self.size(right) + 1;
        let sum = self.sum(left) + self.sum(right) + self.node(at).demand;
        let node = &mut self.nodes[at as usize];
        (node.left, node.right, node.size, node.sum) = (left, right, size, sum);
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The obvious way: hand out one unit at a time to whoever has least, the last by demand and slot first.
    fn slow(demands: &[(u64, u32)], amount: u64) -> Vec<(u32, u64)> {
        let mut sorted = demands.to_vec();
        sorted.sort_unstable();
        let mut given: Vec<u64> = vec![0; sorted.len()];
        for _ in 0..amount {
            let open = (0..sorted.len()).rev().filter(|&i| given[i] < sorted[i].0);
            match open.min_by_key(|&i| given[i]) {
                Some(i) => given[i] += 1,
                None => break,
            }
        }
        sorted
            .iter()
            .zip(given)
            .map(|(&(_, slot), g)| (slot, g))
            .collect()
    }

    fn depth(ranked: &Ranked, at: u32) -> u32 {
        if at == NIL {
            return 0;
        }
        let node = ranked.node(at);
        1 + depth(ranked, node.left).max(depth(ranked, node.right))
    }

    proptest! {
        #[test]
        fn parts_are_those_of_the_slow_way(
            steps in prop::collection::vec((0u32..40, 0u64..30, prop::bool::ANY), 1..120),
            amount in 0u64..300,
        ) {
            let mut ranked = Ranked::default();
            let mut root = NIL;
            let mut there = std::collections::BTreeMap::new();
            for (slot, demand, add) in steps {
                if let Some(old) = there.remove(&slot) {
                    root = ranked.remove(root, slot, old);
                }
                if add {
                    there.insert(slot, demand);
                    root = ranked.insert(root, slot, demand);
                }
            }
            let demands: Vec<(u64, u32)> = there.iter().map(|(&s, &d)| (d, s)).collect();
            prop_assert_eq!(ranked.sum(root), demands.iter().map(|d| d.0).sum::<u64>());
            for (slot, part) in slow(&demands, amount) {
                prop_assert_eq!(ranked.part(root, slot, there[&slot], amount), part);
            }
        }
    }

    #[test]
    fn stays_balanced_whatever_the_order() {
        let mut ranked = Ranked::default();
        let mut root = NIL;
        for slot in 0..50_000 {
            root = ranked.insert(root, slot, u64::from(slot));
        }
        assert!(depth(&ranked, root) <= 40);
        for slot in 0..49_000 {
            root = ranked.remove(root, slot, u64::from(slot));
        }
        assert!(depth(&ranked, root) <= 25);
        assert_eq!(ranked.size(root), 1_000);
    }
}
