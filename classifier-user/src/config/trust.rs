//! `[trust]`: checked where the configuration is.

use crate::diagnostic::Diagnostics;
use crate::policy::Place;
use crate::trust::Trust;

/// Reports what would let no policy in at all.
pub(super) fn check(trust: &Trust, start: &Place, out: &mut Diagnostics) {
    if trust.require_signed && trust.keys.is_empty() {
        out.error(
            start.clone(),
            "config",
            "`require_signed` under [trust], and no key is trusted",
            "add `keys` with the public keys, as in keys = [\"RWQ...\"]",
        );
    }
}
