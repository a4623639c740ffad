//! What one forecast and its truth are worth beside each other.
//!
//! Owns the definitions of error and direction, which the trainer judges by as well, so that a
//! figure of the daemon and one of a manifest mean the same. Promises pure functions, in the
//! target's unit. Never averages.

/// `truth - value`: above zero where more came than was forecast.
pub const fn error(value: f64, truth: f64) -> f64 {
    truth - value
}

/// Whether a value lies on the side of `origin` on which the truth lies; `None` where the truth
/// lies on none. A value that tells no direction is no hit.
pub fn direction_hit(value: f64, truth: f64, origin: f64) -> Option<bool> {
    let (told, came) = (value - origin, truth - origin);
    (came != 0.0).then_some(told * came > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::forecast::{Target, TargetKind};

    #[test]
    fn a_direction_is_seen_from_where_its_kind_begins() {
        let hit = |kind: TargetKind, value, truth| direction_hit(value, truth, kind.origin(10.0));
        assert_eq!(hit(TargetKind::Change, 0.1, 0.2), Some(true));
        assert_eq!(hit(TargetKind::Change, -0.1, 0.2), Some(false));
        assert_eq!(hit(TargetKind::Change, 0.0, 0.2), Some(false), "tells no direction");
        assert_eq!(hit(TargetKind::Change, 0.1, 0.0), None, "no direction came");
        assert_eq!(hit(TargetKind::of(&Target::NextLogReturn), -2.0, -0.1), Some(true));
        assert_eq!(hit(TargetKind::LogChange, 0.1, -0.1), Some(false));
        assert_eq!(hit(TargetKind::Level, 11.0, 12.0), Some(true));
        assert_eq!(hit(TargetKind::Amount, 9.0, 12.0), Some(false));
        assert_eq!(hit(TargetKind::Level, 11.0, 10.0), None);
        assert_eq!(hit(TargetKind::Probability, 0.4, 0.0), Some(true));
        assert_eq!(hit(TargetKind::Probability, 0.4, 1.0), Some(false));
    }
}
