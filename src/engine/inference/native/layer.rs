//! One recurrent layer: its weights in the order in which they are read, and its step.
//!
//! Owns the packing. Eight units form a panel, and a panel has four sums per unit side by side, so
//! that one broadcast number meets all of them:
//!
//! | layer | sum 0 | sum 1 | sum 2 | sum 3 |
//! |---|---|---|---|---|
//! | LSTM | input gate | output gate | forget gate | candidate |
//! | GRU | update gate | reset gate | candidate of x | candidate of h |
//!
//! Promises that each sum is one chain of fused products over h, in the order of its index and
//! begun with the bias, one chain over x, begun with zero, and the sum of both. Neither the count
//! of windows, nor how they are grouped, nor the width of registers changes which operations a
//! number meets, so it has the same bits in all of them. Never allocates after packing.

use super::lanes::{Eight, Lanes};

/// Four sums of eight units.
pub(super) type Sums = [Eight; 4];

/// The weights of one input for the four sums of eight units, or these sums: two cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Panel(pub(super) Sums);

/// Which cell the sums go into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    /// Hidden and cell state.
    Lstm,
    /// Hidden state; the reset gate multiplies the product with h, as in cuDNN, Keras and PyTorch.
    Gru,
}

/// A layer as the graph has it: rows of `4 * units` (LSTM) or `3 * units` (GRU) gates.
pub(super) struct LayerWeights<'w> {
    pub(super) cell: Cell,
    pub(super) inputs: usize,
    pub(super) units: usize,
    /// `[gates * units][inputs]`, gates in ONNX order: i o f c, or z r h.
    pub(super) kernel: &'w [f32],
    /// `[gates * units][units]`.
    pub(super) recurrent: &'w [f32],
    /// `[2 * gates * units]`: those of x, then those of h.
    pub(super) bias: &'w [f32],
}

/// A packed layer.
pub(super) struct Layer {
    cell: Cell,
    inputs: usize,
    units: usize,
    panels: usize,
    /// `[panel][input]`.
    kernel: Vec<Panel>,
    /// `[panel][unit]`.
    recurrent: Vec<Panel>,
    /// `[panel]`.
    bias: Vec<Panel>,
}

/// Where a layer's states of one window lie among the eights of all its states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The first eight of h.
    pub(super) hidden: usize,
    /// The first eight of c; that of h again where the cell has none.
    pub(super) cell: usize,
    /// The eights of both.
    pub(super) eights: usize,
}

/// Windows that take a step together.
pub(super) struct Group<'g> {
    /// The input of each window, `stride` numbers apart; 0 where all windows take the same one.
    pub(super) inputs: &'g [f32],
    pub(super) stride: usize,
    /// The states of each window, all layers of it, `state_eights` apart.
    pub(super) states: &'g mut [Eight],
    pub(super) state_eights: usize,
    /// Where this layer's lie among them.
    pub(super) place: Place,
    /// The new h of each window, `[window][panels]`.
    pub(super) next: &'g mut [Eight],
    /// Room for the sums of one panel, `[window]`, in whole threes.
    pub(super) sums: &'g mut [Panel],
    pub(super) windows: usize,
}

/// What one window's step makes.
pub(super) struct Next<'n> {
    /// Room for the sums of all panels.
    pub(super) sums: &'n mut [Panel],
    /// The new h.
    pub(super) hidden: &'n mut [Eight],
    /// The new c.
    pub(super) cell: &'n mut [Eight],
}

/// The windows whose sums are made at once: three times four chains fill the registers and hide
/// the latency of a fused product.
const WINDOWS: usize = 3;

/// Four running sums. Named one by one, because an array of them may end up in memory.
type Four = (Lanes, Lanes, Lanes, Lanes);

