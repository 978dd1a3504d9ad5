//! Weighted max-min sharing: how a capacity is split among regions.
//!
//! Each region first gets its demand up to its nominal. What is left is lent to regions that want more,
//! up to their ceilings, by *progressive filling* (Bertsekas and Gallager, Data Networks, section 6.5.2):
//! the part beyond the nominal rises in all of them at speeds proportional to their weights, and a region
//! drops out where it has all it wants.

use std::cmp::Reverse;

/// What one region asks of a capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The region's name, which settles what nothing else does.
    pub name: &'a str,
    /// Slots wanted.
    pub demand: u64,
    /// Slots guaranteed. Where the nominals of all claims add up to more than the capacity, it is the
    /// proportional part that is guaranteed, rounded down.
    pub nominal: u64,
    /// Most slots, or `None` for no bound but the capacity.
    pub ceiling: Option<u64>,
    /// The part in what is lent, at least 1.
    pub weight: u32,
}

impl Claim<'_> {
    /// Slots that the claim can come to: its demand under its ceiling.
    fn limit(&self) -> u64 {
        self.demand.min(self.ceiling.unwrap_or(u64::MAX))
    }
}

/// Splits `capacity` among `claims`, and returns the slots of each in their order.
///
/// The answer adds up to the smaller of the capacity and what all claims can come to, gives no claim more
/// than it wants or less than its guaranteed part, and depends on no order: whole slots that do not divide
/// go out one each by largest remainder, then by name.
pub fn share(capacity: u64, claims: &[Claim<'_>]) -> Vec<u64> {
    let mut order: Vec<usize> = (0..claims.len()).collect();
    order.sort_unstable_by_key(|&i| claims[i].name);
    let mut granted = vec![0; claims.len()];
    let parts = share_by_name(capacity, order.iter().map(|&i| claims[i]));
    for (i, part) in order.into_iter().zip(parts) {
        granted[i] = part.has;
    }
    granted
}

/// As [`share`], of claims by name.
pub(crate) fn share_by_name<'a>(
    capacity: u64,
    claims: impl Iterator<Item = Claim<'a>> + Clone,
) -> Vec<Part> {
    let nominals = claims.clone().map(|c| u128::from(c.nominal)).sum();
    let mut left = capacity;
    let part = |claim: Claim<'_>| {
        let limit = claim.limit();
        // What is guaranteed is never more than there is.
        let has = limit.min(guaranteed(claim.nominal, capacity, nominals));
        left -= has;
        Part {
            has,
            want: limit - has,
            weight: claim.weight,
        }
    };
    let mut parts: Vec<Part> = claims.map(part).collect();
    fill(left, &mut parts);
    parts
}

/// What a nominal guarantees of a capacity, where all nominals add up to `nominals`.
pub(crate) fn guaranteed(nominal: u64, capacity: u64, nominals: u128) -> u64 {
    if nominals <= u128::from(capacity) {
        return nominal;
    }
    let part = u128::from(nominal) * u128::from(capacity) / nominals;
    u64::try_from(part).unwrap_or(nominal)
}

/// One taker of an amount.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub has: u64,
    /// How much it wants beside.
    pub want: u64,
    pub weight: u32,
}

/// Progressive filling of `amount` into `parts`, in whole units; of equal remainders the first ones are rounded up.
pub(crate) fn fill(amount: u64, parts: &mut [Part]) {
    let wanted: u128 = parts.iter().map(|part| u128::from(part.want)).sum();
    let mut left = u128::from(amount);
    if wanted <= left {
        for part in parts {
            part.has += part.want;
        }
        return;
    }
    // Whoever is full at the level that all have reached drops out, and leaves a higher one to the others. In a few
    // turns nobody else is.
    let mut weights: u128 = parts.iter().map(|part| u128::from(part.weight)).sum();
    let mut rest: Vec<(usize, u128)> = (0..parts.len()).map(|i| (i, 0)).collect();
    let mut open = usize::MAX;
    while rest.len() < open {
        open = rest.len();
        rest.retain(|&(i, _)| {
            let (want, weight) = (u128::from(parts[i].want), u128::from(parts[i].weight));
            let full = want * weights <= left * weight;
            if full {
                parts[i].has += parts[i].want;
                left -= want;
                weights -= weight;
            }
            !full
        });
    }
    // Nobody in `rest` can be filled: each gets its proportion, which is strictly under its want, so that
    // rounding up by one never gives too much.
    let (level, more) = (left / weights, left % weights);
    for (i, remainder) in &mut rest {
        let part = &mut parts[*i];
        let weight = u128::from(part.weight);
        let whole = level * weight + more * weight / weights;
        *remainder = more * weight % weights;
        part.has += u64::try_from(whole).unwrap_or(part.want);
        left -= whole;
    }
    rest.sort_unstable_by_key(|&(i, remainder)| (Reverse(remainder), i));
    let over = usize::try_from(left).unwrap_or(usize::MAX);
    for &(i, _) in rest.iter().take(over) {
        parts[i].has += 1;
    }
}
