//! What the loader writes into the program of each interface before the verifier sees it, which leaves out the code that a
//! constant rules out.
//!
//! Each constant has a section of its own: LLVM merges equal constants of one section, and an override would
//! then reach more than was meant.

use aya_ebpf::Global;
use classifier::layout::LAYOUT_VERSION;
use classifier::tag::Tagging;
use classifier::verdict::Settings;

/// Version of the layout this object was built with.
#[unsafe(link_section = ".rodata.layout")]
#[unsafe(no_mangle)]
pub(crate) static LAYOUT: Global<u64> = Global::new(LAYOUT_VERSION as u64);

/// Bytes of the image map minus one: a power of two minus one.
#[unsafe(link_section = ".rodata.mask")]
#[unsafe(no_mangle)]
pub(crate) static CONFIG_IMAGE_MASK: Global<u64> = Global::new(4095);

/// Number of this interface in the books.
#[unsafe(link_section = ".rodata.interface")]
#[unsafe(no_mangle)]
pub(crate) static CONFIG_INTERFACE: Global<u64> = Global::new(0);

/// Whether packets of unknown subscribers are dropped.
#[unsafe(link_section = ".rodata.unknown")]
#[unsafe(no_mangle)]
static CONFIG_DROP_UNKNOWN: Global<u64> = Global::new(0);

/// Whether what is to be dropped really is.
#[unsafe(link_section = ".rodata.enforce")]
#[unsafe(no_mangle)]
static CONFIG_ENFORCE: Global<u64> = Global::new(1);

/// Whether web traffic that is to be dropped is marked instead.
#[unsafe(link_section = ".rodata.onblock")]
#[unsafe(no_mangle)]
static CONFIG_MARK_WEB: Global<u64> = Global::new(0);

/// What packets are told of: nothing, 1: class and payer, in the mark, 2: the class, in the DSCP.
#[unsafe(link_section = ".rodata.tag")]
#[unsafe(no_mangle)]
static CONFIG_TAG: Global<u64> = Global::new(0);

/// How the interface is configured.
#[derive(Clone, Copy)]
pub(crate) struct Constants;

impl Settings for Constants {
    #[inline(always)]
    fn drop_unknown(self) -> bool {
        CONFIG_DROP_UNKNOWN.load() != 0
    }
    #[inline(always)]
    fn enforce(self) -> bool {
        CONFIG_ENFORCE.load() != 0
    }
    #[inline(always)]
    fn mark_web(self) -> bool {
        CONFIG_MARK_WEB.load() != 0
    }
    #[inline(always)]
    fn tagging(self) -> Tagging {
        match CONFIG_TAG.load() {
            1 => Tagging::Mark,
            2 => Tagging::Dscp,
            _ => Tagging::None,
        }
    }
}
