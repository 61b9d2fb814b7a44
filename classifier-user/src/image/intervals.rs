//! Elementary intervals: the whole address space as ascending ranges, each with one answer.

/// A range of addresses, both ends included, and its value. Spans are prefixes, so of two that meet one lies
/// inside the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u128,
    pub(crate) last: u128,
    pub(crate) value: u32,
}

/// From `first` up to the next interval's `first` the answer is `value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) first: u128,
    pub(crate) value: u32,
}

/// Flattens nested spans: inside wins over outside, `default` holds where no span is. The first interval
/// begins at zero, and neighbours differ.
pub(crate) fn intervals(mut spans: Vec<Span>, default: u32) -> Vec<Interval> {
    spans.sort_by(|a, b| a.first.cmp(&b.first).then(b.last.cmp(&a.last)));
    let mut found = Flat(vec![Interval {
        first: 0,
        value: default,
    }]);
    let mut open: Vec<Span> = Vec::new();
    for span in spans {
        close(&mut found, &mut open, default, Some(span.first));
        found.begin(span.first, span.value);
        open.push(span);
    }
    close(&mut found, &mut open, default, None);
    found.folded()
}

/// Ends every open span that ends before `next`.
fn close(found: &mut Flat, open: &mut Vec<Span>, default: u32, next: Option<u128>) {
    while let Some(inner) = open.last() {
        if next.is_some_and(|next| inner.last >= next) {
            return;
        }
        let after = inner.last.checked_add(1);
        open.pop();
        if let Some(after) = after {
            found.begin(after, open.last().map_or(default, |outer| outer.value));
        }
    }
}

/// Lays `flags` over `base`: each value becomes the union of both.
pub(super) fn overlay(base: &[Interval], flags: &[Interval]) -> Vec<Interval> {
    let mut found = Flat(Vec::with_capacity(base.len() + flags.len()));
    let (mut b, mut f) = (0, 0);
    loop {
        found.begin(
            base[b].first.max(flags[f].first),
            base[b].value | flags[f].value,
        );
        match (base.get(b + 1), flags.get(f + 1)) {
            (None, None) => return found.folded(),
            (Some(_), None) => b += 1,
            (None, Some(_)) => f += 1,
            (Some(base), Some(flag)) => {
                let next = base.first.min(flag.first);
                b += usize::from(base.first == next);
                f += usize::from(flag.first == next);
            }
        }
    }
}

/// Intervals in the making.
struct Flat(Vec<Interval>);

impl Flat {
    /// From `first` on the answer is `value`; said again for the same address, the later word holds.
    fn begin(&mut self, first: u128, value: u32) {
        match self.0.last_mut() {
            Some(last) if last.first == first => last.value = value,
            _ => self.0.push(Interval { first, value }),
        }
    }
    fn folded(mut self) -> Vec<Interval> {
        self.0.dedup_by(|next, kept| next.value == kept.value);
        self.0
    }
}
