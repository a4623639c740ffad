//! What a model of a stream does for others.
//!
//! Owns the roles, and the place that a model has among those of its stream. Promises that a
//! seat has one live model at any time: the model that gets it makes a shadow of the one before.
//! Never decides which model gets it.

use std::fmt;

use serde::Serialize;

/// What becomes of the forecasts of a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// They are what the stream says.
    #[default]
    Live,
    /// They are scored and go to a place of their own. It runs when the live ones are done.
    Shadow,
    /// They are made of those of other models, and go where those of live models go. It runs when
    /// all others are done.
    Blend,
    /// There are none: it is the place of a version to come, and takes no ticks until then.
    Vacant,
}

/// The place of a model in its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Post {
    /// In the order of the configuration.
    pub index: usize,
    /// The seat of one live model and its shadows, in the order of the seats.
    pub seat: usize,
    /// What it does now.
    pub role: Role,
    /// Its place among shadows while it is one; a promotion hands it over to the model that becomes
    /// a shadow.
    pub place: usize,
}

impl Post {
    /// What tells the newest forecast of this model from those of others of its role: a promotion
    /// hands it over, so that no forecast of another role is left behind.
    pub fn rank(self) -> u16 {
        let rank = match self.role {
            Role::Live | Role::Blend => self.seat,
            Role::Shadow | Role::Vacant => self.place,
        };
        u16::try_from(rank).unwrap_or(u16::MAX)
    }
}

impl Role {
    /// Whether its forecasts are what the stream says.
    pub const fn is_public(self) -> bool {
        matches!(self, Self::Live | Self::Blend)
    }

    /// The role as it is written.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Shadow => "shadow",
            Self::Blend => "blend",
            Self::Vacant => "vacant",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.label())
    }
}