impl Layer {
    /// Packs a layer.
    pub(super) fn pack(weights: &LayerWeights<'_>) -> Self {
        let LayerWeights { cell, inputs, units, kernel, recurrent, bias } = *weights;
        let panels = units.div_ceil(8);
        let rows = cell.gates() * units;
        let (of_x, of_h) = bias.split_at(rows);
        // A sum that both x and h go into begins with both biases; the candidates of a GRU are two.
        let begin: Vec<f32> = match cell {
            Cell::Lstm => of_x.iter().zip(of_h).map(|(x, h)| x + h).collect(),
            Cell::Gru => {
                let shared = of_x.iter().zip(of_h).take(2 * units).map(|(x, h)| x + h);
                shared
                    .chain(of_x[2 * units..].iter().copied())
                    .chain(of_h[2 * units..].iter().copied())
                    .collect()
            }
        };
        let pack = |matrix: &[f32], width: usize, rows: [Option<usize>; 4]| {
            let mut packed = Vec::with_capacity(panels * width);
            for panel in 0..panels {
                for at in 0..width {
                    let mut sums = [[0.0; 8]; 4];
                    for (sums, row) in sums.iter_mut().zip(rows) {
                        let Some(row) = row else { continue };
                        for (lane, weight) in sums.iter_mut().enumerate() {
                            let unit = panel * 8 + lane;
                            if unit < units {
                                *weight = matrix[(row * units + unit) * width + at];
                            }
                        }
                    }
                    packed.push(Panel(sums));
                }
            }
            packed
        };
        let (of_x, of_h) = match cell {
            Cell::Lstm => {
                ([Some(0), Some(1), Some(2), Some(3)], [Some(0), Some(1), Some(2), Some(3)])
            }
            Cell::Gru => ([Some(0), Some(1), Some(2), None], [Some(0), Some(1), None, Some(2)]),
        };
        Self {
            cell,
            inputs,
            units,
            panels,
            kernel: pack(kernel, inputs, of_x),
            recurrent: pack(recurrent, units, of_h),
            bias: pack(&begin, 1, [Some(0), Some(1), Some(2), Some(3)]),
        }
    }

    pub(super) fn units(&self) -> usize {
        self.units
    }

    pub(super) fn panels(&self) -> usize {
        self.panels
    }

    pub(super) fn cell(&self) -> Cell {
        self.cell
    }

    /// The bytes of the weights of x.
    pub(super) fn kernel_bytes(&self) -> usize {
        size_of_val(&*self.kernel)
    }

    /// Reads the first weights of x, at most so many bytes, from the last to the first: one number
    /// of each cache line.
    pub(super) fn fetch(&self, bytes_max: usize) -> u32 {
        let count = (bytes_max / size_of::<Panel>()).min(self.kernel.len());
        let lines = |weights: &Panel| weights.0[0][0].to_bits() ^ weights.0[2][0].to_bits();
        self.kernel[..count].iter().rev().map(lines).fold(0, |seen, line| seen ^ line)
    }

    /// The part of the sums that is known before x: the bias and the products with h.
    #[inline(always)]
    pub(super) fn ahead(&self, hidden: &[Eight], half: &mut [Sums]) {
        let hidden = &hidden.as_flattened()[..self.units];
        let mut panel = 0;
        while panel + 2 <= self.panels {
            let (one, two) = self.two_halves(panel, hidden);
            store(one, &mut half[panel]);
            store(two, &mut half[panel + 1]);
            panel += 2;
        }
        if panel < self.panels {
            store(self.half(panel, hidden), &mut half[panel]);
        }
    }

    #[inline(always)]
    fn two_halves(&self, panel: usize, hidden: &[f32]) -> (Four, Four) {
        let weights = &self.recurrent[panel * self.units..][..2 * self.units];
        let begin = (load(&self.bias[panel].0), load(&self.bias[panel + 1].0));
        two_products(weights, hidden, begin)
    }

    #[inline(always)]
    fn half(&self, panel: usize, hidden: &[f32]) -> Four {
        let weights = &self.recurrent[panel * self.units..][..self.units];
        product(weights, hidden, load(&self.bias[panel].0))
    }

    /// One step of one window, whose states are left as they are. `half` is what [`Layer::ahead`]
    /// made of them, where it was asked.
    #[inline(always)]
    pub(super) fn step(
        &self,
        x: &[f32],
        half: Option<&[Sums]>,
        hidden: &[Eight],
        cell: &[Eight],
        next: &mut Next<'_>,
    ) {
        let x = &x[..self.inputs];
        let sums = &mut next.sums[..self.panels];
        let flat = &hidden.as_flattened()[..self.units];
        let mut panel = 0;
        while panel + 2 <= self.panels {
            let (one, two) = match half {
                Some(half) => (load(&half[panel]), load(&half[panel + 1])),
                None => self.two_halves(panel, flat),
            };
            let weights = &self.kernel[panel * self.inputs..][..2 * self.inputs];
            let of_x = two_products(weights, x, (ZERO, ZERO));
            store(plus(one, of_x.0), &mut sums[panel].0);
            store(plus(two, of_x.1), &mut sums[panel + 1].0);
            panel += 2;
        }
        if panel < self.panels {
            let half = match half {
                Some(half) => load(&half[panel]),
                None => self.half(panel, flat),
            };
            let weights = &self.kernel[panel * self.inputs..][..self.inputs];
            store(plus(half, product(weights, x, ZERO)), &mut sums[panel].0);
        }
        match self.cell {
            Cell::Lstm => {
                // First all exponentials, then all cells: within each of these nothing waits for
                // another, so the processor has as much under way as it can hold.
                for sums in &mut *sums {
                    let sums = &mut one_by_one(sums).0;
                    store(lstm_gates(load(sums)), sums);
                }
                let next = next.hidden.iter_mut().zip(&mut *next.cell);
                for ((sums, cell), (next_hidden, next_cell)) in sums.iter().zip(cell).zip(next) {
                    let (cell, hidden) = lstm(load(&one_by_one(sums).0), Lanes::load(cell));
                    cell.store(next_cell);
                    hidden.store(next_hidden);
                }
            }
            Cell::Gru => {
                for ((sums, hidden), next) in sums.iter().zip(hidden).zip(&mut *next.hidden) {
                    gru(load(&one_by_one(sums).0), Lanes::load(hidden)).store(next);
                }
            }
        }
    }

