//! How large artifacts may be: a setting of gateways, and of what looks at artifacts without one.

use wasmill_domain::units::ByteSize;

/// The largest artifact that gateways take, where nothing else is set.
pub(crate) const MAX_ARTIFACT_BYTES: ByteSize = ByteSize(64 << 20);

/// What the setting may be. All bodies that a gateway holds at once have room for the largest.
pub(super) const BOUNDS: &str = "1KiB to 256MiB";

pub(super) fn is_within_bounds(size: ByteSize) -> bool {
    (1 << 10..=256 << 20).contains(&size.0)
}

/// Reads the setting from a command line.
///
/// # Errors
/// Where it is no size, or out of bounds.
pub(crate) fn artifact_bytes(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse().map_err(|e| format!("{e}"))?;
    if is_within_bounds(size) { Ok(size) } else { Err(format!("must be {BOUNDS}")) }
}

#[cfg(test)]
mod tests {
    use wasmill_gateway::GatewaySettings;

    use super::*;

    #[test]
    fn it_is_the_gateways_and_has_bounds() {
        let GatewaySettings { max_artifact_bytes, .. } = GatewaySettings::default();
        assert_eq!(MAX_ARTIFACT_BYTES.as_usize(), max_artifact_bytes);
        assert_eq!(artifact_bytes("256MiB").unwrap().as_usize(), 256 << 20);
        for wrong in ["1023", "257MiB", "much"] {
            assert!(artifact_bytes(wrong).is_err(), "{wrong}");
        }
    }
}
