//! From a fitted network to its figures.
//!
//! Owns the way from parameters to the values that the daemon would publish, and who judges what:
//! the interval is fitted on the validation part, and the test part is judged by it.
//!
//! Promises: the same for the model that is sealed and for every repetition. Never fits.

use super::baseline::FittedBaselines;
use super::config::TrainConfig;
use super::dataset::{Dataset, Part};
use super::evaluate::{Against, Outcomes, TargetKind, Terms, evaluate};
use super::network::Network;
use super::outputs::{FurtherFigures, Said, further, outcomes, read};
use crate::core::baseline::BaselineSpec;
use crate::core::features::ScalerError;
use crate::engine::model::manifest::Evaluation;

/// How a fitted network does on what it was not fitted to.
#[derive(Clone, Debug)]
pub struct Assessment {
    /// The interval of the validation part, and the other terms.
    pub terms: Terms,
    /// What the manifest says of the baselines, and which one is the one to beat.
    pub baselines: BaselineSpec,
    /// The part that decided when to stop.
    pub validation: Judged,
    /// The untouched part.
    pub test: Judged,
    /// The outputs behind the first.
    pub further: Vec<FurtherFigures>,
}

/// One part.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The network's values `[n, K]` in model units.
    pub outputs: Vec<f32>,
    /// The same in the target's unit, and what came true.
    pub outcomes: Outcomes,
    /// The figures.
    pub figures: Evaluation,
}

impl Assessment {
    /// The baseline that the verdict is about.
    pub fn against(&self) -> Against {
        Against::best_on(self.baselines.against, "the validation part")
    }
}

/// Judges parameters on a dataset, beside baselines that were fitted to its training part.
///
/// # Errors
/// [`ScalerError`] where the label's scaler cannot be inverted.
pub fn assess(
    network: &Network,
    parameters: &[f32],
    dataset: &Dataset,
    baselines: &FittedBaselines,
    config: &TrainConfig,
) -> Result<Assessment, ScalerError> {
    let seen = |part: &Part| {
        let rows = dataset.predict(network, parameters, part, config.recipe.lanes);
        let naive = baselines.forecast(&dataset.courses, &part.windows, &part.examples);
        let said = read(config, 0, &dataset.target_scaler, &rows)?;
        let outcomes = outcomes(said.values.clone(), &part.examples, naive);
        Ok::<_, ScalerError>((rows, said, outcomes))
    };
    let (validation, test) = (seen(&dataset.validation)?, seen(&dataset.test)?);
    let terms = Terms {
        kind: TargetKind::of(&config.target),
        horizon_steps: config.horizon_steps,
        interval: validation.1.interval(&validation.2, config.coverage),
        possible: config.target.possible(),
        signal: config.signal,
    };
    let further = further(config, dataset, [&validation.0, &test.0], &terms)?;
    let judge = |part: &str, (outputs, said, outcomes): (Vec<f32>, Said, Outcomes)| {
        let mut figures = evaluate(part, &outcomes, &terms);
        said.complete(&mut figures, &outcomes, &config.outputs.levels, terms.interval);
        Judged { outputs, outcomes, figures }
    };
    let best = validation.2.baselines.best(&validation.2.truths);
    Ok(Assessment {
        terms,
        baselines: baselines.spec(best),
        validation: judge("validation", validation),
        test: judge("test", test),
        further,
    })
}