    /// One step of a group of windows: c is replaced where it is, h goes to [`Group::next`]. One
    /// panel after the other, so that its weights stay in the first cache, and the sums of all
    /// windows before their cells, so that cells of many windows are under way at once.
    #[inline(always)]
    pub(super) fn step_group(&self, group: &mut Group<'_>) {
        for panel in 0..self.panels {
            let weights = &self.kernel[panel * self.inputs..][..self.inputs];
            // Windows of one symbol take the same row, so its products are made once.
            let of_x =
                if group.stride == 0 { Some(product(weights, group.inputs, ZERO)) } else { None };
            let mut first = 0;
            while first < group.windows {
                let count = (group.windows - first).min(WINDOWS);
                self.sum_three(panel, first, count, of_x, group);
                first += count;
            }
            self.close(panel, group);
        }
    }

    /// The sums of one panel and up to three windows; where there are fewer, the last is repeated.
    #[inline(always)]
    fn sum_three(
        &self,
        panel: usize,
        first: usize,
        count: usize,
        of_x: Option<Four>,
        group: &mut Group<'_>,
    ) {
        let Place { hidden, .. } = group.place;
        let window = |at: usize| first + at.min(count - 1);
        let start = |at: usize| window(at) * group.state_eights;
        let (one, two, three) = (start(0), start(1), start(2));
        let halves = {
            let hidden = |start: usize| {
                &group.states[start + hidden..][..self.panels].as_flattened()[..self.units]
            };
            let weights = &self.recurrent[panel * self.units..][..self.units];
            let begin = load(&self.bias[panel].0);
            three_products(weights, [hidden(one), hidden(two), hidden(three)], begin)
        };
        let of_x = match of_x {
            Some(of_x) => [of_x; WINDOWS],
            None => {
                let x = |at: usize| &group.inputs[window(at) * group.stride..][..self.inputs];
                let weights = &self.kernel[panel * self.inputs..][..self.inputs];
                three_products(weights, [x(0), x(1), x(2)], ZERO)
            }
        };
        for at in 0..WINDOWS {
            store(plus(halves[at], of_x[at]), &mut group.sums[first + at].0);
        }
    }

    /// Takes the windows of a group from the sums of a panel to its new states.
    #[inline(always)]
    fn close(&self, panel: usize, group: &mut Group<'_>) {
        let Group { states, state_eights, place, next, sums, windows, .. } = group;
        let sums = &mut sums[..*windows];
        let next = next[panel..].iter_mut().step_by(self.panels);
        match self.cell {
            Cell::Lstm => {
                for sums in &mut *sums {
                    let sums = &mut one_by_one(sums).0;
                    store(lstm_gates(load(sums)), sums);
                }
                let cells = states[place.cell + panel..].iter_mut().step_by(*state_eights);
                for ((sums, cell), next) in sums.iter().zip(cells).zip(next) {
                    let (new, hidden) = lstm(load(&one_by_one(sums).0), Lanes::load(cell));
                    new.store(cell);
                    hidden.store(next);
                }
            }
            Cell::Gru => {
                let hidden = states[place.hidden + panel..].iter().step_by(*state_eights);
                for ((sums, hidden), next) in sums.iter().zip(hidden).zip(next) {
                    gru(load(&one_by_one(sums).0), Lanes::load(hidden)).store(next);
                }
            }
        }
    }
}

impl Cell {
    /// The gates of a unit.
    pub(super) fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
        }
    }
}

const ZERO: Four = (Lanes::ZERO, Lanes::ZERO, Lanes::ZERO, Lanes::ZERO);

