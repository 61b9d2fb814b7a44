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
