//! A recipe in words.
//!
//! Owns how the report says what a fit was asked to do. Promises to name whatever is not as usual.
//! Never computes a figure.

use crate::train::fit::{Monitor, RateSchedule, RateShape, Recipe, WeightRule};

/// The optimiser, its schedule, when it stops, and its weights.
pub(super) fn describe(recipe: &Recipe) -> String {
    let Recipe { learning_rate, batch, patience, epochs, lanes, .. } = recipe;
    let Recipe { min_delta, start_epoch, monitor, weight_decay, clip_norm, .. } = recipe;
    let mut parts = vec![
        if *weight_decay > 0.0 {
            format!("AdamW, weight decay {weight_decay}")
        } else {
            "Adam".to_owned()
        },
        format!("learning rate {learning_rate}"),
    ];
    parts.extend(schedule(&recipe.schedule));
    if *clip_norm > 0.0 {
        parts.push(format!("gradients of length {clip_norm} at most"));
    }
    parts.push(format!("batch {batch}"));
    parts.push(format!("patience {patience}"));
    if *min_delta > 0.0 {
        parts.push(format!("improvements above {min_delta}"));
    }
    if *start_epoch > 1 {
        parts.push(format!("counted from epoch {start_epoch}"));
    }
    if *monitor != Monitor::ValidationLoss {
        parts.push(format!("monitored: {}", monitor.label().replace('_', " ")));
    }
    parts.push(format!("at most {epochs} epochs"));
    parts.push(format!("{lanes} lanes"));
    parts.extend(weights(&recipe.weights));
    parts.join(", ")
}

fn schedule(schedule: &RateSchedule) -> Vec<String> {
    let RateSchedule { warm_up_epochs, shape, floor } = *schedule;
    let mut parts = Vec::new();
    if warm_up_epochs > 0 {
        parts.push(format!("warm-up of {warm_up_epochs} epochs"));
    }
    let shape = match shape {
        RateShape::Constant => return parts,
        RateShape::Step { every_epochs, factor } => {
            format!("times {factor} every {every_epochs} epochs")
        }
        RateShape::Cosine { epochs } => format!("along a cosine of {epochs} epochs"),
        RateShape::Plateau { patience, factor, .. } => {
            format!("times {factor} after {patience} epochs without an improvement")
        }
    };
    parts.push(shape);
    if floor > 0.0 {
        parts.push(format!("down to {floor} of it"));
    }
    parts
}

fn weights(rule: &WeightRule) -> Vec<String> {
    let WeightRule { half_life_days, balances_classes, event, balances_symbols, symbols } = rule;
    let mut parts = Vec::new();
    parts.extend(half_life_days.map(|days| format!("weights with a half-life of {days} days")));
    parts.extend(balances_classes.then(|| "balanced classes".to_owned()));
    parts.extend(event.map(|factor| format!("events times {factor}")));
    parts.extend(balances_symbols.then(|| "balanced symbols".to_owned()));
    parts.extend(symbols.iter().map(|(symbol, factor)| format!("`{symbol}` times {factor}")));
    parts
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn the_usual_recipe_is_short_and_the_rest_is_named() {
        assert_eq!(
            describe(&Recipe { lanes: 2, ..Recipe::default() }),
            "Adam, learning rate 0.001, batch 64, patience 15, at most 100 epochs, 2 lanes"
        );
        let shape =
            RateShape::Plateau { patience: 4, factor: 0.5, min_delta: 0.0, cooldown_epochs: 0 };
        let recipe = Recipe {
            weight_decay: 0.01,
            schedule: RateSchedule { warm_up_epochs: 3, shape, floor: 0.1 },
            clip_norm: 1.0,
            min_delta: 0.001,
            start_epoch: 9,
            monitor: Monitor::ValidationAbsoluteError,
            weights: WeightRule {
                half_life_days: Some(365.0),
                balances_classes: true,
                event: Some(2.0),
                balances_symbols: true,
                symbols: BTreeMap::from([("A".to_owned(), 0.5)]),
            },
            ..Recipe::default()
        };
        assert_eq!(
            describe(&recipe),
            "AdamW, weight decay 0.01, learning rate 0.001, warm-up of 3 epochs, times 0.5 after 4 \
             epochs without an improvement, down to 0.1 of it, gradients of length 1 at most, \
             batch 64, patience 15, improvements above 0.001, counted from epoch 9, monitored: \
             validation absolute error, at most 100 epochs, 8 lanes, weights with a half-life of \
             365 days, balanced classes, events times 2, balanced symbols, `A` times 0.5"
        );
    }
}
