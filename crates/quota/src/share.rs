//! Weighted max-min sharing: how a capacity is split among regions.
//!
//! Each region first gets its demand up to its nominal. What is left is lent to regions that want more,
//! up to their ceilings, by *progressive filling* (Bertsekas and Gallager, Data Networks, section 6.5.2):
//! the part beyond the nominal rises in all of them at speeds proportional to their weights, and a region
//! drops out where it has all it wants.

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
    let nominals = claims.iter().map(|c| u128::from(c.nominal)).sum();
    let guaranteed: Vec<Part<'_>> = claims
        .iter()
        .map(|c| Part {
            name: c.name,
            want: c.limit().min(guaranteed(c.nominal, capacity, nominals)),
            weight: c.weight,
        })
        .collect();
    let mut granted = fill(capacity, &guaranteed);
    let given: u64 = granted.iter().sum();

    let lent: Vec<Part<'_>> = claims
        .iter()
        .zip(&granted)
        .map(|(c, base)| Part {
            name: c.name,
            want: c.limit() - base,
            weight: c.weight,
        })
        .collect();
    for (slots, more) in granted.iter_mut().zip(fill(capacity - given, &lent)) {
        *slots += more;
    }
    granted
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
pub(crate) struct Part<'a> {
    pub name: &'a str,
    pub want: u64,
    pub weight: u32,
}

/// Progressive filling of `amount` into `parts`, in whole units.
pub(crate) fn fill(amount: u64, parts: &[Part<'_>]) -> Vec<u64> {
    let wanted: u128 = parts.iter().map(|p| u128::from(p.want)).sum();
    if wanted <= u128::from(amount) {
        return parts.iter().map(|p| p.want).collect();
    }
    // Those that are full soonest come first: by want / weight, compared without dividing.
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_unstable_by(|&a, &b| {
        let (a, b) = (&parts[a], &parts[b]);
        let cross = |x: &Part<'_>, y: &Part<'_>| u128::from(x.want) * u128::from(y.weight);
        cross(a, b).cmp(&cross(b, a))
    });

    let mut filled = vec![0; parts.len()];
    let mut left = u128::from(amount);
    let mut weights: u128 = parts.iter().map(|p| u128::from(p.weight)).sum();
    let mut rest = order.as_slice();
    while let Some((&i, tail)) = rest.split_first() {
        let Part { want, weight, .. } = parts[i];
        if u128::from(want) * weights > left * u128::from(weight) {
            break;
        }
        filled[i] = want;
        left -= u128::from(want);
        weights -= u128::from(weight);
        rest = tail;
    }
    // Nobody in `rest` can be filled: each gets its proportion, which is strictly under its want, so that
    // rounding up by one never gives too much.
    let mut remainders: Vec<(u128, &str, usize)> = Vec::with_capacity(rest.len());
    let mut given = 0;
    for &i in rest {
        let due = left * u128::from(parts[i].weight);
        let whole = due / weights;
        filled[i] = u64::try_from(whole).unwrap_or(parts[i].want);
        given += whole;
        remainders.push((due % weights, parts[i].name, i));
    }
    remainders.sort_unstable_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    let over = usize::try_from(left - given).unwrap_or(usize::MAX);
    for &(_, _, i) in remainders.iter().take(over) {
        filled[i] += 1;
    }
    filled
}
