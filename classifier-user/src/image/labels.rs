//! Writing what classes are called in tags: see [`classifier::tag`].

use classifier::image::at;
use classifier::layout::MAX_CLASSES;
use classifier::tag::Label;

/// What tags say, in the node's numbers of classes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// Bits of the mark that tags may use; zero where no tag is asked for.
    pub mask: u32,
    /// By class number, the number the configuration gives the class.
    pub classes: Vec<Option<u32>>,
}

/// Appends a label for each number a class can have, also those that no class has yet.
pub(super) fn write(words: &mut Vec<u32>, labels: &Labels) {
    words.resize(words.len().next_multiple_of(2), 0);
    words[at::TAG_MASK as usize] = labels.mask;
    words[at::LABELS as usize] = (words.len() / 2) as u32;
    for class in 0..MAX_CLASSES as usize {
        let number = labels.classes.get(class).copied().flatten();
        let label = number.map_or(0, |number| Label::new(number, labels.mask).word());
        words.extend([label as u32, (label >> 32) as u32]);
    }
}

#[cfg(test)]
mod tests {
    use classifier::image::Image;
    use classifier::tag::{self, Payer, Tag, Tagging};

    use super::*;
    use crate::image::{ChainEntry, PlanEntry, Source};

    /// Class 0 has number 2, class 1 none, class 2 a number that is no DSCP.
    fn source() -> Source {
        let chain = |end_free| ChainEntry {
            steps: vec![(0, 0)],
            end: Some(1),
            end_free,
            ..ChainEntry::default()
        };
        Source {
            labels: Labels {
                mask: 0x0fff_0000,
                classes: vec![Some(2), None, Some(255)],
            },
            plans: vec![(
                0,
                PlanEntry {
                    chains: vec![Some(chain(true)), Some(chain(false))],
                    ..PlanEntry::default()
                },
            )],
            ..Source::default()
        }
    }

    #[test]
    fn every_class_and_payer_is_told_as_the_hook_asks() {
        let compiled = source().compile().unwrap();
        let image = Image::new(&compiled).unwrap();
        let marked = |mark| Tag {
            mask: 0x0fff_0000,
            mark,
            dscp: None,
        };
        let payers = [
            Payer::UNATTRIBUTED,
            Payer::FREE,
            Payer::METERED,
            Payer::BUCKET,
            Payer::BLOCKED,
            Payer::DROPPED,
        ];
        // The last number a class can have among them: no class has it yet.
        for (class, number, dscp) in [(0, 2, Some(2)), (1, 0, None), (2, 255, None), (63, 0, None)]
        {
            for (payer, value) in payers.into_iter().zip(0..) {
                let of = |tagging| tag::of(image, tagging, class, payer);
                assert_eq!(of(Tagging::Mark), marked(number << 20 | value << 16));
                // What is blocked has to be told in any case, and then nothing but that.
                let blocked = match payer {
                    Payer::BLOCKED => marked(0x0004_0000),
                    _ => Tag::NONE,
                };
                assert_eq!(of(Tagging::None), blocked);
                assert_eq!(of(Tagging::Dscp), Tag { dscp, ..blocked });
            }
        }
    }

    #[test]
    fn an_end_that_is_free_is_told_from_one_that_is_metered() {
        let compiled = source().compile().unwrap();
        let image = Image::new(&compiled).unwrap();
        for (class, is_free) in [(0, true), (1, false)] {
            let chain = image.chain(0, class);
            assert!(chain.end_passes());
            assert_eq!(chain.end_is_free(), is_free);
        }
    }

    #[test]
    fn without_tags_no_bit_is_touched() {
        let compiled = Source::default().compile().unwrap();
        let image = Image::new(&compiled).unwrap();
        let tag = tag::of(image, Tagging::Mark, 0, Payer::BUCKET);
        assert_eq!(tag, Tag::NONE);
    }
}
