//! Classes that are found later are found in the image that judged the packet, whatever takes its place meanwhile, and by whom.
//! Needs root and a BPF file system; skipped without.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use classifier::layout::BATCH_NOTES;
use zerorate::datapath::batches_map::FlushError;

use crate::batches::{BYTES, CLASSES, Desk, Judge, SUBSCRIBERS, on_cpu, stay_on_nth};

#[test]
fn what_is_deferred_is_decided_by_the_image_it_was_judged_by() {
    const ROUNDS: u32 = 60;
    let Some(mut desk) = Desk::new("deferred-image", true) else {
        return;
    };
    let mut expected = [0; CLASSES as usize];
    for round in 0..ROUNDS {
        let class = desk.source.default_class;
        // Fewer than a CPU has notes for, and more.
        let packets = round % (BATCH_NOTES + 7);
        on_cpu(round as usize, || {
            let mut judge = Judge::load(&desk.maps);
            (0..packets).for_each(|number| judge.judge(number, 1 + round % 2));
        });
        expected[class as usize] += u64::from(packets * (1 + round % 2));
        // From the same CPU, or another.
        let next = (class + 1 + round % 3) % CLASSES;
        on_cpu(round as usize / 2, || desk.turn_to(next));
    }
    for (class, expected) in (0..).zip(expected) {
        assert_eq!(desk.packets_as(class), expected, "class {class}");
    }
    let packets: u64 = expected.iter().sum();
    assert_eq!(desk.books(), [packets, packets * BYTES, 0, 0]);
}

#[test]
fn images_take_turns_while_packets_are_deferred() {
    const CHANGES: u32 = 150;
    const AT_ONCE: u32 = 50;
    let Some(mut desk) = Desk::new("deferred-turns", true) else {
        return;
    };
    let done = AtomicBool::new(false);
    let mut judges: Vec<_> = (0..2).map(|_| Judge::load(&desk.maps)).collect();
    let judged: u64 = thread::scope(|scope| {
        let counting = judges.iter_mut().enumerate().map(|(cpu, judge)| {
            let done = &done;
            scope.spawn(move || {
                stay_on_nth(cpu);
                let mut judged = 0;
                while !done.load(Ordering::Relaxed) {
                    for number in 0..SUBSCRIBERS {
                        judge.judge(number, AT_ONCE);
                        judged += u64::from(AT_ONCE);
                    }
                }
                judged
            })
        });
        let counting: Vec<_> = counting.collect();
        (0..CHANGES).for_each(|change| desk.turn_to(change % CLASSES));
        done.store(true, Ordering::Relaxed);
        counting
            .into_iter()
            .map(|thread| thread.join().expect("it counts"))
            .sum()
    });
    desk.flush();
    assert_eq!(desk.packets(), judged);
    assert_eq!(desk.books(), [judged, judged * BYTES, 0, 0]);
    for class in 0..CLASSES {
        assert!(desk.packets_as(class) > 0, "class {class}");
    }
}

#[test]
fn once_settled_classes_are_found_at_once() {
    let Some(mut desk) = Desk::new("deferred-settled", true) else {
        return;
    };
    on_cpu(0, || {
        let mut judge = Judge::load(&desk.maps);
        judge.judge(1, 5);
        desk.settle();
        assert_eq!(desk.counted(1), (5, 5 * BYTES), "by settling");
        judge.judge(1, 2);
        // Nobody settles this one: it is not needed.
        desk.source.serial += 1;
        desk.source.default_class = 1;
        desk.publish();
        judge.judge(1, 3);
        desk.flush();
        assert_eq!(desk.counted(1), (7, 7 * BYTES));
        assert_eq!(desk.counted_as(1, 1), (3, 3 * BYTES));
    });
}

#[test]
fn what_can_be_decided_no_more_shows_in_the_books() {
    let Some(mut desk) = Desk::new("deferred-lost", true) else {
        return;
    };
    on_cpu(0, || {
        let mut judge = Judge::load(&desk.maps);
        judge.judge(1, 5);
        judge.judge(2, 1);
        // Somebody who knows nothing of this exchanges the image.
        desk.source.serial += 1;
        desk.publish();
        let refused = desk.flusher.flush(&desk.maps.batches);
        assert!(
            matches!(refused, Err(FlushError::Undecided(_))),
            "{refused:?}"
        );
        assert_eq!(desk.books(), [6, 6 * BYTES, 0, 0], "it stays");
        desk.settle();
        assert_eq!(desk.packets(), 0);
        assert_eq!(desk.books(), [6, 6 * BYTES, 6, 6 * BYTES]);
        judge.judge(1, 3);
        desk.flush();
        assert_eq!(desk.packets(), 3);
    });
}

#[test]
fn a_program_that_reads_another_map_leaves_what_is_deferred_alone() {
    let Some(mut desk) = Desk::new("deferred-other-map", true) else {
        return;
    };
    on_cpu(0, || {
        let mut judge = Judge::load(&desk.maps);
        judge.judge(1, 5);
        desk.maps.image.renew().expect("there is room for a map");
        desk.source.serial += 1;
        desk.source.default_class = 2;
        desk.publish();
        let mut other = Judge::load(&desk.maps);
        (0..SUBSCRIBERS).for_each(|number| other.judge(number, 2));
        judge.judge(1, 1);
        // The one that was loaded over the first map.
        desk.flush();
        assert_eq!(desk.counted(1), (6, 6 * BYTES));
        for number in 0..SUBSCRIBERS {
            assert_eq!(desk.counted_as(number, 2), (2, 2 * BYTES), "{number}");
        }
        let packets = u64::from(2 * SUBSCRIBERS + 6);
        assert_eq!(desk.books(), [packets, packets * BYTES, 0, 0]);
    });
}