#[inline(always)]
fn load(from: &Sums) -> Four {
    (Lanes::load(&from[0]), Lanes::load(&from[1]), Lanes::load(&from[2]), Lanes::load(&from[3]))
}

#[inline(always)]
fn store(sums: Four, to: &mut Sums) {
    sums.0.store(&mut to[0]);
    sums.1.store(&mut to[1]);
    sums.2.store(&mut to[2]);
    sums.3.store(&mut to[3]);
}

#[inline(always)]
fn plus(one: Four, other: Four) -> Four {
    (one.0.plus(other.0), one.1.plus(other.1), one.2.plus(other.2), one.3.plus(other.3))
}

/// The running sums and the products of one input.
#[inline(always)]
fn plus_products(sums: Four, x: Lanes, weights: &Sums) -> Four {
    (
        sums.0.plus_product(x, Lanes::load(&weights[0])),
        sums.1.plus_product(x, Lanes::load(&weights[1])),
        sums.2.plus_product(x, Lanes::load(&weights[2])),
        sums.3.plus_product(x, Lanes::load(&weights[3])),
    )
}

/// Four chains: one panel, one window.
#[inline(always)]
fn product(weights: &[Panel], x: &[f32], begin: Four) -> Four {
    let mut sums = begin;
    for (weights, x) in weights.iter().zip(x) {
        sums = plus_products(sums, Lanes::splat(*x), &weights.0);
    }
    sums
}

/// Eight chains: two panels, one window. They hide the latency of a fused product.
#[inline(always)]
fn two_products(weights: &[Panel], x: &[f32], begin: (Four, Four)) -> (Four, Four) {
    let (first, second) = weights.split_at(weights.len() / 2);
    let (mut one, mut two) = begin;
    for ((first, second), x) in first.iter().zip(second).zip(x) {
        let x = Lanes::splat(*x);
        one = plus_products(one, x, &first.0);
        two = plus_products(two, x, &second.0);
    }
    (one, two)
}

/// Twelve chains: one panel, three windows. A weight that was loaded serves all three.
#[inline(always)]
fn three_products(weights: &[Panel], x: [&[f32]; WINDOWS], begin: Four) -> [Four; WINDOWS] {
    let (mut one, mut two, mut three) = (begin, begin, begin);
    for (((weights, x), y), z) in weights.iter().zip(x[0]).zip(x[1]).zip(x[2]) {
        let (x, y, z) = (Lanes::splat(*x), Lanes::splat(*y), Lanes::splat(*z));
        let weight = Lanes::load(&weights.0[0]);
        one.0 = one.0.plus_product(x, weight);
        two.0 = two.0.plus_product(y, weight);
        three.0 = three.0.plus_product(z, weight);
        let weight = Lanes::load(&weights.0[1]);
        one.1 = one.1.plus_product(x, weight);
        two.1 = two.1.plus_product(y, weight);
        three.1 = three.1.plus_product(z, weight);
        let weight = Lanes::load(&weights.0[2]);
        one.2 = one.2.plus_product(x, weight);
        two.2 = two.2.plus_product(y, weight);
        three.2 = three.2.plus_product(z, weight);
        let weight = Lanes::load(&weights.0[3]);
        one.3 = one.3.plus_product(x, weight);
        two.3 = two.3.plus_product(y, weight);
        three.3 = three.3.plus_product(z, weight);
    }
    [one, two, three]
}

/// Keeps the compiler from taking several panels at once: it would gather their numbers one by one,
/// which costs a quarter of a step.
#[inline(always)]
fn one_by_one<T>(panel: T) -> T {
    std::hint::black_box(panel)
}

/// What the cell needs of the sums, each ready to be divided by.
#[inline(always)]
fn lstm_gates(sums: Four) -> Four {
    (sums.0.divisor(), sums.1.divisor(), sums.2.divisor(), sums.3.growth())
}

/// The new c and h, from [`lstm_gates`]. Three divisions instead of five.
#[inline(always)]
fn lstm((input, output, forget, candidate): Four, cell: Lanes) -> (Lanes, Lanes) {
    let cell = cell.over(forget).plus(candidate.tanh_of_growth(input));
    (cell, cell.growth().tanh_of_growth(output))
}

/// The new h, from the sums.
#[inline(always)]
fn gru((update, reset, of_x, of_h): Four, hidden: Lanes) -> Lanes {
    let candidate = of_x.plus(of_h.over(reset.divisor())).tanh();
    candidate.plus(hidden.minus(candidate).over(update.divisor()))
}
